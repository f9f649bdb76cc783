import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
import torch

from gainloop.evaluation.likelihoods import score_training
from gainloop.methods.sbp import SBP
from gainloop.models import pretraining
from gainloop.models.packing import MixturePart, Packed, pack
from gainloop.models.pretraining import LEARNED
from gainloop.store import Store
from gainloop.store.batches import begin_batch, complete_stage, kept_records, stage_summary
from gainloop.store.checkpoints import checkpoint_folder, checkpoint_metrics
from schemas.errors import BadInput
from schemas.profile import Profile, Training
from schemas.recipe import Checkpoint, Mixture, Optimiser, Recipe, TrainingPlan
from tasks.progress import Bar
from tasks.train import (
    finish_training,
    make_start,
    name_training,
    require_trainable,
    split_records,
    train_arm,
    tune_synthesizer,
)
from tests.store.test_snapshots import make_snapshot, write_part
from tests.tiny_model import PLAN as MODEL
from tests.tiny_model import TEXTS, save_tiny_model

START = MODEL.model_copy(update={"budget_tokens": 1024, "optimiser": Optimiser(batch_tokens=256)})
PLAN = TrainingPlan(budget_tokens=2048, context_tokens=64, optimiser=Optimiser(batch_tokens=512))
QUIET = cast(Bar, lambda *_told: None)


