"""Assess what models can do: problems, calls of functions and constraints, checked by a program, not by a judge."""

from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import Field

from schemas.exercise import Exercises, Trials
from schemas.form import SHUT, Folded
from schemas.profile import load_profile
from tasks.assess import assess_model, complete_assessment, read_set, show_marked


@flow(name="assess", flow_run_name="assess")
def assess(
    exercises: Exercises,
    models: Annotated[tuple[str, ...], Field(min_length=1)],
    trials: Folded[Trials] = SHUT,
    profile: str = "embedded",
) -> str:
    """Return the id of an assessment, and say what share of the answers is right, once and in all of several samples.

    An exercise is about no document: what models know of documents, the flow evaluate asks.

    Args:
        exercises: Exercises: from files, which say of each what is right.
        models: Models that are asked: of the profile's servers; without servers checkpoint ids, folders, .gguf
            files or hub ids.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    loaded = load_profile(profile)
    found = read_set(exercises)  # before any model is opened
    urls = {model: assess_model(loaded, found, model, trials) for model in models}
    assessment_id = complete_assessment(loaded, found, urls, trials)
    get_run_logger().info(show_marked(loaded, found, urls, trials))
    return assessment_id
