"""What marked answers amount to: shares right, in one sample and in several, with intervals over exercises; a table."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from gainloop.evaluation.results import as_share
from gainloop.measures.estimate import Estimate, share_of
from gainloop.measures.repeated import Tally, pass_all, pass_at, share_right
from schemas.exercise import SKILLS, Skill

REASONS: Final = 5
"""Reasons that a table names, the most frequent ones; all are in the answers."""


@dataclass(frozen=True, slots=True)
class SkillResult:
    """What one model's answers to the exercises of one skill amount to.

    Attributes:
        accuracy: Share of the answers that are right.
        all_right: pass^k: share of exercises of which k answers are all right.
        any_right: pass@k: share of exercises of which one of k answers at least is right.
        checks: Share of the checks that answers meet; of constraints an answer has several.
        reasons: Answers that are not right by reason; one may have several.
        num_exercises: Exercises that were answered.
        num_skipped: Answers that never came.
    """

    accuracy: Estimate
    all_right: Estimate
    any_right: Estimate
    checks: Estimate
    reasons: Mapping[str, int]
    num_exercises: int
    num_skipped: int


def skill_result(marked: pl.DataFrame, k: int) -> SkillResult:
    """Return what marked answers of one skill amount to; those that never came count nowhere."""
    answered = marked.filter(pl.col("skipped") == "")
    counts = answered.group_by("exercise_id").agg(pl.col("right").sum(), n=pl.len()).sort("exercise_id")
    tallies = [Tally(int(right), int(n)) for _, right, n in counts.iter_rows()]
    return SkillResult(
        accuracy=share_right(tallies),
        all_right=pass_all(tallies, k),
        any_right=pass_at(tallies, k),
        checks=share_of(answered["num_met"], answered["exercise_id"].to_list(), answered["num_checks"]),
        reasons=Counter(reason for reasons in answered["reasons"] for reason in reasons),
        num_exercises=len(tallies),
        num_skipped=marked.height - answered.height,
    )


def tabulate_skills(marked: Mapping[str, pl.DataFrame], k: int) -> list[dict[str, str]]:
    """Return a row for each model and skill: shares right with intervals, how many, and why answers are not right.

    Args:
        marked: Marked answers by model.
        k: Samples of pass^k and pass@k.
    """
    rows = [
        {"model": model, "skill": skill, **_cells(skill, skill_result(of_skill, k), k)}
        for model, answers in marked.items()
        for skill in SKILLS
        if not (of_skill := answers.filter(skill=skill)).is_empty()
    ]
    used = {column for row in rows for column, cell in row.items() if cell}
    return [{column: cell for column, cell in row.items() if column in used} for row in rows]


def _cells(skill: Skill, result: SkillResult, k: int) -> dict[str, str]:
    several = {f"pass^{k}": as_share(result.all_right), f"pass@{k}": as_share(result.any_right)} if k > 1 else {}
    skipped = f", {result.num_skipped} not answered" if result.num_skipped else ""
    named = Counter(result.reasons).most_common(REASONS)
    return {
        "right": as_share(result.accuracy),
        **several,
        "constraints met": as_share(result.checks) if skill == "constrained" else "",
        "exercises": str(result.num_exercises),
        "answers": f"{result.accuracy.n}{skipped}",
        "not right": ", ".join(f"{count} {reason}" for reason, count in named),
    }
