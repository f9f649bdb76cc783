"""What answers to an exam amount to: shares right with intervals over documents, nats of the gold answers, a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from gainloop.measures.estimate import Estimate, mean_of, ratio_of_sums, share_of

COLUMNS: Final = {
    "options": "option_right",
    "options by byte": "option_right_by_byte",
    "exact": "exact",
    "f1": "f1",
    "judged": "verdict",
}
"""Shares that answers may have, and the column of each."""


@dataclass(frozen=True, slots=True)
class ExamResult:
    """What the answers of one model under one condition amount to.

    Attributes:
        shares: Share right under each name of ``COLUMNS`` that was measured.
        nats_per_token: Nats of the gold answers by their tokens.
        nats: Nats of a gold answer.
        num_asked: Questions that were asked.
        num_skipped: Questions that were not, because they did not fit.
        chance: Share right of a blind choice among the options; None without options.
    """

    shares: Mapping[str, Estimate]
    nats_per_token: Estimate
    nats: Estimate
    num_asked: int
    num_skipped: int
    chance: float | None


def result_of(answers: pl.DataFrame) -> ExamResult:
    """Return what answers amount to; questions that were skipped count nowhere, and documents are clusters."""
    asked = answers.filter(pl.col("skipped") == "")
    likely = asked.filter(pl.col("nats").is_not_null())
    of = {"documents": likely["document_id"].to_list()}
    nats = likely["nats"].to_numpy()
    choosing = asked.filter(pl.col("option_right").is_not_null())
    return ExamResult(
        shares={name: found for name, column in COLUMNS.items() if (found := _share(asked, column)) is not None},
        nats_per_token=ratio_of_sums(nats, likely["num_tokens"].to_numpy(), of["documents"], "nats/token"),
        nats=mean_of(nats, of["documents"], "nats/answer"),
        num_asked=asked.height,
        num_skipped=answers.height - asked.height,
        chance=float((1 / choosing["num_options"]).mean()) if choosing.height else None,  # type: ignore[arg-type]
    )


def _share(asked: pl.DataFrame, column: str) -> Estimate | None:
    rows = asked.filter(pl.col(column).is_not_null())
    if rows.is_empty():
        return None
    documents = rows["document_id"].to_list()
    if column == "f1":
        return mean_of(rows[column].to_numpy(), documents, "share")
    return share_of((rows[column] == "correct") if column == "verdict" else rows[column], documents)


def attempt_rate(answers: pl.DataFrame) -> Estimate:
    """Return the share of asked questions with an answer that could be read."""
    asked = answers.filter((pl.col("skipped") == "") & pl.col("answer").is_not_null())
    return share_of(asked["answer"] != "", asked["document_id"].to_list())


def as_share(found: Estimate | None) -> str:
    """Return a share with its interval as a table shows it.

    >>> as_share(Estimate(0.414, 0.36, 0.463, 400, "share")), as_share(None)
    ('41 % [36, 46]', '')
    """
    if found is None or found.value is None:
        return "" if found is None else found.status
    if found.low is None or found.high is None:
        return f"{100 * found.value:.0f} %"
    return f"{100 * found.value:.0f} % [{100 * max(found.low, 0):.0f}, {100 * min(found.high, 1):.0f}]"


def as_number(found: Estimate) -> str:
    """Return a number with its interval as a table shows it.

    >>> as_number(Estimate(2.414, 2.3, 2.5, 400, "nats/token"))
    '2.41 [2.30, 2.50]'
    """
    if found.value is None:
        return ""
    interval = "" if found.low is None or found.high is None else f" [{found.low:.2f}, {found.high:.2f}]"
    return f"{found.value:.2f}{interval}"


def tabulate(answers: Mapping[str, pl.DataFrame]) -> list[dict[str, str]]:
    """Return a row for each model and condition: share right with interval, nats a token, questions.

    Args:
        answers: Answers under "<model>/<condition>".
    """
    rows = []
    for name, given in answers.items():
        model, _, condition = name.rpartition("/")
        rows.append({"model": model, "asked": condition, **_cells(result_of(given)), **_attempts(given)})
    used = {column for row in rows for column, cell in row.items() if cell}
    return [{column: cell for column, cell in row.items() if column in used} for row in rows]


def _cells(result: ExamResult) -> dict[str, str]:
    shares = {f"right ({name})": as_share(result.shares.get(name)) for name in COLUMNS}
    chance = "" if result.chance is None else f"{100 * result.chance:.0f} %"
    skipped = f", {result.num_skipped} not asked" if result.num_skipped else ""
    nats = {"nats a token": as_number(result.nats_per_token), "nats an answer": as_number(result.nats)}
    return shares | {"chance": chance} | nats | {"questions": f"{result.num_asked}{skipped}"}


def _attempts(answers: pl.DataFrame) -> dict[str, str]:
    """Return how often a written answer could be read, and the share right among those, where some could not."""
    tried = attempt_rate(answers)
    if tried.value in (None, 1):
        return {}
    some = result_of(answers.filter(pl.col("answer") != ""))
    return {"attempted": as_share(tried), "right of attempted": as_share(some.shares.get("exact"))}


def as_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows as a table that is read in a terminal and as Markdown.

    >>> print(as_table([{"model": "a", "asked": "closed"}, {"model": "bc", "asked": "open"}]))
    | model | asked  |
    | ----- | ------ |
    | a     | closed |
    | bc    | open   |
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([row.get(name, "") for name in names] for row in rows)]
    widths = [max(len(line[number]) for line in cells) for number in range(len(names))]
    lines = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in cells]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
