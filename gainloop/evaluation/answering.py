"""The answers of a checkpoint to an exam: under one condition, graded by likelihood and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from gainloop.evaluation import wording
from gainloop.evaluation.retrieval import open_search
from gainloop.measures.answers import best_f1, is_exact
from gainloop.store import Store, exams
from gainloop.store.exams import ANSWERS, answers_url, read_answers
from gainloop.store.files import exists
from gainloop.store.snapshots import WholeDocument, whole_documents
from schemas.exam import Asking, Condition, Exam, Question
from schemas.rows import content_hash

if TYPE_CHECKING:  # torch takes seconds
    from gainloop.models.answers import Ending, Examinee, OnRows

TOO_LONG: Final = "does_not_fit"
"""Reason of a question whose prompt and answer together are longer than the model's context: skipped, not wrong."""

Passages = Sequence[tuple[str, ...]]
"""The texts in front of each question, the most fitting last."""


@dataclass(frozen=True, slots=True)
class Sitting:
    """One exam asked under one condition: what decides its answers, beside the model."""

    exam: Exam
    condition: Condition
    asking: Asking

    def name(self, *gradings: str) -> str:
        """Return the hash of all that decides the answers, as far as these gradings, by default all, want them."""
        wanted = gradings or self.asking.gradings
        about: dict[str, Any] = {"titled": self.asking.titled}
        if self.condition == "retrieved":
            about |= {"pieces": self.asking.pieces, "snapshot": self.exam.snapshot_id}
        if {"short", "graded"} & set(wanted):
            about |= {"form": self.asking.form, "answer_tokens": self.asking.answer_tokens}
        if "graded" in wanted:
            about |= {"judge": self.asking.judge}
        words = {name: repr(value) for name, value in sorted(vars(wording).items()) if name.isupper()}
        return content_hash("answers", self.exam.exam_id, self.condition, sorted(wanted), about, words)


def passages_of(store: Store, sitting: Sitting, sources: Sequence[WholeDocument] | None = None) -> Passages:
    """Return the texts that stand in front of each question of an exam."""
    questions = sitting.exam.questions
    if sitting.condition == "closed":
        return [()] * len(questions)
    sources = sources or whole_documents(store, sitting.exam.snapshot_id)
    if sitting.condition == "open":
        texts = {source.document_id: source.text for source in sources}
        return [(texts[one.document_id],) for one in questions]
    search = open_search(sources)
    found = [search.find(one, sitting.asking.titled, sitting.asking.pieces) for one in questions]
    return [tuple(search.pieces[number][1] for number in reversed(numbers)) for numbers in found]


def find_answers(store: Store, checkpoint_id: str, sitting: Sitting) -> str | None:
    """Return the url of a model's answers if they are there."""
    url = answers_url(store, checkpoint_id, sitting.name())
    return url if exists(url) else None


def answer(store: Store, examinee: "Examinee", checkpoint_id: str, sitting: Sitting, on_rows: "OnRows") -> str:
    """Return the url of a checkpoint's answers, and write them first if they are not there; nothing is asked twice."""
    if url := find_answers(store, checkpoint_id, sitting):
        return url
    questions, passages = sitting.exam.questions, passages_of(store, sitting)
    answers = unanswered(questions, sitting.condition)
    is_written = "short" in sitting.asking.gradings
    first, second = _halves(on_rows) if is_written and "likelihood" in sitting.asking.gradings else (on_rows, on_rows)
    if "likelihood" in sitting.asking.gradings:
        known = answers_url(store, checkpoint_id, sitting.name("likelihood"))
        if not exists(known):  # kept by itself: whoever asks for it alone, or with other gradings, finds it
            likely = likelihoods(examinee, questions, passages, sitting, first)
            exams.write_answers(known, replaced(answers, likely))
        answers = read_answers(known)
    if is_written:
        answers = replaced(answers, written(examinee, questions, passages, sitting, second))
    url = answers_url(store, checkpoint_id, sitting.name())
    exams.write_answers(url, answers)
    return url


def _halves(on_rows: "OnRows") -> "tuple[OnRows, OnRows]":
    """Return two parts of what is told of progress: what is graded twice is done when both are."""
    return (lambda done, total: on_rows(done, 2 * total)), (lambda done, total: on_rows(total + done, 2 * total))


def ungraded(sitting: Sitting) -> Sitting:
    """Return a sitting without the judge, who grades what was written: so it is what must be there first."""
    wanted = tuple(one for one in ("likelihood", "short") if one in sitting.asking.gradings or one == "short")
    return replace(sitting, asking=sitting.asking.model_copy(update={"gradings": wanted}))


