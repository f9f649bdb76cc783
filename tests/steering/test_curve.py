"""The curve of knowledge where the truth is known: published constants, invented documents, and too little to tell."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from gainloop.measures.estimate import ALL_ALIKE
from gainloop.measures.growth import Growth
from gainloop.steering.curve import fit_curve
from schemas.curve import Curve
from schemas.figure import words_of

Tables = dict[int, NDArray[np.float64]]

PUBLISHED = {
    0: 38.31,
    1: 42.92,
    3: 44.66,
    10: 48.03,
    30: 50.84,
    100: 52.15,
    200: 53.44,
    300: 54.60,
    455: 56.16,
    600: 57.40,
    1000: 59.95,
    2000: 63.02,
}
"""Right answers, in per cent, by million synthetic tokens, of the constants that Yang et al. 2024 print."""

MILLION = 1_000_000
SIZES = np.tile([1, 2, 3, 5, 8, 13], 5)
"""Questions of each invented document."""

EIGHT = [25_000 * 2**power for power in range(8)]


def published(millions: float) -> float:
    return float(64.55 - 13.84 * 0.9989**millions - 8.47 * 0.8961**millions - 3.93 * 0.0546**millions)


def alike(right: dict[int, float]) -> Curve:
    """Return the curve of documents that are alike but for a millionth: nothing but the points themselves moves it."""
    rng = np.random.default_rng(7)
    return fit_curve(
        {tokens: share / 100 + rng.normal(0, 1e-6, (1, 24)) for tokens, share in right.items()}, np.arange(24) // 2
    )


def draw_exam(
    rng: np.random.Generator,
    tokens: list[int],
    right: Callable[[float], float],
    num_seeds: int = 3,
    sizes: NDArray[np.int_] = SIZES,
) -> tuple[Tables, NDArray[np.int_]]:
    """Return answers and documents: some know more and learn faster, questions stay hard, each training is its own."""
    documents = np.repeat(np.arange(len(sizes)), sizes)
    level, pace = (rng.normal(middle, spread, len(sizes))[documents] for middle, spread in ((0, 0.12), (1, 0.5)))
    hard = rng.uniform(size=len(documents))
    tables = {}
    for number in tokens:
        chance = right(tokens[0]) + level + (right(number) - right(tokens[0])) * pace
        is_same = rng.uniform(size=(num_seeds, len(documents))) < 0.6
        drawn = np.where(is_same, hard, rng.uniform(size=is_same.shape))
        tables[number] = (drawn < chance + rng.normal(0, 0.015, (num_seeds, 1))).astype(float)
    return tables, documents


def line(tokens: float) -> float:
    return 0.4 + 0.04 * math.log(tokens / 25_000)


def levelling(tokens: float) -> float:
    return 0.55 - 0.2 * math.exp(-tokens / 400_000)


def test_without_noise_the_published_constants_come_back() -> None:
    for millions, share in PUBLISHED.items():
        assert published(millions) == pytest.approx(share, abs=0.006)
    found = alike({millions * MILLION: published(millions) for millions in PUBLISHED})

    assert found.num_terms == 3
    assert found.plateau.value == pytest.approx(64.55, abs=0.01)
    assert found.forecast.value == pytest.approx(published(4000), abs=0.01)
    assert found.one_more.value is not None
    assert published(2000 + found.one_more.value / MILLION) == pytest.approx(published(2000) + 1, abs=0.01)
    mixture = Growth(np.array([1, 3, 10, 30, 100.0]), np.array([*map(published, (1, 3, 10, 30, 100))]), np.ones(5))
    assert mixture.choose() is None, "five points are too few for any exponential"
    fitted = Growth(np.array([*PUBLISHED][1:]), np.array([*map(published, [*PUBLISHED][1:])]), np.ones(11)).fit(3)
    assert fitted.at([*PUBLISHED]) == pytest.approx([*PUBLISHED.values()], abs=0.01), "the start is foretold too"


def test_with_noise_the_slope_stays_and_the_plateau_is_not_identified() -> None:
    """Yang et al.'s own scale of noise, 0.3 points: free fits of C reach from 57 to 16,700 here."""
    rng, millions = np.random.default_rng(0), np.geomspace(1, 455, 10)
    right = np.array([*map(published, millions)])
    rows = Growth(millions, right, np.ones(10)).slope_row()
    slopes = [float((right + rng.normal(0, 0.3, 10)) @ rows) for _ in range(100)]
    low, high = np.quantile(slopes, [0.025, 0.975])
    assert 2.0 < low < high < 2.22

    told = 0
    for _ in range(50):
        growth = Growth(millions, right + rng.normal(0, 0.3, 10), np.ones(10))
        mixture = growth.choose()
        told += mixture is not None and growth.profile(mixture) is not None
    assert told <= 5


