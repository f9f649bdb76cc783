"""Replies that are one JSON object: the schema that a request asks for, and the reading of the reply.

Reading is stricter than models are careful: a reply is the object alone, or the object in one code fence. An object
in the middle of prose may as well be the example of a repeated prompt, so it is no reply. Nor is a placeholder a text:
what a prompt's example, a template or a schema has where the answer belongs comes back from small models as it is.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from schemas.characters import plain, visible

Schema = dict[str, Any]

_THING = (
    r"(?:entity|entities|strategy|strategies|topic|skill|genre|audience|reader|question|answer|item|example|title|"
    r"statement|problem|chapter|summary|name|person|place|reason|verdict|task|value|date)"
)
_PLACEHOLDER = re.compile(
    # string, null, lorem ipsum: as schemas and drafts have them
    r"string|str|null|none given|undefined|placeholder|tbd|todo|n/?a|x{3,}|lorem ipsum.{0,60}"
    # entity, topic 1, strategy A, name of the person, your answer here, insert title
    rf"|{_THING}(?:[ _-]?(?:\d{{1,2}}|[a-d]|one|two|three|here))|(?:your|insert)(?: \w{{1,12}})? {_THING}"
    rf"(?: here)?|{_THING} of (?:the|an?) {_THING}|insert .{{1,40}}|.{{1,40}} goes here"
    # <topic>, [insert name], {{title}}, {title}
    r"|<[^\W\d_][\w' /-]{0,40}>|\[[^\W\d_][\w' /-]{0,40}\]|\{{1,9}\s?[^\W\d_][\w' /.-]{0,40}\}{1,9}",
    re.IGNORECASE | re.DOTALL,
)
MOST_PLACEHOLDER_CHARS = 80
_AROUND = " \t\"'`.,:;*\u2026"

_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)


def object_of(**fields: Schema) -> str:
    """Return the JSON schema of an object with these fields, all required and no others.

    >>> object_of(score=whole_number(1, 5))
    '{"type": "object", "properties": {"score": {"type": "integer", "enum": [1, 2, 3, 4, 5]}}, \
"required": ["score"], "additionalProperties": false}'
    """
    return json.dumps(object_schema(fields))


def object_schema(fields: dict[str, Schema]) -> Schema:
    """Return the schema of an object, to stand in another's field or list."""
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def text_of(most_chars: int, least_chars: int = 1) -> Schema:
    """Return the schema of a string, not empty by default; a bound keeps a list short enough for a reply."""
    return {"type": "string", "minLength": least_chars, "maxLength": most_chars}


def list_of(item: Schema, least: int, most: int) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": item, "minItems": least, "maxItems": most}


def whole_number(least: int, most: int) -> Schema:
    """Return the schema of a whole number from ``least`` to ``most``."""
    return {"type": "integer", "enum": list(range(least, most + 1))}


def one_of(*choices: str) -> Schema:
    """Return the schema of a string that is one of the choices."""
    return {"type": "string", "enum": list(choices)}


