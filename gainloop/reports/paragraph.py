"""What a user wants to read: an exam in a paragraph, and what to do next, in words that the figures bear."""

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Final

from gainloop.steering.probe import describe_probe, questions_needed
from gainloop.store.traces import counted
from schemas.decision import Decision
from schemas.figure import Figure
from schemas.knowledge import AskedAbout, Graded, Knowledge
from schemas.report import Report

COLUMNS: Final = 100
"""Width of what a terminal shows."""

UNREAD: Final = 40
"""Questions answered with the document in front, in per cent, below which the model cannot read them."""

UNCHECKED: Final = "No judge has checked the records against their documents"
"""What must be known of a batch that nothing has judged, where its records are read and where they are trained on."""

THREE_SEEDS: Final = "--plan.seeds 3"
MORE_REPLAY: Final = "--plan.mixture.synthetic 0.4 --plan.mixture.anchors 0.4 --plan.mixture.replay 0.2"
"""Options of the flow cycle, as what to do next names them; the parts of a mixture add up to 1."""

GRADED_BY: Final[dict[Graded, str]] = {
    "options": "by choosing among options",
    "exact": "in words",
    "judged": "by a judge's verdict",
    "nats": "by the surprise at right answers",
}


def write_paragraph(knowledge: Knowledge, completion_tokens: int | None = None) -> str:
    """Return what an exam says, in sentences; "cannot tell" stands wherever an interval holds 0.

    Args:
        completion_tokens: Tokens that the generator wrote for the batch, dropped ones among them; None if not known.
    """
    return " ".join(split_paragraph(knowledge, completion_tokens))


def split_paragraph(knowledge: Knowledge, completion_tokens: int | None = None) -> tuple[str, str]:
    """Return the same in two parts: what the model knows, and what that is worth, took and cost."""
    worth = [*_compared(knowledge), *_lost(knowledge), *_paid(knowledge, completion_tokens)]
    return " ".join(_known(knowledge)), " ".join(worth)


def write_control(knowledge: Knowledge) -> str:
    """Return what is known of held-out documents, in a sentence; empty if nothing was asked about one."""
    if not knowledge.heldout_questions:
        return ""
    about = counted(knowledge.heldout_questions, "question")
    return (
        f"A control, in no other figure: of {about} about held-out documents {as_share(knowledge.heldout_before)} are "
        f"answered rightly before, {as_share(knowledge.heldout_after)} after the synthetic text."
    )


def write_screen(report: Report, decision: Decision | None = None) -> str:
    """Return a report as the end of a run in a terminal: the paragraph, what the gate says, and what to do next."""
    tokens = report.cost.completion_tokens
    said = split_paragraph(report.knowledge, tokens) if report.knowledge.was_asked else (report.headline,)
    gate = [f"The gate: {decision.headline}"] if decision else []
    gate += [describe_probe(report.probe)] if report.probe.status == "ok" else []
    steps = [fill(step, COLUMNS, initial_indent="- ", subsequent_indent="  ") for step in list_steps(report, decision)]
    return "\n".join(["", *(f"{fill(part, COLUMNS)}\n" for part in (*said, *gate) if part), "What to do next:", *steps])


def list_steps(report: Report, decision: Decision | None = None) -> list[str]:
    """Return what to do next, the most important first."""
    found = report.knowledge
    if decision and decision.state == "held":
        return [f"Make a better batch before training on it: {'; '.join(one.words for one in decision.vetoes)}."]
    if not found.was_asked:
        return [_exam_first(report), *_read(report)]
    against = (
        [f"Look first at what the gate holds against it: {one.words}." for one in decision.vetoes] if decision else []
    )
    return [*against, *_use(report), *_read(report), *_look_closer(found), *_spend(report), *_mind(found)]


def as_share(figure: Figure) -> str:
    """Return a percentage with its interval in whole per cent, or the reason why there is none.

    >>> from gainloop.measures.estimate import Estimate, as_figure
    >>> as_share(as_figure(Estimate(41.4, 36.2, 46.3, 400, "%"), ""))
    '41 % [36, 46]'
    """
    if figure.value is None:
        return figure.status
    return f"{figure.value:z.0f} %" + _within(figure)


def as_points(figure: Figure) -> str:
    """Return a difference of percentages with its sign and interval; with a decimal where whole ones would read 0.

    >>> from gainloop.measures.estimate import Estimate, as_figure
    >>> [as_points(as_figure(Estimate(*ends, 128, "points"), "")) for ends in ((15.2, 7.4, 22.0), (-3.1, -6.7, 0.4))]
    ['+15 points [7, 22]', '-3.1 points [-6.7, 0.4]']
    """
    if figure.value is None:
        return figure.status
    ends = [one for one in (figure.low, figure.high) if one is not None]
    decimals = 1 if any(round(one) == 0 for one in (figure.value, *ends)) else 0
    return f"{figure.value:+z.{decimals}f} points{_within(figure, decimals)}"


def _within(figure: Figure, decimals: int = 0) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f" [{figure.low:z.{decimals}f}, {figure.high:z.{decimals}f}]"


