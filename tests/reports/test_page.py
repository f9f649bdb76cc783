"""The page of a made-up batch, read as a browser would read it."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from gainloop.measures.entropy import NOT_ASKED
from gainloop.reports.batch import measure_batch
from gainloop.reports.page import (
    draw,
    draw_image,
    list_cost,
    list_figures,
    list_ledger,
    list_readings,
    render_page,
    write_markdown,
)
from gainloop.reports.paragraph import list_steps
from gainloop.steering.gate import decide
from schemas.figure import Figure, ReportPart
from schemas.profile import Gate
from schemas.report import WORDS, Cost, Money, Report
from schemas.sections import Section
from tests.evidence import SCRIPT, make_evidence, without_logprobs
from tests.examined import make_examined

AT = datetime(2026, 11, 26, tzinfo=UTC)
COUNTED = ("num_anchors", "num_heldout", "num_bytes")


class Reader(HTMLParser):
    """Collects what a browser would show, and the tags it would act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def report() -> Report:
    return measure_batch(make_evidence(synthetic_gain=0.061, examined=(make_examined(),)))


@pytest.fixture(scope="module")
def page(report: Report) -> Reader:
    return Reader(render_page(report, "validation/index.html"))


def test_the_headline_comes_first_below_the_name_of_the_batch(report: Report) -> None:
    _, body = render_page(report).split("<body>")
    shown = [line for line in Reader(body).text.splitlines() if line]
    assert [shown[0], " ".join(shown[1:3])] == [
        "Batch 5f0c2a9e71b34d68, measured 2026-11-21 12:30 UTC",
        report.headline,
    ]
    without = measure_batch(make_evidence(num_anchors=24))
    _, body = render_page(without).split("<body>")
    assert [line for line in Reader(body).text.splitlines() if line][1] == without.headline


def test_the_page_begins_with_the_exam_then_what_to_do_then_the_questions(report: Report) -> None:
    html = render_page(report)
    marks = ["<h1>", "<svg", "What to do next</h2>", "At which depth does buoy", "Ledger</h2>", "Text quality</h2>"]
    marks += ["Information</h2>", "Paper</h2>"]
    places = [html.index(mark) for mark in marks]
    assert places == sorted(places)
    assert report.headline.startswith(f"The model answers {report.knowledge.after.value:.0f} % [")


def test_no_line_end_cuts_the_option_of_a_step_in_two(report: Report) -> None:
    page = render_page(report)
    named = re.findall(r"\(?--[a-z.-]+[a-z]", " ".join(list_steps(report)))
    assert named
    assert all(f'<span class="option">{option}</span>' in page for option in named)


def test_an_arm_has_one_name_and_a_new_reader_is_told_what_brackets_are(report: Report) -> None:
    page = Reader(render_page(report)).text
    for other in ("matched baseline", "replay control", "unrelated text instead"):
        assert other not in page
    assert page.count("Numbers in brackets are 95 % intervals: the truth is likely to lie within them.") == 1


def test_the_gate_says_its_state_once(report: Report) -> None:
    decision = decide(report, Gate(), [], {}, "measured", AT)
    page = render_page(report, decision=decision)
    assert f"The gate: {decision.state}</h3>\n<p>Knowledge gained over repeating " in page


def test_the_contents_lead_to_headings_that_are_there(report: Report) -> None:
    for one in (report, measure_batch(make_evidence())):
        html = render_page(one)
        targets = [link for link in Reader(html).links if link.startswith("#") and "clip" not in link]
        wanted = {target for target in targets if f'href="{target}">' in html}
        assert len(wanted) >= 9
        assert all(f'id="{target[1:]}"' in html for target in wanted)


def test_every_question_stands_on_the_page_with_what_was_said_before_and_after(page: Reader, report: Report) -> None:
    for row in report.knowledge.answers:
        for shown in (row.question, row.answer, row.before, row.after):
            assert shown in page.text
    missing = any(row.missing for row in report.knowledge.missing)
    assert page.tags.count("summary") == 1 + len({row.state for row in report.knowledge.answers}) + missing


def test_rows_of_the_exam_that_fit_no_document_stand_on_the_page() -> None:
    asked = measure_batch(make_evidence(num_anchors=24, examined=(make_examined(drops={"no_document": 2}),)))
    assert "Besides, 2 rows of its files fit no document." in Reader(render_page(asked)).text


def test_the_page_names_the_corpus() -> None:
    source = {"source": json.dumps({"kind": "files", "paths": ["handbook"]})}
    named = measure_batch(make_evidence(snapshot=source | {"num_anchors": 120, "num_heldout": 6, "num_bytes": 21_000}))
    text = Reader(render_page(named)).text
    assert "Batch 5f0c2a9e71b34d68 of files handbook, measured" in text
    assert f"{named.corpus.snapshot}: 120 anchors, 6 of them held out, 21,000 bytes" in text


