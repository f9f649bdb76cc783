"""The loop as a whole: what it taught by what nothing steered by, in a paragraph, and what to do next."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from gainloop.measures.estimate import as_figure, not_measured
from gainloop.reports.paragraph import as_points, as_share
from gainloop.reports.rounds import Standings
from gainloop.serving.allowance import OVER_BUDGET
from gainloop.steering.budget import NORMAL_95, belief_of
from gainloop.steering.probe import questions_needed
from gainloop.store.duck import now
from schemas.advice import ADVICE
from schemas.figure import Figure
from schemas.improvement import IMPROVEMENT_FORMAT, Ending, FinalRow, GapRow, Improvement, Round
from schemas.profile import Prices
from schemas.report import Money
from schemas.steering import EvenShares, Spending

NO_MODEL: Final = "no model was trained"

COMMON: Final = 0.25
"""Share of a recipe's dropped replies from which on a reason is advised on."""

SHOWN_REASONS: Final = 3

WIDE: Final = 0.5
"""Share missing of a document, from which on the next tokens should go to it."""

BEFORE, REPEATING, AFTER, EVEN = "Before", "Repeating the documents", "After round", "Even shares"
"""Names of the models that are asked in the end."""


def describe_loop(
    loop_id: str,
    asked: dict[str, Any],
    corpus: str,
    spending: Spending,
    rounds: Sequence[Round],
    gaps: list[GapRow],
    missing: float,
    ending: tuple[Ending, str],
    even: EvenShares | None,
    final: Standings,
    prices: Prices,
) -> Improvement:
    """Return what came of a loop.

    Args:
        asked: What it was asked to do, as JSON.
        corpus: Name of the documents' source.
        gaps: Documents with most missing in the end.
        missing: Share missing of a document in the end, the mean of all.
        final: What all models know by the part of the exam that nothing steered by.
    """
    trained = [one for one in rounds if one.checkpoints]
    last = f"round{trained[-1].number}" if trained else ""
    spent = sum(one.tokens for one in rounds)
    paid = sum(one.money.amount for one in rounds if one.money)
    found = Improvement(
        format=IMPROVEMENT_FORMAT,
        improvement=loop_id,
        created=now(),
        headline="",
        steps=[],
        corpus=corpus,
        snapshot=asked["snapshot"],
        exam=asked["exam"],
        asked=asked,
        tokens=spent,
        budget_tokens=spending.tokens,
        money=Money(amount=paid, currency=prices.currency) if paid else None,
        budget_money=spending.money,
        stopped=ending[0],
        why=ending[1],
        rounds=list(rounds),
        gaps=gaps,
        missing=missing,
        final=_final_rows(rounds, even, final),
        curve=final.curve({"start": 0} | {f"round{one.number}": one.synthetic_tokens for one in trained}),
        over_repeating=_gain(final, last, "baseline"),
        over_even=_gain(final, last, "even") if even else _unmeasured("no text was made by even shares"),
        even_tokens=even.tokens if even else 0,
    )
    return found.model_copy(update={"headline": _headline(found), "steps": _steps(found)})


def _final_rows(rounds: Sequence[Round], even: EvenShares | None, final: Standings) -> list[FinalRow]:
    spent, rows = 0, [("start", BEFORE, 0, list[str]()), ("baseline", REPEATING, 0, list[str]())]
    for one in rounds:
        spent += one.tokens
        if one.checkpoints:
            rows.append((f"round{one.number}", f"{AFTER} {one.number}", spent, one.checkpoints))
    if even:
        rows.append(("even", EVEN, even.tokens, even.checkpoints))
    return [
        FinalRow(
            name=name,
            tokens=tokens,
            checkpoints=made,
            right=final.known(model),
            over_start=final.gain(model, "start"),
        )
        for model, name, tokens, made in rows
        if final.sheets.seeds(model)
    ]


def _gain(final: Standings, model: str, other: str) -> Figure:
    return final.gain(model, other) if model else _unmeasured(NO_MODEL)


def _unmeasured(why: str) -> Figure:
    return as_figure(not_measured("points", why), "not measured")


