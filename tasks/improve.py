"""The loop's rounds: planned by gaps and gains, concluded by what models know, and told on one page."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.evaluation.arms import Comparison, arm_lineage, arm_records, split_records
from gainloop.evaluation.likelihoods import MAX_SCORED, Run, TextSet, general_set, score_set
from gainloop.measures.diversity import new_ngrams
from gainloop.measures.estimate import as_figure
from gainloop.measures.ngrams import hash_texts
from gainloop.methods import Making
from gainloop.reports.examined import read_examined
from gainloop.reports.improvement import as_markdown, describe_loop
from gainloop.reports.improvement_page import render_improvement
from gainloop.reports.rounds import Standings
from gainloop.steering.budget import Belief, Purse, belief_of, share_out, split_budget
from gainloop.steering.gaps import Gap, find_gaps, weigh
from gainloop.steering.probe import probe_plan, probe_verdict
from gainloop.steering.rounds import recipes_left
from gainloop.store import Store, open_store
from gainloop.store.batches import complete_stage, kept_records, list_summaries, save_aim, stage_summary
from gainloop.store.checkpoints import checkpoint_metrics, discard_weights
from gainloop.store.files import write_file
from gainloop.store.scores import find_scores
from gainloop.store.snapshots import name_source, read_anchors, read_snapshot
from schemas.exam import Asking, Part
from schemas.figure import Figure
from schemas.improvement import Ending, GapRow, RecipeRound, Round
from schemas.profile import Profile
from schemas.recipe import TrainingPlan
from schemas.report import Money
from schemas.rows import content_hash, document_of
from schemas.steering import Aim, EvenShares, Spending
from tasks.artifacts import create_markdown_artifact
from tasks.probe import ask_models, part_of_exam
from tasks.progress import Bar

logger = logging.getLogger("gainloop.improve")

ROUND: Final = "round"
FADING: Final = 0.5
"""Weight of what earlier rounds measured of a recipe, each round anew: later text gains less."""

WORDED_ANEW: Final = 12
"""Held-out records of a document whose loss says what is missing of it, at most."""

NUM_GAPS: Final = 30
"""Documents that a round lists, those with most missing first."""


@dataclass(frozen=True)
class Loop:
    """What a loop is asked to do; its hash names it.

    Attributes:
        snapshot_id: Documents that text is made of.
        start_id: Checkpoint that every round starts from.
        exam_id: Exam whose dev part steers, and whose final part judges.
        makings: How text is made, by recipe.
        model: Generator's name, and ``revision`` its revision; ``folder`` has its weights, None where servers have it.
    """

    snapshot_id: str
    start_id: str
    exam_id: str
    asking: Asking
    plan: TrainingPlan
    general_id: str
    spending: Spending
    makings: Mapping[str, Making] = field(hash=False)
    model: str = ""
    revision: str = ""
    folder: str | None = None

    @property
    def loop_id(self) -> str:
        return content_hash("improvement", self.asked)

    @property
    def asked(self) -> dict[str, Any]:
        """What it is asked to do, as JSON; what shows what steering was worth is no part of it."""
        return {
            "snapshot": self.snapshot_id,
            "start": self.start_id,
            "exam": self.exam_id,
            "asking": self.asking.model_dump(mode="json"),
            "plan": self.plan.identity(),
            "general": self.general_id,
            "spending": self.spending.model_dump(mode="json", exclude={"even"}),
            "recipes": {name: one.model_dump(mode="json") for name, one in self.makings.items()},
            "generator": [self.model, self.revision],
        }

    @property
    def arms(self) -> TrainingPlan:
        """The plan of a round's training: the arm of its text and repeating, asked at their ends."""
        return self.plan.model_copy(update={"arms": ["synthetic", "baseline"], "points": 1})

    def comparison(self, batches: Sequence[str], share: float = 1.0) -> Comparison:
        """Return a training of some batches beside the anchors of all documents.

        Args:
            share: Part of the updates; below 1 it is a probe run.
        """
        *others, last = batches
        plan = self.arms if share == 1 else probe_plan(self.arms, share)
        return Comparison(last, self.start_id, plan, self.general_id, tuple(others), of_all=True)


@dataclass(frozen=True)
class Made:
    """What a recipe's batches of one round took and gave; ``refused`` is why validation refuses one as a whole."""

    batches: list[str]
    tokens: int
    anchors: int
    records: int
    cost: float
    currency: str
    refused: str = ""


