"""The share of a record's words that are not copied from its anchor, and the least share that is kept."""

from random import Random
from typing import Annotated, Literal

from pydantic import Field

from gainloop.asking.conversation import Conversation
from gainloop.filters.filter import KEEP, Filter
from gainloop.measures.ngrams import copied_share
from schemas.rows import Anchor, Record


class Novelty(Filter):
    """Keeps records of whose words at least a share ``least`` is not copied from their anchor.

    Records of whose words fewer stand outside every 8-word sequence of their anchor are refused as ``not_novel``.
    """

    kind: Literal["novelty"] = "novelty"
    least: Annotated[float, Field(ge=0, le=1, description="Smallest share of words not copied that is kept.")] = 0.2

    @property
    def max_requests(self) -> int:
        return 0

    def check(self, anchor: Anchor, record: Record, rng: Random) -> Conversation[str]:
        yield from ()
        return KEEP if 1 - copied_share(record.text, anchor.text) >= self.least else "not_novel"
