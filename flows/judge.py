"""Let a language model say which records are false, and which are not about their anchors."""

from prefect import flow, get_run_logger

from gainloop.serving.opening import started
from gainloop.store import open_store
from gainloop.store.batches import only_writer, resolve_batch
from schemas.profile import load_profile
from schemas.recipe import Judge
from tasks.judge import ask_judge, completed_summary, find_judge, plan_judging
from tasks.progress import ended


@flow(name="judge", flow_run_name="judge-{batch_id}")
def judge(judge: Judge, batch_id: str = "latest", profile: str = "embedded") -> str:
    """Return what a judge found: the report's non-factual and pair-irrelevant records, and the gate's veto.

    What was judged before, by this judge and these questions, is not asked again.

    Args:
        batch_id: Batch that is judged, or latest for the one begun most recently.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    batch_id = resolve_batch(open_store(loaded), batch_id)
    found = find_judge(loaded, judge)
    judging = plan_judging(found, judge)
    said = completed_summary(loaded, batch_id, judging)
    if not said:
        with only_writer(open_store(loaded), batch_id), started(loaded, judging.by, found.folder) as reached:
            said = completed_summary(loaded, batch_id, judging) or ask_judge(reached, batch_id, judging, found.folder)
    get_run_logger().info(said)
    return ended(said, said)
