"""Let a language model say which records are false, and which are not about their anchors."""

from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from gainloop.serving.opening import started
from gainloop.store import open_store
from gainloop.store.batches import only_writer, resolve_batch
from schemas.profile import load_profile
from tasks.judge import ask_judge, completed_summary, find_judge, plan_judging


@flow(name="judge", flow_run_name="judge-{batch_id}")
def judge(
    batch_id: str = "latest",
    judge_model: str = "",
    judge_revision: str = "",
    sample: Annotated[int, Field(ge=1)] = 500,
    anchors: Annotated[int, Field(ge=0)] = 100,
    profile: str = "embedded",
) -> str:
    """Return what a judge found: the report's non-factual and pair-irrelevant records, and the gate's veto.

    What was judged before, by this judge and these questions, is not asked again.

    Args:
        batch_id: A batch, or latest for the one begun most recently.
        judge_model: Who judges: a model of the profile's servers; without servers a folder, hub id or checkpoint.
        judge_revision: What tells it from another of its name: what the servers say if empty, or a hub revision.
        sample: How many records are judged, kept or not, drawn by their ids; all if there are fewer.
        anchors: How many anchors are judged as well: how many real texts the judge calls false tells how good it is.
        profile: Where to run: a name in profiles/, or a YAML file.
    """
    place = load_profile(profile)
    batch_id = resolve_batch(open_store(place), batch_id)
    found = find_judge(place, judge_model, judge_revision)
    judging = plan_judging(found, sample, anchors)
    said = completed_summary(place, batch_id, judging)
    if not said:
        with only_writer(open_store(place), batch_id), started(place, judging.by, found.folder) as reached:
            said = ask_judge(reached, batch_id, judging, found.folder)
    get_run_logger().info(said)
    return said
