"""Make synthetic text from a snapshot's anchors.

A pre-flight comes first: the servers answer, have the model and its log-probabilities, a few first
requests give replies that can be used, and what the whole will take is estimated and shown.
"""

from prefect import flow, get_run_logger

from gainloop.methods import Making, require_generator
from gainloop.methods.sbp import SBP
from gainloop.serving.opening import started
from gainloop.store import Store, open_store
from gainloop.store.batches import only_writer
from gainloop.store.checkpoints import checkpoint_folder
from gainloop.store.draws import draw_anchors
from gainloop.store.duck import now
from gainloop.store.measurements import latest_accepted
from gainloop.store.snapshots import read_snapshot
from gainloop.store.spending import give_back, list_spent, say_spent, set_aside
from schemas.errors import BadInput, DaySpent, NothingNew, TooFewTokens, Unusable
from schemas.form import SHUT, Folded
from schemas.plan import AnyStart
from schemas.profile import Profile, Ray, load_profile
from schemas.recipe import AnyGenerator, Own, Player, Recipe, Served
from tasks.generate import completed_summary, count_batch, find_lost, find_revision, generate_shards
from tasks.preflight import preflight
from tasks.progress import ended
from tasks.train import find_start, prepare_synthesizer, require_chat


@flow(name="generate", flow_run_name="generate-{text.method.kind}")
def generate(
    text: Folded[Making] = SHUT,
    generator: Folded[AnyGenerator] = SHUT,
    snapshot_id: str = "latest",
    start: Folded[AnyStart] = SHUT,
    dry_run: bool = False,
    profile: str = "embedded",
    ask_again: bool = False,
) -> str:
    """Return the id of a batch of synthetic text, or nothing if the day's tokens are spent; what landed is kept.

    Args:
        generator: Generator that writes the text: one's own, the start checkpoint, or a served model.
        snapshot_id: Snapshot that the anchors are of: its id, a source's id for that source's latest, or latest.
        start: Model that everything starts from: a new one made from the anchors, a checkpoint, or the one that the
            corpus's latest accepted batch made.
        dry_run: Stop after the pre-flight. A generator of one's own is made before it.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
        ask_again: Ask again for what got no reply in a batch that is complete, as long as nothing was trained on it.
    """
    loaded = load_profile(profile)
    require_generator(loaded, text, generator)
    store = open_store(loaded)
    snapshot_id = str(read_snapshot(store, snapshot_id)["snapshot_id"])
    since = find_since(store, snapshot_id, text)
    model, revision, folder = find_generator(loaded, snapshot_id, text, generator, start)
    players = find_players(loaded, generator)
    recipe = text.recipe(snapshot_id, model, revision, since, players=players)
    if text.day_tokens is None:
        return make_batch(loaded, recipe, folder, dry_run, ask_again)
    try:
        return make_within_day(loaded, recipe, text.day_tokens, folder, dry_run, ask_again)
    except DaySpent as spent:
        get_run_logger().warning(str(spent))
        return ended(str(spent), "")


def make_within_day(
    loaded: Profile, recipe: Recipe, day_tokens: int, folder: str | None, dry_run: bool, ask_again: bool
) -> str:
    """Return the id of a recipe's batch, whose budget is what the day has left; other arguments as of ``make_batch``.

    Raises:
        DaySpent: What is left does not pay for the first requests.
        TooFewTokens: Nor would a whole day.
    """
    store = open_store(loaded)
    require_one_process(loaded, recipe)
    made = set_aside(store, recipe, day_tokens, is_noted=not dry_run)
    get_run_logger().info("The batch has %s of the %s tokens of a day.", f"{made.budget_tokens:,}", f"{day_tokens:,}")
    try:
        return make_batch(loaded, made, folder, dry_run, ask_again)
    except (BadInput, Unusable) as refusal:
        if not dry_run:
            give_back(store, recipe, made, day_tokens, getattr(refusal, "lost_tokens", 0))
        if not isinstance(refusal, TooFewTokens):
            raise
        given = made.budget_tokens or 0
        if given == min(day_tokens, recipe.budget_tokens or day_tokens):
            raise
        raise DaySpent(say_spent(list_spent(store, now()), day_tokens, given + 1)) from refusal


