"""What predictors are worth, in figures and in plain words."""

from collections.abc import Sequence
from typing import Any, Final, Literal

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
from schemas.figure import Figure
from schemas.studies import VERIFICATION_FORMAT, Judged, Predictor, Verification, Worth

DELTA_I = "delta_i_bytes"
"""Delta I per byte: its line is in every headline, whatever it says."""

Finding = Literal["predicts", "predicts the opposite", "not shown", "not measured"]


def describe(
    verification_id: str,
    subject: dict[str, Any],
    verdict: str,
    predictors: Sequence[Predictor],
    primary: str,
    batches: list[Judged],
) -> Verification:
    """Return what each predictor is worth, over batches.

    Args:
        verdict: What the verdict is, in words; its unit stands in the figures.
        primary: The key of the predictor that the one hypothesis is about.
    """
    worth = [judge(predictor, batches) for predictor in predictors]
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


def judge(predictor: Predictor, batches: list[Judged]) -> Worth:
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
    if DELTA_I in found:
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
    first = name if name.startswith("Delta") else f"the {name[:1].lower()}{name[1:]}"
    shown = "" if worth.correlation.value is None else f" ({_pair(worth)})"
    return f"{first} {verbs[worth.finding]}{shown}"


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
        f"Of what is known before a full training, {about[best.predictor].name} went with the verdict most closely "
        f"({_pair(best)}), but was not the hypothesis: verify it on other batches before following it"
    )


def _value(figure: Figure | None) -> float:
    return float("nan") if figure is None or figure.value is None else figure.value


PRIMARY: Final = "gate_gain"
"""The one hypothesis: what a batch gains on one half of the questions foretells what it gains on the other."""

OF_TRAININGS: Final = (
    Predictor(
        key=PRIMARY,
        name="Gain on the gate's half",
        meaning="The same gain on the other half of the texts or probes, of the same trainings.",
        expected="rises",
        is_early=False,
    ),
    Predictor(
        key="heldout_gain",
        name="Gain on held-out text",
        meaning="Difference to the matched baseline over all held-out texts, as the report has it.",
        expected="rises",
        is_early=False,
    ),
)

OF_REPORTS: Final = {
    "delta_i.bits_per_byte": Predictor(
        key=DELTA_I,
        name="Delta I per byte",
        meaning="What the generator added beyond its prompts, by length.",
        expected="rises",
    ),
    "delta_i.nats_per_record": Predictor(
        key="delta_i", name="Delta I per reply", meaning="The same by reply.", expected="rises"
    ),
    "delta_i.median": Predictor(
        key="delta_i_median", name="Delta I, median", meaning="Half of the replies add less.", expected="rises"
    ),
    "mi.ratio_to_log_p": Predictor(
        key="mi_ratio",
        name="I(p; Y) by log P",
        meaning="What replies tell of their prompts, as a part of what they could.",
        expected="rises",
    ),
    "h_output": Predictor(key="h_output", name="H(M(p))", meaning="What the replies hold in all.", expected="rises"),
    "curation.divergence": Predictor(
        key="curation", name="Divergence by curation", meaning="How far dropping moved the text.", expected="falls"
    ),
    "faithfulness.novelty": Predictor(
        key="novelty",
        name="New wording",
        meaning="Part of the words in five-word sequences that no anchor has.",
        expected="rises",
    ),
    "faithfulness.distance": Predictor(
        key="variation",
        name="Distance from the anchors",
        meaning="Lower bound of the total variation of records and anchors.",
        expected="falls",
    ),
    "quality.no_closer": Predictor(
        key="no_closer",
        name="No closer to the own anchor",
        meaning="Records whose words are as near to another anchor as to their own.",
        expected="falls",
    ),
    "trainee.absorbed": Predictor(
        key="absorbed",
        name="Absorbed",
        meaning="What the model no longer has to be told of the batch.",
        expected="rises",
        is_early=False,
    ),
    "paper.ggmi": Predictor(
        key="ggmi",
        name="GGMI",
        meaning="What the baseline absorbed of an anchor less what the model did of a reply.",
        expected="rises",
        is_early=False,
    ),
    "entropy.records": Predictor(
        key="records_entropy",
        name="Entropy of the records",
        meaning="What the kept records cost the start checkpoint.",
        expected="rises",
    ),
    "diversity.distinct_trigrams": Predictor(
        key="distinct", name="Distinct trigrams", meaning="1 if no three words come twice.", expected="rises"
    ),
    "diversity.compression": Predictor(
        key="compression", name="Compression", meaning="How far gzip shrinks the records.", expected="falls"
    ),
    "diversity.duplicates": Predictor(
        key="duplicates", name="Duplicates", meaning="Records that say what another says.", expected="falls"
    ),
    "diversity.common_opening": Predictor(
        key="common_opening",
        name="Most common opening",
        meaning="Part of the records that begin with the same four words.",
        expected="falls",
    ),
    "faithfulness.copying": Predictor(
        key="copying",
        name="Copied from the anchor",
        meaning="Words in eight-word sequences of the anchor.",
        expected="falls",
    ),
}

ACCEPTED: Final = Predictor(
    key="accepted", name="Accept rate", meaning="Part of the records that validation kept.", expected="rises"
)
