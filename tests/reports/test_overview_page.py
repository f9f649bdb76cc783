"""The page over all batches, read as a browser would read it."""

import re
from pathlib import Path

import pytest

from gainloop.reports.batch import measure_batch
from gainloop.reports.overview import measure_overview
from gainloop.reports.overview_page import OF_BATCHES, list_foretold, render_overview
from schemas.overview import Overview
from schemas.profile import Gate
from schemas.report import WORDS, Report
from tests.evidence import SCRIPT, make_evidence
from tests.examined import make_examined
from tests.reports.batches import make_batch, make_store, with_exam, without_scores
from tests.reports.test_page import Reader


@pytest.fixture(scope="module")
def report() -> Report:
    return measure_batch(make_evidence(num_anchors=40))


@pytest.fixture(scope="module")
def overview(report: Report) -> Overview:
    return measure_overview(make_store(report), Gate())


@pytest.fixture(scope="module")
def html(overview: Overview) -> str:
    return render_overview(overview)


def test_every_figure_stands_there_with_interval_n_and_unit_or_says_why_not(overview: Overview, html: str) -> None:
    page = Reader(html)
    figures = [one.figures[path] for one in overview.standings for path in OF_BATCHES]
    figures += [one.gain for ranking in overview.rankings for one in ranking.recipes]
    figures += [lost.share for lost in overview.lost] + [overview.lines.noise]
    assert len(figures) > 40
    for figure in figures:
        if figure.value is None:
            assert figure.status in page.text
        else:
            assert all(part in page.text for part in (figure.number, figure.interval, figure.unit, f"n = {figure.n}"))
    for column in (*OF_BATCHES.values(), *(WORDS[ranking.figure] for ranking in overview.rankings)):
        assert column.meaning in page.text
        assert "Healthy: " in column.meaning


def test_the_units_on_the_page_are_those_of_the_figures(overview: Overview) -> None:
    for path, words in OF_BATCHES.items():
        assert {one.figures[path].unit for one in overview.standings} == {words.unit}
    for ranking in overview.rankings:
        assert {one.gain.unit for one in ranking.recipes} == {WORDS[ranking.figure].unit}


def test_the_page_says_by_which_exam_recipes_are_ranked_and_what_is_foretold(report: Report) -> None:
    examined = measure_batch(make_evidence(num_anchors=40, examined=(make_examined(),)))
    batches = [with_exam(make_batch(examined, number), "a" if number < 6 else "b", 1.0 * number) for number in range(8)]
    page = Reader(render_overview(measure_overview([*batches, make_batch(report, 8)], Gate())))
    for said in (
        "By exam a, by choosing among options",
        "By exam b, by choosing among options",
        "By no exam",
        "what different exams found cannot be compared",
        "against the gain by exam a, by choosing among options (knowledge gained over repeating)",
        ", exam b",
    ):
        assert said in page.text
    assert "By held-out text" not in page.text
    alone = Reader(render_overview(measure_overview([make_batch(report, 8)], Gate()))).text
    assert "By held-out text" in alone
    assert "No batch has an exam, so that held-out text ranks." in alone


def test_each_batch_is_linked_and_nothing_comes_from_the_network(overview: Overview, html: str) -> None:
    page = Reader(html)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    pages = [f"{one.batch}/report.html" for one in overview.standings]
    assert [link for link in page.links if not link.startswith("#")] == [*pages, "index.json"]


def test_the_plots_name_quadrants_and_write_the_correlation(overview: Overview, html: str) -> None:
    assert html.count("<svg") == 4 + 1 + 4  # trends, quadrants, predictors
    for name in ("collapsed", "noisy", "prompt ignored", "none of these"):
        assert f">{name}</text>" in html
    for one in list_foretold(overview):
        found = one.correlation
        assert found.n == 6
        assert f"rank correlation {found.signed} {found.interval}, 6 batches" in html


def test_whatever_a_field_calls_a_predictor_is_on_the_page_with_its_correlation_or_the_reason(
    overview: Overview, html: str
) -> None:
    page = Reader(html)
    assert {one.predictor for one in overview.foretold} == {
        path for path, words in WORDS.items() if words.predicts and path != "gain.advantage"
    }
    for one in overview.foretold:
        assert WORDS[one.predictor].title in page.text
        shown = one.correlation.signed if one.correlation.value is not None else one.correlation.status[1:]
        assert shown in page.text


def test_with_fewer_than_five_batches_nothing_is_foretold_and_the_page_says_why(report: Report) -> None:
    page = Reader(render_overview(measure_overview(make_store(report)[:4], Gate())))
    assert page.tags.count("svg") == 4 + 1
    (said,) = re.findall(r"Cannot tell: 4 batches have it; at least 5 are needed: (.*)\.", page.text)
    assert {"Delta I per byte", "I(p; Y) / log P", "New wording"} < set(said.split(" · "))


@pytest.mark.parametrize("gain", [0.01, None])
def test_a_single_batch_has_a_page_with_a_quadrant_and_no_trend(report: Report, gain: float | None) -> None:
    page = Reader(render_overview(measure_overview([make_batch(report, 1, gain)], Gate())))
    assert page.tags.count("svg") == 1
    assert "A trend takes two batches." in page.text
    assert "no interval: one group of rows" in page.text
    assert gain is not None or "not measured: no training yet" in page.text


def test_where_no_output_was_scored_the_quadrants_are_not_drawn_and_the_page_says_so(report: Report) -> None:
    page = Reader(render_overview(measure_overview(without_scores(make_store(report)[:3]), Gate())))
    assert "Not drawn: no batch has both Delta I and I(p; Y)." in page.text
    assert "not measured: no output was scored" in page.text
    assert page.tags.count("svg") == 3


def test_a_store_without_reports_has_a_page_that_lists_its_batches(report: Report) -> None:
    page = Reader(render_overview(measure_overview(make_store(report)[7:], Gate())))
    assert "No batch of this store was measured yet." in page.text
    assert "measured by an earlier version: run the flow report again" in page.text
    assert "not generated to the end: run the flow generate again" in page.text


def test_text_from_outside_is_shown_and_never_run(report: Report) -> None:
    hostile = [make_batch(report, number, model=f"{SCRIPT}{number}") for number in range(2)]
    for batch in hostile:
        batch.drops[SCRIPT] = 3
    page = Reader(render_overview(measure_overview(hostile, Gate())))
    assert not {"script", "i"} & set(page.tags)
    assert page.text.count(SCRIPT) > 4


def test_the_same_batches_give_the_same_page(overview: Overview, html: str) -> None:
    assert render_overview(Overview.model_validate_json(overview.model_dump_json())) == html


def test_no_word_of_the_page_runs_past_its_side(html: str, tmp_path: Path) -> None:
    from tests.browser import open_page

    (tmp_path / "index.html").write_text(html)
    with open_page((tmp_path / "index.html").as_uri()) as page:
        for width, media in ((1280, "screen"), (390, "screen"), (720, "print")):
            page.emulate_media(media=media)
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_vetoes_that_are_switched_off_draw_no_line_and_the_page_says_so(report: Report) -> None:
    off = Gate(prompt_ignored=None, noise=None, collapsed_share=None)
    html = render_overview(measure_overview(make_store(report), off))
    assert html.count("witched off in the profile") == 3
