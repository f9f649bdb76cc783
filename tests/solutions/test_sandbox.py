"""Programs that mean harm, and programs that do what they are asked to."""

import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gainloop.solutions import sandbox
from gainloop.solutions.code import read_program, verdict_of_program
from gainloop.solutions.problem import Example, Problem
from gainloop.solutions.sandbox import Limits, find_isolation
from gainloop.solutions.verdict import Verifier
from schemas.errors import BadInput

ADD = ("assert add(1, 2) == 3", "assert add(-1, 1) == 0")
PRINT = (Example("1 2\n", "3\n"), Example("-1 1", "0"))
FORKS = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
SHORT = Limits(seconds=2.0)
PASSES = "def add(a, b): return a + b\n"

HARM = {
    "opens a socket": "import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)",
    "writes 1 GB": "with open('big', 'wb') as big:\n for _ in range(1024): big.write(b'x' * 2**20)",
    "allocates 10 GB": "held = bytearray(10 * 2**30)",
    "reads a secret": "import os\nassert os.environ['GAINLOOP_SECRET']",
    "reads a file": "open({secret!r}).read()",
    "writes outside its folder": "open({outside!r}, 'w').write('x')",
    "writes into a system folder": "open('/usr/lib/harm', 'w')",
    "gets root": "import os\nos.setuid(0)",
    "sees others": "import os\nos.kill({pid}, 0)",
    "prints for ever": "while True: print('x' * 10**6)",
    "ends early": "import os\nos._exit(0)",
    "leaves": "raise SystemExit(0)",
}


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(workers=1, limits=SHORT) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def isolation() -> str:
    way, why = find_isolation()
    if way == "none":
        pytest.skip(f"nothing keeps programs apart here: {why}")
    return way


def problem(*tests: str | Example) -> Problem:
    return Problem("Add.", "", "code", (), tests)


def fenced(program: str) -> str:
    return f"So:\n```python\n{program}\n```\n"


def assert_none_is_left() -> None:
    """Killed processes are gone when the kernel has cleared them away, which it does in its own time."""
    wait_for(lambda: not any(runs_a_program(path) for path in Path("/proc").glob("[0-9]*/cmdline")))


def wait_for(is_so: Callable[[], bool]) -> None:
    for _ in range(200):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def runs_a_program(path: Path) -> bool:
    try:
        return sandbox._BOOT.encode() in path.read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("harm", HARM)
