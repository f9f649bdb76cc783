"""A run that a person stops: Ctrl-C or SIGTERM ends it in order and within seconds, a second Ctrl-C at once."""

import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

STOP_SECONDS = 6.0
"""How long a stopped run may take to tell Prefect so. What it made is on disk already, whatever comes of that."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether this process was told to end: ``status`` is 0, then 128 and the signal's number.

    Python's own handlers raise in the main thread, which may be deep in a library that holds on to the exception, or
    asks a server that is gone again and again. So a thread hears of signals too, as the system delivers them, and
    ends the process when it is time.

    Args:
        say: Prints the run's last line.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        self.status = 0
        self._say = say
        self._heard, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda number, _frame: self._leave(number))
        threading.Thread(target=self._watch, daemon=True).start()

    def was_told(self, error: BaseException) -> bool:
        """Note a Ctrl-C that the thread may not have heard of yet, and return whether this process was told to end."""
        if isinstance(error, KeyboardInterrupt):
            self.status = self.status or 128 + signal.SIGINT
        return bool(self.status)

    def _leave(self, number: int) -> NoReturn:
        self.status = self.status or 128 + number
        raise SystemExit(self.status)

    def _watch(self) -> None:
        while (number := os.read(self._heard, 1)[0]) not in SIGNALS:
            pass
        self.status = self.status or 128 + number
        logging.disable(logging.CRITICAL)  # of a run that was stopped, its last line says all
        deadline = time.monotonic() + STOP_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            # A flow that ends by SIGTERM sends it to itself once more: Ctrl-C alone means now.
            if select.select([self._heard], [], [], left)[0] and os.read(self._heard, 1)[0] == signal.SIGINT:
                break
        self._end_at_once()

    def _end_at_once(self) -> NoReturn:
        if "prefect.server.api.server" in sys.modules:  # imported here, it would wait for the main thread
            server = sys.modules["prefect.server.api.server"].SubprocessASGIServer().server_process
            if server:
                server.kill()
        self._say()
        os._exit(self.status)


def start_server() -> None:
    """Start the temporary server of a run that has no Prefect server, if none is configured.

    A terminal sends Ctrl-C to all processes of a run. The server must outlive the flow, which tells it how it ended:
    it is started with SIGINT blocked, and is told to end by SIGTERM.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_ENABLED

    if PREFECT_API_URL.value() or not PREFECT_SERVER_EPHEMERAL_ENABLED.value():
        return
    from prefect.server.api.server import SubprocessASGIServer  # two seconds, which only a server of one's own takes

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        SubprocessASGIServer().start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
