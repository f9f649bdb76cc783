"""What each figure of a report means, and what is healthy, for someone who sees it for the first time."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from schemas.figure import Figure
from schemas.report import Report
from tasks.pages.text_lines import TEXT_LINES

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
        "mi.document": ("of it, the document", "What a reply tells of the document that it was made from."),
        "mi.facet": (
            "of it, the wish",
            "What it tells of which of a document's prompts it answers: the style, the pair.",
        ),
        "mi.pmi_null": (
            "Document, upper bound",
            "How much likelier replies are with the document in the prompt than without it. The line above it cannot "
            "be more.",
        ),
        "h_output": (
            "H(M(p))",
            "What the replies hold in all: what the generator added, and what it passed on of its prompts.",
        ),
        "curation.accept_rate": (
            "Kept by curation",
            "Part of the replies that became a kept record. Below 0.3 most of the generator's work is thrown away.",
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
