r"""A text in chunks of at most this many tokens, cut where it hurts least. Joined, the chunks are the text again.

Methods open no tokenizer, so tokens are estimated, and rather too many than too few. Measured in chunks of up to 300
tokens of English (web pages, Wikipedia, worked sums, drama; 1,950 chunks), real tokens are 0.66 to 0.78 of the
estimate, and at most 1.00 of it in any chunk, in the vocabularies of Llama 3, GPT-4 and GPT-4o (100,000 tokens and
more). Older and smaller vocabularies take more: GPT-2's 0.66 to 0.87, at most 1.09; Llama 2's 0.79 to 0.95, at most
1.20; 16,384 tokens learnt from such text, 0.7 to 1.0, at most 1.5 (on formulas and names). For the three large ones:

=============================  =================================================
Python                         0.63, at most 0.90 (GPT-2 knows no indentation: 1.2)
long technical words           1.0
Chinese, Japanese, Hindi       0.25 to 0.7: two tokens a character are counted
Russian, Arabic                0.4 to 0.8: one a character
emoji of several characters    up to 1.5
=============================  =================================================
"""

import json
import re
from bisect import bisect_left, bisect_right
from functools import lru_cache
from itertools import pairwise
from math import ceil
from typing import Annotated, Any, NamedTuple

import regex
from pydantic import Field

from schemas.characters import INNER, SENTENCE_END, STOP, is_abbreviated, num_words
from schemas.rows import Anchor, Drop, Request

# One token at most: up to four letters that begin a word, and a capital before them, or three that continue it, two
# capitals, a digit, a sign, a letter of another script. Characters that UTF-8 writes in three bytes or more are two,
# unless they are punctuation. Space after a piece goes with it, and indentation with the line that it belongs to.
_PIECE = (
    r"(?P<indent>\s*)"
    r"(?:(?<![a-z])[A-Z]?[a-z]{{1,4}}|[a-z]{{1,3}}|[A-Z]{{1,2}}|(?P<stop>{stop})"
    r"|(?P<wide>[\u0900-\u1fff\u2e80-\U0010ffff])|\S)"
    r"(?P<space>\s*\Z|\s*\n|[^\S\n]*)"
)
_PIECES = regex.compile(_PIECE.format(stop=STOP), regex.V1)
# What the same pattern finds where all letters are European ones, in half of the time.
_CLOSING = r"\"')\]}\u00ab\u00bb\u2018\u2019\u201b-\u201d\u201f\u2039\u203a"
_EUROPEAN_PIECES = re.compile(_PIECE.format(stop=rf"[.!?\u2024\u2026]++[{_CLOSING}]*+(?P<unspaced>(?!))?"))
_BEYOND = re.compile(r"[\u0530-\u1fff\u203c-\u2049\u2e80-\U0010ffff]")
_MARKED = re.compile(r"[\u0300-\u036f\u0483-\u0489\u0530-\u1fff\u200c\u200d\u20d0-\u20ff\u2e80-\U0010ffff]")
"""What no character without marks is, so that most texts are not looked at twice."""
_SENTENCE_END = regex.compile(
    rf"{SENTENCE_END}|(?<=\S)(?:[^\S\n]*+\n\s*\n\s*|[^\S\n]*+\n(?=\s*(?:[-*\u2022]|\d+[.)])\s))", regex.V1
)
_TORN, _INSIDE, _WORD, _LINE, _SENTENCE, _PARAGRAPH = range(6)


TOKENS_A_WORD = 1.5
"""Tokens that an English word takes, rather too many: 1.3 in prose, and writers go beyond the length they are given."""
CHARS_A_TOKEN = 4
STEP_WORDS = 10

MaxWords = Annotated[
    int, Field(ge=20, le=8000, description="Words that a text is asked to have, at most; 100 take 150 tokens.")
]
ChunkTokens = Annotated[int, Field(ge=16, description="Tokens of a chunk, estimated, at most.")]
MaxChunks = Annotated[int, Field(ge=1, description="Chunks used of each anchor; the rest is left out.")]


