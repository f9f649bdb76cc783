"""Whether a record says what its anchor says: no statement that the anchor does not support, the same meaning."""

from random import Random
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from gainloop.asking.conversation import Conversation, ask, beside
from gainloop.asking.structured import list_of, object_of, object_schema, one_of, read_object, read_text, text_of
from gainloop.filters.filter import KEEP, Filter
from schemas.rows import Anchor, Drop, Record, Request

VERDICTS = ("contradicted", "unsupported", "supported")
MEANINGS = ("changed", "kept")

COMPARE = (
    "The draft was written from the document. Pick the statements of the draft that the document may not bear out, at "
    "most {most} and the most doubtful first, and say of each whether the document leaves it supported, unsupported or "
    "contradicted; what follows from the document is supported, and wording, order and style do not matter. Then say "
    "whether the meaning of what the draft took from the document is kept or changed. Answer as JSON, with no "
    "statement if there is nothing to doubt."
)


class Compared(NamedTuple):
    """The verdict of a reply on a record beside its anchor."""

    num_unsupported: int
    meaning_kept: bool


class Fidelity(Filter):
    """Keeps records in which the generator finds no statement that their anchor does not support.

    The generator lists up to ``most_unsupported`` + 3 statements of a record that its anchor may not bear out, says of
    each whether it is supported, unsupported or contradicted, and whether the meaning is kept. A record with more than
    ``most_unsupported`` that are not supported, or of another meaning, is refused as ``unfaithful``.

    Costs: ``d`` prompt tokens and the record's. Anchor and record are judged whole, so both must fit the server's
    context; one that does not is ``unjudged``.
    """

    kind: Literal["fidelity"] = "fidelity"
    most_unsupported: Annotated[
        int, Field(ge=0, le=20, description="Statements, unsupported or contradicted, that a kept record may have.")
    ] = 0

    @property
    def max_requests(self) -> int:
        return 1

    def check(self, anchor: Anchor, record: Record, rng: Random) -> Conversation[str]:
        reply = yield from ask(anchor, ask_comparison(anchor, record, self.most_unsupported + 3), read_comparison)
        if isinstance(reply, Drop):
            return "unjudged"
        faithful = reply.value.meaning_kept and reply.value.num_unsupported <= self.most_unsupported
        return KEEP if faithful else "unfaithful"


def ask_comparison(anchor: Anchor, record: Record, most: int) -> Request:
    """Ask for the statements of a record that its anchor does not bear out, ``most`` at most."""
    statement = object_schema({"statement": text_of(120), "verdict": one_of(*VERDICTS)})
    schema = object_of(statements=list_of(statement, 0, most), meaning=one_of(*MEANINGS))
    prompt = beside(anchor, record.text, COMPARE.format(most=most))
    return Request(prompt, facet=f"fidelity {record.facet}", json_schema=schema, greedy=True)


def read_comparison(text: str) -> Compared | None:
    """Return the verdict of a reply; None if it cannot be read, or a statement has no verdict.

    >>> read_comparison('{"statements": [{"statement": "It burns.", "verdict": "unsupported"}], "meaning": "kept"}')
    Compared(num_unsupported=1, meaning_kept=True)
    >>> read_comparison('{"statements": [{"statement": "It burns."}], "meaning": "kept"}') is None
    True
    """
    found = read_object(text) or {}
    statements, meaning = found.get("statements"), found.get("meaning")
    if not isinstance(statements, list) or meaning not in MEANINGS:
        return None
    if not all(isinstance(one, dict) and read_text(one.get("statement")) for one in statements):
        return None
    verdicts = [one.get("verdict") for one in statements]
    if not all(verdict in VERDICTS for verdict in verdicts):
        return None
    return Compared(sum(verdict != "supported" for verdict in verdicts), meaning == "kept")
