"""How many requests one server may have open: found out while it works."""

from dataclasses import dataclass, field

START = 128
"""Where a limit begins. vLLM takes 256 at once unless told otherwise: one step from here."""

WINDOW_SECONDS = 1.0
"""When nothing is known of a limit's rate after so long, because replies are long, it grows all the same."""

PAYS = 1.05
"""A doubled limit must bring this many times the rate, or the smaller one is kept."""

HOLD_WINDOWS = 20
"""So many windows pass before a larger limit is tried again."""


@dataclass
class Limit:
    """Grows while throughput grows, halves when the server refuses; the ceiling is the profile's.

    It doubles window by window, a window being as many replies as it lets be open, until the rate of
    replies no longer rises or the server refuses one (429, 503). After a refusal it climbs quickly to
    nine tenths of where that was, and then one by one.

    Attributes:
        value: Requests that may be open now, at least 1.
    """

    ceiling: int
    now: float
    value: int = field(init=False)
    _refused_at: int = 0
    _cut_at: float = -1.0
    _answers: int = 0
    _was_full: bool = False
    _hold: int = 0
    _best: tuple[int, float] = (0, 0.0)

    def __post_init__(self) -> None:
        self.value = max(1, min(START, self.ceiling))

    def answered(self, now: float, is_full: bool) -> None:
        """Take note of a reply; ``is_full`` tells whether as many were open as may be."""
        self._answers += 1
        self._was_full |= is_full
        if self._answers >= max(self.value, 16) and now > self.now:
            self._end_window(now, self._answers / (now - self.now))

    def waited(self, now: float, is_full: bool) -> None:
        """Take note that time has passed, with or without replies."""
        self._was_full |= is_full
        if now - self.now >= WINDOW_SECONDS:
            self._end_window(now, None)

    def refused(self, now: float, sent_at: float, num_open: int) -> bool:
        """Halve, once for all the requests that were sent before the first refusal was known; tell whether it did."""
        if sent_at <= self._cut_at:
            return False
        self._cut_at, self._refused_at = now, num_open
        self.value = max(1, self.value // 2)
        self._begin_window(now)
        return True

    def _end_window(self, now: float, rate: float | None) -> None:
        was_full = self._was_full
        self._begin_window(now)
        if not was_full:
            return
        if self._refused_at:
            self._climb()
        elif rate is None:
            if self._best == (0, 0.0):
                self._double()
        elif self.value > self._best[0] and rate < PAYS * self._best[1]:
            self.value, self._hold = self._best[0], HOLD_WINDOWS
        elif self._hold:
            self._hold -= 1
            self._best = (self.value, (self._best[1] + rate) / 2)
        else:
            self._best = (self.value, rate)
            self._double()

    def _begin_window(self, now: float) -> None:
        self.now, self._answers, self._was_full = now, 0, False

    def _double(self) -> None:
        self.value = min(self.ceiling, 2 * self.value)

    def _climb(self) -> None:
        near = self._refused_at * 9 // 10
        step = min(max(1, self.value // 4), near - self.value) if self.value < near else 1
        self.value = min(self.ceiling, self.value + step)
