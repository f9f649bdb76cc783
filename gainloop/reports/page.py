"""A report for people: as an HTML page, one file that opens anywhere, and as Markdown for the run's page in Prefect."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape
from matplotlib.figure import Figure as Canvas

from gainloop.reports import plots
from gainloop.reports.paragraph import list_steps, split_paragraph, write_control
from gainloop.steering.probe import describe_probe
from schemas.decision import Decision
from schemas.figure import Described, Figure, figures_of
from schemas.masking import mask, masker
from schemas.report import OF_RUN, WORDS, Cost, Counts, Money, Repetition, Report, Speed
from schemas.sections import Section
from schemas.skills import ToolTalk

TITLES: Final = {
    "knowledge": "What the model knows",
    "frontier": "Known against forgotten",
    "frontier_nats": "Surprise at the right answers against forgetting",
    "curve": "What is known by the tokens read",
    "gain": "Gain on held-out text",
    "heldout": "Loss on held-out text",
    "delta_i": "Information of each reply",
    "dependence": "What replies tell of their prompts",
    "entropy": "Information per byte",
    "absorbed": "What training absorbed of the synthetic text",
    "losses": "Dropped and quarantined, by reason",
}

CAPTIONS: Final = {
    "knowledge": "Questions answered rightly from memory; open book is with the document in front of the start model.",
    "frontier": (
        "What each arm knows against what it has forgotten, at the moments that were examined. Up and to the left is "
        "better; a gain along one line is bought with forgetting. Thin: seeds. Dotted: the batch's other trainings."
    ),
    "frontier_nats": "The same by the surprise at the right answers, which moves before choices do. Up is better.",
    "curve": "What each arm knows by the tokens that it has read. A line that still rises has not had enough.",
    "gain": "Paired text by text. Right of 0 is better than no training.",
    "heldout": (
        "Lower is better. Intervals are wide because texts differ, which the paired plot removes; where texts are too "
        "few there is none."
    ),
    "delta_i": "Nats of each reply given its prompt. A peak at 0 would be a collapsed generator.",
    "dependence": (
        "By how many prompts each reply was scored under. The truth lies between the two lines, and neither can exceed "
        "its cap."
    ),
    "entropy": "The anchors are the yardstick.",
    "absorbed": (
        "Loss on synthetic text: just before it was learnt from, and by the final model. What lies between was "
        "absorbed. The dashed line lies as far above the final loss as records held out cost more than those trained "
        "on: what of the absorbed lies below it was memorised."
    ),
    "losses": "Why replies and records are not trained on.",
}

TEXTS: Final = {"synthetic": "records", "replay": "general text for replay", "control": "unrelated text"}
ARM_TEXTS: Final = {
    "synthetic": "synthetic text",
    "baseline": "repeated documents",
    "replay_control": "unrelated text",
}
"""What the page calls a part of a mixture, and what an arm is trained on."""

BRACKETS: Final = "Numbers in brackets are 95 % intervals: the truth is likely to lie within them."

FOLDER: Final = Path(__file__).parent
OPTION: Final = re.compile(r"\(?--[a-z][\w.-]*\w")
"""An option of the command line, as a sentence names it."""


PARTS: Final[dict[str, tuple[tuple[Section, ...], tuple[str, ...]]]] = {
    "tools": ((Section.TOOLS,), ()),
    "instructions": ((Section.INSTRUCTIONS,), ()),
    "quality": ((Section.DIVERSITY, Section.FAITHFULNESS, Section.QUALITY), ()),
    "models": ((Section.GAIN, Section.MODELS), ("gain", "heldout", "absorbed")),
    "information": ((Section.INFORMATION,), ("delta_i", "dependence", "entropy")),
    "paper": ((Section.PAPER,), ()),
}
"""By part of the page: the sections of its figures, and its plots."""


class Trained(NamedTuple):
    """The checkpoint that was trained on a batch: its id, the folder, and a link to it from the page."""

    id: str
    path: str
    link: str


def render_page(
    report: Report,
    validation: str | None = None,
    decision: Decision | None = None,
    records: str | None = None,
    folder: str = "",
) -> str:
    """Return the page as HTML. All text from outside is escaped; nothing is loaded from anywhere.

    Args:
        report: Report to show.
        validation: Link to the validation results, relative to the page, or None.
        decision: Decision of the gate, or None.
        records: Link to the page of all kept records, relative to the page, or None.
        folder: Folder of the store, where checkpoints lie; empty if they are not to be named.
    """
    template, drawings = open_template("batch.html.j2"), draw(report)
    return template.render(
        report=report,
        lead=split_paragraph(report.knowledge, report.cost.completion_tokens) if report.knowledge.was_asked else (),
        control=write_control(report.knowledge),
        steps=list_steps(report, decision),
        sections=list_figures(report),
        parts=PARTS,
        words=WORDS,
        drawings=drawings,
        chosen=lambda names: [drawings[name] for name in names if name in drawings],
        costs=list_cost(report.cost),
        readings=list_readings(report),
        records=records,
        trained=find_trained(report, folder),
        names={arm: name for arm, (name, _) in plots.ARMS.items()},
        validation=validation,
        decision=decision,
        probed=describe_probe(report.probe),
    )


def find_trained(report: Report, folder: str) -> Trained | None:
    """Return the checkpoint that was trained on the batch's records; None if there is none, or no folder is named."""
    found = report.checkpoints.get("synthetic", "")
    below = f"checkpoints/{found}"
    return Trained(found, f"{folder}/{below}", f"../../{below}") if found and folder else None


