"""Rows of each update, shared out to the processes of a training: an update has the same rows, however many share."""

import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shares:
    """Places of rows: an update has ``slots`` of them, more than it has rows where those cannot be dealt out evenly.

    Places are gone through batch by batch, and batches are dealt to the processes in turn, as accelerate does.

    Attributes:
        num_rows: Rows of the whole training, in its order.
        rows_per_step: Rows of an update; the last one has what is left.
        rows_at_once: Places of a batch, which is one forward pass of one process.
        batches: Batches of each process in an update.
        processes: Processes that share every update.
    """

    num_rows: int
    rows_per_step: int
    rows_at_once: int
    batches: int
    processes: int

    @property
    def slots(self) -> int:
        """Places of an update, all processes together."""
        return self.rows_at_once * self.batches * self.processes

    @property
    def num_steps(self) -> int:
        """Updates of the whole training."""
        return math.ceil(self.num_rows / self.rows_per_step)

    @property
    def num_places(self) -> int:
        """Places of the whole training: of one process its rows, of several as many to each."""
        return self.num_rows if self.processes == 1 else self.num_steps * self.slots

    def row_at(self, place: int) -> int | None:
        """Return the number of the row at a place; None where the place is empty.

        >>> two = Shares(num_rows=7, rows_per_step=5, rows_at_once=3, batches=1, processes=2)
        >>> [two.row_at(place) for place in range(two.num_places)]
        [0, 1, 2, 3, 4, None, 5, 6, None, None, None, None]
        """
        step, within = divmod(place, self.slots)
        row = step * self.rows_per_step + within
        return row if within < self.rows_per_step and row < self.num_rows else None

    def rows_of(self, process: int, step: int) -> Iterator[int | None]:
        """Yield the rows that one process reads in an update, in its order.

        >>> list(Shares(num_rows=7, rows_per_step=5, rows_at_once=1, batches=3, processes=2).rows_of(1, 0))
        [1, 3, None]
        """
        for batch in range(self.batches):
            first = step * self.slots + (batch * self.processes + process) * self.rows_at_once
            yield from (self.row_at(place) for place in range(first, first + self.rows_at_once))


def share_out(num_rows: int, rows_per_step: int, most_at_once: int, processes: int) -> Shares:
    """Return how rows are shared out: as few batches as the memory allows, and as few empty places.

    One process has batches of a divisor of an update's rows, so that no place is empty.

    Args:
        most_at_once: Rows of a forward pass, at most.
    """
    if processes == 1:
        at_once = max(part for part in range(1, most_at_once + 1) if rows_per_step % part == 0)
        return Shares(num_rows, rows_per_step, at_once, rows_per_step // at_once, 1)
    each = math.ceil(rows_per_step / processes)
    batches = math.ceil(each / most_at_once)
    return Shares(num_rows, rows_per_step, math.ceil(each / batches), batches, processes)
