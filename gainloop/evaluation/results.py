"""What answers to an exam amount to: shares right with intervals over documents, and nats of the gold answers."""

from collections.abc import Mapping
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
