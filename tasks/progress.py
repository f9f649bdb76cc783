"""Progress of long work: a bar on the run's page, a line in its log now and then, a live line in a terminal."""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import cast
from uuid import UUID

from prefect import get_run_logger
from prefect.states import Completed
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from schemas.masking import mask
from tasks.artifacts import create_progress_artifact, update_progress_artifact

SHOW_SECONDS = 2.0
LOG_SECONDS = 10.0
BAR_COLUMNS = 16

Shown = tuple[int, int, str]
"""How much is done, of how much, and a note."""


class Stages:
    """Shows on a run's own page which of its stages it is at, how far that is, and at last what came of it all.

    Bars of the stages, in subflows or tasks of this process, show there too while it is open.

    Args:
        names: Stages of the run, in order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names, self._at, self._begun = names, 0, time.monotonic()
        self._lock = threading.Lock()  # bars of several shards tell it at once
        self._artifact: UUID | None = None

    def __enter__(self) -> "Stages":
        self._token = _under_way.set(self)
        return self

    def __exit__(self, *_failure: object) -> None:
        _under_way.reset(self._token)

    def __call__(self, name: str) -> None:
        """Begin a stage."""
        self._at = self._names.index(name)
        get_run_logger().info(self._stage)
        self.show(0, "")

    def show(self, percent: float, line: str) -> None:
        """Show how far the stage under way is."""
        said = f"{self._stage}: {line}" if line else self._stage
        self._tell((self._at + percent / 100) / len(self._names) * 100, said)

    def end(self, said: str) -> None:
        """Show what came of the run; it may be before its last stage."""
        self._tell(100, f"{self._at + 1} of {len(self._names)} stages in {_duration(self.seconds)}: {said}")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    @property
    def _stage(self) -> str:
        return f"stage {self._at + 1} of {len(self._names)}, {self._names[self._at]}"

    def _tell(self, percent: float, line: str) -> None:
        with self._lock:
            if self._artifact:
                update_progress_artifact(self._artifact, percent, line)
            else:
                self._artifact = create_progress_artifact(percent, line, "stages")


_under_way: contextvars.ContextVar[Stages | None] = contextvars.ContextVar("stages", default=None)


class Bar:
    """Shows how far some work is while the block runs.

    Called with (done, total) as often as one likes; a thread of its own tells Prefect every
    ``SHOW_SECONDS``, so it may be called inside an event loop and costs the work nothing.

    Args:
        what: The work, as the line begins.
        unit: What is counted.
        poll: Asked each time before it is shown, in place of calls.
    """

    def __init__(self, what: str, unit: str, poll: Callable[[], Shown] | None = None) -> None:
        self.what, self.unit, self.poll = what, unit, poll
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
        with Terminal(self.what) as terminal:
            while not self._stop.wait(SHOW_SECONDS):
                self._show(terminal)
            if self._artifact or (self.poll and self.poll()[0]):
                self._show(terminal, is_last=True)

    def _show(self, terminal: "Terminal", is_last: bool = False) -> None:
        if self.poll:
            self(*self.poll())
        percent = 100 * self._done / self._total if self._total else 0.0
        terminal.show(percent, self.head, self.note)
        if (percent, self.note) == self._shown and not is_last:
            return
        self._shown = (percent, self.note)
        if self._artifact is None:
            self._artifact = create_progress_artifact(percent, self.line)
        else:
            update_progress_artifact(self._artifact, percent, self.line)
        if stages := _under_way.get():
            stages.show(percent, self.line)
        if is_last or (time.monotonic() - self._logged >= LOG_SECONDS and self._done < self._total):
            self._logged = time.monotonic()
            get_run_logger().info(self.line)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    @property
    def line(self) -> str:
        """What is done, how fast, how long the rest will take, and what came of it."""
        return f"{self.head}, {self.note}" if self._total and self.note else self.head

    @property
    def head(self) -> str:
        if not self._total:
            return self.what
        return f"{self.what}: {self._done:,} of {self._total:,} {self.unit}, {self._time()}"

    def _time(self) -> str:
        began, done_before = self._first or (self._begun, 0)
        if self._done >= self._total or self._stop.is_set():
            return f"{_duration(time.monotonic() - self._begun)} in all"
        if self._done == done_before:
            return "just begun"
        rate = (self._done - done_before) / max(time.monotonic() - began, 1e-3)
        return f"{rate:,.3g}/s, {_duration((self._total - self._done) / rate)} left"


def ended(message: str, result: str) -> str:
    """Return the state for a flow to end in that says what came of it; to whoever calls the flow, it is the result."""
    return cast(str, Completed(message=mask(message), data=result))


class Terminal:
    """A live bar below the log, where the log goes to a terminal; several bars share one display."""

    _lock = threading.Lock()
    _display: Progress | None = None
    _num_users = 0

    def __init__(self, what: str) -> None:
        self._console = find_console()
        self._what = what

    def __enter__(self) -> "Terminal":
        if self._console:
            with Terminal._lock:
                if Terminal._display is None:
                    Terminal._display = Progress(*_columns(), console=self._console, transient=True)
                    Terminal._display.start()
                Terminal._num_users += 1
                self._task = Terminal._display.add_task(self._what, total=100)
        return self

    def __exit__(self, *_failure: object) -> None:
        if self._console:
            with Terminal._lock:
                assert Terminal._display is not None
                Terminal._display.remove_task(self._task)
                Terminal._num_users -= 1
                if not Terminal._num_users:
                    Terminal._display.stop()
                    Terminal._display = None

    def show(self, percent: float, head: str, note: str) -> None:
        if self._console and Terminal._display:
            Terminal._display.update(self._task, completed=percent, description=f"{head}\n{note}".rstrip())


def _columns() -> tuple[BarColumn, TextColumn]:
    """Return a bar and a text that wraps. Prefect's console has none of the styles that rich's bar asks for by name."""
    bar = BarColumn(BAR_COLUMNS, style="grey23", complete_style="green", finished_style="green", pulse_style="grey50")
    return bar, TextColumn("{task.description}", markup=False, table_column=Column())


def find_console() -> Console | None:
    """Return the console that log lines are written to if a person sees it: another one would write over them."""
    consoles = (getattr(handler, "console", None) for handler in logging.getLogger().handlers)
    return next((console for console in consoles if isinstance(console, Console) and console.is_terminal), None)


def _duration(seconds: float) -> str:
    """Return a time as people say it.

    >>> _duration(42.4), _duration(150), _duration(9000)
    ('42 s', '2 min 30 s', '2 h 30 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
