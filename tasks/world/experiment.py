"""The experiment in the invented world: every batch's predictors beside its verdict."""

from collections.abc import Callable

import numpy as np

from schemas.verification import InventedWorld, Judged, Trained, Verification
from tasks.measures.estimate import as_figure, mean_of
from tasks.measures.findings import describe
from tasks.world.batches import Plan, draw_plans
from tasks.world.known import compare_with_reference
from tasks.world.predictors import PREDICTORS, PRIMARY, VERDICT
from tasks.world.trainings import PROBE_SEED, REFERENCE, run_missing


def verify_world(
    folder: str,
    verification_id: str,
    subject: InventedWorld,
    processes: int,
    on_progress: Callable[[int, int], None],
) -> Verification:
    """Return what predictors are worth in the invented world; what ``folder`` has already is not run again."""
    trained = run_missing(folder, subject, processes, on_progress)
    batches = [judge_batch(plan, subject, trained) for plan in draw_plans(subject.batches, subject.seed)]
    return describe(verification_id, subject.model_dump(mode="json"), VERDICT, PREDICTORS, PRIMARY, batches)


def judge_batch(plan: Plan, subject: InventedWorld, trained: dict[str, Trained]) -> Judged:
    """Return a batch's predictors and its verdict."""

    def pair(seed: int) -> tuple[Trained, Trained]:
        return trained[f"{plan.name}-seed{seed}"], trained[f"{REFERENCE}-seed{seed}"]

    known = compare_with_reference(*pair(PROBE_SEED))
    runs = [pair(seed) for seed in range(subject.seeds)]
    gains = np.array([np.subtract(run.verdict_right, reference.verdict_right, dtype=float) for run, reference in runs])
    facts = np.tile(np.arange(gains.shape[1]), len(gains))
    verdict = mean_of(gains.ravel(), facts, "share of facts")
    return Judged(
        name=plan.name,
        method=plan.method,
        predictors={each.key: known[each.key] for each in PREDICTORS},
        verdict=as_figure(verdict, f"{VERDICT}; interval over facts"),
        by_seed=[float(gain) for gain in gains.mean(axis=1)],
    )
