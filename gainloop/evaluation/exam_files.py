"""Exams from files of rows: one's own, or in the shapes of QuALITY and SQuAD, tied to the documents of a snapshot."""

import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gainloop.evaluation.distractors import add_distractors
from gainloop.evaluation.document_index import DocumentIndex
from gainloop.solutions.problem import LETTERS
from gainloop.solutions.problem_rows import Options, read_options
from gainloop.sources.tables import Tables
from gainloop.store.snapshots import WholeDocument
from schemas.errors import BadInput
from schemas.exam import Exam, ExamFiles, Question, shuffled

FILES: Final = Tables("exam", "exam.paths")

EXAMPLES: Final = 5

NESTED: Final = ("data", "paragraphs", "questions", "qas")
"""Fields that hold rows within a row, from the outermost in: those of SQuAD as published, and of QuALITY."""

USUAL: Final = {
    "question": ("question",),
    "answer": ("answer", "gold_label", "answers"),
    "accepted": ("accepted", "answers"),
    "options": ("options", "choices"),
    "document": ("document", "document_id", "doc_id"),
    "title": ("title",),
    "text": ("text", "context", "article", "passage"),
    "evidence": ("evidence",),
}
"""Names that a field is looked for under where none is given, the first that is there."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReadExam:
    """An exam, the rows that gave no question counted by reason, and a few of them by name.

    ``num_made`` is how many questions had no options and have answers to others for wrong ones.
    """

    exam: Exam
    drops: dict[str, int]
    examples: list[str] = field(default_factory=list)
    num_made: int = 0


def read_exam_files(wanted: ExamFiles, snapshot_id: str, sources: list[WholeDocument]) -> ReadExam:
    """Return the exam that files hold about the documents of a snapshot.

    A row is tied to the document that it names: by uri or the end of one, by the document's text, by its title where
    only one document has it. Rows that fit none are counted. Questions about held-out documents stay in, as a control,
    and get their wrong options from one another: a model may know the answers of documents that it was trained on.

    Raises:
        BadInput: A file cannot be read, a row is not a question with its answer, or no row fits a document.
    """
    documents = DocumentIndex(sources)
    found: dict[str, Question] = {}
    drops, examples = Counter[str](), list[str]()
    for where, row in _rows(wanted):
        if _says_nothing(row):
            drops["no_answer"] += 1
            continue
        asked = _question(row, wanted, where)
        source, reason = documents.find(*(_text(row, wanted, name) for name in ("document", "text", "title")))
        if source is None:
            drops[reason] += 1
            if len(examples) < EXAMPLES:
                examples.append(f"{where}: {reason}, {_name(row, wanted, documents)}")
            continue
        question = replace(asked, document_id=source.document_id, title=source.title)
        drops["duplicate"] += question.question_id in found
        found.setdefault(question.question_id, question)
    heldout = {source.document_id for source in sources if source.is_heldout}
    taught, control = (
        [one for one in found.values() if (one.document_id in heldout) == is_control] for is_control in (False, True)
    )
    if not taught:
        drops["held_out_document"] += len(control)
        raise _nothing(wanted, drops, examples, len(sources))
    whole = [one for some in (taught, control) for one in add_distractors(some, wanted.distractors)]
    exam = Exam(snapshot_id, tuple(sorted(whole, key=lambda one: one.question_id)))
    num_made = sum(not one.options for one in found.values()) if wanted.distractors else 0
    return ReadExam(exam, {reason: count for reason, count in drops.items() if count}, examples, num_made)


def _rows(wanted: ExamFiles) -> Iterator[tuple[str, Row]]:
    """Yield every question's fields with those of the rows around it, and where it stands."""
    for url in FILES.find(wanted.paths):
        num_rows = 0
        for number, row in FILES.read(url):
            for place, one in _unfolded(row, ()):
                num_rows += 1
                yield f"{posixpath.basename(url)} row {number}" + "".join(f", {step}" for step in place), one
        if not num_rows:
            raise FILES.refusal(url, "no row is there", "one row a question is allowed", "Write some, or leave it out")


