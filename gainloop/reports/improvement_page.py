"""The HTML page of a loop: what it taught round by round, what it spent, and what is still missing."""

from typing import Final

from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from gainloop.reports.improvement import BEFORE, EVEN, REPEATING
from gainloop.reports.page import drawn, open_template
from gainloop.reports.paragraph import as_points, as_share
from gainloop.reports.plots import COLOURS, FONT_SIZE, draw_growth, draw_intervals, open_axes
from schemas.figure import Figure
from schemas.improvement import GapRow, Improvement

TITLES: Final = {
    "final": "Known at the end, by questions that were kept for it",
    "rounds": "Known after each round, by the questions that steered",
    "shares": "Where the tokens went",
    "growth": "Knowledge by synthetic text",
}
CAPTIONS: Final = {
    "final": "Each model once, after the loop: 95 % intervals over documents, and over seeds where there are several.",
    "rounds": "What steered the next round. It may flatter: the loop has chosen by these very questions.",
    "shares": "Each recipe's share of a round's tokens: its chance of being the best, above a floor.",
    "growth": "Each round's model by the tokens of all its synthetic text, and what twice as much would reach if it "
    "were chosen alike; every training reads as many tokens.",
}
DASH: Final = "–"  # noqa: RUF001
"""Stands where a round did not list a document."""

LINES: Final = (("synthetic", "-", "o"), ("baseline", "-", "s"), ("delta", "-", "^"), ("ink", "--", "D"))


def render_improvement(found: Improvement) -> str:
    """Return the page as HTML; nothing is loaded from anywhere."""
    canvases = {
        "final": draw_final(found),
        "rounds": draw_rounds(found),
        "shares": draw_shares(found),
        "growth": draw_growth(found.curve),
    }
    gaps = gap_history(found)
    drawings = [drawn(canvas, TITLES[name], CAPTIONS[name]) for name, canvas in canvases.items() if canvas]
    return open_template("improvement.html.j2").render(
        found=found,
        drawings=drawings,
        lead=drawings[:1],
        others=drawings[1:],
        gaps=gaps,
        has_dash=any(DASH in before for _, before in gaps),
        missing=say_missing,
        share=as_share,
        points=say_gain,
    )


def gap_history(found: Improvement) -> list[tuple[GapRow, list[str]]]:
    """Return the documents with most missing in the end, most drawn first, each with what was missing before."""
    before = [{one.document: say_missing(one) for one in each.gaps} for each in found.rounds]
    rows = sorted(found.gaps, key=lambda row: -row.share)
    return [(row, [each.get(row.document, DASH) for each in before]) for row in rows]


def say_missing(row: GapRow) -> str:
    """Return what is missing of a document; where nobody asked, about."""
    return f"{'' if row.asked else 'about '}{row.missing:.0%}"


def say_gain(figure: Figure) -> str:
    """Return a gain with its interval, in its unit."""
    if figure.value is None:
        return figure.status
    return as_points(figure) if figure.unit == "points" else f"{figure.signed} {figure.interval} {figure.unit}"


def draw_final(found: Improvement) -> Canvas | None:
    """Draw what each model knows in the end."""
    colours = {BEFORE: "ink", REPEATING: "baseline", EVEN: "delta"}
    rows = [(row.name, row.right, colours.get(row.name, "synthetic")) for row in found.final]
    return draw_intervals(rows, "% of the questions right", whole=True)


def draw_rounds(found: Improvement) -> Canvas | None:
    """Draw what the model knows after each round, by the questions that steer."""
    rows = [(f"round {one.number}", one.right, "synthetic") for one in found.rounds]
    return draw_intervals(rows, "% of the questions right", whole=True)


def draw_shares(found: Improvement) -> Canvas | None:
    """Draw each recipe's share of every round; None where there is one recipe or one round."""
    names = list(dict.fromkeys(one.recipe for each in found.rounds for one in each.recipes))
    if len(names) < 2 or len(found.rounds) < 2:
        return None
    canvas, axes = open_axes(2.6)
    for place, name in enumerate(names):
        points = [(each.number, 100 * one.share) for each in found.rounds for one in each.recipes if one.recipe == name]
        colour, line, mark = LINES[place % len(LINES)]
        axes.plot(*zip(*points, strict=True), line, marker=mark, color=COLOURS[colour], linewidth=1.8, label=name)
    axes.set(xlabel="round", ylabel="% of the round's tokens", ylim=(0, 100))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(axis="y", colors=COLOURS["muted"])
    axes.grid(axis="y")
    axes.legend(frameon=False, fontsize=FONT_SIZE, loc="upper left")
    return canvas
