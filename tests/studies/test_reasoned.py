"""The study of answers and verdicts: its teacher, its arms, and one small seed of it from beginning to end."""

from random import Random

import pytest

from benchmarks.reasoned import tell
from gainloop.measures.estimate import over_seeds
from gainloop.studies.reasoned import (
    ARMS,
    SIGNS,
    Design,
    SeedOutcome,
    Trace,
    arm_sets,
    describe,
    problems,
    run_seed,
    solved,
    teach,
)
from gainloop.studies.sums import learn, make_adder

SMALL = Design(seeds=1, problems=20, base_problems=10, base_steps=5, steps=5, tokens=60)


@pytest.mark.parametrize("wrong", [0.0, 0.4, 1.0])
def test_the_teacher_is_wrong_in_the_share_that_is_set_and_thinks_in_half_of_its_answers(wrong: float) -> None:
    rng = Random(0)
    said = [teach(rng, one, wrong) for one in problems(heldout=False) * 5]

    assert sum(not one.is_right for one in said) / len(said) == pytest.approx(wrong, abs=0.03)
    assert sum(";" in one.answer for one in said) / len(said) == pytest.approx(0.5, abs=0.03)


def test_no_problem_is_both_held_out_and_taught() -> None:
    assert not set(problems(heldout=True)) & set(problems(heldout=False))
    assert len(problems(heldout=True)) + len(problems(heldout=False)) == 1000


def test_each_arm_reads_the_answers_that_its_name_says() -> None:
    one, other = (1, 2, 3), (4, 4, 4)
    first = [Trace(one, "7"), Trace(one, "3;6"), Trace(one, "6"), Trace(one, "6")]
    second = [Trace(other, "8;12"), Trace(other, "13"), Trace(other, "11"), Trace(other, "9;13")]

    assert arm_sets([first, second]) == {
        "one": [first[0], second[0]],
        "one_right": [second[0]],
        "four": [*first, *second],
        "four_right": [*first[1:], second[0]],
        "shortest_right": [first[2], second[0]],
    }


def test_an_answer_counts_by_its_final_number_whatever_is_thought_before_it() -> None:
    model, tokenizer = make_adder(0, SIGNS)
    one = problems(heldout=True)[0]
    learn(model, tokenizer, [Trace(one, f"9;{sum(one)}")], 60, 3e-3, 0, at_once_tokens=40)

    assert solved(model, tokenizer)[0]


def test_a_seed_trains_every_arm_on_as_many_tokens_and_comes_out_the_same_again() -> None:
    found = run_seed(SMALL, 3)

    assert set(found.right) == set(found.rows) == set(ARMS)
    assert (found.rows["one"], found.rows["four"]) == (20, 80)
    assert found.wrong["one_right"] == found.wrong["four_right"] == found.wrong["shortest_right"] == 0
    assert {len(one) for one in found.right.values()} == {len(problems(heldout=True))}
    assert max(found.tokens.values()) - min(found.tokens.values()) <= SMALL.steps * 6
    assert run_seed(SMALL, 3) == found


def test_differences_are_of_the_same_problems_and_seeds() -> None:
    start, more = [False, False, True, True], [True, True, True, False]
    right = {arm: more if arm == "four_right" else start for arm in ARMS}
    about = {"rows": dict.fromkeys(ARMS, 7), "wrong": dict.fromkeys(ARMS, 0.4), "tokens": dict.fromkeys(ARMS, 1234)}
    study = describe([SeedOutcome(start, right, **about)] * 2)  # type: ignore[arg-type]
    by_arm = {one.arm: one for one in study.arms}

    assert by_arm["four_right"].right.value == 0.75
    assert by_arm["four_right"].over_four == over_seeds([[1, 1, 0, -1]] * 2, range(4), "share")
    assert (by_arm["one"].over_one, by_arm["four"].over_four) == (None, None)
    assert "four answers, the right ones" in tell(study)
    assert "1,234" in tell(study)