def test_a_plateau_that_was_reached_is_identified_and_covered() -> None:
    rng, tokens = np.random.default_rng(0), np.array(EIGHT + [power * 75_000 for power in (1, 4, 16, 32)], dtype=float)
    tokens.sort()
    told = covered = 0
    for _ in range(30):
        right = np.array([100 * levelling(number) for number in tokens]) + rng.normal(0, 0.8, len(tokens))
        growth = Growth(tokens, right, np.ones(len(tokens)))
        mixture = growth.choose()
        ends = growth.profile(mixture) if mixture else None
        told += ends is not None
        covered += ends is not None and ends[0] <= 55 <= ends[1]
    assert told >= 28
    assert covered >= 0.9 * told


def test_the_plateau_of_an_exam_has_an_interval_over_its_documents() -> None:
    tables, documents = draw_exam(
        np.random.default_rng(6), [*EIGHT, 51_200_000 // 8], levelling, sizes=np.tile(SIZES, 2)
    )
    found = fit_curve(tables, documents)
    assert found.num_terms == 1
    assert found.plateau.low is not None
    assert found.plateau.high is not None
    assert found.plateau.low < 55 < found.plateau.high
    assert found.plateau.high - found.plateau.low > 5, "other documents have another plateau"
    assert "it levels off at" in found.sentence
    assert found.one_more.value is None


def test_a_line_seldom_passes_for_a_plateau() -> None:
    rng, tokens = np.random.default_rng(0), np.array(EIGHT, dtype=float)
    right = np.array([100 * line(number) for number in EIGHT])
    chosen = [Growth(tokens, right + rng.normal(0, 0.8, 8), np.ones(8)).choose() is not None for _ in range(50)]
    assert sum(chosen) <= 5


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_intervals_cover_slope_and_forecast_where_documents_are_unequal(num_seeds: int) -> None:
    rng, tokens, covered, widths = np.random.default_rng(0), EIGHT[:5], np.zeros(2), []
    for _ in range(200):
        found = fit_curve(*draw_exam(rng, tokens, line, num_seeds))
        truths = (found.slope, 4.0), (found.forecast, 100 * line(2 * tokens[-1]))
        covered += [float(figure.low or 0) <= truth <= float(figure.high or 0) for figure, truth in truths]
        widths.append(float(found.slope.high or 0) - float(found.slope.low or 0))
    assert (covered >= 0.9 * 200).all()
    assert np.mean(widths) < {1: 7, 3: 5.5}[num_seeds], "more seeds tell more"


def test_a_flat_curve_cannot_tell_how_many_tokens_a_point_takes() -> None:
    found = fit_curve(*draw_exam(np.random.default_rng(1), EIGHT[:4], lambda _: 0.4))
    assert found.slope.low is not None
    assert found.slope.high is not None
    assert found.slope.low < 0 < found.slope.high
    assert found.one_more.value is None
    assert found.one_more.status.startswith("cannot tell")
    assert found.sentence.startswith("We cannot tell whether more synthetic text adds anything")
    assert "one more point" not in found.sentence
    assert found.forecast.low is not None


@pytest.mark.parametrize("gain", [0, 2], ids=["nothing", "the same in each"])
def test_documents_that_move_alike_do_not_say_how_far_another_would_move(gain: int) -> None:
    """Of each document an eighth of the answers changes places at every point: no two points have the same answers."""
    tables = {}
    for place, tokens in enumerate(EIGHT[:3]):
        of_one = np.roll(np.arange(16) < 3 + gain * place, place)
        tables[tokens] = np.tile(of_one, 2)[None].astype(float)
    found = fit_curve(tables, np.arange(32) // 16)
    assert found.slope.value == pytest.approx(100 * gain / 16 / math.log(2), abs=1e-9)
    assert (found.slope.low, found.slope.high, found.slope.status) == (None, None, ALL_ALIKE)
    assert (found.forecast.low, found.one_more.value) == (None, None)
    assert "[" not in found.sentence


def test_documents_that_differ_and_gain_alike_have_levels_with_intervals_and_no_slope_with_one() -> None:
    tables = {
        tokens: np.concatenate([np.arange(16) < known + 2 * place for known in (1, 9)])[None].astype(float)
        for place, tokens in enumerate(EIGHT[:3])
    }
    found = fit_curve(tables, np.arange(32) // 16)
    assert found.points[0].right.low is not None
    for figure in (found.slope, found.forecast):
        assert figure.value is not None
        assert (figure.low, figure.high, figure.status) == (None, None, ALL_ALIKE)


def test_what_has_no_upper_end_or_reaches_all_questions_is_not_taken_for_alike() -> None:
    rng, ended = np.random.default_rng(9), 0
    for _ in range(150):
        right = rng.uniform(0.3, 0.97)
        found = fit_curve(*draw_exam(rng, EIGHT[:3], lambda tokens, right=right: right + (line(tokens) - 0.4) / 2, 1))
        assert found.slope.low is not None
        assert all(place.low is not None for place in found.line)
        assert found.forecast.low is not None
        if found.one_more.value is not None:
            assert found.one_more.low is not None
            assert math.isfinite(found.one_more.high or math.inf)
        ended += found.one_more.status.endswith("with no upper end")
        assert ALL_ALIKE not in (found.one_more.status, found.forecast.status)
    assert ended, "one of them has no upper end"


def test_text_that_does_harm_has_no_number_of_tokens_for_a_point() -> None:
    found = alike({tokens: 40 - 2 * place for place, tokens in enumerate(EIGHT[:4])})
    assert found.slope.value == pytest.approx(-2 / math.log(2), abs=1e-3)
    assert found.one_more.status == "not measured: more tokens lower what is known"


def test_the_sentence_says_what_a_reader_can_do_with_it() -> None:
    found = fit_curve(*draw_exam(np.random.default_rng(3), EIGHT[:4], line, sizes=np.tile(SIZES, 8)))
    doubling, more = math.log(2) * float(found.slope.value or 0), found.one_more
    assert doubling == pytest.approx(100 * 0.04 * math.log(2), abs=0.6)
    assert more.value == pytest.approx(200_000 * (math.exp(1 / float(found.slope.value or 1)) - 1), rel=0.01)
    assert found.sentence.startswith(f"Each doubling of the synthetic text adds {doubling:.1f} points [")
    assert "; one more point takes about " in found.sentence
    assert f"; 200,000 more, doubling it, would reach {found.forecast.value:.0f} % [" in found.sentence
    assert found.sentence.endswith("; a plateau is not identified.")
    assert [place.tokens for place in (found.line[0], found.line[-1])] == pytest.approx([25_000, 400_000])
    assert found.line[-1].right == pytest.approx(found.forecast.value)


def test_the_same_answers_have_the_same_curve() -> None:
    tables, documents = draw_exam(np.random.default_rng(2), EIGHT[:4], line)
    assert fit_curve(tables, documents) == fit_curve(dict(reversed(tables.items())), documents)


def test_two_points_have_a_slope_and_say_what_is_missing() -> None:
    found = fit_curve(*draw_exam(np.random.default_rng(3), EIGHT[:2], line))
    assert found.status == "ok"
    assert found.slope.low is not None
    assert found.slope.status.startswith("two points")
    assert found.plateau.status == "plateau not identified: 2 points; it takes about 8"
    assert "train on a third number" in found.sentence


def test_one_number_of_tokens_has_no_curve_and_the_start_is_no_point_of_the_line() -> None:
    tables, documents = draw_exam(np.random.default_rng(3), EIGHT[:1], line)
    found = fit_curve(tables | {0: tables[EIGHT[0]][:1]}, documents)
    assert found.status.startswith("not measured: one number of synthetic tokens")
    assert [point.tokens for point in found.points] == [0, 25_000]
    assert not found.line
    assert {getattr(found, name).status for name in words_of(Curve)} == {found.status}
    assert found.sentence.startswith("There is no curve of knowledge: one number")
    assert fit_curve({}, []).status.startswith("not measured: no number")

    tables, documents = draw_exam(np.random.default_rng(3), EIGHT[:3], line)
    without, whole = fit_curve(tables, documents), fit_curve(tables | {0: np.zeros((1, len(documents)))}, documents)
    assert (whole.slope, whole.forecast) == (without.slope, without.forecast)
    assert whole.points[0].right.value == 0


def test_questions_and_seeds_that_were_not_asked_are_left_out_of_all_points() -> None:
    tables, documents = draw_exam(np.random.default_rng(3), EIGHT[:3], line)
    some = {tokens: table.copy() for tokens, table in tables.items()}
    some[EIGHT[1]][2, :40] = np.nan
    found, expected = fit_curve(some, documents), fit_curve({k: t[:, 40:] for k, t in tables.items()}, documents[40:])
    assert found.slope.value == expected.slope.value
    assert (found.slope.n, found.slope.dropped) == (len(documents) - 40, 40)
    assert {point.right.n for point in found.points} == {len(documents) - 40}

    never = some | {EIGHT[1]: np.vstack([tables[EIGHT[1]][:2], np.full((1, len(documents)), np.nan)])}
    assert fit_curve(never, documents).slope.dropped == 0
    assert fit_curve(never, documents).slope.seeds == 2
    apart = {EIGHT[0]: np.where(documents < 15, 1.0, np.nan)[None], EIGHT[1]: np.where(documents < 15, np.nan, 1)[None]}
    assert fit_curve(apart, documents).status == "not measured: no question was asked at every point"


def test_one_seed_and_few_documents_are_said() -> None:
    tables, documents = draw_exam(np.random.default_rng(3), EIGHT[:3], line, num_seeds=1)
    assert fit_curve(tables, documents).slope.status.startswith("one seed")
    found = fit_curve(tables, np.zeros(len(documents)))
    assert found.slope.status.startswith("too few")
    assert found.slope.value is not None
    assert found.slope.low is None
    assert found.one_more.status == "cannot tell: the gain of more tokens has no interval"


@pytest.mark.parametrize("tokens", [-1, 25_000])
def test_a_table_that_does_not_fit_is_refused(tokens: int) -> None:
    with pytest.raises(ValueError, match="Pass one row a seed"):
        fit_curve({tokens: np.zeros((3, 4 if tokens < 0 else 5))}, list("aabb"))
