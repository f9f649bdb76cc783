"""Where anchors come from: one module a kind of place, this registry, which finds them, and several of them as one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from gainloop.sources.source import Corpus, Part, Source
from schemas.choice import kinds_within, one_of
from schemas.errors import BadInput
from schemas.rows import Document

__all__ = ["SOURCES", "AnySource", "Several"]

_SINGLE: dict[str, type[Source]] = kinds_within(__name__, __path__, Source, first="python_docs")

if TYPE_CHECKING:
    OneSource = Source
else:
    OneSource = one_of("source.sources", _SINGLE, "gainloop/sources/")


class Several(Corpus):
    """Several sources as one corpus, each with its own parameters.

    A part is a part of one of them, under the name that it has there.
    """

    kind: Literal["several"] = "several"
    sources: Annotated[list[OneSource], Field(min_length=1, description="Sources of the documents, each of a kind.")]

    def parts(self) -> Iterator[Part]:
        owners: dict[str, int] = {}
        for number, source in enumerate(self.sources, 1):
            for part in source.parts():
                if owners.setdefault(part.name, number) != number:
                    raise BadInput(
                        f"reading several sources: numbers {owners[part.name]} and {number} both have a part "
                        f"{part.name!r}; a name is allowed once. Set name of one of them, or exclude the file."
                    )
                yield Part(part.name, part.fingerprint, part.url, (source, part))

    def read(self, part: Part) -> Iterator[Document]:
        source, inner = part.found
        yield from source.read(inner)

    def cut(self, part: Part, document: Document) -> list[Document]:
        source, inner = part.found
        pieces: list[Document] = source.cut(inner, document)
        return pieces

    def tell_none(self, num_documents: int) -> str:
        told = "; ".join(f"{source.kind}: {source.min_chars:,}" for source in self.sources)
        return (
            f"none of {num_documents} documents has the characters that its source asks for at least ({told}); a "
            "snapshot needs one. Point one of the sources at more text, or lower its min_chars."
        )


SOURCES: dict[str, type[Corpus]] = {**_SINGLE, "several": Several}

if TYPE_CHECKING:
    AnySource = Corpus
else:
    AnySource = one_of("source", SOURCES, "gainloop/sources/", "python_docs")
