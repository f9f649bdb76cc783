"""Selections: every row has a reason, counts never rise, the order of rows and nothing but the seed decides."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gainloop.curation.selection import SELECTIONS, AnySelection, Candidate, Selected, Selection, select_rows
from gainloop.curation.selection.chance import RandomRows
from gainloop.curation.selection.draws import apportion, draw_by_rank
from gainloop.curation.selection.lima import Lima, speaks_out, without_links
from gainloop.curation.selection.limr import Limr, lim_scores
from gainloop.curation.selection.s1 import S1, fault_of
from schemas.errors import BadInput

DOMAINS = ("algebra", "geometry", "logic")

SMALL_LIMA = Lima(size=6, least_characters=3, most_characters=40)
EVERY: tuple[Selection, ...] = (
    SMALL_LIMA,
    S1(size=7, right_fields=("weak",), first_field="gold", uniform_share=0.5, weight_field="weight"),
    Limr(least=0.5, size=6),
    RandomRows(size=5),
)


@st.composite
def row_lists(draw: st.DrawFn) -> list[Candidate]:
    """Return rows with all that selections read, some of it missing or no number."""
    share = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    rewards = st.lists(st.one_of(share, st.just(-1), st.none()), max_size=3)
    answers = st.text(alphabet="aI 7.!", max_size=12)
    rows = []
    for number in range(draw(st.integers(1, 25))):
        values: dict[str, Any] = {
            "weak": draw(st.sampled_from([0, 0, 0.5, True, None, "?"])),
            "gold": draw(st.booleans()),
            "weight": draw(st.sampled_from([0, 1, 2.5, "x"])),
            "score": draw(st.sampled_from([None, 3, 12, "much"])),
            "rewards": draw(st.one_of(rewards, st.none())),
        }
        rows.append(
            Candidate(f"r{number}", draw(answers), f"q{number % 9}", "", draw(st.sampled_from(DOMAINS)), values)
        )
    return rows


@given(rows=row_lists(), order=st.randoms(use_true_random=False), seed=st.integers(0, 3))
@settings(max_examples=60)
def test_neither_order_nor_chance_but_the_seed_alone_decides_and_every_row_has_one_fate(
    rows: list[Candidate], order: Any, seed: int
) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    for selection in EVERY:
        seeded = selection.model_copy(update={"seed": seed})
        found = select_rows(rows, seeded)
        assert select_rows(shuffled, seeded) == found
        require_ledger(rows, found)
        if size := getattr(selection, "size", None):
            assert len(found.ids) <= size
        assert found.parts == {} or sum(found.parts.values()) == len(found.ids)


def require_ledger(rows: Sequence[Candidate], found: Selected) -> None:
    """Check that rows and counts add up."""
    assert set(found.ids) <= {row.row_id for row in rows}
    assert len(set(found.ids)) == len(found.ids)
    assert len(found.ids) + sum(found.dropped.values()) == len(rows) == found.steps["given"]
    assert all(before >= after for before, after in pairwise(found.steps.values()))
    assert found.steps["selected"] == len(found.ids)
    assert sum(given for given, _ in found.domains.values()) == len(rows)
    assert sum(taken for _, taken in found.domains.values()) == len(found.ids)


def rows_of(sizes: dict[str, int], **values: Any) -> list[Candidate]:
    return [
        Candidate(f"{domain}{number}", "x" * (number + 1), f"{domain} {number}?", "", domain, values)
        for domain, size in sizes.items()
        for number in range(size)
    ]


@pytest.mark.parametrize("selection", [S1(size=30), RandomRows(size=30), Limr(size=30, least=-9)])
def test_another_seed_is_another_set_of_the_same_size(selection: Any) -> None:
    rows = [replace(one, answer="x") for one in rows_of({"a": 60, "b": 60}, rewards=[0.5])]
    sets = {select_rows(rows, selection.model_copy(update={"seed": seed})).ids for seed in range(4)}

    assert len(sets) == 4
    assert {len(one) for one in sets} == {30}


@given(
    size=st.integers(0, 60),
    domains=st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 12), st.sampled_from([0, 1, 2, 9.5]))),
)
@settings(max_examples=200)
def test_a_domain_that_has_rows_left_gives_its_share_rounded_and_one_that_has_none_gives_all(
    size: int, domains: dict[str, tuple[int, float]]
) -> None:
    room = {name: rows for name, (rows, _) in domains.items()}
    weights = {name: weight for name, (_, weight) in domains.items()}
    given_ = apportion(size, weights, room, "0")

    able = sum(rows for rows, weight in domains.values() if weight)
    assert sum(given_.values()) == min(size, able)
    assert all(given_[name] <= room[name] for name in room)
    assert not any(given_[name] for name, weight in weights.items() if not weight)
    open_ = [name for name in room if weights[name] and given_[name] < room[name]]
    levels = sorted(given_[name] / weights[name] for name in open_)
    if levels:
        # Shares of those that could give more differ by the rounding of one row at most.
        assert levels[-1] - levels[0] <= 1 / min(weights[name] for name in open_) + 1 / max(
            weights[name] for name in open_
        )


# --- s1


def test_no_domain_is_drawn_over_its_share_and_the_size_is_reached_though_most_are_marked() -> None:
    rows = rows_of({"algebra": 500, "geometry": 80, "logic": 12})
    marked = [replace(row, values={"gold": number % 40 == 0}) for number, row in enumerate(rows)]
    found = select_rows(marked, S1(size=100, first_field="gold", uniform_share=0.7))

    assert found.parts == {"first": 15, "uniform": 55, "weighted": 30}
    assert len(found.ids) == 100  # nothing was drawn twice, where the reference's draws of what it has add nothing
    taken = {name: count for name, (_, count) in found.domains.items()}
    firsts = Counter(row.domain for row in marked if row.values["gold"])
    evenly = {name: taken[name] - firsts[name] for name in taken}
    assert evenly["logic"] == 12  # all that it has
    assert evenly["geometry"] <= math.ceil((55 - 12) / 2) + math.ceil(30 * 80 / 560)


def test_even_shares_differ_by_one_row_at_most() -> None:
    found = select_rows(rows_of({"a": 300, "b": 40, "c": 25}), S1(size=50, uniform_share=1))

    taken = [count for _, count in found.domains.values()]
    assert sum(taken) == 50
    assert max(taken) - min(taken) <= 1


def test_what_is_left_goes_by_the_weights_of_the_domains() -> None:
    rows = [replace(row, values={"weight": 3 if row.domain == "a" else 1}) for row in rows_of({"a": 100, "b": 100})]
    found = select_rows(rows, S1(size=40, uniform_share=0, weight_field="weight"))

    assert found.domains == {"a": (100, 30), "b": (100, 10)}


def test_a_row_one_place_behind_in_length_is_drawn_half_as_often() -> None:
    rows = rows_of({"a": 3})
    ranks = {"a2": 0, "a1": 1, "a0": 2}
    first = Counter(draw_by_rank(rows, ranks, 1, str(seed))[0].row_id for seed in range(7000))

    shares = [first[name] / 7000 for name in ("a2", "a1", "a0")]
    assert shares == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=4 * math.sqrt(0.25 / 7000))


def test_a_thousand_places_behind_is_still_a_weight_and_equal_lengths_are_alike() -> None:
    rows = rows_of({"a": 1500})
    longest = select_rows(rows, S1(size=20)).ids
    alike = select_rows([replace(row, answer="x") for row in rows], S1(size=20)).ids
    unranked = select_rows(rows, S1(size=20, favours="none")).ids

    assert min(int(name[1:]) for name in longest) > 1400
    assert min(int(name[1:]) for name in alike) < 750
    assert alike == unranked


def test_a_row_that_one_model_gets_right_is_too_easy_and_one_without_a_verdict_has_no_difficulty() -> None:
    verdicts = [(0, 0), (1, 0), (0, True), (0, None), (0, "0.5"), ("no", 0)]
    rows = [
        Candidate(f"r{n}", f"{n}", f"{n}?", values={"small": small, "large": large})
        for n, (small, large) in enumerate(verdicts)
    ]
    strict = select_rows(rows, S1(right_fields=("small", "large")))
    loose = select_rows(rows, S1(right_fields=("small", "large"), most_right=0.5))

    assert strict.ids == ("r0",)
    assert strict.dropped == {"no_difficulty": 2, "too_easy": 3}
    assert loose.ids == ("r0", "r4")


def test_a_column_of_difficulty_bounds_from_below() -> None:
    rows = [Candidate(f"r{n}", f"{n}", values={"level": level}) for n, level in enumerate([1, 5, "7", None])]
    found = select_rows(rows, S1(difficulty_field="level", least_difficulty=5))

    assert found.ids == ("r1", "r2")
    assert found.dropped == {"no_difficulty": 1, "too_easy": 1}


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("What is 3 + 4?", "7", ""),
        ("What is 3 + 4?", " \n", "no_answer"),
        ("[asy] draw((0,0)); [/asy] Its area?", "7", "drawing_code"),
        ("Look: ![](a.png)", "7", "picture"),
        ("Area?", r"\includegraphics[width=3cm]{a}", "picture"),
        ("Na\u00c3\u00afve?", "7", "broken_text"),
        ("p12. Show that it is.", "So.", "numbered_problem"),
        ("**3.** Show that it is.", "So.", "numbered_problem"),
        ("Is p. 3 or **bold** right?", "So.", ""),
    ],
)
def test_a_fault_of_form_has_its_own_name(question: str, answer: str, reason: str) -> None:
    assert fault_of(Candidate("a", answer, question)) == reason


def test_of_rows_that_say_the_same_the_one_of_the_lowest_id_stays() -> None:
    rows = [Candidate(name, "So it  IS.", "Is it?") for name in "cab"]

    assert select_rows(rows, S1()).ids == ("a",)
    assert select_rows(rows, S1()).dropped == {"duplicate": 2}


# --- limr

TABLE = np.array([[0.0, 0.5, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
"""Rewards of four questions in three epochs; their means are 1/4, 1/2, 5/8."""


def test_scores_are_those_worked_out_by_hand() -> None:
    most = 9 / 16 + 1 / 4 + 9 / 64  # 61/64
    by_hand = [
        1 - (1 / 16 + 0 + 9 / 64) / most,  # 48/61
        0.0,  # always right
        1 - (1 / 16 + 1 / 4 + 25 / 64) / most,  # 16/61
        1 - (1 / 16 + 0 + 1 / 64) / most,  # 56/61
    ]

    assert lim_scores(TABLE) == pytest.approx([48 / 61, 0, 16 / 61, 56 / 61])
    assert lim_scores(TABLE) == pytest.approx(by_hand)


@given(st.lists(st.lists(st.sampled_from([0, 0.25, 0.5, 1]), min_size=3, max_size=3), min_size=1, max_size=8))
@settings(max_examples=60)
def test_scores_follow_the_formula_question_by_question(rewards: list[list[float]]) -> None:
    means = [sum(column) / len(rewards) for column in zip(*rewards, strict=True)]
    most = sum((1 - mean) ** 2 for mean in means)
    for score, row in zip(lim_scores(np.array(rewards)), rewards, strict=True):
        far = sum((own - mean) ** 2 for own, mean in zip(row, means, strict=True))
        assert score == pytest.approx(1 - far / most if most else 0.0)
        assert score <= 1


def test_a_question_that_is_always_right_scores_nothing_and_one_that_is_the_mean_scores_all() -> None:
    assert lim_scores(np.ones((3, 4))) == pytest.approx([0, 0, 0])
    assert lim_scores(np.full((3, 4), 0.5)) == pytest.approx([1, 1, 1])
    assert lim_scores(np.zeros((0, 4))).shape == (0,)
    # An epoch in which all have the same reward moves no question towards or from another.
    with_constant = lim_scores(np.hstack([TABLE, np.full((4, 1), 0.3)]))
    assert list(np.argsort(with_constant)) == list(np.argsort(lim_scores(TABLE)))


def select_by(rewards: Sequence[Any], **settings: Any) -> Selected:
    rows = [Candidate(f"r{n}", "", f"{n}?", values={"rewards": one}) for n, one in enumerate(rewards)]
    return select_rows(rows, Limr(**settings))


def test_a_gap_has_the_next_epochs_reward_and_two_gaps_or_one_at_the_end_drop_the_row() -> None:
    found = select_by([[None, 0.5, 1], [-1, -1, 1], [0, 0.5, None], [0, 0.5], [0, "?", 1.0]], least=-9)

    assert found.ids == ("r0", "r4")
    assert found.dropped == {"missing_reward": 3}


def test_means_are_of_the_rows_that_are_scored() -> None:
    alone = select_by([[0, 0.5, 1], [0, 0.5, 0.5]], least=0.9)
    beside = select_by([[0, 0.5, 1], [0, 0.5, 0.5], [1, 1, None], "none", [7, 0, 0]], least=0.9)

    assert alone.ids == beside.ids
    assert beside.dropped == {"missing_reward": 1, "no_rewards": 1, "reward_not_a_share": 1}


def test_the_threshold_takes_a_score_that_equals_it_and_the_size_the_highest() -> None:
    rewards = TABLE.tolist()

    assert select_by(rewards).ids == ("r0", "r3")
    assert select_by(rewards, least=float(lim_scores(TABLE)[2])).ids == ("r0", "r2", "r3")
    assert select_by(rewards, least=-9, size=2).ids == ("r0", "r3")
    assert select_by(rewards, least=-9, size=2).dropped == {"not_selected": 2}


# --- lima

LONG = "The roof is laid from the eaves up, and each slate hides the nails of the one below. " * 15


@pytest.mark.parametrize(
    ("answer", "values", "reason"),
    [
        (LONG, {}, ""),
        (LONG, {"score": 10}, ""),
        (LONG, {"score": "9"}, "low_score"),
        (LONG, {"score": "many"}, "no_score"),
        (LONG[:1199], {}, "too_short"),
        (LONG * 4, {}, "too_long"),
        (f"{LONG} I did it in my shed.", {}, "first_person"),
        (f"{LONG} As already mentioned, slates break.", {}, "other_answers"),
        (f"{LONG} The answer above is wrong.", {}, "other_answers"),
        (f"{LONG} @slater is right.", {}, "other_answers"),
        (f"{LONG} Loop over `I` in ```\nmy_I = I\n```.", {}, ""),
        (LONG[:1150] + " https://a.example/" + "x" * 200, {}, "too_short"),
    ],
)
def test_an_answer_is_refused_by_the_rule_that_it_breaks(answer: str, values: dict[str, Any], reason: str) -> None:
    found = select_rows([Candidate("a", answer, values=values)], Lima())

    assert found.dropped == ({reason: 1} if reason else {})
    assert found.ids == (() if reason else ("a",))


def test_links_and_pictures_are_taken_out_of_what_is_selected() -> None:
    rows = [Candidate("a", f"{LONG} Read [the guide](https://a.example/b) ![roof](r.png)."), Candidate("b", LONG)]
    found = select_rows(rows, Lima())

    assert found.ids == ("a", "b")
    assert found.answers == {"a": f"{LONG} Read the guide ."}
    assert without_links('<a href="https://a.b">this</a> and (https://c.d)') == "this and ()"
    assert speaks_out("We see that i is 3, and World War II ended.") == ""


def test_a_higher_temperature_evens_domains_out_and_the_best_scores_come_first() -> None:
    rows = [
        Candidate(f"{domain}{n:03}", LONG, domain=domain, values={"score": 10 + n})
        for domain, size in (("large", 512), ("small", 8))
        for n in range(size)
    ]
    flat, even = (select_rows(rows, Lima(size=10, temperature=heat)) for heat in (1, 3))

    assert flat.domains == {"large": (512, 10), "small": (8, 0)}
    assert even.domains == {"large": (512, 8), "small": (8, 2)}  # 512^(1/3) : 8^(1/3) = 8 : 2
    assert even.ids == (*(f"large{n}" for n in range(504, 512)), "small006", "small007")


# --- all


def test_the_registry_has_four_and_lists_them_for_one_that_it_has_not() -> None:
    assert list(SELECTIONS) == ["lima", "limr", "random", "s1"]
    assert {one.kind for one in EVERY} == SELECTIONS.keys()
    with pytest.raises(ValidationError, match=r"selection.kind 's2' not found in .*: known are lima, limr, random, s1"):
        TypeAdapter[Selection](AnySelection).validate_python({"kind": "s2"})


def test_an_id_that_stands_twice_and_a_field_that_no_row_has_are_told() -> None:
    with pytest.raises(BadInput, match=r"selecting among 2 rows: the id 'a' stands twice; .* --fields\.id"):
        select_rows([Candidate("a", "x"), Candidate("a", "y")], RandomRows())
    with pytest.raises(BadInput, match=r"none has the field 'weka'; fields there are weak\. Set selection\.right-fi"):
        select_rows([Candidate("a", "x", values={"weak": 1})], S1(right_fields=("weka",)))
    with pytest.raises(BadInput, match=r"none has the field 'rewards'; fields there are none\. Set selection\.rewards"):
        select_rows([Candidate("a", "x")], Limr())


@pytest.mark.parametrize("selection", [Lima(), S1(), Limr(), RandomRows()])
def test_of_no_rows_none_is_selected(selection: Selection) -> None:
    found = select_rows([], selection)

    assert found.ids == ()
    assert set(found.steps.values()) == {0}
    assert found.dropped == {}
