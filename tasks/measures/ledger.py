"""Counts that must add up: nothing of a batch is lost without a reason."""

from typing import Any

import polars as pl

from schemas.errors import LedgerError
from schemas.report import Cost, Counts
from tasks.measures.evidence import Evidence


def count_rows(evidence: Evidence) -> Counts:
    """Return the ledger of a batch.

    Raises:
        LedgerError: Anchors are not kept + only quarantined + only dropped, or records not kept + quarantined.
    """
    generated, records = evidence.summaries["generate"], evidence.records
    kept, made = set(records.filter("kept")["anchor_id"]), set(records["anchor_id"])
    dropped = set(evidence.drops["anchor_id"]) - made
    num_quarantined = evidence.quarantine["record_id"].n_unique()
    counts = Counts(
        anchors=generated["anchors"],
        anchors_kept=len(kept),
        anchors_only_quarantined=len(made - kept),
        anchors_only_dropped=len(dropped),
        anchors_add_up=generated["anchors"] == len(made) + len(dropped),
        requests=generated["requests"],
        replies=evidence.replies.height,
        records=generated["records"],
        kept=int(records["kept"].sum()),
        quarantined=num_quarantined,
        records_add_up=generated["records"] == records.height == records["kept"].sum() + num_quarantined,
        quarantined_by_reason=_count(evidence.quarantine),
        drops=evidence.drops.height,
        drops_by_reason=_count(evidence.drops),
    )
    check_ledger(evidence.batch_id, counts)
    return counts


def check_ledger(batch_id: str, counts: Counts) -> None:
    """Refuse counts that do not add up: a report would rest on rows that are gone."""
    c = counts
    sums = {
        f"{c.anchors} anchors = {c.anchors_kept} kept + {c.anchors_only_quarantined} only quarantined "
        f"+ {c.anchors_only_dropped} only dropped": c.anchors_add_up,
        f"{c.records} records = {c.kept} kept + {c.quarantined} quarantined": c.records_add_up,
    }
    for sum_, holds in sums.items():
        if not holds:
            raise LedgerError(
                f"adding up batch {batch_id}: {sum_} is wrong; every anchor and record is in exactly one of these. "
                "Rows of this batch were deleted or added by hand: restore the store, or generate under another seed."
            )


def add_up_cost(summaries: dict[str, dict[str, Any]]) -> Cost:
    generated, judged = summaries["generate"], summaries.get("judge")
    return Cost(
        prompt_tokens=generated["prompt_tokens"],
        completion_tokens=generated["completion_tokens"],
        scoring_tokens=summaries.get("score", {}).get("tokens"),
        judging_tokens=judged and judged["prompt_tokens"] + judged["completion_tokens"],
        training_tokens=summaries.get("train", {}).get("tokens", {}),
        seconds={stage: summary["seconds"] for stage, summary in summaries.items() if "seconds" in summary},
    )


def _count(rows: pl.DataFrame) -> dict[str, int]:
    return dict(sorted(rows["reason"].value_counts().iter_rows(), key=lambda pair: (-pair[1], pair[0])))
