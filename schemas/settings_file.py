"""Settings that a person wrote down in a YAML file, read within bounds: aliases can stand for terabytes."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from schemas.errors import BadInput

MAX_BYTES: Final = 64 * 2**10
MAX_DEPTH: Final = 20
MAX_VALUES: Final = 10_000
"""Values of a file, at most, with all that its aliases stand for. The longest of profiles/ has 40."""

_INDENTED: Final = re.compile(r"mapping values are not allowed|<block|block (mapping|sequence)|expected ':'|'\\t'")
"""Words of the YAML library that mean, most often, that a line is indented wrongly."""


def read_settings(path: Path, attempt: str, advice: str) -> dict[str, Any]:
    """Return the settings of a file and their values; none if it is empty.

    Args:
        attempt: Words for what is attempted, with the file, as the message begins.
        advice: What to do next, as it ends.

    Raises:
        BadInput: The file cannot be read, is no YAML of settings, or is longer, deeper or larger than settings are.
    """
    settings = None
    try:
        settings = _load(path)
        found = f"it holds a {type(settings).__name__}"
    except OSError as error:
        found = str(error.strerror)
    except yaml.MarkedYAMLError as error:
        found = f"{error.problem} in line {error.problem_mark.line + 1 if error.problem_mark else 1}"
        if _INDENTED.search(error.problem or ""):
            advice = f"Look at how that line and the one before are indented. {advice}"
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # a date or a number that there is not
        found = " ".join(str(error).split())
    if not isinstance(settings, dict):
        raise BadInput(f"{attempt}: {found}; a YAML file of settings and their values is allowed. {advice}.")
    return settings


def _load(path: Path) -> Any:
    if path.exists() and not path.is_file():  # a pipe is waited for without end
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is longer than {MAX_BYTES:,} bytes")
    _require_small(content)
    return yaml.safe_load(content) or {}


def _require_small(content: bytes) -> None:
    """Refuse a file before anything is made of it, if that would be too deep or too large.

    Raises:
        ValueError: It would be.
    """
    open_: list[tuple[str | None, int]] = []  # anchor of each collection that is open, and the values before it
    sizes: dict[str, int] = {}
    num_values = 0
    for event in yaml.parse(content, yaml.SafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            sizes |= {anchor: num_values - before} if anchor else {}
            continue
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_):
                raise ValueError(f"alias {event.anchor} stands within itself")
            num_values += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, num_values))
            num_values += 1
        elif isinstance(event, yaml.ScalarEvent):
            num_values += 1
        if len(open_) > MAX_DEPTH:
            raise ValueError(f"its values stand more than {MAX_DEPTH} deep within each other")
        if num_values > MAX_VALUES:
            raise ValueError(f"it stands for more than {MAX_VALUES:,} values, those of aliases counted")