LIKELIHOOD: Final = (
    *("nats", "num_tokens", "num_bytes", "option", "option_right", "option_right_by_byte", "num_options"),
    "skipped",
)


def unanswered(questions: Sequence[Question], condition: Condition) -> pl.DataFrame:
    """Return a row for each question in which nothing is measured yet."""
    rows = [
        {"question_id": one.question_id, "document_id": one.document_id, "part": one.part, "condition": condition}
        for one in questions
    ]
    return pl.DataFrame(rows, ANSWERS).with_columns(skipped=pl.lit(""))


def replaced(answers: pl.DataFrame, measured: pl.DataFrame) -> pl.DataFrame:
    """Return answers with some columns as they were measured, by question."""
    names = [name for name in measured.columns if name != "question_id"]
    joined = answers.drop(names).join(measured, on="question_id", how="left", maintain_order="left")
    return joined.select(ANSWERS.names()).with_columns(pl.col("skipped").fill_null(""))


def likelihoods(
    examinee: "Examinee", questions: Sequence[Question], passages: Passages, sitting: Sitting, on_rows: "OnRows"
) -> pl.DataFrame:
    """Return how likely a checkpoint finds each gold answer and each option, in nats, a row a question."""
    from gainloop.models.answers import Branches, score_endings

    asked = [
        Branches(wording.plain(one, sitting.asking.titled, texts), endings_of(one))
        for one, texts in zip(questions, passages, strict=True)
    ]
    scored = score_endings(examinee, asked, on_rows)
    rows = [_likelihood(one, found) for one, found in zip(questions, scored, strict=True)]
    return pl.DataFrame(rows, {name: ANSWERS[name] for name in ("question_id", *LIKELIHOOD)})


def endings_of(one: Question) -> tuple[str, ...]:
    """Return the gold answer and, after it, the options that are not it."""
    return (one.answer, *(option for option in one.options if option != one.answer))


def _likelihood(one: Question, found: "list[Ending] | None") -> dict[str, Any]:
    if found is None:
        return {"question_id": one.question_id, "num_options": len(one.options), "skipped": TOO_LONG}
    row = {
        "question_id": one.question_id,
        "nats": found[0].nats,
        "num_tokens": found[0].num_tokens,
        "num_bytes": len(one.answer.encode()),
        "num_options": len(one.options),
        "skipped": "",
    }
    if not one.options:
        return row
    nats = {text: ending.nats for text, ending in zip(endings_of(one), found, strict=True)}
    chosen = min(one.options, key=lambda text: nats[text])
    by_byte = min(one.options, key=lambda text: nats[text] / len(text.encode()))
    right = {"option_right": chosen == one.answer, "option_right_by_byte": by_byte == one.answer}
    return row | {"option": one.options.index(chosen)} | right


def written(
    examinee: "Examinee", questions: Sequence[Question], passages: Passages, sitting: Sitting, on_rows: "OnRows"
) -> pl.DataFrame:
    """Return what a checkpoint writes as its likeliest answer to each question, compared with the right ones."""
    from gainloop.models.answers import write_answers

    asking = sitting.asking
    is_chat = asking.form != "plain" and examinee.speaks
    prompts = [
        wording.chat(one, asking.titled, texts, asking.form) if is_chat else wording.plain(one, asking.titled, texts)
        for one, texts in zip(questions, passages, strict=True)
    ]
    encoded = [examinee.encode(prompt) for prompt in prompts]
    texts = write_answers(examinee, encoded, asking.answer_tokens, asking.form != "reasoned", on_rows)
    return as_written(questions, texts, asking)


def as_written(
    questions: Sequence[Question], texts: Sequence[str | None], asking: Asking, why: Mapping[str, str] | None = None
) -> pl.DataFrame:
    """Return written answers compared with the right ones; None is a question that was not asked, "" no answer.

    Args:
        why: Reasons by question id why some were not asked; any other did not fit.
    """
    rows: list[dict[str, Any]] = []
    for one, text in zip(questions, texts, strict=True):
        if text is None:
            rows.append({"question_id": one.question_id, "skipped": (why or {}).get(one.question_id, TOO_LONG)})
            continue
        said = text if asking.form != "reasoned" else wording.read_reasoned(text, one) or ""
        marks = {"exact": is_exact(said, one.right_answers), "f1": best_f1(said, one.right_answers)}
        rows.append({"question_id": one.question_id, "answer": said, "skipped": ""} | marks)
    return pl.DataFrame(rows, {name: ANSWERS[name] for name in ("question_id", "answer", "exact", "f1", "skipped")})
