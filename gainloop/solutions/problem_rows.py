"""Parts of problems as rows of files have them: options, the option that is right, tests."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gainloop.solutions.choice import letter_of
from gainloop.solutions.problem import LETTERS, Example, Test
from schemas.errors import BadInput
from schemas.exercise import FIRST_OPTION


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a choice in their order, and the labels that a row has for them, if any.

    ``are_numbers`` is true where the row has numbers for them, and not texts.
    """

    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    are_numbers: bool = False

    def letter(self, answer: str | int, where: str, first: int = FIRST_OPTION) -> str:
        """Return the letter of the option that an answer is: one rule for exams, exercises and problems.

        A label is meant before all else. An integer is the number of an option, unless options are numbers themselves;
        a text is an option's text, its letter or its number, whichever it is first.

        Args:
            where: File and row, for errors.
            first: Number of the first option.

        Raises:
            BadInput: It is none of them.

        >>> Options(("oats", "rye")).letter("1", "row 1"), Options(("oats", "1")).letter("1", "row 2", first=1)
        ('B', 'B')
        >>> Options(("oats", "rye"), ("1", "2")).letter("1", "row 3"), Options(("oats", "rye")).letter("Rye", "row 4")
        ('A', 'B')
        >>> Options(("4", "2", "0")).letter(2, "row 5"), Options(("4", "2", "0"), are_numbers=True).letter(2, "row 6")
        ('C', 'B')
        """
        said, numbers = str(answer), [str(number) for number in range(first, first + len(self.texts))]
        if said in self.labels:
            return LETTERS[self.labels.index(said)]
        is_text = self.are_numbers or not isinstance(answer, int)
        if (is_text or said not in numbers) and (letter := letter_of(self.texts, said)):
            return letter
        if said in numbers:
            return LETTERS[numbers.index(said)]
        allowed = f"its label, text, letter or number from {first} is allowed, as first_option says"
        raise refusal(where, f"its answer {said[:60]!r} is none of its {len(self.texts)} options", allowed)


def read_options(value: Any, where: str, clean: Callable[[str], str] = str.strip) -> Options:
    """Return the options of a row, also as JSON: a list of texts or numbers, or of objects with ``text`` and perhaps
    ``label``; or ``{"text": [...], "label": [...]}``.

    Args:
        where: File and row, for errors.
        clean: Function that each text is read by.

    Raises:
        BadInput: They are something else, or more than there are letters.
    """
    value = opened(value)
    labels: Any = []
    if isinstance(value, list) and value and all(isinstance(one, dict) and "text" in one for one in value):
        labels = [one["label"] for one in value if "label" in one]
        value = [one["text"] for one in value]
    if isinstance(value, dict) and "text" in value:
        labels, value = value.get("label", []), opened(value["text"])
        if value is None and labels is None:  # a column of objects in a row that has none
            return Options()
    if (value is None or value == "") and not labels:
        return Options()
    if not _are_plain(value) or len(value) > len(LETTERS):
        allowed = f"a list of at most {len(LETTERS)} texts is allowed"
        raise refusal(where, f"options are {str(value)[:60]!r}", allowed)
    if not _are_plain(labels) or len(labels) not in (0, len(value)):
        raise refusal(where, f"labels of options are {str(labels)[:60]!r}", f"a list of {len(value)} is allowed")
    texts, are_numbers = tuple(clean(str(one)) for one in value), any(not isinstance(one, str) for one in value)
    return Options(texts, tuple(map(str, labels)), are_numbers)


def read_tests(value: Any, where: str, clean: Callable[[str], str] = str) -> tuple[Test, ...]:
    """Return the tests of a row, also as JSON: statements or examples, one or a list of them, or lists of both sides.

    An example is ``{"input": ..., "output": ...}``; both sides are ``{"inputs": [...], "outputs": [...]}``.

    Args:
        where: File and row, for errors.
        clean: Function that each text is read by.

    Raises:
        BadInput: They are something else, or the sides are of different lengths.
    """
    value = opened(value)
    if isinstance(value, dict) and {"inputs", "outputs"} <= set(value):
        value = _paired(opened(value["inputs"]), opened(value["outputs"]), where)
    elif isinstance(value, str | dict):
        value = [value]
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _no_test(value, where)
    return tuple(_test(one, where, clean) for one in value if one != "" and not str(one).isspace())


def opened(value: Any) -> Any:
    """Return what a text of JSON holds, as tables without lists write them; any other value as it is.

    >>> opened('["oats"]'), opened("[oats]"), opened("7")
    (['oats'], '[oats]', '7')
    """
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def refusal(where: str, found: str, allowed: str) -> BadInput:
    """Return the error about a row."""
    return BadInput(f"reading {where}: {found}; {allowed}. Mend or remove that row, or name the fields that it has.")


def _paired(inputs: Any, outputs: Any, where: str) -> list[dict[str, Any]] | None:
    if inputs is None and outputs is None:
        return None
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise refusal(where, "inputs or outputs of its tests are no list", "two lists of one length are allowed")
    if len(inputs) != len(outputs):
        found = f"its tests have {len(inputs)} inputs and {len(outputs)} outputs"
        raise refusal(where, found, "two lists of one length are allowed")
    return [{"input": one, "output": other} for one, other in zip(inputs, outputs, strict=True)]


def _test(value: Any, where: str, clean: Callable[[str], str]) -> Test:
    if isinstance(value, str):
        return clean(value)
    if not isinstance(value, dict) or not {"input", "output"} <= set(value):
        raise _no_test(value, where)
    given, printed = (one if isinstance(one, list) else [one] for one in (value["input"], value["output"]))
    if any(one is None or isinstance(one, dict) for one in (*given, *printed)):
        raise _no_test(value, where)
    return Example(*(clean("\n".join(map(str, lines))) for lines in (given, printed)))


def _no_test(value: Any, where: str) -> BadInput:
    allowed = "statements, or an object with input and output, are allowed"
    return refusal(where, f"a test is {str(value)[:60]!r}", allowed)


def _are_plain(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(one, str | int | float) for one in values)
