"""Constraints on a text that a program can check, as data: length, words, form; and which of them a text meets.

A text without a letter or a digit meets none. Words and sentences are those of schemas/characters.py.

Source: Zhou et al. 2023 (IFEval), arXiv:2311.07911, whose strict accuracy this is. Differs: no loose reading that takes
away the first line or the marks of Markdown; languages are told by common words.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from gainloop.measures.languages import language_of
from schemas.characters import sentence_ends, words
from schemas.recipe import Parameters

BULLETS: Final = ("- ", "* ", "+ ", "\u2022 ")
COMMAS: Final = (",", "\uff0c", "\u3001", "\u060c")

_NAMED_SCHEMAS: Final = ("properties", "$defs", "definitions", "dependentSchemas")
_VALUES: Final = ("enum", "const", "default", "examples")
_PATTERNS: Final = ("pattern", "patternProperties")


class Constraint(Parameters):
    """One condition on a text."""

    def met(self, text: str) -> bool:
        """Tell whether a text meets it; one without a letter or a digit does not."""
        return bool(words(text)) and self._holds(text)

    def _holds(self, text: str) -> bool:
        raise NotImplementedError


class _Counted(Constraint):
    least: Annotated[int | None, Field(ge=0, description="Number of them, at least. Default: any.")] = None
    most: Annotated[int | None, Field(ge=0, description="Number of them, at most. Default: any.")] = None

    @model_validator(mode="after")
    def _bounded(self) -> "_Counted":
        if self.least is None and self.most is None:
            raise ValueError("neither least nor most is set; one of them at least must be")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"least is {self.least} and most is {self.most}; least must not be above most")
        return self

    def _holds(self, text: str) -> bool:
        number = self._count(text)
        return (self.least is None or number >= self.least) and (self.most is None or number <= self.most)

    def _count(self, text: str) -> int:
        raise NotImplementedError


class Words(_Counted):
    """A number of words: runs of letters and digits, so that ``don't`` has two."""

    kind: Literal["words"] = "words"

    def _count(self, text: str) -> int:
        return len(words(text))


class Sentences(_Counted):
    """A number of sentences."""

    kind: Literal["sentences"] = "sentences"

    def _count(self, text: str) -> int:
        return num_sentences(text)


class Bullets(_Counted):
    """A number of lines that begin with a bullet."""

    kind: Literal["bullets"] = "bullets"

    def _count(self, text: str) -> int:
        return sum(map(is_bullet, text.splitlines()))


class _Listed(Constraint):
    words: Annotated[
        tuple[str, ...], Field(min_length=1, description="Words, or phrases of several; case and signs do not count.")
    ]

    @field_validator("words")
    @classmethod
    def _have_letters(cls, listed: tuple[str, ...]) -> tuple[str, ...]:
        if blank := [one for one in listed if not words(one)]:
            raise ValueError(f"words has {blank[0]!r}; each of them must have a letter or a digit")
        return listed


class Required(_Listed):
    """Words that stand in the text."""

    kind: Literal["required"] = "required"
    times: Annotated[int, Field(ge=1, description="How often each of them stands there, at least.")] = 1

    def _holds(self, text: str) -> bool:
        spaced = _spaced(text)
        return all(spaced.count(_spaced(one)) >= self.times for one in self.words)


class Forbidden(_Listed):
    """Words that do not stand in the text."""

    kind: Literal["forbidden"] = "forbidden"

    def _holds(self, text: str) -> bool:
        spaced = _spaced(text)
        return not any(_spaced(one) in spaced for one in self.words)


