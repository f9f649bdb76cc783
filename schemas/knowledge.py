"""What models know of the documents: the figures of an exam, as the report has them."""

from typing import Literal

from schemas.figure import Figure, ReportPart, figure

Graded = Literal["options", "exact", "judged", "nats", ""]
"""How answers are right: the likeliest of the options, a short answer word for word, or a judge's verdict; by "nats"
only the likelihood of the right answer is known."""

KnowledgeVerdict = Literal["synthetic_wins", "baseline_wins", "undecided", "not_asked"]

State = Literal["known", "learnt", "forgotten", "missing", "not_asked"]
"""Known: right before and after. Learnt: wrong before, right after. Forgotten: right before, wrong after. Missing:
wrong before and after. With several seeds a question is right if most of them have it right."""

FORMER = "The start model's"


class FrontierPoint(ReportPart):
    """Knowledge and forgetting at one moment of one training: ``fraction`` of its tokens are read.

    ``training`` is empty for the training that the report is of; others are of the same batch, with another plan.
    """

    arm: str
    seed: int
    fraction: float
    tokens: int | None
    learning_rate: float | None
    training: str
    right: Figure
    nats: Figure
    forgetting: Figure


class Learnt(ReportPart):
    """Questions of one arm by what became of them; they add up to those that were asked before and after."""

    known: int
    learnt: int
    forgotten: int
    missing: int


class AskedAbout(ReportPart):
    """One document and the questions about it; ``missing`` are those that the model still has wrong.

    ``is_used`` is false where the batch has neither a record nor a drop of the document: no text was made of it.
    """

    document: str
    title: str
    questions: int
    known: int
    learnt: int
    missing: int
    is_used: bool = True


class Answered(ReportPart):
    """One question and what models chose or wrote, empty where it is not known; null is not asked."""

    question: str
    answer: str
    document: str
    title: str
    before: str
    repeating: str
    after: str
    before_right: bool | None
    repeating_right: bool | None
    after_right: bool | None
    state: State


