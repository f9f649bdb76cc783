"""What a command line names on this machine: files and models that must be there before anything starts."""

import glob
import os
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel

from schemas.errors import BadInput
from schemas.plan import names_path
from schemas.profile import Servers, load_profile

FILES: Final = "a folder, a file, a glob or a url is allowed. Correct it, or put files there."

MODELS: Final = (
    "a folder that save_pretrained wrote, a .gguf file, a hub id or a checkpoint id is allowed. Correct it, or run "
    "`make model` and set it to data/models/smollm2-135m-instruct."
)

OWN_MODELS: Final = ("start.model", "start.first", "exam.guesser", "checkpoints")
"""Options of models that run here."""

ASKED_MODELS: Final = ("judge.model", "exam.model", "asking.judge", "models")
"""Options of models that the profile's servers have; on a profile without servers they run here."""


def require_there(command: str, given: dict[str, Any]) -> None:
    """Refuse a path of this machine at which there is nothing; a run would say so too, when Prefect is up.

    Raises:
        BadInput: Nothing is there; it names the option.
    """
    serving = load_profile(given.get("profile", "embedded")).serving
    models = OWN_MODELS if isinstance(serving, Servers) else (*OWN_MODELS, *ASKED_MODELS)
    for option, path, allowed in _places(given, models):
        if "://" in path or "::" in path or os.path.exists(os.path.expanduser(path)):
            continue
        if allowed == MODELS or not any(glob.iglob(os.path.expanduser(path), recursive=True)):
            raise BadInput(
                f"reading the options of `{command}`: nothing found at {path!r}, which --{option.replace('_', '-')} "
                f"names; {allowed}"
            )


def _places(given: dict[str, Any], models: tuple[str, ...], above: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the options that name places of this machine, each with one of its values and what is allowed."""
    for name, value in given.items():
        option = f"{above}{name}"
        if isinstance(value, BaseModel):
            fields = {field: getattr(value, field) for field in type(value).model_fields}
            yield from _places(fields, models, f"{option}.")
        elif name in ("paths", "files") or name.endswith(("_paths", "_files")):
            yield from ((option, str(path), FILES) for path in value)
        elif option in models:
            named = (value,) if isinstance(value, str) else value
            yield from ((option, one, MODELS) for one in named if names_path(one))
