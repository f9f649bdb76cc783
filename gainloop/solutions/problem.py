r"""Problems with a known answer, and the text that an anchor has of one.

The text can be read, trained on as it is, and turned back into the same problem: every part stands below a line that
names it, and a line of a part that looks like such a name has a backslash before it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final, Literal, get_args

from schemas.errors import BadInput

ProblemKind = Literal["mathematics", "code", "choice", "exact"]

KINDS: Final[tuple[ProblemKind, ...]] = get_args(ProblemKind)

LETTERS: Final = ascii_uppercase
"""Names of the options of a choice, of which there are no more."""


@dataclass(frozen=True, slots=True)
class Example:
    """A test of a program: what it is given on standard input, and what it must print."""

    given: str
    printed: str


Test = str | Example
"""A test of a solution in code: statements of Python that fail if it is wrong, or an example of a run."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A question, and what a right answer to it is.

    Attributes:
        question: Question as it is asked, without its options.
        answer: Final answer: a number or formula, a program, the letter or text of an option, a text. Empty if none is
            known.
        kind: What the answer is, which says how an answer is compared with it.
        options: Options of a choice, which are lettered in their order.
        tests: Tests of a program.
        worked: Answer with the way to it, where a file has one.
    """

    question: str
    answer: str = ""
    kind: ProblemKind = "exact"
    options: tuple[str, ...] = ()
    tests: tuple[Test, ...] = ()
    worked: str = ""

    def __post_init__(self) -> None:
        if len(self.options) > len(LETTERS):
            raise BadInput(
                f"making a problem of {self.question[:60]!r}: it has {len(self.options)} options; {len(LETTERS)} are "
                "allowed, a letter each. Leave it out."
            )

    @property
    def asked(self) -> str:
        r"""Question with its options, as it is put to a model.

        >>> Problem("Which is odd?", "B", "choice", ("2", "3")).asked
        'Which is odd?\n\nA) 2\nB) 3'
        """
        listed = "\n".join(f"{letter}) {option}" for letter, option in zip(LETTERS, self.options, strict=False))
        return f"{self.question}\n\n{listed}" if listed else self.question

    @property
    def is_verifiable(self) -> bool:
        """Whether anything is known that a solution can be compared with."""
        return bool(self.tests) if self.kind == "code" else bool(self.answer.strip())


_HEADS: Final[dict[ProblemKind, str]] = {
    "mathematics": "Mathematics problem",
    "code": "Programming problem",
    "choice": "Multiple-choice question",
    "exact": "Question",
}
_KIND_OF: Final = {head: kind for kind, head in _HEADS.items()}
_OPTION, _WORKED, _ANSWER = "Option", "Worked answer", "Answer"
_TEST, _GIVEN, _PRINTED = "Test", "Standard input", "Standard output"

_NAME: Final = rf"(?:{'|'.join(_HEADS.values())}|{_OPTION} [A-Z]|{_WORKED}|{_ANSWER}|{_TEST}|{_GIVEN}|{_PRINTED}):"
_LIKE_NAME: Final = re.compile(rf"^(?=\\*{_NAME}$)", re.MULTILINE)
_ESCAPED: Final = re.compile(rf"^\\(?=\\*{_NAME}$)", re.MULTILINE)
_BEGINS: Final = re.compile(rf"(?:\A|\n\n)({_NAME})(?:\n|\Z)")


def write_problem(problem: Problem) -> str:
    r"""Return a problem as the text of an anchor.

    >>> write_problem(Problem("What is 3 + 4?", "7", "mathematics"))
    'Mathematics problem:\nWhat is 3 + 4?\n\nAnswer:\n7'
    """
    return "\n\n".join(f"{name}:\n{_LIKE_NAME.sub(lambda _: chr(92), text)}" for name, text in _parts_of(problem))


def read_problem(text: str) -> Problem | None:
    r"""Return the problem that ``write_problem`` wrote; None for any other text.

    >>> read_problem('Mathematics problem:\nWhat is 3 + 4?\n\nAnswer:\n7')
    Problem(question='What is 3 + 4?', answer='7', kind='mathematics', options=(), tests=(), worked='')
    >>> read_problem("The mill grinds rye.") is None
    True
    """
    found = list(_BEGINS.finditer(text))
    if not found or found[0].start() or found[0][1].rstrip(":") not in _KIND_OF:
        return None
    ends = [one.start() for one in found[1:]] + [len(text)]
    parts = [
        (one[1].rstrip(":"), _ESCAPED.sub("", text[one.end() : max(one.end(), end)]))
        for one, end in zip(found, ends, strict=True)
    ]
    problem = _read_parts(parts)
    # A text that only looks like one is not torn to pieces: what is read is what is written.
    return problem if problem and write_problem(problem).rstrip("\n") == text.rstrip("\n") else None


def _parts_of(problem: Problem) -> Iterator[tuple[str, str]]:
    yield _HEADS[problem.kind], problem.question
    for letter, option in zip(LETTERS, problem.options, strict=False):
        yield f"{_OPTION} {letter}", option
    if problem.worked:
        yield _WORKED, problem.worked
    if problem.answer:
        yield _ANSWER, problem.answer
    for test in problem.tests:
        if isinstance(test, Example):
            yield _GIVEN, test.given
            yield _PRINTED, test.printed
        else:
            yield _TEST, test


def _read_parts(parts: list[tuple[str, str]]) -> Problem | None:
    (head, question), *others = parts
    single = {_WORKED: "", _ANSWER: ""}
    options: list[str] = []
    tests: list[Test] = []
    given: str | None = None
    for name, text in others:
        if (given is None) == (name == _PRINTED):
            return None
        if name == _PRINTED:
            tests.append(Example(given or "", text))
            given = None
        elif name == _GIVEN:
            given = text
        elif name == _TEST:
            tests.append(text)
        elif name.startswith(f"{_OPTION} "):
            options.append(text)
        elif name in single:
            single[name] = text
        else:
            return None
    if given is not None:
        return None
    return Problem(question, single[_ANSWER], _KIND_OF[head], tuple(options), tuple(tests), single[_WORKED])