def read_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a reply is; None if it is not one.

    >>> read_object('{"a": 1}'), read_object('```json\\n{"a": 1}\\n```')
    ({'a': 1}, {'a': 1})
    >>> read_object('Sure! {"a": 1}') is None, read_object('{"a": 1') is None, read_object('[1]') is None
    (True, True, True)
    """
    text = text.strip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1]
    try:
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def read_text(value: object) -> str | None:
    """Return a value's text on one line, for a name or a short answer; None if it is no text, has none, or holds the
    place of one.

    Control characters are spaces, and what cannot be seen (soft hyphens, marks of direction) is left out.

    >>> read_text(" The\\tmi\\u00adll\\x00 "), read_text(7) is None, read_text(" ") is None
    ('The mill', True, True)
    """
    return (passage := read_passage(value)) and " ".join(passage.split())


def read_passage(value: object) -> str | None:
    r"""Return a value's text in the lines that it came in, for a text to be kept; None if it is no text or has none.

    >>> read_passage("Add up:\r\n\n    def total(rye):\n\treturn\x00 7 \n")
    'Add up:\n\n    def total(rye):\n\treturn  7'
    """
    if not isinstance(value, str):
        return None
    # JSON may escape half a surrogate pair, which is no text: it is left out.
    lines = visible(value.encode(errors="ignore").decode()).splitlines()
    passage = "\n".join("".join(map(_shown, line)).rstrip() for line in lines).strip()
    return passage if is_text(passage) and not is_placeholder(passage) else None


def is_text(text: str) -> bool:
    """Tell whether a text has a letter or a digit.

    >>> is_text("]}},{"), is_text("..."), is_text("7")
    (False, False, True)
    """
    return any(map(str.isalnum, text))


def is_placeholder(text: str) -> bool:
    """Tell whether a text only holds the place of one, as the examples of prompts, templates and schemas do.

    Of 10,570 answers that people gave to questions, one is (``[Date]``); of 118,893 lines of real texts, one.

    >>> [is_placeholder(text) for text in ("...", "{{title}}", "[insert name]", "string", "Topic 1")]
    [True, True, True, True, True]
    >>> [is_placeholder(text) for text in ("The title of the mill", "Strings", "C", "the first question", "[sic] rye")]
    [False, False, False, False, False]
    """
    bare = text.strip(_AROUND) if len(text) < MOST_PLACEHOLDER_CHARS else text
    return not is_text(text) or (len(bare) < MOST_PLACEHOLDER_CHARS and _PLACEHOLDER.fullmatch(bare) is not None)


def holds_placeholder(text: str, every: bool = False) -> bool:
    """Tell whether a reply that is one JSON object has a placeholder among its texts, or nothing but placeholders.

    >>> holds_placeholder('{"ways": ["...", "rye"]}'), holds_placeholder('{"ways": ["...", "rye"]}', every=True)
    (True, False)
    """
    found = list(map(is_placeholder, filter(str.strip, _texts_in(read_object(text)))))
    return bool(found) and (all if every else any)(found)


def read_verdict(text: str) -> dict[str, Any]:
    """Return the JSON object of a reply that judges; an empty one if it is none, or gives the prompt's example back.

    >>> read_verdict('{"reason": "It is so.", "score": 4}'), read_verdict('{"reason": "...", "score": 4}')
    ({'reason': 'It is so.', 'score': 4}, {})
    """
    found = read_object(text) or {}
    reason = found.get("reason")
    return {} if isinstance(reason, str) and reason.strip() and is_placeholder(reason) else found


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts_in(inner)


def _shown(character: str) -> str:
    """Return a character that a text may hold, or the space that stands for one that it may not."""
    seen = character.isprintable() or character == "\t" or unicodedata.category(character) == "Cf"
    return character if seen else " "


def read_texts(value: object, most: int | None = None, most_chars: int | None = None) -> list[str] | None:
    """Return the first distinct texts of a list, whatever their case; None if it is no list.

    Args:
        most: Texts returned, at most; None for all.
        most_chars: Characters of a text, at most; longer ones are left out, since a server may ignore the schema.

    >>> read_texts(["Mill", " mill ", 7, ["rye"], "", "Rye", "River"], 2), read_texts("mill") is None
    (['Mill', 'Rye'], True)
    >>> read_texts(["Mill", "Waterwheel"], most_chars=4)
    ['Mill']
    """
    if not isinstance(value, list):
        return None
    texts = [text for text in map(read_text, value) if text and len(text) <= (most_chars or len(text))]
    return distinct(texts)[:most]


def read_number(value: object, least: int, most: int) -> int | None:
    """Return the value if it is a whole number from ``least`` to ``most``, else None; True and 3.5 are none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most else None


def distinct(texts: Sequence[str]) -> list[str]:
    """Return texts that differ by more than case, each as it stands first."""
    return list({plain(text): text for text in reversed(texts)}.values())[::-1]
