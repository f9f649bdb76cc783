"""The study of selected sets: its pool, its model, and one small seed of it from beginning to end."""

from collections import Counter
from dataclasses import replace

import pytest

from gainloop.measures.estimate import over_seeds
from gainloop.studies.selected import ARMS, Design, SeedOutcome, describe, run_seed
from gainloop.studies.sums import Sum, answer_of, answered, heldout_sums, learn, make_adder, make_pool

SMALL = Design(
    seeds=1,
    num_easy=24,
    num_hard=16,
    num_wrong=8,
    size=12,
    base_hard=40,
    base_steps=60,
    steps=10,
    reward=Design().reward.model_copy(update={"epochs": 2, "questions_at_once": 24}),
)


def test_a_pool_has_easy_sums_many_times_and_hard_ones_once_none_of_them_held_out() -> None:
    pool = make_pool(0, 300, 400, 100)
    hard = [(row.left, row.right) for row in pool if row.kind != "easy"]

    assert Counter(row.kind for row in pool) == {"easy": 300, "hard": 400, "wrong": 100}
    assert len({(row.left, row.right) for row in pool if row.kind == "easy"}) <= 100
    assert len(set(hard)) == 500
    assert not {(row.left, row.right) for row in heldout_sums()} & set(hard)
    assert all((row.answer == answer_of(row.left, row.right)) == (row.kind != "wrong") for row in pool)
    assert make_pool(1, 300, 400, 100) != pool == make_pool(0, 300, 400, 100)


def test_an_answer_is_right_where_all_its_digits_and_its_end_are() -> None:
    model, tokenizer = make_adder(0)
    rows = [Sum("a", 1, 1, "2", "easy"), Sum("b", 2, 1, "3", "easy")]
    learn(model, tokenizer, rows, 40, 3e-3, 0)

    assert answered(model, tokenizer, rows) == [True, True]
    assert answered(model, tokenizer, [replace(rows[0], answer="3"), replace(rows[1], answer="30")]) == [False, False]


def test_a_seed_trains_every_set_from_one_start_and_comes_out_the_same_again() -> None:
    pytest.importorskip("trl", reason="the extra `rewards` is not installed")
    found = run_seed(SMALL, 3)

    assert set(found.right) == set(found.sets) == set(ARMS)
    assert {len(one) for one in found.right.values()} == {len(heldout_sums())}
    assert {arm: sum(kinds.values()) for arm, kinds in found.sets.items()} == {
        "full": 48,
        "random": 12,
        "s1": 12,
        "limr": 12,
    }
    assert len(found.rewards) == 2
    assert run_seed(SMALL, 3) == found


def test_differences_are_of_the_same_sums_and_seeds() -> None:
    start = [False, False, True, True]
    right = {"full": start, "random": [False, True, True, False], "s1": start, "limr": [True, True, True, False]}
    sets = {arm: {"easy": 1, "hard": 2, "wrong": 0} for arm in ARMS}
    outcomes = [SeedOutcome(start, right, sets, [0.25]), SeedOutcome(start, right, sets, [0.75])]  # type: ignore[arg-type]
    study = describe(outcomes)
    by_arm = {one.arm: one for one in study.arms}

    assert study.rewards == [0.5]
    assert by_arm["limr"].right.value == 0.75
    assert by_arm["limr"].over_random == over_seeds([[1, 0, 0, 0]] * 2, range(4), "share")
    assert by_arm["random"].over_random is None
    assert by_arm["full"].over_full is None
    assert (by_arm["limr"].size, by_arm["limr"].right.num_seeds) == (3, 2)