def test_every_figure_stands_on_the_page_with_value_interval_unit_and_definition(report: Report, page: Reader) -> None:
    for _, words, figure in (line for section in list_figures(report).values() for line in section):
        for shown in (words.title, figure.number, figure.interval, figure.unit, words.meaning, figure.definition):
            assert shown in page.text
        assert words.healthy is None or f"{words.title}{words.healthy} is better" in page.text


def figures_within(part: ReportPart) -> list[Figure]:
    """Return every figure of a report, found by what it is and not by its words; those of curves are drawn alone."""
    values = [value for _, value in part]
    return [value for value in values if isinstance(value, Figure)] + [
        figure
        for value in values
        if isinstance(value, ReportPart) and not isinstance(value, Figure)
        for figure in figures_within(value)
    ]


def test_every_figure_of_the_report_is_on_the_page_and_in_the_markdown_once(report: Report) -> None:
    lines = [line for section in list_figures(report).values() for line in section]
    assert sorted(map(str, figures_within(report))) == sorted(str(line.figure) for line in lines)
    of_skills = [path for path in WORDS if path.startswith(("tools.", "instructions."))]  # this batch teaches none
    assert len(lines) == len(WORDS) - len(of_skills) > 60
    markdown = write_markdown(report)
    for line in lines:
        measured = markdown.count(f"| {line.words.title} | ")
        named = _named(markdown, line.figure.status).count(line.words.title)
        assert (measured, named) == ((1, 0) if line.figure.value is not None else (0, 1)), line.words.title


def _named(markdown: str, status: str) -> list[str]:
    """Return the titles that the Markdown names for a reason why a figure was not measured."""
    found = [line for line in markdown.splitlines() if line.startswith(f"- {status}: ")]
    return found[0].removeprefix(f"- {status}: ").split("; ") if status and found else []


def test_no_section_of_the_page_is_empty_and_no_title_comes_twice(report: Report) -> None:
    assert set(list_figures(report)) == set(Section) - {Section.TOOLS, Section.INSTRUCTIONS}
    titles = [words.title for words in WORDS.values()]
    assert len(set(titles)) == len(titles)


def test_the_unit_of_a_field_is_that_of_its_figure(report: Report) -> None:
    for one in (report, measure_batch(without_logprobs(make_evidence()))):
        for path, words, figure in (line for section in list_figures(one).values() for line in section):
            assert figure.unit == words.unit, path


def test_the_page_asks_nothing_of_the_network_and_runs_nothing(page: Reader) -> None:
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert all(
        link.startswith("#") or link in ("report.json", "validation/index.html", "../index.html") for link in page.links
    )


def test_text_from_outside_is_shown_and_never_run() -> None:
    evidence, exam = make_evidence(), make_examined()
    hostile = {
        "records": evidence.records.with_columns(text=pl.lit(SCRIPT), facet=pl.lit(SCRIPT)),
        "anchors": evidence.anchors.with_columns(text=pl.lit(SCRIPT), title=pl.lit(SCRIPT)),
        "drops": evidence.drops.with_columns(reason=pl.lit(SCRIPT)),
        "recipe": evidence.recipe | {"model": SCRIPT},
        "snapshot": {"source": json.dumps({"kind": "files", "paths": [SCRIPT]}), **dict.fromkeys(COUNTED, 7)},
        "examined": (
            replace(exam, questions=exam.questions.with_columns(question=pl.lit(SCRIPT), title=pl.lit(SCRIPT))),
        ),
    }
    page = Reader(render_page(measure_batch(replace(evidence, **hostile))))
    assert not {"script", "i"} & set(page.tags)
    assert page.text.count(SCRIPT) > 10


