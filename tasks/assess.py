"""Assessment of skills: exercises that models answer, several times each, and marks that a program gives."""

import logging
from typing import Any

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.evaluation.exercise_files import ExerciseSet, read_exercises
from gainloop.evaluation.exercise_results import skill_result, tabulate_skills
from gainloop.evaluation.exercises import MARKING, WORDING_ID, Answered, Exercise, Practice, Solving, anchor_of
from gainloop.evaluation.results import as_table
from gainloop.store import Store, open_store
from gainloop.store.batches import complete_stage
from gainloop.store.exercises import MARKED, find_marked, marked_url, read_marked, write_marked
from schemas.errors import BadInput
from schemas.exercise import SKILLS, Exercises, Trials
from schemas.profile import Profile
from schemas.rows import Drop, Reply, content_hash
from tasks.artifacts import create_markdown_artifact
from tasks.grade import OnDone, ask_all, find_model
from tasks.progress import Bar
from tasks.runner import slot

logger = logging.getLogger("gainloop.assess")

STAGE = "assess"


def require_markable(exercises: ExerciseSet) -> None:
    """Mark an answer beforehand: a program to one problem of code, a number to each of mathematics.

    Raises:
        BadInput: Nothing keeps a program apart from this machine, or the known answer to a problem cannot be read.
        VerifierError: The verifier does not work here.
    """
    solving = [(one, one.key.problem) for one in exercises.exercises if isinstance(one.key, Solving)]
    if code := next((one for one, problem in solving if problem.kind == "code"), None):
        code.mark("```python\npass\n```")
    for one, problem in solving:
        if problem.kind == "mathematics" and "no_answer" in one.mark("Answer: 0").reasons:
            raise BadInput(
                f"assessing with {problem.question[:60]!r}: its answer {problem.answer[:60]!r} is no number or formula "
                'that can be read; one is needed. Mend it, or give the row "kind": "exact".'
            )


def answer_exercises(
    store: Store, profile: Profile, model: str, exercises: ExerciseSet, trials: Trials, on_done: OnDone
) -> str:
    """Return the url of a model's answers, marked; ask first what was not asked before, or was and has no answer.

    Raises:
        BadInput: There is no such checkpoint, or nothing keeps a program apart that is to be run.
        ServerError: The model cannot be asked; replies that landed stay.
    """
    found = find_model(store, profile, model)
    model_id = f"{found.model}-{found.revision}".replace("/", "--")
    drawn = trials.model_dump(mode="json", exclude={"drawn"})
    name = content_hash("marked", exercises.set_id, drawn, WORDING_ID, MARKING)
    if url := find_marked(store, model_id, name):
        return url
    by_id = {one.exercise_id: one for one in exercises.exercises}
    work, anchors = Practice(by_id, trials), map(anchor_of, by_id.values())
    folder = f"exercises/{model_id}"
    outcomes = ask_all(store, profile, found, trials.sampling, work, anchors, folder, on_done, trials.seed)
    rows = []
    for done, (exercise_id, exercise) in enumerate(by_id.items(), 1):
        outcome = outcomes[exercise_id]
        assert isinstance(outcome, Answered)
        rows += [_marked(exercise, draw, answer) for draw, answer in enumerate(outcome.answers)]
        on_done(done, len(by_id), "marked")
    url = marked_url(store, model_id, name)
    write_marked(url, pl.DataFrame(rows, MARKED))
    return url


def _marked(exercise: Exercise, draw: int, answer: Reply | Drop) -> dict[str, Any]:
    row = {
        "exercise_id": exercise.exercise_id,
        "skill": exercise.key.skill,
        "question": exercise.messages[-1].content,
        "draw": draw,
    }
    if isinstance(answer, Drop):
        return row | {"skipped": answer.reason}
    mark = exercise.mark(answer.text, answer.finish_reason == "length")
    said = {"answer": answer.text, "right": mark.is_right, "reasons": list(mark.reasons), "detail": mark.detail}
    return row | said | {"num_met": mark.num_met, "num_checks": mark.num_checks, "skipped": ""}


def read_set(exercises: Exercises) -> ExerciseSet:
    """Return the exercises of files, and say how many there are.

    Raises:
        BadInput: A file cannot be read, a row is no exercise, or answers cannot be marked on this machine.
        VerifierError: The verifier of solutions does not work here.
    """
    found = read_exercises(exercises)
    require_markable(found)
    same = f"; {found.num_duplicates:,} rows are another's anew" if found.num_duplicates else ""
    logger.info(f"exercises {found.set_id}: {len(found.exercises):,}{same}")
    return found


@task(cache_policy=NO_CACHE, task_run_name="ask {model}")
def assess_model(profile: Profile, exercises: ExerciseSet, model: str, trials: Trials) -> str:
    store = open_store(profile)
    with slot(profile), Bar(f"ask {model}", "exercises") as bar:
        return store.keep(answer_exercises(store, profile, model, exercises, trials, bar))


def complete_assessment(profile: Profile, exercises: ExerciseSet, urls: dict[str, str], trials: Trials) -> str:
    """Record what was asked of which models and what share was right; return the id of both, the assessment's."""
    store = open_store(profile)
    right = {model: _shares(read_marked(store.locate(url)), trials) for model, url in urls.items()}
    key = content_hash("assessment", urls, right)  # answers that never came may have come since
    about = {"trials": trials.model_dump(mode="json"), "exercises": len(exercises.exercises)}
    complete_stage(store, exercises.set_id, STAGE, {"urls": urls, **about, "right": right}, key)
    return key


def _shares(marked: pl.DataFrame, trials: Trials) -> dict[str, list[float | None]]:
    """Return of each skill the share of right answers, the ends of its interval, and how many answers there are."""
    of_skills = {skill: marked.filter(skill=skill) for skill in SKILLS}
    found = {skill: skill_result(some, trials.k).accuracy for skill, some in of_skills.items() if not some.is_empty()}
    return {skill: [one.value, one.low, one.high, one.n] for skill, one in found.items()}


def show_marked(profile: Profile, exercises: ExerciseSet, urls: dict[str, str], trials: Trials) -> str:
    """Return what marked answers amount to, and put it on the run's page."""
    store = open_store(profile)
    head = (
        f"Exercises {exercises.set_id}: {len(exercises.exercises):,}, each answered {trials.samples} "
        f"time{'s' * (trials.samples > 1)} at temperature {trials.temperature:g}; intervals are over exercises."
    )
    marked = {model: read_marked(store.locate(url)) for model, url in urls.items()}
    table = as_table(tabulate_skills(marked, trials.k))
    create_markdown_artifact(key=f"exercises-{exercises.set_id}", markdown=f"{head}\n\n{table}", description="Skills")
    return f"{head}\n{table}"
