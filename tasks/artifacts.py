"""Artifacts of a run's page, masked; Prefect's page shows them as Markdown, and must load nothing that a text names."""

import re
from typing import Any, Final
from uuid import UUID

from prefect import artifacts

from schemas.masking import mask

_LOADED: Final = re.compile(r"!(?=\[)(?!\[[^\]\n]{0,200}\]\(data:image/)|<(?=[A-Za-z/!?])")
"""Where a picture begins that is not within the text itself, or an element of HTML."""


def create_markdown_artifact(markdown: str, key: str, description: str = "") -> None:
    artifacts.create_markdown_artifact(loading_nothing(mask(markdown)), key, mask(description) or None)


def create_table_artifact(table: list[dict[str, Any]], key: str, description: str = "") -> None:
    shown = [{name: _cell(value) for name, value in row.items()} for row in table]
    artifacts.create_table_artifact(shown, key, mask(description) or None)


def create_image_artifact(picture: str, key: str, description: str = "") -> None:
    """Show a picture, given as a data URI."""
    artifacts.create_image_artifact(picture, key, mask(description) or None)


def create_link_artifact(link: str, key: str, link_text: str, description: str = "") -> None:
    artifacts.create_link_artifact(mask(link), link_text, key, mask(description) or None)


def create_progress_artifact(percent: float, line: str, key: str | None = None) -> UUID:
    """Begin a bar on the run's page, and return its id."""
    made = artifacts.create_progress_artifact(percent, key, mask(line))
    assert isinstance(made, UUID)  # outside an event loop Prefect answers at once
    return made


def update_progress_artifact(artifact: UUID, percent: float, line: str) -> None:
    artifacts.update_progress_artifact(artifact, percent, mask(line))


def loading_nothing(markdown: str) -> str:
    r"""Return Markdown whose pictures are links, but for those within it, and whose HTML is text.

    >>> loading_nothing("![a](data:image/png;base64,AA) ![b](http://host/b.png) <img src=//host/c.png> 1 < 2")
    '![a](data:image/png;base64,AA) \\![b](http://host/b.png) &lt;img src=//host/c.png> 1 < 2'
    """
    return _LOADED.sub(lambda found: {"!": "\\!", "<": "&lt;"}[found[0]], markdown)


def _cell(value: Any) -> Any:
    return loading_nothing(mask(value)) if isinstance(value, str) else value
