"""The loop's rounds: planned by gaps and gains, concluded by what models know, and told on one page."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.evaluation.arms import arm_lineage
from gainloop.methods import Making, require_objective
from gainloop.reports.examined import read_examined
from gainloop.reports.improvement import as_markdown, describe_loop
from gainloop.reports.improvement_page import render_improvement
from gainloop.reports.overview import save_overview
from gainloop.reports.rounds import Standings
from gainloop.steering.budget import Belief, belief_of, share_out, split_budget
from gainloop.steering.gaps import Gap, find_gaps, weigh
from gainloop.steering.rounds import recipes_left
from gainloop.store import Store, open_store
from gainloop.store.batches import complete_stage, save_aim
from gainloop.store.checkpoints import discard_weights
from gainloop.store.files import only_one, write_file
from gainloop.store.snapshots import name_source, read_anchors, read_snapshot, untrained_documents
from schemas.errors import BadInput
from schemas.exam import Part
from schemas.improvement import Ending, GapRow, Improvement, Round
from schemas.plan import TrainingPlan
from schemas.profile import Profile, Ray
from schemas.rows import content_hash, document_of
from schemas.steering import Aim, EvenShares, Spending
from tasks.artifacts import create_markdown_artifact
from tasks.loop import PROBE_SHARE, Loop, purse_of, read_rounds, rounds_of
from tasks.probe import ask_models, part_of_exam
from tasks.progress import Bar

logger = logging.getLogger("gainloop.improve")

FADING: Final = 0.5
"""Weight of what earlier rounds measured of a recipe, each round anew: later text gains less."""

NUM_GAPS: Final = 30
"""Documents that a round, or the loop's end, lists, those with most missing first."""


@dataclass(frozen=True)
class Plan:
    """What a round is to do: each recipe's share and tokens, the aim of its draws, and the gaps that it follows."""

    number: int
    shares: dict[str, float]
    tokens: dict[str, int]
    aim_id: str
    gaps: list[GapRow]
    missing: float


def require_loop(
    profile: Profile, makings: Mapping[str, Making], spending: Spending, plan: TrainingPlan, players: Mapping[str, str]
) -> None:
    """Refuse, before anything costs time, a loop that cannot be run.

    Args:
        players: Models that play a part in the generator's place, by role.

    Raises:
        BadInput: It says so.
    """
    tuned = [name for name, one in makings.items() if one.method.tunes_generator]
    if tuned and len(makings) > 1:
        raise BadInput(
            f"improving by {', '.join(makings)}: {tuned[0]} tunes a generator of its own, and recipes of a loop share "
            "one; it can only be alone. Leave it out, or leave the others out."
        )
    require_objective(plan, [one.method for one in makings.values()])
    if any(one.day_tokens for one in makings.values()):
        raise BadInput(
            "improving with text.day_tokens: a loop spends what spending.tokens allows, which its rounds share out; no "
            "other budget is kept. Leave text.day_tokens out, and set spending.tokens to no more than that."
        )
    if spending.money is not None and not (profile.prices.prompt or profile.prices.completion):
        raise BadInput(
            f"improving with spending.money {spending.money:g} on profile {profile.name!r}: its prices are 0, so that "
            "no money would ever be spent; prices of a million tokens are needed. Set prices in the profile, or leave "
            "spending.money out."
        )
    if spending.money is not None and players:
        raise BadInput(
            f"improving with spending.money {spending.money:g} and generator.{', generator.'.join(sorted(players))}: a "
            "profile's prices are of one model, so that what several take cannot be told in money; one model must play "
            "every part. Leave them out, or bound the loop by spending.tokens alone."
        )
    if not plan.mixture.synthetic:
        raise BadInput(
            "improving with plan.mixture.synthetic 0: no text of the loop would be trained on; a part above 0 is "
            "needed. Set it."
        )
    if isinstance(profile.runner, Ray):
        raise BadInput(
            f"improving on profile {profile.name!r}: its runner is ray, whose workers do not count tokens together; "
            "only one process can keep a budget. Set runner.kind to threads."
        )


def require_parts(profile: Profile, exam_id: str, snapshot_id: str) -> None:
    """Refuse an exam that cannot both steer and judge.

    Raises:
        BadInput: One of its parts has no question about a document that is trained on.
    """
    store = open_store(profile)
    untrained = untrained_documents(store, snapshot_id)
    parts: tuple[Part, ...] = ("dev", "final")
    counts = {
        part: sum(one.document_id not in untrained for one in part_of_exam(store, exam_id, part).questions)
        for part in parts
    }
    if not all(counts.values()):
        raise BadInput(
            f"improving by exam {exam_id}: about documents that are trained on its dev part has {counts['dev']} "
            f"questions and its final part {counts['final']}; both must have some. Give questions about more documents."
        )


def working_on(profile: Profile, loop: Loop) -> AbstractContextManager[None]:
    """Keep other runs from working on a loop for the block; one that holds it is waited for."""
    return only_one(f"{open_store(profile).folder}/improvements/{loop.loop_id}.lock", f"works on loop {loop.loop_id}")


def plan_round(store: Store, profile: Profile, loop: Loop, summaries: Sequence[Mapping[str, Any]]) -> Plan:
    """Return what the next round is to do, by what those before it have measured."""
    rounds = rounds_of(summaries)
    number, names = len(rounds) + 1, recipes_left(list(loop.makings), rounds)
    before = {one.recipe: one.share for one in rounds[-1].recipes} if rounds else None
    shares = split_budget(_beliefs(names, rounds), before, loop.spending.floor, loop.spending.growth)
    left = purse_of(profile, loop.spending, rounds).left // (loop.spending.rounds - len(rounds))
    gaps, wrong = find_gaps_of(store, profile, loop, summaries)
    weights = weigh(gaps)
    aim_id = save_aim(store, Aim(weights=weights, missing={name: tuple(texts) for name, texts in wrong.items()}))
    return Plan(
        number, shares, share_out(left, shares), aim_id, list_gaps(store, loop, gaps, weights), mean_missing(gaps)
    )


