"""Train a model on a batch, and beside it what the gain is measured against: as many tokens of other text."""

import time

from prefect import flow

from gainloop.curation.selection import AnySelection
from gainloop.evaluation.arms import Comparison
from gainloop.evaluation.likelihoods import Run
from gainloop.sources import AnySource
from gainloop.store import open_store
from gainloop.store.batches import read_recipe, resolve_batch
from schemas.form import SHUT, Folded
from schemas.plan import AnyPlan, AnyStart
from schemas.profile import Profile, load_profile
from tasks.refresh import find_general
from tasks.report import as_held, why_held
from tasks.train import find_start, is_trained, score_checkpoints, train_checkpoint


@flow(name="train", flow_run_name="train-on-{batch_id}")
def train(
    batch_id: str = "latest",
    start: Folded[AnyStart] = SHUT,
    plan: AnyPlan = SHUT,
    general: AnySource | None = None,
    selection: AnySelection | None = None,
    release: str = "",
    profile: str = "embedded",
) -> str:
    """Return the id of a training: a model continued on a batch, and the arms that it is compared with.

    Args:
        batch_id: Batch that is trained on, or latest for the one begun most recently.
        start: Model that everything starts from: a new one made from the anchors, a checkpoint, or the one that the
            corpus's latest accepted batch made.
        general: Source of text that has nothing to do with the corpus: to measure forgetting on, to replay, and for the
            replay control. Default: text that the start itself writes.
        selection: Rule by which the records that are trained on are selected. Baseline and replay control do not depend
            on it: trainings by several rules share theirs. Default: all records.
        release: Reason to train on a batch that the gate holds; it is recorded, and holds for that batch.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    store = open_store(loaded)
    batch_id = resolve_batch(store, batch_id)
    general_id = find_general(loaded, general)
    start_id = find_start(loaded, read_recipe(store, batch_id).snapshot_id, start)
    if held := why_held(loaded, batch_id, start_id, release):
        return as_held(held)
    return train_arms(loaded, Comparison(batch_id, start_id, plan, general_id, selection=selection))


def train_arms(loaded: Profile, of: Comparison) -> str:
    """Return the id of a training whose arms are trained and scored; what is there already is not made again."""
    begun = time.time()
    if not is_trained(loaded, of.batch_id, of.training_id):
        runs = [Run(arm, seed, train_checkpoint(loaded, of, seed, arm)) for seed, arm in of.runs]
        score_checkpoints(loaded, of, runs, begun)
    return of.training_id
