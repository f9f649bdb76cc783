"""What each figure of a report means, and what is healthy, for someone who sees it for the first time."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from gainloop.reports.text_lines import TEXT_LINES
from schemas.figure import Figure
from schemas.report import Report

READING: Final = {
    "What training on it gained": {
        "gain.synthetic": (
            "Gain of the synthetic text",
            "How much cheaper held-out text became by training on this batch. Healthy: the interval lies above 0.",
        ),
        "gain.baseline": (
            "Gain of the matched baseline",
            "The same for as many tokens of real text, repeated. It is what synthetic text has to beat.",
        ),
        "gain.advantage": (
            "Difference",
            "Synthetic minus baseline. Healthy: the interval lies above 0. Below 0, repeating real text is better.",
        ),
        "gain.per_1k_tokens": (
            "Difference, by tokens",
            "By thousand tokens that the generator wrote, those that were thrown away among them: what to compare "
            "recipes by.",
        ),
        "gain.per_second": (
            "Difference, by time",
            "By second of generating, scoring and training; models made before are not counted.",
        ),
        "trainee.heldout_start": ("Held-out loss, start", "What held-out text costs the model before this training."),
        "trainee.heldout_synthetic": ("Held-out loss, synthetic", "After training on this batch; lower is better."),
        "trainee.heldout_baseline": ("Held-out loss, matched baseline", "After repeated real text; lower is better."),
    },
    "How much information it holds": {
        "delta_i.nats_per_record": (
            "Delta I, mean",
            "What the generator added beyond its prompts, per reply. Near 0, prompts fix their replies: "
            "a collapsed or greedy generator.",
        ),
        "delta_i.median": (
            "Delta I, median",
            "Half of the replies add less. Healthy: near the mean; far below it, few replies carry most of it.",
        ),
        "delta_i.bits_per_byte": (
            "Delta I, per byte",
            "The same by length, to compare generators. Healthy: well above 0, and not half above the anchors' "
            "own entropy, which would be noise.",
        ),
        "mi.covering": (
            "I(p; Y)",
            "What a reply tells of which prompt it answers. Near 0, prompts are ignored, documents and all.",
        ),
        "mi.ratio_to_log_p": (
            "I(p; Y), part of what it can be",
            "1: a reply gives its prompt away. Healthy: near 1 where prompts hold documents; below a half, the "
            "generator writes much the same whatever it is asked.",
        ),
        "mi.document": ("I(p; Y), the document", "What a reply tells of the document that it was made from."),
        "mi.facet": (
            "of it, the wish",
            "What it tells of which of a document's prompts it answers: the style, the pair.",
        ),
        "mi.pmi_null": (
            "I(p; Y), the document, at most",
            "How much likelier replies are with the document in the prompt than without it. A reply tells no more "
            "of it.",
        ),
        "mi.incl": ("I(p; Y), incl", "Never too high on average, and at most the log of the prompts that were scored."),
        "mi.fpc": ("I(p; Y), fpc", "A little too high on average, and at most the log of all prompts."),
        "mi.fpc_bc": ("I(p; Y), fpc less its bias", "The point estimate of the first line, with its own interval."),
        "mi.drift": (
            "Scoring against generation",
            "How far both are apart on the likelihood of one and the same reply. Healthy: near 0; above a nat, servers "
            "have another model or template for scoring.",
        ),
        "h_output": (
            "H(M(p))",
            "What the replies hold in all: what the generator added, and what it passed on of its prompts.",
        ),
        "curation.accept_rate": (
            "Kept by curation",
            "Part of the replies that became a kept record. Below 0.3 most of the generator's work is thrown away.",
        ),
        "curation.total_variation": (
            "Total variation by curation",
            "The part of the generator's distribution that curation took away.",
        ),
        "curation.divergence": (
            "Divergence by curation",
            "How far dropping moved the text from what the generator says: 0 if nothing is dropped.",
        ),
        "curation.entropy": ("Delta I after curation", "What is left of Delta I in the records that were kept."),
        "entropy.anchors": (
            "Anchors",
            "What real text costs the start checkpoint: the yardstick for the line below.",
        ),
        "entropy.records": (
            "Kept records",
            "What the synthetic text costs the same model. Far below the anchors: bland; far above: noise.",
        ),
    },
    "What the model took in": {
        "trainee.absorbed": (
            "Absorbed",
            "What the model no longer has to be told of the synthetic text: its loss while reading less its loss in "
            "the end. 0: it learnt nothing.",
        ),
        "trainee.memorised": (
            "Absorbed: memorised",
            "Holds only for the very records that were read. Healthy: a small part of what was absorbed.",
        ),
        "trainee.generalised": ("Absorbed: generalised", "Holds for records of the same kind that were not read."),
        "trainee.absorbed_anchors": (
            "Absorbed of anchors",
            "The same of the matched baseline and its repeated anchors. Little, if the start model knew them already.",
        ),
        "trainee.records_in": ("Loss on records, trained on", "What records cost the model that has read them."),
        "trainee.records_out": (
            "Loss on records, held out",
            "What records of the batch cost that it has not read. Healthy: near the line above.",
        ),
        "trainee.anchors_synthetic": (
            "Loss on anchors, synthetic",
            "What the real texts cost that the batch is made from, after training on the batch.",
        ),
        "trainee.anchors_baseline": ("Loss on anchors, baseline", "After training on repeated anchors."),
    },
    "The quantities of Gan & Liu 2024, which describe and decide nothing": {
        "paper.ggmi": (
            "GGMI",
            "What the baseline took in of an anchor less what the model took in of a reply. Largest for a model that "
            "learns nothing: no measure of worth.",
        ),
        "paper.bound": (
            "Bound of Theorem 4.10",
            "GGMI by differences of losses plus the two lines below: it tells nothing else.",
        ),
        "paper.curation_slack": (
            "Slack by curation",
            "What curation took from Delta I. Below 0 the bound may not hold.",
        ),
        "paper.prompt_slack": (
            "Slack by prompts",
            "What replies tell of anchors less what they tell of prompts. Below 0 the bound may fail.",
        ),
        "paper.alpha": (
            "alpha",
            "What anchors cost the baseline by what they cost the model. Below 1, repeating them taught more of them.",
        ),
        "paper.eps": (
            "eps",
            "What a record in front of its anchor saves the model: what it was told and has not kept.",
        ),
        "paper.anchors": ("H(S_anchor)", "What an anchor holds, at most: its cost before training."),
        "paper.synthetic": ("H(S_gen)", "What a kept reply holds."),
        "paper.delta_h": ("Delta H", "The difference of the two lines above."),
    },
    **TEXT_LINES,
}


@dataclass(frozen=True, slots=True)
class Line:
    """One figure as the page shows it."""

    name: str
    figure: Figure
    meaning: str


def list_figures(report: Report) -> dict[str, list[Line]]:
    """Return every figure with its name and meaning, by section."""
    return {
        section: [Line(name, attrgetter(path)(report), meaning) for path, (name, meaning) in lines.items()]
        for section, lines in READING.items()
    }
