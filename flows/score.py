"""Find out what a batch's outputs tell of their prompts."""

from prefect import flow, get_run_logger

from gainloop.serving.opening import started
from gainloop.store import open_store
from gainloop.store.batches import only_writer, read_recipe, resolve_batch
from gainloop.store.checkpoints import find_weights
from schemas.profile import load_profile
from schemas.recipe import Scoring
from tasks.score import plan_batch_scores, score_plan, why_not_scored


@flow(name="score", flow_run_name="score-{batch_id}")
def score(
    batch_id: str = "latest",
    scoring: Scoring = Scoring(),
    profile: str = "embedded",
) -> str:
    """Ask the generator how likely its outputs are under other prompts of the batch; returns the batch's id.

    The report takes from it how much outputs tell of their prompts. What was scored before is not scored again.

    Args:
        batch_id: Batch that is scored, or latest for the one begun most recently.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    store = open_store(loaded)
    batch_id = resolve_batch(store, batch_id)
    recipe = read_recipe(store, batch_id)
    with only_writer(store, batch_id):
        plan = plan_batch_scores(loaded, batch_id, scoring)
        if reason := why_not_scored(store, loaded, batch_id, plan):
            get_run_logger().info(f"nothing is scored: {reason}")
        else:
            folder = find_weights(store, recipe.revision)
            with started(loaded, recipe, folder) as reached:
                score_plan(reached, recipe, folder, plan)
    return batch_id
