"""The loop: measure what is missing, spend where it helps, make text, train, examine, until it no longer pays."""

import time
from collections.abc import Mapping, Sequence

from prefect import flow, get_run_logger

from flows.__filling__ import done_rounds, fill_recipe, make_even, train_on, why_not_trained_on
from flows.generate import find_generator, find_players
from flows.refresh import HeldoutFraction, refresh
from gainloop.methods import Making, read_makings, require_generator
from gainloop.sources import AnySource
from gainloop.steering.probe import probe_verdict
from gainloop.steering.rounds import find_ending
from gainloop.store import open_store
from schemas.curation import Curation
from schemas.exam import AnyExam, Asking
from schemas.form import SHUT, Folded
from schemas.improvement import Ending, Round
from schemas.plan import Accepted, AnyPlan, AnyStart, Checkpoint
from schemas.profile import Profile, load_profile
from schemas.recipe import AnyGenerator, Own
from schemas.steering import Spending
from tasks.evaluate import guess
from tasks.exam import prepare_exam
from tasks.improve import plan_next, require_loop, require_parts, tell_loop, working_on
from tasks.loop import PROBE_SHARE, Loop, Made, can_pay, purse_of
from tasks.progress import Stages, ended
from tasks.refresh import find_general
from tasks.round import Probe, Work, conclude_round, measure_probes
from tasks.train import adopt_start, find_start, reads_turns, require_trainable
from tasks.validate import validate_snapshot


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
    require_loop(loaded, makings, spending, plan, generator.players)
    require_trainable(loaded)
    first = next(iter(makings.values()))
    chats = isinstance(generator, Own) and not first.method.tunes_generator
    chats |= any(reads_turns(making.method, plan) for making in makings.values())
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
        guess(loaded, exam, exam_id, asking)
        require_parts(loaded, exam_id, snapshot_id)
        start_id = find_start(loaded, snapshot_id, start)
        writer = find_generator(loaded, snapshot_id, first, generator, Checkpoint(model=start_id))
        made_by = *writer, find_players(loaded, generator)
        loop = Loop(snapshot_id, start_id, exam_id, asking, plan, general_id, spending, curation, makings, *made_by)
        validate_snapshot(loaded, snapshot_id)
        with working_on(loaded, loop):
            while (ending := ending_of(loaded, loop)) is None:
                number = len(done_rounds(loaded, loop)) + 1
                stage(f"round {number}")
                found = run_round(loaded, loop, number)
                get_run_logger().info(
                    "Round %s: %s %s over the round before.", number, found.gain.signed, found.gain.unit
                )
            stage("end")
            even = make_even(loaded, loop) if spending.even else None
            told, page = tell_loop(loaded, loop, ending, even)
            get_run_logger().info("What to do next:\n%s", "\n".join(f"- {step}" for step in told.steps))
        stage.end(ending[1])
    return ended(f"Loop {loop.loop_id}: {told.headline}", page)


def ending_of(loaded: Profile, loop: Loop) -> tuple[Ending, str] | None:
    """Return why the loop stops now; None if another round is due."""
    rounds = done_rounds(loaded, loop)
    left = purse_of(loaded, loop.spending, rounds).left
    enough = left if can_pay(open_store(loaded), loop, rounds, left) else 0
    return find_ending(list(loop.makings), rounds, loop.spending.rounds, enough, loop.spending.least_new)


def run_round(loaded: Profile, loop: Loop, number: int) -> Round:
    """Return a round that is done: text by each recipe's share, probe runs, training, and what the model then knows."""
    begun, earlier = time.time(), done_rounds(loaded, loop)
    plan = plan_next(loaded, loop, number)
    left, made = purse_of(loaded, loop.spending, earlier).left, dict[str, Made]()
    for name in plan.shares:
        made[name] = fill_recipe(loaded, loop, plan, name, left)
        left -= made[name].tokens
    held = {name: words for name, one in made.items() if (words := why_not_trained_on(loaded, one))}
    probe = run_probes(
        loaded, loop, {name: one.usable for name, one in made.items() if one.usable and name not in held}
    )
    gains = measure_probes(loaded, loop, number, probe)
    for name, gain in gains.items():
        if probe_verdict(gain) == "hold":
            held[name] = f"in a short run repeating taught more ({gain.signed} {gain.unit} {gain.interval})"
    own = [batch_id for name, one in made.items() if name not in held for batch_id in one.usable]
    batches = [*(earlier[-1].batches if earlier else []), *own]
    runs = train_on(loaded, loop, batches, ("synthetic", "baseline")) if batches else []
    return conclude_round(loaded, loop, Work(plan, made, held, probe, gains, runs, batches, begun))


def run_probes(loaded: Profile, loop: Loop, batches: Mapping[str, Sequence[str]]) -> Probe:
    """Return the probe runs of a round: each recipe's text by itself, and repeating."""
    if not batches:
        return Probe([], {})
    repeating = train_on(loaded, loop, next(iter(batches.values())), ("baseline",), PROBE_SHARE)
    texts = {name: train_on(loaded, loop, own, ("synthetic",), PROBE_SHARE) for name, own in batches.items()}
    return Probe(repeating, texts)