def list_gaps(store: Store, loop: Loop, gaps: Sequence[Gap], weights: Mapping[str, float]) -> list[GapRow]:
    """Return the documents with most missing, each with its share of the draws."""
    titles = dict(read_anchors(store, loop.snapshot_id).select("uri", "title").iter_rows())
    named = {document_of(uri): title for uri, title in titles.items()}
    return [
        GapRow(
            document=gap.document_id,
            title=named.get(gap.document_id, ""),
            missing=round(gap.missing, 4),
            share=round(weights[gap.document_id], 4),
            asked=gap.asked,
            is_stuck=gap.is_stuck,
        )
        for gap in sorted(gaps, key=lambda one: (-one.missing, one.document_id))[:NUM_GAPS]
    ]


def mean_missing(gaps: Sequence[Gap]) -> float:
    """Return what is missing of a document, in the mean; 0 if there is none."""
    return math.fsum(gap.missing for gap in gaps) / max(1, len(gaps))


def _beliefs(names: Sequence[str], rounds: Sequence[Round]) -> dict[str, Belief | None]:
    """Return what is believed of each recipe after its rounds; None where none was measured."""
    found: dict[str, Belief | None] = dict.fromkeys(names)
    for each in rounds:
        for one in each.recipes:
            seen = belief_of(one.gain, one.tokens, each.tokens / len(each.recipes)) if one.recipe in found else None
            if seen is not None:
                known = found[one.recipe]
                found[one.recipe] = seen if known is None else known.after(seen, FADING)
    return found


def find_gaps_of(
    store: Store, profile: Profile, loop: Loop, summaries: Sequence[Mapping[str, Any]]
) -> tuple[list[Gap], dict[str, list[str]]]:
    """Return the gap of every document under the last round's model, and the questions that it has wrong."""
    anchors = read_anchors(store, loop.snapshot_id, heldout=False)
    documents = sorted({document_of(uri) for uri in anchors["uri"]})
    urls = summaries[-1]["urls"] if summaries else loop_start(store, profile, loop)
    had_text = frozenset(summaries[-1]["documents"]) if summaries else frozenset[str]()
    model = last_model(rounds_of(summaries))
    told: Mapping[str, Any] = next((one["losses"] for one in reversed(summaries) if one["round"]["checkpoints"]), {})
    losses = {str(name): float(loss) for name, loss in told.items()}
    standings = standings_of(store, loop, urls, {}, "dev")
    before = [Gap(**one) for one in summaries[-1]["gaps"]] if summaries else []
    gaps = find_gaps(standings.rights_by_document(model), losses, documents, before, had_text)
    return gaps, standings.wrong(model)


def last_model(rounds: Sequence[Round]) -> str:
    """Return the name of the newest model after some rounds; a round whose text is all refused trains none."""
    return next((f"round{one.number}" for one in reversed(rounds) if one.checkpoints), "start")


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


@task(cache_policy=NO_CACHE, task_run_name="ask what nothing steered by")
def tell_loop(
    profile: Profile, loop: Loop, ending: tuple[Ending, str], even: EvenShares | None
) -> tuple[Improvement, str]:
    """Ask the final part of all rounds at once, write the loop's page, and return what it says and its path.

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
    gaps, _ = find_gaps_of(store, profile, loop, summaries)
    found = describe_loop(
        loop.loop_id,
        loop.asked,
        name_source(json.loads(source)),
        loop.spending,
        rounds,
        list_gaps(store, loop, gaps, weigh(gaps)),
        mean_missing(gaps),
        ending,
        even,
        standings,
        profile.prices,
    )
    folder = f"{store.folder}/improvements/{loop.loop_id}"
    write_file(f"{folder}/report.json", found.model_dump_json(indent=2).encode())
    write_file(f"{folder}/report.html", render_improvement(found).encode())
    _discard_probes(store, loop, rounds)
    told = {"headline": found.headline, "stopped": found.stopped, "even": even.model_dump() if even else None}
    complete_stage(store, loop.loop_id, "improve", told, content_hash("told", found.headline))
    save_overview(store, profile.gate)
    create_markdown_artifact(as_markdown(found), key=f"improvement-{loop.loop_id}", description=found.headline)
    return found, f"{folder}/report.html"


def _discard_probes(store: Store, loop: Loop, rounds: Sequence[Round]) -> None:
    """Remove the weights of all probe runs: repeating's, which all rounds share, and what a kill left of others."""
    asked = [one.usable for each in rounds for one in each.recipes if one.usable] if loop.probes_apart else []
    for place, batches in enumerate(asked):
        of = loop.comparison(batches, PROBE_SHARE)
        for seed in range(of.plan.seeds):
            for arm in ("synthetic", "baseline") if place == 0 else ("synthetic",):
                discard_weights(store, arm_lineage(store, of, seed, arm).checkpoint_id)


def _repeating(store: Store, loop: Loop, rounds: Sequence[Round]) -> list[str]:
    """Return the checkpoints of repeating, by seed."""
    batches = next((one.batches for one in reversed(rounds) if one.batches), None)
    if batches is None:
        return []
    of = loop.comparison(batches)
    return [arm_lineage(store, of, seed, "baseline").checkpoint_id for seed in range(of.plan.seeds)]
