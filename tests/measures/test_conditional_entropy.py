"""Sources whose entropy is known exactly: what is measured must be it, and the interval must hold it."""

import math

import numpy as np
import pytest

from gainloop.measures.estimate import median_of, ratio_of_sums
from gainloop.measures.mutual_information import conditional_entropy

# Three kinds of prompt, each a Markov chain over two tokens and an end token (the last column).
CHAINS = np.array(
    [
        [[0.50, 0.40, 0.10], [0.20, 0.70, 0.10]],
        [[0.85, 0.05, 0.10], [0.60, 0.25, 0.15]],
        [[0.30, 0.50, 0.20], [0.45, 0.45, 0.10]],
    ]
)
TOKEN_BYTES = np.array([2.0, 5.0, 0.0])
MAX_TOKENS = 200


def sample_replies(rng: np.random.Generator, chains: np.ndarray, num_replies: int) -> tuple[np.ndarray, np.ndarray]:
    """Return exact nats and bytes of replies, shape (*chains.shape, num_replies); each starts in token 0."""
    kind = np.repeat(chains[..., None], num_replies, axis=-1)
    state, nats, num_bytes = np.zeros(kind.shape, int), np.zeros(kind.shape), np.zeros(kind.shape)
    for _ in range(MAX_TOKENS):
        running = state < 2
        if not running.any():
            break
        rows = CHAINS[kind[running], state[running]]
        token = (rng.random(len(rows))[:, None] > rows.cumsum(axis=1)[:, :2]).sum(axis=1)
        nats[running] -= np.log(rows[np.arange(len(rows)), token])
        num_bytes[running] += TOKEN_BYTES[token]
        state[running] = token
    return nats, num_bytes


def exact(chain: int, per_row: np.ndarray) -> float:
    """Return the expected sum of a per-token quantity: the row of the fundamental matrix times it."""
    transient = CHAINS[chain][:, :2]
    return float(np.linalg.solve(np.eye(2) - transient, per_row)[0])


def exact_nats() -> float:
    return float(np.mean([exact(c, -(CHAINS[c] * np.log(CHAINS[c])).sum(axis=1)) for c in range(3)]))


def exact_bytes() -> float:
    return float(np.mean([exact(c, CHAINS[c] @ TOKEN_BYTES) for c in range(3)]))


def test_the_value_is_the_exact_entropy_of_a_markov_source() -> None:
    rng = np.random.default_rng(0)
    nats, num_bytes = sample_replies(rng, rng.integers(0, 3, 20_000), 4)
    prompts = np.repeat(np.arange(20_000), 4)
    assert conditional_entropy(nats.ravel(), prompts).value == pytest.approx(exact_nats(), rel=0.01)
    rate = conditional_entropy(nats.ravel(), prompts, num_bytes.ravel())
    assert rate.value == pytest.approx(exact_nats() / (math.log(2) * exact_bytes()), rel=0.01)
    assert rate.unit == "bits/byte"


@pytest.mark.parametrize("num_replies", [1, 16])
def test_the_interval_holds_the_exact_entropy_95_times_in_100(num_replies: int) -> None:
    rng = np.random.default_rng(7)
    num_runs, num_prompts = 500, 48
    nats, num_bytes = sample_replies(rng, rng.integers(0, 3, (num_runs, num_prompts)), num_replies)
    prompts = np.repeat(np.arange(num_prompts), num_replies)
    true_rate = exact_nats() / (math.log(2) * exact_bytes())
    plain = [conditional_entropy(run.ravel(), prompts) for run in nats]
    rates = [conditional_entropy(run.ravel(), prompts, b.ravel()) for run, b in zip(nats, num_bytes, strict=True)]
    assert 0.92 <= np.mean([e.low <= exact_nats() <= e.high for e in plain]) <= 0.98
    assert 0.92 <= np.mean([e.low <= true_rate <= e.high for e in rates]) <= 0.98


