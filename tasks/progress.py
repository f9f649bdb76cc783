"""Progress of long work: a bar on the run's page and a line in its log."""

import contextvars
import threading
import time
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

SHOW_SECONDS = 2.0
LOG_SECONDS = 10.0


class Bar:
    """Shows how far some work is while the block runs.

    Called with (done, total) as often as one likes; a thread of its own tells Prefect every
    ``SHOW_SECONDS``, so it may be called inside an event loop and costs the work nothing.
    """

    def __init__(self, what: str, unit: str) -> None:
        self.what, self.unit = what, unit
        self.note = ""
        self._done, self._total = 0, 0
        self._begun = self._logged = time.monotonic()
        self._first: tuple[float, int] | None = None  # when work itself began, after models were loaded, and with what
        self._stop = threading.Event()
        self._artifact: UUID | None = None
        self._shown = (-1.0, "")
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._show_often,), daemon=True)

    def __call__(self, done: int, total: int, note: str = "") -> None:
        self._first = self._first or (time.monotonic(), done)
        self._done, self._total, self.note = done, total, note

    def __enter__(self) -> "Bar":
        self._thread.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        self._stop.set()
        self._thread.join()

    def _show_often(self) -> None:
        while not self._stop.wait(SHOW_SECONDS):
            self._show()
        if self._artifact:
            self._show()

    def _show(self) -> None:
        percent = 100 * self._done / self._total if self._total else 0.0
        if (percent, self.note) == self._shown:
            return
        self._shown = (percent, self.note)
        if self._artifact is None:
            made = create_progress_artifact(percent, description=self._line())
            assert isinstance(made, UUID)  # outside an event loop Prefect answers at once
            self._artifact = made
        else:
            update_progress_artifact(self._artifact, percent, self._line())
        if time.monotonic() - self._logged >= LOG_SECONDS:
            self._logged = time.monotonic()
            get_run_logger().info(self._line())

    def _line(self) -> str:
        if not self._total:
            return self.what
        line = f"{self.what}: {self._done:,} of {self._total:,} {self.unit}, {self._time()}"
        return f"{line}, {self.note}" if self.note else line

    def _time(self) -> str:
        began, done_before = self._first or (self._begun, 0)
        if self._done >= self._total:
            return f"{time.monotonic() - self._begun:.0f} s in all"
        if self._done == done_before:
            return "just begun"
        left = (time.monotonic() - began) * (self._total - self._done) / (self._done - done_before)
        return f"{left:.0f} s left"
