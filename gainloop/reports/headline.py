"""The report in words: its headline, what to know before leaning on it, and examples of the text."""

from typing import Final

import polars as pl

from gainloop.measures.entropy import NOT_ASKED
from gainloop.reports.evidence import Evidence
from schemas.figure import Figure
from schemas.information import DeltaI
from schemas.report import Example
from schemas.sections import Gain

NUM_EXAMPLES: Final = 5
EXAMPLE_CHARACTERS: Final = 900
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
    found = list_caveats_of_delta_i(evidence, delta_i)
    parts = evidence.records["request_ids"].list.len().mean() if evidence.records.height else None
    if isinstance(parts, float) and parts > 1:
        found.append(
            f"A record is made of {parts:.3g} replies on average. Delta I and I(p; Y) count replies: nats a record are "
            f"about {parts:.3g} times as many, bits per byte are the same."
        )
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


def list_caveats_of_delta_i(evidence: Evidence, delta_i: DeltaI) -> list[str]:
    """Return what Delta I does not say, or what it lacks where it has no value."""
    nats = delta_i.nats_per_record
    if nats.status == NOT_ASKED:
        return [
            "How much information the generator added is not known: the profile's serving.logprobs was false, so no "
            "log-probabilities were asked for. No other figure needs them."
        ]
    found = [
        "Delta I says how much the generator put in, which can be insight or noise. "
        "Only the measured gain says whether training on it helps."
    ]
    if nats.value is None:
        if nats.dropped:
            found.append(
                f"{nats.dropped} replies have no finite log-probabilities, too many to leave out of Delta I. "
                "Those that came while the profile's serving.logprobs was false have none."
            )
        return found
    temperature, top_p = (evidence.recipe["sampling"][name] for name in ("temperature", "top_p"))
    if (temperature, top_p) != (1, 1) and delta_i.semantics in ("raw", "unknown"):
        found.append(
            f"The replies were sampled at temperature {temperature:g} and top_p {top_p:g}, and their log-probabilities "
            f"are {delta_i.semantics}: Delta I is a cross entropy here, and lies above the entropy. The flow score "
            "finds out what was sampled."
        )
    if delta_i.semantics == "repaired":
        found.append(
            f"The replies were sampled at temperature {temperature:g} and top_p {top_p:g}, and servers told another "
            f"distribution's log-probabilities: Delta I rests on {nats.n} outputs that were scored anew, as sampled."
        )
    if nats.clusters < MIN_PROMPTS:
        found.append(f"Delta I rests on {nats.clusters} prompts; below {MIN_PROMPTS} its interval is rough.")
    if nats.dropped:
        found.append(f"{nats.dropped} replies without finite log-probabilities are left out of Delta I.")
    return found


def choose_examples(kept: pl.DataFrame) -> list[Example]:
    """Return a few kept records of different anchors; record ids are hashes, so their order is a fair draw."""
    chosen = kept.unique("anchor_id", keep="first", maintain_order=True).head(NUM_EXAMPLES)
    columns = ["record_id", "anchor_id", "title", "facet", "text", "anchor"]
    rows = chosen.select(columns).fill_null("").iter_rows(named=True)
    return [Example(**row | {"text": _cut(row["text"]), "anchor": _cut(row["anchor"])}) for row in rows]


def _flipped(figure: Figure) -> Figure:
    """Return the figure seen from the other side."""
    value, low, high = (None if end is None else -end for end in (figure.value, figure.high, figure.low))
    return figure.model_copy(update={"value": value, "low": low, "high": high})


def _cut(text: str) -> str:
    return text if len(text) <= EXAMPLE_CHARACTERS else text[:EXAMPLE_CHARACTERS].rsplit(" ", 1)[0] + " ..."
