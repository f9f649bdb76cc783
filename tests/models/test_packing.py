import signal
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gainloop.models.packing import IGNORED, MixturePart, Packed, PairRows, encode, orders_by, orders_of, pack
from schemas.errors import BadInput
from schemas.plan import Mixture
from tests.tiny_model import TEXTS, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
END = TOKENIZER.eos_token_id
CONTEXT = 64


def num_tokens(texts: list[str]) -> int:
    return sum(map(len, encode(TOKENIZER, texts)))


def mixed(synthetic: float, budget: int, seed: int = 0) -> Packed:
    shares = Mixture(synthetic=synthetic, anchors=1 - synthetic)
    parts = [MixturePart("synthetic", TEXTS[:4], shares.synthetic), MixturePart("anchors", TEXTS[4:], shares.anchors)]
    return pack(parts, TOKENIZER, budget, CONTEXT, orders_of(seed))


def pack_one(texts: list[str], num_rows: int) -> Packed:
    return pack([MixturePart("anchors", texts, 1.0)], TOKENIZER, num_rows * CONTEXT, CONTEXT, orders_of(0))


def test_the_budget_is_met_exactly_in_full_rows() -> None:
    packed = mixed(0.25, 64 * CONTEXT)

    assert packed.tokens == {"synthetic": 16 * CONTEXT, "anchors": 48 * CONTEXT}
    assert [len(row["input_ids"]) for row in packed.rows] == [CONTEXT] * 64
    assert all(row["labels"] == row["input_ids"] for row in packed.rows)


def test_repetitions_say_how_often_a_part_was_gone_through() -> None:
    packed = mixed(0.5, 128 * CONTEXT)

    assert packed.repetitions["synthetic"] == 64 * CONTEXT / num_tokens(TEXTS[:4])
    assert packed.repetitions["anchors"] == 64 * CONTEXT / num_tokens(TEXTS[4:])
    ends = sum(row["input_ids"].count(END) for row in packed.rows)
    assert ends == pytest.approx(4 * packed.repetitions["synthetic"] + 20 * packed.repetitions["anchors"], abs=4)


def test_every_token_of_a_pass_appears_before_any_comes_again() -> None:
    texts = [text[:100] for text in TEXTS]
    num_rows = num_tokens(texts) // CONTEXT
    packed = Counter(token for row in pack_one(texts, num_rows).rows for token in row["input_ids"])
    whole = Counter(token for ids in encode(TOKENIZER, texts) for token in ids)

    assert packed <= whole
    assert whole.total() - packed.total() < CONTEXT
    twice = Counter(token for row in pack_one(texts, 2 * num_rows + 2).rows for token in row["input_ids"])
    assert whole + whole <= twice + Counter()


def test_documents_stand_whole_side_by_side_with_an_end_token_between() -> None:
    texts = [text[:50] for text in TEXTS]
    (row,) = pack([MixturePart("anchors", texts, 1.0)], TOKENIZER, 512, 512, orders_of(0)).rows
    documents = str(TOKENIZER.decode(row["input_ids"])).split("<|end|>")

    assert len(documents) > 3
    assert set(documents[:-1]) <= set(texts)