class Chunk(NamedTuple):
    """A part of an anchor's text.

    Attributes:
        text: Text of the chunk, without the white space that follows it.
        space: White space that follows it, up to the next chunk's text.
        number: Number of the chunk, from 0; the draw of its request, since two chunks may read the same.
        part: Number of the chunk as facets write it, for example ": 1/3"; empty if the text is one chunk.
    """

    text: str
    space: str = ""
    number: int = 0
    part: str = ""


class _Places(NamedTuple):
    """The places where a text may be cut, its two ends among them: as lists, for one object a place took three times
    as long.

    Attributes:
        positions: Characters before each place.
        tokens: Tokens before each place.
        borders: How good each place is.
    """

    positions: list[int]
    tokens: list[int]
    borders: list[int]


def cut_anchor(anchor: Anchor, chunk_tokens: int, max_chunks: int) -> tuple[list[Chunk], list[Drop]]:
    """Return the first ``max_chunks`` chunks of an anchor's text, and a drop if there is more text."""
    texts = split_text(anchor.text, chunk_tokens)
    if len(texts) == 1:
        return [Chunk(anchor.text)], []
    indents = [text[: len(text) - len(text.lstrip())] for text in [*texts[1:], ""]]
    chunks = [
        Chunk(text.strip() if number else text.rstrip(), text[len(text.rstrip()) :] + indent, number, part)
        for number, (text, indent) in enumerate(zip(texts, indents, strict=True))
        if (part := f": {number + 1}/{len(texts)}")
    ]
    over = [Drop(anchor.anchor_id, "rest of the document", "over_limit")] if len(texts) > max_chunks else []
    return chunks[:max_chunks], over


@lru_cache(64)  # the requests about one text are made together
def estimate_tokens(text: str) -> int:
    r"""Return about how many tokens a text has, rather too many than too few for text in English.

    >>> estimate_tokens("The mill grinds rye."), estimate_tokens("1789"), estimate_tokens("成吉思汗")
    (6, 4, 8)
    """
    return _places(text).tokens[-1]


def split_text(text: str, max_tokens: int) -> list[str]:
    r"""Return the chunks of a text, in order; joined, they are the text, character by character.

    Chunks are about as long as each other. Each ends with a paragraph if one ends near there, or else with a
    sentence, a line, a word; a word is cut only if it is longer than a chunk may be. No chunk is blank unless the text
    is.

    Args:
        max_tokens: Estimated tokens of a chunk, at most; at least 4, which one character and the space around it can
            count.

    >>> split_text("One mill.\n\nTwo mills. Three mills.", 9)
    ['One mill.\n\n', 'Two mills. Three mills.']
    """
    # A character counts for two tokens at most, one of ASCII for one: what is surely short enough is not looked into.
    if len(text) * (1 if text.isascii() else 2) <= max_tokens:
        return [text]
    places = _torn(text, _places(text))
    cuts, last, total = [0], 0, places.tokens[-1]
    while (left := total - places.tokens[last]) > max_tokens:
        last = _next_cut(places, last, left / ceil(left / max_tokens), max_tokens)
        cuts.append(places.positions[last])
    return [text[start:end] for start, end in pairwise([*cuts, len(text)])]


def last_tokens(text: str, max_tokens: int) -> str:
    """Return the end of a text, from a sentence's beginning if one is near, of at most ``max_tokens`` estimated tokens.

    >>> last_tokens("The mill grinds. It grinds rye. Rye is bread.", 12)
    'It grinds rye. Rye is bread.'
    """
    positions, tokens, borders = _torn(text, _places(text))
    first = bisect_left(tokens, tokens[-1] - max_tokens)
    near = [n for n in range(first, len(tokens)) if tokens[-1] - tokens[n] >= max_tokens / 2]
    best = max(near, key=lambda n: (n == 0 or borders[n], -n), default=first)
    return text[positions[best] :]


