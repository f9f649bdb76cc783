"""Findings: how well predictors foretell the verdict, in figures and in plain words."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from gainloop.measures.estimate import as_figure
from gainloop.measures.prediction import (
    MIN_BATCHES,
    chance,
    random_regret,
    rank_correlation,
    regret,
    reliability,
    within_correlation,
)
from schemas.figure import Figure, within_sentence
from schemas.report import DELTA_I
from schemas.studies import VERIFICATION_FORMAT, BatchOutcome, Predictor, Verification, Worth

Finding = Literal["predicts", "predicts the opposite", "not shown", "not measured"]


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
    worth = [predictor_worth(predictor, batches) for predictor in predictors]
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
    correlation = as_figure(rank_correlation(values, target), "Spearman's, with the verdict; bootstrap over batches")
    return Worth(
        predictor=predictor.key,
        correlation=correlation,
        chance=as_figure(
            chance(values, target), "share of random orders whose correlation is as far from 0, of 9,999; two-sided"
        ),
        within=as_figure(
            within_correlation(values, target, [batch.method for batch in batches]),
            "correlation of ranks less their method's mean; bootstrap over batches",
        ),
        regret=as_figure(
            regret(sign * values, target, unit), "the best verdict less that of the batch it likes best; bootstrap"
        ),
        finding=_finding(correlation, sign),
    )


def _finding(correlation: Figure, sign: int) -> Finding:
    if correlation.low is None or correlation.high is None:
        return "not measured"
    if correlation.low <= 0 <= correlation.high:
        return "not shown"
    return "predicts" if sign * correlation.low > 0 else "predicts the opposite"


def _headline(
    predictors: Sequence[Predictor], primary: str, worth: list[Worth], any_batch: Figure, num_batches: int
) -> str:
    if num_batches < MIN_BATCHES:
        return (
            f"It cannot be told whether anything foretells the verdict: there are {num_batches} batches to judge by, "
            f"and at least {MIN_BATCHES} are needed, better {4 * MIN_BATCHES}."
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
        "not shown": "does not foretell the verdict: the interval holds 0",
        "not measured": f"could not be judged: {worth.correlation.status}",
    }
    shown = "" if worth.correlation.value is None else f" ({_pair(worth)})"
    return f"{_called(name)} {verbs[worth.finding]}{shown}"


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