def make_batch(
    loaded: Profile, recipe: Recipe, folder: str | None, dry_run: bool = False, ask_again: bool = False
) -> str:
    """Return the id of a recipe's batch; what has landed before is not asked for again.

    Args:
        folder: The generator's weights; None for a model that servers have.
        dry_run: Stop after the pre-flight.
        ask_again: Ask again for what got no reply in a batch that is complete.
    """
    store = open_store(loaded)
    if recipe.budget_tokens:
        require_one_process(loaded, recipe)
    with only_writer(store, recipe.batch_id):  # another run may make it while this one waits
        if not dry_run and (reopened := find_lost(loaded, recipe, ask_again)):
            get_run_logger().warning(reopened)
        if not completed_summary(loaded, recipe):
            with started(loaded, recipe, folder) as reached:
                tried = preflight(reached, recipe, folder)
                if dry_run:
                    get_run_logger().info(say_passed(recipe.batch_id))
                    return recipe.batch_id
                made = generate_shards(reached, recipe, folder)
            made.progress.lost_tokens += tried.lost_tokens
            count_batch(loaded, recipe, made)
    get_run_logger().info(completed_summary(loaded, recipe))
    return recipe.batch_id


def require_one_process(loaded: Profile, recipe: Recipe) -> None:
    """Refuse a budget of tokens where several processes would spend it.

    Raises:
        BadInput: The profile's runner is Ray.
    """
    if isinstance(loaded.runner, Ray):
        raise BadInput(
            f"generating by {recipe.method['kind']} with a budget of tokens on profile {loaded.name!r}: its runner is "
            "ray, whose workers do not count together; only one process can keep a budget. Set runner.kind to threads, "
            "or leave text.budget_tokens and text.day_tokens out."
        )


def say_passed(batch_id: str) -> str:
    """Return what a dry run ends with."""
    return f"Batch {batch_id} can be generated: its pre-flight is passed. Run the same again without --dry-run."


def find_since(store: Store, snapshot_id: str, text: Making) -> str:
    """Return the snapshot whose anchors are left out: that of the latest batch of the corpus that the gate accepts.

    Raises:
        NothingNew: Nothing else is there.
    """
    accepted = latest_accepted(store, read_snapshot(store, snapshot_id)["source_id"]) if text.only_new else None
    if accepted is None:
        return ""
    if draw_anchors(store, snapshot_id, text.seed, 1, accepted["snapshot_id"]).is_empty():
        raise NothingNew(
            f"making text of what is new in snapshot {snapshot_id}: nothing is new or changed since batch "
            f"{accepted['batch_id']}, which is accepted. Set text.only_new to false to make more of all documents.",
            accepted["batch_id"],
        )
    return accepted["snapshot_id"]


def find_generator(
    profile: Profile, snapshot_id: str, text: Making, generator: Own | Served, start: AnyStart
) -> tuple[str, str, str | None]:
    """Return the generator's name, its revision, and the folder of its weights if it is one's own."""
    if isinstance(generator, Served):
        return generator.model, find_revision(profile, generator.model, generator.revision), None
    name, checkpoint_id = "start", find_start(profile, snapshot_id, start)
    if isinstance(text.method, SBP):
        name = "synthesizer"
        checkpoint_id = prepare_synthesizer(
            profile, snapshot_id, checkpoint_id, text.method, text.sampling.max_tokens, text.seed
        )
    else:
        require_chat(open_store(profile), checkpoint_id)
    return name, checkpoint_id, checkpoint_folder(open_store(profile), checkpoint_id)


def find_players(profile: Profile, generator: Own | Served) -> dict[str, Player]:
    """Return the models that play a part in the generator's place, by role."""
    names = generator.players
    revisions = {name: find_revision(profile, name, "") for name in sorted(set(names.values()))}
    return {role: Player(model=name, revision=revisions[name]) for role, name in names.items()}
