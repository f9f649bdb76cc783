"""The loop: measure what is missing, spend where it helps, make text, train, examine, until it no longer pays."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from prefect import flow, get_run_logger

from flows.generate import find_generator, make_batch
from flows.refresh import HeldoutFraction, refresh
from gainloop.evaluation.likelihoods import Run
from gainloop.methods import Making, read_makings, require_generator
from gainloop.sources import AnySource
from gainloop.steering.rounds import find_ending
from gainloop.store import open_store
from gainloop.store.snapshots import read_anchors
from schemas.errors import BadInput, SuiteFailed
from schemas.exam import AnyExam, Asking
from schemas.form import SHUT, Folded
from schemas.improvement import Ending, Round
from schemas.profile import Profile, load_profile
from schemas.recipe import Accepted, AnyGenerator, AnyPlan, AnyStart, Arm, Checkpoint, Curation, Own
from schemas.steering import EvenShares, Spending
from tasks.exam import prepare_exam
from tasks.improve import (
    Loop,
    Made,
    Plan,
    made_of,
    plan_next,
    purse_of,
    read_rounds,
    rounds_of,
    tell_loop,
    tokens_per_anchor,
)
from tasks.probe import count_part
from tasks.progress import Stages, ended
from tasks.refresh import find_general
from tasks.report import say_vetoes
from tasks.round import Probe, conclude_round, measure_probes
from tasks.train import adopt_start, find_start, require_trainable, train_checkpoint
from tasks.validate import validate_records, validate_snapshot

PROBE_SHARE = 0.25
PILOT_ANCHORS = 4
"""Anchors of a recipe's first batch: what an anchor takes is known after it."""

BYTES_PER_TOKEN, LONG_PROMPT = 5, 400

MOST_BATCHES = 20
"""Batches of a recipe in a round, at most."""

EVEN_SEED = 500_000
"""Seeds of the text by even shares begin here, those of a round at a thousand times its number."""


