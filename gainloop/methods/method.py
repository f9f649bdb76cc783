"""The base of every method: parameters, a generator of requests, and the rule for which replies become records."""

from abc import abstractmethod
from collections.abc import Sequence
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gainloop.asking.conversation import reason_to_drop
from schemas.recipe import Parameters
from schemas.rows import Anchor, Answer, Drop, Outcome, Record, Reply, Request, Rounds
from schemas.suites import Suite

Prompts = Annotated[
    Literal["full", "plain"],
    Field(description="Prompts: full, or plain ones of one short sentence for a model of under a billion parameters."),
]


class Method(Parameters):
    """A way to make text: frozen parameters and one generator. It opens nothing, so it runs against
    servers, against replies saved before a crash and against a list in a test.

    Attributes:
        kind: Name of the method in recipes, in the registry and in the README.
        tunes_generator: True if it trains its own generator from the start checkpoint first.
        makes_turns: True if its records are conversations, which a training reads by a chat template.
        holds_anchor: True if its records hold the anchor itself, so that no critic may rewrite them.
        invents_instructions: True if what users say in its records is new, and must not say again what others say.
        roles: Roles of its requests that another model than the generator may play.
        calls_tools: True if its requests may be calls of real tools, of servers that the profile names.
        wishes: Instructions of its prompts for text. A record that repeats a piece of one has leaked its prompt.
        expectations: Expectations of its records; each replaces the general one of the same column.
    """

    kind: str
    tunes_generator: ClassVar[bool] = False
    makes_turns: ClassVar[bool] = False
    holds_anchor: ClassVar[bool] = False
    invents_instructions: ClassVar[bool] = False
    roles: ClassVar[tuple[str, ...]] = ()
    calls_tools: ClassVar[bool] = False
    wishes: ClassVar[tuple[str, ...]] = ()
    expectations: ClassVar[Suite] = ()

    @property
    @abstractmethod
    def max_requests(self) -> int:
        """Requests to the generator that one anchor can lead to, in all rounds together."""

    @property
    def max_records(self) -> int:
        """Records that one anchor can lead to: one a request, where a method does not say otherwise."""
        return self.max_requests

    @property
    def verifies(self) -> bool:
        """Whether it asks for verdicts of this machine's programs."""
        return False

    def said(self, reply: Reply) -> Reply:
        """Return a reply as it is judged whether it can be used: without a thought, where one is wanted."""
        return reply

    @abstractmethod
    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        """Yield lists of requests, be sent their answers in the same order, return the anchor's records and drops.

        Args:
            anchor: Anchor to work from.
            rng: Random numbers, seeded by recipe and anchor, so neither order nor limit changes a draw.
        """


def keep_finished(
    method: Method,
    anchor: Anchor,
    requests: Sequence[Request],
    answers: Sequence[Answer],
    before: Sequence[Record] = (),
) -> Outcome:
    """Return one record of every reply that came to its own end with text in it, and the others as drops.

    A text that another reply of the anchor has already said is dropped as a ``repeat``: it adds nothing.

    Args:
        before: Records that the anchor has already.
    """
    outcome = Outcome(list(before))
    texts = {record.text for record in before}
    for request, answer in zip(requests, answers, strict=True):
        if drop := reason_to_drop(anchor, request, answer):
            outcome.drops.append(drop)
            continue
        assert isinstance(answer, Reply)
        text = answer.text.strip()
        if text in texts:
            outcome.drops.append(Drop(anchor.anchor_id, request.facet, "repeat", answer.request_id))
        else:
            outcome.records.append(Record(anchor.anchor_id, method.kind, request.facet, text, (answer.request_id,)))
        texts.add(text)
    return outcome


def without_repeats(outcome: Outcome) -> Outcome:
    """Return an outcome with each text once; the replies of a record that repeats one are dropped as ``repeat``.

    Equal records of one and the same reply become one, and nothing is dropped.
    """
    records: dict[str, Record] = {}
    drops = list(outcome.drops)
    for record in outcome.records:
        kept = records.setdefault(record.text, record)
        again = [reply for reply in record.request_ids if reply not in kept.request_ids]
        drops += [Drop(record.anchor_id, record.facet, "repeat", reply) for reply in again]
    return Outcome(list(records.values()), drops)


def each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names; a validator of parameters that refuses a name that comes twice.

    >>> each_once(("faq", "math"))
    ('faq', 'math')
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} is named twice; each may be named once")
    return names
