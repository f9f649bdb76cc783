"""What of a store something else needs: reports, models that continue a model, runs, the newest accepted model."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from gainloop.store.batches import stage_summary
from gainloop.store.catalogue import is_being_written, worked_on
from gainloop.store.duck import Store
from gainloop.store.measurements import is_measured, latest_accepted, resolve_training
from gainloop.store.pruned import Kind


@dataclass(frozen=True, slots=True)
class Accepted:
    """The newest accepted batch of each corpus, and the checkpoints of the trainings by which they are accepted."""

    batches: frozenset[str]
    checkpoints: frozenset[str]


def newest_accepted(store: Store) -> Accepted:
    """Return what no prune may take, whatever is asked for."""
    sources = store.query("select distinct source_id from snapshots order by source_id")["source_id"]
    found = [one for source_id in sources if (one := latest_accepted(store, source_id))]
    trainings = [(one["batch_id"], one["training_id"]) for one in found]
    summaries = [stage_summary(store, batch_id, "train", training_id) or {} for batch_id, training_id in trainings]
    checkpoints = {name for summary in summaries for name in made_by(summary)}
    return Accepted(frozenset(batch_id for batch_id, _ in trainings), frozenset(checkpoints))


def made_by(summary: dict[str, Any]) -> set[str]:
    """Return the checkpoints that a training's summary names: start, arms and the points along them."""
    points = [point["checkpoint"] for run in summary.get("arms", ()) for point in run.get("points", ())]
    return {*summary.get("checkpoints", {}).values(), *points}


def training_states(store: Store) -> dict[str, set[str]]:
    """Return what the gate says last of the trainings that each checkpoint is of; a start is of none."""
    rows = store.query(
        "select completions.batch_id, key, any_value(summary) as summary, arg_max(state, decisions.rowid) as state "
        "from completions left join decisions on decisions.batch_id = completions.batch_id and training_id = key "
        "where stage = 'train' group by all order by all"
    )
    found: dict[str, set[str]] = {}
    for _, _, told, state in rows.iter_rows():
        summary = json.loads(told)
        for checkpoint_id in made_by(summary) - {summary.get("checkpoints", {}).get("start", "")}:
            found.setdefault(checkpoint_id, set()).add(state or "undecided")
    return found


@dataclass
class Needs:
    """What stands in the way of removing parts of a store."""

    store: Store
    accepted: Accepted
    _models: list[dict[str, Any]] = field(init=False)
    _loops: str = field(init=False)
    _working: str = field(init=False)

    def __post_init__(self) -> None:
        rows = self.store.query("select checkpoint_id, parent, batch_ids, url from checkpoints order by rowid")
        there = [row for row in rows.iter_rows(named=True) if os.path.isdir(self.store.locate(row["url"]))]
        self._models = there
        told = self.store.query("select summary from completions where stage in ('round', 'improve') order by rowid")
        self._loops = "\n".join(told["summary"])
        self._working = next((f"a run works on {one} now" for one in worked_on(self.store)), "")

    def of_its_own(self, kind: Kind, name: str) -> str:
        """Return why a part stays, whatever else goes; empty if nothing holds it."""
        return self._why_weights_stay(name) if kind == "weights" else self._why_batch_stays(kind, name)

    def by_models(self, kind: Kind, name: str, going: Collection[str]) -> str:
        """Return the checkpoint that stays and needs a part; empty if none does.

        Args:
            going: Checkpoints whose weights go.
        """
        for model in self._models:
            model_id = model["checkpoint_id"]
            if model_id in going or kind == "replies":
                continue
            if kind == "weights" and model["parent"] == name:
                return f"checkpoint {model_id} continues it"
            if kind == "batches" and name in model["batch_ids"]:
                return f"checkpoint {model_id} was trained on it"
        return ""

    def _why_weights_stay(self, name: str) -> str:
        if name in self.accepted.checkpoints:
            return "the newest accepted batch of its corpus rests on it"
        if self._working:
            return self._working
        writing = self.store.query("select batch_id from batches where recipe ->> '$.revision' = ?", name)["batch_id"]
        open_ones = [one for one in writing if stage_summary(self.store, one, "generate") is None]
        return f"batch {open_ones[0]} is written by it" if open_ones else ""

    def _why_batch_stays(self, kind: Kind, name: str) -> str:
        if is_being_written(self.store, name):
            return "a run works on it now"
        if kind == "batches":
            if name in self.accepted.batches:
                return "it is the newest accepted batch of its corpus"
            return "a loop counts it" if name in self._loops else ""
        for stage in ("generate", "validate"):
            if stage_summary(self.store, name, stage) is None:
                return f"{stage} is not complete"
        if not is_measured(self.store, name, resolve_training(self.store, name)):
            return "its report is not measured by this version: run the flow report"
        return ""
