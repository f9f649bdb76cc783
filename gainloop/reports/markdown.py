"""A report as Markdown, for the run's page in Prefect."""

from gainloop.reports.figure_lines import Line, list_figures
from gainloop.reports.page import draw_image, list_ledger
from schemas.report import Report


def write_markdown(report: Report) -> str:
    """Return the headline, the plot, every figure, the ledger and the caveats as Markdown."""
    plot = draw_image(report)
    lines = [f"**{report.headline}**", ""] + ([f"![the headline, drawn]({plot})", ""] if plot else [])
    lines += ["| Figure | value | 95 % interval | unit | n |", "|---|---:|---|---|---:|"]
    for section, figures in list_figures(report).items():
        lines += [f"| **{section}** | | | | |", *map(_as_row, figures)]
    lines += ["", "| Where every row went | |", "|---|---:|"]
    lines += [f"| {row['line']} | {row['count']:,} |" for row in list_ledger(report.counts)]
    return "\n".join([*lines, "", *(f"- {caveat}" for caveat in report.caveats)])


def _as_row(line: Line) -> str:
    figure = line.figure
    shown = figure.number if figure.value is not None else figure.status
    return f"| {line.name} | {shown} | {figure.interval} | {figure.unit} | {figure.n} |"
