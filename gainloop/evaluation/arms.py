"""The arms of a training: what each reads, in which order, and the name of what it makes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from gainloop.curation.selection import Selected, Selection, select_rows
from gainloop.curation.selection.records import record_candidates, with_answers
from gainloop.evaluation.general import Use, general_texts
from gainloop.store import Store
from gainloop.store.batches import kept_records, read_recipe, used_anchors
from gainloop.store.checkpoints import Lineage
from gainloop.store.snapshots import read_anchors, read_siblings
from gainloop.store.traces import OF_ALL
from schemas.conversation import Turn, read_turns
from schemas.errors import BadInput
from schemas.plan import Arm, TrainingPlan
from schemas.rows import content_hash, heldout_draw

if TYPE_CHECKING:
    from gainloop.models.packing import MixturePart


@dataclass(frozen=True, slots=True)
class Comparison:
    """One batch, one start and one plan: what the arms of a training share.

    Attributes:
        batch_id: Batch whose records the synthetic arm reads.
        start_id: Checkpoint that every arm continues.
        plan: Budget, mixture, seeds and points.
        general_id: Snapshot of the general text; empty where it is drawn from the start.
        others: Batches of the same snapshot whose records the synthetic arm reads as well: those of earlier rounds.
        of_all: True for arms that read the anchors of all documents, not those of the batch's own alone.
        selection: Rule by which the records that the synthetic arm reads are selected, or None for all.
    """

    batch_id: str
    start_id: str
    plan: TrainingPlan
    general_id: str = ""
    others: tuple[str, ...] = ()
    of_all: bool = False
    selection: Selection | None = None

    @property
    def training_id(self) -> str:
        """Id of the training: all its arms and seeds are one, so that none can be chosen."""
        more: list[Any] = [[*self.others], self.of_all] if self.others or self.of_all else []
        more += [{"selection": self.selection.model_dump(mode="json")}] if self.selection else []
        return content_hash("training", self.batch_id, self.start_id, self.plan.identity(), self.general_id, *more)

    @property
    def batches(self) -> tuple[str, ...]:
        """All batches whose records the synthetic arm reads."""
        return (*self.others, self.batch_id)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms that are trained; the replay control needs general text that the start has not written."""
        return tuple(arm for arm in self.plan.arms if arm != "replay_control" or self.general_id)

    @property
    def runs(self) -> Iterator[tuple[int, Arm]]:
        """Seed and arm of each run, in the order in which they are trained."""
        return ((seed, arm) for seed in range(self.plan.seeds) for arm in self.arms)

    @property
    def fractions(self) -> list[float]:
        """Parts of a run after which there is a checkpoint; the last is the whole."""
        return [number / self.plan.points for number in range(1, self.plan.points + 1)]


def shares_of(plan: TrainingPlan, arm: Arm) -> dict[str, float]:
    """Return the part of the tokens that each text has in an arm.

    >>> shares_of(TrainingPlan(), "replay_control")
    {'control': 0.5, 'anchors': 0.5, 'replay': 0.0}
    """
    mixture = plan.mixture
    if arm == "baseline":
        return {"anchors": mixture.synthetic + mixture.anchors, "replay": mixture.replay}
    first = "synthetic" if arm == "synthetic" else "control"
    return {first: mixture.synthetic, "anchors": mixture.anchors, "replay": mixture.replay}


def arm_lineage(store: Store, of: Comparison, seed: int, arm: Arm, fraction: float = 1.0) -> Lineage:
    """Return the origin of the checkpoint that an arm has after a part of its run.

    Batches of the same documents share baseline and replay control.
    """
    shared = {"arms", "seeds", "scored_texts", "mixture"}
    plan: dict[str, Any] = {name: value for name, value in of.plan.identity().items() if name not in shared}
    plan |= {"mixture": shares_of(of.plan, arm), "seed": seed, "general": of.general_id}
    if arm != "synthetic":
        anchors = arm_anchors(store, of)["anchor_id"].to_list()
        plan |= {"anchors": content_hash("anchors", anchors)}
    elif of.of_all:
        plan |= {"anchors": OF_ALL}
    if arm == "synthetic" and of.selection:
        plan |= {"selection": of.selection.model_dump(mode="json")}
    if fraction < 1:
        plan |= {"fraction": fraction}
    return Lineage(arm, of.start_id, plan, [*of.batches] if arm == "synthetic" else [])


