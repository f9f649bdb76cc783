"""Recovered shares: the published table of SBP comes back, and intervals hold a truth that is known."""

import numpy as np
import pytest

from gainloop.measures.estimate import ALL_ALIKE, ONE_SEED
from gainloop.measures.recovered import MAYBE_NOTHING, NO_RESAMPLES, Scores, average, published_scores, score_arms

PUBLISHED = {
    "ARC-C 0-shot": ((35.32, 1.28, 2.82), (42.66, 1.62, 3.84)),
    "ARC-E 0-shot": ((68.94, 2.65, 4.29), (75.63, 0.42, 2.11)),
    "SciQ 0-shot": ((90.50, 1.00, 2.40), (93.20, 0.80, 0.50)),
    "Winogrande 0-shot": ((60.14, 1.90, 5.53), (65.19, 1.42, 2.92)),
    "TriviaQA 1-shot": ((22.51, 3.36, 7.37), (36.07, 0.25, 0.59)),
    "WebQS 1-shot": ((8.56, 3.74, 10.83), (19.34, 0.54, 0.44)),
}
"""Accuracy of repetition, gain of SBP and gain of the oracle, in points, at 200 billion and at one trillion tokens."""

PERPLEXITIES = {
    "OpenWebText2": ((5.74, -0.53, -1.02), (4.51, -0.02, -0.12)),
    "LAMBADA": ((6.87, -0.85, -1.86), (4.33, -0.03, -0.22)),
    "five-shot MMLU": ((3.83, -0.36, -0.51), (3.17, -0.06, -0.05)),
}


def printed(row: tuple[float, float, float], unit: str) -> Scores:
    base, method, oracle = row
    return published_scores([base, base + method, base + oracle], unit)


@pytest.mark.parametrize(
    ("scale", "base", "method", "oracle", "share"), [(0, 47.66, 2.32, 5.54, 42), (1, 55.35, 0.84, 1.73, 49)]
)
def test_the_published_table_gives_its_averages_and_shares(
    scale: int, base: float, method: float, oracle: float, share: int
) -> None:
    rows = {name: printed(one[scale], "%") for name, one in PUBLISHED.items()}
    mean = average([*rows.values()])

    found = (mean.level(0), mean.gain(1), mean.gain(2))
    assert [one.value for one in found] == pytest.approx([base, method, oracle], abs=0.006)
    assert [one.unit for one in found] == ["%", "points", "points"]
    recovered = mean.share(1, oracle=2)
    assert recovered.value == pytest.approx(share, abs=0.5)
    assert (recovered.unit, recovered.low, recovered.status) == ("%", None, NO_RESAMPLES)
    beaten = {name for name, one in rows.items() if (one.share(1, oracle=2).value or 0) > 100}
    assert beaten == (set() if scale == 0 else {"SciQ 0-shot", "WebQS 1-shot"}), "SBP may be ahead of the oracle"


def test_lower_perplexities_are_recovered_as_higher_accuracies_are() -> None:
    shares = [printed(one[0], "perplexity").share(1, oracle=2).value for one in PERPLEXITIES.values()]
    assert shares == pytest.approx([52, 45.7, 70.6], abs=0.1)
    late = printed(PERPLEXITIES["five-shot MMLU"][1], "perplexity").share(1, oracle=2)
    assert late.value == pytest.approx(120)


def test_what_an_oracle_does_not_gain_is_not_recovered() -> None:
    same = published_scores([40, 41, 40], "%").share(1, oracle=2)
    assert (same.value, same.status) == (None, MAYBE_NOTHING)
    rng, documents = np.random.default_rng(0), np.arange(40) // 2
    noise = [100.0 * (rng.random((3, 40)) < 0.5) for _ in range(3)]
    found = score_arms(noise, documents, "%").share(1, oracle=2)
    assert (found.value, found.low, found.status) == (None, None, MAYBE_NOTHING)


def draw_arms(rng: np.random.Generator, num_documents: int, num_seeds: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return nats of texts under three arms: documents differ, arms gain 0, 0.4 and 1 a text, seeds move each arm."""
    documents = np.repeat(np.arange(num_documents), rng.integers(1, 5, num_documents))
    level = rng.normal(30, 6, num_documents)[documents]
    pace = rng.normal(1, 0.3, num_documents)[documents]
    tables = [
        level - gain * pace + rng.normal(0, 0.08, (num_seeds, 1)) + rng.normal(0, 0.3, (num_seeds, len(documents)))
        for gain in (0, 0.4, 1)
    ]
    return tables, documents


@pytest.mark.parametrize(("num_documents", "num_seeds"), [(40, 3), (25, 2)])
def test_intervals_of_the_share_hold_the_truth(num_documents: int, num_seeds: int) -> None:
    rng, told, covered = np.random.default_rng(num_documents), 0, 0
    for _ in range(60):
        tables, documents = draw_arms(rng, num_documents, num_seeds)
        found = score_arms(tables, documents, "nats").share(1, oracle=2)
        told += found.value is not None
        covered += found.low is not None and found.high is not None and found.low <= 40 <= found.high
    assert told >= 55
    assert covered >= 0.9 * told


def test_a_perplexity_is_that_of_all_tokens_and_seeds_and_rises_alike_in_every_resample() -> None:
    nats, tokens = np.array([[10.0, 30.0], [12.0, 28.0]]), np.array([5, 10])
    found = score_arms([nats, nats - 1], ["a", "b"], "perplexity", tokens, "perplexity")
    assert found.level(0).value == pytest.approx(np.exp(40 / 15))
    assert found.gain(1).value == pytest.approx(np.exp(38 / 15) - np.exp(40 / 15))
    assert found.gain(1).unit == "perplexity"
    assert (found.values[:, 1] < found.values[:, 0]).mean() > 0.95


def test_an_oracle_that_gains_alike_in_every_document_leaves_a_share_and_no_interval_of_no_width() -> None:
    rng, documents = np.random.default_rng(2), np.repeat(np.arange(20), 4)
    method = 100.0 * (rng.random((3, 80)) < 0.4)
    found = score_arms([np.zeros((3, 80)), method, np.full((3, 80), 100.0)], documents, "%")
    for alike in (found.gain(2), found.level(0)):
        assert (alike.low, alike.high, alike.status) == (None, None, ALL_ALIKE)
    share = found.share(1, oracle=2)
    assert share.value == pytest.approx(method.mean())
    assert share.low < share.value < share.high
    assert score_arms([method, method, method], documents, "%").share(1, oracle=2).status == MAYBE_NOTHING


def test_one_seed_and_one_document_say_what_they_cannot_tell() -> None:
    one = score_arms([[[0, 100, 100]], [[100, 100, 100]]], ["a", "b", "c"], "%")
    assert one.level(0).status == ONE_SEED
    few = score_arms([[[0, 100, 100]], [[100, 100, 100]]], ["a", "a", "a"], "%").gain(1)
    assert few.value == pytest.approx(100 / 3)
    assert few.low is None
    assert few.status.startswith("too few")
    with pytest.raises(ValueError, match="of the same rows are needed"):
        score_arms([[[0, 100]], [[100]]], ["a", "b"], "%")
    with pytest.raises(ValueError, match="one unit"):
        average([one, published_scores([1, 2], "perplexity")])