def _known(k: Knowledge) -> Iterator[str]:
    about = f"{k.questions:,} questions about {k.documents:,} documents"
    if k.graded == "nats":
        yield f"Of {about} only the likelihood of the right answers is known, in nats a token: lower is better."
        named = {"Before": k.nats_before, "Repeating the documents for as many tokens": k.nats_repeating}
        named |= {"The batch": k.nats_after, "With the document in front": k.nats_open_book}
        yield "".join(f"{name}: {_number(one)}. " for name, one in named.items() if one.value is not None).strip()
        return
    yield f"The model answers {as_share(k.after)} of {about} from memory, {GRADED_BY[k.graded]}."
    yield f"Before: {as_share(k.before)}."
    if k.repeating.value is not None:
        yield f"Repeating the documents for as many tokens: {as_share(k.repeating)}."
    if k.control.value is not None:
        yield f"Unrelated text in place of the synthetic: {as_share(k.control)}."
    if k.open_book.value is not None:
        yield f"With the document in front of it: {as_share(k.open_book)}."
    if k.guess.value is not None:
        yield f"A blind choice has {k.guess.value:.0f} %."
    if k.unused_questions:
        verb = "is" if k.unused_questions == 1 else "are"
        yield f"{k.unused_questions:,} of the questions {verb} about documents that this batch has no text of."


def _compared(k: Knowledge) -> Iterator[str]:
    yield from _one(k.gained, "The synthetic text teaches more than repeating", "Repeating teaches more")
    if k.equal_level is not None:
        equal = k.nats_advantage_equal if k.graded == "nats" else k.advantage_equal
        where = f"At equal forgetting ({k.equal_level:.3f} bits/byte)"
        yield from _one(equal, f"{where} the synthetic text is ahead", f"{where} repeating is ahead", where)
    elif k.gained.value is not None:
        yield f"At equal forgetting they cannot be compared: {_plainly(k.advantage_equal.status)}."
    control = k.nats_advantage_control if k.graded == "nats" else k.advantage_control
    yield from _one(
        control,
        "Its content earns something over unrelated text",
        "Unrelated text in its place does better",
        "Whether its content earns anything over unrelated text",
    )
    if k.gained.value is not None and k.seeds == 1:
        yield "One seed: another training may move this more than the intervals say."


def _one(
    figure: Figure, better: str, worse: str, about: str = "Whether it teaches more than repeating"
) -> Iterator[str]:
    """Yield one comparison as its interval bears it."""
    if figure.value is None:
        return
    shown = as_points(figure) if figure.unit == "points" else f"{_signed(figure)} nats a token"
    if figure.low is None or figure.high is None:
        yield f"{about}: cannot tell, {shown} without an interval ({_plainly(figure.status)})."
    elif figure.low > 0:
        yield f"{better}: {shown}."
    elif figure.high < 0:
        yield f"{worse}: {shown}."
    else:
        yield f"{about}: cannot tell, {shown}."


def _lost(k: Knowledge) -> Iterator[str]:
    if k.forgetting.value is None:
        yield f"What it forgot is not known ({_plainly(k.forgetting.status)})."
        return
    said = f"It {_lost_bits(k.forgetting)} on general text"
    if k.forgetting_repeating.value is not None:
        said += f", repeating {_lost_bits(k.forgetting_repeating)}"
    counts = k.arms.get("synthetic")
    if counts and counts.forgotten:
        said += f"; {counted(counts.forgotten, 'question')} that it had right before it now has wrong"
    yield f"{said}."


def _lost_bits(figure: Figure) -> str:
    value, low, high = figure.value or 0.0, figure.low, figure.high
    verb = "lost" if value >= 0 else "gained"
    if low is None or high is None:
        return f"{verb} {abs(value):.3f} bits/byte"
    ends = (low, high) if value >= 0 else (-high, -low)
    return f"{verb} {abs(value):.3f} [{ends[0]:z.3f}, {ends[1]:z.3f}] bits/byte"


def _paid(k: Knowledge, completion_tokens: int | None) -> Iterator[str]:
    if not completion_tokens:
        return
    said = f"The batch cost {_tokens(completion_tokens)} generated tokens"
    gain = k.advantage
    if gain.value is not None and gain.low is not None and gain.low > 0:
        said += f": {gain.value / completion_tokens * 1000:.2g} points over repeating for a thousand"
    yield f"{said}."


def _exam_first(report: Report) -> str:
    if not report.training:
        return (
            "Train on the batch, with an exam about its documents (gainloop cycle with --exam.paths): only an exam "
            "says whether a model knows them now."
        )
    from gainloop.methods import (
        METHODS,  # all methods, and what checks their tools: half a second that figures need not
    )

    made = METHODS.get(str(report.recipe["method"].get("kind")))
    if made and made.makes_turns:
        arms = [arm for arm in ("start", "baseline", "synthetic") if arm in report.checkpoints]
        models = " ".join(report.checkpoints[arm] for arm in arms)
        return (
            "Have the models do exercises that a program checks, of the skill that the conversations are to teach: "
            f"gainloop assess --exercises.paths test.jsonl --models {models}. It accepts no batch; only an exam does."
        )
    return (
        "Give an exam: nothing else can say whether the model knows the documents now. Run the same with a "
        "file of questions and their answers (--exam.paths questions.jsonl), or let a capable model write one "
        "(--exam.kind written --exam.model MODEL)."
    )