class Knowledge(ReportPart):
    """An exam about the documents, asked before and after training. ``status`` is "ok", or says why there was none.

    Figures are of all questions about documents that may have been trained on: nothing was chosen by them. Questions
    about held-out documents, ``heldout_questions`` of them, are a control of their own and stand in no other figure.
    ``equal_level`` is the forgetting, in bits/byte, at which arms are compared; null where there is none.
    ``tokens`` is what each arm read, ``untied_rows`` how many rows of the exam's files fit no document,
    ``unused_questions`` how many questions are about documents that no text of the batch was made of.
    """

    status: str
    verdict: KnowledgeVerdict
    exam: str
    kind: str
    graded: Graded
    titled: bool | None
    questions: int
    documents: int
    seeds: int
    heldout_questions: int
    untied_rows: int = 0
    unused_questions: int = 0
    tokens: int | None
    equal_level: float | None
    arms: dict[str, Learnt]
    missing: list[AskedAbout]
    frontier: list[FrontierPoint]
    answers: list[Answered]

    before: Figure = figure(
        "Known before", "Questions that the start model answers rightly from memory.", "%", healthy="higher"
    )
    repeating: Figure = figure(
        "Known after repeating the documents",
        "Questions answered rightly from memory after as many tokens of the documents themselves, repeated: what "
        "synthetic text has to beat.",
        "%",
    )
    control: Figure = figure(
        "Known after unrelated text",
        "Questions answered rightly from memory where the synthetic text was replaced by unrelated text: what a milder "
        "diet alone is worth.",
        "%",
    )
    after: Figure = figure(
        "Known after the synthetic text",
        "Questions answered rightly from memory after training on the batch. Healthy: above repeating, towards open "
        "book.",
        "%",
        healthy="higher",
        is_early=False,
    )
    open_book: Figure = figure(
        "Open book",
        "Questions that the start model answers rightly with the document in front of it: what could be known.",
        "%",
    )
    retrieved: Figure = figure(
        "Retrieved",
        "Questions that the start model answers rightly with what a search finds in front of it.",
        "%",
    )
    guess: Figure = figure(
        "Blind choice",
        "Questions that would be answered rightly without reading them. Known before far above it: the options give "
        "answers away.",
        "%",
    )
    heldout_before: Figure = figure(
        "Known before, held-out documents",
        "Questions about documents that were neither generated from nor trained on, before training.",
        "%",
    )
    heldout_after: Figure = figure(
        "Known after the synthetic text, held-out documents",
        "The same after training on the batch. What rises here as well was not learnt from the documents: the form of "
        "questions, say, or what documents have in common.",
        "%",
    )
    advantage: Figure = figure(
        "Knowledge gained over repeating",
        "Known after the synthetic text less known after repeating the documents for as many tokens, question by "
        "question. Healthy: the interval lies above 0. Only this accepts a batch.",
        "points",
        healthy="higher",
        is_early=False,
    )
    advantage_control: Figure = figure(
        "Knowledge gained over unrelated text",
        "Known after the synthetic text less known after unrelated text. An interval that holds 0: the content of "
        "the text is not shown to have earned anything.",
        "points",
        healthy="higher",
        is_early=False,
    )
    advantage_equal: Figure = figure(
        "Knowledge gained over repeating, at equal forgetting",
        "Both arms where they have forgotten as much general text, read off between the moments that were examined. A "
        "gain that vanishes here was bought with forgetting.",
        "points",
        healthy="higher",
        is_early=False,
    )
    advantage_best: Figure = figure(
        "Knowledge gained over repeating, each at its best moment",
        "Each arm at the moment of its training that knows most by one half of the documents; the difference is of "
        "the other half.",
        "points",
        healthy="higher",
        is_early=False,
    )
    recovered: Figure = figure(
        "Recovered of open book",
        "What training gained by what the document in front gains: 100 is as good as looking it up.",
        "%",
        healthy="higher",
        is_early=False,
    )
    nats_before: Figure = figure("Right answer, before", f"{FORMER} surprise at the right answers.", "nats/token")
    nats_repeating: Figure = figure(
        "Right answer, after repeating", "Surprise at the right answers after repeating the documents.", "nats/token"
    )
    nats_control: Figure = figure(
        "Right answer, after unrelated text",
        "Surprise at the right answers after unrelated text.",
        "nats/token",
    )
    nats_after: Figure = figure(
        "Right answer, after the synthetic text",
        "Surprise at the right answers after training on the batch. It moves before choices do.",
        "nats/token",
        healthy="lower",
        is_early=False,
    )
    nats_open_book: Figure = figure(
        "Right answer, open book", f"{FORMER} surprise at the right answers with the document in front.", "nats/token"
    )
    nats_advantage: Figure = figure(
        "Surprise saved over repeating",
        "Surprise at the right answers after repeating the documents less that after the synthetic text. Healthy: the "
        "interval lies above 0.",
        "nats/token",
        healthy="higher",
        is_early=False,
    )
    nats_advantage_control: Figure = figure(
        "Surprise saved over unrelated text",
        "Surprise at the right answers after unrelated text less that after the synthetic text.",
        "nats/token",
        healthy="higher",
        is_early=False,
    )
    nats_advantage_equal: Figure = figure(
        "Surprise saved over repeating, at equal forgetting",
        "Surprise at the right answers after repeating less that after the synthetic text, where both have forgotten "
        "as much.",
        "nats/token",
        healthy="higher",
        is_early=False,
    )
    forgetting: Figure = figure(
        "Forgotten, synthetic text",
        "How much more general text costs after training on the batch than before. Healthy: near 0 or below.",
        "bits/byte",
        healthy="lower",
        is_early=False,
    )
    forgetting_repeating: Figure = figure(
        "Forgotten, repeating", "How much more general text costs after repeating the documents.", "bits/byte"
    )
    forgetting_control: Figure = figure(
        "Forgotten, unrelated text", "How much more general text costs after unrelated text.", "bits/byte"
    )

    @property
    def was_asked(self) -> bool:
        """Tell whether a model that was trained on the batch sat the exam."""
        return self.status == "ok"

    @property
    def gained(self) -> Figure:
        """The gain over repeating that decides: points right, or the surprise saved where no answer is graded."""
        return self.nats_advantage if self.graded == "nats" else self.advantage
