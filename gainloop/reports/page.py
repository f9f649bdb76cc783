"""The HTML page of a report: everything a reader needs, in one file that opens anywhere."""

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from gainloop.reports import plots
from gainloop.reports.figure_lines import list_figures
from schemas.decision import Decision
from schemas.report import Cost, Counts, Money, Report

CAPTIONS: Final = {
    "gain": "Gain on held-out text, paired text by text. Right of 0 is better than no training.",
    "heldout": "Loss on held-out text. The intervals are wide because texts differ; the paired plot removes that.",
    "delta_i": "Nats of each reply given its prompt. A peak at 0 would be a collapsed generator.",
    "dependence": (
        "What replies tell of their prompts, by how many prompts each was scored under. The truth lies between the "
        "two lines, and neither can exceed its cap."
    ),
    "entropy": "Information per byte. The anchors are the yardstick.",
    "absorbed": (
        "Loss on synthetic text: just before it was learnt from, and by the final model. What lies between was "
        "absorbed. The dashed line lies as far above the final loss as records held out cost more than those trained "
        "on: what of the absorbed lies below it was memorised."
    ),
    "losses": "Why replies and records are not trained on.",
}

# What the run that finished a batch did to get its replies, in words for someone who never ran a server.
SENDING: Final = {
    "requests_sent": ("requests sent", "Every attempt counts. What an earlier run had answered is not asked again."),
    "retries": ("retries", "Sent again after a fault, such as a lost connection."),
    "refusals": ("refusals", "A full server said no, and the request waited for room. Nothing is lost by it."),
    "hedges": ("hedges", "A reply took far too long, so the request was sent a second time; the first reply counts."),
}

FOLDER: Final = Path(__file__).parent


def render_page(report: Report, validation: str | None = None, decision: Decision | None = None) -> str:
    """Return the page as HTML. All text from outside is escaped; nothing is loaded from anywhere.

    Args:
        report: What to show.
        validation: Where the validation results lie, relative to the page; no link if empty.
        decision: What the gate says of it, if it was asked.
    """
    template = open_template("batch.html.j2")
    return template.render(
        report=report,
        sections=list_figures(report),
        drawings=draw(report),
        costs=list_cost(report.cost),
        validation=validation,
        decision=decision,
    )


def open_template(name: str, folder: Path = FOLDER) -> Template:
    """Return a page's template from a folder; what it is given is escaped. It may extend one of this folder's."""
    environment = Environment(
        loader=FileSystemLoader([folder, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def list_cost(cost: Cost) -> dict[str, list[tuple[str, str, str]]]:
    """Return what a batch took as (name, number, meaning), by what it is of; what was not told is left out."""
    return {
        "The whole batch": _list_batch(cost),
        "Training tokens": [(name, f"{count:,}", "") for name, count in cost.training_tokens.items()],
        "The run that finished the batch": _list_run(cost),
        "Seconds of each stage": [(stage, f"{seconds:,.1f}", "") for stage, seconds in cost.seconds.items()],
    }


def draw(report: Report) -> list[tuple[Markup, str]]:
    """Return the plots that have something to show, each with its caption."""
    canvases = {
        "gain": plots.draw_gain(report.gain),
        "heldout": plots.draw_heldout(report.trainee),
        "delta_i": plots.draw_delta_i(report.delta_i),
        "dependence": plots.draw_dependence(report.mi),
        "entropy": plots.draw_entropy(report.entropy, report.delta_i.bits_per_byte),
        "absorbed": plots.draw_absorbed(report.trainee),
        "losses": plots.draw_losses(report.counts),
    }
    return [drawn(canvas, CAPTIONS[name]) for name, canvas in canvases.items() if canvas]


def drawn(canvas: Canvas, caption: str) -> tuple[Markup, str]:
    """Return a plot as a page holds it, with its caption."""
    return Markup(plots.as_svg(canvas, caption)), caption  # noqa: S704 - matplotlib escapes the text in it


def draw_image(report: Report) -> str:
    """Return the one plot that says most, as the data URI of a PNG; empty if there is nothing to draw."""
    canvas = plots.draw_gain(report.gain) or plots.draw_delta_i(report.delta_i)
    return plots.as_png_uri(canvas) if canvas else ""


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


def _list_batch(cost: Cost) -> list[tuple[str, str, str]]:
    lines = [
        ("prompt tokens", f"{cost.prompt_tokens:,}", ""),
        ("completion tokens", f"{cost.completion_tokens:,}", "Of all replies, those that were dropped too."),
    ]
    if cost.accepted_tokens is not None:
        lines.append(("of them, accepted", f"{cost.accepted_tokens:,}", "Of the kept records: what may be trained on."))
    if cost.scoring_tokens is not None:
        lines.append(("tokens read to score outputs", f"{cost.scoring_tokens:,}", "Under prompts that are not theirs."))
    if cost.judging_tokens is not None:
        price = f", {_as_price(cost.judging_money)}" if cost.judging_money else ""
        lines.append(("tokens of the judge", f"{cost.judging_tokens:,}{price}", "Prompts and verdicts together."))
    if cost.money:
        lines.append(("price of these tokens", _as_price(cost.money), "At the prices that the profile gives."))
    if cost.retried_replies is not None:
        lines.append(("replies that took several attempts", f"{cost.retried_replies:,}", ""))
    return lines


def _list_run(cost: Cost) -> list[tuple[str, str, str]]:
    told = {key: getattr(cost, key) for key in SENDING}
    lines = [(name, f"{told[key]:,}", meaning) for key, (name, meaning) in SENDING.items() if told[key] is not None]
    if cost.tokens_per_second:
        speed = f"{cost.tokens_per_second:,.{0 if cost.tokens_per_second >= 10 else 1}f}"
        lines.append(("completion tokens per second", speed, "Over the whole run, all servers together."))
    if cost.cache_hit_rate is not None:
        meaning = "The servers had read the same beginning before, and did not read it again."
        share = f"{100 * cost.cache_hit_rate:.0f} %"
        lines.append(("prompt tokens found in the servers' prefix cache", share, meaning))
    return lines


def _as_price(money: Money) -> str:
    return f"{money.amount:,.2f} {money.currency}" if money.amount >= 0.01 else f"less than 0.01 {money.currency}"
