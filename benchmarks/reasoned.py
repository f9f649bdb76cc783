"""Do several answers a problem, and verifying them, teach a small model more at equal trained tokens?

``python -m benchmarks.reasoned`` trains it in five arms with five seeds on what a teacher says that slips in four
answers of ten, in three minutes of CPU; ``--wrong`` is another share, ``--json`` ends with one object. See
``gainloop/studies/reasoned.py``.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict

import torch

from benchmarks.selected import percent
from gainloop.evaluation.results import as_table
from gainloop.studies.reasoned import ArmOutcome, Design, ReasonedStudy, run_study

ARMS = {
    "one": "one answer, unverified",
    "one_right": "one answer, the right ones",
    "four": "four answers, unverified",
    "four_right": "four answers, the right ones",
    "shortest_right": "the shortest right one of four",
}


def tell(study: ReasonedStudy) -> str:
    """Return a study as Markdown."""
    rows = [{"arm": "none: the start", "right, %": percent(study.before)}, *map(_row, study.arms)]
    return f"{study.before.n} held-out problems, {study.before.num_seeds} seeds\n\n{as_table(rows)}"


def _row(one: ArmOutcome) -> dict[str, str]:
    return {
        "arm": ARMS[one.arm],
        "rows": f"{one.rows:.0f}",
        "wrong, %": f"{100 * one.wrong:.0f}",
        "tokens": f"{one.tokens:,.0f}",
        "right, %": percent(one.right),
        "points over one": percent(one.over_one),
        "points over four": percent(one.over_four),
    }


def main() -> None:
    """Run the study, and print what came of it."""
    parser = argparse.ArgumentParser("python -m benchmarks.reasoned", description=__doc__)
    parser.add_argument("--seeds", type=int, default=Design().seeds)
    parser.add_argument("--wrong", type=float, default=Design().wrong, help="share of the teacher's wrong answers")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()

    def say(done: int, total: int) -> None:
        print(f"{done} of {total} seeds, {time.process_time() - begun:.0f} s of CPU", file=sys.stderr)

    study = run_study(Design(seeds=asked.seeds, wrong=asked.wrong), say)
    print(tell(study))
    if asked.json:
        print(json.dumps(asdict(study)))


if __name__ == "__main__":
    main()