def test_a_text_longer_than_a_row_goes_on_in_another_row() -> None:
    rows = pack_one([TEXTS[0]], num_tokens(TEXTS[:1]) // CONTEXT).rows
    found = {tuple(row["input_ids"]) for row in rows}
    (ids,) = encode(TOKENIZER, TEXTS[:1])

    assert found == {tuple(ids[at : at + CONTEXT]) for at in range(0, len(rows) * CONTEXT, CONTEXT)}


def test_the_seed_decides_the_rows() -> None:
    assert mixed(0.5, 4096).rows == mixed(0.5, 4096).rows
    assert mixed(0.5, 4096).rows != mixed(0.5, 4096, seed=1).rows


def test_arms_share_the_rows_of_a_part_and_no_order_is_that_of_another_seed_or_start() -> None:
    def rows(share: float, shared: str, own: str) -> list[list[int]]:
        parts = [MixturePart("anchors", TEXTS, share), MixturePart("other", TEXTS, 1 - share)]
        packed = pack(parts, TOKENIZER, 2048, CONTEXT, orders_by(shared, own))
        return [row["input_ids"] for row, part in zip(packed.rows, packed.parts, strict=True) if part == "anchors"]

    half, whole = rows(0.5, "0/start", "synthetic"), rows(1, "0/start", "baseline")
    assert len(half) == 16
    assert [row for row in whole if row in half] != half
    assert {tuple(row) for row in half} < {tuple(row) for row in whole}
    for other in (rows(1, "1/start", "baseline"), rows(1, "0/other", "baseline")):
        assert len({tuple(row) for row in other} & {tuple(row) for row in whole}) < 8


def test_a_row_is_read_for_the_first_time_only_if_the_model_had_read_none_of_its_texts() -> None:
    texts = [text[:200] for text in TEXTS]
    known = [1.5 if number < 12 else 0.0 for number in range(24)]
    budget = 3 * num_tokens(texts) // CONTEXT * CONTEXT
    packed = pack([MixturePart("anchors", texts, 1.0, known)], TOKENIZER, budget, CONTEXT, orders_of(0))
    unknown = [tuple(ids) for ids, times in zip(encode(TOKENIZER, texts), known, strict=True) if not times]
    firsts = [row["input_ids"] for row, is_first in zip(packed.rows, packed.is_first, strict=True) if is_first]
    joined = {ids[at : at + 4] for ids in unknown for at in range(len(ids) - 3)}

    assert 0 < len(firsts) < len(packed.rows) / 6
    assert all(tuple(row[at : at + 4]) in joined or END in row[at : at + 4] for row in firsts for at in range(60))
    assert 0.6 < packed.read_before["anchors"] < 0.9
    assert packed.times_read["anchors"] == pytest.approx([3.0] * 24, abs=1)


def test_a_part_with_no_share_is_left_out() -> None:
    packed = pack(
        [MixturePart("synthetic", [], 0.0), MixturePart("anchors", TEXTS, 1.0)], TOKENIZER, 4096, CONTEXT, orders_of(0)
    )

    assert packed.tokens == {"anchors": 4096}
    assert packed.repetitions.keys() == {"anchors"}


@settings(max_examples=20)
@given(st.integers(1024, 20_000), st.floats(0, 1))
def test_a_mixture_and_its_baseline_have_as_many_tokens(budget: int, synthetic: float) -> None:
    mixture, baseline = mixed(synthetic, budget), mixed(0, budget)

    assert sum(mixture.tokens.values()) == sum(baseline.tokens.values())
    assert abs(sum(baseline.tokens.values()) - budget) <= CONTEXT / 2


@settings(max_examples=20)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=6), st.integers(1, 30), st.integers(8, 40))
def test_any_texts_fill_any_budget(texts: list[str], num_rows: int, context: int) -> None:
    packed = pack([MixturePart("anchors", texts, 1.0)], TOKENIZER, num_rows * context, context, orders_of(0))

    assert [len(row["input_ids"]) for row in packed.rows] == [context] * num_rows


def test_pairs_carry_loss_on_the_second_text_and_its_end_alone() -> None:
    (row,) = PairRows(np.array([[0, 1]]), ["one two", "x"], ["y", "three"], TOKENIZER, CONTEXT, CONTEXT)
    prompt, text = TOKENIZER.encode("one two"), TOKENIZER.encode("three")

    assert row["input_ids"] == [*prompt, *text, END]
    assert row["labels"] == [IGNORED] * len(prompt) + [*text, END]


@pytest.mark.parametrize(("context", "max_tokens", "kept"), [(64, 64, 3), (64, 10, 2), (30, 64, 1), (4, 64, 0)])
def test_pairs_that_are_too_long_are_left_out(context: int, max_tokens: int, kept: int) -> None:
    pairs = [("a", "b" * 5), ("a" * 30, "b"), ("a", "bc" * 15)]
    lengths = [(len(TOKENIZER.encode(one)), len(TOKENIZER.encode(other)) + 1) for one, other in pairs]
    fitting = [two for two in lengths if sum(two) <= context and two[1] <= max_tokens]

    prompts, texts = [one for one, _ in pairs], [other for _, other in pairs]
    rows = PairRows(np.array([[0, 0], [1, 1], [2, 2]]), prompts, texts, TOKENIZER, context, max_tokens)
    assert len(rows) == len(fitting) == kept
    assert [len(row["input_ids"]) for row in rows] == [sum(two) for two in fitting]
    assert len(PairRows(np.zeros((0, 2), int), [], [], TOKENIZER, context, max_tokens)) == 0


def test_a_budget_that_fills_no_row_is_an_error() -> None:
    with pytest.raises(BadInput, match=r"packing 1024 tokens into rows of 4096: .* Raise budget_tokens"):
        pack([MixturePart("anchors", TEXTS, 1.0)], TOKENIZER, 1024, 4096, orders_of(0))


def test_a_share_with_no_text_to_fill_it_is_an_error_and_not_a_search_without_end() -> None:
    def give_up(_signal: int, _frame: object) -> None:
        raise TimeoutError("still looking for a text after a second")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        with pytest.raises(BadInput, match="synthetic"):
            pack(
                [MixturePart("synthetic", [], 0.5), MixturePart("anchors", TEXTS, 0.5)],
                TOKENIZER,
                4096,
                CONTEXT,
                orders_of(0),
            )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
