"""Datasets of the Hugging Face hub, streamed: nothing is downloaded as a whole."""

import os
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from gainloop.sources.formats import require_fields
from gainloop.sources.names import readable
from gainloop.sources.places import belongs
from gainloop.sources.source import Part, TabularSource
from schemas.errors import BadInput, SourceError
from schemas.recipe import BASIC
from schemas.rows import Document


class HuggingFace(TabularSource):
    """A dataset of the hub at a pinned revision, or a folder that ``datasets`` can load, streamed.

    A part is a split.
    """

    kind: Literal["huggingface"] = "huggingface"
    dataset: Annotated[
        str, BASIC, Field(min_length=1, description="Dataset: a hub id, for example wikimedia/wikipedia, or a folder.")
    ]
    config: Annotated[str, Field(description="Configuration of the dataset, if it has several.")] = ""
    split: Annotated[str, Field(min_length=1, description="Part of the dataset that is read.")] = "train"
    revision: Annotated[
        str, BASIC, Field(description="Revision on the hub, a commit or a tag; it names what was read.")
    ]

    @field_validator("revision")
    @classmethod
    def _pin(cls, revision: str) -> str:
        if revision in ("", "main"):
            raise ValueError(
                "a commit or a tag is allowed, because what a branch names changes and the same recipe "
                "would give another batch; the dataset's page lists its commits under Files and versions"
            )
        return revision

    def parts(self) -> Iterator[Part]:
        yield Part(f"{self.dataset}/{self.config or 'default'}/{self.split}", self.revision)

    def read(self, part: Part) -> Iterator[Document]:
        where = f"dataset {self.dataset!r}, split {self.split!r}, revision {self.revision!r}"
        for number, row in enumerate(self._stream(where), 1):
            require_fields(self.fields_with(self.text_field), row, where)
            yield self.to_document(row, number, part.name, self.text_field)

    def _stream(self, where: str) -> Iterator[dict[str, Any]]:
        from datasets import load_dataset_builder  # seconds of import that no other source needs

        try:
            builder = load_dataset_builder(self.dataset, self.config or None, revision=self.revision)
            self._require_own_files(builder.config.data_files or {}, where)
            yield from builder.as_streaming_dataset(split=self.split)
        except BadInput:
            raise
        except (ValueError, FileNotFoundError) as error:
            raise BadInput(
                f"reading {where}: {error}; a dataset on the hub or a folder is allowed, and a config and split of it. "
                "Correct them; for a private dataset set HF_TOKEN."
            ) from error
        except OSError as error:
            raise SourceError(
                f"reading {where}: {error}; the hub must be within reach. "
                "Try again later, or download the files and read them with source files."
            ) from error

    def _require_own_files(self, files: dict[str, list[str]], where: str) -> None:
        """Refuse a dataset whose own description names files outside of it: of this machine, or of another place."""
        for url in (url for urls in files.values() for url in urls):
            *_, path = url.split("::")
            is_here = "://" not in path and os.path.isdir(self.dataset) and belongs(path, self.dataset)
            if not is_here and not path.startswith(f"hf://datasets/{self.dataset}@"):
                raise BadInput(
                    f"reading {where}: it names {readable(url)!r}, which is not its own; a dataset's own files are "
                    "allowed. Read those with source files, if they are what they should be."
                )
