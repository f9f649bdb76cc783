"""The main job: refresh a corpus, generate from it, validate, train, and say what was gained."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.generate import generate
from flows.judge import judge
from flows.refresh import refresh
from flows.report import report
from flows.score import score
from flows.train import train
from flows.validate import validate
from gainloop.curation.probes import read_probes
from gainloop.filters import AnyFilter
from gainloop.methods import AnyMethod
from gainloop.methods.critic import Critic
from gainloop.methods.sbp import SBP
from gainloop.serving.opening import require_generator
from gainloop.sources import AnySource
from gainloop.sources.python_docs import PythonDocs
from schemas.profile import load_profile
from schemas.recipe import AnyStart, Curation, NewModel, Sampling, Scoring, TrainingPlan
from tasks.judge import find_judge
from tasks.report import as_held, show_report, why_held
from tasks.train import prepare_start, require_trainable


@flow(name="cycle", flow_run_name="cycle-{method.kind}-on-{source.kind}")
def cycle(
    source: AnySource = PythonDocs(),
    method: AnyMethod = SBP(),
    critic: Critic | None = None,
    filters: tuple[AnyFilter, ...] = (),
    start: AnyStart = NewModel(),
    served_model: str = "",
    served_revision: str = "",
    sampling: Sampling = Sampling(),
    seed: int = 0,
    max_anchors: Annotated[int | None, Field(ge=1)] = 400,
    curation: Curation = Curation(),
    scoring: Scoring = Scoring(),
    judge_model: str = "",
    judge_revision: str = "",
    plan: TrainingPlan = TrainingPlan(),
    dry_run: bool = False,
    release: str = "",
    profile: str = "embedded",
) -> str:
    """Return the path of the report's page, of a dry run the batch's id, and re-use whatever is there already.

    Args:
        source: Where the documents are.
        method: How text is made of them.
        critic: By what each record is criticised and written anew, before filters see it; not at all if empty.
        filters: What each record must pass to be kept, one after the other; judges ask the generator itself.
        start: The model that everything starts from: a new one made from the anchors, or a checkpoint.
        served_model: A model of the profile's servers that writes the text; empty: start itself does.
        served_revision: What tells it from another model of its name; empty: what the servers say.
        sampling: How replies are drawn.
        seed: Another seed, other anchors and other draws.
        max_anchors: How many anchors text is made from; all if empty.
        curation: Near duplicates and probes that records are held against.
        scoring: How much may be spent on finding out what the text tells of its prompts.
        judge_model: Who says which records are false or not about their anchors, see the flow judge; nobody if empty.
        judge_revision: What tells that judge from another of its name.
        plan: How the model is trained on the text, and on as many tokens of anchors beside it.
        dry_run: Stop after generate's pre-flight. A model of our own is made before it: start, and sbp's synthesizer.
        release: Why a batch that the gate holds is trained on all the same; it is recorded, and holds for that batch.
        profile: Where to run: a name in profiles/, or a YAML file.
    """
    place = load_profile(profile)
    require_generator(place, method, served_model, critic, filters)
    read_probes(curation.probes)  # told now what validation could not read
    if not dry_run:
        require_trainable(place)
    if judge_model:
        find_judge(place, judge_model, judge_revision)  # before anything costs time
    snapshot_id = refresh(source, profile=profile)
    batch_id = generate(
        method,
        critic,
        filters,
        snapshot_id,
        start,
        served_model,
        served_revision,
        sampling,
        seed,
        max_anchors,
        dry_run,
        profile,
    )
    if dry_run:
        return batch_id
    validate(batch_id, curation, profile)
    score(batch_id, scoring, profile)
    if judge_model:
        judge(batch_id, judge_model, judge_revision, profile=profile)
    start_id = prepare_start(place, snapshot_id, start)
    if held := why_held(place, batch_id, start_id, release):  # train asks too, but on a page of its own
        return as_held(held)
    training_id = train(batch_id, start, plan, release, profile)
    page = report(batch_id, training_id, profile)
    show_report(place, batch_id, training_id)  # on this run's page too
    return page
