"""When the loop stops, and which recipes stay in it."""

from typing import Any

import pytest

from gainloop.steering.rounds import find_ending, recipes_left
from schemas.figure import Figure
from schemas.improvement import RecipeRound, Round

NAMES = ["pairs", "sentences"]


def figure(low: float | None, high: float | None, unit: str = "points") -> Figure:
    value = None if low is None or high is None else (low + high) / 2
    about = {"n": 64, "clusters": 8, "dropped": 0, "definition": "made up", "status": "ok"}
    return Figure(value=value, low=low, high=high, unit=unit, **about)


def recipe(name: str, held: str = "", tokens: int = 1_000) -> RecipeRound:
    about: dict[str, Any] = {
        "share": 0.5,
        "planned": tokens,
        "tokens": tokens,
        "money": None,
        "anchors": 4,
        "records": 4,
    }
    return RecipeRound(
        recipe=name, held=held, kept=4, batches=[], refused={}, given_up={}, verdict="go", gain=figure(1, 3), **about
    )


def round_(
    number: int,
    gain: tuple[float, float] = (1, 3),
    worse: tuple[float, float] = (-0.1, 0.1),
    new: float = 0.8,
    held: dict[str, str] | None = None,
) -> Round:
    recipes = [recipe(name, (held or {}).get(name, "")) for name in NAMES]
    about: dict[str, Any] = {
        "tokens": 2_000,
        "synthetic_tokens": 100,
        "money": None,
        "seconds": 1.0,
        "gaps": [],
        "missing": 0.5,
    }
    return Round(
        number=number,
        recipes=recipes,
        checkpoints=["c"],
        batches=["b"],
        training="t",
        right=figure(20, 30, "%"),
        gain=figure(*gain),
        over_repeating=figure(1, 3),
        forgotten=figure(0, 0.1, "bits/byte"),
        repeating_forgotten=figure(0, 0.2, "bits/byte"),
        worse=figure(*worse, "bits/byte"),
        new=figure(new, new, "share"),
        **about,
    )


def ending(*rounds: Round, left: int = 10_000, most: int = 9) -> str | None:
    found = find_ending(NAMES, rounds, most, left, 0.2)
    return found[0] if found else None


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ((), None),
        ((round_(1),), None),
        ((round_(1, gain=(-1, 1)), round_(2, gain=(-1, 1))), None),
        ((round_(1), round_(2, gain=(-1, 1)), round_(3, gain=(-2, 1))), "no gain"),
        ((round_(1), round_(2, gain=(-1, 1)), round_(3), round_(4, gain=(-1, 1))), None),
        ((round_(1, worse=(0.1, 0.2)),), None),
        ((round_(1), round_(2, worse=(0.1, 0.2))), "worse"),
        ((round_(1, new=0.1),), "nothing new"),
        ((round_(1, held={"pairs": "lies"}),), None),
        ((round_(1, held={"pairs": "lies"}), round_(2, held={"sentences": "copies"})), "no recipe"),
    ],
)
def test_the_loop_stops_for_one_reason_that_it_names(rounds: tuple[Round, ...], expected: str | None) -> None:
    assert ending(*rounds) == expected


def test_it_stops_at_its_rounds_and_at_its_budget() -> None:
    assert ending(round_(1), round_(2), most=2) == "rounds"
    assert ending(round_(1), left=0) == "budget"


def test_a_recipe_that_was_held_once_is_out_and_the_reason_says_why() -> None:
    rounds = [round_(1, held={"pairs": "records repeat each other"})]
    assert recipes_left(NAMES, rounds) == ["sentences"]
    found = find_ending(["pairs"], rounds, 9, 10_000, 0.2)
    assert found == ("no recipe", "no recipe is left: pairs: records repeat each other")
