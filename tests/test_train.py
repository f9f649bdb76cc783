import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from gainloop.curation.selection.chance import RandomRows
from gainloop.curation.selection.lima import Lima
from gainloop.evaluation.arms import (
    Comparison,
    arm_anchors,
    arm_lineage,
    arm_parts,
    arm_records,
    read_conversations,
    shares_of,
    split_records,
    trained_records,
)
from gainloop.evaluation.general import deal, general_texts
from gainloop.evaluation.likelihoods import Run as ArmRun
from gainloop.evaluation.likelihoods import score_training
from gainloop.methods.sbp import SBP
from gainloop.models import pretraining
from gainloop.models.conversations import IGNORED, conversation_rows
from gainloop.models.loading import load_tokenizer
from gainloop.models.packing import MixturePart, Packed, pack
from gainloop.models.pretraining import LEARNED, name_text, texts_read
from gainloop.serving.driver import insert_outcomes
from gainloop.sources.files import Files
from gainloop.store import Store
from gainloop.store.batches import begin_batch, complete_stage, kept_records, stage_summary
from gainloop.store.checkpoints import checkpoint_folder, checkpoint_metrics
from gainloop.store.snapshots import read_anchors, read_snapshot
from schemas.conversation import Turn, read_turns, transcript
from schemas.errors import BadInput
from schemas.plan import Checkpoint, Mixture, Optimiser, TrainingPlan
from schemas.profile import Profile, Training
from schemas.recipe import Recipe
from schemas.rows import Outcome, Record
from tasks.progress import Bar
from tasks.refresh import refresh_snapshot
from tasks.train import (
    finish_training,
    make_start,
    require_trainable,
    train_arm,
    tune_synthesizer,
    warn_of_little_text,
)
from tests.store.test_snapshots import make_snapshot, write_part
from tests.tiny_model import PLAN as MODEL
from tests.tiny_model import TEXTS, save_tiny_model

RATE = 1e-3
START = MODEL.model_copy(update={"budget_tokens": 1024, "optimiser": Optimiser(learning_rate=RATE, batch_tokens=256)})
PLAN = TrainingPlan(
    budget_tokens=2048, context_tokens=64, seeds=1, optimiser=Optimiser(learning_rate=RATE, batch_tokens=512)
)
QUIET = cast(Bar, lambda *_told: None)


@dataclass(frozen=True)
class Run:
    """One start and both arms of one batch, and the texts that each of the three trainings read, part by part.

    The batch is of half of the documents.
    """

    store: Store
    place: Profile
    snapshot_id: str
    batch_id: str
    start_id: str
    arms: dict[str, str]
    read: list[dict[str, Sequence[str]]]

    @property
    def of(self) -> Comparison:
        return Comparison(self.batch_id, self.start_id, PLAN)

    @property
    def runs(self) -> list[ArmRun]:
        return [ArmRun(arm, 0, [self.arms[arm]]) for arm in self.of.arms]


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
        arms = train_arms(store, place, Comparison(batch_id, start_id, PLAN))
        return Run(store, place, snapshot_id, batch_id, start_id, arms, read)


def train_arms(store: Store, place: Profile, of: Comparison) -> dict[str, str]:
    return {arm: train_arm(store, place.training, of, 0, arm, QUIET)[-1] for arm in of.arms}


def write_batch(store: Store, snapshot_id: str, seed: int) -> str:
    """Write a validated batch of one record an anchor, of which the first is quarantined."""
    batch_id = begin_batch(store, Recipe(method={"kind": "sbp"}, snapshot_id=snapshot_id, model="m", seed=seed), "raw")
    about = {"batch_id": batch_id, "method": "sbp", "facet": "", "request_ids": ["q"], "turns": ""}
    anchors = read_anchors(store, snapshot_id, heldout=False).select("anchor_id", "text")[::2]
    records = [
        about | {"record_id": f"r{n:02}", "anchor_id": owner, "text": f"Synthetic {n} {text[::-1]}", "num_bytes": 1}
        for n, (owner, text) in enumerate(anchors.rows())
    ]
    store.insert(records=records, quarantine=[{"batch_id": batch_id, "record_id": "r00", "reason": "repeats"}])
    complete_stage(store, batch_id, "validate", {})
    return batch_id