class _Edge(Constraint):
    text: Annotated[str, Field(min_length=1, description="Text that stands there, in this case and with these signs.")]

    @field_validator("text")
    @classmethod
    def _not_blank(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("text is blank; something to be seen is needed")
        return text.strip()


class Starts(_Edge):
    """The text's beginning, white space left out."""

    kind: Literal["starts"] = "starts"

    def _holds(self, text: str) -> bool:
        return text.lstrip().startswith(self.text)


class Ends(_Edge):
    """The text's end, white space left out."""

    kind: Literal["ends"] = "ends"

    def _holds(self, text: str) -> bool:
        return text.rstrip().endswith(self.text)


class Language(Constraint):
    """The language that most of the text is in; a text of less than 12 words has none that can be told."""

    kind: Literal["language"] = "language"
    code: Annotated[
        str, Field(min_length=2, description="Language as measures/languages.py tells it: en, de, ..., or a script.")
    ]

    def _holds(self, text: str) -> bool:
        return language_of(text) == self.code


class LowerCase(Constraint):
    """No capital letter."""

    kind: Literal["lower_case"] = "lower_case"

    def _holds(self, text: str) -> bool:
        return not any(map(str.isupper, text))


class NoComma(Constraint):
    """No comma, of whatever script."""

    kind: Literal["no_comma"] = "no_comma"

    def _holds(self, text: str) -> bool:
        return not any(one in text for one in COMMAS)


class Json(Constraint):
    """JSON and nothing beside it, in one code fence or none."""

    kind: Literal["json"] = "json"
    json_schema: Annotated[
        dict[str, Any] | None,
        Field(description="JSON schema (2020-12) that it meets, without patterns or schemas of elsewhere."),
    ] = None

    @field_validator("json_schema")
    @classmethod
    def _checkable(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None:
            _require_checkable(schema)
        return schema

    def _holds(self, text: str) -> bool:
        try:
            value = json.loads(_without_fence(text.strip()), parse_constant=_no_number)
            return self.json_schema is None or _validator(json.dumps(self.json_schema)).is_valid(value)
        except (ValueError, RecursionError):
            return False


_Constraints = (
    Words | Sentences | Bullets | Required | Forbidden | Starts | Ends | Language | LowerCase | NoComma | Json
)

AnyConstraint = Annotated[_Constraints, Field(discriminator="kind")]


def unmet(constraints: Sequence[AnyConstraint], text: str) -> tuple[AnyConstraint, ...]:
    """Return the constraints that a text does not meet, in their order; none where it meets all.

    >>> [one.kind for one in unmet([NoComma(), Words(least=5)], "Rye, oats and corn")]
    ['no_comma', 'words']
    """
    return tuple(one for one in constraints if not one.met(text))


def num_sentences(text: str) -> int:
    r"""Return the number of sentences of a text; a blank line ends one, and so does the end of a bullet's line.

    >>> num_sentences("Dr. Ada wrote it. \"It burns.\" Rye grows"), num_sentences("Two mills:\n- Ashby\n- Dunmere")
    (3, 3)
    """
    return sum(_sentences_of(part) for part in _parts(text))


def _parts(text: str) -> Iterator[str]:
    """Yield what no sentence goes beyond: a line of a bullet, and lines between those and blank ones."""
    lines = enumerate(text.splitlines())
    # A blank line's key is None, a bullet's its number, any other's False: neighbours of one key stand together.
    for key, some in groupby(lines, lambda one: (one[0] if is_bullet(one[1]) else False) if one[1].strip() else None):
        if key is not None:
            yield "\n".join(line for _, line in some)


def _sentences_of(part: str) -> int:
    ends = [after for _, after in sentence_ends(part)]
    return len(ends) + bool(words(part[ends[-1] if ends else 0 :]))


def is_bullet(line: str) -> bool:
    """Tell whether a line begins with a bullet: -, *, + or a dot, and a space.

    >>> is_bullet("  - rye"), is_bullet("**Rye**"), is_bullet("-")
    (True, False, False)
    """
    return line.lstrip().startswith(BULLETS)


def _spaced(text: str) -> str:
    """Return the words of a text, each between spaces of its own: where phrases are found, they are whole words."""
    return "".join(f" {word} " for word in words(text))


def _without_fence(text: str) -> str:
    first, _, rest = text.partition("\n")
    return rest[:-3] if first.strip().lower() in ("```", "```json") and rest.endswith("```") else text


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator  # a third of a second that few runs need
    from referencing import Registry

    return Draft202012Validator(json.loads(schema), registry=Registry())  # an empty one fetches nothing


def _require_checkable(schema: Mapping[str, Any]) -> None:
    """Refuse a schema that is none, or that cannot be checked here in a time that is known.

    Raises:
        ValueError: It is such a schema.
    """
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"json_schema is none: {error.message}") from error
    for part in _schemas_in(schema):
        if patterns := [name for name in _PATTERNS if name in part]:
            raise ValueError(f"json_schema has {patterns[0]}, which may take for ever on some texts; say it otherwise")
        if not str(part.get("$ref", "#")).startswith("#"):
            raise ValueError(f"json_schema refers to {part['$ref']!r}; only what is in it, #/..., may be referred to")


def _schemas_in(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and every one within it; names of fields are none of its words."""
    if isinstance(schema, list):
        for one in schema:
            yield from _schemas_in(one)
    elif isinstance(schema, dict):
        yield schema
        for name, value in schema.items():
            if name in _NAMED_SCHEMAS and isinstance(value, dict):
                yield from _schemas_in(list(value.values()))
            elif name not in _VALUES:
                yield from _schemas_in(value)