def _use(report: Report) -> Iterator[str]:
    found, model = report.knowledge, report.checkpoints.get("synthetic", "")
    if found.verdict == "synthetic_wins":
        yield f"Use the model: checkpoint {model}." if model else "Use the model."
    elif found.verdict == "baseline_wins":
        yield "Do not use this model: the documents themselves, repeated, taught more. Try another method or generator."
    else:
        yield f"Cannot tell yet whether the text is worth its tokens: {_more_needed(found)}."


def _read(report: Report) -> Iterator[str]:
    if report.quality.non_factual.value is None:
        yield f"{UNCHECKED}: read some on the page of all records, or run the same with --judge.model."


def _more_needed(k: Knowledge) -> str:
    """Return how much more evidence would decide, if the difference is what it seems to be."""
    gain = k.gained
    if gain.value is None:
        return _plainly(gain.status)
    if gain.low is None or gain.high is None or not gain.value:
        return f"more documents with questions, and three seeds ({THREE_SEEDS}), are needed"
    needed = questions_needed(gain, k.questions)
    if needed is None:
        return "the difference is so small that twenty times the questions would not show it"
    seeds = "" if k.seeds > 2 else f", and three seeds rather than {k.seeds} ({THREE_SEEDS})"
    loss = ", which is a loss" if gain.value < 0 else ""
    return (
        f"about {needed:,} questions in all, of more documents, would tell{seeds}, if the difference is what it "
        f"seems{loss}"
    )


def _look_closer(k: Knowledge) -> Iterator[str]:
    control = k.nats_advantage_control if k.graded == "nats" else k.advantage_control
    if control.low is not None and control.low <= 0:
        yield "Unrelated text is not beaten: a gain may come of repeating the documents less, not of the text."
    elif control.value is None and k.verdict == "synthetic_wins":
        yield "Train on unrelated text too (replay_control): repeating the documents less may be all the text is worth."


def _spend(report: Report) -> Iterator[str]:
    missing = [one for one in report.knowledge.missing if one.missing]
    if not missing or report.knowledge.verdict == "baseline_wins":
        return
    method, counts = report.recipe["method"]["kind"], report.knowledge.arms.get("synthetic")
    wrong = counts.missing + counts.forgotten if counts else sum(one.missing for one in missing)
    used, unused = ([one for one in missing if one.is_used is wanted] for wanted in (True, False))
    if used:
        spend = "Spend" if report.knowledge.verdict == "synthetic_wins" else "Once it is told to be worth it, spend"
        yield (
            f"{spend} the next tokens of {method} where answers are still wrong, {wrong} in all: most in "
            f"{_first(used)}. Other text of the same documents is another draw (--text.seed "
            f"{report.recipe.get('seed', 0) + 1})."
        )
    if unused:
        is_new = bool(report.recipe.get("since"))
        how = "leave out --text.only-new" if is_new else "raise --text.max-anchors, or leave it out"
        yield f"No text was made of {_first(unused)}, whose answers are wrong too: {how}."


def _first(rows: Sequence[AskedAbout]) -> str:
    """Return the first three documents, and how many answers each lacks."""
    return ", ".join(f"{one.title or one.document} ({one.missing} of {one.questions})" for one in rows[:3])


def _mind(k: Knowledge) -> Iterator[str]:
    if k.open_book.value is not None and k.open_book.value < UNREAD:
        yield (
            f"Even with the document in front the model answers {as_share(k.open_book)}: it is too small to read the "
            "questions, or they are not about these documents."
        )
    if k.guess.value is not None and k.before.low is not None and k.before.low > k.guess.value + 10:
        yield (
            f"Before training it had {as_share(k.before)} where a blind choice has {k.guess.value:.0f} %: the options "
            "give answers away."
        )
    if k.forgetting.low is not None and k.forgetting.low > 0.02:
        yield (f"It forgets: try more replay ({MORE_REPLAY}), or a lower learning rate{_halved(k)}.")


def _halved(k: Knowledge) -> str:
    """Return the option that halves the learning rate; empty where it is not known."""
    rates = [one.learning_rate for one in k.frontier if one.arm == "synthetic" and not one.training]
    return f" (--plan.optimiser.learning-rate {rates[0] / 2:g})" if rates and rates[0] else ""


def _number(figure: Figure) -> str:
    return f"{figure.number} {figure.interval}".rstrip()


def _signed(figure: Figure) -> str:
    return f"{figure.signed} {figure.interval}".rstrip()


def _plainly(status: str) -> str:
    return status.removeprefix("not measured: ")


def _tokens(number: int) -> str:
    """Return a count of tokens as people say it.

    >>> _tokens(34_567), _tokens(3_100_000), _tokens(870)
    ('35 thousand', '3.1 million', '870')
    """
    if number >= 1_000_000:
        return f"{number / 1_000_000:.1f} million"
    return f"{number / 1000:.0f} thousand" if number >= 10_000 else f"{number:,}"
