"""Recipes side by side: what tells them apart, and what their batches gained."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from schemas.figure import Figure
from schemas.overview import Ranked, Standing
from tasks.measures.estimate import Estimate, as_figure, mean_of

HOW_MANY: Final = ("snapshot_id", "revision", "seed", "max_anchors")
"""What of a recipe says on which text, how much and which draw: batches that differ in no more are of one recipe."""


def name_recipes(recipes: Sequence[dict[str, Any]]) -> list[str]:
    """Return a name for each recipe: its method, and what tells it from the others; those of one name are alike.

    >>> name_recipes([{"method": {"kind": "sbp", "draws": 1}, "seed": 0}, {"method": {"kind": "sbp", "draws": 4}}])
    ['sbp, draws 1', 'sbp, draws 4']
    """
    flat = [_flatten(recipe) for recipe in recipes]
    names = []
    for own in flat:
        peers = [other for other in flat if other["kind"] == own["kind"]]
        differing = [key for key in own if any(other.get(key) != own[key] for other in peers)]
        names.append(", ".join([str(own["kind"]), *(f"{key} {_in_words(own[key])}" for key in differing)]))
    return names


def rank_recipes(standings: Sequence[Standing]) -> list[Ranked]:
    """Return the recipes by what they gained per 1,000 accepted tokens, highest first; those not trained on last."""
    groups: dict[str, list[Standing]] = {}
    for standing in standings:
        groups.setdefault(standing.recipe, []).append(standing)
    ranked = [_sum_up(name, group) for name, group in groups.items()]
    return sorted(ranked, key=lambda one: (one.per_thousand.value is None, -(one.per_thousand.value or 0), one.recipe))


def per_thousand(gain: Figure, accepted_tokens: int | None) -> Figure:
    """Return a gain per 1,000 accepted tokens, in thousandths of a bit per byte."""
    definition = (
        "gain over the matched baseline, divided by the thousands of tokens of kept records, whether or not training "
        "read them all"
    )
    unit = "millibits/byte per 1,000 tokens"
    if gain.value is None or not accepted_tokens:
        why = gain.status if gain.value is None else "not measured: no tokens of kept records were counted"
        return as_figure(Estimate(None, None, None, gain.n, unit, why), definition)
    value, low, high = (
        None if end is None else end * 1e6 / accepted_tokens for end in (gain.value, gain.low, gain.high)
    )
    scaled = {"value": value, "low": low, "high": high, "unit": unit, "definition": definition}
    return gain.model_copy(update=scaled)


def mean_figure(figures: Sequence[Figure]) -> Figure:
    """Return the mean over batches of a figure: the figure itself if there is one.

    The interval is the wider of two: that over batches (t), and the mean of the batches' own, since the held-out texts
    are much the same for all. Batches without a value are left out.
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


def _sum_up(name: str, group: list[Standing]) -> Ranked:
    trained = [one for one in group if one.gain.value is not None]
    tokens = [one.accepted_tokens for one in group]
    return Ranked(
        recipe=name,
        batches=[one.batch for one in group],
        trained=len(trained),
        accepted_tokens=None if None in tokens else sum(count or 0 for count in tokens),
        per_thousand=mean_figure([one.per_thousand for one in group]),
        gain=mean_figure([one.gain for one in group]),
    )


def _flatten(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's parameters by name, its method's kind among them, without what says how many."""
    left = {key: value for key, value in recipe.items() if key not in HOW_MANY}
    method, sampling = dict(left.pop("method", {})), dict(left.pop("sampling", {}))
    return {"kind": method.pop("kind", "unknown")} | method | sampling | left


def _in_words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " + ".join(map(_in_words, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)
