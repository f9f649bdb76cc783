"""The loop's rounds: planned by gaps and gains, concluded by what models know, and told on one page."""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.evaluation.arms import Comparison, arm_lineage
from gainloop.methods import Making
from gainloop.reports.examined import read_examined
from gainloop.reports.improvement import as_markdown, describe_loop
from gainloop.reports.improvement_page import render_improvement
from gainloop.reports.overview import save_overview
from gainloop.reports.rounds import Standings
from gainloop.steering.budget import Belief, Purse, belief_of, share_out, split_budget
from gainloop.steering.gaps import Gap, find_gaps, weigh
from gainloop.steering.probe import probe_plan
from gainloop.steering.rounds import recipes_left
from gainloop.store import Store, open_store
from gainloop.store.batches import complete_stage, list_summaries, save_aim, stage_summary
from gainloop.store.checkpoints import discard_weights
from gainloop.store.files import only_one, write_file
from gainloop.store.snapshots import name_source, read_anchors, read_snapshot, untrained_documents
from schemas.errors import BadInput
from schemas.exam import Asking, Part
from schemas.improvement import Ending, GapRow, Round
from schemas.profile import Profile, Ray
from schemas.recipe import Curation, TrainingPlan
from schemas.rows import content_hash, document_of
from schemas.steering import Aim, EvenShares, Spending
from tasks.artifacts import create_markdown_artifact
from tasks.probe import ask_models, part_of_exam
from tasks.progress import Bar

logger = logging.getLogger("gainloop.improve")

ROUND: Final = "round"
PROBE_SHARE: Final = 0.25
FADING: Final = 0.5
"""Weight of what earlier rounds measured of a recipe, each round anew: later text gains less."""

BYTES_PER_TOKEN, LONG_PROMPT = 5, 400
"""Bytes of a token, rather too many, and tokens of a prompt before one was sent."""

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
    curation: Curation
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
            "curation": self.curation.model_dump(mode="json"),
        }

    @property
    def arms(self) -> TrainingPlan:
        """The plan of a round's training: the arm of its text and repeating, asked at their ends."""
        return self.plan.model_copy(update={"arms": ["synthetic", "baseline"], "points": 1})

    @property
    def probes_apart(self) -> bool:
        """Whether probe runs are shorter than the training, so that their weights are no round's."""
        return probe_plan(self.arms, PROBE_SHARE).budget_tokens < self.arms.budget_tokens

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
        tokens=sum(one["prompt_tokens"] + one["completion_tokens"] + one.get("lost_tokens", 0) for one in made),
        anchors=sum(one["anchors"] for one in made),
        records=sum(one["records"] for one in made),
        cost=sum(one["cost"] for one in made),
    )


def tokens_per_anchor(rounds: Sequence[Round], recipe: str) -> float | None:
    """Return what a recipe has taken of tokens for an anchor; None before its first batch."""
    own = [one for each in rounds for one in each.recipes if one.recipe == recipe and one.anchors]
    return sum(one.tokens for one in own) / sum(one.anchors for one in own) if own else None


def most_of_request(store: Store, loop: Loop, recipe: str, batches: Sequence[str] = ()) -> int:
    """Return what one more request of a recipe may take, about: a token for each byte of a prompt, the longest reply.

    Args:
        batches: Batches of the recipe that say how long its prompts are, beside those of the rounds that are done.
    """
    rounds = rounds_of(read_rounds(store, loop.loop_id))
    own = [batch_id for each in rounds for one in each.recipes if one.recipe == recipe for batch_id in one.batches]
    made = [stage_summary(store, batch_id, "generate") or {} for batch_id in [*own, *batches]]
    requests = sum(one["requests"] for one in made)
    prompt = sum(one["prompt_tokens"] for one in made) / requests if requests else LONG_PROMPT
    return loop.makings[recipe].sampling.max_tokens + int(BYTES_PER_TOKEN * prompt)


def can_pay(store: Store, loop: Loop, rounds: Sequence[Round], left: int) -> bool:
    """Tell whether what is left pays for an anchor of a recipe that is still in."""
    names = recipes_left(list(loop.makings), rounds)
    return any(left > (tokens_per_anchor(rounds, name) or 0) + most_of_request(store, loop, name) for name in names)


def require_loop(profile: Profile, makings: Mapping[str, Making], spending: Spending, plan: TrainingPlan) -> None:
    """Refuse, before anything costs time, a loop that cannot be run.

    Raises:
        BadInput: It says so.
    """
    tuned = [name for name, one in makings.items() if one.method.tunes_generator]
    if tuned and len(makings) > 1:
        raise BadInput(
            f"improving by {', '.join(makings)}: {tuned[0]} tunes a generator of its own, and recipes of a loop share "
            "one; it can only be alone. Leave it out, or leave the others out."
        )
    if spending.money is not None and not (profile.prices.prompt or profile.prices.completion):
        raise BadInput(
            f"improving with spending.money {spending.money:g} on profile {profile.name!r}: its prices are 0, so that "
            "no money would ever be spent; prices of a million tokens are needed. Set prices in the profile, or leave "
            "spending.money out."
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


def find_gaps_of(
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
    if loop.probes_apart and any(one.batches for one in rounds):
        of = loop.comparison(next(one.batches for one in rounds if one.batches), PROBE_SHARE)
        for seed in range(of.plan.seeds):
            discard_weights(store, arm_lineage(store, of, seed, "baseline").checkpoint_id)
    told = {"headline": found.headline, "stopped": found.stopped, "even": even.model_dump() if even else None}
    complete_stage(store, loop.loop_id, "improve", told, content_hash("told", found.headline))
    save_overview(store, profile.gate)
    create_markdown_artifact(as_markdown(found), key=f"improvement-{loop.loop_id}", description=found.headline)
    return f"{folder}/report.html"


def _repeating(store: Store, loop: Loop, rounds: Sequence[Round]) -> list[str]:
    """Return the checkpoints of repeating, by seed."""
    batches = next((one.batches for one in reversed(rounds) if one.batches), None)
    if batches is None:
        return []
    of = loop.comparison(batches)
    return [arm_lineage(store, of, seed, "baseline").checkpoint_id for seed in range(of.plan.seeds)]