def test_a_program_that_means_harm_does_none_and_is_wrong(
    harm: str, verifier: Verifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAINLOOP_SECRET", "s")
    secret, outside = tmp_path / "secret", tmp_path / "outside"
    secret.write_text("s")
    for one in (tmp_path, *list(tmp_path.parents)[:2]):
        one.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as server:
        named = {"port": server.getsockname()[1], "secret": str(secret), "outside": str(outside), "pid": os.getpid()}
        program = HARM[harm].format(**named) + f"\n{PASSES}"
        assert verifier.verdict(problem(*ADD), fenced(program)) == "wrong"
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()
    assert not outside.exists()


@pytest.mark.parametrize(
    "program",
    ["while True: pass", "import time\ntime.sleep(100)", FORKS],
)
def test_a_program_without_end_is_a_timeout_and_none_of_it_is_left(program: str, verifier: Verifier) -> None:
    begun = time.monotonic()
    assert verifier.verdict(problem(*ADD), fenced(f"{program}\n{PASSES}")) == "timeout"

    assert time.monotonic() - begun < 2 * SHORT.seconds + 5
    assert_none_is_left()


def test_a_program_that_kills_all_it_can_reach_kills_only_itself(verifier: Verifier) -> None:
    program = "import os\nfor pid in (os.getppid(), -1):\n try: os.kill(pid, 9)\n except OSError: pass\n"
    assert verifier.verdict(problem(*ADD), fenced(PASSES)) == "right"
    before = [one._popen.pid for one in verifier._pool._idle]

    assert verifier.verdict(problem(*ADD), fenced(program + PASSES)) == "right"  # its parent was out of its reach
    assert [one._popen.pid for one in verifier._pool._idle] == before


def test_a_process_that_a_program_leaves_behind_ends_with_it(verifier: Verifier) -> None:
    program = "import os, time\nif os.fork() == 0:\n os.setsid()\n time.sleep(300)\n"
    assert verifier.verdict(problem(*ADD), fenced(program + PASSES)) == "right"

    assert_none_is_left()


def test_a_right_program_is_right_and_a_wrong_one_is_not(verifier: Verifier) -> None:
    main = "print(sum(map(int, input().split())))"

    assert verifier.verdict(problem(*ADD), fenced(PASSES)) == "right"
    assert verifier.verdict(problem(*ADD), fenced(PASSES.replace("+", "-"))) == "wrong"
    assert verifier.verdict(problem(*PRINT), fenced(main)) == "right"
    assert verifier.verdict(problem(*PRINT), fenced(main + "\nprint()")) == "right"
    assert verifier.verdict(problem(*PRINT), fenced(f"{main}\nprint(1)")) == "wrong"
    assert verifier.verdict(problem(*PRINT), fenced(f"{main}\nraise SystemExit(1)")) == "wrong"
    assert verifier.verdict(problem(*PRINT), "The sum of the two.") == "unreadable"
    assert verifier.verdict(problem(*ADD), fenced("def add(a, b) return a")) == "wrong"


def test_a_program_begins_in_an_empty_folder_without_environment_or_rights(verifier: Verifier) -> None:
    program = (
        "import os\nassert os.listdir('.') == [] and os.getuid() > 0 and not os.path.exists('/proc')\n"
        "assert set(os.environ) == {'PATH', 'LANG', 'OMP_NUM_THREADS', 'PYTHONHASHSEED'}\n"
        "open('mine', 'w').write('x')\nassert os.listdir('.') == ['mine']\n"
        "for one in range(6, 256):\n"
        "    try: os.fstat(one)\n    except OSError: continue\n    raise AssertionError(one)\n"
    )
    for _ in range(2):
        assert verifier.verdict(problem(*ADD), fenced(program + PASSES)) == "right"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has two ways")
def test_root_keeps_programs_apart_by_namespaces_of_users_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    system = Path("/usr/bin/python3")  # one that another user may run, as root's own may not be
    if not system.exists():
        pytest.skip(f"no {system}")
    monkeypatch.setattr(sandbox, "_PYTHON", os.path.realpath(system))
    monkeypatch.setattr(sys, "base_prefix", "/usr")

    assert verdict_of_program(PASSES, ADD, SHORT, "user") == "right"
    assert verdict_of_program(HARM["writes into a system folder"] + f"\n{PASSES}", ADD, SHORT, "user") == "wrong"
    assert verdict_of_program(HARM["gets root"] + f"\n{PASSES}", ADD, SHORT, "user") == "wrong"
    assert verdict_of_program(FORKS + f"\n{PASSES}", ADD, SHORT, "user") == "timeout"


def test_a_program_ends_with_the_process_that_runs_it(verifier: Verifier) -> None:
    asked = threading.Thread(
        target=lambda: verifier.verdict(problem("assert True"), fenced("import time\ntime.sleep(90)")), daemon=True
    )
    asked.start()
    wait_for(lambda: any(runs_a_program(path) for path in Path("/proc").glob("[0-9]*/cmdline")))
    (process,) = verifier._pool._busy
    os.kill(process._popen.pid, 9)
    wait_for(lambda: verifier._pool._busy != {process})  # another begins with the same solution

    asked.join(4 * SHORT.seconds + 5)
    assert not asked.is_alive()
    assert_none_is_left()


def test_limits_alone_are_an_empty_folder_and_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    system = Path("/usr/bin/python3")
    if os.geteuid() == 0 and not system.exists():
        pytest.skip(f"no {system} that another user than root may run")
    if os.geteuid() == 0:
        monkeypatch.setattr(sandbox, "_PYTHON", os.path.realpath(system))
    program = (
        "import os\nassert os.listdir('.') == [] and 'HOME' not in os.environ\nopen('a', 'w').write(os.getcwd())\n"
    )
    before = set(Path(tempfile.gettempdir()).glob("gainloop-*"))

    assert verdict_of_program(program + PASSES, ADD, SHORT, "none") == "right"
    assert verdict_of_program(HARM["allocates 10 GB"] + f"\n{PASSES}", ADD, SHORT, "none") == "wrong"
    assert verdict_of_program("while True: pass\n", ADD, SHORT, "none") == "timeout"
    assert set(Path(tempfile.gettempdir()).glob("gainloop-*")) <= before


def test_a_program_is_not_run_where_nothing_keeps_it_apart_unless_that_is_wanted() -> None:
    verifier = Verifier(workers=1, limits=SHORT)
    with verifier._pool.lend() as process:
        process.prepared["code"] = {"isolation": "none", "why": "unshare: Operation not permitted"}
    with pytest.raises(BadInput, match="nothing keeps it apart from this machine, unshare: Operation not permitted"):
        verifier.verdict(problem(*ADD), fenced(PASSES))
    verifier.close()


def test_the_last_block_of_code_counts_and_only_if_it_has_an_end() -> None:
    assert read_program("```py\nx = 1\n```\nBetter:\n~~~python\nx = 2\n~~~\n") == "x = 2\n"
    assert read_program("```python\nx = 1\n```\n```bash\nls\n```") == ""
    assert read_program("```python\nx = 1\n```\n```python\nx = 2") == ""
    assert read_program("````\n```\nx\n```\n````") == "```\nx\n```\n"
