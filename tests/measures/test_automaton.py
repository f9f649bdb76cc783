"""The longest shared run, against all runs."""

from hypothesis import given
from hypothesis import strategies as st

from gainloop.measures.faithfulness import Automaton

SEQUENCES = st.lists(st.sampled_from("abc"), max_size=25)


def longest_by_trying(first: list[str], second: list[str]) -> int:
    runs = {tuple(first[begin:end]) for begin in range(len(first)) for end in range(begin + 1, len(first) + 1)}
    return max((len(run) for run in runs if any(tuple(second[at : at + len(run)]) == run for at in range(len(second)))),
               default=0)  # fmt: skip


@given(SEQUENCES, SEQUENCES)
def test_it_finds_what_trying_every_run_finds(first: list[str], second: list[str]) -> None:
    assert Automaton.of(first).longest_run(second) == longest_by_trying(first, second)


def test_it_has_at_most_two_states_a_word() -> None:
    assert len(Automaton.of("abcbc" * 200).moves) <= 2 * 1000
    assert Automaton.of("a" * 20_000).longest_run("a" * 20_000) == 20_000
