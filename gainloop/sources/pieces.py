"""Documents cut into pieces that fit one prompt. Pure: the same document gives the same pieces everywhere."""

import re
import unicodedata
from collections.abc import Callable, Iterator

import regex

from schemas.characters import STOP, STOP_BEGINS, is_abbreviated, last_whole, sentence_ends, visible
from schemas.rows import Document

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_TRAILING_SPACES = re.compile(r"(?<![^\S\n])[^\S\n]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{4,}")
Border = tuple[int, int]
"""Where a piece may end, and where the next one begins."""

_SPACE = re.compile(r"\s*")

_PARAGRAPHS, _LINES, _WORDS = re.compile(r"(?<!\n)\n{2,}"), re.compile(r"(?<!\n)\n+"), re.compile(r"(?<!\s)\s+")
_STOPS = regex.compile(rf"{STOP_BEGINS}{STOP}(?=\s)", regex.V1)
_AHEAD, _BACK = 64, 8
"""Characters beside a window in which the sign after a sentence, and signs around its end, may stand."""


def normalise(text: str) -> str:
    r"""Return the text that anchors are made of: one form per character, no invisible differences.

    Indentation stays, because it carries meaning in code and lists. Surrogates without a partner,
    which JSON can smuggle in and UTF-8 cannot hold, become U+FFFD.

    >>> normalise("\ufeffcafe\u0301  \r\n\r\n\r\n\r\n\r\n    x\x00")
    'café\n\n\n    x'
    """
    text = _SURROGATES.sub("\ufffd", _UNPRINTABLE.sub("", _LINE_ENDS.sub("\n", text)))
    text = unicodedata.normalize("NFC", visible(text))
    return _BLANK_LINES.sub("\n\n\n", _TRAILING_SPACES.sub("", text)).strip("\n")


def one_line(text: str) -> str:
    r"""Return a title or an address without line ends and doubled spaces.

    >>> one_line(" The\n  Title ")
    'The Title'
    """
    return " ".join((text if text.isascii() and text.isprintable() else normalise(text)).split())


def split_document(document: Document, max_chars: int, min_chars: int) -> list[Document]:
    """Return the pieces of a document in order; none if its normalised text has fewer than ``min_chars``.

    Every piece has ``min_chars`` to ``max_chars`` characters, white space counted, and ends at the
    best border in that range: a paragraph's, a line's, a sentence's, a word's; what a reader sees as one character is
    never cut where it fits. The pieces together
    are the text again, up to white space. A document that fits stays whole and keeps its uri.

    Args:
        document: Document to cut.
        max_chars: Characters of a piece, at most; at least ``2 * min_chars``, so that no rest is too short for a piece.
        min_chars: Characters of a piece, at least; 1 or more.
    """
    text = normalise(document.text)
    if len(text) < min_chars:
        return []
    # A uri is a name, which is another one in another form of its characters: that of a source stays as it is.
    title, uri = one_line(document.title), document.uri if document.uri.isprintable() else one_line(document.uri)
    pieces = [piece for piece in _cut(text, max_chars, min_chars) if piece.strip()]
    uris = [f"{uri};piece={n}" for n in range(1, len(pieces) + 1)] if len(pieces) > 1 else [uri]
    return [Document(piece, title, of, document.licence) for piece, of in zip(pieces, uris, strict=True)]


def _cut(text: str, max_chars: int, min_chars: int) -> Iterator[str]:
    start = 0
    while len(text) - start > max_chars:
        lowest, highest = start + min_chars, min(start + max_chars, len(text) - min_chars)
        end, next_start = _last_border(text, start, lowest, highest, latest_start=len(text) - min_chars)
        yield text[start:end]
        start = next_start
    yield text[start:]


def _last_border(text: str, begin: int, lowest: int, highest: int, latest_start: int) -> tuple[int, int]:
    """Return where a piece that begins somewhere ends, within two positions, and where the next one begins."""
    for borders in _BORDERS:
        fitting = (
            (end, start)
            for end, start in borders(text, lowest, highest)
            if lowest <= end <= highest and start <= latest_start
        )
        if found := max(fitting, default=None):
            return found
    whole = last_whole(text, begin, highest)
    return (whole, whole) if whole >= lowest else (highest, highest)


def _white(pattern: re.Pattern[str]) -> Callable[[str, int, int], Iterator[Border]]:
    """Return a function that yields the white space of a kind in a window, to its end beyond it."""

    def find(text: str, lowest: int, highest: int) -> Iterator[Border]:
        for near in pattern.finditer(text, lowest, highest + 1):
            # Matched again, so that a run is not cut by the window's end.
            if found := pattern.match(text, near.start()):
                yield found.span()

    return find


def _sentences(text: str, lowest: int, highest: int) -> Iterator[Border]:
    for end, _ in sentence_ends(text, max(0, lowest - _BACK), min(len(text), highest + _AHEAD)):
        yield end, _after_space(text, end)


def _stops(text: str, lowest: int, highest: int) -> Iterator[Border]:
    """Yield the stops that are followed by white space, though a small letter may follow it."""
    for found in _STOPS.finditer(text, max(0, lowest - _BACK), min(len(text), highest + 1)):
        if not is_abbreviated(text, found.end()):
            yield found.end(), _after_space(text, found.end())


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


# From the best place to cut to the worst. Indentation stays with the line it belongs to. Where a sentence ends is said
# once for all texts (schemas/characters.py), but these are not the borders of asking/chunks.py, where a sentence goes
# before a line: those move 16 % of 2,223 cuts of Wikipedia, C4 and Python's documentation, and with them the ids of
# anchors. Looking at every place of a text also takes 2.5 times as long.
_BORDERS = (_white(_PARAGRAPHS), _white(_LINES), _sentences, _stops, _white(_WORDS))
