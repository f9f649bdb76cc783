"""The command line: ``python -m flows <flow> --help``. Every flow's parameters are its options."""

import atexit
import functools
import inspect
import logging
import sys
from collections.abc import Callable
from typing import Any

import cyclopts
from prefect import Flow
from rich.console import Console

from flows.cycle import cycle
from flows.generate import generate
from flows.refresh import refresh
from flows.report import report
from flows.train import train
from flows.validate import validate
from schemas.errors import GainloopError

RESULTS: dict[Flow[Any, Any], str] = {
    cycle: "report",
    refresh: "snapshot",
    generate: "batch",
    validate: "validation",
    train: "training",
    report: "report",
}
"""Every flow, and what its last line calls its result."""

app = cyclopts.App(
    name="python -m flows",
    help="Turn a corpus into a model that knows it, and say what each batch of synthetic text added.",
    default_parameter=cyclopts.Parameter(negative=()),
)


last_words: list[str] = []
"""Printed when all else is said: a temporary Prefect server still logs its end after the flow's."""


def command_of(flow: Flow[Any, Any], result_name: str) -> Callable[..., None]:
    """Return the command of a flow: its parameters as options, its result as the last line, errors in one line."""

    @functools.wraps(flow.fn)
    def command(**parameters: Any) -> None:
        try:
            result = flow(**parameters)
        except GainloopError as error:
            Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="red", highlight=False, markup=False)
            sys.exit(1)
        last_words.append(f"{result_name}: {result}")

    signature = inspect.signature(flow.fn, eval_str=True)
    options = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in signature.parameters.values()]
    command.__signature__ = signature.replace(parameters=options, return_annotation=None)  # type: ignore[attr-defined]
    return command


class _WithoutTraceback(logging.Filter):
    """Leaves the traceback out of the log for errors whose message says all that there is to do."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], GainloopError):
            record.exc_info = None
        return True


def main() -> None:
    """Run the command line."""
    atexit.register(lambda: print(*last_words, sep="\n") if last_words else None)
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_WithoutTraceback())
    for flow, result_name in RESULTS.items():
        app.command(command_of(flow, result_name), name=flow.name)
    app()


if __name__ == "__main__":
    main()
