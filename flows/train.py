"""Train a model on a batch, and beside it the matched baseline: as many tokens of anchors alone."""

import time

from prefect import flow

from gainloop.store import open_store
from gainloop.store.batches import read_recipe, resolve_batch
from schemas.profile import Profile, load_profile
from schemas.recipe import AnyStart, NewModel, TrainingPlan
from tasks.report import as_held, why_held
from tasks.train import find_start, is_trained, name_training, score_checkpoints, train_checkpoint


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
        batch_id: Batch that is trained on, or latest for the one begun most recently.
        start: Model that everything starts from: a new one made from the anchors, or a checkpoint.
        release: Reason to train on a batch that the gate holds; it is recorded, and holds for that batch.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    store = open_store(loaded)
    batch_id = resolve_batch(store, batch_id)
    start_id = find_start(loaded, read_recipe(store, batch_id).snapshot_id, start)
    if held := why_held(loaded, batch_id, start_id, release):
        return as_held(held)
    return train_arms(loaded, batch_id, start_id, plan)


def train_arms(loaded: Profile, batch_id: str, start_id: str, plan: TrainingPlan) -> str:
    """Return the id of a training whose two arms are trained and scored; what is there already is not made again."""
    begun, training_id = time.time(), name_training(batch_id, start_id, plan)
    if not is_trained(loaded, batch_id, training_id):
        arms = {role: train_checkpoint(loaded, batch_id, start_id, plan, role) for role in ("synthetic", "baseline")}
        score_checkpoints(loaded, batch_id, training_id, {"start": start_id, **arms}, begun)
    return training_id
