"""The base of every filter: parameters, and one conversation that ends in keep, or a reason."""

from abc import abstractmethod
from collections.abc import Sequence
from random import Random

from gainloop.asking.conversation import Conversation, side_by_side
from schemas.recipe import Parameters
from schemas.rows import Anchor, Drop, Outcome, Record

KEEP = ""


class Filter(Parameters):
    """A test that every record of a batch must pass: frozen parameters and one conversation. It opens nothing.

    Attributes:
        kind: Name of the filter in recipes, in the registry and in the README.
    """

    kind: str

    @property
    @abstractmethod
    def max_requests(self) -> int:
        """Requests to the generator that one record can lead to, at most."""

    @property
    def verifies(self) -> bool:
        """Whether it asks for verdicts of this machine's programs."""
        return False

    @abstractmethod
    def check(self, anchor: Anchor, record: Record, rng: Random) -> Conversation[str]:
        """Return ``KEEP``, or the short key of the reason why a record is refused; ask the generator where needed."""


def sift(anchor: Anchor, outcome: Outcome, filters: Sequence[Filter], rng: Random) -> Conversation[Outcome]:
    """Return an anchor's outcome after the filters: they run one after the other, each on all records at once.

    Every reply of a refused record becomes a drop with the filter's reason.
    """
    records, drops = outcome.records, list(outcome.drops)
    for one in filters:
        reasons = yield from side_by_side([one.check(anchor, record, rng) for record in records])
        for record, reason in zip(records, reasons, strict=True):
            if reason:
                drops += [Drop(anchor.anchor_id, record.facet, reason, reply) for reply in record.request_ids]
        records = [record for record, reason in zip(records, reasons, strict=True) if not reason]
    return Outcome(records, drops)
