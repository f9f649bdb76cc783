"""Digests: what lists and the overview show of a report, as rows beside it, so that they parse no report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from gainloop.store.duck import Store
from schemas.figure import Figure, figures_of
from schemas.knowledge import Graded
from schemas.report import FORMAT, WORDS, Report
from schemas.sections import GainVerdict

FIGURE_COLUMNS: Final = tuple(Figure.model_fields)

_NEWEST = """
select batch_id, measurement_id, format, training_id, exam, graded, verdict, accepted_tokens, cost_tokens from digests
qualify row_number() over (
    partition by batch_id order by format = $1 desc, training_id != '' desc, rowid desc) = 1
order by batch_id
"""
"""One report of each batch: of this format if there is one, of a training if there is one, the newest of those."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What is shown of one report where many stand side by side.

    Attributes:
        training: Id of the training that it is of; empty if of none.
        exam: Exam that says what the training taught; empty if none does.
        graded: How the exam was graded; empty where there is none.
        verdict: What the report says of the gain on held-out text.
        accepted_tokens: Completion tokens of kept records, or None if they were not counted.
        cost_tokens: Tokens that were read and written for the batch: prompts, replies, scores and verdicts.
        figures: Figures by their paths in the report, all or some.
    """

    training: str
    exam: str
    graded: Graded
    verdict: GainVerdict
    accepted_tokens: int | None
    cost_tokens: int
    figures: Mapping[str, Figure]


def digest_of(report: Report) -> Digest:
    """Return the digest of a report, with every figure that has words."""
    cost, is_examined = report.cost, report.knowledge.gained.value is not None
    spent = (cost.prompt_tokens, cost.completion_tokens, cost.scoring_tokens, cost.judging_tokens)
    return Digest(
        training=report.training,
        exam=report.knowledge.exam if is_examined else "",
        graded=report.knowledge.graded if is_examined else "",
        verdict=report.gain.verdict,
        accepted_tokens=cost.accepted_tokens,
        cost_tokens=sum(tokens or 0 for tokens in spent),
        figures={one.path: one.figure for one in figures_of(report)},
    )


def digest_rows(report: Report, measurement_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the tables digests and figures for a report."""
    names, found = {"batch_id": report.batch, "measurement_id": measurement_id}, digest_of(report)
    about = ("exam", "graded", "verdict", "accepted_tokens", "cost_tokens")
    digest = {"format": report.format, "training_id": found.training} | {name: getattr(found, name) for name in about}
    read = attrgetter(*FIGURE_COLUMNS)
    return {
        "digests": [names | digest],
        "figures": [
            names | {"path": path} | dict(zip(FIGURE_COLUMNS, read(figure), strict=True))
            for path, figure in found.figures.items()
        ],
    }


def read_digests(store: Store, paths: Sequence[str]) -> dict[str, Digest | None]:
    """Return the digest of each batch's newest report, with these figures; None if its reports are of another format.

    A report of a training comes before one of none.

    Args:
        paths: Paths of figures. A report that lacks one of them that has words by now is of another format.
    """
    newest = store.query(_NEWEST, FORMAT)
    rows = store.query(
        f"select batch_id, path, {', '.join(FIGURE_COLUMNS)} from figures semi join ({_NEWEST}) as newest "
        "using (batch_id, measurement_id) where path in (select unnest($2::varchar[]))",
        *(FORMAT, list(paths)),
    )
    figures: dict[str, dict[str, Figure]] = {}
    for batch_id, path, *values in rows.iter_rows():
        # As they were written; to check a thousand reports' figures again takes longer than to read them.
        figures.setdefault(batch_id, {})[path] = Figure.model_construct(
            **dict(zip(FIGURE_COLUMNS, values, strict=True))
        )
    wanted = WORDS.keys() & set(paths)
    found: dict[str, Digest | None] = {}
    for batch_id, _, made_as, training, exam, graded, verdict, accepted, cost in newest.iter_rows():
        of_batch = figures.get(batch_id, {})
        is_current = made_as == FORMAT and wanted <= of_batch.keys()
        found[batch_id] = Digest(training, exam, graded, verdict, accepted, cost, of_batch) if is_current else None
    return found
