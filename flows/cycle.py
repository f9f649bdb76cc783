"""The main job: refresh a corpus, generate from it, validate, train, and say what was gained."""

from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from flows.generate import generate
from flows.refresh import refresh
from flows.report import report
from flows.train import train
from flows.validate import validate
from schemas.profile import load_profile
from schemas.recipe import AnyBase, BaseModelPlan, Sampling, TrainingPlan
from tasks.methods import SBP, AnyMethod
from tasks.report import show_report
from tasks.sources import AnySource, PythonDocs


@flow(name="cycle", flow_run_name="cycle-{method.kind}-on-{source.kind}")
def cycle(
    source: AnySource = PythonDocs(),
    method: AnyMethod = SBP(),
    start: AnyBase = BaseModelPlan(),
    served_model: Annotated[str, Field(description="a model of the profile's servers; empty: start itself")] = "",
    served_revision: Annotated[str, Field(description="what tells it from another of its name; empty: ask")] = "",
    sampling: Sampling = Sampling(),
    seed: int = 0,
    max_anchors: Annotated[int | None, Field(ge=1, description="anchors generated from; all if empty")] = 400,
    plan: TrainingPlan = TrainingPlan(),
    profile: Annotated[str, Field(description="where to run: a file of profiles/, without .yaml")] = "embedded",
) -> str:
    """Return the path of the report's page. Running it again re-uses whatever is already there."""
    snapshot_id = refresh(source, profile=profile)
    batch_id = generate(method, snapshot_id, start, served_model, served_revision, sampling, seed, max_anchors, profile)
    validate(batch_id, profile)
    training_id = train(batch_id, start, plan, profile)
    page = report(batch_id, training_id, profile)
    get_run_logger().info(show_report(load_profile(profile), batch_id, training_id))
    return page