def _headline(found: Improvement) -> str:
    """Return the loop in a paragraph; "cannot be told" stands wherever an interval holds 0."""
    by_name = {row.name: as_share(row.right) for row in found.final}
    rounds = [row for row in found.final if row.name.startswith(AFTER)]
    if not rounds:
        return f"No model was trained: {found.why}."
    last, count = rounds[-1], f"{len(rounds)} round{'s' if len(rounds) > 1 else ''}"
    if last.right.value is None:  # only the likelihood of answers is known
        return _by_surprise(found, last, count)
    said = [
        f"Of {last.right.n:,} questions that were kept for the end the model answers {as_share(last.right)} from "
        f"memory after {count}. Before: {by_name[BEFORE]}."
    ]
    if REPEATING in by_name:
        said.append(f"{REPEATING} for as many training tokens: {by_name[REPEATING]}.")
        said.append(_compared(found.over_repeating, "The loop teaches more than repeating", "Repeating teaches more"))
    if EVEN in by_name:
        said.append(f"{EVEN}, no steering, for another {found.even_tokens:,} tokens: {by_name[EVEN]}.")
        said.append(_compared(found.over_even, "Steering was worth it", "Even shares did better"))
    return " ".join([*said, *_of_one_seed(found), _spent_and_stopped(found)])


def _by_surprise(found: Improvement, last: FinalRow, count: str) -> str:
    """Return the same where answers are neither right nor wrong: how much less they surprise."""
    said = [
        f"After {count} right answers to questions that were kept for the end surprise the model less: "
        f"{last.over_start.signed} {last.over_start.unit} {last.over_start.interval} over the start.",
        _compared(found.over_repeating, "The loop teaches more than repeating", "Repeating teaches more"),
    ]
    if found.even_tokens:
        said.append(_compared(found.over_even, "Steering was worth it", "Even shares did better"))
    return " ".join([*said, *_of_one_seed(found), _spent_and_stopped(found)])


def _of_one_seed(found: Improvement) -> list[str]:
    """Return what the intervals of a loop with one seed leave out."""
    if any(len(one.checkpoints) > 1 for one in found.rounds):
        return []
    return ["One draw of the text and one seed: another may move this more than the intervals say."]


def _compared(gain: Figure, better: str, worse: str) -> str:
    shown = as_points(gain) if gain.unit == "points" else f"{gain.signed} {gain.unit} {gain.interval}"
    if gain.low is not None and gain.low > 0:
        return f"{better}: {shown}."
    if gain.high is not None and gain.high < 0:
        return f"{worse}: {shown}."
    return f"Which is better cannot be told: {shown}."


def _spent_and_stopped(found: Improvement) -> str:
    made = max((one.synthetic_tokens for one in found.rounds), default=0)
    return f"It spent {_spent(found)} for {made:,} tokens of text that is trained on, and stopped because {found.why}."


def _spent(found: Improvement) -> str:
    tokens = f"{found.tokens:,} of {found.budget_tokens:,} tokens"
    if found.money is None:
        return tokens
    of = "" if found.budget_money is None else f" of {found.budget_money:,.2f}"
    return f"{tokens}, {found.money.amount:,.2f}{of} {found.money.currency},"


def _steps(found: Improvement) -> list[str]:
    """Return what to do next, the most important first."""
    trained = [one for one in found.rounds if one.checkpoints]
    if not trained:
        return [f"Try other recipes or another generator: {found.why}.", *_losses(found.rounds)]
    steps = [_use(found, trained), *_flattered(found.over_repeating, trained[-1].over_repeating)]
    best = _best_recipe(trained[-1])
    if best:
        steps.append(best)
    gaps = [one for one in found.gaps if one.missing >= WIDE and one.asked and not one.is_stuck]
    if gaps and found.stopped in ("budget", "rounds"):
        names = ", ".join(f"{one.title or one.document} ({one.missing:.0%} missing)" for one in gaps[:3])
        steps.append(f"Spend the next tokens where most is missing still: {names}.")
    if found.curve.status == "ok":
        steps.append(f"{found.curve.sentence} All of the text so far took {found.tokens:,} tokens to generate.")
    if trained[-1].forgotten.low is not None and trained[-1].forgotten.low > 0:
        steps.append(_forgets(trained[-1]))
    steps += [
        f"{one.recipe} is out since round {each.number}: {one.held}."
        for each in found.rounds
        for one in each.recipes
        if one.held
    ]
    return steps + _losses(found.rounds)


def _flattered(final: Figure, steered: Figure) -> list[str]:
    """Return what is to be said where the questions that steered like the loop, and those kept for the end do not."""
    if final.value is None or steered.value is None or final.value > 0 or steered.value <= 0:
        return []
    return [
        f"Go by the questions that were kept for the end ({as_points(final)} over repeating), not by those that "
        f"steered ({as_points(steered)}): the loop chose by these, so they flatter it."
    ]


