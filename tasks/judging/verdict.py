"""What was found about one table as a whole: kept as JSON beside the Data Docs, and readable."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import SuiteFailed
from schemas.suites import SET_BY, THRESHOLDS
from tasks.judging.suite_run import Finding
from tasks.store.files import exists, read_file, write_file

MATCHES = "matches.jsonl"
"""Beside the verdict of a batch: each record that repeats another text or holds a probe, and which."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judged table.

    Attributes:
        folder: Where ``verdict.json``, ``results/`` and the Data Docs' ``index.html`` lie.
        summary: Counts of rows; ``reasons``, if rows are quarantined; ``success``; ``expectations``, how many.
        findings: One row per expectation: expectation, reason, observed, required, held.
    """

    folder: str
    summary: dict[str, Any]
    findings: list[dict[str, Any]]


def reach_verdict(folder: str, counts: dict[str, Any], findings: Sequence[Finding]) -> Verdict:
    """Sum findings up and write the verdict down, last of all that the folder holds."""
    summary = {**counts, "success": all(one.held for one in findings), "expectations": len(findings)}
    verdict = Verdict(folder, summary, [one.as_row() for one in findings])
    content = {"summary": verdict.summary, "findings": verdict.findings}
    write_file(f"{folder}/verdict.json", json.dumps(content, indent=1).encode())
    return verdict


def read_verdict(folder: str) -> Verdict | None:
    """Return the verdict of a folder; None if none was reached there."""
    url = f"{folder}/verdict.json"
    return Verdict(folder, **json.loads(read_file(url))) if exists(url) else None


def require_success(verdict: Verdict, what: str) -> None:
    """Refuse a table whose suite failed.

    Raises:
        SuiteFailed: It names every expectation that does not hold, with what was observed.
    """
    failed = [one for one in verdict.findings if not one["held"]]
    broken = [f"{one['reason']} ({_observed(one)})" for one in failed]
    if broken:
        settings = dict.fromkeys(SET_BY.get(one["reason"], THRESHOLDS) for one in failed)
        raise SuiteFailed(
            f"validating {what}: {len(broken)} of {len(verdict.findings)} expectations do not hold, "
            f"{', '.join(broken)}; all must hold before anything is trained on. "
            f"Read {verdict.folder}/index.html, then change what the text is made from or, if the rows are good, "
            f"{' and '.join(settings)}, and run the same again."
        )


def as_markdown(verdict: Verdict) -> str:
    """Return the verdict for reading: what became of the rows, and which expectations do not hold."""
    heading = "The suite holds" if verdict.summary["success"] else "The suite failed: nothing is trained on this"
    counts = ", ".join(f"{value:,} {name}" for name, value in verdict.summary.items() if type(value) is int)
    broken = [f"- **{one['reason']}**: {_observed(one)}" for one in verdict.findings if not one["held"]]
    reasons = [f"| {reason} | {count:,} |" for reason, count in verdict.summary.get("reasons", {}).items()]
    table = ["| reason | records refused |", "|---|---:|", *reasons] if reasons else []
    docs = f"Data Docs: `{verdict.folder}/index.html`"
    return "\n".join([f"## {heading}", counts, *broken, "", *table, "", *_across(verdict), docs])


def _across(verdict: Verdict) -> list[str]:
    """Return what came of the look across the corpus; nothing of anchors, which are not compared."""
    if not (corpus := verdict.summary.get("corpus")):
        return []
    beside = ", ".join(f"{number:,} {what}" for what, number in corpus["compared"].items()) or "nothing was asked"
    found = f"Across the corpus ({beside}): {corpus['matches']:,} matches"
    if not corpus["matches"]:
        return [found, ""]
    return [f"{found}, all in `{verdict.folder}/{MATCHES}`. Some:", *(f"- {one}" for one in corpus["examples"]), ""]


def _observed(finding: dict[str, Any]) -> str:
    """Return one finding in words.

    >>> _observed({"expectation": "num_words at least 5", "observed": 0.25, "required": 0.5, "held": False})
    'num_words at least 5: 0.25 where 0.5 is required'
    """
    observed = "not computable" if finding["observed"] is None else f"{finding['observed']:.3g}"
    return f"{finding['expectation']}: {observed} where {finding['required']:g} is required"
