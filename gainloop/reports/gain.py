"""The report's figures of what training gained on held-out text: over all seeds of a plan, paired by text."""

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl

from gainloop.evaluation.likelihoods import key_of
from gainloop.measures.estimate import Estimate, Floats, as_figure, not_measured, over_seeds
from gainloop.reports.evidence import Evidence
from schemas.figure import Figure
from schemas.sections import Gain, GainVerdict

RULE: Final = (
    "in bits per byte, paired by text, a mean over {} of each arm; the interval covers the documents of the texts{}"
)
OWN: Final = "as many tokens of the documents that the batch was made from"
OTHER: Final = "the same mixture with other real text for its records"


def measure_gain(evidence: Evidence) -> Gain:
    """Return what each arm saved on held-out text, and how far apart the arms are."""
    train, paired = evidence.summaries.get("train", {}), rule_of(seeds_of(evidence))
    advantage = saved(evidence, "baseline", "synthetic")

    def shown(estimate: Estimate, definition: str) -> Figure:
        return as_figure(estimate, f"{definition}, {paired}")

    return Gain(
        synthetic=shown(saved(evidence, "start", "synthetic"), "held-out loss of the start minus after the batch"),
        baseline=shown(saved(evidence, "start", "baseline"), f"held-out loss of the start minus after {OWN}"),
        advantage=shown(advantage, "gain of the batch minus gain of repeating"),
        over_control=shown(saved(evidence, "replay_control", "synthetic"), f"gain of the batch minus that of {OTHER}"),
        per_1k_tokens=shown(
            per(advantage, evidence.summaries["generate"]["completion_tokens"] / 1000, "bits/byte/1k tokens"),
            "the difference by thousand tokens that the generator wrote, dropped ones among them",
        ),
        per_second=shown(
            per(advantage, sum(spent.get("seconds", 0) for spent in evidence.summaries.values()), "bits/byte/s"),
            "the difference by second of all stages together",
        ),
        seeds=seeds_of(evidence) if train else 0,
        verdict=verdict_of(advantage),
    )


def seeds_of(evidence: Evidence) -> int:
    """Return the number of seeds that each arm was trained with; 1 of trainings that do not say."""
    return int(evidence.summaries.get("train", {}).get("seeds", 1))


def rule_of(seeds: int) -> str:
    """Return how gains are averaged, and what their interval covers."""
    return RULE.format(
        "one training" if seeds == 1 else f"{seeds} seeds", ", not the seed" if seeds == 1 else ", and the seeds"
    )


def saved(evidence: Evidence, before: str, after: str, texts: str = "heldout") -> Estimate:
    """Return how much cheaper texts are after one arm, or the start, than after another, over all seeds."""
    found = [losses_of(evidence, role, texts) for role in (before, after)]
    if missing := next((one for one in found if isinstance(one, Estimate)), None):
        return missing
    (names, sizes, first), (others, _, second) = (one for one in found if not isinstance(one, Estimate))
    if names != others:
        return not_measured("bits/byte", f"{before}/{texts} and {after}/{texts} score different texts")
    return over_seeds(first - second, documents_of(evidence, names), "bits/byte", math.log(2) * sizes)


def losses_of(evidence: Evidence, role: str, texts: str) -> tuple[list[str], Floats, Floats] | Estimate:
    """Return ids, bytes and losses in nats, [seeds, texts], of texts under an arm; or why there are none."""
    seeds = 1 if role == "start" else seeds_of(evidence)
    frames: list[pl.DataFrame] = []
    for seed in range(seeds):
        if (key := key_of(role, texts, seed)) not in evidence.scores:
            return not_scored(evidence, key)
        frames.append(evidence.scores[key].sort("text_id"))
    names = frames[0]["text_id"].to_list()
    if any(frame["text_id"].to_list() != names for frame in frames):
        return not_measured("bits/byte", f"the seeds of {role}/{texts} score different texts")
    nats = np.stack([frame["nats"].to_numpy() for frame in frames]).astype(float)
    return names, frames[0]["num_bytes"].to_numpy().astype(float), nats


