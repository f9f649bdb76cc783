"""The end of a round: what its probe runs and its training taught, what it spent, and what is still missing."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.evaluation.arms import arm_records, split_records
from gainloop.evaluation.likelihoods import MAX_SCORED, Run, TextSet, general_set, score_set
from gainloop.measures.diversity import new_ngrams
from gainloop.measures.estimate import as_figure, not_measured
from gainloop.measures.ngrams import hash_texts
from gainloop.steering.probe import probe_verdict
from gainloop.store import Store, open_store
from gainloop.store.batches import complete_stage, kept_records
from gainloop.store.checkpoints import checkpoint_metrics, discard_weights
from gainloop.store.scores import find_scores
from gainloop.store.snapshots import read_anchors
from schemas.figure import Figure
from schemas.improvement import RecipeRound, Round
from schemas.profile import Profile
from schemas.report import Money
from schemas.rows import document_of
from tasks.improve import Plan, find_gaps_of, last_model, standings_of
from tasks.loop import ROUND, Loop, Made, is_validated, read_rounds, rounds_of
from tasks.probe import ask_models, part_of_exam
from tasks.progress import Bar

WORDED_ANEW: Final = 12
"""Held-out records of a document whose loss says what is missing of it, at most."""


@dataclass(frozen=True)
class Probe:
    """The probe runs of a round: of repeating, and of each recipe's text."""

    repeating: list[Run]
    recipes: dict[str, list[Run]]


@dataclass(frozen=True)
class Work:
    """What was done in a round.

    Attributes:
        plan: What it was to do.
        made: What each recipe's batches took and gave.
        held: Why the text of a recipe is not trained on, by recipe.
        probe: Its probe runs, and ``gains`` of each recipe's text over repeating in them.
        runs: Runs of its training, of the synthetic arm and of repeating; empty if nothing was trained.
        batches: Batches that it was trained on, of all rounds.
        begun: Time at which it began, in seconds of ``time.time``.
    """

    plan: Plan
    made: Mapping[str, Made]
    held: Mapping[str, str]
    probe: Probe
    gains: Mapping[str, Figure]
    runs: list[Run]
    batches: list[str]
    begun: float


@task(cache_policy=NO_CACHE, task_run_name="conclude round {work.plan.number}")
def conclude_round(profile: Profile, loop: Loop, work: Work) -> Round:
    """Record what a round spent and taught, and remove the weights of its probe runs."""
    store = open_store(profile)
    with Bar(f"ask after round {work.plan.number}", "models") as bar:
        summary = _conclude(store, profile, loop, work, bar)
    complete_stage(store, loop.loop_id, ROUND, summary, str(work.plan.number))
    if loop.probes_apart:
        for run in (one for runs_of_recipe in work.probe.recipes.values() for one in runs_of_recipe):
            discard_weights(store, run.checkpoints[-1])
    return Round.model_validate(summary["round"])


def probe_gains(store: Store, profile: Profile, loop: Loop, probe: Probe) -> dict[str, Figure]:
    """Return each recipe's gain over repeating in its probe run, by the questions that may steer."""
    models = {"start/0/0": loop.start_id}
    for arm, runs in {"baseline": probe.repeating, **probe.recipes}.items():
        models |= {f"{arm}/{run.seed}/1": run.checkpoints[-1] for run in runs}
    with Bar("ask after the probe runs", "models") as bar:
        urls = ask_models(store, profile, part_of_exam(store, loop.exam_id, "dev"), models, loop.asking, bar)
    standings = standings_of(store, loop, urls, {}, "dev")
    return {name: standings.gain(name, "baseline") for name in probe.recipes}


def _conclude(store: Store, profile: Profile, loop: Loop, work: Work, bar: Bar) -> dict[str, Any]:
    plan, made, runs, batches = work.plan, work.made, work.runs, work.batches
    earlier = read_rounds(store, loop.loop_id)[: plan.number - 1]
    name, before = f"round{plan.number}", last_model(rounds_of(earlier))
    models = {"start/0/0": loop.start_id}
    models |= {f"{name if run.arm == 'synthetic' else run.arm}/{run.seed}/1": run.checkpoints[-1] for run in runs}
    exam = part_of_exam(store, loop.exam_id, "dev")
    urls = (earlier[-1]["urls"] if earlier else {}) | ask_models(store, profile, exam, models, loop.asking, bar)
    texts = general_set(
        store, profile.training.device, loop.general_id, loop.start_id, loop.snapshot_id, loop.plan.scored_texts
    )
    general = dict(earlier[-1]["general"]) if earlier else {}
    for key, checkpoint_id in models.items():
        if key not in general:
            general[key] = store.keep(score_set(store, profile.training.device, checkpoint_id, texts))
    standings = standings_of(store, loop, urls, general, "dev")
    own = [one for recipe in made.values() for one in recipe.batches]
    new = _new_text(store, [one for one in own if one in batches], [one for one in batches if one not in own])
    losses = _losses(store, profile, loop, runs, batches)
    documents = _documents(store, [one for one in own if one in batches])
    found = Round(
        number=plan.number,
        recipes=[_recipe_round(profile, store, work, key) for key in made],
        gaps=plan.gaps,
        missing=plan.missing,
        tokens=sum(one.tokens for one in made.values()),
        synthetic_tokens=_synthetic_tokens(store, loop, runs, batches),
        money=_money(sum(one.cost for one in made.values()), profile),
        seconds=time.time() - work.begun,
        checkpoints=[run.checkpoints[-1] for run in runs if run.arm == "synthetic"],
        batches=batches,
        training=loop.comparison(batches).training_id if batches else "",
        right=standings.known(name),
        gain=standings.gain(name, before),
        over_repeating=standings.gain(name, "baseline"),
        forgotten=standings.forgotten(name),
        repeating_forgotten=standings.forgotten("baseline"),
        worse=standings.forgotten(name, before),
        new=new,
    )
    gaps = find_gaps_of(store, profile, loop, earlier)[0]
    return {
        "round": found.model_dump(mode="json"),
        "urls": urls,
        "general": general,
        "losses": losses,
        "documents": documents,
        "gaps": [{"document_id": gap.document_id, "missing": gap.missing, "asked": gap.asked} for gap in gaps],
    }