def _losses(rounds: Sequence[Round]) -> list[str]:
    """Return a sentence for each recipe most of whose text was thrown away, if there is something to do about it."""
    dropped: dict[str, Counter[str]] = {}
    records, kept = Counter[str](), Counter[str]()
    for one in (recipe for each in rounds for recipe in each.recipes):
        replies = {reason: number for reason, number in one.dropped.items() if reason != OVER_BUDGET}  # was not sent
        dropped.setdefault(one.recipe, Counter()).update(replies)
        records[one.recipe] += one.records
        kept[one.recipe] += one.kept
    said = []
    for recipe, reasons in dropped.items():
        number, common = reasons.total(), [one for one in reasons.most_common() if one[0] in ADVICE]
        if number + records[recipe] > 2 * kept[recipe] and common and common[0][1] >= COMMON * number:
            told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(SHOWN_REASONS))
            first, times = common[0]
            said.append(
                f"{'Most' if kept[recipe] else 'All'} of what {recipe} said was thrown away: {number:,} replies were "
                f"dropped ({told}), {kept[recipe]:,} of {records[recipe]:,} texts are kept. "
                f"{ADVICE[first]} ({times:,} {first})."
            )
    return said


def _use(found: Improvement, trained: Sequence[Round]) -> str:
    if found.stopped == "worse" and len(trained) > 1:
        before = trained[-2]
        return (
            f"Rather use the model of round {before.number}, before it got worse: checkpoint {before.checkpoints[0]}."
        )
    gain, checkpoint = found.over_repeating, trained[-1].checkpoints[0]
    if gain.low is not None and gain.low > 0:
        return f"Use the model of round {trained[-1].number}: checkpoint {checkpoint}."
    if gain.high is not None and gain.high < 0:
        return (
            "Do not use these models: the documents themselves, repeated, taught more. Try other recipes or a better "
            "generator."
        )
    needed = questions_needed(gain, gain.n)
    enough = f"about {needed:,} in all, of more documents, would" if needed else "no exam of this kind would"
    loss = ", which is a loss: make no more of this text before" if gain.value is not None and gain.value < 0 else ""
    return (
        f"Do not adopt a model yet, and ask more questions first: {gain.n:,} cannot tell whether the text is worth its "
        f"tokens; {enough}, if the difference is what it seems{loss}. Three seeds (--plan.seeds 3) tell besides how "
        "far another training would move it."
    )


def _forgets(last: Round) -> str:
    """Return what the last model has forgotten, beside what repeating has."""
    repeating = last.repeating_forgotten
    beside = "" if repeating.value is None else f"; repeating costs {repeating.number} {repeating.interval}"
    return (
        f"It forgets: a byte of general text costs {last.forgotten.number} {last.forgotten.interval} bits more than at "
        f"the start{beside}. Try more replay (--plan.mixture.replay), or a lower learning rate."
    )


def _best_recipe(last: Round) -> str:
    """Return which recipe gained most for its tokens in the last round, if that can be told."""
    even = last.tokens / len(last.recipes)
    rated = {one.recipe: (belief, one) for one in last.recipes if (belief := belief_of(one.gain, one.tokens, even))}
    if len(rated) < 2:
        return ""
    if all(belief.mean <= 0 for belief, _ in rated.values()):  # a loss for a token says nothing of the tokens
        shown = "; ".join(
            f"{name} {one.gain.signed} {one.gain.unit} {one.gain.interval}" for name, (_, one) in rated.items()
        )
        return (
            f"In the probe runs of round {last.number}, which read one recipe's text alone, none did better than the "
            f"documents themselves: {shown}. No recipe is to be preferred."
        )
    order = sorted(rated.values(), key=lambda pair: -pair[0].mean)
    told = "; ".join(f"{one.recipe} {belief.mean:+.2g} {one.gain.unit} for 1,000 tokens" for belief, one in order)
    (first, best), (second, _) = order[:2]
    is_clear = first.mean - second.mean > NORMAL_95 * math.sqrt(first.variance + second.variance)
    return f"By the probe runs of round {last.number}: {told}. " + (
        f"The next tokens go to {best.recipe}." if is_clear else "Which of them is better cannot be told."
    )


def as_markdown(found: Improvement) -> str:
    """Return the loop as the run's page shows it."""
    lines = [f"**{found.headline}**", "", *(f"- {step}" for step in found.steps), ""]
    lines += ["| Model | tokens | known | over the start |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row.name} | {row.tokens:,} | {as_share(row.right)} | {as_points(row.over_start)} |" for row in found.final
    ]
    return "\n".join(lines)