def open_template(name: str, folder: Path = FOLDER) -> Template:
    """Return a template from a folder; values are escaped and masked, and it may extend a template of this folder."""
    environment = Environment(
        loader=FileSystemLoader([folder, FOLDER]),
        autoescape=True,
        finalize=partial(_shown, masker()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["brackets"] = BRACKETS
    environment.filters["whole_options"] = _with_whole_options
    return environment.get_template(name)


def _shown(mask_one: Callable[[str], str], value: Any) -> Any:
    """Return what a page shows of a value: of a text what may be seen of it."""
    return mask_one(value) if type(value) is str else value


def _with_whole_options(text: str) -> Markup:
    """Return what to do next, its options in one piece: a line that ends after their dashes reads as another word."""
    return Markup(OPTION.sub(r'<span class="option">\g<0></span>', str(escape(mask(text)))))  # noqa: S704


def list_figures(report: Report) -> dict[str, list[Described]]:
    """Return every figure of a report by the heading of its section, as its field says; no section that has none."""
    figures = figures_of(report)
    sections = {heading: [one for one in figures if one.words.section == heading] for heading in Section}
    return {heading: listed for heading, listed in sections.items() if listed}


def write_markdown(report: Report, decision: Decision | None = None) -> str:
    """Return the headline, the plot, what to do next, every figure, the ledger and the caveats as Markdown.

    Prefect shows it 600 pixels wide: three columns, and what was not measured is named once a reason.
    """
    plot = draw_image(report)
    lines = [f"**{report.headline}**", ""] + ([f"![the headline, drawn]({plot})", ""] if plot else [])
    lines += ["What to do next:", "", *(f"- {step}" for step in list_steps(report, decision)), ""]
    lines += ["| Figure | value, 95 % interval | n |", "|---|---|---:|"]
    missing: dict[str, list[str]] = {}
    for section, figures in list_figures(report).items():
        measured = [line for line in figures if line.figure.value is not None]
        lines += [f"| **{section}** | | |", *map(_as_row, measured)] if measured else []
        for line in figures:
            if line.figure.value is None:
                missing.setdefault(line.figure.status, []).append(line.words.title)
    lines += ["", *(f"- {status}: {'; '.join(titles)}" for status, titles in missing.items())]
    lines += _list_calls(report.tools) if report.tools and report.tools.calls else []
    lines += ["", "| Where every row went | |", "|---|---:|"]
    lines += [f"| {row['line']} | {row['count']:,} |" for row in list_ledger(report.counts)]
    return "\n".join([*lines, "", *(f"- {caveat}" for caveat in report.caveats)])


def list_cost(cost: Cost) -> dict[str, list[tuple[str, str, str]]]:
    """Return the known costs as (name, number, meaning), under the headings of the page."""
    of_batch: list[tuple[str, str, str]] = []
    of_run: list[tuple[str, str, str]] = []
    for name, field in Cost.model_fields.items():
        about: Any = field.json_schema_extra or {}
        if field.title and (value := getattr(cost, name)) is not None:
            line = (field.title, _as_number(value, about.get("unit", "")), field.description or "")
            (of_run if OF_RUN.items() <= about.items() else of_batch).append(line)
    return {
        "The whole batch": of_batch,
        "Training tokens": [
            (plots.ARMS.get(arm, (arm,))[0], f"{count:,}", "") for arm, count in cost.training_tokens.items()
        ],
        "Training speed": [
            (plots.ARMS.get(arm, (arm,))[0], f"{speed.tokens_per_second:,.0f} tokens/s", _about_devices(speed))
            for arm, speed in cost.training_speed.items()
        ],
        "The run that finished the batch": of_run,
        "Seconds of each stage": [(stage, f"{seconds:,.1f}", "") for stage, seconds in cost.seconds.items()],
    }


class Drawing(NamedTuple):
    """A plot as a page holds it."""

    title: str
    svg: Markup
    caption: str


def draw(report: Report) -> dict[str, Drawing]:
    """Return the plots that have something to show, by name."""
    canvases = {
        "knowledge": plots.draw_knowledge(report.knowledge),
        "frontier": plots.draw_frontier(report.knowledge, "right"),
        "frontier_nats": plots.draw_frontier(report.knowledge, "nats"),
        "curve": plots.draw_curve(report.knowledge, "nats"),
        "gain": plots.draw_gain(report.gain),
        "heldout": plots.draw_heldout(report.trainee),
        "delta_i": plots.draw_delta_i(report.delta_i),
        "dependence": plots.draw_dependence(report.mi),
        "entropy": plots.draw_entropy(report.entropy, report.delta_i.bits_per_byte),
        "absorbed": plots.draw_absorbed(report.trainee),
        "losses": plots.draw_losses(report.counts),
    }
    return {name: drawn(canvas, TITLES[name], CAPTIONS[name]) for name, canvas in canvases.items() if canvas}


def drawn(canvas: Canvas, title: str, caption: str) -> Drawing:
    """Return a plot as a page holds it."""
    return Drawing(title, Markup(plots.as_svg(canvas, title)), caption)  # noqa: S704 - matplotlib escapes the text


def list_readings(report: Report) -> list[tuple[str, Repetition]]:
    """Return how often each training read each of its texts, by what both are called."""
    found = []
    for name, read in report.repetition.items():
        arm, _, part = name.partition(", ")
        found.append((f"{TEXTS.get(part, part)}, in the training on {ARM_TEXTS.get(arm, arm)}", read))
    return found


def draw_image(report: Report) -> str:
    """Return the one plot that says most, as the data URI of a PNG; empty if there is nothing to draw."""
    canvases = {
        "knowledge": plots.draw_knowledge(report.knowledge),
        "gain": plots.draw_gain(report.gain),
        "delta_i": plots.draw_delta_i(report.delta_i),
    }
    return next((plots.as_png_uri(canvas, TITLES[name]) for name, canvas in canvases.items() if canvas), "")


def list_ledger(counts: Counts) -> list[dict[str, str | int]]:
    """Return where every anchor and record went, line by line."""
    lines = {
        "anchors with a kept record": counts.anchors_kept,
        "anchors whose records are all quarantined": counts.anchors_only_quarantined,
        "anchors with drops only": counts.anchors_only_dropped,
        "= anchors in": counts.anchors,
        "records kept": counts.kept,
        "records quarantined": counts.quarantined,
        "= records made": counts.records,
        **{f"dropped: {reason}": number for reason, number in counts.drops_by_reason.items()},
        **{f"quarantined: {reason}": number for reason, number in counts.quarantined_by_reason.items()},
    }
    return [{"line": line, "count": number} for line, number in lines.items()]


def _as_row(line: Described) -> str:
    return _row_of(line.words.title, line.figure)


def _list_calls(tools: ToolTalk) -> list[str]:
    """Return the tools of kept conversations as a table, each with the share of those that call it."""
    head = ["", "| Tool | called by, 95 % interval | n |", "|---|---|---:|"]
    return head + [_row_of(f"`{one.tool}`", one.share) for one in tools.calls]


def _row_of(name: str, figure: Figure) -> str:
    return f"| {name} | {figure.written} | {figure.n} |"


def _about_devices(speed: Speed) -> str:
    """Return what a training ran on, and the part of that which was used."""
    where = f"On {speed.processes} x {speed.device}." if speed.processes > 1 else f"On {speed.device}."
    used = "" if speed.mfu is None else f" MFU {100 * speed.mfu:.0f} %: the model's sums by the devices' peak."
    return f"{where}{used}"


def _as_number(value: int | float | Money, unit: str) -> str:
    if isinstance(value, Money):
        return _as_price(value)
    if unit == "share":
        return f"{100 * value:.0f} %"
    return f"{value:,.{0 if isinstance(value, int) or value >= 10 else 1}f}"


def _as_price(money: Money) -> str:
    return f"{money.amount:,.2f} {money.currency}" if money.amount >= 0.01 else f"less than 0.01 {money.currency}"
