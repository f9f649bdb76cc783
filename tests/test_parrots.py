"""Judges that give their prompt's words back."""

import polars as pl
import pytest

from gainloop.evaluation.judge import FACTUALITY, FEWEST_ALIKE, UNREADABLE, parroted, reader_of
from gainloop.filters.judge import read_score
from gainloop.filters.vote import read_vote
from gainloop.reports.texts import _rate
from gainloop.store.scores import as_frame
from schemas.rows import Verdict
from tasks.judge import judging_summary


def verdicts(*said: tuple[str, str]) -> pl.DataFrame:
    rows = [Verdict(f"r{n}", f"a{n}", FACTUALITY, verdict, reason, f"q{n}") for n, (verdict, reason) in enumerate(said)]
    return as_frame(rows)


SAME = ("factual", "The draft says it.")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([SAME] * FEWEST_ALIKE, FEWEST_ALIKE),
        ([SAME] * 40 + [(UNREADABLE, "malformed")], 40),
        ([SAME] * (FEWEST_ALIKE - 1), 0),
        ([SAME] * 20 + [("factual", "Another reason.")], 0),
        ([SAME] * 20 + [("non_factual", SAME[1])], 0),
    ],
)
def test_replies_that_are_all_alike_reason_and_all_count_for_nothing(said: list[tuple[str, str]], found: int) -> None:
    assert parroted(verdicts(*said)) == found
    figure = _rate(verdicts(*said), "non_factual")
    assert (figure.value is None) == bool(found)
    assert ("alike, reason and all" in figure.status) == bool(found)


def test_records_of_one_text_have_one_reply_and_are_no_sign() -> None:
    rows = [Verdict(f"r{n}", "a", FACTUALITY, *SAME, "q0") for n in range(20)]
    assert parroted(as_frame(rows)) == 0


def test_a_summary_says_which_verdicts_count_for_nothing() -> None:
    summary = {"records": 9, "anchors": 0, "model": "m", "verdicts": {FACTUALITY: {"factual": 9}}, "cost": 0}
    told = judging_summary(summary | {"parroted": {FACTUALITY: 9}, "prompt_tokens": 5, "completion_tokens": 5})
    assert "factuality counts for nothing: all 9 replies are alike" in told


@pytest.mark.parametrize("reason", ["...", "{{reason}}", "[your reason here]"])
def test_a_verdict_whose_reason_is_the_prompts_example_is_none(reason: str) -> None:
    said = f'{{"reason": "{reason}", "verdict": "factual", "score": 5, "answer": "yes"}}'
    assert reader_of(FACTUALITY)(said) is read_score(said) is read_vote(said) is None
    said = said.replace(reason, "The mill is there.")
    assert (reader_of(FACTUALITY)(said), read_score(said), read_vote(said)) == (
        ("factual", "The mill is there."),
        5,
        True,
    )
