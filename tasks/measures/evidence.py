"""The rows and scores that a report rests on, and the batches that an overview does."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import polars as pl

from schemas.report import Report


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a batch left behind.

    Attributes:
        batch_id: The recipe's hash.
        training_id: The training whose scores these are; empty before the first.
        recipe: The recipe as JSON.
        logprob_semantics: "processed", "raw" or "unknown"; see ``tasks.serving.Generator``.
        measured_at: When the evidence was read.
        replies: One row per reply: request_id, prompt_id, anchor_id, text, finish_reason, and token_logprobs, empty if
            none were asked for.
        records: One row per record: record_id, anchor_id, facet, text, request_ids, num_bytes, and bool kept.
        quarantine: One row per record and reason: record_id, reason.
        drops: One row per drop: anchor_id, facet, reason, request_id.
        anchors: One row per anchor with a record or a drop: anchor_id, text, title, num_bytes.
        scores: "<role>/<texts>" to one row per text: text_id, nats, num_tokens, num_bytes. Roles are
            start, synthetic, baseline; texts are heldout, anchors, records. Any may be missing.
        contrasts: Scores of outputs under own and other prompts: request_id, kind, prompt_id, low, high; None if there
            are none.
        summaries: Completed stage (generate, validate, score, judge, train) to its summary.
        checkpoints: Role to checkpoint id.
        verdicts: Of the latest judging, one row per text and question: see ``Verdict``; None if there is none.
    """

    batch_id: str
    training_id: str
    recipe: dict[str, Any]
    logprob_semantics: Literal["processed", "raw", "unknown"]
    measured_at: datetime
    replies: pl.DataFrame
    records: pl.DataFrame
    quarantine: pl.DataFrame
    drops: pl.DataFrame
    anchors: pl.DataFrame
    scores: dict[str, pl.DataFrame]
    contrasts: pl.DataFrame | None
    summaries: dict[str, dict[str, Any]]
    checkpoints: dict[str, str]
    verdicts: pl.DataFrame | None = None

    @property
    def would_be_records(self) -> pl.DataFrame:
        """The replies that a record or a drop came of; a list of entities, say, only leads to others."""
        used = pl.concat([self.records["request_ids"].explode(), self.drops["request_id"]])
        return self.replies.filter(pl.col("request_id").is_in(used.implode()))

    @property
    def kept(self) -> pl.DataFrame:
        """The kept records, each with its anchor's text."""
        anchors = self.anchors.select("anchor_id", "title", anchor="text")
        return self.records.filter("kept").join(anchors, on="anchor_id", how="left").sort("record_id")


@dataclass(frozen=True, slots=True)
class Begun:
    """A batch as the store has it.

    Attributes:
        recipe: As JSON.
        stages: Those that are complete: generate, validate, score and train, the latter two with an id.
        report: The newest of this format, one of a training before one of none; None if there is none.
        is_outdated: There is no report but one of an earlier format.
        requests: How many were asked; 0 before generation is complete.
        drops: Reason to number.
        quarantine: Reason to number of records; one with two reasons counts under both.
    """

    batch_id: str
    recipe: dict[str, Any]
    begun: datetime
    stages: tuple[str, ...] = ()
    report: Report | None = None
    is_outdated: bool = False
    requests: int = 0
    records: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    quarantine: dict[str, int] = field(default_factory=dict)
