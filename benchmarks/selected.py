"""Does a small set of sums teach a small model to add as well as as many random ones, and as all of them?

``python -m benchmarks.selected`` trains it on each set with eight seeds, for the same steps, in three minutes of CPU;
``--json`` ends with one object. See ``gainloop/studies/selected.py``.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict

import torch

from gainloop.evaluation.results import as_table
from gainloop.measures.estimate import Estimate
from gainloop.studies.selected import ArmOutcome, Design, SelectedStudy, run_study

SETS = {
    "full": "all of the pool",
    "random": "`random`",
    "s1": "`s1`, where the start is wrong",
    "limr": "`limr`, the highest scores",
}


def tell(study: SelectedStudy) -> str:
    """Return a study as Markdown."""
    rows = [{"set": "none: the start", "right, %": percent(study.before)}, *map(_row, study.arms)]
    rewards = ", ".join(f"{one:.2f}" for one in study.rewards)
    about = f"{study.before.n} held-out sums, {study.before.num_seeds} seeds; mean reward by epoch: {rewards}"
    return f"{about}\n\n{as_table(rows)}"


def percent(found: Estimate | None) -> str:
    """Return a share, or a difference of shares, in points with its interval."""
    if found is None or found.value is None:
        return "" if found is None else found.status
    value, low, high = (100 * float(end or 0) for end in (found.value, found.low, found.high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _row(one: ArmOutcome) -> dict[str, str]:
    kinds = {f"{kind} sums": f"{count:.0f}" for kind, count in one.kinds.items()}
    more = {"points over random": percent(one.over_random), "points over full": percent(one.over_full)}
    return {"set": SETS[one.arm], "rows": f"{one.size:.0f}", **kinds, "right, %": percent(one.right), **more}


def main() -> None:
    """Run the study, and print what came of it."""
    parser = argparse.ArgumentParser("python -m benchmarks.selected", description=__doc__)
    parser.add_argument("--seeds", type=int, default=Design().seeds)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()

    def say(done: int, total: int) -> None:
        print(f"{done} of {total} seeds, {time.process_time() - begun:.0f} s of CPU", file=sys.stderr)

    study = run_study(Design(seeds=asked.seeds), say)
    print(tell(study))
    if asked.json:
        print(json.dumps(asdict(study)))


if __name__ == "__main__":
    main()