@pytest.mark.parametrize("num_replies", [1, 16])
def test_the_interval_of_the_median_holds_it_95_times_in_100(num_replies: int) -> None:
    rng = np.random.default_rng(3)
    levels = rng.normal(0, 1, (500, 48, 1)) + rng.normal(0, 1, (500, 48, num_replies))
    prompts = np.repeat(np.arange(48), num_replies)
    found = [median_of(run.ravel(), prompts, "nats/record") for run in levels]
    assert 0.92 <= np.mean([e.low <= 0 <= e.high for e in found]) <= 0.98


def test_a_known_categorical_source_gives_log_k() -> None:
    found = conditional_entropy(np.full(64, math.log(8)), np.arange(64))
    assert found.value == pytest.approx(math.log(8))
    assert (found.n, found.num_clusters, found.unit, found.status) == (64, 64, "nats/record", "ok")
    assert found.high == pytest.approx(found.low)


def test_eight_copies_of_each_reply_change_neither_the_mean_nor_the_interval() -> None:
    nats = np.random.default_rng(1).gamma(4, 10, 40)
    once, copied = (conditional_entropy(np.repeat(nats, r), np.repeat(np.arange(40), r)) for r in (1, 8))
    assert (copied.n, copied.num_clusters) == (320, 40)
    assert (copied.value, copied.low, copied.high) == pytest.approx((once.value, once.low, once.high))


def test_more_replies_of_one_prompt_never_make_up_for_more_prompts() -> None:
    nats = np.random.default_rng(1).gamma(4, 10, 320)
    by_prompt = conditional_entropy(nats, np.repeat(np.arange(320), 1))
    one_prompt = conditional_entropy(nats, np.zeros(320))
    assert by_prompt.low is not None
    assert (one_prompt.low, one_prompt.high, one_prompt.num_clusters) == (None, None, 1)
    assert one_prompt.value == pytest.approx(by_prompt.value)
    assert one_prompt.status == "too few: all rows are of one group"


def test_greedy_replies_have_no_entropy() -> None:
    found = conditional_entropy([-0.0, -0.0, -0.0], ["a", "b", "c"])
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert str(found.value) == "0.0"


def test_a_score_that_is_not_finite_is_left_out_and_counted() -> None:
    nats = np.full(100, 2.0)
    nats[[3, 50]] = np.nan, np.inf
    found = conditional_entropy(nats, np.arange(100))
    assert (found.value, found.n, found.num_dropped, found.status) == (2.0, 98, 2, "ok")


def test_more_than_two_percent_of_bad_scores_make_the_figure_invalid() -> None:
    nats = np.full(100, 2.0)
    nats[:3] = np.inf
    for found in conditional_entropy(nats, np.arange(100)), median_of(nats, np.arange(100), "nats/record"):
        assert found.value is found.low is found.high is None
        assert found.status.startswith("invalid: 3 of 100 scores")


def test_an_empty_reply_counts_its_end_token() -> None:
    found = conditional_entropy([1.0, 3.0, 2.0], ["a", "b", "c"], [0, 10, 10])
    assert found.value == pytest.approx(6.0 / (20 * math.log(2)))


def test_no_reply_and_no_byte_give_no_value_and_say_why() -> None:
    assert conditional_entropy([], []).status == "not measured: there is no row"
    assert median_of([], [], "nats/record").value is None
    assert conditional_entropy([1.0], ["a"], [0]).status == "not measured: the texts are empty"


def test_the_order_of_replies_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    nats, prompts = rng.gamma(4, 10, 200), rng.integers(0, 40, 200)
    shuffled = rng.permutation(200)
    one, other = conditional_entropy(nats, prompts), conditional_entropy(nats[shuffled], prompts[shuffled])
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 scores, 2 weights and 1 clusters"):
        ratio_of_sums([1.0, 2.0], [1.0, 1.0], ["a"], "nats/record")
