"""Everything that is said over all batches, from their reports and what the store counted of them."""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from schemas.figure import Figure
from schemas.overview import FORMAT, Foretold, Lines, Lost, Overview, Quadrant, Ranked, Standing, Unmeasured
from schemas.profile import Gate
from schemas.report import Report
from tasks.measures.estimate import Estimate, as_figure, ratio_of_sums
from tasks.measures.evidence import Begun
from tasks.measures.prediction import rank_correlation
from tasks.measures.recipes import name_recipes, per_thousand, rank_recipes
from tasks.measures.vetoes import OFF

PREDICTORS: Final = ("delta_i", "dependence", "novelty", "batch_gain")


def measure_overview(batches: Sequence[Begun], gate: Gate) -> Overview:
    """Return what is said over all batches; the same batches give the same overview, in whatever order they come.

    Args:
        gate: By its thresholds quadrants are told apart.
    """
    in_order = sorted(batches, key=lambda batch: (batch.begun, batch.batch_id))
    names = dict(zip([b.batch_id for b in in_order], name_recipes([batch.recipe for batch in in_order]), strict=True))
    measured = [(batch, batch.report) for batch in in_order if batch.report]
    lines = draw_lines([report for _, report in measured], gate)
    standings = [
        _stand(number, batch, report, names[batch.batch_id], lines)
        for number, (batch, report) in enumerate(measured, start=1)
    ]
    ranking = rank_recipes(standings)
    return Overview(
        format=FORMAT,
        headline=write_headline(ranking, len(standings)),
        standings=standings,
        unmeasured=[
            Unmeasured(batch=batch.batch_id, begun=batch.begun, recipe=names[batch.batch_id], why=_why(batch))
            for batch in in_order
            if not batch.report
        ],
        ranking=ranking,
        lost=[*_list_lost(in_order, "drop"), *_list_lost(in_order, "quarantine")],
        lines=lines,
        foretold=[foretell(standings, predictor) for predictor in PREDICTORS],
    )


def draw_lines(reports: Sequence[Report], gate: Gate) -> Lines:
    """Return the lines between quadrants.

    Args:
        reports: Oldest batch first; the newest one whose anchors were scored is the yardstick for noise.
    """
    return Lines(
        ignored=gate.prompt_ignored, noise=_draw_noise(reports, gate), collapsed=_draw_collapsed(reports, gate)
    )


def _draw_noise(reports: Sequence[Report], gate: Gate) -> Figure:
    rates = [report.entropy.anchors for report in reports if report.entropy.anchors.value is not None]
    if gate.noise is None or not rates:
        why = "not measured: the anchors of no batch were scored; training on one does it" if gate.noise else OFF
        return as_figure(Estimate(None, None, None, 0, "bits/byte", why), "a multiple of the anchors' entropy rate")
    ends = {name: _times(getattr(rates[-1], name), gate.noise) for name in ("value", "low", "high")}
    noise = f"{gate.noise:g} times the entropy rate of the anchors of the newest batch that has one, as an upper bound"
    return rates[-1].model_copy(update=ends | {"definition": noise})


def _draw_collapsed(reports: Sequence[Report], gate: Gate) -> Figure:
    known = [value for report in reports if (value := report.delta_i.bits_per_byte.value) is not None]
    share, why, line = gate.collapsed_share, "ok", None
    if share is None:
        why = OFF
    elif len(known) < gate.min_history:
        why = f"not measured: batches that have Delta I: {len(known)}; a median takes {gate.min_history}"
    else:
        line = share * float(np.median(known))
    collapsed = Estimate(line, None, None, len(known), "bits/byte", why, num_clusters=len(known))
    of = "a part of" if share is None else f"{share:g} times"
    return as_figure(collapsed, f"{of} the median of Delta I per byte over all batches")


def find_quadrant(delta_i: Figure, dependence: Figure, lines: Lines) -> Quadrant:
    """Return where a batch lies by its values, whatever their intervals."""
    if delta_i.value is None:
        return "not known"
    if lines.collapsed.value is not None and delta_i.value < lines.collapsed.value:
        return "collapsed"
    if lines.noise.value is not None and delta_i.value > lines.noise.value:
        return "noisy"
    if dependence.value is None:
        return "not known"
    return "prompt ignored" if lines.ignored is not None and dependence.value < lines.ignored else "healthy"


