"""Protocols of papers: which arm reads what, what is dealt out where, and pages whose numbers are the models' own."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from html import unescape
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from flows.protocol import require_exam
from gainloop.models.pairing import related_pairs
from gainloop.models.pretraining import texts_read
from gainloop.models.scoring import score_texts
from gainloop.serving.embeddings import embed
from gainloop.store import Store
from gainloop.store.batches import begin_batch, complete_stage
from gainloop.store.checkpoints import checkpoint_folder, checkpoint_metrics
from gainloop.store.exams import ANSWERS
from gainloop.store.snapshots import read_anchors
from gainloop.studies.bootstrapped import (
    HELDOUT,
    ORACLE,
    REPETITION,
    SBP_ARM,
    ProtocolArm,
    deal_texts,
    list_arms,
    tuned_method,
)
from gainloop.studies.protocols import EntiGraphProtocol, SBPProtocol, ScratchModel
from gainloop.studies.recited import (
    ENTIGRAPH,
    RAW,
    REPHRASE,
    START,
    Asked,
    Written,
    describe_recital,
    plan_readings,
    tell_recital,
)
from schemas.curve import NO_PLATEAU
from schemas.errors import BadInput
from schemas.plan import Checkpoint
from schemas.profile import Profile
from schemas.protocol import ProtocolReport
from schemas.recipe import Recipe
from schemas.rows import Anchor
from tasks.progress import Bar
from tasks.protocol import Trained, make_blanks, save_protocol, train_from_nothing
from tasks.protocol_report import report_sbp
from tasks.train import tune_synthesizer
from tests.exams import fill
from tests.small_run import START as SMALL_START
from tests.tiny_model import TEXTS

QUIET = cast(Bar, lambda *_told: None)
MODEL = ScratchModel.model_validate(
    {name: value for name, value in SMALL_START.items() if name not in ("kind", "budget_tokens", "optimiser")}
    | {"context_tokens": 256, "budget_tokens": 2048, "optimiser": {"batch_tokens": 256}}
)
TUNED = {"budget_tokens": 1024, "min_similarity": -1.0, "optimiser": {"batch_tokens": 256}}
SMALL = SBPProtocol.model_validate(
    {
        "model": MODEL,
        "unique": 0.6,
        "seeds": 2,
        "points": 2,
        "measured_texts": 8,
        "other_shares": (0.9,),
        "random_pairs": False,
        "method": TUNED,
    }
)


def write_texts(store: Store, profile: Profile, snapshot_id: str, start_id: str) -> str:
    """Tune a generator, and write a batch of it: the unique texts said backwards, as if it had made them."""
    method = tuned_method(SMALL, False, 900)
    made_by = tune_synthesizer(
        store, profile, snapshot_id, start_id, method, 200, 0, cast(Any, nullcontext(QUIET)), QUIET
    )
    recipe = Recipe(
        method=method.model_dump(mode="json"), snapshot_id=snapshot_id, model="synthesizer", revision=made_by
    )
    batch_id = begin_batch(store, recipe, "raw")
    about = {"batch_id": batch_id, "method": "sbp", "facet": "", "request_ids": ["q"], "turns": "", "num_bytes": 1}
    texts = read_anchors(store, snapshot_id, heldout=False).select("anchor_id", "text").rows()
    records = [
        about | {"record_id": f"{batch_id}{number}", "anchor_id": own, "text": " ".join(text.split()[::-1])}
        for number, (own, text) in enumerate(texts)
    ]
    store.insert(records=records)
    counts = {"prompt_tokens": 70, "completion_tokens": 30, "records": len(records), "drops": 2, "seconds": 1.5}
    complete_stage(store, batch_id, "generate", counts)
    return batch_id


def train_all(store: Store, profile: Profile, snapshot_id: str) -> tuple[Trained, dict[bool, str]]:
    """Return the checkpoints of all runs, and the batches by whether their pairs are random."""
    first, *others = list_arms(SMALL)
    trained: dict[tuple[str, int], Sequence[str]] = {}

    def train(arm: ProtocolArm, batch_id: str = "") -> None:
        for seed in range(SMALL.seeds):
            run = train_from_nothing(store, profile, SMALL, arm, seed, snapshot_id, batch_id, QUIET)
            trained[arm.name, seed] = run

    train(first)
    start_id = trained[first.name, 0][-1]
    batches = {False: write_texts(store, profile, snapshot_id, start_id)}
    for arm in others:
        train(arm, batches[arm.by_chance] if arm.share else "")
    return trained, batches


def report_of(store: Store, profile: Profile, snapshot_id: str) -> tuple[ProtocolReport, Trained]:
    trained, batches = train_all(store, profile, snapshot_id)
    blank_id = make_blanks(store, SMALL, snapshot_id)[0]
    return report_sbp(profile, SMALL, trained, snapshot_id, "", batches, blank_id), trained


def files_of(store: Store, pattern: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in Path(store.folder).rglob(pattern)}


def test_a_document_is_dealt_out_once_and_near_copies_go_with_it(store: Store) -> None:
    texts = {f"topic-{n:02}": text for n, text in enumerate(TEXTS)}
    texts |= {f"copy-{n:02}": f"{text} Once more." for n, text in enumerate(TEXTS)}
    snapshot_id = fill(store, texts, 1 - SMALL.unique)
    dealt = deal_texts(store, SMALL, snapshot_id, "")
    kinds = {"unique": dealt.unique, "fresh": dealt.fresh, "measured": dealt.sets[HELDOUT]["text"].to_list()}
    place = {text.removesuffix(" Once more."): kind for kind, some in kinds.items() for text in some}

    assert sum(map(len, kinds.values())) == 2 * len(TEXTS)
    assert {*place.values()} == {*kinds}
    assert all(place[text.removesuffix(" Once more.")] == kind for kind, some in kinds.items() for text in some)


def test_what_cannot_be_dealt_out_is_an_error(store: Store) -> None:
    snapshot_id = fill(store, {f"topic-{n:02}": text for n, text in enumerate(TEXTS)}, 1 - SMALL.unique)
    with pytest.raises(BadInput, match=r"0 fresh ones; some of each are needed\. Change paper\.unique"):
        deal_texts(store, SMALL.model_copy(update={"measured_texts": 100}), snapshot_id, "")


def test_sbps_protocol_runs_from_texts_to_page_and_makes_nothing_twice(store: Store, profile: Profile) -> None:
    snapshot_id = fill(store, {f"topic-{n:02}": f"{n} {text[:300]}" for n, text in enumerate(TEXTS)}, 1 - SMALL.unique)
    report, trained = report_of(store, profile, snapshot_id)
    page = Path(save_protocol(store, report))
    check_what_was_read(store, report, trained, snapshot_id)
    check_figures(store, report, trained, deal_texts(store, SMALL, snapshot_id, "").sets[HELDOUT])

    html = unescape(page.read_text())
    assert ProtocolReport.model_validate(json.loads(page.with_suffix(".json").read_text())) == report
    assert report.headline in html
    assert report.bootstrapping
    for one in report.bootstrapping.measured:
        assert all(figure.number in html and figure.interval in html for figure in one.levels.values())
    steps = {one.step: one for one in report.costs}
    assert steps["train SBP"].tokens == steps["train oracle"].tokens == 2 * 2048
    assert (steps["write text"].tokens, steps["write text"].seconds) == (100, 1.5)
    assert 0 < steps["tune the generator"].tokens <= 1024
    assert "http://" not in html.replace("http://www.w3.org", "")

    weights, scores = files_of(store, "*.safetensors"), files_of(store, "scores/*")
    assert len(weights) == len(trained) * SMALL.points + SMALL.seeds + 1
    assert len(scores) == 2 * len(trained) * SMALL.points
    assert report_of(store, profile, snapshot_id) == (report, trained)
    assert (weights, scores) == (files_of(store, "*.safetensors"), files_of(store, "scores/*"))


def check_what_was_read(store: Store, report: ProtocolReport, trained: Trained, snapshot_id: str) -> None:
    """Check that arms read as many tokens, fresh text only the oracle, and synthetic text once at most."""
    made = {arm: checkpoint_metrics(store, along[-1]) for (arm, seed), along in trained.items() if not seed}
    assert {sum(one["tokens"].values()) for one in made.values()} == {2048}
    assert made[REPETITION]["repetitions"]["documents"] > made[ORACLE]["repetitions"]["documents"]
    assert made[SBP_ARM]["tokens"]["synthetic"] == 3 * 256, "37.5 % of 8 rows"
    assert made["sbp_0.9"]["tokens"]["synthetic"] < 0.9 * 2048, "there is no more of it"
    assert all(one["repetitions"].get("synthetic", 0) <= 1 for one in made.values())
    assert "The arm SBP 90 % was to read synthetic text for 90.0% of its tokens" in " ".join(report.limits)
    unique = {Anchor(text).anchor_id for text in deal_texts(store, SMALL, snapshot_id, "").unique}
    for (arm, _), along in trained.items():
        documents = texts_read(checkpoint_folder(store, along[-1])).keys() & all_anchors(store, snapshot_id)
        assert (documents <= unique) == (arm != ORACLE)


def all_anchors(store: Store, snapshot_id: str) -> set[str]:
    return set(read_anchors(store, snapshot_id)["anchor_id"])


def check_figures(store: Store, report: ProtocolReport, trained: Trained, heldout: pl.DataFrame) -> None:
    """Check perplexities of the page against the models themselves."""
    assert report.bootstrapping
    (one, *_) = report.bootstrapping.measured
    assert (one.name, one.healthy) == ("perplexity of held-out documents", "lower")
    ids, texts = heldout["text_id"].to_list(), heldout["text"].to_list()
    for arm in (REPETITION, SBP_ARM, ORACLE):
        scored = [score_texts(checkpoint_folder(store, trained[arm, seed][-1]), ids, texts) for seed in (0, 1)]
        nats = np.mean([frame["nats"].sum() for frame in scored])
        assert one.levels[arm].value == pytest.approx(np.exp(nats / scored[0]["num_tokens"].sum()))
        assert (one.levels[arm].n, one.levels[arm].seeds) == (len(ids), 2)
    gain, most = one.gains[SBP_ARM].value, one.gains[ORACLE].value
    assert gain == pytest.approx((one.levels[SBP_ARM].value or 0) - (one.levels[REPETITION].value or 0))
    if (share := one.shares[SBP_ARM].value) is not None:
        assert share == pytest.approx(100 * (gain or 0) / (most or 1))
    along = [moment for moment in report.bootstrapping.moments if moment.arm == ORACLE]
    assert [moment.tokens for moment in along] == [1024, 2048]
    assert along[-1].figures[one.name] == one.levels[ORACLE]


def test_pairs_drawn_at_random_are_others_than_related_ones() -> None:
    texts = [f"{text} {n}" for n, text in enumerate(TEXTS)]
    chance = tuned_method(SMALL, True, 900)
    drawn, again = (embed(texts, chance.embedder) for _ in range(2))
    assert (drawn == again).all(), "the texts decide the draw"
    pairs = related_pairs(texts, drawn, chance.min_similarity, 0.5, 4).pairs
    assert len(pairs) == 4 * len(texts), "every text has its partners, whatever is like it"
    related = related_pairs(texts, embed(texts), -1, 0.5, 4).pairs
    assert len({*map(tuple, pairs)} & {*map(tuple, related)}) < len(pairs) / 2


def test_synthetic_text_is_asked_for_until_it_suffices_for_the_largest_share() -> None:
    assert tuned_method(SMALL, False, 900).draws == 4  # 1.6 * 0.9 * 2048 / 900
    assert tuned_method(SMALL, True, 900).draws == 2
    with pytest.raises(ValidationError, match="each once"):
        SBPProtocol(share=0.5, other_shares=(0.5,))


ENTI = EntiGraphProtocol(start=Checkpoint(model="m"), parts=(0.25, 0.5, 1.0), synthetic_tokens=4000)


def written(number: int, tokens: int) -> Written:
    return Written([f"text {n}" for n in range(number)], [""] * number, [tokens] * number)


def test_beginnings_of_the_stream_are_nested_and_each_is_a_training() -> None:
    readings = plan_readings(ENTI, written(40, 100), written(90, 50), written(100, 100))
    assert [(one.arm, one.synthetic_tokens, one.budget) for one in readings] == [
        (RAW, 0, 8000),
        (REPHRASE, 4000, 8000),
        (ENTIGRAPH, 1000, 2000),
        (ENTIGRAPH, 2000, 4000),
        (ENTIGRAPH, 4000, 8000),
    ]
    texts = [one.texts for one in readings[2:]]
    assert texts[2][: len(texts[1])] == texts[1]
    assert texts[1][: len(texts[0])] == texts[0]
    paper = ENTI.model_copy(update={"raw_passes": 4.0, "synthetic_tokens": None})
    assert [one.budget for one in plan_readings(paper, written(40, 100), written(0, 1), written(100, 100))] == [
        16_000,
        5000,
        10_000,
        20_000,
    ], "raw text four times, and no arm without text"
    with pytest.raises(BadInput, match="entigraph made no text"):
        plan_readings(ENTI, written(40, 100), written(90, 50), written(0, 1))
    with pytest.raises(ValidationError, match="the last of them 1"):
        EntiGraphProtocol(start=Checkpoint(model="m"), parts=(0.5,))


def answers(share: float, seed: int = 0) -> pl.DataFrame:
    """Return answers to 120 questions about 12 documents, of which the same are right whoever has more."""
    hard = np.random.default_rng(7).permutation(120) / 120 + np.random.default_rng(seed).normal(0, 0.02, 120)
    rows = [
        {
            "question_id": str(n),
            "document_id": f"d{n % 12}",
            "nats": 4.0,
            "num_tokens": 2,
            "option_right": bool(one < share),
            "num_options": 4,
            "skipped": "",
        }
        for n, one in enumerate(hard)
    ]
    return pl.DataFrame(rows, ANSWERS)


def test_entigraphs_tables_say_what_was_right_and_what_of_retrieval_the_text_reaches() -> None:
    found = describe_recital(
        {
            Asked(START, "closed", 0, 0): [answers(0.40)],
            Asked(START, "retrieved", 0, 0): [answers(0.60)],
            Asked(RAW, "closed", 0, 8000): [answers(0.38, seed) for seed in range(3)],
            Asked(ENTIGRAPH, "closed", 1000, 2000): [answers(0.46, seed) for seed in range(3)],
            Asked(ENTIGRAPH, "closed", 4000, 8000): [answers(0.56, seed) for seed in range(3)],
        },
        {ENTIGRAPH: {"cut_off": 2}},
    )
    against = {one.name: one.figure for one in found.against}
    gained, possible = (against[f"{one} over the start"].value or 0.0 for one in ("EntiGraph", "retrieval"))
    assert (gained, possible) == pytest.approx((16, 20), abs=2.5)
    reached = against["part of what retrieval adds that EntiGraph's text adds by itself"]
    assert reached.value == pytest.approx(100 * gained / possible)
    assert reached.low is not None
    assert reached.low < reached.value < (reached.high or 0)
    assert "EntiGraph over rephrasings" not in against, "that arm was not trained"
    assert [point.tokens for point in found.curve.points] == [0, 1000, 4000]
    assert found.curve.slope.value == pytest.approx(10 / np.log(4), abs=1)
    assert found.curve.plateau.value is None
    assert found.curve.plateau.status.startswith(NO_PLATEAU)
    told = tell_recital(found)
    assert "Closed book the start has 40 %" in told
    assert "where a blind choice has 25 %" in told
    assert "a plateau is not identified" in told
    assert found.sat[0].written is None, "nobody wrote an answer"


def test_written_answers_have_both_denominators() -> None:
    rows = answers(0.5).with_columns(
        answer=pl.when(pl.col("option_right")).then(pl.lit("A")).otherwise(pl.lit("")), exact=pl.col("option_right")
    )
    (sat,) = describe_recital({Asked(START, "closed", 0, 0): [rows]}, {}).sat
    assert sat.written
    assert sat.attempted
    assert sat.of_attempted
    assert sat.written.value == sat.attempted.value == pytest.approx(50, abs=3)
    assert sat.of_attempted.value == pytest.approx(100)


def test_entigraph_without_an_exam_is_refused_before_anything_runs() -> None:
    with pytest.raises(BadInput, match=r"exam is not set.*Set exam\.paths"):
        require_exam(None)