def test_the_page_is_no_wider_than_its_window_however_long_the_reason_for_no_interval(
    report: Report, tmp_path: Path
) -> None:
    from tests.browser import open_page

    few = "too few: one of 2 groups of rows holds 74% of the weight; no interval from it"
    trainee = report.trainee.model_copy(
        update={
            name: figure.model_copy(update={"low": None, "high": None, "status": few})
            for name, figure in report.trainee
            if isinstance(figure, Figure) and figure.value is not None
        }
    )
    (tmp_path / "report.html").write_text(render_page(report.model_copy(update={"trainee": trainee})))
    with open_page((tmp_path / "report.html").as_uri()) as page:
        for width in (1280, 970, 800, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_plots_follow_the_colours_of_the_page(report: Report) -> None:
    html = render_page(report)
    plots = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(plots) == 11
    assert sum("thousand tokens read" in plot for plot in plots) == 1, "what each arm knows, along its run"
    assert all("var(--muted)" in plot and "aria-label=" in plot for plot in plots)
    assert not re.findall(r"(?:fill|stroke): #(?!ffffff)[0-9a-f]{6}", "".join(plots))


def test_the_same_report_gives_the_same_page(report: Report) -> None:
    assert render_page(report) == render_page(report)


def test_what_was_not_measured_says_why_and_leaves_no_empty_plot() -> None:
    evidence = make_evidence()
    untrained = replace(
        evidence, scores={}, checkpoints={}, summaries={k: v for k, v in evidence.summaries.items() if k != "train"}
    )
    page = Reader(render_page(measure_batch(untrained)))
    assert "not measured: no model was trained on this batch yet" in page.text
    assert page.tags.count("svg") == 4
    assert "validation/index.html" not in page.links


def test_a_batch_without_logprobs_has_a_page_without_a_plot_of_them() -> None:
    for num_replies in (None, 120):
        report = measure_batch(without_logprobs(make_evidence(), num_replies))
        page = Reader(render_page(report))
        assert page.text.count(report.delta_i.median.status) >= 4
        assert report.caveats[0] in page.text
        assert page.tags.count("svg") == 5  # neither Delta I nor what depends on prompts
    assert draw_image(report)
    assert NOT_ASKED in Reader(render_page(measure_batch(without_logprobs(make_evidence())))).text


def test_the_cost_says_in_words_what_each_number_is(report: Report, page: Reader) -> None:
    lines = [line for lines in list_cost(report.cost).values() for line in lines]
    assert all(part in page.text for line in lines for part in line)
    shown = {name: number for name, number, _ in lines}
    assert shown["price of these tokens"] == "0.07 USD"
    assert shown["prompt tokens found in the servers' prefix cache"] == "62 %"
    assert (shown["retries"], shown["refusals"], shown["hedges"]) == ("5", "11", "1")
    speeds = {number: about for _, number, about in list_cost(report.cost)["Training speed"]}
    assert speeds == {
        "48,200 tokens/s": "On 2 x NVIDIA H100 80GB HBM3. MFU 41 %: the model's sums by the devices' peak.",
        "310 tokens/s": "On cpu.",
    }


def test_a_cost_that_was_not_told_leaves_no_line_and_no_empty_table(report: Report) -> None:
    untold = {name: None for name, field in Cost.model_fields.items() if not field.is_required()}
    cost = report.cost.model_copy(update=untold | {"training_tokens": {}, "training_speed": {}})
    page = Reader(render_page(report.model_copy(update={"cost": cost})))
    assert not [word for word in ("refusals", "prefix cache", "price", "None", "Training tokens") if word in page.text]
    assert "The run that finished" not in page.text
    assert "81,234" in page.text


@pytest.mark.parametrize(("amount", "shown"), [(1234.5, "1,234.50 USD"), (0.01, "0.01 USD"), (0.004, "less than 0.01")])
def test_a_price_is_never_shown_as_nothing(report: Report, amount: float, shown: str) -> None:
    cost = report.cost.model_copy(update={"money": Money(amount=amount, currency="USD")})
    assert any(number.startswith(shown) for _, number, _ in list_cost(cost)["The whole batch"])


def test_every_plot_has_a_title_and_every_image_too(report: Report) -> None:
    for title, svg, caption in draw(report).values():
        assert title
        assert f'aria-label="{title}"' in svg
        assert f"<figure><h3>{title}</h3><svg" in render_page(report)
        assert not caption.startswith(title)


def test_the_page_says_where_the_trained_model_lies_and_how_to_load_it(report: Report) -> None:
    (name,) = {one for role, one in report.checkpoints.items() if role.startswith("synthetic")}
    told = Reader(render_page(report, folder="/srv/data")).text
    assert f'AutoModelForCausalLM.from_pretrained("/srv/data/checkpoints/{name}")' in told
    assert f"--start.model {name}" in told
    assert f"../../checkpoints/{name}" in Reader(render_page(report, folder="/srv/data")).links
    assert "from_pretrained" not in render_page(report)
    assert "records.html" in Reader(render_page(report, records="records.html")).links


def test_the_page_has_no_empty_table_and_names_texts_in_words(report: Report) -> None:
    counts = report.counts.model_copy(update={"quarantined_by_reason": {}})
    html = render_page(report.model_copy(update={"counts": counts}))
    assert "Quarantined by reason" not in html
    assert not re.search(r"<caption>[^<]*</caption>\s*</table>", html)
    for name, _ in list_readings(report):
        assert name in html
        assert not re.search(r"synthetic, |baseline, |replay_control", name)
    assert {name for name, _ in list_readings(report)} or not report.repetition


def test_the_ledger_adds_up_line_by_line(report: Report) -> None:
    lines = {line["line"]: int(line["count"]) for line in list_ledger(report.counts)}
    anchors = [number for line, number in lines.items() if line.startswith("anchors")]
    assert sum(anchors) == lines["= anchors in"]
    assert lines["records kept"] + lines["records quarantined"] == lines["= records made"]


def test_the_image_is_a_png_that_a_page_can_hold(report: Report, caplog: pytest.LogCaptureFixture) -> None:
    uri = draw_image(report)
    assert uri.startswith("data:image/png;base64,iVBOR")
    assert len(uri) < 200_000
    assert "font" not in caplog.text, "matplotlib has no font of a weight that is asked for"
