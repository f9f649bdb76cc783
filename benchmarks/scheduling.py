"""How near the engine comes to an ideal schedule: long tails, a server that refuses, a request that hangs.

``python -m benchmarks.scheduling`` runs 2,000 rows of each against the stub; ``--json`` ends with one object.
An ideal schedule never leaves a place idle that may be open: its seconds follow from the latencies alone.
"""

import argparse
import json
from dataclasses import dataclass
from typing import Any

from benchmarks.rows import measure
from benchmarks.stub import StubOptions, read_stats, running_stub

ROWS = 2000
DEADLINE_SECONDS = 20.0


@dataclass(frozen=True)
class Scenario:
    """A stub, how much is in flight, the seconds of an ideal schedule, and how many times as long is good."""

    name: str
    stub: StubOptions
    in_flight: int
    ideal_seconds: float
    allowed: float


SCENARIOS = (
    # Every place is taken all the time: the mean latency of 1.2 s, 2,000 times, over 128 places.
    Scenario("long tail", StubOptions(latency_seconds=0.2, tail_seconds=1.0), 128, ROWS * 1.2 / 128, 1.4),
    # The server takes 64 and refuses the others at once, and the client is not told so.
    Scenario("429 above 64", StubOptions(latency_seconds=0.3, refuse_above=64), 256, ROWS * 0.3 / 64, 1.6),
    # One request in 2,000 is never answered, whenever it is sent: the run ends when its deadline is over.
    Scenario("one hangs", StubOptions(lasting_hang_share=0.0005, seed=7), 128, DEADLINE_SECONDS, 1.1),
)


def run(scenario: Scenario) -> dict[str, Any]:
    """Run one scenario; return what it took, what was ideal, and what the server counted."""
    with running_stub(scenario.stub) as url:
        measured = measure(url, ROWS, scenario.in_flight, logprobs=False, deadline_seconds=DEADLINE_SECONDS)
        stats = read_stats(url)
    hanging = stats["faults"].get("lasting_hang", 0)
    return {
        "scenario": scenario.name,
        "seconds": measured.seconds,
        "ideal_seconds": scenario.ideal_seconds,
        "ratio": measured.seconds / scenario.ideal_seconds,
        "allowed_ratio": scenario.allowed,
        "refused_share": stats["refused"] / stats["requests"],
        "hanging_requests": hanging,
    }


def main() -> None:
    """Run every scenario and print what it took."""
    parser = argparse.ArgumentParser("python -m benchmarks.scheduling", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    asked = parser.parse_args()
    results = [run(scenario) for scenario in SCENARIOS]
    for result in results:
        print(
            "{scenario:>14}: {seconds:.1f} s, ideal {ideal_seconds:.1f} s, ratio {ratio:.2f} (good: {allowed_ratio}), "
            "refused {refused_share:.1%}, {hanging_requests} hung".format(**result)
        )
    if asked.json:
        print(json.dumps({"rows": ROWS, "scenarios": results}))


if __name__ == "__main__":
    main()
