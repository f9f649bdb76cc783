"""What the shards of a batch have done so far: kept where the flow runs, so that one bar shows them all."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tasks.progress import Told
from tasks.serving.driver import Progress
from tasks.store.replies import Span


@dataclass
class Made:
    """What one run has done for a batch: ``progress`` of complete shards, ``live`` of those under way here.

    ``state`` tells how the servers do while it runs; ``is_stopped``, that no further shard may begin.
    """

    progress: Progress = field(default_factory=Progress)
    seconds: float = 0.0
    cache_hit_rate: float | None = None
    live: dict[Span, Progress] = field(default_factory=dict)
    is_stopped: bool = False
    state: Callable[[], str] | None = None

    def told(self, settled: int, num_anchors: int) -> Told:
        """Return how far the batch is, for a bar.

        Args:
            settled: Anchors that had an outcome before.
        """
        done = self.progress
        for progress in list(self.live.values()):
            done = done.add(progress)
        num_drops = sum(done.drops.values())
        note = f"{done.records:,} records, {num_drops:,} drops"
        if num_drops:
            note += f" ({', '.join(f'{count:,} {reason}' for reason, count in sorted(done.drops.items()))})"
        note += f", {done.requests_sent:,} requests sent"
        others = {"replies from before": done.replies_reused, "retries": done.retries, "refused": done.refusals}
        note += "".join(f", {count:,} {name}" for name, count in others.items() if count)
        num_done = settled + done.anchors_done
        state = self.state() if self.state else done.state
        if state and num_done < num_anchors:
            note += f", {state}"
        return num_done, num_anchors, note


_MADE: dict[str, Made] = {}


def begin(batch_id: str) -> Made:
    """Return where the shards of this process put what they do for a batch, until ``end``."""
    _MADE[batch_id] = Made()
    return _MADE[batch_id]


def find(batch_id: str) -> Made | None:
    """Return that of a batch whose flow runs in this process; None in the process of a worker."""
    return _MADE.get(batch_id)


def end(batch_id: str) -> None:
    _MADE.pop(batch_id, None)
