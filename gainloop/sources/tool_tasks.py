"""Tasks for agents with tools as anchors: from files of them, or made of a simulated world."""

import json
import posixpath
from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from gainloop.sources.files import list_parts
from gainloop.sources.formats import TABLES, split_suffix
from gainloop.sources.pieces import normalise
from gainloop.sources.source import Part, Source
from gainloop.sources.texts import Growing
from gainloop.tools.shop_tasks import LEVELS, make_task
from gainloop.tools.task import ToolTask, read_task, write_task
from schemas.errors import BadInput
from schemas.recipe import BASIC
from schemas.rows import Document, content_hash

MADE: Final = "tasks of the shop"
KINDS: Final = ".jsonl, also with .gz or .zst"
PER_PART: Final = 100
"""Made tasks of a part: more tasks only add parts."""


def is_rows(name: str) -> bool:
    """Tell whether a file holds tasks, one a line.

    >>> is_rows("a.jsonl"), is_rows("a.jsonl.gz"), is_rows("a.md"), is_rows("a.json")
    (True, True, False, False)
    """
    return split_suffix(name)[0] == ".jsonl"


class ToolTasks(Source):
    """Tasks for agents with tools: .jsonl files of them, or a number that is made of the simulated shop by a seed.

    A task is one anchor, however long. Each is checked: its own reference actions must solve it. A part is a file, or
    a hundred tasks that are made.
    """

    kind: Literal["tool_tasks"] = "tool_tasks"
    task_paths: Annotated[
        list[str],
        BASIC,
        Field(default_factory=list, description="Files of tasks, .jsonl, one a line. Default: tasks are made."),
    ]
    number: Annotated[int, Field(ge=1, description="Tasks that are made, where there are no task_paths.")] = 300
    seed: Annotated[int, Field(description="Seed of the tasks that are made.")] = 0
    hardest: Annotated[
        int, Field(ge=1, le=LEVELS, description="Hardest level of the tasks that are made, each from 1 to it in turn.")
    ] = LEVELS
    licence: Annotated[str, Field(description="Licence of the tasks, for example CC-BY-4.0.")] = ""

    @model_validator(mode="after")
    def _have_one_place(self) -> Self:
        # What has its default was not chosen: a form sends the defaults of all that nobody has set.
        of_made = {name: ToolTasks.model_fields[name].default for name in ("number", "seed", "hardest")}
        if self.task_paths and any(getattr(self, name) != default for name, default in of_made.items()):
            raise ValueError(
                "task_paths and number, seed or hardest are set; tasks are read or made. Set the one or the other"
            )
        return self

    def parts(self) -> Iterator[Part]:
        if self.task_paths:
            yield from list_parts(self.task_paths, [], False, is_rows, KINDS)
            return
        for begin in range(0, self.number, PER_PART):
            end = min(begin + PER_PART, self.number)
            made = content_hash("made tasks", MADE, self.seed, self.hardest, begin, end)
            yield Part(f"{self._made} {begin} to {end}", made, found=range(begin, end))

    def read(self, part: Part) -> Iterator[Document]:
        if isinstance(part.found, range):
            for number in part.found:
                task = make_task(f"{self.seed}/{number}", 1 + number % self.hardest)
                yield self._document(task, f"{self._made}#{number}")
            return
        place, file = part.found
        _, compression = split_suffix(part.url)
        with place.reaching(), place.open(file) as raw:
            rows = Growing(raw, compression, file.stored_bytes, part.url).buffered()
            for number, row in TABLES[".jsonl"](rows, ["scenario"], part.url):
                where = f"{posixpath.basename(part.url)}, line {number}"
                yield self._document(_task_of(json.dumps(row), where), f"{part.name}#{number}")
        place.require_same(file)

    def cut(self, part: Part, document: Document) -> list[Document]:
        return [document]

    @property
    def _made(self) -> str:
        return f"{MADE} by seed {self.seed}"  # two of them in one corpus are told apart by it

    def _document(self, task: ToolTask, uri: str) -> Document:
        return Document(normalise(write_task(task)), task.scenario.reason[:100], uri, self.licence)


def _task_of(text: str, where: str) -> ToolTask:
    try:
        task = read_task(text)
        assert task is not None
        task.require_sound()
    except BadInput as error:
        raise BadInput(f"reading tool tasks, {where}: {error}") from error
    return task
