"""A validation for people: one HTML file that loads nothing, with every expectation and texts that do not meet it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gainloop.curation.suite import MATCHES, Finding, SuiteResult
from gainloop.reports.page import open_template
from schemas.suites import REASONS

MAX_TEXTS: Final = 20
"""Texts that are shown of one reason, at most; the results beside the page have the ids of all."""

MAX_CHARS: Final = 600


@dataclass(frozen=True, slots=True)
class Refused:
    """The rows that do not meet one expectation: how many, and the first of them as (id, beginning of the text)."""

    finding: Finding
    texts: list[tuple[str, str]]

    @property
    def num_rows(self) -> int:
        return len(self.finding.failing)


def render_validation(result: SuiteResult, what: str, findings: Sequence[Finding], texts: Mapping[str, str]) -> str:
    """Return the page as HTML. All text from outside is escaped; nothing is loaded from anywhere.

    Args:
        result: Result of all suites of the table.
        what: Name of what was validated: a batch or a snapshot, with its id.
        findings: Findings that the result sums up.
        texts: Text of each row by its id.
    """
    refused = [Refused(one, _begin(one.failing[:MAX_TEXTS], texts)) for one in findings if one.failing]
    return open_template("validation.html.j2").render(
        what=what,
        summary=result.summary,
        counts=[(name, count) for name, count in result.summary.items() if type(count) is int],
        broken=[one for one in findings if not one.held],
        findings=findings,
        refused=refused,
        reasons=REASONS,
        corpus=result.summary.get("corpus"),
        matches=MATCHES,
    )


def _begin(ids: Sequence[str], texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return ids with the beginnings of their texts."""
    begun = ((row, texts.get(row, "")) for row in ids)
    return [(row, text[:MAX_CHARS] + ("..." if len(text) > MAX_CHARS else "")) for row, text in begun]
