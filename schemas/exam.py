"""Exams: frozen lists of questions about the documents of one snapshot, and how they are asked and graded."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from schemas.choice import by_kind, choice
from schemas.recipe import BASIC, Instructed, Parameters
from schemas.rows import content_hash, unit_draw

Part = Literal["dev", "final"]
"""``dev`` may steer; ``final`` only judges."""

Condition = Literal["closed", "open", "retrieved"]
"""The question alone; its document in front of it; the pieces in front that a search for the question finds."""

Grading = Literal["likelihood", "short", "graded"]
"""Nats of the gold answer and the likeliest option; a short answer compared in words; that answer judged by a model."""

Form = Literal["plain", "chat", "reasoned"]
"""Wording of a question whose answer is written: as text that goes on, as a chat, as a chat that thinks first."""

Grade = Literal["correct", "incorrect", "not_attempted"]

GRADES: Final[tuple[Grade, ...]] = ("correct", "incorrect", "not_attempted")


def part_of(document_id: str) -> Part:
    """Return the part of an exam that a document's questions belong to: half of the documents each, by hash.

    >>> {part_of(f"a/{number}.md") for number in range(9)} == {"dev", "final"}
    True
    """
    return "dev" if unit_draw("exam part", document_id) < 0.5 else "final"


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one document. One row per wording, answer and document.

    Attributes:
        accepted: Other right answers.
        options: Answers to choose from, the right one among them, in an order drawn by hash; or none.
        evidence: Span of the document that the answer rests on; may be empty.
    """

    question: str
    answer: str
    document_id: str
    accepted: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    title: str = ""
    evidence: str = ""

    @property
    def question_id(self) -> str:
        about = [self.question, self.answer, list(self.accepted), list(self.options)]
        return content_hash("question", *about, self.document_id, self.title, self.evidence)

    @property
    def part(self) -> Part:
        return part_of(self.document_id)

    @property
    def right_answers(self) -> tuple[str, ...]:
        """The gold answer first, then the others that are accepted."""
        return tuple(dict.fromkeys([self.answer, *self.accepted]))


def shuffled(question: str, options: tuple[str, ...]) -> tuple[str, ...]:
    """Return options in an order that depends on nothing but the question and themselves.

    >>> sorted(shuffled("How many?", ("7", "8", "9"))) == ["7", "8", "9"]
    True
    """
    return tuple(sorted(dict.fromkeys(options), key=lambda one: content_hash("option", question, one)))


@dataclass(frozen=True, slots=True)
class Exam:
    """The questions of an exam, in the order of their ids."""

    snapshot_id: str
    questions: tuple[Question, ...]

    @property
    def exam_id(self) -> str:
        return content_hash("exam", sorted(one.question_id for one in self.questions))


_NAMED = "Default: the usual names."


class ExamFiles(Parameters):
    """Questions from files of rows: one's own, or in the shapes of QuALITY and SQuAD."""

    kind: Literal["files"] = "files"
    paths: Annotated[
        list[str],
        BASIC,
        Field(min_length=1, description="Files of questions, .jsonl .json .csv or .parquet: paths, globs or urls."),
    ]
    question_field: Annotated[str, Field(description=f"Field of the question. {_NAMED}")] = ""
    answer_field: Annotated[
        str, Field(description=f"Field of the right answer, or of its option: a label, number or letter. {_NAMED}")
    ] = ""
    accepted_field: Annotated[str, Field(description=f"Field of other right answers. {_NAMED}")] = ""
    options_field: Annotated[str, Field(description=f"Field of the options. {_NAMED}")] = ""
    first_option: Annotated[
        int,
        Field(
            ge=0, le=1, description="Number of the first option, where answers are numbers of options: 1 as QuALITY."
        ),
    ] = 1
    document_field: Annotated[
        str, Field(description=f"Field that names the document: its uri, or the end of it. {_NAMED}")
    ] = ""
    title_field: Annotated[str, Field(description=f"Field of the document's title. {_NAMED}")] = ""
    text_field: Annotated[str, Field(description=f"Field of the document's text, to find it by. {_NAMED}")] = ""
    evidence_field: Annotated[str, Field(description=f"Field of the span that the answer rests on. {_NAMED}")] = ""
    distractors: Annotated[
        int,
        Field(
            ge=0, le=9, description="Wrong options of a question that has none, taken from other questions' answers."
        ),
    ] = 3


class WrittenExam(Parameters):
    """Questions that a model writes about each piece of the documents; what cannot be verified is dropped."""

    kind: Literal["written"] = "written"
    model: Instructed
    revision: Annotated[
        str, Field(description="Revision of that model. Default: what the servers report, or the hub's newest.")
    ] = ""
    pairs: Annotated[int, Field(ge=1, le=20, description="Questions asked for about a piece.")] = 4
    max_pieces: Annotated[
        int | None, Field(ge=1, description="Pieces that are asked about, at most, or none for all.")
    ] = None
    answer_words: Annotated[int, Field(ge=1, le=40, description="Words of an answer, at most.")] = 8
    votes: Annotated[
        int, Field(ge=1, le=9, description="Answers sampled with the document in front; most of them must be right.")
    ] = 3
    max_tokens: Annotated[int, Field(ge=32, description="Tokens of a reply, at most.")] = 768
    temperature: Annotated[float, Field(ge=0, le=2, description="Temperature of each draw.")] = 0.7
    distractors: Annotated[int, Field(ge=0, le=9, description="Wrong options of a question.")] = 3
    guesser: Annotated[
        str,
        Field(
            description="Model that saw no document, whose guesses are measured: a folder, .gguf file, hub id or "
            "checkpoint id. Default: none."
        ),
    ] = ""
    most_guessed: Annotated[
        float,
        Field(ge=0, le=1, description="Share that the guesser may get right by options; above it the exam is refused."),
    ] = 0.65
    seed: Annotated[int, Field(description="Seed of the draws.")] = 0


class KnownExam(Parameters):
    """An exam that the store has already."""

    kind: Literal["known"] = "known"
    exam_id: Annotated[str, Field(min_length=1, description="Id of the exam, or latest for the corpus's newest.")]


_Exams = ExamFiles | WrittenExam | KnownExam

AnyExam = Annotated[_Exams, Field(discriminator="kind"), choice("exam", by_kind(_Exams), "schemas/exam.py")]


class Asking(Parameters):
    """Wording of an exam's questions, and grading of the answers; answers to another wording are others."""

    gradings: Annotated[
        tuple[Grading, ...],
        Field(
            min_length=1,
            description="Gradings of an answer: likelihood (nats of the right one, and the likeliest option), short (a "
            "written one, compared in words), graded (that one, by a judge).",
        ),
    ] = ("likelihood",)
    titled: Annotated[bool, Field(description="Title of the document in front of a question.")] = True
    pieces: Annotated[
        int, Field(ge=1, le=50, description="Pieces that a search puts in front of a question, where it is asked so.")
    ] = 5
    form: Annotated[
        Form,
        Field(
            description="Wording of a question whose answer is written: plain (a text that goes on), chat, or reasoned "
            "(a chat that thinks first)."
        ),
    ] = "plain"
    answer_tokens: Annotated[int, Field(ge=1, description="Tokens of a written answer, at most.")] = 32
    judge: Annotated[
        str, Field(description="Model that grades written answers, named as exam.model is. Default: none.")
    ] = ""

    def model_post_init(self, _context: Any) -> None:
        if "graded" in self.gradings and not self.judge:
            raise ValueError("gradings has graded and judge is not set; judge must name a model then")
