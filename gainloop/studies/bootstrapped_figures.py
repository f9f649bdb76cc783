"""What SBP's protocol came to: perplexities and accuracies of all arms, and what of the oracle's gain each reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from gainloop.measures.estimate import Estimate, as_figure
from gainloop.measures.recovered import Scale, Scores, average, score_arms
from gainloop.studies.bootstrapped import HELDOUT, ORACLE, RANDOM_ARM, REPETITION, SBP_ARM
from schemas.figure import Figure
from schemas.protocol import Bootstrapping, Measured, Moment, TextRead

AVERAGE: Final = "average of the accuracies"

LEVEL: Final = "resampled over documents, the same for all arms, and over seeds where there are several"
GAIN: Final = f"arm less repetition; {LEVEL}"
SHARE: Final = f"(arm - repetition) / (oracle - repetition), per cent; {LEVEL}; none where the oracle's gain may be 0"

PUBLISHED: Final = (
    "The authors report for the average of six question answering accuracies 42 % of the oracle's gain at 200 billion "
    "tokens, 49 % with a model of 3 billion weights and 58 % with one of 6 billion at one trillion."
)


class Run(NamedTuple):
    """One checkpoint of an arm: its seed, and the part of the run that it has behind it."""

    arm: str
    seed: int
    fraction: float


Scored = Mapping[Run, Mapping[str, pl.DataFrame]]
"""Of each checkpoint what it makes of each set: text_id, document, nats, num_tokens, right."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that is asked of every checkpoint: of which set, from which column, in which unit."""

    name: str
    of: str
    column: str
    unit: str
    scale: Scale = "mean"

    def score(self, tables: Sequence[Sequence[pl.DataFrame]]) -> Scores:
        """Return the scores of arms, each given by the frames of its seeds."""
        first = tables[0][0]
        is_known = pl.concat([one[self.column].is_not_null() for arm in tables for one in arm]).to_numpy()
        used = is_known.reshape(-1, first.height).all(axis=0)
        arms = [np.array([self._values(one)[used] for one in arm]) for arm in tables]
        weights = first["num_tokens"].to_numpy()[used] if self.scale == "perplexity" else None
        return score_arms(arms, first["document"].to_numpy()[used], self.unit, weights, self.scale)

    def _values(self, frame: pl.DataFrame) -> np.ndarray:
        return frame[self.column].cast(pl.Float64).to_numpy() * (100 if self.unit == "%" else 1)


def describe_bootstrapping(arms: Mapping[str, str], scored: Scored, read: list[TextRead], budget: int) -> Bootstrapping:
    """Return the tables of a run.

    Args:
        arms: What each arm reads, by its name; repetition first, the oracle last.
        scored: What all checkpoints make of all sets.
        read: What each arm read.
        budget: Tokens of a run.
    """
    names, fractions = [*arms], sorted({run.fraction for run in scored})
    questions = list_questions(next(iter(scored.values())))
    ends = {one.name: one.score(_tables(scored, names, one.of, fractions[-1])) for one in questions}
    measured = [_measured(one.name, ends[one.name], names) for one in questions]
    accuracies = [ends[one.name] for one in questions if one.unit == "%"]
    moments = [
        Moment(arm=arm, tokens=round(fraction * budget), figures=figures)
        for fraction in fractions
        for arm, figures in _at(scored, names, questions, fraction).items()
    ]
    mean = _measured(AVERAGE, average(accuracies), names) if len(accuracies) > 1 else None
    return Bootstrapping(arms=dict(arms), measured=measured, average=mean, moments=moments, read=read)


def list_questions(sets: Mapping[str, pl.DataFrame]) -> list[Question]:
    """Return what is asked: the perplexity of each set, and its endings where enough texts are long enough."""
    perplexities = [Question(f"perplexity of {name}", name, "nats", "perplexity", "perplexity") for name in sets]
    cut = [name for name, frame in sets.items() if frame["right"].is_not_null().any()]
    return perplexities + [Question(f"endings of {name}", name, "right", "%") for name in cut]


def tell_bootstrapping(found: Bootstrapping) -> str:
    """Return the headline: what SBP recovered of the oracle's gain, or why that cannot be said."""
    told = [found.average or next((one for one in found.measured if one.unit == "%"), None)]
    told += [next(one for one in found.measured if one.name == f"perplexity of {HELDOUT}")]
    sentences = [_recovered(one) for one in told if one]
    return " ".join([*sentences, *_by_chance(found)])


def _recovered(one: Measured) -> str:
    share, name = one.shares[SBP_ARM], one.name[:1].upper() + one.name[1:]
    gained = f"SBP {_gain(one.gains[SBP_ARM])}, fresh text {_gain(one.gains[ORACLE])} over repetition"
    if share.value is None:
        return f"{name}: {gained}; no share is told, since what fresh text gains may be nothing."
    return f"{name}: {gained}, so that SBP recovered {share.value:.0f} %{_ends(share)} of it."


def _by_chance(found: Bootstrapping) -> list[str]:
    if RANDOM_ARM not in found.arms:
        return []
    one = next(one for one in found.measured if one.name == f"perplexity of {HELDOUT}")
    own, chance = one.gains[SBP_ARM], one.gains[RANDOM_ARM]
    return [f"With pairs drawn at random it {_gain(chance)} on the latter, where related pairs have {own.signed}."]


def _gain(figure: Figure) -> str:
    unit = "" if figure.unit == "perplexity" else f" {figure.unit}"
    return f"has {figure.signed}{unit} {figure.interval}".rstrip()


def _ends(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f" [{figure.low:.0f}, {figure.high:.0f}]"


def _tables(scored: Scored, arms: Sequence[str], of: str, fraction: float) -> list[list[pl.DataFrame]]:
    """Return of each arm the frames of its seeds after a part of the run."""
    return [
        [sets[of] for run, sets in sorted(scored.items()) if (run.arm, run.fraction) == (arm, fraction)] for arm in arms
    ]


def _at(
    scored: Scored, arms: Sequence[str], questions: Sequence[Question], fraction: float
) -> dict[str, dict[str, Figure]]:
    found = {one.name: one.score(_tables(scored, arms, one.of, fraction)) for one in questions}
    return {
        arm: {name: as_figure(scores.level(place), LEVEL) for name, scores in found.items()}
        for place, arm in enumerate(arms)
    }


def _measured(name: str, scores: Scores, arms: Sequence[str]) -> Measured:
    first, last = arms.index(REPETITION), arms.index(ORACLE)

    def by_arm(estimate_of: "dict[str, Estimate]", definition: str) -> dict[str, Figure]:
        return {arm: as_figure(estimate, definition) for arm, estimate in estimate_of.items()}

    return Measured(
        name=name,
        unit=scores.unit,
        healthy="higher" if scores.unit == "%" else "lower",
        levels=by_arm({arm: scores.level(place) for place, arm in enumerate(arms)}, LEVEL),
        gains=by_arm({arm: scores.gain(place, first) for place, arm in enumerate(arms) if place != first}, GAIN),
        shares=by_arm(
            {arm: scores.share(place, last, first) for place, arm in enumerate(arms) if place not in (first, last)},
            SHARE,
        ),
    )
