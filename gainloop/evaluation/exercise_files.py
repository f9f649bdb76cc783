"""Exercises from files of rows: problems as GSM8K has them, calls of functions as BFCL has them, constraints."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from gainloop.evaluation.exercises import Calling, Constrained, Exercise, Solving
from gainloop.measures.constraints import AnyConstraint
from gainloop.measures.function_calls import Function, WantedCall
from gainloop.solutions.mathematics import compare_plainly, marked_answer
from gainloop.solutions.problem import KINDS, Problem, ProblemKind
from gainloop.solutions.problem_rows import read_options, read_tests
from gainloop.sources.tables import Tables
from schemas.choice import dotted, reason
from schemas.conversation import Turn, read_messages
from schemas.errors import BadInput
from schemas.exercise import FIRST_OPTION, Exercises
from schemas.rows import content_hash

READING: Final = "exercises"
FILES: Final = Tables(READING, "exercises.paths")
ANSWER_FILES: Final = Tables("accepted calls", "exercises.answer_files")

QUESTIONS: Final = ("question", "prompt", "instruction", "problem", "messages")
ANSWERS: Final = ("answer", "final_answer", "solution")
OPTIONS: Final = ("options", "choices")
TESTS: Final = ("tests", "test_list")
FUNCTIONS: Final = ("function", "functions", "tools")
ACCEPTED: Final = ("ground_truth", "accepted_calls")
IRRELEVANT: Final = "irrelevance"
"""Part of the id of BFCL's rows in which nothing is to be called; they have no accepted calls anywhere."""

Row = Mapping[str, Any]

_CONSTRAINTS: TypeAdapter[tuple[AnyConstraint, ...]] = TypeAdapter(tuple[AnyConstraint, ...])


@dataclass(frozen=True, slots=True)
class ExerciseSet:
    """Exercises in the order of their files, each once, and the number of rows that gave the same as another."""

    exercises: tuple[Exercise, ...]
    num_duplicates: int = 0

    @property
    def set_id(self) -> str:
        return content_hash("exercises", sorted(one.exercise_id for one in self.exercises))


def read_exercises(wanted: Exercises) -> ExerciseSet:
    """Return the exercises that files hold.

    Raises:
        BadInput: A file cannot be read, or a row is no exercise; it names the first.
    """
    accepted = dict(_accepted_by_id(wanted))
    found: dict[str, Exercise] = {}
    num_rows = 0
    for url in FILES.find(wanted.paths):
        rows = islice(FILES.read(url), wanted.max_exercises)
        for number, row in rows:
            num_rows += 1
            named = f"{posixpath.basename(url)} row {number}"
            exercise = read_exercise(row, named, accepted, wanted.first_option)
            found.setdefault(exercise.exercise_id, exercise)
    if not found:
        raise BadInput(
            f"reading exercises from {', '.join(wanted.paths)}: there is no row; one at least is needed. Write "
            "some, or correct exercises.paths."
        )
    return ExerciseSet(tuple(found.values()), num_rows - len(found))


def read_exercise(
    row: Row, where: str, accepted: Mapping[str, Any] | None = None, first_option: int = FIRST_OPTION
) -> Exercise:
    """Return the exercise of a row: constrained if it has ``constraints``, called if it has functions, else a problem.

    Args:
        where: File and row, for errors.
        accepted: Calls that are right, as BFCL has them, by the id of a row.
        first_option: Number of the first option of a choice.

    Raises:
        BadInput: The row is none.
    """
    if "constraints" in row:
        return Exercise(_messages(row, where), Constrained(_constraints(row, where)))
    if given := _first(row, FUNCTIONS):
        if not isinstance(given, list):
            raise _bad(where, f"its functions are {type(given).__name__}", "a list of objects is needed")
        functions = tuple(_function(one, where) for one in given)
        return Exercise(_messages(row, where), Calling(functions, _wanted(row, where, functions, accepted or {})))
    problem = read_problem_row(row, where, first_option)
    return Exercise((Turn("user", problem.asked),), Solving(problem))


def read_problem_row(row: Row, where: str, first: int = FIRST_OPTION) -> Problem:
    """Return the problem of a row.

    Its answer is a text or a number; behind ``####`` or in ``\\boxed{}`` where a way to it is written out. With
    ``options`` it is one of them: its text, label, letter or number from ``first``. With ``tests`` it is a program:
    statements of Python that fail if it is wrong, or objects with ``input`` and ``output``. Options and tests have the
    shapes that the source ``problems`` reads. ``kind`` says otherwise.

    Raises:
        BadInput: The row is none.
    """
    question = _first(row, QUESTIONS)
    options = read_options(_first(row, OPTIONS), f"{READING}, {where}")
    if not isinstance(question, str) or not question.strip():
        raise _bad(where, f"no text in {' or '.join(QUESTIONS)}; fields there are {', '.join(row)}", "one is needed")
    tests = read_tests(_first(row, TESTS), f"{READING}, {where}")
    given = _first(row, ANSWERS)
    if isinstance(given, dict | list | bytes):
        raise _bad(where, f"its answer is a {type(given).__name__}", "a text or a number is allowed")
    answer = "" if given is None else str(given).strip()
    kind = _kind(row, answer, where, bool(options.texts), bool(tests))
    if kind == "choice":
        answer = options.letter(given if isinstance(given, int) else answer, f"{READING}, {where}", first)
    elif not tests and not answer:
        raise _bad(where, f"no answer in {' or '.join(ANSWERS)}, and no tests", "what is right must be known")
    final = marked_answer(answer) if kind == "mathematics" else ""
    return Problem(question.strip(), final or answer, kind, options.texts, tests, answer if final else "")


