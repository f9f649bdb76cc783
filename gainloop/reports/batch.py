"""The report of one batch, from its rows and scores: figures, headline, caveats and examples."""

import json
from typing import Any, Final

import polars as pl

from gainloop.measures.entropy import NOT_ASKED, bits_per_byte
from gainloop.measures.estimate import as_figure, weighted_sum
from gainloop.measures.repetition import worth_of
from gainloop.reports.evidence import Evidence
from gainloop.reports.gain import list_caveats_of_gain, measure_gain, not_scored
from gainloop.reports.information import measure_curation, measure_delta_i, measure_dependence
from gainloop.reports.knowledge import measure_knowledge
from gainloop.reports.paragraph import write_paragraph
from gainloop.reports.probed import measure_probe
from gainloop.reports.skills import measure_instructions, measure_tools
from gainloop.reports.texts import list_caveats_of_texts, measure_texts
from gainloop.reports.trainee import loss, measure_paper, measure_trainee
from gainloop.store.snapshots import name_source
from schemas.errors import LedgerError
from schemas.figure import Figure
from schemas.information import DeltaI, Entropy
from schemas.knowledge import Knowledge
from schemas.report import FORMAT, Corpus, Cost, Counts, Example, GeneratedBy, Money, Repetition, Report, Validation
from schemas.sections import Gain

FROM_ENGINE: Final = {name for name, field in Cost.model_fields.items() if field.json_schema_extra} | {
    "prompt_tokens",
    "completion_tokens",
    "retried_replies",
}
"""Costs that the stage generate counts."""

NUM_EXAMPLES: Final = 5
EXAMPLE_CHARACTERS: Final = 900
NUM_NAMED: Final = 10
"""Documents that a report names."""

MIN_PROMPTS: Final = 32
"""Prompts below which the interval of Delta I is rough."""


def measure_batch(evidence: Evidence) -> Report:
    """Return the report of a batch; the same evidence gives the same report.

    Raises:
        LedgerError: A record or an anchor was lost without a reason.
    """
    counts, texts = count_rows(evidence), measure_texts(evidence)
    delta_i, dependence, gain = measure_delta_i(evidence), measure_dependence(evidence), measure_gain(evidence)
    curation, knowledge = measure_curation(evidence), measure_knowledge(evidence)
    sampling, validated = evidence.recipe["sampling"], evidence.summaries.get("validate", {})
    return Report(
        format=FORMAT,
        headline=write_headline(knowledge, delta_i, gain, evidence.summaries["generate"].get("completion_tokens")),
        batch=evidence.batch_id,
        training=evidence.training_id,
        created=evidence.measured_at,
        recipe=evidence.recipe,
        corpus=describe_corpus(evidence),
        generator=GeneratedBy(
            model=evidence.recipe["model"],
            revision=evidence.recipe["revision"],
            temperature=sampling["temperature"],
            top_p=sampling["top_p"],
        ),
        logprob_semantics=delta_i.semantics,
        counts=counts,
        knowledge=knowledge,
        probe=measure_probe(evidence),
        validation=Validation(success=validated.get("success"), expectations=validated.get("expectations")),
        delta_i=delta_i,
        mi=dependence,
        h_output=as_figure(
            weighted_sum([(1, delta_i.nats_per_record), (1, dependence.covering)], "nats/record"),
            "H(M(p)) = Delta I + I(p; Y), what the outputs hold in all; half widths added in quadrature",
        ),
        curation=curation,
        entropy=measure_entropy(evidence),
        tools=measure_tools(evidence),
        instructions=measure_instructions(evidence),
        diversity=texts.diversity,
        faithfulness=texts.faithfulness,
        quality=texts.quality,
        trainee=measure_trainee(evidence),
        paper=measure_paper(evidence, delta_i, dependence, curation),
        repetition=measure_repetition(evidence.summaries.get("train", {})),
        gain=gain,
        cost=measure_cost(evidence),
        checkpoints=evidence.checkpoints,
        caveats=list_caveats(evidence, delta_i, gain, knowledge) + list_caveats_of_texts(texts.diversity),
        examples=choose_examples(evidence.kept),
    )


def describe_corpus(evidence: Evidence) -> Corpus:
    """Return the name and the size of the documents that a batch was made from."""
    row, snapshot_id = evidence.snapshot, evidence.recipe["snapshot_id"]
    if not row:
        return Corpus(name="", snapshot=snapshot_id)
    return Corpus(
        name=name_source(json.loads(row["source"])),
        snapshot=snapshot_id,
        anchors=row["num_anchors"],
        held_out=row["num_heldout"],
        num_bytes=row["num_bytes"],
        documents=len(evidence.made_of) or None,
        named=[*evidence.made_of[:NUM_NAMED]],
    )


