"""The base of every source: parts that are read one by one, each again only when its fingerprint is new."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from gainloop.sources.names import printable
from gainloop.sources.pieces import split_document
from schemas.errors import BadInput
from schemas.recipe import BASIC, Parameters
from schemas.rows import Document, content_hash

# Raise it when the same parts would give other pieces than before, so that they are read again.
READING_RULES = 2

MaxChars = Annotated[int, Field(ge=2, description="Characters of an anchor, at most; longer documents are split.")]


@dataclass(frozen=True, slots=True)
class Part:
    """The unit of a refresh: a file, a module, a dataset's split.

    Attributes:
        name: Name of the part within its source, the same on every machine.
        fingerprint: Mark of the content, new when the content is; anchors carry it as their revision.
        url: Path or url that this machine reads.
        found: What the source reads it by, as it was found.
    """

    name: str
    fingerprint: str
    url: str = ""
    found: Any = field(default=None, compare=False, repr=False)


class Corpus(Parameters, ABC):
    """What a refresh reads. A kind adds ``kind: Literal["..."] = "..."`` and its parameters."""

    kind: str
    max_bad_share: Annotated[
        float,
        Field(ge=0, le=1, description="Share of the parts that may be left out as unreadable, of a few one; 0: none."),
    ] = 0.1

    @property
    def source_id(self) -> str:
        """Name of what is read, and how; what is only left out of it does not matter."""
        return content_hash("source", READING_RULES, self.model_dump(mode="json", exclude={"max_bad_share", "exclude"}))

    @abstractmethod
    def parts(self) -> Iterator[Part]:
        """Yield the parts as they are now, without reading them, in an order that does not change.

        Raises:
            BadInput: The parameters name nothing that can be read.
            SourceError: The place cannot be reached now.
        """

    @abstractmethod
    def read(self, part: Part) -> Iterator[Document]:
        """Yield the documents of a part, in memory that does not grow with it.

        Raises:
            BadInput: A row or a byte is not what it must be; the message names it.
            SourceChanged: The part is no longer what its fingerprint says; what was yielded of it may be wrong.
            SourceError: The place cannot be reached now.
        """

    @abstractmethod
    def cut(self, part: Part, document: Document) -> list[Document]:
        """Return the pieces of a part's document that become anchors; none if it is too short."""

    def tell_none(self, num_documents: int) -> str:
        """Return what is to be said where no document became an anchor, and what to do."""
        return f"none of {num_documents} documents is an anchor; a snapshot needs one at least. Point it at others."


class Source(Corpus):
    """One place that anchors come from, with the size that they have."""

    max_chars: MaxChars = 2000
    min_chars: Annotated[
        int, Field(ge=1, description="Characters of a document, at least; a shorter one is dropped as too_short.")
    ] = 100

    @model_validator(mode="after")
    def _leave_room_to_cut(self) -> Self:
        if self.max_chars < 2 * self.min_chars:
            raise ValueError(
                f"max_chars is {self.max_chars} and min_chars {self.min_chars}; "
                "max_chars of twice min_chars or more is allowed, so that no rest is too short"
            )
        return self

    def tell_none(self, num_documents: int) -> str:
        return (
            f"none of {num_documents} documents has {self.min_chars} characters; a snapshot needs one at least. "
            "Point the source at more text, or lower min_chars."
        )

    def cut(self, part: Part, document: Document) -> list[Document]:
        return split_document(document, self.max_chars, self.min_chars)


class TabularSource(Source):
    """Parameters that every source of rows has."""

    text_field: Annotated[str, BASIC, Field(min_length=1, description="Field that holds a row's text.")] = "text"
    title_field: Annotated[str, Field(description="Field that holds a row's title, if any.")] = ""
    id_field: Annotated[str, Field(description="Field that names a row in its uri. Default: the row's number.")] = ""
    licence: Annotated[str, Field(description="Licence of the texts, for example CC-BY-4.0.")] = ""

    def fields_with(self, text_field: str) -> list[str]:
        """Return the fields that every row must have."""
        return [name for name in dict.fromkeys((text_field, self.title_field, self.id_field)) if name]

    def to_document(self, row: dict[str, Any], number: int, part_name: str, text_field: str) -> Document:
        """Return a row's document; a text that is null is an empty one, which is counted as too short.

        Raises:
            BadInput: The field holds something other than text.
        """
        text = row[text_field] or ""
        if not isinstance(text, str):
            raise BadInput(
                f"reading {part_name}, row {number}: field {text_field!r} holds a {type(text).__name__}; "
                "text is allowed. Set text_field to a field that holds text."
            )
        name = printable(str(row[self.id_field])) if self.id_field else number
        title = row[self.title_field] if self.title_field else None
        return Document(text, "" if title is None else str(title), f"{part_name}#{name}", self.licence)