def _kind(row: Row, answer: str, where: str, has_options: bool, has_tests: bool) -> ProblemKind:
    if (said := row.get("kind")) is not None:
        if found := next((kind for kind in KINDS if kind == said), None):
            return found
        raise _bad(where, f"its kind is {said!r}", f"allowed are {', '.join(KINDS)}")
    if has_tests or has_options:
        return "code" if has_tests else "choice"
    return "mathematics" if marked_answer(answer) or compare_plainly(answer, "0") != "unknown" else "exact"


def _messages(row: Row, where: str) -> tuple[Turn, ...]:
    """Return the conversation of a row: a text, messages, or as BFCL has it, a list of turns of which there is one."""
    given = _first(row, QUESTIONS)
    if isinstance(given, list) and given and isinstance(given[0], list):
        if len(given) > 1:
            raise _bad(where, f"it has {len(given)} turns", "one is allowed, what comes of calls is not played")
        given = given[0]
    if isinstance(given, str) and given.strip():
        return (Turn("user", given.strip()),)
    try:
        turns = read_messages(given)
    except ValueError as error:
        raise _bad(where, str(error), f"a text or messages in {' or '.join(QUESTIONS)} are needed") from error
    if not turns or turns[-1].role != "user" or any(one.calls or one.role == "tool" for one in turns):
        raise _bad(where, "its messages do not end with a user's, or have calls", "a user's must be the last")
    return tuple(Turn(one.role, one.content) for one in turns if one.role != "tool")


def _constraints(row: Row, where: str) -> tuple[AnyConstraint, ...]:
    try:
        constraints = _CONSTRAINTS.validate_python(row["constraints"])
    except ValidationError as error:
        first = error.errors()[0]
        found = f"{dotted(['constraints', *first['loc']])}, {reason(first)}"
        raise _bad(where, found, "a list of objects, each with its kind, is needed") from error
    if not constraints:
        raise _bad(where, "its constraints are none", "one at least is needed")
    return constraints


def _function(given: Any, where: str) -> Function:
    about = given.get("function", given) if isinstance(given, dict) else None
    if not isinstance(about, dict) or not isinstance(about.get("name"), str):
        raise _bad(where, "a function has no name", "objects of name and parameters are needed")
    parameters = about.get("parameters") or {}
    if not isinstance(parameters, dict) or not isinstance(parameters.get("properties") or {}, dict):
        raise _bad(where, f"the parameters of {about['name']} are no object of properties", "a schema is needed")
    return Function(about["name"], parameters, str(about.get("description") or ""))


def _wanted(
    row: Row, where: str, functions: tuple[Function, ...], accepted: Mapping[str, Any]
) -> tuple[WantedCall, ...]:
    """Return the calls of a row that are right, from the row itself or from a file of accepted calls.

    Raises:
        BadInput: None are known, and the row is none in which nothing is to be called.
    """
    row_id = str(row.get("id", ""))
    given = next((row[name] for name in ACCEPTED if name in row), accepted.get(row_id))
    if given is None and IRRELEVANT in row_id:
        return ()
    if not isinstance(given, list):
        raise _bad(
            where,
            f"no calls that are accepted, in {' or '.join(ACCEPTED)} or under the id {row_id!r}",
            "a list is needed, empty where nothing is to be called; exercises.answer_files names BFCL's files of them",
        )
    known = {one.name for one in functions}
    calls = [(name, some) for call in given if isinstance(call, dict) for name, some in call.items()]
    if len(calls) != len(given) or not all(name in known and isinstance(some, dict) for name, some in calls):
        raise _bad(where, "an accepted call is of none of its functions", "objects of a function's name are needed")
    return tuple(WantedCall(name, some) for name, some in calls)


def _accepted_by_id(wanted: Exercises) -> Iterator[tuple[str, Any]]:
    for url in ANSWER_FILES.find(list(wanted.answer_files)):
        for number, row in ANSWER_FILES.read(url):
            if "id" not in row or (found := _first(row, ACCEPTED)) is None:
                raise _bad(f"{posixpath.basename(url)} row {number}", "no id and accepted calls", "both are needed")
            yield str(row["id"]), found


def _first(row: Row, names: tuple[str, ...]) -> Any:
    """Return the value of the first of some fields that is there and not empty."""
    return next((row[name] for name in names if row.get(name) not in (None, "", [])), None)


def _bad(where: str, found: str, allowed: str) -> BadInput:
    return BadInput(f"reading {READING}, {where}: {found}; {allowed}. Mend or remove that row.")
