"""The HTML page of a protocol's run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from gainloop.reports.page import Drawing, drawn, open_template
from gainloop.reports.plots import COLOURS, FONT_SIZE, draw_growth, draw_intervals, open_axes
from gainloop.studies.bootstrapped import ORACLE, RANDOM_ARM, REPETITION, SBP_ARM
from gainloop.studies.recited import ENTIGRAPH, RAW, REPHRASE, START
from schemas.figure import Figure
from schemas.protocol import Bootstrapping, Measured, ProtocolReport, Recital

COLOUR_OF: Final = {
    REPETITION: "baseline",
    SBP_ARM: "synthetic",
    RANDOM_ARM: "start",
    ORACLE: "delta",
    START: "start",
    RAW: "baseline",
    REPHRASE: "ink",
    ENTIGRAPH: "synthetic",
}

NAMES: Final = {RANDOM_ARM: "random pairs", ENTIGRAPH: "EntiGraph", SBP_ARM: "SBP"}
"""Names of arms on the page, where they are not their own."""

CAPTIONS: Final = {
    "along": "What each arm scores along its run, with 95 % intervals over documents and seeds. Lower is better.",
    "shares": (
        "Which part of the oracle's gain over repetition each arm reaches, with 95 % intervals; none is drawn where "
        "the oracle's gain may be 0."
    ),
    "right": "Questions answered rightly by each model; dashed: a blind choice.",
    "curve": "Questions right, closed book, by tokens of EntiGraph's text; each point is a training of its own.",
}


def render_protocol(report: ProtocolReport) -> str:
    """Return the page as HTML. All text from outside is escaped; nothing is loaded from anywhere."""
    return open_template("protocol.html.j2", Path(__file__).parent).render(
        report=report, drawings=_drawings(report), name_of=name_of, tables=_tables(report)
    )


def name_of(arm: str) -> str:
    """Return the name of an arm as the page has it.

    >>> name_of("sbp_0.75"), name_of("random_pairs"), name_of("raw")
    ('SBP 75 %', 'random pairs', 'raw')
    """
    kind, _, share = arm.partition("_")
    if arm not in NAMES and kind == SBP_ARM and share:
        return f"{NAMES[SBP_ARM]} {100 * float(share):.3g} %"
    return NAMES.get(arm, arm)


def draw_protocol(report: ProtocolReport) -> list[tuple[str, Canvas]]:
    """Return the plots of a run under their titles, the most telling first."""
    return [(title, canvas) for _, title, canvas in _plots(report)]


def list_lines(report: ProtocolReport) -> list[tuple[str, str, Figure]]:
    """Return every figure of a run's end: what was asked, of which arm, and the figure."""
    if found := report.bootstrapping:
        lines = []
        for one in _all_measured(found):
            lines += [(one.name, name_of(arm), figure) for arm, figure in one.levels.items()]
            lines += [(f"{one.name}, over repetition", name_of(arm), figure) for arm, figure in one.gains.items()]
            lines += [(f"{one.name}, recovered", name_of(arm), figure) for arm, figure in one.shares.items()]
        return lines
    assert report.recital
    sat = [
        (f"{one.condition} book", f"{name_of(one.arm)}, {one.synthetic_tokens:,} tokens", one.right)
        for one in report.recital.sat
    ]
    return [*sat, *(("difference", one.name, one.figure) for one in report.recital.against)]


def _drawings(report: ProtocolReport) -> list[Drawing]:
    return [drawn(canvas, title, CAPTIONS[kind]) for kind, title, canvas in _plots(report)]


def _plots(report: ProtocolReport) -> Iterator[tuple[str, str, Canvas]]:
    if report.bootstrapping:
        yield from _plots_of_sbp(report.bootstrapping)
    elif report.recital:
        yield from _plots_of_entigraph(report.recital)


def _plots_of_sbp(found: Bootstrapping) -> Iterator[tuple[str, str, Canvas]]:
    rows = [
        (f"{name_of(arm)}: {one.name}", figure, COLOUR_OF.get(arm, "synthetic"))
        for one in _all_measured(found)
        for arm, figure in one.shares.items()
    ]
    if (shares := _draw_shares(rows)) is not None:
        yield "shares", "Recovered of the oracle's gain", shares
    for one in found.measured:
        if one.unit == "perplexity" and len({moment.tokens for moment in found.moments}) > 1:
            yield "along", f"{one.name[:1].upper()}{one.name[1:]} along the run", _draw_along(found, one)


def _draw_shares(rows: list[tuple[str, Figure, str]]) -> Canvas | None:
    named = [(label.replace(": ", ":\n", 1), figure, colour) for label, figure, colour in rows]
    canvas = draw_intervals(named, "% of the oracle's gain", whole=True)
    if canvas:
        for end in (0, 100):
            canvas.axes[0].axvline(end, color=COLOURS["muted"], linewidth=1, linestyle="--")
    return canvas


def _draw_along(found: Bootstrapping, one: Measured) -> Canvas:
    canvas, axes = open_axes(3.4)
    for arm in found.arms:
        own = sorted((moment.tokens, moment.figures[one.name]) for moment in found.moments if moment.arm == arm)
        _draw_line(
            axes, own, COLOURS[COLOUR_OF.get(arm, "synthetic")], name_of(arm), ":" if arm not in COLOUR_OF else "-"
        )
    axes.set(xlabel="thousand tokens read", ylabel=one.unit, yscale="log")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.4g}")
    axes.minorticks_off()
    axes.tick_params(axis="y", colors=COLOURS["muted"])
    axes.grid(axis="y")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=FONT_SIZE)
    return canvas


def _draw_line(axes: Axes, own: list[tuple[int, Figure]], colour: str, label: str, style: str) -> None:
    tokens, values = [at / 1000 for at, _ in own], [figure.value or 0.0 for _, figure in own]
    axes.plot(tokens, values, f"o{style}", color=colour, markersize=4, linewidth=1.6, label=label)
    ends = [(figure.low, figure.high) for _, figure in own if figure.low is not None and figure.high is not None]
    if len(ends) == len(own):
        lows, highs = zip(*ends, strict=True)
        axes.fill_between(tokens, lows, highs, color=colour, alpha=0.12, linewidth=0)


def _plots_of_entigraph(found: Recital) -> Iterator[tuple[str, str, Canvas]]:
    if (curve := draw_growth(found.curve)) is not None:
        yield "curve", "Known by tokens of EntiGraph's text", curve
    last = {(one.arm, one.condition): one for one in found.sat}
    rows = [
        (
            f"{name_of(arm)}, {condition} book" if condition != "retrieved" else f"{name_of(arm)}, with a search",
            one.right,
            COLOUR_OF[arm],
        )
        for (arm, condition), one in last.items()
    ]
    canvas = draw_intervals(rows, "% of the questions right", whole=True)
    if canvas:
        if found.chance is not None:
            canvas.axes[0].axvline(found.chance, color=COLOURS["muted"], linewidth=1, linestyle="--")
        yield "right", "Right answers", canvas


def _all_measured(found: Bootstrapping) -> list[Measured]:
    return [*([found.average] if found.average else []), *found.measured]


def _tables(report: ProtocolReport) -> dict[str, list[Measured]]:
    found = report.bootstrapping
    return {"measured": _all_measured(found)} if found else {}
