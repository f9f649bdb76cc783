"""The HTML page over all batches of a store."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from schemas.figure import Figure
from schemas.overview import Overview
from tasks.measures.prediction import MIN_BATCHES
from tasks.pages.overview_plots import draw_foretold, draw_quadrants, draw_trend
from tasks.pages.page import drawn, open_template


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of every row of a table: its field, what it is called, and what it means and what is healthy."""

    field: str
    name: str
    unit: str
    meaning: str


OF_BATCHES: Final = (
    Column(
        "gain",
        "Gain over the baseline",
        "bits/byte",
        "How many bits each byte of unseen real text costs less after training on the batch than after training on as "
        "many tokens of repeated real text. Healthy: the interval lies above 0; below 0, repeated real text is better.",
    ),
    Column(
        "delta_i",
        "Delta I",
        "bits/byte",
        "What the generator added beyond its prompts, by length. Healthy: near that of earlier batches; near 0 the "
        "generator has collapsed, half above the anchors' own entropy it is noise.",
    ),
    Column(
        "dependence",
        "I(p; Y) / log P",
        "share",
        "How much of a prompt can be told from the reply to it. Healthy: near 1; below 0.5 prompts are ignored.",
    ),
    Column(
        "accept_rate",
        "Accepted",
        "share",
        "Part of the replies that became a kept record. Healthy: above 0.3; below, most of the work is thrown away.",
    ),
    Column(
        "novelty",
        "New wording",
        "share",
        "Part of the words in runs of five that no anchor has. Healthy: well between 0, where nothing new is said, and "
        "what a batch has that ignores its anchors, near 1.",
    ),
)

OF_RECIPES: Final = (
    Column(
        "per_thousand",
        "Gain per 1,000 accepted tokens",
        "millibits/byte per 1,000 tokens",
        "The gain over the matched baseline by thousand tokens of kept records, in thousandths of a bit: what text of "
        "this recipe is worth. Healthy: the interval lies above 0. It favours small batches, since gains level off.",
    ),
    Column(
        "gain",
        "Gain as it is",
        "bits/byte",
        "The same without regard to size. Healthy: the interval lies above 0.",
    ),
)

TRENDS: Final = {
    "gain": ("gain, bits/byte", "synthetic", "Gain over the matched baseline. Above 0, synthetic text was worth it."),
    "delta_i": (
        "Delta I, bits/byte",
        "delta",
        "Delta I per byte. A fall far below earlier batches is a collapsed generator.",
    ),
    "dependence": ("I(p; Y) / log P", "delta", "What replies tell of their prompts. Near 0 prompts are ignored."),
    "accept_rate": ("accepted, share", "start", "Part of the replies that were kept. Below 0.3 most are thrown away."),
}

QUADRANTS: Final = (
    "Every batch by what replies tell of their prompts and what the generator added, with 95 % intervals both ways. "
    "Healthy is right of the upright line and between the others, at the gate's thresholds. Where a batch lies "
    "describes it; only gain accepts it."
)

PREDICTORS: Final = {
    "delta_i": (
        "Delta I, bits/byte",
        "What the generator added, against what training on it gained. If more Delta I meant more gain, points would "
        "rise to the right.",
    ),
    "dependence": (
        "I(p; Y) / log P",
        "What replies tell of their prompts, against what training on them gained.",
    ),
    "novelty": ("new wording, share", "New wording, against what training on it gained."),
    "batch_gain": (
        "gain over the start, bits/byte",
        "The batch's gain over the model it started from, against its gain over the matched baseline. Both are of one "
        "training, so this is no forecast: it says whether the baseline could be spared.",
    ),
}


def render_overview(overview: Overview) -> str:
    """Return the page as HTML. All text from outside is escaped; nothing is loaded from anywhere."""
    return open_template("overview.html.j2").render(
        overview=overview,
        of_batches=OF_BATCHES,
        of_recipes=OF_RECIPES,
        trends=_draw_trends(overview),
        quadrants=_draw_quadrants(overview),
        foretold=_draw_foretold(overview),
        not_foretold=[
            (PREDICTORS[one.predictor][0], one.correlation.status)
            for one in overview.foretold
            if one.correlation.value is None
        ],
        min_batches=MIN_BATCHES,
        why_no_interval=why_no_interval,
        definitions=_define(overview),
    )


def why_no_interval(figure: Figure) -> str:
    """Return what stands where a value has no interval."""
    return "no interval: one group of rows" if figure.clusters < 2 else "no interval: it is of these very rows"


def _draw_trends(overview: Overview) -> list[tuple[Markup, str]]:
    canvases = [
        (draw_trend(overview.standings, name, label, colour), caption)
        for name, (label, colour, caption) in TRENDS.items()
    ]
    return [drawn(canvas, caption) for canvas, caption in canvases if canvas]


def _draw_quadrants(overview: Overview) -> list[tuple[Markup, str]]:
    canvas = draw_quadrants(overview)
    return [drawn(canvas, QUADRANTS)] if canvas else []


def _draw_foretold(overview: Overview) -> list[tuple[Markup, str]]:
    canvases = [
        (draw_foretold(overview.standings, one, PREDICTORS[one.predictor][0]), PREDICTORS[one.predictor][1])
        for one in overview.foretold
    ]
    return [drawn(canvas, caption) for canvas, caption in canvases if canvas]


def _define(overview: Overview) -> list[tuple[str, str]]:
    """Return how each figure is computed."""
    first: Sequence[tuple[Sequence[Column], object]] = [
        (OF_RECIPES[:1], overview.ranking[0] if overview.ranking else None),
        (OF_BATCHES, overview.standings[0] if overview.standings else None),
    ]
    found = [
        (column.name, getattr(row, column.field).definition) for columns, row in first if row for column in columns
    ]
    found += [("Noise line", overview.lines.noise.definition), ("Collapsed line", overview.lines.collapsed.definition)]
    found += [("Share of drops and quarantine", lost.share.definition) for lost in overview.lost[:1]]
    return found + [("Rank correlation", one.correlation.definition) for one in overview.foretold[:1]]