@flow(name="improve", flow_run_name="improve-on-{source.kind}")
def improve(
    exam: AnyExam,
    spending: Spending,
    recipes: tuple[str, ...] = (),
    source: Folded[AnySource] = SHUT,
    text: Folded[Making] = SHUT,
    generator: Folded[AnyGenerator] = SHUT,
    start: Folded[AnyStart] = SHUT,
    curation: Folded[Curation] = SHUT,
    asking: Folded[Asking] = SHUT,
    plan: AnyPlan = SHUT,
    general: AnySource | None = None,
    heldout_fraction: HeldoutFraction = 0.05,
    profile: str = "embedded",
) -> str:
    """Return the path of the loop's page: rounds of text where it helps, until it no longer pays.

    Args:
        exam: Exam whose dev part steers, and whose final part judges once at the end.
        recipes: Recipes that share the budget: methods by name, or YAML files of recipes. Default: text alone.
        source: Source of the documents.
        text: How text is made in all that a recipe does not set itself.
        generator: Generator that writes the text: one's own, the start checkpoint, or a served model.
        start: Model that every round starts from: a new one made from the anchors, a checkpoint, or the one that the
            corpus's latest accepted batch made.
        general: Source of text that has nothing to do with the corpus: to measure forgetting on, and to replay.
            Default: text that the start itself writes.
        heldout_fraction: Part of the documents that is neither generated from nor trained on.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    makings = read_makings(recipes, text) if recipes else {text.method.kind: text}
    for making in makings.values():
        require_generator(loaded, making, generator)
    require_trainable(loaded)
    chats = isinstance(generator, Own)
    if isinstance(start, Checkpoint):
        start = adopt_start(loaded, start, chats)
    elif isinstance(start, Accepted):
        adopt_start(loaded, start.first_checkpoint, chats)
    with Stages(["refresh", "exam", *(f"round {n}" for n in range(1, spending.rounds + 1)), "end"]) as stage:
        stage("refresh")
        snapshot_id = refresh(source, profile, heldout_fraction)
        general_id = find_general(loaded, general)
        stage("exam")
        exam_id = prepare_exam(loaded, exam, snapshot_id)
        require_parts(loaded, exam_id)
        start_id = find_start(loaded, snapshot_id, start)
        first = next(iter(makings.values()))
        model, revision, folder = find_generator(loaded, snapshot_id, first, generator, Checkpoint(model=start_id))
        loop = Loop(
            *(snapshot_id, start_id, exam_id, asking, plan, general_id, spending, makings),
            *(model, revision, folder),
        )
        validate_snapshot(loaded, snapshot_id)
        while (ending := ending_of(loaded, loop)) is None:
            number = len(done_rounds(loaded, loop)) + 1
            stage(f"round {number}")
            found = run_round(loaded, loop, number, curation)
            get_run_logger().info("Round %s: %s over the round before.", number, found.gain.signed)
        stage("end")
        even = make_even(loaded, loop, curation) if spending.even else None
        page = tell_loop(loaded, loop, ending, even)
        stage.end(ending[1])
    return ended(f"Loop {loop.loop_id} stopped because {ending[1]}", page)


def require_parts(loaded: Profile, exam_id: str) -> None:
    """Refuse an exam that cannot both steer and judge.

    Raises:
        BadInput: One of its parts has no question.
    """
    counts = {part: count_part(loaded, exam_id, part) for part in ("dev", "final")}
    if not all(counts.values()):
        raise BadInput(
            f"improving by exam {exam_id}: its dev part has {counts['dev']} questions and its final part "
            f"{counts['final']}; both must have some, and they are of different documents. Give questions about more "
            "documents."
        )


def done_rounds(loaded: Profile, loop: Loop) -> list[Round]:
    return rounds_of(read_rounds(open_store(loaded), loop.loop_id))


def ending_of(loaded: Profile, loop: Loop) -> tuple[Ending, str] | None:
    """Return why the loop stops now; None if another round is due."""
    rounds, spending = done_rounds(loaded, loop), loop.spending
    left = purse_of(loaded, spending, rounds).left
    dearest = min((tokens_per_anchor(rounds, name) or 0 for name in loop.makings), default=0)
    enough = left if left > dearest else 0
    return find_ending(list(loop.makings), rounds, spending.rounds, enough, spending.least_new)


def run_round(loaded: Profile, loop: Loop, number: int, curation: Curation) -> Round:
    """Return a round that is done: text by each recipe's share, probe runs, training, and what the model then knows."""
    begun, earlier = time.time(), done_rounds(loaded, loop)
    plan = plan_next(loaded, loop, number)
    left, made = purse_of(loaded, loop.spending, earlier).left, dict[str, Made]()
    for name in plan.shares:
        made[name] = fill_recipe(loaded, loop, plan, name, left, curation)
        left -= made[name].tokens
    held = {name: words for name, one in made.items() if (words := why_held(loaded, one))}
    probe = run_probes(loaded, loop, {name: one.batches for name, one in made.items() if name not in held})
    for name, gain in measure_probes(loaded, loop, number, probe).items():
        if gain.high is not None and gain.high < 0:
            held[name] = f"in a short run repeating taught more ({gain.signed} {gain.unit} {gain.interval})"
    batches = [
        *(earlier[-1].batches if earlier else []),
        *(b for n, one in made.items() if n not in held for b in one.batches),
    ]
    runs = train_on(loaded, loop, batches, ("synthetic", "baseline")) if batches else []
    return conclude_round(loaded, loop, plan, made, held, probe, runs, batches, begun)


def fill_recipe(loaded: Profile, loop: Loop, plan: Plan, name: str, left: int, curation: Curation) -> Made:
    """Return the validated batches of a recipe's share of a round: as many as its tokens pay for.

    Args:
        left: Tokens that are left of the loop's whole budget.
    """
    known = tokens_per_anchor(done_rounds(loaded, loop)[: plan.number - 1], name)
    return fill(loaded, loop, name, plan.tokens[name], left, 1_000 * plan.number, plan.aim_id, known, curation)


