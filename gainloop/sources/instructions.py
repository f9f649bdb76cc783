"""Instructions that people or models wrote, in groups that a model continues: the seeds of Self-Instruct."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from random import Random
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gainloop.sources.names import readable
from gainloop.sources.pieces import normalise, one_line
from gainloop.sources.places import changed, open_place
from gainloop.sources.source import MaxChars, Part, Source
from gainloop.sources.tables import Tables
from schemas.conversation import read_messages
from schemas.errors import BadInput
from schemas.instruction import Instruction, instruction_of, write_group
from schemas.recipe import BASIC
from schemas.rows import Document, content_hash

logger = logging.getLogger("gainloop.sources")

FILES: Final = Tables("instructions", "source.seed_paths and source.made_paths")


class Instructions(Source):
    """Groups of instructions with inputs and outputs, drawn of files: Self-Instruct's, Alpaca's or `messages`.

    A row of .jsonl .json .csv or .parquet has ``instruction`` and either ``instances``, of which the first with an
    output counts, or ``input`` and ``output``; or it has ``messages``, or ``turns`` as the store has them, of which the
    first question and answer count: the first paragraph is the instruction, the rest its input. A row that lacks one,
    or says an instruction again, is left out and counted by reason in the log. An anchor is one group, drawn by the
    seed without replacement; all groups are one part, which is read again when a file is another one.
    """

    kind: Literal["instructions"] = "instructions"
    seed_paths: Annotated[
        list[str],
        BASIC,
        Field(min_length=1, description="Files of instructions that people wrote: paths, globs or any fsspec url."),
    ]
    made_paths: Annotated[
        list[str],
        Field(
            default_factory=list,
            description="Files of instructions that a model wrote, as store.kept(batch).write_ndjson(file) does.",
        ),
    ]
    shown: Annotated[int, Field(ge=1, le=64, description="Instructions of a group.")] = 8
    made_shown: Annotated[
        int, Field(ge=0, description="Instructions of a group that a model wrote, at most; people wrote the others.")
    ] = 2
    groups: Annotated[int, Field(ge=1, le=1_000_000, description="Groups that are drawn, one an anchor.")] = 100
    seed: Annotated[int, Field(description="Seed of the groups.")] = 0
    name: Annotated[
        str, Field(min_length=1, description="Name before those of the groups, which tells them from other sources'.")
    ] = "instructions"
    licence: Annotated[str, Field(description="Licence of the texts, for example Apache-2.0.")] = ""
    max_chars: MaxChars = 4000

    def parts(self) -> Iterator[Part]:
        listed = [[_marked(url) for url in FILES.find(paths)] for paths in (self.seed_paths, self.made_paths)]
        yield Part(self.name, content_hash("instructions", [[mark for _, mark in one] for one in listed]), found=listed)

    def read(self, part: Part) -> Iterator[Document]:
        seen: set[str] = set()
        human, made = ([one for url, mark in listed for one in self._read(url, mark, seen)] for listed in part.found)
        if not human:
            raise FILES.refusal(
                ", ".join(self.seed_paths),
                "no row has an instruction and an output",
                "rows with instruction and output, instruction and instances, or messages are read",
                "Correct source.seed_paths",
            )
        for number in range(self.groups):
            rng = Random(f"{self.seed}/{number}")  # noqa: S311
            group = self._draw(human, made, rng)
            yield Document(write_group(group), "", f"{part.name}#group-{number + 1}", self.licence)

    def cut(self, part: Part, document: Document) -> list[Document]:
        return [document] if len(document.text) >= self.min_chars else []

    def _draw(self, human: list[Instruction], made: list[Instruction], rng: Random) -> list[Instruction]:
        """Return one group in an order of its own; of fewer instructions than it may have, all."""
        num_made = min(self.made_shown, len(made), self.shown - 1)
        group = rng.sample(made, num_made) + rng.sample(human, min(self.shown - num_made, len(human)))
        rng.shuffle(group)
        return group

    def _read(self, url: str, mark: str, seen: set[str]) -> list[Instruction]:
        """Return the instructions of a file that no other has, each short enough to be one of a group."""
        found, drops = read_instructions((row for _, row in FILES.read(url)), seen)
        if _marked(url)[1] != mark:
            raise changed(url)
        num_rows = len(found) + drops.total()
        fitting = [one for one in (self._fitted(one) for one in found) if one]
        drops["too_long"] += len(found) - len(fitting)
        drops["shown without its output, which is too long"] += sum(not one.output for one in fitting)
        if told := "; ".join(f"{reason} ({count})" for reason, count in sorted(drops.items()) if count):
            logger.info("Of %d rows of %s: %s", num_rows, readable(url), told)
        return fitting

    def _fitted(self, one: Instruction) -> Instruction | None:
        """Return an instruction as a group shows it: whole, alone, or not at all, as it fits its part of the group."""
        room = self.max_chars // self.shown
        fits = (shown for shown in (one, replace(one, input="", output="")) if len(write_group([shown])) <= room)
        return next(fits, None)


def read_instructions(rows: Iterable[dict[str, Any]], seen: set[str]) -> tuple[list[Instruction], Counter[str]]:
    """Return the instructions of rows that have an instruction and an output, and how many rows have not, by reason.

    Args:
        seen: Instructions that were read before, without case; those that are read now are added.

    >>> rows = [{"instruction": "Name a grain.", "output": "Rye"}, {"instruction": "Sum up."}, {"text": ""}]
    >>> read_instructions(rows, set())
    ([Instruction(text='Name a grain.', input='', output='Rye')], Counter({'no_output': 1, 'no_instruction': 1}))
    """
    found: list[Instruction] = []
    drops: Counter[str] = Counter()
    for row in rows:
        one = read_instruction(row)
        reason = one if isinstance(one, str) else "repeat" if one.text.casefold() in seen else ""
        if isinstance(one, str) or reason:
            drops[reason] += 1
            continue
        seen.add(one.text.casefold())
        found.append(one)
    return found, drops


def read_instruction(row: dict[str, Any]) -> Instruction | str:
    """Return the instruction of a row, its first instance or its first question and answer; or what the row lacks.

    >>> read_instruction({"messages": [{"role": "user", "content": "Name the mood.\\n\\nIt rained."},
    ...     {"role": "assistant", "content": "sad"}]})
    Instruction(text='Name the mood.', input='It rained.', output='sad')
    """
    messages = row.get("messages") or row.get("turns")
    if messages is not None:
        text, given, output = _first_exchange(messages)
    else:
        instances = row["instances"] if isinstance(row.get("instances"), list) else [row]
        fields = [(_text(one.get("input")), _text(one.get("output"))) for one in instances if isinstance(one, dict)]
        given, output = next((pair for pair in fields if pair[1]), ("", ""))
        text = _text(row.get("instruction"))
    text = one_line(text)
    return Instruction(text, given, output) if text and output else "no_output" if text else "no_instruction"


def _first_exchange(messages: object) -> tuple[str, str, str]:
    try:
        turns = read_messages(json.loads(messages) if isinstance(messages, str) else messages)
    except (ValueError, RecursionError):
        return "", "", ""
    places = [place for place, turn in enumerate(turns[:-1]) if turn.role == "user"]
    if not places:
        return "", "", ""
    asked, answered = turns[places[0] : places[0] + 2]
    said = answered.content if answered.role == "assistant" and not answered.calls else ""
    text = instruction_of([asked])
    return text, _text(asked.content.strip().removeprefix(text)), _text(said)


def _text(value: object) -> str:
    return normalise(value).strip() if isinstance(value, str) else ""


def _marked(url: str) -> tuple[str, str]:
    """Return a file, and the mark of its content."""
    file = next(iter(open_place(url).find().files.values()), None)
    if file is None:
        raise BadInput(f"reading the instructions {url}: no file is there; a file is allowed. Run the same again.")
    return url, file.fingerprint