def _unfolded(row: Row, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Row]]:
    """Yield the questions within a row, each with the fields around it; its own fields come first.

    >>> nested = {"title": "Mill", "questions": [{"question": "Who?"}, {"question": "Why?"}]}
    >>> [(place, row["title"], row["question"]) for place, row in _unfolded(nested, ())]
    [(('question 1',), 'Mill', 'Who?'), (('question 2',), 'Mill', 'Why?')]
    """
    inner = next((name for name in NESTED if _is_table(row.get(name))), None)
    if inner is None:
        yield place, row
        return
    around = {name: value for name, value in row.items() if name != inner}
    step = {"qas": "question", "questions": "question", "paragraphs": "paragraph", "data": "document"}[inner]
    for number, one in enumerate(row[inner], 1):
        yield from _unfolded(around | one, (*place, f"{step} {number}"))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _says_nothing(row: Row) -> bool:
    """Tell whether a row says that its document does not answer the question, as SQuAD 2.0 does."""
    return bool(row.get("is_impossible"))


def _question(row: Row, wanted: ExamFiles, where: str) -> Question:
    """Return what a row asks, of no document yet.

    Raises:
        BadInput: It has no question, no answer, or an answer that is none of its options.
    """
    question = _text(row, wanted, "question")
    if not question:
        raise _bad(where, _missing(row, wanted, "question"), "a question is needed")
    options = read_options(_value(row, wanted, "options"), f"the exam, {where}")
    answers = _answers(row, wanted, options, where)
    return Question(
        question=question,
        answer=answers[0],
        accepted=_others(answers, _texts(_value(row, wanted, "accepted"))),
        options=shuffled(question, tuple(filter(None, options.texts))),
        document_id="",
        evidence=_text(row, wanted, "evidence"),
    )


def _others(answers: list[str], accepted: list[str]) -> tuple[str, ...]:
    return tuple(one for one in dict.fromkeys([*answers[1:], *accepted]) if one != answers[0])


def _answers(row: Row, wanted: ExamFiles, options: Options, where: str) -> list[str]:
    """Return the right answers of a row, the gold one first.

    Raises:
        BadInput: There is none, or it names an option that is not there.
    """
    value = _value(row, wanted, "answer")
    texts = _texts(value)
    if not texts:
        raise _bad(where, _missing(row, wanted, "answer"), "a right answer is needed")
    if not options.texts:
        return texts
    said = value if isinstance(value, int) else texts[0]
    letter = options.letter(said, f"the exam, {where}", wanted.first_option)
    return [options.texts[LETTERS.index(letter)], *texts[1:]]


def _value(row: Row, wanted: ExamFiles, name: str) -> Any:
    given = getattr(wanted, f"{name}_field")
    names = (given,) if given else USUAL[name]
    return next((row[one] for one in names if row.get(one) not in (None, "")), None)


def _text(row: Row, wanted: ExamFiles, name: str) -> str:
    return next(iter(_texts(_value(row, wanted, name))), "")


def _texts(value: Any) -> list[str]:
    """Return the texts of a value: one, a list of them, or as SQuAD has answers.

    >>> _texts(" rye "), _texts({"text": ["rye", "rye"], "answer_start": [3, 9]}), _texts([{"text": "oats"}]), _texts(7)
    (['rye'], ['rye'], ['oats'], ['7'])
    """
    if isinstance(value, dict):
        return _texts(value.get("text"))
    if isinstance(value, list | tuple):
        return list(dict.fromkeys(text for one in value for text in _texts(one)))
    text = "" if value is None or isinstance(value, bool) else str(value).strip()
    return [text] if text else []


def _name(row: Row, wanted: ExamFiles, documents: DocumentIndex) -> str:
    """Return what a row calls its document, and what may be meant."""
    name = _text(row, wanted, "document") or _text(row, wanted, "title") or _text(row, wanted, "text")[:60]
    if not name:
        return _missing(row, wanted, "document")
    near = documents.near(name)
    return f"{name!r}" + (f" ({near})" if near else "")


def _missing(row: Row, wanted: ExamFiles, name: str) -> str:
    asked = getattr(wanted, f"{name}_field") or " or ".join(USUAL[name])
    return f"no text in field {asked}; fields there are {', '.join(row)}"


def _bad(where: str, found: str, allowed: str) -> BadInput:
    return BadInput(
        f"reading the exam, {where}: {found}; {allowed}. Mend or remove that row, or name the field that holds it with "
        "--exam.question-field, --exam.answer-field or --exam.options-field."
    )


def _nothing(wanted: ExamFiles, drops: Counter[str], examples: list[str], num_documents: int) -> BadInput:
    counts = ", ".join(f"{count} {reason}" for reason, count in drops.items() if count)
    return BadInput(
        f"reading the exam {', '.join(wanted.paths)}: none of its rows gives a question ({counts}; "
        f"{'; '.join(examples)}) about the {num_documents} documents of the snapshot; one at least must. "
        "Let rows name a document by its uri, its title or its text, or refresh from the documents they ask about."
    )