def fill(
    loaded: Profile,
    loop: Loop,
    name: str,
    tokens: int,
    limit: int,
    seed: int,
    aim_id: str,
    per_anchor: float | None,
    curation: Curation,
) -> Made:
    """Return validated batches of one recipe.

    Args:
        tokens: Tokens that they are to take, about.
        limit: Tokens that they may take, at most.
        seed: Seed of the first batch, added to the recipe's own; each further one has the next.
        per_anchor: Tokens that an anchor takes, as far as is known: a few anchors find out.
    """
    store, making = open_store(loaded), loop.makings[name]
    most = read_anchors(store, loop.snapshot_id, heldout=False).height
    if making.max_anchors:
        most = min(most, making.max_anchors)
    batches, made = list[str](), made_of(store, [])
    while len(batches) < MOST_BATCHES:
        # What the last request may take must still be there when it is sent: a token for each byte of its prompt.
        most_of_one = making.sampling.max_tokens + BYTES_PER_TOKEN * int(per_anchor or LONG_PROMPT)
        left = min(tokens, limit - most_of_one) - made.tokens
        anchors = PILOT_ANCHORS if per_anchor is None else int(left / per_anchor)
        if left <= 0 or anchors < 1:
            break
        given = {"seed": making.seed + seed + len(batches), "max_anchors": min(anchors, most)}
        given |= {"budget_tokens": limit - made.tokens}
        recipe = making.model_copy(update=given).recipe(loop.snapshot_id, loop.model, loop.revision, aim_id=aim_id)
        batches.append(make_batch(loaded, recipe, loop.folder))
        made = made_of(store, batches)
        per_anchor = made.tokens / made.anchors
        try:
            validate_records(loaded, batches[-1], curation)
        except SuiteFailed as refusal:
            return replace(made, refused=str(refusal).partition(";")[0])
    return made


def why_held(loaded: Profile, made: Made) -> str:
    """Return what the gate holds against a recipe's batches, in words; empty if they may be trained on."""
    if not made.batches:
        return "its share does not pay for one anchor"
    if made.refused:
        return made.refused
    return next((words for batch_id in made.batches if (words := say_vetoes(loaded, batch_id))), "")


def train_on(loaded: Profile, loop: Loop, batches: Sequence[str], arms: Sequence[Arm], share: float = 1.0) -> list[Run]:
    """Return the runs of a training on batches, seed by seed; a model that is there is not made again."""
    of = loop.comparison(batches, share)
    return [Run(arm, seed, train_checkpoint(loaded, of, seed, arm)) for seed in range(of.plan.seeds) for arm in arms]


def run_probes(loaded: Profile, loop: Loop, batches: Mapping[str, Sequence[str]]) -> Probe:
    """Return the probe runs of a round: each recipe's text by itself, and repeating."""
    if not batches:
        return Probe([], {})
    repeating = train_on(loaded, loop, next(iter(batches.values())), ("baseline",), PROBE_SHARE)
    return Probe(
        repeating, {name: train_on(loaded, loop, own, ("synthetic",), PROBE_SHARE) for name, own in batches.items()}
    )


def make_even(loaded: Profile, loop: Loop, curation: Curation) -> EvenShares | None:
    """Return the model of text by even shares over recipes and documents, for as many tokens as the loop has spent."""
    left = sum(one.tokens for one in done_rounds(loaded, loop))
    each, made = left // len(loop.makings), list[Made]()
    for name in loop.makings:
        made.append(fill(loaded, loop, name, each, left, EVEN_SEED, "", None, curation))
        left -= made[-1].tokens
    batches = [batch_id for one in made if not why_held(loaded, one) for batch_id in one.batches]
    if not batches:
        return None
    runs = train_on(loaded, loop, batches, ("synthetic",))
    return EvenShares(
        batches=batches, tokens=sum(one.tokens for one in made), checkpoints=[run.checkpoints[-1] for run in runs]
    )
