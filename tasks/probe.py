"""The probe run: the arms after a part of their updates, asked what may steer, and what that says of the batch."""

import time
from collections.abc import Mapping, Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.evaluation.arms import Comparison, arm_lineage
from gainloop.evaluation.likelihoods import Run
from gainloop.reports.examined import read_examined
from gainloop.reports.probed import probe_of
from gainloop.steering.probe import describe_probe
from gainloop.store import Store, open_store
from gainloop.store.batches import complete_stage, only_writer, read_recipe, stage_summary
from gainloop.store.checkpoints import checkpoint_metrics, discard_weights, find_weights
from gainloop.store.exams import read_exam
from schemas.exam import Asking, Exam, Part
from schemas.profile import Profile
from schemas.rows import content_hash
from tasks.evaluate import Urls, examine
from tasks.grade import OnDone
from tasks.progress import Bar
from tasks.train import describe_run

STAGE = "probe"


def part_of_exam(store: Store, exam_id: str, part: Part) -> Exam:
    """Return the questions of one part as an exam of their own: who is asked it sees no other."""
    exam = read_exam(store, exam_id)
    return Exam(exam.snapshot_id, tuple(one for one in exam.questions if one.part == part))


def count_part(profile: Profile, exam_id: str, part: Part) -> int:
    """Return how many questions a part of an exam has: those of dev may steer, those of final only judge."""
    return len(part_of_exam(open_store(profile), exam_id, part).questions)


def name_probe(of: Comparison, exam_id: str, asking: Asking) -> str:
    """Return the id of a probe run: the hash of its training and of how it is asked."""
    return content_hash("probe", of.training_id, exam_id, asking.model_dump(mode="json"))


def ask_models(
    store: Store, profile: Profile, exam: Exam, models: Mapping[str, str], asking: Asking, bar: OnDone
) -> Urls:
    """Return the urls of the answers of checkpoints from memory; what was asked before is not asked again.

    Args:
        models: Checkpoints by ``<arm>/<seed>/<fraction>``.

    Returns:
        Urls by ``<arm>/<seed>/<fraction>/closed``.
    """
    urls = Urls()
    for done, (name, checkpoint_id) in enumerate(models.items()):
        bar(done, len(models), name)
        answers = examine(store, profile, exam, checkpoint_id, ("closed",), asking, lambda *_: None)
        urls[f"{name}/closed"] = store.keep(answers["closed"])
    bar(len(models), len(models), "")
    return urls


def models_of(of: Comparison, runs: Sequence[Run]) -> dict[str, str]:
    """Return the start and the ends of runs by ``<arm>/<seed>/<fraction>``."""
    return {"start/0/0": of.start_id} | {f"{run.arm}/{run.seed}/1": run.checkpoints[-1] for run in runs}


def conclude(
    store: Store,
    profile: Profile,
    of: Comparison,
    runs: Sequence[Run],
    exam_id: str,
    asking: Asking,
    share: float,
    full_tokens: int,
    begun: float,
    bar: OnDone,
) -> None:
    """Ask the models of a probe run, and record what they know.

    Args:
        share: Part of a full run's updates that each model has had.
        full_tokens: Tokens that the full training would read, all arms and seeds.
        begun: Time at which the run began, in seconds of ``time.time``.
    """
    summary = {
        "exam": exam_id,
        "urls": ask_models(store, profile, part_of_exam(store, exam_id, "dev"), models_of(of, runs), asking, bar),
        "general": {},
        "asking": asking.model_dump(mode="json"),
        "arms": [describe_run(store, of, run) for run in runs],
        "share": share,
        "tokens": sum(checkpoint_metrics(store, run.checkpoints[-1])["num_tokens"] for run in runs),
        "full_tokens": full_tokens,
        "seconds": time.time() - begun,
    }
    complete_stage(store, of.batch_id, STAGE, summary, name_probe(of, exam_id, asking))


def read_probe(store: Store, batch_id: str, probe_id: str) -> str:
    """Return what a probe run found, in words; empty if it was not run."""
    summary = stage_summary(store, batch_id, STAGE, probe_id)
    if summary is None:
        return ""
    snapshot_id = read_recipe(store, batch_id).snapshot_id
    examined = read_examined(store, snapshot_id, batch_id, "", summary, summary["arms"])
    return describe_probe(probe_of(examined, summary))


def list_unmade(profile: Profile, of: Comparison) -> list[tuple[int, str]]:
    """Return the runs of a training whose weights are not there: what a probe run makes, it removes again."""
    store = open_store(profile)
    made = {(seed, arm): arm_lineage(store, of, seed, arm).checkpoint_id for seed, arm in of.runs}
    return [run for run, checkpoint_id in made.items() if not find_weights(store, checkpoint_id)]


@task(cache_policy=NO_CACHE, task_run_name="ask what a probe run of {of.batch_id} taught")
def conclude_probe(
    profile: Profile,
    of: Comparison,
    runs: list[Run],
    exam_id: str,
    asking: Asking,
    share: float,
    full_tokens: int,
    begun: float,
    unmade: list[tuple[int, str]],
) -> None:
    """Record what a probe run taught, and remove the weights that were made for it alone."""
    store = open_store(profile)
    with only_writer(store, of.batch_id), Bar("ask after the probe run", "models") as bar:
        conclude(store, profile, of, runs, exam_id, asking, share, full_tokens, begun, bar)
    for run in runs:
        if (run.seed, run.arm) in unmade:
            discard_weights(store, run.checkpoints[-1])