def count_rows(evidence: Evidence) -> Counts:
    """Return the ledger of a batch.

    Raises:
        LedgerError: Anchors are not kept + only quarantined + only dropped, records not kept + quarantined, or a reply
            is gone that was counted or that a record was made of.
    """
    generated, records = evidence.summaries["generate"], evidence.records
    _require_replies(evidence)
    kept, made = set(records.filter("kept")["anchor_id"]), set(records["anchor_id"])
    dropped = set(evidence.drops["anchor_id"]) - made
    num_quarantined = evidence.quarantine["record_id"].n_unique()
    counts = Counts(
        anchors=generated["anchors"],
        anchors_kept=len(kept),
        anchors_only_quarantined=len(made - kept),
        anchors_only_dropped=len(dropped),
        anchors_add_up=generated["anchors"] == len(made) + len(dropped),
        requests=generated["requests"],
        replies=evidence.replies.height,
        records=generated["records"],
        kept=int(records["kept"].sum()),
        quarantined=num_quarantined,
        records_add_up=generated["records"] == records.height == records["kept"].sum() + num_quarantined,
        quarantined_by_reason=_count(evidence.quarantine),
        drops=evidence.drops.height,
        drops_by_reason=_count(evidence.drops),
    )
    check_ledger(evidence.batch_id, counts)
    return counts


def _require_replies(evidence: Evidence) -> None:
    """Refuse a batch that has lost replies since it was made: every figure of information would be of the others."""
    landed, made_of = set(evidence.replies["request_id"]), set(evidence.records["request_ids"].explode().drop_nulls())
    lost = max(evidence.summaries["generate"].get("replies", 0) - len(landed), len(made_of - landed))
    if lost:
        raise LedgerError(
            f"adding up batch {evidence.batch_id}: {lost:,} replies are gone since it was made; each must be there. A "
            "damaged part is set aside as .torn: put a sound copy of it back, or run the flow generate with the same "
            "parameters, which asks for what is missing."
        )


def check_ledger(batch_id: str, counts: Counts) -> None:
    """Refuse counts that do not add up: a report would rest on rows that are gone."""
    c = counts
    sums = {
        f"{c.anchors} anchors = {c.anchors_kept} kept + {c.anchors_only_quarantined} only quarantined "
        f"+ {c.anchors_only_dropped} only dropped": c.anchors_add_up,
        f"{c.records} records = {c.kept} kept + {c.quarantined} quarantined": c.records_add_up,
    }
    for sum_, holds in sums.items():
        if not holds:
            raise LedgerError(
                f"adding up batch {batch_id}: {sum_} is wrong; every anchor and record is in exactly one of these. "
                "Rows of this batch were deleted or added by hand: restore the store, or generate under another seed."
            )


def measure_entropy(evidence: Evidence) -> Entropy:
    """Return what anchors and records cost the start checkpoint: upper bounds on their entropy rates."""
    rule = "cross entropy under the start checkpoint, an upper bound on their entropy, as a ratio of sums"
    scores = evidence.scores.get("start/records")
    owners = evidence.kept.select("anchor_id", text_id="record_id")
    kept = None if scores is None else scores.join(owners, on="text_id")
    return Entropy(
        anchors=loss(evidence, "start/anchors", "the anchors, before training: an upper bound of their entropy"),
        records=as_figure(
            not_scored(evidence, "start/records")
            if kept is None
            else bits_per_byte(kept["nats"], kept["num_bytes"], kept["anchor_id"].to_numpy()),
            f"bits per byte of the kept records: {rule}; interval over anchors",
        ),
    )


def measure_repetition(trained: dict[str, Any]) -> dict[str, Repetition]:
    """Return the epochs of each part of the training text, by arm and part, with what they are worth."""
    found = {}
    for arm, parts in trained.get("epochs", {}).items():
        for part, (tokens, epochs, *earlier) in parts.items():
            unique, before = tokens / epochs, sum(earlier)
            worth = worth_of(unique, tokens + before * unique)
            known = worth_of(unique, before * unique).effective
            found[f"{arm}, {part}"] = Repetition(
                tokens=tokens,
                epochs=epochs,
                read_before=before,
                effective_tokens=worth.effective - known,
                next_token=worth.next_token,
            )
    return found


