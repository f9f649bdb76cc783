"""A vLLM server for one local model: started, waited for, and stopped again."""

import http.client
import json
import logging
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gainloop.store.children import Child, start_child, stop_child
from schemas.errors import ServerError
from schemas.profile import LocalVLLM

NOT_INHERITED = {"PYTHONPATH", "VLLM_API_KEY", "OPENAI_API_KEY"}
"""Our modules are not its modules, it asks no key of us, and other servers' keys are not its business."""

TAIL_LINES = 15

REASON = re.compile(r"\b(?:[A-Z]\w*(?:Error|Exception)|error): .*")
"""The end of a traceback, or of argparse's usage; what vLLM puts before it is when and where."""

FOLLOWS = "Engine core initialization failed"
"""What is raised because something else was."""

logger = logging.getLogger("gainloop.vllm")


@contextmanager
def serve_vllm(settings: LocalVLLM, model_folder: str, name: str) -> Iterator[str]:
    """Serve a model folder under a name for as long as the block runs, and give the server's url, ending in /v1.

    The server and all its processes end with the block, and with this process. What it prints goes
    to a file, whose path is logged; the file stays only if something went wrong.

    Raises:
        ServerError: There is no such interpreter; the server ends, while starting or later; it is not
            ready within ``ready_seconds``.
    """
    python = _find_python(settings, name)
    log, port = _new_log(), _free_port()
    logger.info("serving %s from %s on port %d; its log is %s", name, model_folder, port, log)
    process = _start(_command(python, settings, model_folder, name, port), settings.environment, log)
    try:
        _wait_until_ready(process, settings.ready_seconds, port, name, log)
        yield f"http://127.0.0.1:{port}/v1"
        _require_running(process, name, log)
    finally:
        stop_child(process)
    log.unlink()


def _find_python(settings: LocalVLLM, name: str) -> str:
    python = shutil.which(settings.python)
    if python is None:
        raise ServerError(
            f"serving {name!r} with vLLM: there is no interpreter {settings.python!r}; one that has vllm "
            "installed is needed. Run `make vllm`, or set serving.python of the profile."
        )
    return os.path.abspath(python)


def _command(python: str, settings: LocalVLLM, model_folder: str, name: str, port: int) -> list[str]:
    model = ["--model", os.path.abspath(model_folder), "--served-model-name", name]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    arguments = fitting(settings.arguments, _read_context(model_folder))
    return [python, "-m", "vllm.entrypoints.openai.api_server", *model, *where, *arguments]


def fitting(arguments: Sequence[str], context: int | None) -> list[str]:
    """Return a server's arguments with a ``--max-model-len`` that its model has, where the model's context is known.

    >>> fitting(["--seed=1", "--max-model-len=2048"], 512)
    ['--seed=1', '--max-model-len=512']
    """
    name = "--max-model-len="
    wanted = [one.removeprefix(name) if one.startswith(name) else "" for one in arguments]
    return [
        f"{name}{context}" if context and tokens.isdigit() and int(tokens) > context else one
        for one, tokens in zip(arguments, wanted, strict=True)
    ]


def _read_context(model_folder: str) -> int | None:
    """Return the context in a model's configuration; None leaves it to vLLM, which knows more of them."""
    try:
        config = json.loads(Path(model_folder, "config.json").read_text())
    except (OSError, ValueError):
        return None
    context = (config | config.get("text_config", {})).get("max_position_embeddings")
    return context if isinstance(context, int) else None


def _start(command: list[str], environment: dict[str, str], log: Path) -> "Child[bytes]":
    inherited = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
    return start_child(command, inherited | environment, log)


def _wait_until_ready(process: "Child[bytes]", seconds: float, port: int, name: str, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not _is_healthy(port):
        _require_running(process, name, log)
        if time.monotonic() > deadline:
            raise ServerError(
                f"serving {name!r} with vLLM: not ready after {seconds:g} s; a first start can take minutes. "
                f"Raise serving.ready_seconds of the profile, or mend what {log} says. {_failure_in(log)}"
            )
        time.sleep(0.25)


def _require_running(process: "Child[bytes]", name: str, log: Path) -> None:
    if process.poll() is not None:
        raise ServerError(
            f"serving {name!r} with vLLM: the server ended by itself with status {process.returncode}; "
            f"it must run until it is stopped. Mend what {log} says. {_failure_in(log)}"
        )


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _new_log() -> Path:
    descriptor, path = tempfile.mkstemp(prefix="gainloop-vllm-", suffix=".log")
    os.close(descriptor)
    return Path(path)


def _failure_in(log: Path) -> str:
    """Return the line that says why the server failed, which may stand far above, and the last lines."""
    lines = log.read_text(errors="replace").splitlines()
    reasons = [found[0] for line in lines if (found := REASON.search(line)) and FOLLOWS not in line]
    why = f"It says: {reasons[-1]}\n" if reasons else ""
    return "\n".join([f"{why}It ends:", *lines[-TAIL_LINES:]])
