"""Sources whose documents are rows: which field is the text, the title and the name."""

from typing import Annotated, Any

from pydantic import Field

from schemas.errors import BadInput
from schemas.rows import Document
from tasks.sources.source import Source


class TabularSource(Source):
    """Parameters that every source of rows has."""

    text_field: Annotated[str, Field(min_length=1, description="the field that holds a row's text")] = "text"
    title_field: Annotated[str, Field(description="the field that holds its title, if any")] = ""
    id_field: Annotated[str, Field(description="the field that names a row in its uri; its number if empty")] = ""
    licence: Annotated[str, Field(description="of the texts, for example CC-BY-4.0")] = ""

    @property
    def fields(self) -> list[str]:
        """The fields that every row must have."""
        return [field for field in dict.fromkeys((self.text_field, self.title_field, self.id_field)) if field]

    def to_document(self, row: dict[str, Any], number: int, part_name: str) -> Document:
        """Return a row's document; a text that is null is an empty one, which is counted as too short.

        Raises:
            BadInput: The text is no text.
        """
        text = row[self.text_field] or ""
        if not isinstance(text, str):
            raise BadInput(
                f"reading {part_name}, row {number}: field {self.text_field!r} holds a {type(text).__name__}; "
                "text is allowed. Set text_field to a field that holds text."
            )
        name = row[self.id_field] if self.id_field else number
        title = row[self.title_field] if self.title_field else None
        return Document(text, "" if title is None else str(title), f"{part_name}#{name}", self.licence)