def split_sentences(text: str) -> list[str]:
    r"""Return the sentences of a text, in order; joined, they are the text but for what is blank.

    A line end after a blank line, or a list's, ends a sentence too. Initials and common abbreviations end none.

    >>> split_sentences('Dr. Ada J. Byron wrote it. "It burns." Then:\n\nRye grows.')
    ['Dr. Ada J. Byron wrote it. ', '"It burns." ', 'Then:\n\n', 'Rye grows.']
    """
    found = [one.end() for one in _SENTENCE_END.finditer(text)]
    ends = [0, *(end for end in found if not is_abbreviated(text, end))]
    return [text[start:end] for start, end in pairwise([*ends, len(text)]) if text[start:end].strip()]


def tokens_of_words(num_words: int) -> int:
    """Return about how many tokens English of so many words has, rather too many.

    >>> tokens_of_words(200)
    300
    """
    return ceil(TOKENS_A_WORD * num_words)


def count_words(text: str) -> int:
    """Return about how many words a text has, in tens: as many are asked for where it is written anew.

    Ideographs have no spaces between them: two count as a word.

    >>> count_words("The mill by the river grinds rye."), count_words("word " * 128)
    (10, 130)
    """
    return max(STEP_WORDS, STEP_WORDS * round(num_words(text) / STEP_WORDS))


def needed_tokens(request: Request) -> int:
    """Return about how many tokens the reply to a request needs: as it was asked for, or its JSON at its fullest.

    A reply that needs more than a recipe's ``max_tokens`` is cut off. 0 if nobody can tell, as of a base model's.
    """
    if request.reply_tokens or not request.json_schema:
        return request.reply_tokens
    return ceil(_most_chars(json.loads(request.json_schema)) / CHARS_A_TOKEN)


def _most_chars(schema: dict[str, Any]) -> int:
    """Return the characters of the longest value that a schema allows."""
    if "enum" in schema:
        return max(len(str(one)) for one in schema["enum"]) + 2
    match schema["type"]:
        case "object":
            return 2 + sum(len(name) + 5 + _most_chars(part) for name, part in schema["properties"].items())
        case "array":
            return 2 + int(schema["maxItems"]) * (_most_chars(schema["items"]) + 2)
        case "string":
            return int(schema["maxLength"]) + 2
    return 5


def _next_cut(places: _Places, last: int, aim: float, max_tokens: int) -> int:
    """Return the index of the best place near ``aim`` tokens after the last cut that leaves enough for the rest."""
    tokens, done = places.tokens, places.tokens[last]
    low = bisect_left(tokens, done + aim / 2)
    high = bisect_right(tokens, tokens[-1] - aim / 2)
    too_far = bisect_right(tokens, done + max_tokens)
    first = max(min(low, too_far - 1), last + 1)
    near = range(first, max(min(high, too_far), first + 1))
    return max(near, key=lambda n: (places.borders[n], -abs(tokens[n] - done - aim)))


def _places(text: str) -> _Places:
    """Return the places where a text may be cut; a blank one has none inside."""
    positions, counts, borders, tokens = [0], [0], [_PARAGRAPH], 0
    if text.isspace():
        return _Places(positions, counts, borders)
    is_european = text.isascii() or not _BEYOND.search(text)
    for piece in (_EUROPEAN_PIECES if is_european else _PIECES).finditer(text):
        indent, stop, unspaced, wide, space = piece.groups()
        tokens += 1 + (indent != "") + (wide is not None) + ("\n" in space)
        positions.append(piece.end())
        counts.append(tokens)
        borders.append(_border(space, stop, unspaced))
    return _Places(positions, counts, borders)


def _torn(text: str, places: _Places) -> _Places:
    """Mark the places that cut what a reader sees as one character: a letter and its marks, a family of emoji."""
    for inner in INNER.finditer(text) if not text.isascii() and _MARKED.search(text) else ():
        place = bisect_left(places.positions, inner.start())
        if place < len(places.positions) and places.positions[place] == inner.start():
            places.borders[place] = _TORN
    return places


def _border(space: str, stop: str | None, unspaced: str | None) -> int:
    if not stop and space in ("", " "):  # as most are
        return _WORD if space else _INSIDE
    if space.count("\n") > 1:
        return _PARAGRAPH
    if unspaced or (stop and space):
        return _SENTENCE
    return _LINE if "\n" in space else _WORD if space else _INSIDE
