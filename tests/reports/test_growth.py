"""The plot of the curve of knowledge: something to see, or nothing."""

import numpy as np

from gainloop.reports.plots import as_svg, draw_growth
from gainloop.steering.curve import fit_curve

RNG = np.random.default_rng(0)
DOCUMENTS = np.repeat(np.arange(12), 4)
TABLES = {
    tokens: (RNG.uniform(size=(2, 48)) < share).astype(float)
    for tokens, share in ((0, 0.2), (25_000, 0.3), (50_000, 0.4), (100_000, 0.5))
}


def test_the_plot_has_the_start_the_points_and_what_is_foretold() -> None:
    canvas = draw_growth(fit_curve(TABLES, DOCUMENTS))
    assert canvas
    svg = as_svg(canvas, "What is known by the synthetic text")
    for text in (
        "none",
        "25k",
        "50k",
        "100k",
        "200k",
        "tokens of synthetic text",
        "shaded: foretold at twice the text",
    ):
        assert f">{text}<" in svg


def test_points_without_a_line_are_shown_and_one_point_is_no_plot() -> None:
    few = fit_curve({tokens: TABLES[tokens] for tokens in (0, 25_000)}, DOCUMENTS)
    canvas = draw_growth(few)
    assert canvas
    assert "foretold" not in as_svg(canvas, "What is known by the synthetic text")
    assert draw_growth(fit_curve({25_000: TABLES[25_000]}, DOCUMENTS)) is None
    assert draw_growth(fit_curve({0: TABLES[0]}, DOCUMENTS)) is None