def write_conversations(store: Store, snapshot_id: str, texts: int = 0) -> str:
    """Write a validated batch of one conversation an anchor, and so many records that are none."""
    batch_id = begin_batch(store, Recipe(method={"kind": "x"}, snapshot_id=snapshot_id, model="m", seed=texts), "raw")
    anchors = read_anchors(store, snapshot_id, heldout=False)
    turns = (Turn("user", "What does it say?"), Turn("assistant", "As little as a conversation says."))
    made = [
        Record(one, "x", "", title, ("q",)) if number < texts else Record.of_turns(one, "x", str(number), turns, (one,))
        for number, (one, title) in enumerate(anchors.select("anchor_id", "text").rows())
    ]
    insert_outcomes(store, batch_id, {record.anchor_id: Outcome([record]) for record in made})
    complete_stage(store, batch_id, "validate", {})
    return batch_id


def test_conversations_are_trained_on_by_the_words_of_the_assistant_and_as_text_where_the_plan_says_so(
    run: Run,
) -> None:
    batch_id = write_conversations(run.store, run.snapshot_id)
    of = Comparison(batch_id, run.start_id, PLAN)
    as_text = replace(of, plan=PLAN.model_copy(update={"objective": "text"}))
    talked, read = (
        checkpoint_metrics(run.store, train_arm(run.store, run.place.training, one, 0, "synthetic", QUIET)[-1])
        for one in (of, as_text)
    )

    said = conversation_rows(
        load_tokenizer(checkpoint_folder(run.store, run.start_id)),
        read_conversations(of, arm_records(run.store, of))[0],
    )[0]
    share = sum(label != IGNORED for label in said["labels"]) / len(said["input_ids"])
    assert talked["trained_tokens"]["synthetic"] / talked["tokens"]["synthetic"] == pytest.approx(share)
    assert talked["trained_tokens"]["anchors"] == talked["tokens"]["anchors"]
    assert "trained_tokens" not in read
    assert of.training_id != as_text.training_id


def test_texts_among_conversations_are_refused(run: Run) -> None:
    of = Comparison(write_conversations(run.store, run.snapshot_id, texts=2), run.start_id, PLAN)
    with pytest.raises(BadInput, match=r"2 of \d+ records are texts, and plan.objective is conversation, as"):
        train_arm(run.store, run.place.training, of, 0, "synthetic", QUIET)


def test_held_out_anchors_records_held_out_and_quarantined_ones_are_never_trained_on(run: Run) -> None:
    heldout = read_anchors(run.store, run.snapshot_id, heldout=True)["text"].to_list()
    trained, left = split_records(kept_records(run.store, run.batch_id), PLAN.heldout_records)
    assert len(trained) > len(left)
    assert "r00" not in {*trained["record_id"], *left["record_id"]}
    start, synthetic, baseline = run.read

    assert heldout
    assert set(start["anchors"]) == set(TEXTS) - set(heldout)
    assert set(synthetic["synthetic"]) == set(trained["text"])
    assert baseline == {"anchors": synthetic["anchors"]}


def test_a_plan_may_put_anchors_and_records_under_their_documents_titles(run: Run) -> None:
    titles = dict(arm_anchors(run.store, run.of).select("anchor_id", "title").iter_rows())
    titled = replace(run.of, plan=PLAN.model_copy(update={"titled": True}))
    assert all(titles.values())

    for plain, under in zip(arm_parts(run.store, "cpu", run.of, "synthetic"),
                            arm_parts(run.store, "cpu", titled, "synthetic"), strict=True):  # fmt: skip
        assert plain.as_read == plain.texts == under.texts
        assert all(read.endswith(f"\n\n{text}") for read, text in zip(under.as_read, under.texts, strict=True))
        assert {read.partition("\n\n")[0] for read in under.as_read} <= set(titles.values())
    assert titled.training_id != run.of.training_id
    assert "titled" not in PLAN.identity(), "a plan without it has the id that it had before plans knew of titles"


def test_the_baseline_reads_the_documents_that_the_batch_was_made_from_and_no_others(run: Run) -> None:
    _, synthetic, _ = run.read
    anchors = arm_anchors(run.store, run.of)

    assert 0 < len(synthetic["anchors"]) < len(TEXTS) / 2
    assert set(anchors["text"]) == set(synthetic["anchors"])
    assert (
        anchors.height
        == run.store.query("select 1 from records where batch_id = ? group by anchor_id", run.batch_id).height
    )


