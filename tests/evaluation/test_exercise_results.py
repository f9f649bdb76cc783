"""What marked answers amount to: shares, counts of reasons, and a table of them."""

from typing import Any

import polars as pl
import pytest

from gainloop.evaluation.exercise_results import skill_result, tabulate_skills
from gainloop.store.exercises import MARKED


def marked(rows: list[tuple[str, str, list[list[str]]]], checks: int = 1) -> pl.DataFrame:
    """Return marked answers of exercises: id, skill, and for each draw why it is wrong, or ``skipped`` and a reason."""
    table: list[dict[str, Any]] = []
    for exercise_id, skill, draws in rows:
        for draw, reasons in enumerate(draws):
            row: dict[str, Any] = {"exercise_id": exercise_id, "skill": skill, "draw": draw, "skipped": ""}
            if reasons[:1] == ["skipped"]:
                table.append(row | {"skipped": reasons[1]})
                continue
            met = {"num_met": checks - len(reasons), "num_checks": checks}
            table.append(row | {"right": not reasons, "reasons": reasons} | met)
    return pl.DataFrame(table, MARKED)


SOLVED = [
    ("a", "solved", [[], [], [], []]),
    ("b", "solved", [[], ["wrong"], ["wrong"], []]),
    ("c", "solved", [["cut_off", "wrong"], ["wrong"], ["wrong"], []]),
    ("d", "solved", [["wrong"], ["timeout"], ["wrong"], ["wrong"]]),
]


def test_shares_are_of_answers_and_of_exercises_and_reasons_are_counted() -> None:
    found = skill_result(marked(SOLVED), 2)

    assert found.accuracy.value == pytest.approx(7 / 16)
    assert (found.accuracy.n, found.accuracy.num_clusters, found.num_exercises) == (16, 4, 4)
    assert found.all_right.value == pytest.approx((1 + 1 / 6 + 0 + 0) / 4)
    assert found.any_right.value == pytest.approx((1 + 5 / 6 + 3 / 6 + 0) / 4)
    assert found.reasons == {"wrong": 8, "cut_off": 1, "timeout": 1}


def test_an_answer_that_never_came_counts_nowhere_but_is_told() -> None:
    rows = [*SOLVED[:2], ("e", "solved", [[], ["skipped", "rejected"]]), ("f", "solved", [["skipped", "rejected"]])]
    found = skill_result(marked(rows), 2)

    assert (found.num_exercises, found.num_skipped) == (3, 2)
    assert found.accuracy.value == pytest.approx(7 / 9)
    assert found.all_right.n == 2
    (row,) = tabulate_skills({"m": marked(rows)}, 2)
    assert row["answers"] == "9, 2 not answered"


def test_a_table_has_a_row_for_each_model_and_skill_and_no_empty_column() -> None:
    written = marked([("x", "constrained", [[], ["words"]]), ("y", "constrained", [["words", "json"], []])], 2)
    rows = tabulate_skills({"m": marked(SOLVED), "n": pl.concat([marked(SOLVED[:2]), written])}, 2)

    assert [(row["model"], row["skill"]) for row in rows] == [("m", "solved"), ("n", "solved"), ("n", "constrained")]
    assert rows[0]["right"].startswith("44 % [")
    assert rows[0]["pass^2"].startswith("29 % [")
    assert rows[0]["pass@2"].startswith("58 % [")
    assert rows[0]["not right"] == "8 wrong, 1 cut_off, 1 timeout"
    assert rows[2]["constraints met"].startswith("62 % [")
    assert (rows[2]["exercises"], rows[2]["answers"], rows[2]["not right"]) == ("2", "4", "2 words, 1 json")
    (single,) = tabulate_skills({"m": marked([(one, skill, draws[:1]) for one, skill, draws in SOLVED])}, 1)
    assert set(single) == {"model", "skill", "right", "exercises", "answers", "not right"}