@dataclass(frozen=True)
class Plan:
    """What a round is to do: each recipe's share and tokens, and the aim of its draws."""

    number: int
    shares: dict[str, float]
    tokens: dict[str, int]
    aim_id: str
    gaps: list[GapRow]


def is_validated(store: Store, batch_id: str) -> bool:
    return stage_summary(store, batch_id, "validate") is not None


def read_rounds(store: Store, loop_id: str) -> list[dict[str, Any]]:
    """Return the summaries of the rounds that are done, in order."""
    found = {int(key): summary for key, summary in list_summaries(store, loop_id, ROUND)}
    return [found[number] for number in sorted(found)]


def rounds_of(summaries: Sequence[Mapping[str, Any]]) -> list[Round]:
    return [Round.model_validate(one["round"]) for one in summaries]


def purse_of(profile: Profile, spending: Spending, rounds: Sequence[Round]) -> Purse:
    """Return what may be spent and what has been."""
    dearest = max(profile.prices.prompt, profile.prices.completion) / 1e6
    spent = [one for each in rounds for one in each.recipes]
    money = sum(one.money.amount for one in spent if one.money)
    return Purse(spending.tokens, spending.money, dearest, sum(one.tokens for one in spent), money)


def made_of(store: Store, batches: Sequence[str]) -> Made:
    """Return what batches took and gave."""
    made = [stage_summary(store, batch_id, "generate") or {} for batch_id in batches]
    return Made(
        batches=list(batches),
        tokens=sum(one["prompt_tokens"] + one["completion_tokens"] for one in made),
        anchors=sum(one["anchors"] for one in made),
        records=sum(one["records"] for one in made),
        cost=sum(one["cost"] for one in made),
        currency=made[0]["currency"] if made else "",
    )


def tokens_per_anchor(rounds: Sequence[Round], recipe: str) -> float | None:
    """Return what a recipe has taken of tokens for an anchor; None before its first batch."""
    own = [one for each in rounds for one in each.recipes if one.recipe == recipe and one.anchors]
    return sum(one.tokens for one in own) / sum(one.anchors for one in own) if own else None


def plan_round(store: Store, profile: Profile, loop: Loop, summaries: Sequence[Mapping[str, Any]]) -> Plan:
    """Return what the next round is to do, by what those before it have measured."""
    rounds = rounds_of(summaries)
    number, names = len(rounds) + 1, recipes_left(list(loop.makings), rounds)
    before = {one.recipe: one.share for one in rounds[-1].recipes} if rounds else None
    shares = split_budget(_beliefs(names, rounds), before, loop.spending.floor, loop.spending.growth)
    left = purse_of(profile, loop.spending, rounds).left // (loop.spending.rounds - len(rounds))
    gaps, wrong = _gaps(store, profile, loop, summaries)
    weights = weigh(gaps)
    aim_id = save_aim(store, Aim(weights=weights, missing={name: tuple(texts) for name, texts in wrong.items()}))
    titles = dict(read_anchors(store, loop.snapshot_id).select("uri", "title").iter_rows())
    named = {document_of(uri): title for uri, title in titles.items()}
    rows = [
        GapRow(
            document=gap.document_id,
            title=named.get(gap.document_id, ""),
            missing=round(gap.missing, 4),
            share=round(weights[gap.document_id], 4),
            asked=gap.asked,
        )
        for gap in sorted(gaps, key=lambda one: (-one.missing, one.document_id))[:NUM_GAPS]
    ]
    return Plan(number, shares, share_out(left, shares), aim_id, rows)


def _beliefs(names: Sequence[str], rounds: Sequence[Round]) -> dict[str, Belief | None]:
    """Return what is believed of each recipe after its rounds; None where none was measured."""
    found: dict[str, Belief | None] = dict.fromkeys(names)
    for each in rounds:
        for one in each.recipes:
            seen = belief_of(one.gain, one.tokens) if one.recipe in found else None
            if seen is not None:
                known = found[one.recipe]
                found[one.recipe] = seen if known is None else known.after(seen, FADING)
    return found