def test_what_the_start_has_read_counts_and_is_not_read_for_the_first_time(run: Run) -> None:
    times = texts_read(checkpoint_folder(run.store, run.start_id))
    metrics = {arm: checkpoint_metrics(run.store, one) for arm, one in run.arms.items()}
    after = texts_read(checkpoint_folder(run.store, run.arms["baseline"]))
    anchors = arm_anchors(run.store, run.of)["text"].to_list()

    assert 0 < sum(times.values()) < len(TEXTS)
    assert metrics["synthetic"]["read_before"]["synthetic"] == 0
    assert metrics["synthetic"]["read_before"]["anchors"] == metrics["baseline"]["read_before"]["anchors"] > 0
    for text in anchors:
        assert after[name_text(text)] >= times.get(name_text(text), 0) + 1 - 1e-9


def test_both_arms_read_as_many_tokens(run: Run) -> None:
    synthetic, baseline = (checkpoint_metrics(run.store, run.arms[role]) for role in ("synthetic", "baseline"))

    assert synthetic["tokens"] == {"synthetic": 1024, "anchors": 1024}
    assert baseline["tokens"] == {"anchors": 2048}
    assert synthetic["num_steps"] == baseline["num_steps"] == 4


def test_a_checkpoint_is_made_once_and_says_what_it_was_made_from(run: Run) -> None:
    assert make_start(run.store, run.place.training, run.snapshot_id, START, QUIET) == run.start_id
    assert train_arms(run.store, run.place, run.of) == run.arms
    made = [run.start_id, *run.arms.values()]
    rows = run.store.query("select checkpoint_id, role, parent, batch_ids from checkpoints").rows()
    assert [row for row in rows if row[0] in made] == [
        (run.start_id, "start", run.snapshot_id, []),
        (run.arms["synthetic"], "synthetic", run.start_id, [run.batch_id]),
        (run.arms["baseline"], "baseline", run.start_id, []),
    ]


def test_all_batches_and_mixtures_of_the_same_documents_share_their_baseline(run: Run) -> None:
    other = write_batch(run.store, run.snapshot_id, seed=1)
    all_synthetic = PLAN.model_copy(update={"mixture": Mixture(synthetic=1, anchors=0)})
    made = train_arms(run.store, run.place, Comparison(other, run.start_id, all_synthetic))

    assert made["baseline"] == run.arms["baseline"]
    assert made["synthetic"] != run.arms["synthetic"]


def test_a_batch_that_was_not_validated_is_not_trained_on(run: Run) -> None:
    recipe = Recipe(method={"kind": "sbp"}, snapshot_id=run.snapshot_id, model="m", seed=2)
    batch_id = begin_batch(run.store, recipe, "raw")

    with pytest.raises(BadInput, match=f"batch {batch_id}: it has no completed validation"):
        train_arm(run.store, run.place.training, Comparison(batch_id, run.start_id, PLAN), 0, "synthetic", QUIET)


def test_every_likelihood_that_the_report_needs_is_scored_once(run: Run) -> None:
    def score() -> dict[str, str]:
        return score_training(run.store, run.place.training.device, run.of, run.runs, lambda _done, _total: None)

    urls = score()
    written = {url: Path(url).stat().st_mtime_ns for url in urls.values()}

    assert set(urls) == {
        *(f"{role}/{texts}" for role in ("start", "synthetic", "baseline") for texts in ("heldout", "general")),
        *("start/anchors", "synthetic/anchors", "baseline/anchors", "start/records", "synthetic/records"),
        *("synthetic/closed", "synthetic/open", "synthetic/learned", "baseline/learned"),
    }
    closed, opened = (pl.read_parquet(urls[f"synthetic/{book}"]) for book in ("closed", "open"))
    assert closed["text_id"].equals(opened["text_id"])
    assert not closed["nats"].equals(opened["nats"])
    heldout = pl.read_parquet(urls["start/heldout"])
    assert heldout.columns == ["text_id", "nats", "num_tokens", "num_bytes"]
    assert heldout.height == read_anchors(run.store, run.snapshot_id, heldout=True).height
    assert "r00" not in pl.read_parquet(urls["start/records"])["text_id"]
    assert score() == urls
    assert {url: Path(url).stat().st_mtime_ns for url in urls.values()} == written


