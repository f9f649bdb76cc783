"""What pydantic found wrong, in the form of the project's messages."""

from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails


def in_words(attempt: str, error: ValidationError, known: str, under: str = "") -> str:
    """Return everything that is wrong with a person's input.

    Args:
        attempt: What was attempted, with ids.
        known: Where the settings that are known are listed.
        under: The setting that the validated value belongs to; an option, if it begins with two dashes.
    """
    return f"{attempt}: " + " ".join(_sentence(found, known, under) for found in error.errors())


def reason(found: ErrorDetails) -> str:
    """Return pydantic's reason, to go on a sentence with."""
    told = found["msg"].removeprefix("Value error, ").rstrip(".")
    return told[:1].lower() + told[1:]


def dotted(path: Sequence[int | str]) -> str:
    """Return the place of a setting as a person writes it.

    >>> dotted(["optimiser", "learning_rate"])
    'optimiser.learning_rate'
    """
    return ".".join(str(step) for step in path)


def _sentence(found: ErrorDetails, known: str, under: str) -> str:
    name = dotted([*filter(None, [under]), *found["loc"]])
    if under.startswith("--"):
        name = name.replace("_", "-")
    match found["type"]:
        case "choice":
            return found["msg"]
        case "missing":
            return f"{name} is not set; it is required. Set it."
        case "extra_forbidden":
            return f"{name} is not a setting; {known} lists those that are. Correct or remove it."
        case "value_error":
            return f"{reason(found)}. Change it."
    return f"{name} is {found['input']!r}; {reason(found)}. Change it."
