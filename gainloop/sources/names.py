"""Names of files: as a page can show them, and as globs choose them. Pure."""

import re
from collections.abc import Callable, Iterable
from urllib.parse import quote

from fsspec.utils import glob_translate

from schemas.errors import BadInput

# What would end a name, cut it or be changed when it becomes a uri: the mark of a row, of a piece and of this escape,
# control characters, and white space that is not a single blank between two words.
_ESCAPED = re.compile(r"[%#;\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]|(?! )\s|^ | $|(?<= ) ")

_SURROGATES = re.compile("[\ud800-\udfff]")
_WILDCARD = re.compile(r"[*?\[]")


def printable(name: str) -> str:
    r"""Return a name that can be shown and stored anywhere; two names never give the same.

    A disk may hold names that are not UTF-8: their bytes are escaped, as in a url.

    >>> printable("std::vector [x] ?.md"), printable("caf\udce9\n#1.md"), printable("\ud800\u200b")
    ('std::vector [x] ?.md', 'caf%E9%0A%231.md', '%ED%A0%80%E2%80%8B')
    """
    escaped = _ESCAPED.sub(lambda found: _escape(found[0]), name)
    return escaped if escaped.isprintable() else "".join(one if one.isprintable() else _escape(one) for one in escaped)


def _escape(sign: str) -> str:
    return quote(_bytes_of(sign), safe="")


def _bytes_of(sign: str) -> bytes:
    """Return the bytes of a sign; half of a surrogate pair is a byte of a name on disk, or comes from JSON."""
    try:
        return sign.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return sign.encode(errors="surrogatepass")


def readable(name: str) -> str:
    r"""Return a name for a reader's eye; two names may give the same.

    >>> readable("caf\udce9\x1b #1") == "caf\N{REPLACEMENT CHARACTER} #1"
    True
    """
    return "".join(one for one in _SURROGATES.sub("\ufffd", name) if one.isprintable())


def has_wildcards(pattern: str) -> bool:
    return bool(_WILDCARD.search(pattern))


def split_pattern(pattern: str, is_folder: Callable[[str], bool]) -> tuple[str, str]:
    """Return the fixed folder of a glob, and its wildcards; a folder may be named like a glob.

    >>> split_pattern("/x/y*/z", lambda _: False), split_pattern("/x/[y]/*.md", lambda path: path == "/x/[y]")
    (('/x', 'y*/z'), ('/x/[y]', '*.md'))
    """
    steps = pattern.split("/")
    for number, step in enumerate(steps):
        if has_wildcards(step) and not is_folder("/".join(steps[: number + 1])):
            return "/".join(steps[:number]), "/".join(steps[number:])
    return pattern, ""


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return a test of whether any of the globs chooses a name, a folder that it lies in, or the last part of either.

    >>> is_chosen = matcher(["drafts", "*.log", "a/**/b.md"])
    >>> [is_chosen(name) for name in ("x/drafts/y.md", "x/y.log", "a/b.md", "a/x/b.md", "b.md")]
    [True, True, True, True, False]
    """
    tests = [compiled(pattern) for pattern in patterns]

    def is_chosen(name: str) -> bool:
        steps = name.split("/")
        names = {"/".join(steps[: end + 1]) for end in range(len(steps))} | set(steps)
        return any(test.match(one) for test in tests for one in names)

    return is_chosen


def compiled(pattern: str) -> re.Pattern[str]:
    """Return a glob as the expression that whole names match."""
    try:
        return re.compile(glob_translate(pattern.strip("/")))
    except (ValueError, re.error) as error:
        raise BadInput(
            f"reading the glob {pattern!r}: {error}; * ? [abc] within a name are allowed, and ** as a whole folder. "
            "Correct it."
        ) from error
