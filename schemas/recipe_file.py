"""A recipe as a YAML file: the parameters of a command, each part of them below its name."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from schemas.errors import BadInput
from schemas.profile import PROFILES
from schemas.settings_file import read_settings


def read_recipe_file(path: str, names: Sequence[str]) -> dict[str, Any]:
    """Return the parameters that a file sets; they are validated with those of the command line.

    Args:
        path: Path of the file.
        names: Parameters that the command has.

    Raises:
        BadInput: The file cannot be read, or sets something that is no parameter of the command.
    """
    attempt = f"reading recipe {path}"
    file = Path(path).expanduser()
    found = read_settings(file, attempt, "Mend it, or correct --recipe" if file.exists() else _others())
    # As on the command line: heldout-fraction is heldout_fraction too.
    found = {str(name).replace("-", "_"): value for name, value in found.items()}
    if unknown := [name for name in found if name not in names]:
        near = get_close_matches(unknown[0], names, 1)
        raise BadInput(
            f"{attempt}: {unknown[0]} is not a parameter of the command; known are {', '.join(names)}. "
            f"{f'Correct it to {near[0]}, or remove it' if near else 'Correct or remove it'}."
        )
    return found


def _others() -> str:
    """Return what to do where a recipe is not there, with those that are."""
    known = ", ".join(f"examples/{one.name}" for one in sorted((PROFILES.parent / "examples").glob("*.yaml")))
    return "Correct --recipe" + (f": there are {known}" if known else "")


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return parameters of which those above win; a part of another kind begins anew.

    >>> merged({"exam": {"kind": "files", "paths": ["q"]}, "seed": 1}, {"exam": {"distractors": 2}})
    {'exam': {'kind': 'files', 'paths': ['q'], 'distractors': 2}, 'seed': 1}
    >>> merged({"exam": {"kind": "files", "paths": ["q"]}}, {"exam": {"kind": "written", "model": "m"}})
    {'exam': {'kind': 'written', 'model': 'm'}}
    """
    found = dict(below)
    for name, value in above.items():
        before = found.get(name)
        if isinstance(before, dict) and isinstance(value, dict) and _is_of_kind(value, before):
            found[name] = merged(before, value)
        else:
            found[name] = value
    return found


def _is_of_kind(part: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether a part is of another's kind; one that says none is."""
    return bool(part.get("kind", other.get("kind")) == other.get("kind"))
