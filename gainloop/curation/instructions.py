"""Instructions of a batch compared with all others by ROUGE-L: which of its records say one again.

Only methods that invent instructions are compared, with each other's: elsewhere the first turn is what was asked, and
several records may answer the same question.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import polars as pl

from gainloop.measures.rouge import AlikeTexts, rouge_tokens
from gainloop.store import Store
from schemas.conversation import read_turns
from schemas.instruction import instruction_of, read_group

NEAR_INSTRUCTION: Final = "near_instruction"


class Known(NamedTuple):
    """An instruction that was there before: a record's, of this batch or another, or one of an anchor.

    Attributes:
        kind: What it is of: anchor, earlier record or record.
        of: Id of the snapshot or the batch.
        item: Id of the anchor or the record.
        anchor_id: Anchor of a record of this batch; empty for the others, which every record is compared with.
    """

    kind: str
    of: str
    item: str
    anchor_id: str
    text: str


class KnownInstructions:
    """Instructions in which those of records are looked up, each wording of a kind once.

    Args:
        threshold: ROUGE-L above which an instruction says another one again.
    """

    def __init__(self, threshold: float) -> None:
        self._alike = AlikeTexts(threshold)
        self._known: list[Known] = []
        self._seen: set[tuple[str, ...]] = set()

    def __len__(self) -> int:
        return len(self._known)

    def add(self, known: Known) -> None:
        tokens = rouge_tokens(known.text)
        key = (known.kind, known.anchor_id, *tokens)
        if key not in self._seen:
            self._seen.add(key)
            self._alike.add(tokens)
            self._known.append(known)

    def nearest(self, text: str, anchor_id: str, kinds: Sequence[str]) -> tuple[Known, float] | None:
        """Return the instruction that is most alike, the first of several, and their ROUGE-L; None if none is enough.

        Args:
            anchor_id: Anchor whose records are left out: the method has compared those with each other.
            kinds: Kinds of instructions that are looked at.
        """
        found = [
            (self._known[number], score)
            for number, score in self._alike.alike(rouge_tokens(text))
            if self._known[number].kind in kinds and anchor_id != self._known[number].anchor_id
        ]
        return max(found, key=lambda one: one[1], default=None)


def instructions_of_anchors(snapshot_id: str, anchors: pl.DataFrame) -> Iterator[Known]:
    """Yield the instructions of a snapshot's anchors that are groups of them; none of other anchors.

    Args:
        anchors: Columns anchor_id, text.
    """
    for anchor_id, text in anchors.select("anchor_id", "text").iter_rows():
        for one in read_group(text):
            yield Known("anchor", snapshot_id, anchor_id, "", one.text)


def earlier_instructions(store: Store, batch_id: str, methods: Sequence[str]) -> Iterator[Known]:
    """Yield the instructions of the kept records of batches that were validated before, in the order of validation.

    Args:
        methods: Kinds of the methods that invent instructions.
    """
    rows = store.query(
        "select r.batch_id, r.record_id, r.turns from records r join completions c using (batch_id) "
        "where c.stage = 'validate' and r.batch_id != $1 and r.turns != '' and list_contains($2, r.method) and not "
        "exists (select 1 from quarantine q where q.batch_id = r.batch_id and q.record_id = r.record_id) "
        "order by c.rowid, r.record_id",
        batch_id,
        list(methods),
    )
    for other, record_id, turns in rows.iter_rows():
        yield Known("earlier record", other, record_id, "", instruction_of(read_turns(turns)))


def instructions_said_again(
    records: pl.DataFrame, batch_id: str, known: KnownInstructions, kept_before: set[str], within: bool
) -> Iterator[tuple[str, Known, float]]:
    """Yield the id of each record whose instruction is like a known one or one of the batch, which one, and how alike.

    Of the batch's own that are alike, the one with the lowest id stays, and those of its anchor; a record that is
    yielded takes no other with it.

    Args:
        records: Conversations in the order of record_id: columns record_id, anchor_id, turns.
        known: Instructions that were there before; those of the batch are added.
        kept_before: Records that an earlier batch has kept as they are: they are not compared with earlier ones.
        within: True if records of the batch are compared with each other.
    """
    for record_id, anchor_id, turns in records.select("record_id", "anchor_id", "turns").iter_rows():
        text = instruction_of(read_turns(turns))
        kinds = ("anchor", "record") if record_id in kept_before else ("anchor", "earlier record", "record")
        if found := known.nearest(text, anchor_id, kinds):
            yield record_id, *found
        elif within:
            known.add(Known("record", batch_id, record_id, anchor_id, text))
