"""A process that is told to end does so in time, whatever its main thread makes of it."""

import os
import signal
import subprocess
import sys
import time

from tests.conftest import ROOT

STUBBORN = """
import time
from flows import __stopping__ as stopping
stopping.STOP_SECONDS = {seconds}
stopping.Stop(lambda: print("stopped", flush=True))
word = "ready"
while True:
    try:
        print(word, flush=True)
        time.sleep(60)
    except BaseException as error:
        word = type(error).__name__
"""
"""A main thread that holds on to whatever is raised in it, as one that asks a dead server again and again."""


def ended_by(*signals: int, seconds: float) -> tuple[int, list[str], float]:
    """Return the exit status of a stubborn process, what it said, and how long it took to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN.format(seconds=seconds)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    begun = time.monotonic()
    said = []
    for number in signals:
        process.send_signal(number)
        said.append(process.stdout.readline().strip())
    said += process.stdout.read().split()
    return process.wait(), said, time.monotonic() - begun


def test_a_signal_is_heard_by_the_main_thread_and_ends_the_process_when_its_time_is_up() -> None:
    assert ended_by(signal.SIGINT, seconds=1.5)[:2] == (130, ["KeyboardInterrupt", "stopped"])
    assert ended_by(signal.SIGTERM, signal.SIGTERM, seconds=1.5)[:2] == (143, ["SystemExit", "SystemExit", "stopped"])


def test_a_second_ctrl_c_ends_it_at_once() -> None:
    status, said, seconds = ended_by(signal.SIGINT, signal.SIGINT, seconds=300)

    assert status == 130
    assert "stopped" in "".join(said)
    assert seconds < 30


def test_a_run_that_has_a_server_loads_nothing_that_only_one_of_its_own_needs() -> None:
    code = (
        "import sys; from flows.__stopping__ import start_server; start_server(); "
        "print([name for name in sys.modules if name.startswith('prefect.server')])"
    )
    given = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:1/api"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=given, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
