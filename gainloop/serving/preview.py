"""A few records before anything is decided: what a method makes of the first documents, and nothing is stored."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from gainloop.methods.pipeline import read_pipeline
from gainloop.serving.driver import Driver
from gainloop.serving.pool import Pool
from gainloop.sources.source import Corpus, Part
from gainloop.store.replies import ReplyLog
from schemas.errors import BadInput
from schemas.recipe import Recipe
from schemas.rows import Anchor, Outcome, Record, Reply

MOST_ANCHORS: Final = 12
"""Documents that are tried, at most: of many every so-manieth, so that they are not all of one folder."""

RECORDS_OF_ONE: Final = 2
"""Records of one anchor that are shown, at most: five of one document say little of the others."""

logger = logging.getLogger("gainloop.preview")

Show = Callable[[Anchor, Record], None]


@dataclass
class Preview:
    """What came of it: records with their anchors, drops by reason, and whether the time was over too soon."""

    shown: list[tuple[Anchor, Record]] = field(default_factory=list)
    drops: Counter[str] = field(default_factory=Counter)
    num_records: int = 0
    is_late: bool = False

    @property
    def num_anchors(self) -> int:
        return len({anchor.anchor_id for anchor, _ in self.shown})

    def add(self, anchor: Anchor, outcome: Outcome, most: int, show: Show) -> None:
        """Count what came of an anchor, and show of it what there is room for."""
        self.num_records += len(outcome.records)
        self.drops.update(drop.reason for drop in outcome.drops)
        for record in outcome.records[: min(RECORDS_OF_ONE, most - len(self.shown))]:
            self.shown.append((anchor, record))
            show(anchor, record)


class Unkept(ReplyLog):
    """A log that keeps nothing."""

    def of_verdicts(self, anchor_ids: Iterable[str]) -> ReplyLog:
        """Return one that keeps no verdicts either."""
        return Unkept("")

    async def land(self, reply: Reply, anchor_id: str, facet: str) -> None:
        """Let a reply pass."""


def first_anchors(source: Corpus, most: int = MOST_ANCHORS) -> list[Anchor]:
    """Return the first piece of some documents, from all over a source.

    Raises:
        BadInput: The source cannot be read, or none of its first documents is long enough.
        SourceError: The source cannot be reached now.
    """
    parts = list(source.parts())
    spread = parts[:: max(1, len(parts) // most)]
    anchors = list(islice(_firsts(source, spread, -(-most // max(1, len(spread)))), most))
    if not anchors:
        raise BadInput(
            f"previewing source {source.kind!r}: none of the documents that were read has "
            f"{getattr(source, 'min_chars', 'enough')} characters; one at least must. "
            "Point the source at more text, or lower min_chars."
        )
    return anchors


def _firsts(source: Corpus, parts: list[Part], a_part: int) -> Iterator[Anchor]:
    """Yield the first pieces of parts; one that cannot be read is named and passed over, unless all are."""
    faults = list[BadInput]()
    for part in parts:
        try:
            found = (source.cut(part, document) for document in source.read(part))
            for piece, *_ in islice(filter(None, found), a_part):
                yield Anchor(piece.text, piece.title, piece.uri, piece.licence, part.fingerprint)
        except BadInput as error:
            faults.append(error)
            logger.warning("Passed over %s: %s", part.name, error)
    if faults and len(faults) == len(parts):
        raise faults[0]


async def write_few(
    pool: Pool, recipe: Recipe, anchors: list[Anchor], most: int, at_once: int, seconds: float, show: Show
) -> Preview:
    """Work on anchors until there are ``most`` records or the time is over; each record is shown when it is made.

    Args:
        at_once: Anchors that are worked on at once.
        seconds: Time for all of it; what is not done by then is given up.
    """
    preview, waiting = Preview(), list(anchors)
    running: dict[asyncio.Task[dict[str, Outcome]], Anchor] = {}
    deadline = asyncio.get_running_loop().time() + seconds
    try:
        while len(preview.shown) < most and (running or waiting):
            while waiting and len(running) < at_once:
                anchor = waiting.pop(0)
                running[asyncio.create_task(_driver(pool, recipe).run([anchor]))] = anchor
            left = deadline - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait(running, timeout=max(0, left), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                anchor = running.pop(task)
                preview.add(anchor, task.result()[anchor.anchor_id], most, show)
            if not done:
                preview.is_late = True
                break
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return preview


def _driver(pool: Pool, recipe: Recipe) -> Driver:
    return Driver(read_pipeline(recipe), pool, recipe.sampling, recipe.seed, Unkept(""))