def _gaps(
    store: Store, profile: Profile, loop: Loop, summaries: Sequence[Mapping[str, Any]]
) -> tuple[list[Gap], dict[str, list[str]]]:
    """Return the gap of every document under the last round's model, and the questions that it has wrong."""
    trained = read_anchors(store, loop.snapshot_id, heldout=False)
    documents = sorted({document_of(uri) for uri in trained["uri"]})
    if not summaries:
        urls, model, losses, had_text = loop_start(store, profile, loop), "start", {}, frozenset[str]()
    else:
        last = summaries[-1]
        urls, model = last["urls"], f"round{len(summaries)}"
        losses = {str(name): float(loss) for name, loss in last["losses"].items()}
        had_text = frozenset(last["documents"])
    standings = standings_of(store, loop, urls, {}, "dev")
    before = [Gap(**one) for one in summaries[-1]["gaps"]] if summaries else []
    gaps = find_gaps(standings.rights_by_document(model), losses, documents, before, had_text)
    return gaps, standings.wrong(model)


def loop_start(store: Store, profile: Profile, loop: Loop) -> dict[str, str]:
    """Return the urls of the start's steering answers."""
    with Bar("ask the start", "models") as bar:
        exam = part_of_exam(store, loop.exam_id, "dev")
        return ask_models(store, profile, exam, {"start/0/0": loop.start_id}, loop.asking, bar)


def standings_of(
    store: Store, loop: Loop, urls: Mapping[str, str], general: Mapping[str, str], part: Part
) -> Standings:
    """Return what models know, by the urls of their answers and of their scores of general text."""
    summary = {
        "exam": loop.exam_id,
        "urls": dict(urls),
        "general": dict(general),
        "asking": loop.asking.model_dump(mode="json"),
    }
    return Standings(read_examined(store, loop.snapshot_id, loop.loop_id, "", summary, []), part)


@task(cache_policy=NO_CACHE, task_run_name="plan round {number}")
def plan_next(profile: Profile, loop: Loop, number: int) -> Plan:
    store = open_store(profile)
    summaries = read_rounds(store, loop.loop_id)[: number - 1]
    plan = plan_round(store, profile, loop, summaries)
    shared = ", ".join(f"{name} {share:.0%} ({plan.tokens[name]:,} tokens)" for name, share in plan.shares.items())
    logger.info("Round %s: %s.", number, shared)
    return plan


@dataclass(frozen=True)
class Probe:
    """The probe runs of a round: of repeating, and of each recipe's text."""

    repeating: list[Run]
    recipes: dict[str, list[Run]]


@task(cache_policy=NO_CACHE, task_run_name="conclude round {plan.number}")
def conclude_round(
    profile: Profile,
    loop: Loop,
    plan: Plan,
    made: Mapping[str, Made],
    held: Mapping[str, str],
    probe: Probe,
    runs: list[Run],
    batches: list[str],
    begun: float,
) -> Round:
    """Record what a round spent and taught, and remove the weights of its probe runs.

    Args:
        made: What each recipe's batches took and gave.
        held: Why the text of a recipe is not trained on, by recipe; a probe run that says hold is added.
        runs: Runs of the round's training, of the synthetic arm and of repeating; empty if nothing was trained.
        batches: Batches that it was trained on, of all rounds.
    """
    store = open_store(profile)
    with Bar(f"ask after round {plan.number}", "models") as bar:
        summary = _conclude(store, profile, loop, plan, made, held, probe, runs, batches, begun, bar)
    complete_stage(store, loop.loop_id, ROUND, summary, str(plan.number))
    for recipe_runs in probe.recipes.values():
        for run in recipe_runs:
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


def _conclude(
    store: Store,
    profile: Profile,
    loop: Loop,
    plan: Plan,
    made: Mapping[str, Made],
    held: Mapping[str, str],
    probe: Probe,
    runs: list[Run],
    batches: list[str],
    begun: float,
    bar: Bar,
) -> dict[str, Any]:
    gains = probe_gains(store, profile, loop, probe)
    earlier = read_rounds(store, loop.loop_id)[: plan.number - 1]
    name, before = f"round{plan.number}", f"round{plan.number - 1}" if earlier else "start"
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
    losses, documents = _losses(store, profile, loop, runs, batches), _documents(store, own)
    found = Round(
        number=plan.number,
        recipes=[_recipe_round(profile, store, plan, key, one, held, gains) for key, one in made.items()],
        gaps=plan.gaps,
        tokens=sum(one.tokens for one in made.values()),
        synthetic_tokens=_synthetic_tokens(store, loop, runs, batches),
        money=_money(sum(one.cost for one in made.values()), profile),
        seconds=time.time() - begun,
        checkpoints=[run.checkpoints[-1] for run in runs if run.arm == "synthetic"],
        batches=batches,
        training=loop.comparison(batches).training_id if batches else "",
        right=standings.known(name),
        gain=standings.gain(name, before),
        over_repeating=standings.gain(name, "baseline"),
        forgotten=standings.forgotten(name),
        worse=standings.forgotten(name, before),
        new=new,
    )
    gaps = _gaps(store, profile, loop, earlier)[0]
    return {
        "round": found.model_dump(mode="json"),
        "urls": urls,
        "general": general,
        "losses": losses,
        "documents": documents,
        "gaps": [{"document_id": gap.document_id, "missing": gap.missing, "asked": gap.asked} for gap in gaps],
    }