def loss_over_seeds(evidence: Evidence, role: str, of: str) -> Figure:
    """Return the loss of an arm, or the start, on held-out text in bits per byte.

    Args:
        of: Words for the texts and the model, in the definition.
    """
    definition = (
        f"sum of -log2 p by sum of UTF-8 bytes over {of}; {rule_of(1 if role == 'start' else seeds_of(evidence))}"
    )
    found = losses_of(evidence, role, "heldout")
    if isinstance(found, Estimate):
        return as_figure(found, definition)
    names, sizes, nats = found
    return as_figure(over_seeds(nats, documents_of(evidence, names), "bits/byte", math.log(2) * sizes), definition)


def documents_of(evidence: Evidence, text_ids: list[str]) -> list[str]:
    """Return the document of each text; one of which none is known is its own."""
    return [evidence.documents.get(one, one) for one in text_ids]


def not_scored(evidence: Evidence, key: str, unit: str = "bits/byte") -> Estimate:
    """Return the estimate of what was not scored, with the reason."""
    why = f"there are no scores {key}" if "train" in evidence.summaries else "no model was trained on this batch yet"
    return not_measured(unit, why)


def per(estimate: Estimate, divisor: float, unit: str) -> Estimate:
    """Return a gain by a count that is known exactly; a loss has none: a larger count would make it look small."""
    if estimate.value is None or estimate.value <= 0 or not divisor:
        lacking = "it cost nothing that was counted" if not divisor else "there is no gain to divide"
        why = estimate.status if estimate.value is None else f"not measured: {lacking}"
        return replace(estimate.without_value(why), unit=unit)
    return estimate.mapped(lambda end: end / divisor, unit)


def list_caveats_of_gain(evidence: Evidence, gain: Gain) -> list[str]:
    """Return what a reader must know before relying on what was gained."""
    train = evidence.summaries.get("train", {})
    if not train:
        return []
    found = []
    if train.get("tokens", {}).get("start"):
        found.append(
            "The start model was pretrained on the anchors: their bits per byte are lower than those of unseen text, "
            "for which the held-out loss is the yardstick."
        )
    if gain.advantage.value is not None and gain.seeds == 1:
        found.append(
            "Each arm was trained once: the intervals of the gain cover the choice of held-out texts, not the training "
            "seed, and another order of the same texts can move a small model by more than that. Set plan.seeds to 3 "
            "or more."
        )
    if gain.over_control.value is None and gain.advantage.value is not None:
        found.append(
            "No arm read other real text instead of the records: how much of the gain is only a milder diet is not "
            "known. Give the flow train a source of general text."
        )
    if not train.get("general", ""):
        found.append("Forgetting is measured on text that the start itself wrote, since no general text was given.")
    return found + list_caveats_of_reading(train)


def list_caveats_of_reading(train: dict[str, Any]) -> list[str]:
    """Return what a training read of its records, where that is not all of them."""
    found = []
    if chosen := train.get("selection"):
        steps = chosen["steps"]
        found.append(
            f"The synthetic arm read {steps['selected']:,} of {steps['given']:,} records, selected by "
            f"{chosen['kind']}: figures of the batch are of all records, those of the gain of these."
        )
    if too_long := train.get("too_long"):
        found.append(
            f"The synthetic arm left out {too_long:,} conversations that are longer than a row: raise "
            "plan.context_tokens to have them read."
        )
    return found


def verdict_of(advantage: Estimate | Figure) -> GainVerdict:
    """Return which arm wins, by the interval of the synthetic one's advantage."""
    if advantage.low is not None and advantage.low > 0:
        return "synthetic_wins"
    return "baseline_wins" if advantage.high is not None and advantage.high < 0 else "undecided"
