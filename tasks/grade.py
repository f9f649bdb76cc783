"""Answers that generators write: those of served models to an exam, and the grades that a judge gives."""

from collections.abc import Callable, Iterable

from gainloop.evaluation.answering import Sitting, as_written, find_answers, passages_of, replaced, unanswered, ungraded
from gainloop.evaluation.inquiries import Answering, Grading, QuestionsOutcome, anchors_of, by_anchor
from gainloop.serving.driver import Driver, Progress, Work
from gainloop.serving.engine import engine
from gainloop.serving.opening import started
from gainloop.serving.pool import Pool
from gainloop.store import Store
from gainloop.store.exams import answers_url, read_answers, write_answers
from gainloop.store.files import only_one
from gainloop.store.replies import ReplyLog, Span, compact_replies
from gainloop.store.snapshots import whole_documents
from schemas.profile import Profile
from schemas.recipe import Judge, Recipe, Sampling
from schemas.rows import Anchor, Outcome
from tasks.judge import FoundJudge, resolve_judge

GRADE_TOKENS = 256
"""Room for a reason of at most 200 characters and a grade."""

OnDone = Callable[[int, int, str], None]
"""Called with how much is done, of how much, and a note."""


def ask_all(
    store: Store,
    profile: Profile,
    found: FoundJudge,
    sampling: Sampling,
    work: Work,
    anchors: Iterable[Anchor],
    name: str,
    on_done: OnDone,
    seed: int = 0,
) -> dict[str, Outcome]:
    """Return what comes of requests about some documents; replies that landed before are not asked for again.

    Args:
        name: Folder of the replies, under the exams of the store.
        on_done: Called with the documents done.
    """
    whole = list({anchor.anchor_id: anchor for anchor in anchors}.values())
    folder = f"{store.folder}/exams/{name}/replies"
    recipe = Recipe(method={}, snapshot_id="", model=found.model, revision=found.revision, sampling=sampling, seed=seed)

    def show(progress: Progress) -> None:
        on_done(progress.anchors_done, progress.anchors_total, progress.sent)

    async def run(pool: Pool) -> dict[str, Outcome]:
        log = ReplyLog.open(folder, Span(), [anchor.anchor_id for anchor in whole])
        return await Driver(work, pool, sampling, seed, log, show).run(whole)

    with only_one(f"{folder}/.lock", f"asks for the replies of {folder}"):
        with started(profile, recipe, found.folder) as reached, engine(reached, recipe, found.folder) as lent:
            outcomes = lent.run(run)
        compact_replies(folder)
    return outcomes


def find_model(store: Store, profile: Profile, model: str, revision: str = "") -> FoundJudge:
    """Return the model of a name as a judge is found: a served one, or a checkpoint.

    Raises:
        BadInput: There is no such checkpoint.
        ServerError: The servers do not have it, or are down.
    """
    return resolve_judge(store, profile, Judge(model=model, revision=revision))


def ask_served(store: Store, profile: Profile, model: str, sitting: Sitting, on_done: OnDone) -> str:
    """Return the url of a served model's answers, likeliest token after token; ask first what was not asked before."""
    found = find_model(store, profile, model)
    name = f"{found.model}-{found.revision}".replace("/", "--")
    if url := find_answers(store, name, sitting):
        return url
    questions = sitting.exam.questions
    texts = {one.document_id: one.text for one in whole_documents(store, sitting.exam.snapshot_id)}
    anchors = anchors_of(texts, questions)
    asked = by_anchor(anchors, zip(questions, passages_of(store, sitting), strict=True))
    sampling = Sampling(temperature=0, max_tokens=sitting.asking.answer_tokens)
    work = Answering(asked, sitting.asking)
    outcomes = ask_all(store, profile, found, sampling, work, anchors.values(), f"asked/{name}", on_done)
    said = _said(outcomes)
    why = {drop.facet: drop.reason for outcome in outcomes.values() for drop in outcome.drops}
    written = as_written(questions, [said.get(one.question_id) for one in questions], sitting.asking, why)
    first = sitting if "graded" not in sitting.asking.gradings else ungraded(sitting)
    url = answers_url(store, name, first.name())
    write_answers(url, replaced(unanswered(questions, sitting.condition), written))
    return url if first == sitting else grade_answers(store, profile, name, sitting)


def grade_answers(store: Store, profile: Profile, model_id: str, sitting: Sitting) -> str:
    """Return the url of answers with the grades of a judge; what was written must be there."""
    answers = read_answers(answers_url(store, model_id, ungraded(sitting).name()))
    said = {key: text for key, text in answers.select("question_id", "answer").iter_rows() if text is not None}
    questions = [one for one in sitting.exam.questions if one.question_id in said]
    texts = {one.document_id: one.text for one in whole_documents(store, sitting.exam.snapshot_id)}
    anchors = anchors_of(texts, questions)
    asked = by_anchor(anchors, ((one, (said[one.question_id],)) for one in questions))
    work = Grading({key: [(one, given) for one, (given,) in rows] for key, rows in asked.items()})
    found = find_model(store, profile, sitting.asking.judge)
    sampling = Sampling(temperature=0, max_tokens=GRADE_TOKENS)
    name = f"graded/{found.model}-{found.revision}".replace("/", "--")
    grades = _said(
        ask_all(store, profile, found, sampling, work, anchors.values(), name, lambda _done, _all, _note: None)
    )
    verdicts = answers.select("question_id").with_columns(
        verdict=answers["question_id"].replace_strict(grades, default=None, return_dtype=answers.schema["verdict"])
    )
    url = answers_url(store, model_id, sitting.name())
    write_answers(url, replaced(answers, verdicts))
    return url


def _said(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """Return what was answered, or how it was graded, by question id."""
    found = (one.by_question for one in outcomes.values() if isinstance(one, QuestionsOutcome))
    return {question_id: text for one in found for question_id, text in one.items()}