def test_a_finished_training_says_its_arms_checkpoints_scores_and_tokens(run: Run) -> None:
    finish_training(run.store, run.of, run.runs, {"start/heldout": "url"}, seconds=1.0)

    summary = stage_summary(run.store, run.batch_id, "train", run.of.training_id)
    epochs = summary.pop("epochs")
    speed = summary.pop("speed")
    assert set(speed) == {"start", *run.arms}
    assert all(one["tokens_per_second"] > 0 and one["device"] == "cpu" for one in speed.values())
    assert epochs["synthetic"]["synthetic"][0] == epochs["synthetic"]["anchors"][0] == 1024
    assert epochs["baseline"]["anchors"][1] == pytest.approx(2 * epochs["synthetic"]["anchors"][1])
    assert epochs["synthetic"]["synthetic"][2] == 0 < epochs["synthetic"]["anchors"][2]
    about = {"seed": 0, "learning_rate": RATE}
    assert summary == {
        "checkpoints": {"start": run.start_id, **run.arms},
        "arms": [
            {"arm": arm, **about, "points": [{"fraction": 1.0, "tokens": 2048, "checkpoint": run.arms[arm]}]}
            for arm in ("synthetic", "baseline")
        ],
        "scores": {"start/heldout": "url"},
        "tokens": {"start": 1024, "synthetic": 2048, "baseline": 2048},
        "seconds": 1.0,
        "heldout_records": 0.05,
        "seeds": 1,
        "general": "",
        "scored_texts": 400,
    }