@dataclass(frozen=True)
class Run:
    """One start and both arms of one batch, and the texts that each of the three trainings read, part by part."""

    store: Store
    place: Profile
    snapshot_id: str
    batch_id: str
    start_id: str
    arms: dict[str, str]
    read: list[dict[str, Sequence[str]]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    store, place = Store(str(folder / "x.duckdb"), str(folder)), Profile(name="test", folder=str(folder))
    write_part(store, "a", "1", TEXTS)
    snapshot_id = make_snapshot(store, {"a": "1"}, heldout_fraction=0.25)
    batch_id = write_batch(store, snapshot_id, seed=0)
    read: list[dict[str, Sequence[str]]] = []

    def watch(parts: Sequence[MixturePart], *rest: Any) -> Packed:
        read.append({part.name: part.texts for part in parts if part.share})
        return pack(parts, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "pack", watch)
        start_id = make_start(store, place.training, snapshot_id, START, QUIET)
        return Run(store, place, snapshot_id, batch_id, start_id, train_arms(store, place, batch_id, start_id), read)


def train_arms(store: Store, place: Profile, batch_id: str, start_id: str, plan: TrainingPlan = PLAN) -> dict[str, str]:
    return {
        role: train_arm(store, place.training, batch_id, start_id, plan, role, QUIET)
        for role in ("synthetic", "baseline")
    }


def write_batch(store: Store, snapshot_id: str, seed: int) -> str:
    """Write a validated batch of one record an anchor, of which the first is quarantined."""
    batch_id = begin_batch(store, Recipe(method={"kind": "sbp"}, snapshot_id=snapshot_id, model="m", seed=seed), "raw")
    about = {"batch_id": batch_id, "method": "sbp", "facet": "", "request_ids": ["q"]}
    anchors = store.query("select anchor_id, text from anchors where heldout_draw >= 0.25 order by anchor_id")
    records = [
        about | {"record_id": f"r{n:02}", "anchor_id": owner, "text": f"Synthetic {n} {text[::-1]}", "num_bytes": 1}
        for n, (owner, text) in enumerate(anchors.rows())
    ]
    store.insert(records=records, quarantine=[{"batch_id": batch_id, "record_id": "r00", "reason": "repeats"}])
    complete_stage(store, batch_id, "validate", {})
    return batch_id


def test_held_out_anchors_records_held_out_and_quarantined_ones_are_never_trained_on(run: Run) -> None:
    heldout = run.store.query("select text from anchors where heldout_draw < 0.25")["text"].to_list()
    trained, left = split_records(kept_records(run.store, run.batch_id), PLAN.heldout_records)
    assert len(trained) > 4 * len(left) > 0
    assert "r00" not in {*trained["record_id"], *left["record_id"]}
    start, synthetic, baseline = run.read

    assert heldout
    assert set(start["anchors"]) == set(synthetic["anchors"]) == set(TEXTS) - set(heldout)
    assert set(synthetic["synthetic"]) == set(trained["text"])
    assert baseline == start


def test_both_arms_read_as_many_tokens(run: Run) -> None:
    synthetic, baseline = (checkpoint_metrics(run.store, run.arms[role]) for role in ("synthetic", "baseline"))

    assert synthetic["tokens"] == {"synthetic": 1024, "anchors": 1024}
    assert baseline["tokens"] == {"anchors": 2048}
    assert synthetic["num_steps"] == baseline["num_steps"] == 4


def test_a_checkpoint_is_made_once_and_says_what_it_was_made_from(run: Run) -> None:
    assert make_start(run.store, run.place.training, run.snapshot_id, START, QUIET) == run.start_id
    assert train_arms(run.store, run.place, run.batch_id, run.start_id) == run.arms
    made = [run.start_id, *run.arms.values()]
    rows = run.store.query("select checkpoint_id, role, parent, batch_ids from checkpoints").rows()
    assert [row for row in rows if row[0] in made] == [
        (run.start_id, "start", run.snapshot_id, []),
        (run.arms["synthetic"], "synthetic", run.start_id, [run.batch_id]),
        (run.arms["baseline"], "baseline", run.start_id, []),
    ]


def test_all_batches_and_mixtures_of_a_snapshot_share_their_baseline(run: Run) -> None:
    other = write_batch(run.store, run.snapshot_id, seed=1)
    all_synthetic = PLAN.model_copy(update={"mixture": Mixture(synthetic=1, anchors=0)})
    made = train_arms(run.store, run.place, other, run.start_id, all_synthetic)

    assert made["baseline"] == run.arms["baseline"]
    assert made["synthetic"] != run.arms["synthetic"]


def test_a_batch_that_was_not_validated_is_not_trained_on(run: Run) -> None:
    recipe = Recipe(method={"kind": "sbp"}, snapshot_id=run.snapshot_id, model="m", seed=2)
    batch_id = begin_batch(run.store, recipe, "raw")

    with pytest.raises(BadInput, match=f"batch {batch_id}: it has no completed validation"):
        train_arm(run.store, run.place.training, batch_id, run.start_id, PLAN, "synthetic", QUIET)


def test_every_likelihood_that_the_report_needs_is_scored_once(run: Run) -> None:
    checkpoints = {"start": run.start_id, **run.arms}
    urls = score_training(run.store, run.place.training.device, run.batch_id, checkpoints, lambda _done, _total: None)
    written = {url: Path(url).stat().st_mtime_ns for url in urls.values()}

    assert set(urls) == {
        *("start/heldout", "synthetic/heldout", "baseline/heldout"),
        *("start/anchors", "synthetic/anchors", "baseline/anchors", "start/records", "synthetic/records"),
        *("synthetic/closed", "synthetic/open", "synthetic/learned", "baseline/learned"),
    }
    closed, opened = (pl.read_parquet(urls[f"synthetic/{book}"]) for book in ("closed", "open"))
    assert closed["text_id"].equals(opened["text_id"])
    assert not closed["nats"].equals(opened["nats"])
    heldout = pl.read_parquet(urls["start/heldout"])
    assert heldout.columns == ["text_id", "nats", "num_tokens", "num_bytes"]
    assert heldout.height == run.store.query("select 1 from anchors where heldout_draw < 0.25").height
    assert "r00" not in pl.read_parquet(urls["start/records"])["text_id"]
    assert (
        score_training(run.store, run.place.training.device, run.batch_id, checkpoints, lambda _done, _total: None)
        == urls
    )
    assert {url: Path(url).stat().st_mtime_ns for url in urls.values()} == written


def test_a_finished_training_says_its_checkpoints_scores_and_tokens(run: Run) -> None:
    training_id, checkpoints = name_training(run.batch_id, run.start_id, PLAN), {"start": run.start_id, **run.arms}
    finish_training(run.store, run.batch_id, training_id, checkpoints, {"start/heldout": "url"}, seconds=1.0)

    summary = stage_summary(run.store, run.batch_id, "train", training_id)
    epochs = summary.pop("epochs")
    assert epochs["synthetic"]["synthetic"][0] == epochs["synthetic"]["anchors"][0] == 1024
    assert epochs["baseline"]["anchors"][1] == pytest.approx(2 * epochs["synthetic"]["anchors"][1])
    assert summary == {
        "checkpoints": checkpoints,
        "scores": {"start/heldout": "url"},
        "tokens": {"start": 1024, "synthetic": 2048, "baseline": 2048},
        "seconds": 1.0,
        "heldout_records": 0.05,
    }


def test_a_folder_with_a_model_is_a_start_named_by_its_weights(store: Store, profile: Profile, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model")
    start_id = make_start(store, profile.training, "s", Checkpoint(model=folder), QUIET)

    adopted = Path(checkpoint_folder(store, start_id))
    assert (adopted / "model.safetensors").read_bytes() == Path(folder, "model.safetensors").read_bytes()
    assert make_start(store, profile.training, "s", Checkpoint(model=folder), QUIET) == start_id
    assert make_start(store, profile.training, "s", Checkpoint(model=start_id), QUIET) == start_id
    save_tiny_model(tmp_path / "model", MODEL.model_copy(update={"seed": 1}))
    assert make_start(store, profile.training, "s", Checkpoint(model=folder), QUIET) != start_id


def test_a_start_that_is_no_model_is_an_error_that_says_so(store: Store, profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"it has no config.json"):
        make_start(store, profile.training, "s", Checkpoint(model=str(tmp_path)), QUIET)


def test_a_synthesizer_learns_from_pairs_and_is_named_by_what_it_learned_from(run: Run, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model", MODEL.model_copy(update={"context_tokens": 512}))
    start_id = make_start(run.store, run.place.training, run.snapshot_id, Checkpoint(model=folder), QUIET)
    method = SBP(min_similarity=0.0, budget_tokens=1024)

    def tune(method: SBP, max_tokens: int = 400) -> str:
        pairing = nullcontext(QUIET)
        return tune_synthesizer(run.store, run.place, run.snapshot_id, start_id, method, max_tokens, 0, pairing, QUIET)

    synthesizer = tune(method)
    metrics = checkpoint_metrics(run.store, synthesizer)
    counted = metrics["pairing"]
    assert counted["pairs"] == metrics["num_pairs"] + counted["too_long"] > 0
    assert metrics["search"]["kind"] == "exact"
    assert tune(method.model_copy(update={"draws": 3})) == synthesizer
    with pytest.raises(
        BadInput, match=r"no pair has a similarity of at least 0.99 .* Lower text.method.min_similarity"
    ):
        tune(SBP(min_similarity=0.99))
    with pytest.raises(BadInput, match="a second text of at most 5 tokens"):
        tune(method, max_tokens=5)


def test_a_training_is_named_by_its_batch_start_and_plan() -> None:
    other = PLAN.model_copy(update={"seed": 1})
    names = {name_training("b", "start", PLAN), name_training("c", "start", PLAN), name_training("b", "start", other)}

    assert len(names | {name_training("b", "other", PLAN)}) == 4


def test_beside_the_weights_lies_what_was_learned_of_each_row_read_for_the_first_time(run: Run) -> None:
    learned = {role: pl.read_parquet(f"{checkpoint_folder(run.store, run.arms[role])}/{LEARNED}") for role in run.arms}
    trained = learned["synthetic"]
    assert set(trained["part"]) == {"synthetic", "anchors"}
    assert trained["position"].is_unique().all()
    assert trained["online_nats"].is_finite().all()
    assert set(learned["baseline"]["part"]) == {"anchors"}
    # A model of four steps has hardly begun: what it costs is near the log of its vocabulary, and falls.
    rate = trained["online_nats"].sum() / trained["num_tokens"].sum()
    assert 0.5 * math.log(MODEL.vocabulary) < rate < 1.3 * math.log(MODEL.vocabulary)
    assert trained["final_nats"].sum() < trained["online_nats"].sum()


def test_a_device_that_the_machine_does_not_have_is_refused_before_anything_is_made() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    place = Profile(name="test", training=Training(device="cuda"))
    with pytest.raises(BadInput, match=r"looking for the device 'cuda': .*Set device in the profile"):
        require_trainable(place)
    require_trainable(Profile(name="test"))
