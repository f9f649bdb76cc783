"""Train a model on a batch, and beside it the matched baseline: as many tokens of anchors alone."""

import time

from prefect import flow

from gainloop.store import open_store
from gainloop.store.batches import read_recipe, resolve_batch
from schemas.profile import load_profile
from schemas.recipe import AnyStart, NewModel, TrainingPlan
from tasks.report import as_held, why_held
from tasks.train import is_trained, name_training, prepare_start, score_checkpoints, train_checkpoint


@flow(name="train", flow_run_name="train-on-{batch_id}")
def train(
    batch_id: str = "latest",
    start: AnyStart = NewModel(),
    plan: TrainingPlan = TrainingPlan(),
    release: str = "",
    profile: str = "embedded",
) -> str:
    """Return the id of a training: a model continued on a batch, and the matched baseline beside it.

    Args:
        batch_id: A batch, or latest for the one begun most recently.
        start: The model that everything starts from: a new one made from the anchors, or a checkpoint.
        plan: How the model is trained on the batch, and on as many tokens of anchors beside it.
        release: Why a batch that the gate holds is trained on all the same; it is recorded, and holds for that batch.
        profile: Where to run: a name in profiles/, or a YAML file.
    """
    begun = time.time()
    place = load_profile(profile)
    store = open_store(place)
    batch_id = resolve_batch(store, batch_id)
    start_id = prepare_start(place, read_recipe(store, batch_id).snapshot_id, start)
    if held := why_held(place, batch_id, start_id, release):
        return as_held(held)
    training_id = name_training(batch_id, start_id, plan)
    if not is_trained(place, batch_id, training_id):
        arms = {role: train_checkpoint(place, batch_id, start_id, plan, role) for role in ("synthetic", "baseline")}
        score_checkpoints(place, batch_id, training_id, {"start": start_id, **arms}, begun)
    return training_id
