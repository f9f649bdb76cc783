"""Continuations put one after the other: what a continuation says again of the text before it is cut off."""

import re

from tasks.asking.chunks import ends_sentence
from tasks.measures.text import COPY_WORDS

# Ideographs and kana one by one, since no space stands between their words; anything else from space to space.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\s{_CJK}]+")
_SIGNS = re.compile(r"^\W+|\W+$")


def stitch(written: str, seen: str, continuation: str, space: str, source: str) -> str:
    """Return a text and its continuation as one; what ends the text and begins the continuation again is there once.

    That is cut if it begins with a sentence, or is at least 8 words. The result begins with all of ``written`` and
    ends with all of ``continuation``, case and the signs around words aside: whatever is cut, nothing new is lost.
    Words with which ``source`` begins too are no repetition but its own rewriting, and stay; so do shorter
    repetitions, which may as well be how a new sentence begins.

    Args:
        seen: The end of ``written`` that the model was shown, which alone it can repeat.
        space: Stands between the two, as it does in the document.
        source: What the continuation is a new version of.

    >>> stitch("Rye grows. It is ground.", "It is ground.", "It is ground. Then it is baked.", " ", "One bakes.")
    'Rye grows. It is ground. Then it is baked.'
    >>> stitch("He built the mill.", "He built the mill.", "The mill burnt down.", " ", "Fire took it.")
    'He built the mill. The mill burnt down.'
    """
    written, continuation = written.strip(), continuation.strip()
    new = continuation[_repeated_chars(seen.strip(), continuation, source) :].lstrip()
    return written + space + new if written and new else written or new


def _repeated_chars(seen: str, continuation: str, source: str) -> int:
    """Return how many characters of a continuation say again how the text before it ends: the longest such."""
    before, after = list(_TOKEN.finditer(seen)), list(_TOKEN.finditer(continuation))
    ended, begun = [_same(one[0]) for one in before], [_same(one[0]) for one in after]
    own = [_same(one) for one in _TOKEN.findall(source)[: len(begun)]]
    for num in range(min(len(ended), len(begun)), 0, -1):
        if ended[-num] != begun[0] or ended[-num:] != begun[:num] or own[:num] == begun[:num]:
            continue
        begins_sentence = num == len(before) or ends_sentence(seen[: before[-num].start()].rstrip())
        if num >= COPY_WORDS or begins_sentence:
            return after[num - 1].end()
    return 0


def _same(token: str) -> str:
    """Return a word without case and without the signs around it; a sign alone is itself."""
    return _SIGNS.sub("", token.casefold()) or token
