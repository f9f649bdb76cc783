"""The least part of a record that its anchor does not say in the same words."""

from random import Random
from typing import Annotated, Literal

from pydantic import Field

from schemas.rows import Anchor, Record
from tasks.asking.conversation import Conversation
from tasks.filters.filter import KEEP, Filter
from tasks.measures.text import copied_share


class Novelty(Filter):
    """Keeps records of whose words at least ``least`` stand in no 8-word sequence of their anchor. Asks nothing."""

    kind: Literal["novelty"] = "novelty"
    least: Annotated[float, Field(ge=0, le=1, description="the smallest share of words not copied")] = 0.2

    @property
    def max_requests(self) -> int:
        return 0

    def check(self, anchor: Anchor, record: Record, rng: Random) -> Conversation[str]:
        yield from ()
        return KEEP if 1 - copied_share(record.text, anchor.text) >= self.least else "not_novel"
