"""The report's sections on information: Delta I, I(p; Y), curation, and the quantities of Gan & Liu 2024."""

from typing import Literal

from schemas.figure import Figure, Histogram, ReportPart, figure

Semantics = Literal["processed", "raw", "unknown", "repaired", "certain", "none"]
"""Distribution of log-probabilities: the one that was sampled (processed), the model's own (raw), or unknown;
"repaired" if scores of what was sampled stand in for them, "certain" at temperature 0, "none" if there are none."""


class DeltaI(ReportPart):
    semantics: Semantics
    nats_per_record: Figure = figure(
        "Delta I per reply",
        "What the generator added beyond its prompts, in the mean over replies. Near 0, prompts fix their replies: "
        "a collapsed or greedy generator.",
        "nats/record",
        predicts="rises",
    )
    median: Figure = figure(
        "Delta I per reply, median",
        "Half of the replies add less than this. Healthy: near the mean; far below it, few replies carry most of it.",
        "nats/record",
        predicts="rises",
    )
    bits_per_byte: Figure = figure(
        "Delta I per byte",
        "What the generator added beyond its prompts, by length: what to compare generators by. Healthy: near that of "
        "earlier batches; near 0 the generator has collapsed, half above the anchors' own entropy it is noise.",
        "bits/byte",
        predicts="rises",
    )
    histogram: Histogram


class CurvePoint(ReportPart):
    """Both bounds of I(p; Y) where each output is scored under so many prompts, its own among them."""

    prompts: int
    incl: Figure
    fpc: Figure


class Dependence(ReportPart):
    """I(p; Y), what outputs tell of their prompts: bounds, the share of what they could tell, and of what it is.

    ``covering`` has the point estimate and an interval that covers; the caps are what the bounds cannot exceed, in
    nats. ``widest_bracket`` is how much of an output's likelihood, in nats, a server that returns only the likeliest
    tokens leaves open. There is no ``curve`` of scores that are of another model.
    """

    covering: Figure = figure(
        "I(p; Y)",
        "What a reply tells of which prompt it answers. Near 0, prompts are ignored, documents and all.",
        "nats/record",
    )
    incl: Figure = figure(
        "I(p; Y), incl",
        "Bound that is never too high on average, and at most the log of the prompts that were scored.",
        "nats/record",
    )
    fpc: Figure = figure(
        "I(p; Y), fpc",
        "Bound that is a little too high on average, and at most the log of all prompts.",
        "nats/record",
    )
    fpc_bc: Figure = figure(
        "I(p; Y), fpc less its bias", "The point estimate of I(p; Y), with an interval of its own.", "nats/record"
    )
    cap_log_m: float | None
    cap_log_p: float | None
    ratio_to_log_p: Figure = figure(
        "I(p; Y) / log P",
        "How much of its prompt a reply gives away, as a part of what it could. Healthy: near 1 where prompts hold "
        "documents; below 0.5 prompts are ignored, and the generator writes much the same whatever the prompt.",
        "share",
        healthy="higher",
        predicts="rises",
    )
    document: Figure = figure(
        "I(p; Y), the document", "What a reply tells of the document that it was made from.", "nats/record"
    )
    facet: Figure = figure(
        "I(p; Y), the facet",
        "What a reply tells of which of its document's prompts it answers: the style, the pair.",
        "nats/record",
    )
    pmi_null: Figure = figure(
        "I(p; Y), the document, at most",
        "How much likelier replies are with the document in the prompt than without it. A reply tells no more of its "
        "document.",
        "nats/record",
    )
    curve: list[CurvePoint]
    drift: Figure = figure(
        "Scoring against generation",
        "How far scoring and generation are apart on the likelihood of one and the same reply. Healthy: near 0; above "
        "a nat, servers have another model or template for scoring.",
        "nats/record",
        healthy="lower",
    )
    widest_bracket: float


class FilterEffect(ReportPart):
    """The effect of curation on the generator's distribution of replies: they became kept records or did not."""

    accept_rate: Figure = figure(
        "Kept by curation",
        "Part of the replies that became a kept record. Healthy: above 0.3; below, most of the generator's work is "
        "thrown away.",
        "share",
        healthy="higher",
    )
    total_variation: Figure = figure(
        "Total variation by curation",
        "The part of the generator's distribution that curation took away.",
        "share",
        healthy="lower",
    )
    divergence: Figure = figure(
        "Divergence by curation",
        "How far dropping replies moved the text from what the generator says: 0 if nothing is dropped.",
        "nats",
        healthy="lower",
        predicts="falls",
    )
    entropy: Figure = figure(
        "Delta I after curation", "What is left of Delta I in the records that were kept.", "nats/record"
    )


class Entropy(ReportPart):
    anchors: Figure = figure(
        "Entropy of the anchors",
        "What real text costs the start checkpoint: the yardstick for the entropy of the records.",
        "bits/byte",
    )
    records: Figure = figure(
        "Entropy of the records",
        "What the kept records cost the start checkpoint. Far below the anchors: bland; far above: noise.",
        "bits/byte",
        predicts="rises",
    )


class Paper(ReportPart):
    """The quantities of Gan & Liu 2024, in nats per text: an anchor, or a reply. They describe; they decide nothing.

    ``W`` is the model trained on the batch, ``W'`` the matched baseline, and the bound is the right side of
    Theorem 4.10; the slacks are the two terms in which it differs from the GGMI, I(S_anchor, W') - I(S_gen, W).
    """

    anchors: Figure = figure(
        "H(S_anchor)", "What an anchor holds, at most: its cost under the start checkpoint.", "nats/text"
    )
    synthetic: Figure = figure("H(S_gen)", "What a kept reply holds.", "nats/text")
    delta_h: Figure = figure("Delta H", "H(S_anchor) less H(S_gen).", "nats/text")
    alpha: Figure = figure(
        "alpha",
        "What anchors cost the baseline by what they cost the model. Below 1, repeating them taught more of them.",
        "ratio",
    )
    eps: Figure = figure(
        "eps",
        "How much less an anchor costs the model with a record of it in front: what the record says of the anchor and "
        "the model has not kept.",
        "nats/text",
    )
    ggmi: Figure = figure(
        "GGMI",
        "What the baseline took in of anchors less what the model took in of the batch, both shared out over the texts "
        "of the batch: arms read as many tokens, not as many texts. Largest for a model that learns nothing: no "
        "measure of worth.",
        "nats/text",
        predicts="rises",
        is_early=False,
    )
    bound: Figure = figure(
        "Bound of Theorem 4.10",
        "GGMI by differences of losses plus the slack by curation and the slack by prompts: it tells nothing else.",
        "nats/text",
    )
    curation_slack: Figure = figure(
        "Slack by curation", "What curation took from Delta I. Below 0 the bound may not hold.", "nats/text"
    )
    prompt_slack: Figure = figure(
        "Slack by prompts",
        "What replies tell of anchors less what they tell of prompts. Below 0 the bound may fail.",
        "nats/text",
    )