def test_arms_of_one_seed_share_their_anchor_rows_and_of_another_seed_have_others(run: Run) -> None:
    packed: list[Packed] = []

    def watch(*given: Any) -> Packed:
        packed.append(pack(*given))
        return packed[-1]

    of = Comparison(run.batch_id, run.start_id, PLAN.model_copy(update={"budget_tokens": 1024, "seeds": 2}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "pack", watch)
        made = [train_arm(run.store, run.place.training, of, seed, arm, QUIET)[-1] for seed, arm in of.runs]

    assert len(set(made)) == 4
    anchors = [
        {tuple(row["input_ids"]) for row, part in zip(one.rows, one.parts, strict=True) if part == "anchors"}
        for one in packed
    ]
    synthetic, baseline, other_synthetic, other_baseline = anchors
    assert synthetic < baseline
    assert other_synthetic < other_baseline
    assert not synthetic & other_synthetic


def test_a_run_keeps_checkpoints_along_its_way_and_is_the_same_run(run: Run) -> None:
    of = Comparison(run.batch_id, run.start_id, PLAN.model_copy(update={"points": 4}))
    quarter, half, most, end = train_arm(run.store, run.place.training, of, 0, "synthetic", QUIET)
    weights = {
        one: Path(checkpoint_folder(run.store, one), "model.safetensors").read_bytes()
        for one in (quarter, half, most, end, run.arms["synthetic"])
    }

    assert weights[end] == weights[run.arms["synthetic"]]
    assert len(set(weights.values())) == 4
    assert [checkpoint_metrics(run.store, one)["num_tokens"] for one in (quarter, half, most, end)] == [
        *(512, 1024, 1536, 2048)
    ]
    assert not Path(checkpoint_folder(run.store, end), "points").exists()
    assert train_arm(run.store, run.place.training, of, 0, "synthetic", QUIET) == [quarter, half, most, end]


def test_only_the_last_layers_are_trained_if_the_plan_says_so(run: Run) -> None:
    of = Comparison(run.batch_id, run.start_id, PLAN.model_copy(update={"trained_layers": 1}))
    trained = train_arm(run.store, run.place.training, of, 0, "baseline", QUIET)[-1]
    before, after = (
        load_file(f"{checkpoint_folder(run.store, one)}/model.safetensors") for one in (run.start_id, trained)
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}

    assert changed
    assert all(name.startswith(("model.layers.1.", "model.norm")) for name in changed)


def test_general_text_is_dealt_out_by_document_and_never_is_the_latest_corpus(run: Run, tmp_path: Path) -> None:
    (tmp_path / "general").mkdir()
    for number in range(9):
        words = " ".join(f"w{number}x{n}" for n in range(60))
        (tmp_path / "general" / f"{number}.txt").write_text(f"General text {number}. {words}. {words[::-1]}.")
    latest = read_snapshot(run.store)["snapshot_id"]
    source = Files(paths=[str(tmp_path / "general")], max_chars=300)
    general_id = refresh_snapshot(run.store, source, 0.0, is_latest=False).snapshot_id
    assert read_snapshot(run.store)["snapshot_id"] == latest != general_id

    plan = PLAN.model_copy(update={"mixture": Mixture(synthetic=0.25, anchors=0.5, replay=0.25)})
    of = Comparison(run.batch_id, run.start_id, plan, general_id)
    assert of.arms == ("synthetic", "baseline", "replay_control")
    assert of.training_id != Comparison(run.batch_id, run.start_id, plan).training_id
    made = train_arms(run.store, run.place, of)
    tokens = {arm: checkpoint_metrics(run.store, one)["tokens"] for arm, one in made.items()}
    assert tokens == {
        "synthetic": {"synthetic": 512, "anchors": 1024, "replay": 512},
        "baseline": {"anchors": 1536, "replay": 512},
        "replay_control": {"control": 512, "anchors": 1024, "replay": 512},
    }
    uses = {
        use: set(general_texts(run.store, "cpu", general_id, use, run.start_id, run.snapshot_id)["document"])
        for use in ("measured", "replayed", "control")
    }
    assert [len(documents) for documents in uses.values()] == [3, 3, 3]
    assert not uses["measured"] & uses["replayed"] | uses["control"] & (uses["measured"] | uses["replayed"])


def test_near_copies_of_general_text_have_one_use() -> None:
    anchors = pl.DataFrame({"anchor_id": list("abcdef"), "text": list("abcdef"), "uri": [f"u{n}" for n in range(6)]})
    dealt = deal(anchors, {"u0": 0.1, "u3": 0.1, "u1": 0.2})

    assert dealt.filter(pl.col("text_id").is_in(["a", "d"]))["use"].n_unique() == 1
    assert set(dealt["use"]) == {"measured", "replayed", "control"}


def test_without_general_text_the_start_writes_it_once(run: Run) -> None:
    def measured() -> pl.DataFrame:
        return general_texts(run.store, "cpu", "", "measured", run.start_id, run.snapshot_id)

    texts = measured()
    assert texts.height > 24
    assert texts["text"].str.strip_chars().str.len_chars().min() > 0
    (Path(run.store.folder) / "checkpoints").rename(Path(run.store.folder) / "moved")
    assert measured().equals(texts)
    (Path(run.store.folder) / "moved").rename(Path(run.store.folder) / "checkpoints")
    replayed = general_texts(run.store, "cpu", "", "replayed", run.start_id, run.snapshot_id)
    assert not set(replayed["text"]) & set(texts["text"])


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
    with pytest.raises(BadInput, match=r"no pair has a similarity of at least 1 .* Lower min_similarity of the method"):
        tune(SBP(min_similarity=1.0))
    with pytest.raises(BadInput, match="a second text of at most 5 tokens"):
        tune(method, max_tokens=5)


def test_a_training_is_named_by_its_batch_start_plan_and_general_text() -> None:
    more = PLAN.model_copy(update={"seeds": 2})
    of = [("b", "start", PLAN), ("c", "start", PLAN), ("b", "start", more), ("b", "other", PLAN)]

    assert len({Comparison(*one).training_id for one in [*of, ("b", "start", PLAN, "general")]}) == 5


def test_a_selection_is_of_the_records_that_are_not_held_out_and_leaves_the_other_arms_as_they_are(run: Run) -> None:
    plan = PLAN.model_copy(update={"heldout_records": 0.4})
    full = Comparison(run.batch_id, run.start_id, plan)
    few = replace(full, selection=RandomRows(size=2))
    other = replace(full, selection=RandomRows(size=2, seed=1))
    trained, heldout = split_records(kept_records(run.store, run.batch_id), 0.4)
    (synthetic, _), (of_few, _) = (arm_parts(run.store, "cpu", of, "synthetic") for of in (full, few))
    chosen, selected = trained_records(run.store, few)

    assert trained_records(run.store, full)[0].equals(trained)
    assert of_few.texts == chosen["text"].to_list()
    assert len(of_few.texts) == 2 < len(synthetic.texts) == len(trained)
    assert selected
    assert selected.steps == {"given": len(trained), "selected": 2}
    assert len({one.training_id for one in (full, few, other)}) == 3
    lineages = {
        arm: {arm_lineage(run.store, of, 0, arm).checkpoint_id for of in (full, few, other)} for arm in full.arms
    }
    assert {arm: len(ids) for arm, ids in lineages.items()} == {"synthetic": 3, "baseline": 1}

    runs = [ArmRun(arm, 0, [one]) for arm, one in train_arms(run.store, run.place, few).items()]
    scores = score_training(run.store, "cpu", few, runs, lambda *_: None)
    scored = pl.read_parquet(scores["synthetic/records"])["text_id"]
    assert set(scored) == {*chosen["record_id"], *heldout["record_id"]}
    finish_training(run.store, few, runs, scores, 1.0)
    told = stage_summary(run.store, run.batch_id, "train", few.training_id)
    assert told
    assert told["selection"] == {"kind": "random", "size": 2, "seed": 0, "steps": selected.steps,
                                 "dropped": {"not_selected": len(trained) - 2}}  # fmt: skip


def test_a_training_on_what_lima_selects_reads_no_links_and_the_store_keeps_them(run: Run) -> None:
    one, other = read_anchors(run.store, run.snapshot_id, heldout=False)["anchor_id"].head(2)
    link, plain = "See [the manual](https://a.example/b) of https://c.example first.", "See the manual of  first."
    asked = Turn("user", "How?")
    made = {
        one: Record(one, "y", "", link, ("q",)),
        other: Record.of_turns(other, "y", "", (asked, Turn("assistant", link, "So.")), ("r",)),
    }
    batch_id = begin_batch(run.store, Recipe(method={"kind": "y"}, snapshot_id=run.snapshot_id, model="m"), "raw")
    insert_outcomes(run.store, batch_id, {name: Outcome([record]) for name, record in made.items()})
    complete_stage(run.store, batch_id, "validate", {})

    plan = PLAN.model_copy(update={"heldout_records": 0.0, "objective": "text"})
    of = Comparison(batch_id, run.start_id, plan, selection=Lima(least_characters=1))
    read = {row["anchor_id"]: row for row in trained_records(run.store, of)[0].iter_rows(named=True)}
    said = (asked, Turn("assistant", plain, "So."))
    assert (read[one]["text"], read[one]["turns"], read[one]["num_bytes"]) == (plain, "", len(plain))
    assert (read[other]["text"], read_turns(read[other]["turns"])) == (transcript(said), said)
    (synthetic, *_) = arm_parts(run.store, "cpu", of, "synthetic")
    assert set(synthetic.texts) == {plain, transcript(said)}
    assert set(kept_records(run.store, batch_id)["text"]) == {record.text for record in made.values()}


def test_the_arms_have_as_many_tokens_of_each_kind_in_common_as_they_can() -> None:
    plan = TrainingPlan(mixture=Mixture(synthetic=0.4, anchors=0.4, replay=0.2))

    assert shares_of(plan, "baseline") == {"anchors": 0.8, "replay": 0.2}
    assert shares_of(plan, "replay_control") == {"control": 0.4, "anchors": 0.4, "replay": 0.2}


def test_beside_the_weights_lies_what_was_learned_of_each_row_read_for_the_first_time(run: Run) -> None:
    learned = {role: pl.read_parquet(f"{checkpoint_folder(run.store, run.arms[role])}/{LEARNED}") for role in run.arms}
    trained = learned["synthetic"]
    assert "synthetic" in set(trained["part"])
    assert trained["position"].is_unique().all()
    assert trained["online_nats"].is_finite().all()
    assert set(learned["baseline"]["part"]) <= {"anchors"}
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


def test_a_new_model_of_too_little_text_is_warned_of(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    write_part(store, "a", "1", TEXTS)
    snapshot_id = make_snapshot(store, {"a": "1"}, 0.0)
    size = read_snapshot(store, snapshot_id)["num_bytes"]
    for start in (Checkpoint(model="m"), START.model_copy(update={"budget_tokens": size})):
        warn_of_little_text(store, snapshot_id, start)
    assert not caplog.text
    warn_of_little_text(store, snapshot_id, START.model_copy(update={"budget_tokens": size + 1}))
    assert f"are to come of {size:,} bytes of text, which it can only repeat" in caplog.text
    assert "--recipe examples/small-model.yaml" in caplog.text
