"""Make synthetic text from a snapshot's anchors.

A pre-flight comes first: the servers answer, have the model and its log-probabilities, a few first
requests give replies that can be used, and what the whole will take is estimated and shown.
"""

from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from gainloop.filters import AnyFilter
from gainloop.methods import AnyMethod
from gainloop.methods.critic import Critic
from gainloop.methods.sbp import SBP
from gainloop.serving.opening import require_generator, started
from gainloop.store import open_store
from gainloop.store.batches import only_writer
from gainloop.store.checkpoints import checkpoint_folder
from gainloop.store.snapshots import read_snapshot
from schemas.profile import Profile, load_profile
from schemas.recipe import AnyStart, NewModel, Recipe, Sampling
from tasks.generate import completed_summary, count_batch, find_revision, generate_shards
from tasks.preflight import preflight
from tasks.train import prepare_start, prepare_synthesizer


@flow(name="generate", flow_run_name="generate-{method.kind}")
def generate(
    method: AnyMethod = SBP(),
    critic: Critic | None = None,
    filters: tuple[AnyFilter, ...] = (),
    snapshot_id: str = "latest",
    start: AnyStart = NewModel(),
    served_model: str = "",
    served_revision: str = "",
    sampling: Sampling = Sampling(),
    seed: int = 0,
    max_anchors: Annotated[int | None, Field(ge=1)] = None,
    dry_run: bool = False,
    profile: str = "embedded",
) -> str:
    """Return the id of a batch of synthetic text; what has landed before is not asked for again.

    Args:
        method: How text is made.
        critic: By what each record is criticised and written anew, before filters see it; not at all if empty.
        filters: What each record must pass to be kept, one after the other; judges ask the generator itself.
        snapshot_id: Which anchors: a snapshot, or latest for the newest.
        start: The model that everything starts from: a new one made from the anchors, or a checkpoint.
        served_model: A model of the profile's servers that writes the text; empty: start itself does.
        served_revision: What tells it from another model of its name; empty: what the servers say.
        sampling: How replies are drawn.
        seed: Another seed, other anchors and other draws.
        max_anchors: How many anchors text is made from; all if empty.
        dry_run: Stop after the pre-flight. A model of our own is made before it: start, and sbp's synthesizer.
        profile: Where to run: a name in profiles/, or a YAML file.
    """
    place = load_profile(profile)
    require_generator(place, method, served_model, critic, filters)
    snapshot_id = str(read_snapshot(open_store(place), snapshot_id)["snapshot_id"])
    model, revision, folder = _generator(
        place, snapshot_id, method, start, served_model, served_revision, sampling, seed
    )
    recipe = Recipe(
        method=method.model_dump(mode="json"),
        critic=critic and critic.model_dump(mode="json"),
        filters=tuple(one.model_dump(mode="json") for one in filters),
        snapshot_id=snapshot_id,
        model=model,
        revision=revision,
        sampling=sampling,
        seed=seed,
        max_anchors=max_anchors,
    )
    if complete := completed_summary(place, recipe):
        get_run_logger().info(complete)
    else:
        with only_writer(open_store(place), recipe.batch_id):
            with started(place, recipe, folder) as reached:
                preflight(reached, recipe, folder)
                if dry_run:
                    return recipe.batch_id
                made = generate_shards(reached, recipe, folder)
            count_batch(place, recipe, made)
    return recipe.batch_id


def _generator(
    place: Profile,
    snapshot_id: str,
    method: AnyMethod,
    start: AnyStart,
    served_model: str,
    served_revision: str,
    sampling: Sampling,
    seed: int,
) -> tuple[str, str, str | None]:
    """Return the generator's name, its revision, and the folder of its weights if it is ours."""
    if served_model:
        return served_model, find_revision(place, served_model, served_revision), None
    name, checkpoint_id = "start", prepare_start(place, snapshot_id, start)
    if isinstance(method, SBP):
        name = "synthesizer"
        checkpoint_id = prepare_synthesizer(place, snapshot_id, checkpoint_id, method, sampling.max_tokens, seed)
    return name, checkpoint_id, checkpoint_folder(open_store(place), checkpoint_id)