def _recipe_round(
    profile: Profile,
    store: Store,
    plan: Plan,
    name: str,
    made: Made,
    held: Mapping[str, str],
    gains: Mapping[str, Figure],
) -> RecipeRound:
    from gainloop.measures.estimate import not_measured

    gain = gains.get(name) or as_figure(not_measured("points", "its text is not trained on"), "probe run")
    return RecipeRound(
        recipe=name,
        share=plan.shares[name],
        planned=plan.tokens[name],
        tokens=made.tokens,
        money=_money(made.cost, profile),
        anchors=made.anchors,
        records=made.records,
        kept=sum(kept_records(store, one).height for one in made.batches if is_validated(store, one)),
        batches=made.batches,
        verdict=probe_verdict(gain),
        held=held.get(name, ""),
        gain=gain,
    )


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
    return {row[0]: row[1] / row[2] / 0.6931471805599453 for row in sums.iter_rows() if row[2]}


def _owners(store: Store, snapshot_id: str) -> dict[str, str]:
    """Return the document of each anchor."""
    rows = read_anchors(store, snapshot_id).select("anchor_id", "uri").iter_rows()
    return {anchor_id: document_of(uri) for anchor_id, uri in rows}


def _documents(store: Store, batches: Sequence[str]) -> list[str]:
    """Return the documents that text was made of."""
    rows = store.query(
        "select distinct uri from batch_anchors join anchors using (anchor_id) "
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
    return int(made["tokens"]["synthetic"] / made["repetitions"]["synthetic"])


@task(cache_policy=NO_CACHE, task_run_name="ask after the probe runs of round {number}")
def measure_probes(profile: Profile, loop: Loop, number: int, probe: Probe) -> dict[str, Figure]:
    return probe_gains(open_store(profile), profile, loop, probe)


@task(cache_policy=NO_CACHE, task_run_name="ask what nothing steered by")
def tell_loop(profile: Profile, loop: Loop, ending: tuple[Ending, str], even: EvenShares | None) -> str:
    """Ask the final part of all rounds at once, write the loop's page, and return its path.

    Args:
        ending: Why the loop stopped, in a word and in words.
        even: What even shares made for as many tokens; None if that was not wanted.
    """
    store = open_store(profile)
    summaries = read_rounds(store, loop.loop_id)
    rounds = rounds_of(summaries)
    models = {"start/0/0": loop.start_id}
    for one in rounds:
        models |= {f"round{one.number}/{seed}/1": checkpoint for seed, checkpoint in enumerate(one.checkpoints)}
    models |= {f"baseline/{seed}/1": one for seed, one in enumerate(_repeating(store, loop, rounds))}
    models |= {f"even/{seed}/1": one for seed, one in enumerate(even.checkpoints if even else [])}
    with Bar("ask the final part", "models") as bar:
        urls = ask_models(store, profile, part_of_exam(store, loop.exam_id, "final"), models, loop.asking, bar)
    standings = standings_of(store, loop, urls, {}, "final")
    source = read_snapshot(store, loop.snapshot_id)["source"]
    found = describe_loop(
        loop.loop_id,
        loop.asked,
        name_source(json.loads(source)),
        loop.spending,
        rounds,
        ending,
        even,
        standings,
        profile.prices,
    )
    folder = f"{store.folder}/improvements/{loop.loop_id}"
    write_file(f"{folder}/report.json", found.model_dump_json(indent=2).encode())
    write_file(f"{folder}/report.html", render_improvement(found).encode())
    create_markdown_artifact(as_markdown(found), key=f"improvement-{loop.loop_id}", description=found.headline)
    return f"{folder}/report.html"


def _repeating(store: Store, loop: Loop, rounds: Sequence[Round]) -> list[str]:
    """Return the checkpoints of repeating, by seed."""
    batches = next((one.batches for one in reversed(rounds) if one.batches), None)
    if batches is None:
        return []
    of = loop.comparison(batches)
    return [arm_lineage(store, of, seed, "baseline").checkpoint_id for seed in range(of.plan.seeds)]
