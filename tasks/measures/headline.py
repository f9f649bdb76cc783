"""The report in words: its headline, and what to know before leaning on it."""

from typing import Final

from schemas.report import DeltaI, Figure, Gain
from tasks.measures.evidence import Evidence

MIN_PROMPTS: Final = 32


def write_headline(delta_i: DeltaI, gain: Gain) -> str:
    """Return the report in two sentences."""
    nats, rate, advantage = delta_i.nats_per_record, delta_i.bits_per_byte, gain.advantage
    added = f"Delta I = {nats.number} nats/record {nats.interval} ({rate.number} bits/byte)."
    if nats.value is None:
        added = f"Delta I: {nats.status}."
    if advantage.value is None:
        return f"{added} Gain on held-out text: {advantage.status}."
    verdict = {
        "synthetic_wins": "the synthetic text wins by {}",
        "baseline_wins": "the matched baseline wins by {}",
        "undecided": "undecided, the difference is {}",
    }[gain.verdict]
    margin = advantage if gain.verdict != "baseline_wins" else _flipped(advantage)
    shown = verdict.format(f"{margin.number} {margin.interval}".rstrip())
    return (
        f"{added} Gain on held-out text: synthetic {gain.synthetic.signed}, "
        f"matched baseline {gain.baseline.signed} bits/byte: {shown}."
    )


def list_caveats(evidence: Evidence, delta_i: DeltaI, gain: Gain) -> list[str]:
    """Return what a reader must know before leaning on the figures."""
    nats = delta_i.nats_per_record
    sampling = evidence.recipe["sampling"]
    temperature, top_p = sampling["temperature"], sampling["top_p"]
    found = [
        "Delta I says how much the generator put in, which can be insight or noise. "
        "Only the measured gain says whether training on it helps."
    ]
    if (temperature, top_p) != (1, 1) and evidence.logprob_semantics != "processed":
        found.append(
            f"The replies were sampled at temperature {temperature:g} and top_p {top_p:g}, and their log-probabilities "
            f"are {evidence.logprob_semantics}: Delta I is a cross entropy here, and lies above the entropy."
        )
    if nats.clusters < MIN_PROMPTS:
        found.append(f"Delta I rests on {nats.clusters} prompts; below {MIN_PROMPTS} its interval is rough.")
    if nats.dropped:
        found.append(f"{nats.dropped} replies without finite log-probabilities are left out of Delta I.")
    if evidence.summaries.get("train", {}).get("tokens", {}).get("start"):
        found.append(
            "The start model was pretrained on the anchors: their bits per byte are lower than those of unseen text, "
            "for which the held-out loss is the yardstick."
        )
    if gain.advantage.value is not None:
        found.append(
            "Each arm was trained once: the intervals of the gain cover the choice of held-out texts, "
            "not the training seed."
        )
    return found


def _flipped(figure: Figure) -> Figure:
    """Return the figure seen from the other side."""
    value, low, high = (None if end is None else -end for end in (figure.value, figure.high, figure.low))
    return figure.model_copy(update={"value": value, "low": low, "high": high})
