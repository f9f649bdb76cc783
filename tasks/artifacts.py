"""Artifacts of a run's page, masked; Prefect's page shows them as Markdown, and must load nothing that a text names."""

import re
from typing import Any, Final
from uuid import UUID

from prefect import artifacts

from schemas.masking import mask

_LOADED: Final = re.compile(r"!(?=\[)(?!\[[^\]\n]{0,200}\]\(data:image/)|<(?=[A-Za-z/!?])")
"""Where a picture begins that is not within the text itself, or an element of HTML."""


def create_markdown_artifact(markdown: str, key: str, description: str = "") -> None:
    artifacts.create_markdown_artifact(shown(markdown), key, shown(description) or None)


def create_table_artifact(table: list[dict[str, Any]], key: str, description: str = "") -> None:
    cells = [{name: _cell(value) for name, value in row.items()} for row in table]
    artifacts.create_table_artifact(cells, key, shown(description) or None)


def create_image_artifact(picture: str, key: str, description: str = "") -> None:
    """Show a picture, given as a data URI."""
    artifacts.create_image_artifact(picture, key, shown(description) or None)


def create_link_artifact(link: str, key: str, link_text: str, description: str = "") -> None:
    artifacts.create_link_artifact(mask(link), shown(link_text), key, shown(description) or None)


def create_progress_artifact(percent: float, line: str, key: str | None = None) -> UUID:
    """Begin a bar on the run's page, and return its id."""
    made = artifacts.create_progress_artifact(percent, key, shown(line))
    assert isinstance(made, UUID)  # outside an event loop Prefect answers at once
    return made


def update_progress_artifact(artifact: UUID, percent: float, line: str) -> None:
    artifacts.update_progress_artifact(artifact, percent, shown(line))


def shown(markdown: str) -> str:
    """Return Markdown as an artifact holds it, a description too: Prefect's page shows all of them as Markdown."""
    return loading_nothing(mask(markdown))


def loading_nothing(markdown: str) -> str:
    r"""Return Markdown whose pictures are links, but for those within it, and whose HTML is text.

    >>> loading_nothing("![a](data:image/png;base64,AA) ![b](http://host/b.png) <img src=//host/c.png> 1 < 2")
    '![a](data:image/png;base64,AA) \\![b](http://host/b.png) &lt;img src=//host/c.png> 1 < 2'
    """
    return _LOADED.sub(lambda found: {"!": "\\!", "<": "&lt;"}[found[0]], markdown)


def _cell(value: Any) -> Any:
    return shown(value) if isinstance(value, str) else value
