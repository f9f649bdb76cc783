"""Ask first: train shortly on a batch and on its own documents, and let an exam say whether the rest is worth it."""

import time

from prefect import flow, get_run_logger

from gainloop.evaluation.arms import Comparison
from gainloop.evaluation.likelihoods import Run
from gainloop.sources import AnySource
from gainloop.steering.probe import probe_plan
from gainloop.store import open_store
from gainloop.store.batches import page_of, read_recipe, resolve_batch
from schemas.errors import BadInput
from schemas.exam import AnyExam, Asking
from schemas.form import SHUT, Folded
from schemas.plan import AnyPlan, AnyStart
from schemas.profile import Profile, load_profile
from tasks.exam import prepare_exam
from tasks.probe import conclude_probe, count_part, list_unmade, name_probe, read_probe
from tasks.progress import ended
from tasks.refresh import find_general
from tasks.report import as_held, why_held
from tasks.train import find_start, train_checkpoint


@flow(name="probe", flow_run_name="probe-{batch_id}")
def probe(
    exam: AnyExam,
    batch_id: str = "latest",
    start: Folded[AnyStart] = SHUT,
    asking: Folded[Asking] = SHUT,
    plan: AnyPlan = SHUT,
    general: AnySource | None = None,
    release: str = "",
    profile: str = "embedded",
) -> str:
    """Return the path of a batch's page, having asked by a short run whether the long one is worth it.

    Args:
        exam: Exam whose dev part decides: from files, written by a model, or one that the store has.
        batch_id: Batch that is trained on, or latest for the one begun most recently.
        start: Model that everything starts from: a new one made from the anchors, a checkpoint, or the one that the
            corpus's latest accepted batch made.
        plan: Plan of the full training.
        general: Source of text that has nothing to do with the corpus: to replay. Default: text that the start writes.
        release: Reason to go on with a batch that the gate holds; it is recorded, and holds for that batch.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    store = open_store(loaded)
    batch_id = resolve_batch(store, batch_id)
    snapshot_id = read_recipe(store, batch_id).snapshot_id
    start_id = find_start(loaded, snapshot_id, start)
    exam_id = prepare_exam(loaded, exam, snapshot_id)
    of = Comparison(batch_id, start_id, plan, find_general(loaded, general))
    if held := why_held(loaded, batch_id, start_id, release):
        return as_held(held)
    said = ask_first(loaded, of, exam_id, asking)
    if not said:
        raise BadInput(
            f"probing batch {batch_id} by exam {exam_id}: plan.probe_share is {plan.probe_share:g} and the exam has "
            f"{count_part(loaded, exam_id, 'dev')} questions that may steer; both must be above 0. Set "
            "plan.probe_share to 0.25, or give an exam about more documents."
        )
    get_run_logger().info(said)
    if held := why_held(loaded, batch_id, start_id, release):
        return as_held(held)
    return ended(said, page_of(store, batch_id))


def ask_first(loaded: Profile, full: Comparison, exam_id: str, asking: Asking) -> str:
    """Return what a probe run of a training says; empty where none is wanted, or no question may steer."""
    share = full.plan.probe_share
    if not share or not count_part(loaded, exam_id, "dev"):
        return ""
    begun, store = time.time(), open_store(loaded)
    of = Comparison(full.batch_id, full.start_id, probe_plan(full.plan, share), full.general_id)
    probe_id = name_probe(of, exam_id, asking)
    if not (said := read_probe(store, of.batch_id, probe_id)):
        unmade = list_unmade(loaded, of)
        runs = [Run(arm, seed, train_checkpoint(loaded, of, seed, arm)) for seed, arm in of.runs]
        full_tokens = full.plan.budget_tokens * len(list(full.runs))
        conclude_probe(loaded, of, runs, exam_id, asking, share, full_tokens, begun, unmade)
        said = read_probe(store, of.batch_id, probe_id)
    return said