def arm_parts(store: Store, device: str, of: Comparison, arm: Arm) -> "list[MixturePart]":
    """Return the texts of an arm with their shares; a text without a share is not read."""
    from gainloop.models.packing import MixturePart

    snapshot_id = read_recipe(store, of.batch_id).snapshot_id
    uses: dict[str, Use] = {"replay": "replayed", "control": "control"}

    def part_of(name: str, share: float) -> MixturePart:
        if name in uses:
            texts = general_texts(store, device, of.general_id, uses[name], of.start_id, snapshot_id)
            return MixturePart(name, texts["text"].to_list(), share)
        anchors, turns = (texts := arm_anchors(store, of)), []
        if name == "synthetic":
            texts = trained_records(store, of)[0]
            turns = read_conversations(of, texts)
        titles = dict(anchors.select("anchor_id", "title").iter_rows())
        above = [titles.get(one, "") for one in texts["anchor_id"]] if of.plan.titled else []
        return MixturePart(name, texts["text"].to_list(), share, titles=above, turns=turns)

    return [part_of(name, share) for name, share in shares_of(of.plan, arm).items() if share]


def read_conversations(of: Comparison, records: pl.DataFrame) -> list[tuple[Turn, ...]]:
    """Return the turns of records that are read as conversations; none where they are read as text.

    Raises:
        BadInput: Conversations are wanted, and some of the records are none.
    """
    written = records["turns"].to_list()
    if of.plan.objective == "text" or (of.plan.objective is None and not any(written)):
        return []
    if texts := written.count(""):
        raise BadInput(
            f"training on batch {of.batch_id}: {texts:,} of {len(written):,} records are texts, and plan.objective is "
            f"{of.plan.objective or 'conversation, as the others are'}; conversations are needed for that. Set "
            "plan.objective to text, or train on batches of one kind."
        )
    return [read_turns(one) for one in written]


def arm_orders(of: Comparison, seed: int, arm: Arm) -> tuple[str, str]:
    """Return the names by which an arm's orders are drawn: of what arms share, and of its own.

    They hold the start and so are never those in which the start itself has read the same texts.
    """
    return f"{seed}/{of.start_id}", arm


def arm_anchors(store: Store, of: Comparison) -> pl.DataFrame:
    """Return the anchors that arms read: all of the documents that the batches were made from but what is held out."""
    snapshot_id = read_recipe(store, of.batch_id).snapshot_id
    if of.of_all:
        return read_anchors(store, snapshot_id, heldout=False)
    used = pl.concat([used_anchors(store, batch_id)["anchor_id"] for batch_id in of.batches]).unique()
    return read_siblings(store, snapshot_id, used.to_list())


def arm_records(store: Store, of: Comparison) -> pl.DataFrame:
    """Return the kept records of all batches, a record that several have once, in the order of record_id."""
    kept = pl.concat([kept_records(store, batch_id) for batch_id in of.batches])
    return kept.unique("record_id", keep="first").sort("record_id")


def trained_records(store: Store, of: Comparison) -> tuple[pl.DataFrame, Selected | None]:
    """Return the records that the synthetic arm reads, and what a selection made of those that are not held out.

    Held-out records are not selected from: they are the same whatever is. What a selection takes out of an answer, as
    lima does links, is not read; the store's records stay as they are.
    """
    records = split_records(arm_records(store, of), of.plan.heldout_records)[0]
    if not of.selection:
        return records, None
    selected = select_rows(record_candidates(records, arm_anchors(store, of)), of.selection)
    return with_answers(records.filter(pl.col("record_id").is_in(selected.ids)), selected.answers), selected


def split_records(records: pl.DataFrame, heldout: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the records that are trained on, and those that are held out of it by their ids."""
    is_left = pl.Series([heldout_draw(one) < heldout for one in records["record_id"]], dtype=pl.Boolean)
    return records.filter(~is_left), records.filter(is_left)
