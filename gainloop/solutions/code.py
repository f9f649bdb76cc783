"""Programs: the one that a solution gives, and what its tests make of it.

A test is statements of Python, run after the program in the same process, or an example: what the program reads, and
what it must print. Only Python's own library is there. A program passes its statements if the process comes to its own
last line, which a program that ends early does not; what examples expect is compared outside, where no program sees it.
A program that was written to deceive this very runner could forge the first.
"""

import json
import re
from collections.abc import Sequence
from typing import Final, Literal

from gainloop.solutions.problem import Example, Test
from gainloop.solutions.sandbox import Isolation, Limits, run

_FENCE: Final = re.compile(r"^[ \t]{0,9}(```+|~~~+)[ \t]{0,9}([\w+#.-]{0,20})[^\n`]*$", re.MULTILINE)
_PYTHON: Final = {"", "python", "python3", "py", "py3"}


def read_program(text: str) -> str:
    r"""Return the last block of code of a solution; empty if there is none, it has no end, or is of another language.

    >>> read_program("First:\n```python\nx = 1\n```\nThen:\n```\nx = 2\n```\nDone."), read_program("x = 1")
    ('x = 2\n', '')
    """
    opened: re.Match[str] | None = None
    last = ""
    for found in _FENCE.finditer(text):
        if opened is None:
            opened = found
        elif found[1].startswith(opened[1]) and not found[2]:
            last = text[opened.end() + 1 : found.start()] if opened[2].lower() in _PYTHON else ""
            opened = None
    return "" if opened else last


def verdict_of_program(
    program: str, tests: Sequence[Test], limits: Limits, isolation: Isolation
) -> Literal["right", "wrong", "timeout"]:
    """Run a program and its tests: all statements in one run, then each example in one, up to the first that fails.

    Raises:
        OSError: It could not be kept apart, and was not run.
    """
    statements = [test for test in tests if not isinstance(test, Example)]
    if statements:
        ran = run(_job(program, "solution", statements), b"", limits, isolation)
        if not ran.is_proven:
            return "timeout" if ran.ending == "timeout" else "wrong"
    for test in tests:
        if isinstance(test, Example):
            ran = run(_job(program, "__main__"), test.given.encode(errors="replace"), limits, isolation)
            if ran.ending != "done" or not is_printed(test.printed, ran.printed):
                return "timeout" if ran.ending == "timeout" else "wrong"
    return "right"


def is_printed(expected: str, printed: bytes) -> bool:
    r"""Tell whether a program printed what it must; space at the ends of lines and empty lines at the end do not count.

    >>> is_printed("1 2\n3", b"1 2 \n3\n\n"), is_printed("1 2", b"1\n2")
    (True, False)
    """
    return _lines(expected) == _lines(printed.decode(errors="replace"))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _job(program: str, name: str, tests: Sequence[str] = ()) -> bytes:
    return json.dumps({"solution": program, "name": name, "tests": list(tests)}).encode()
