"""Findings: how well predictors foretell the verdict, in figures and in plain words."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gainloop.measures.estimate import as_figure
from gainloop.measures.prediction import (
    MIN_FOR_A_FINDING,
    Finding,
    chance,
    find,
    holm,
    random_regret,
    rank_correlation,
    regret,
    reliability,
    within_correlation,
)
from schemas.figure import Figure, within_sentence
from schemas.report import DELTA_I
from schemas.studies import VERIFICATION_FORMAT, BatchOutcome, Predictor, Verification, Worth

ADJUSTED = "chance by Holm's rule over all predictors but the hypothesis, which stands alone"


def describe(
    verification_id: str,
    subject: dict[str, Any],
    verdict: str,
    predictors: Sequence[Predictor],
    primary: str,
    batches: list[BatchOutcome],
) -> Verification:
    """Return a verification: the worth of each predictor over batches.

    Args:
        subject: Parameters of the verification, as JSON.
        verdict: Definition of the verdict; its unit stands in the figures.
        primary: Key of the predictor that the one hypothesis is about.
    """
    worth = adjust([predictor_worth(predictor, batches) for predictor in predictors], predictors, primary)
    target = [_value(batch.verdict) for batch in batches]
    unit = batches[0].verdict.unit if batches else ""
    any_batch = as_figure(random_regret(target, unit), "the best verdict less the mean of all; bootstrap over batches")
    return Verification(
        format=VERIFICATION_FORMAT,
        verification=verification_id,
        headline=_headline(predictors, primary, worth, any_batch, len(batches)),
        subject=subject,
        verdict=verdict,
        primary=primary,
        predictors=list(predictors),
        batches=batches,
        reliability=as_figure(
            reliability([batch.by_seed for batch in batches]),
            "mean over pairs of seeds of Spearman's correlation of their verdicts; bootstrap over batches",
        ),
        random_regret=any_batch,
        worth=worth,
    )


def predictor_worth(predictor: Predictor, batches: list[BatchOutcome]) -> Worth:
    """Return what one predictor is worth."""
    values = np.array([_value(batch.predictors.get(predictor.key)) for batch in batches])
    target = np.array([_value(batch.verdict) for batch in batches])
    unit = batches[0].verdict.unit if batches else ""
    sign = 1 if predictor.expected == "rises" else -1
    found = chance(values, target)
    correlation = as_figure(rank_correlation(values, target), "Spearman's, with the verdict; bootstrap over batches")
    return Worth(
        predictor=predictor.key,
        correlation=correlation,
        chance=as_figure(found, "share of random orders whose correlation is as far from 0, of 9,999; two-sided"),
        adjusted=as_figure(found, ADJUSTED),
        within=as_figure(
            within_correlation(values, target, [batch.method for batch in batches]),
            "correlation of ranks less their method's mean; bootstrap over batches",
        ),
        regret=as_figure(
            regret(sign * values, target, unit), "the best verdict less that of the batch it likes best; bootstrap"
        ),
        finding="not measured",
    )


def adjust(worth: Sequence[Worth], predictors: Sequence[Predictor], primary: str) -> list[Worth]:
    """Return each predictor's worth with its chance adjusted for all that were looked at, and what may be said of it.

    The hypothesis was written down beforehand, and stands alone.
    """
    looks = holm([None if one.predictor == primary else one.chance.value for one in worth])
    shares = [one.chance.value if one.predictor == primary else look for one, look in zip(worth, looks, strict=True)]
    return [
        one.model_copy(
            update={
                "adjusted": one.chance.model_copy(update={"value": share, "definition": ADJUSTED}),
                "finding": _finding(one, share, predictor),
            }
        )
        for one, share, predictor in zip(worth, shares, predictors, strict=True)
    ]


def _finding(worth: Worth, adjusted: float | None, predictor: Predictor) -> Finding:
    return find(worth.correlation, adjusted, is_expected_to_rise=predictor.expected == "rises")


def _headline(
    predictors: Sequence[Predictor], primary: str, worth: list[Worth], any_batch: Figure, num_batches: int
) -> str:
    if num_batches < MIN_FOR_A_FINDING:
        return (
            f"It cannot be told whether anything foretells the verdict: there are {num_batches} batches to judge by, "
            f"and at least {MIN_FOR_A_FINDING} are needed, better {2 * MIN_FOR_A_FINDING}."
        )
    about = {predictor.key: predictor for predictor in predictors}
    found = {each.predictor: each for each in worth}
    parts = [
        f"Over {num_batches} batches, {_say(about[primary].name, found[primary])}",
        _advice(about, found, primary, any_batch),
    ]
    if DELTA_I in found:  # in every headline, whatever it says
        parts.append(_say(f"{about[DELTA_I].name} alone", found[DELTA_I]))
    return ". ".join(parts) + "."


def _say(name: str, worth: Worth) -> str:
    """Return one predictor's finding as a clause."""
    verbs = {
        "predicts": "foretells the verdict",
        "predicts the opposite": "foretells the opposite of what was expected",
        "not shown": f"does not foretell the verdict: {_why_not_shown(worth)}",
        "too few batches": f"had too few batches: {worth.correlation.n} of {MIN_FOR_A_FINDING}",
        "not measured": f"could not be judged: {worth.correlation.status}",
    }
    shown = "" if worth.correlation.value is None else f" ({_pair(worth)})"
    return f"{_called(name)} {verbs[worth.finding]}{shown}"


def _why_not_shown(worth: Worth) -> str:
    low, high = worth.correlation.low, worth.correlation.high
    if low is None or high is None or low <= 0 <= high:
        return "the interval holds 0"
    return f"among so many figures chance gives as much (p {worth.adjusted.number})"


def _called(name: str) -> str:
    """Return a predictor's name within a sentence, with its article; a symbol has none."""
    within = within_sentence(name)
    return name if within == name else f"the {within}"


def _pair(worth: Worth) -> str:
    return f"rank correlation {worth.correlation.signed} {worth.correlation.interval}"


def _advice(about: dict[str, Predictor], found: dict[str, Worth], primary: str, any_batch: Figure) -> str:
    """Return which predictor is worth following; all but the primary one were only looked at."""
    own = found[primary]
    if own.finding == "predicts" and about[primary].is_early:
        return (
            f"It is worth following: the batch that it likes best loses {own.regret.number} {own.regret.unit} against "
            f"the best one, any batch {any_batch.number}"
        )
    good = [each for each in found.values() if each.finding == "predicts" and about[each.predictor].is_early]
    if not good:
        return "Nothing that is known before a full training is worth following"
    best = max(good, key=lambda each: abs(each.correlation.value or 0.0))
    return (
        f"Of what is known before a full training, {_called(about[best.predictor].name)} went with the verdict most "
        f"closely ({_pair(best)}), but was not the hypothesis: verify it on other batches before following it"
    )


def _value(figure: Figure | None) -> float:
    return float("nan") if figure is None or figure.value is None else figure.value