def foretell(
    standings: Sequence[Standing], predictor: Literal["delta_i", "dependence", "novelty", "batch_gain"]
) -> Foretold:
    """Return how closely a figure goes with the gain over the matched baseline."""
    found = rank_correlation(*(_column(standings, name) for name in (predictor, "gain")))
    definition = "Spearman's rank correlation with the gain over the matched baseline; bootstrap interval over batches"
    return Foretold(predictor=predictor, correlation=as_figure(found, definition))


def write_headline(ranking: Sequence[Ranked], num_batches: int) -> str:
    """Return in plain words how many batches there are, and whose text gained most."""
    if not num_batches:
        return "No batch of this store was measured yet."
    counted = f"{_count(num_batches, 'batch', 'batches')} of {_count(len(ranking), 'recipe', 'recipes')}."
    known = [one for one in ranking if one.per_thousand.value is not None]
    if not known:
        why = ranking[0].per_thousand.status
        return f"{counted} What their text gained is {why}."
    best, others = known[0], known[1:]
    shown = f"{best.per_thousand.signed} {best.per_thousand.unit} {best.per_thousand.interval}".rstrip()
    if best.per_thousand.low is None or best.per_thousand.low <= 0:
        return (
            f"{counted} No recipe's text has certainly beaten the matched baseline; nearest comes {best.recipe}, "
            f"with {shown}."
        )
    if not others:
        return f"{counted} The text of {best.recipe} has beaten the matched baseline, by {shown}."
    rival = max((one.per_thousand.high for one in others if one.per_thousand.high is not None), default=None)
    is_first = rival is not None and best.per_thousand.low > rival
    return (
        f"{counted} The text of {best.recipe} gained most per 1,000 accepted tokens over the matched baseline, "
        f"{shown}; that it beats the baseline is certain, that it beats every other recipe is "
        f"{'too' if is_first else 'not'}."
    )


def _stand(number: int, batch: Begun, report: Report, recipe: str, lines: Lines) -> Standing:
    delta_i, dependence = report.delta_i.bits_per_byte, report.mi.ratio_to_log_p
    tokens = report.cost.accepted_tokens
    return Standing(
        number=number,
        batch=batch.batch_id,
        training=report.training,
        page=f"{batch.batch_id}/report.html",
        begun=batch.begun,
        recipe=recipe,
        verdict=report.gain.verdict,
        gain=report.gain.advantage,
        batch_gain=report.gain.synthetic,
        per_thousand=per_thousand(report.gain.advantage, tokens),
        delta_i=delta_i,
        dependence=dependence,
        novelty=report.faithfulness.novelty,
        accept_rate=report.curation.accept_rate,
        accepted_tokens=tokens,
        quadrant=find_quadrant(delta_i, dependence, lines),
    )


def _why(batch: Begun) -> str:
    if batch.is_outdated:
        return "measured by an earlier version: run the flow report again"
    for stage, word in (("generate", "generated"), ("validate", "validated")):
        if stage not in batch.stages:
            return f"not {word} to the end: run the flow {stage} again"
    return "not measured: run the flow report"


def _list_lost(batches: Sequence[Begun], kind: Literal["drop", "quarantine"]) -> list[Lost]:
    """Return the reasons of one kind, the most frequent first, over batches whose stage is complete."""
    stage, whole, counts = (
        ("generate", "requests", "drops") if kind == "drop" else ("validate", "records", "quarantine")
    )
    counted = [batch for batch in batches if stage in batch.stages]
    found: list[Lost] = []
    for reason in sorted({reason for batch in counted for reason in getattr(batch, counts)}):
        numbers = [getattr(batch, counts).get(reason, 0) for batch in counted]
        share = ratio_of_sums(
            [100.0 * number for number in numbers],
            [getattr(batch, whole) for batch in counted],
            [batch.batch_id for batch in counted],
            f"% of {whole}",
        )
        definition = f"{whole} lost to the reason by all {whole}, over batches that are complete; interval over batches"
        figure = as_figure(share, definition)
        figure = figure.model_copy(update={"low": _within(figure.low), "high": _within(figure.high), "n": len(counted)})
        found.append(Lost(kind=kind, reason=reason, count=sum(numbers), batches=len(counted), share=figure))
    return sorted(found, key=lambda lost: (-lost.count, lost.reason))


def _column(standings: Sequence[Standing], name: str) -> list[float]:
    return [float("nan") if (value := getattr(one, name).value) is None else value for one in standings]


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _times(end: float | None, factor: float) -> float | None:
    return None if end is None else end * factor


def _within(percent: float | None) -> float | None:
    return None if percent is None else min(100.0, max(0.0, percent))