def measure_cost(evidence: Evidence) -> Cost:
    """Return what a batch took, as stages counted it; a summary of an earlier version has fewer counts."""
    summaries, kept = evidence.summaries, evidence.kept["request_ids"].explode()
    generated, judged = summaries["generate"], summaries.get("judge", {})
    is_kept = pl.col("request_id").is_in(kept.implode())
    return Cost(
        **{name: generated[name] for name in FROM_ENGINE & generated.keys()},
        accepted_tokens=evidence.replies.filter(is_kept)["completion_tokens"].sum(),
        money=_price_of(generated),
        money_per_1k_kept=_price_per_1k(_price_of(generated), evidence.kept.height),
        scoring_tokens=summaries.get("score", {}).get("tokens"),
        judging_tokens=judged["prompt_tokens"] + judged["completion_tokens"] if judged else None,
        judging_money=_price_of(judged),
        training_tokens=summaries.get("train", {}).get("tokens", {}),
        training_speed=summaries.get("train", {}).get("speed", {}),
        seconds={stage: summary["seconds"] for stage, summary in summaries.items() if "seconds" in summary},
    )


def write_headline(knowledge: Knowledge, delta_i: DeltaI, gain: Gain, tokens: int | None = None) -> str:
    """Return the report in a paragraph: what the exam says; without one, Delta I and the gain on held-out text."""
    if knowledge.was_asked:
        return write_paragraph(knowledge, tokens)
    said = write_loss_headline(delta_i, gain)
    asked = "Without an exam, whether the model knows the documents is open."
    return said if gain.advantage.value is None else f"{said} {asked}"


def write_loss_headline(delta_i: DeltaI, gain: Gain) -> str:
    """Return what the generator added, and what was gained on held-out text, in two sentences."""
    nats, rate, advantage = delta_i.nats_per_record, delta_i.bits_per_byte, gain.advantage
    added = f"Delta I = {nats.number} nats/record {nats.interval} ({rate.number} bits/byte)."
    if nats.value is None:
        added = f"Delta I: {nats.status}."
    if advantage.value is None:
        return f"{added} Gain on held-out text: {advantage.status}."
    verdict = {
        "synthetic_wins": "the synthetic text wins by {}",
        "baseline_wins": "repeating wins by {}",
        "undecided": "undecided, the difference is {}",
    }[gain.verdict]
    margin = advantage if gain.verdict != "baseline_wins" else _flipped(advantage)
    shown = verdict.format(f"{margin.number} {margin.interval}".rstrip())
    return (
        f"{added} Gain on held-out text: synthetic {gain.synthetic.signed}, "
        f"repeating {gain.baseline.signed} bits/byte: {shown}."
    )


UNJUDGED: Final = (
    "Whether what the records say is true, nothing here has looked at: a batch whose every value is false passes all "
    "automatic vetoes. Ask a judge (the flow judge) or an exam (the flow evaluate)."
)


def list_caveats(evidence: Evidence, delta_i: DeltaI, gain: Gain, knowledge: Knowledge) -> list[str]:
    """Return what a reader must know before relying on the figures."""
    found = list_caveats_of_delta_i(evidence, delta_i)
    if not knowledge.was_asked and evidence.verdicts is None:
        found.append(UNJUDGED)
    parts = evidence.records["request_ids"].list.len().mean() if evidence.records.height else None
    if isinstance(parts, float) and parts > 1:
        found.append(
            f"A record is made of {parts:.3g} replies on average. Delta I and I(p; Y) count replies: nats a record are "
            f"about {parts:.3g} times as many, bits per byte are the same."
        )
    return [*found, *list_caveats_of_gain(evidence, gain), *([evidence.gone] if evidence.gone else [])]


def list_caveats_of_delta_i(evidence: Evidence, delta_i: DeltaI) -> list[str]:
    """Return what a reader must know of Delta I, or the reason why it has no value."""
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


def _count(rows: pl.DataFrame) -> dict[str, int]:
    return dict(sorted(rows["reason"].value_counts().iter_rows(), key=lambda pair: (-pair[1], pair[0])))


def _price_of(summary: dict[str, Any]) -> Money | None:
    """Return what a stage's tokens cost; the engine's 0 stands for a price that was not set."""
    return Money(amount=summary["cost"], currency=summary["currency"]) if summary.get("cost") else None


def _price_per_1k(price: Money | None, num_records: int) -> Money | None:
    return Money(amount=1000 * price.amount / num_records, currency=price.currency) if price and num_records else None


def _flipped(figure: Figure) -> Figure:
    """Return the figure seen from the other side."""
    value, low, high = (None if end is None else -end for end in (figure.value, figure.high, figure.low))
    return figure.model_copy(update={"value": value, "low": low, "high": high})


def _cut(text: str) -> str:
    return text if len(text) <= EXAMPLE_CHARACTERS else text[:EXAMPLE_CHARACTERS].rsplit(" ", 1)[0] + " ..."
