"""Recipes side by side: their names, what their text gained on average, and their order."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from scipy.special import stdtrit

from gainloop.measures.estimate import as_figure, mean_of
from gainloop.reports.paragraph import GRADED_BY
from schemas.figure import Figure
from schemas.knowledge import Graded
from schemas.overview import Ranked, Ranking, Standing
from schemas.report import GAIN, KNOWLEDGE, SURPRISE

HOW_MANY: Final = ("snapshot_id", "revision", "seed", "max_anchors")
"""Fields of a recipe for its text, size and draw: batches that differ in no others are of one recipe."""


def name_recipes(recipes: Sequence[dict[str, Any]]) -> list[str]:
    """Return a name for each recipe: its method, and the parameters that differ among recipes of that method.

    >>> name_recipes([{"method": {"kind": "sbp", "draws": 1}, "seed": 0}, {"method": {"kind": "sbp", "draws": 4}}])
    ['sbp, draws 1', 'sbp, draws 4']
    """
    flat = [_flatten(recipe) for recipe in recipes]
    first: dict[str, dict[str, Any]] = {}
    differing: dict[str, set[str]] = {}
    for own in flat:
        alike = first.setdefault(own["kind"], own)
        differs = {key for key in own.keys() | alike.keys() if own.get(key) != alike.get(key)}
        differing.setdefault(own["kind"], set()).update(differs)
    return [
        ", ".join(
            [str(own["kind"]), *(f"{key} {_value_summary(own[key])}" for key in own if key in differing[own["kind"]])]
        )
        for own in flat
    ]


def rank_recipes(standings: Sequence[Standing]) -> list[Ranking]:
    """Return a ranking of recipes for each exam, that of most batches first; batches without an exam come last.

    Held-out text ranks only where no batch has an exam: it measures style as well.
    """
    groups: dict[tuple[str, Graded], list[Standing]] = {}
    for standing in standings:
        groups.setdefault((standing.exam, standing.graded), []).append(standing)
    in_order = sorted(groups, key=lambda key: (not key[0], -len(groups[key]), -groups[key][-1].number))
    is_examined = any(exam for exam, _ in groups)
    return [
        Ranking(exam=exam, graded=graded, figure=(path := _path_of(graded, is_examined)), recipes=_rank(own, path))
        for exam, graded in in_order
        for own in [groups[exam, graded]]
    ]


def name_yardstick(ranking: Ranking) -> str:
    """Return what a ranking is by."""
    if ranking.exam:
        return f"exam {ranking.exam}, {GRADED_BY[ranking.graded]}"
    return "held-out text" if ranking.figure == GAIN else "no exam"


def _path_of(graded: Graded, is_examined: bool) -> str:
    """Return the path of the gain that batches are ranked by."""
    if not is_examined:
        return GAIN
    return SURPRISE if graded == "nats" else KNOWLEDGE


def _rank(standings: Sequence[Standing], path: str) -> list[Ranked]:
    """Return the recipes of batches by a gain over the matched baseline, those without one last.

    Those whose interval is above 0 come first, then those that may be 0, then those below; among each the larger gain,
    and of equal ones the cheaper. Tokens are no divisor: a training reads as many of any batch, and a loss divided by
    many tokens would look smaller than one divided by few.
    """
    groups: dict[str, list[Standing]] = {}
    for standing in standings:
        groups.setdefault(standing.recipe, []).append(standing)
    summed = [_sum_up(name, group, path) for name, group in groups.items()]
    number = sum(one.gain.value is not None for one in summed)
    ranked = [one.model_copy(update={"adjusted": adjust_interval(one.gain, number)}) for one in summed]
    return sorted(ranked, key=lambda one: (_band(one.gain), -(one.gain.value or 0), one.cost_tokens, one.recipe))


def adjust_interval(gain: Figure, number: int) -> tuple[float, float] | None:
    """Return the interval of one of several gains, so wide that all of them together hold the truth in 95 of 100 cases.

    Source: Bonferroni, by the t distribution that the gain's clusters have.
    """
    if gain.value is None or gain.low is None or gain.high is None:
        return None
    wider = float(np.divide(*stdtrit(max(1, gain.clusters - 1), [1 - 0.025 / max(1, number), 0.975])))
    return gain.value - wider * (gain.value - gain.low), gain.value + wider * (gain.high - gain.value)


def mean_figure(figures: Sequence[Figure]) -> Figure:
    """Return the mean over batches of a figure: the figure itself if there is one.

    The interval is the wider of two: that over batches (t), and the mean of the batches' own, since held-out texts and
    questions are much the same for all. Batches without a value are left out.
    """
    measured = [figure for figure in figures if figure.value is not None]
    if len(measured) < 2:
        return measured[0] if measured else figures[0]
    values = np.array([figure.value for figure in measured], dtype=float)
    found = mean_of(values, np.arange(len(values)), measured[0].unit)
    own = [figure.high - figure.low for figure in measured if figure.low is not None and figure.high is not None]
    if found.value is not None and found.high is not None and own:
        half = max(found.high - found.value, float(np.mean(own)) / 2)
        found = replace(found, low=found.value - half, high=found.value + half)
    return as_figure(
        found,
        f"{measured[0].definition}; mean over batches, with the wider of the interval over batches and the mean of "
        "their own",
    )


def _sum_up(name: str, group: list[Standing], path: str) -> Ranked:
    gains = [one.figures[path] for one in group]
    tokens = [one.accepted_tokens for one in group]
    return Ranked(
        recipe=name,
        batches=[one.batch for one in group],
        trained=sum(gain.value is not None for gain in gains),
        accepted_tokens=None if None in tokens else sum(count or 0 for count in tokens),
        cost_tokens=round(sum(one.cost_tokens for one in group) / len(group)),
        gain=mean_figure(gains),
        adjusted=None,
    )


def _band(gain: Figure) -> int:
    """Return 0 for a gain above 0, 1 for one that may be 0, 2 for one below 0, and 3 for none."""
    if gain.value is None:
        return 3
    if gain.low is not None and gain.low > 0:
        return 0
    return 2 if gain.high is not None and gain.high < 0 else 1


def _flatten(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's parameters by name, its method's kind among them, without what says how many."""
    left = {key: value for key, value in recipe.items() if key not in HOW_MANY}
    method, sampling = dict(left.pop("method", {})), dict(left.pop("sampling", {}))
    return {"kind": method.pop("kind", "unknown")} | method | sampling | left


def _value_summary(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " + ".join(map(_value_summary, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)
