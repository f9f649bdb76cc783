"""Rounds: when the loop stops, and which recipes stay in it."""

from collections.abc import Sequence
from typing import Final

from schemas.figure import Figure
from schemas.improvement import Ending, Round

NO_GAIN_ROUNDS: Final = 2
"""Rounds in a row that gained nothing that could be told, after which the loop stops."""


def recipes_left(names: Sequence[str], rounds: Sequence[Round]) -> list[str]:
    """Return the recipes that are still in: all but those whose text was held once."""
    held = {one.recipe for each in rounds for one in each.recipes if one.held}
    return [name for name in names if name not in held]


def find_ending(
    names: Sequence[str], rounds: Sequence[Round], most_rounds: int, left_tokens: int, least_new: float
) -> tuple[Ending, str] | None:
    """Return why the loop stops after its last round, in a word and in words; None if it goes on.

    Args:
        names: All recipes.
        rounds: Rounds that are done.
        most_rounds: Rounds, at most.
        left_tokens: Tokens that may still be spent.
        least_new: Share of new word 5-grams below which text repeats itself.
    """
    if not rounds:
        return None
    last = rounds[-1]
    if not recipes_left(names, rounds):
        why = "; ".join(f"{one.recipe}: {one.held}" for each in rounds for one in each.recipes if one.held)
        return "no recipe", f"no recipe is left: {why}"
    if last.worse.low is not None and last.worse.low > 0 and last.number > 1:
        return "worse", f"general text got worse in round {last.number}: {_shown(last.worse)}"
    if last.new.value is not None and last.new.value < least_new:
        return "nothing new", f"only {last.new.value:.0%} of the word 5-grams of round {last.number} are new"
    recent = [one for one in rounds if one.number > 1][-NO_GAIN_ROUNDS:]
    if len(recent) == NO_GAIN_ROUNDS and all(not _is_above_0(one.gain) for one in recent):
        gains = " and ".join(_shown(one.gain) for one in recent)
        return "no gain", f"two rounds in a row gained nothing that the steering questions can tell: {gains}"
    if left_tokens <= 0:
        return "budget", "the budget is spent"
    if last.number >= most_rounds:
        return "rounds", f"all {most_rounds} rounds are done"
    return None


def _is_above_0(gain: Figure) -> bool:
    return gain.low is not None and gain.low > 0


def _shown(figure: Figure) -> str:
    return f"{figure.signed} {figure.unit} {figure.interval}".rstrip()
