"""Selections from files: what is written, with the counts beside it, and what is refused."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gainloop.curation.selection.chance import RandomRows
from gainloop.curation.selection.files import RowFields, read_rows
from gainloop.curation.selection.lima import Lima
from gainloop.curation.selection.s1 import S1
from schemas.errors import BadInput
from tasks.select import as_markdown, select_from_files, selection_summary

FIELDS = RowFields()


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


QUESTIONS = [
    {"id": f"q{n}", "question": f"{n} + {n}?", "answer": str(2 * n), "subject": "ab"[n % 2]} for n in range(40)
]


def test_selected_rows_are_written_whole_in_their_order_with_the_counts_beside_them(tmp_path: Path) -> None:
    file, out = write(tmp_path / "all.jsonl", QUESTIONS), tmp_path / "sets" / "few.jsonl"
    counts = select_from_files([file], str(out), S1(size=10), FIELDS)
    rows = read(out)

    assert [row for row in QUESTIONS if row in rows] == rows
    assert json.loads((tmp_path / "sets" / "few.counts.json").read_text()) == counts
    assert counts["steps"] == {"given": 40, "quality": 40, "difficulty": 40, "selected": 10}
    assert counts["domains"] == {"a": {"given": 20, "selected": 5}, "b": {"given": 20, "selected": 5}}
    assert sorted(row["id"] for row in rows) == sorted(counts["ids"])
    assert selection_summary(counts) == "10 of 40 rows selected; 30 not_selected"
    assert "| difficulty | 40 |" in as_markdown(counts)


def test_a_selection_that_takes_nothing_is_refused_and_leaves_what_is_there(tmp_path: Path) -> None:
    file, out = write(tmp_path / "all.jsonl", QUESTIONS), tmp_path / "few.jsonl"
    select_from_files([file], str(out), S1(size=10), FIELDS)
    with pytest.raises(BadInput, match=r"by lima: 0 of 40 rows selected; 40 too_short; one row at least must be"):
        select_from_files([file], str(out), Lima(), FIELDS)
    assert len(read(out)) == 10


def test_a_set_is_the_same_from_parquet_and_in_another_order(tmp_path: Path) -> None:
    pl.DataFrame(QUESTIONS[::-1]).write_parquet(tmp_path / "all.parquet")
    file = write(tmp_path / "all.jsonl", QUESTIONS)
    found = [
        select_from_files([path], str(tmp_path / "few.jsonl"), RandomRows(size=7), FIELDS)["ids"]
        for path in (file, str(tmp_path / "all.parquet"))
    ]

    assert found[0] == found[1]


def test_rows_without_ids_are_named_by_what_they_say_and_twins_by_a_number(tmp_path: Path) -> None:
    rows = [{"prompt": "a?", "response": "b"}, {"prompt": "c?", "response": "d"}, {"prompt": "a?", "response": "b"}]
    names = [one.candidate.row_id for one in read_rows([write(tmp_path / "a.jsonl", rows)], FIELDS)]

    assert len(set(names)) == 3
    assert names[2] == f"{names[0]}-2"


def test_of_a_conversation_the_last_answer_is_judged_and_changed(tmp_path: Path) -> None:
    said = "Rub the joint with wax, then press it home. " * 40
    turns = [
        {"role": "user", "content": "How?"},
        {"role": "assistant", "content": f"<think>\nI know.\n</think>\n\n{said}https://a.example/b"},
    ]
    file, out = write(tmp_path / "chats.jsonl", [{"messages": turns}]), tmp_path / "few.jsonl"
    (one,) = read_rows([file], FIELDS)
    counts = select_from_files([file], str(out), Lima(), FIELDS)
    (row,) = read(out)

    assert (one.candidate.question, one.candidate.thought) == ("How?", "I know.")
    assert counts["changed"] == 1
    assert row["messages"][0] == turns[0]
    assert row["messages"][1] == {"role": "assistant", "content": f"<think>\nI know.\n</think>\n\n{said}"}


def test_of_real_questions_those_are_left_that_two_real_models_got_wrong(tmp_path: Path, shared_data: Path) -> None:
    file, out = shared_data / "gsm8k" / "example_model_solutions.jsonl", tmp_path / "hard.jsonl"
    selection = S1(size=200, right_fields=("6b_finetuning.is_correct", "175b_finetuning.is_correct"))
    counts = select_from_files([str(file)], str(out), selection, RowFields(answer="ground_truth"))
    verdicts = [[row[f"{size}_finetuning"]["is_correct"] for size in ("6b", "175b")] for row in read(file)]

    assert counts["steps"]["given"] == counts["steps"]["quality"] == len(verdicts) == 660
    assert counts["steps"]["difficulty"] == sum(not any(one) for one in verdicts)
    assert counts["dropped"]["too_easy"] == sum(any(one) for one in verdicts)
    chosen = read(out)
    assert len(chosen) == 200
    assert not any(row["6b_finetuning"]["is_correct"] or row["175b_finetuning"]["is_correct"] for row in chosen)
    mean = sum(len(row["ground_truth"]) for row in chosen) / 200
    assert mean > 1.2 * sum(len(row["ground_truth"]) for row in read(file)) / 660  # long ones are drawn first


@pytest.mark.parametrize(
    ("rows", "out", "found"),
    [
        (QUESTIONS, "few.json", r"to go to '.*few\.json'; a name that ends in \.jsonl is allowed\. Correct --out\."),
        (QUESTIONS, "all.jsonl", r"'.*all\.jsonl' is one of the files that are read; another is allowed"),
        ([], "few.jsonl", r"no row is there; one row at least is allowed"),
        ([{"x": 1}], "few.jsonl", r"all\.jsonl row 1: no question, answer or conversation; fields there are x\."),
        (
            [{"messages": [{"role": "user", "content": "a?"}]}],
            "few.jsonl",
            r"row 1: its conversation is none, the last turn is of user",
        ),
        ([{"messages": "a"}], "few.jsonl", r"row 1: its conversation is none, messages are str, not a list"),
    ],
)
def test_what_cannot_be_selected_from_is_told_and_nothing_is_written(
    tmp_path: Path, rows: list[dict[str, Any]], out: str, found: str
) -> None:
    file = write(tmp_path / "all.jsonl", rows)
    with pytest.raises(BadInput, match=found):
        select_from_files([file], str(tmp_path / out), RandomRows(), FIELDS)

    assert [path.name for path in tmp_path.iterdir()] == ["all.jsonl"]