def _recipe_round(profile: Profile, store: Store, work: Work, name: str) -> RecipeRound:
    plan, made = work.plan, work.made[name]
    gain = work.gains.get(name) or as_figure(not_measured("points", "its text is not trained on"), "probe run")
    return RecipeRound(
        recipe=name,
        share=plan.shares[name],
        planned=plan.tokens[name],
        tokens=made.tokens,
        money=_money(made.cost, profile),
        anchors=made.anchors,
        records=made.records,
        kept=sum(kept_records(store, one).height for one in made.batches if is_validated(store, one)),
        dropped=_dropped(store, made.batches),
        batches=made.batches,
        refused=dict(made.refused),
        given_up=dict(made.given_up),
        verdict=probe_verdict(gain),
        held=work.held.get(name, ""),
        gain=gain,
    )


def _dropped(store: Store, batches: Sequence[str]) -> dict[str, int]:
    """Return how many replies of batches were dropped, by reason, the commonest first."""
    found = "select reason, count(*) from drops where batch_id in (select unnest(?)) and request_id != '' "
    return dict(store.query(f"{found} group by reason order by count(*) desc, reason", list(batches)).rows())


def _money(cost: float, profile: Profile) -> Money | None:
    return Money(amount=cost, currency=profile.prices.currency) if cost else None


def _new_text(store: Store, own: Sequence[str], earlier: Sequence[str]) -> Figure:
    """Return how much of a round's kept text no earlier round has."""
    texts, others = (
        hash_texts([text for one in batches for text in kept_records(store, one)["text"]]) for batches in (own, earlier)
    )
    return as_figure(new_ngrams(texts, others), "distinct word 5-grams that no earlier record has, by all")


def _losses(
    store: Store, profile: Profile, loop: Loop, runs: Sequence[Run], batches: Sequence[str]
) -> dict[str, float]:
    """Return the loss of each document's facts in another wording, in bits/byte: of records that were held out."""
    first = next((run for run in runs if run.arm == "synthetic" and run.seed == 0), None)
    if first is None:
        return {}
    left = split_records(arm_records(store, loop.comparison(batches)), loop.plan.heldout_records)[1]
    owner = _owners(store, loop.snapshot_id)
    rows = left.with_columns(document=pl.col("anchor_id").replace_strict(owner, default=""))
    rows = rows.sort("record_id").group_by("document", maintain_order=True).head(WORDED_ANEW)
    if rows.is_empty():
        return {}
    texts = TextSet(rows.select("text", text_id="record_id"), most=MAX_SCORED)
    url = score_set(store, profile.training.device, first.checkpoints[-1], texts)
    scored = find_scores(store, loop.loop_id, {"records": store.keep(url)})["records"]
    found = scored.join(rows.select("document", text_id="record_id"), on="text_id")
    sums = found.group_by("document").agg(pl.col("nats").sum(), pl.col("num_bytes").sum())
    return {row[0]: row[1] / row[2] / math.log(2) for row in sums.iter_rows() if row[2]}


def _owners(store: Store, snapshot_id: str) -> dict[str, str]:
    """Return the document of each anchor."""
    rows = read_anchors(store, snapshot_id).select("anchor_id", "uri").iter_rows()
    return {anchor_id: document_of(uri) for anchor_id, uri in rows}


def _documents(store: Store, batches: Sequence[str]) -> list[str]:
    """Return the documents that text was made of."""
    rows = store.query(
        "select distinct uri from records join anchors using (anchor_id) "
        "where batch_id in (select unnest(?::varchar[]))",
        list(batches),
    )
    return sorted({document_of(uri) for uri in rows["uri"]})


def _synthetic_tokens(store: Store, loop: Loop, runs: Sequence[Run], batches: Sequence[str]) -> int:
    """Return the tokens of the synthetic text that the round's model was trained on, each once."""
    first = next((run for run in runs if run.arm == "synthetic"), None)
    if first is None:
        return 0
    made = checkpoint_metrics(store, first.checkpoints[-1])
    return int(made["tokens"]["synthetic"] / max(1.0, made["repetitions"]["synthetic"]))


@task(cache_policy=NO_CACHE, task_run_name="ask after the probe runs of round {number}")
def measure_probes(profile: Profile, loop: Loop, number: int, probe: Probe) -> dict[str, Figure]:
    return probe_gains(open_store(profile), profile, loop, probe)
