"""The command line: ``python -m flows <flow> --help``. Every flow's parameters are its options."""

import atexit
import functools
import importlib.metadata
import inspect
import logging
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import cyclopts
from prefect import Flow
from pydantic import ValidationError
from rich.console import Console

from flows.cycle import cycle
from flows.generate import generate
from flows.refresh import refresh
from flows.report import report
from flows.simulate import simulate
from flows.train import train
from flows.validate import validate
from flows.verify import verify
from schemas.errors import GainloopError
from schemas.invalid import in_words
from schemas.profile import load_profile

RESULTS: dict[Flow[Any, Any], str] = {
    cycle: "report",
    refresh: "snapshot",
    generate: "batch",
    validate: "validation",
    train: "training",
    report: "report",
    simulate: "simulation",
    verify: "verification",
}
"""Every flow, and what its last line calls its result."""

last_words: list[tuple[str, str]] = []
"""Style and text, printed when all else is said: Prefect still logs its own end after the flow's."""


def make_app() -> cyclopts.App:
    """Return the command line: one command a flow."""
    app = cyclopts.App(
        name="python -m flows",
        version=importlib.metadata.version("gainloop"),
        help="Turn a corpus into a model that knows it, and say what each batch of synthetic text added.",
        default_parameter=cyclopts.Parameter(negative=()),
        print_error=False,
        exit_on_error=False,
    )
    for flow, result_name in RESULTS.items():
        app.command(command_of(flow, result_name), name=flow.name)
    return app


def command_of(flow: Flow[Any, Any], result_name: str) -> Callable[..., None]:
    """Return the command of a flow: its parameters as options, its result or its error as the last line."""

    @functools.wraps(flow.fn)
    def command(**parameters: Any) -> None:
        try:
            load_profile(parameters.get("profile", "embedded"))  # refused before a Prefect server is started for it
            result = flow(**parameters)
        except GainloopError as error:
            stop(str(error), 1)
        except RuntimeError as error:
            if not str(error).startswith("Failed to reach API"):
                raise
            stop(
                f"running {flow.name}: {error}; the Prefect server that PREFECT_API_URL names must be up. "
                "Start it with `prefect server start`, or unset PREFECT_API_URL: then one is started for the run.",
                1,
            )
        last_words.append(("", f"{result_name}: {result}"))

    signature = inspect.signature(flow.fn, eval_str=True)
    options = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in signature.parameters.values()]
    command.__signature__ = signature.replace(parameters=options, return_annotation=None)  # type: ignore[attr-defined]
    return command


def stop(message: str, status: int) -> NoReturn:
    """End the command with an error as its last line."""
    last_words.append(("red", f"error: {message}"))
    sys.exit(status)


def explain(error: cyclopts.CycloptsError) -> str:
    """Return what is wrong with a command line, in the form of the project's messages."""
    words = " ".join(["python -m flows", *(error.command_chain or ())])
    attempt, known = f"reading the options of `{words}`", f"`{words} --help`"
    if isinstance(error.__cause__, ValidationError) and error.argument:
        return in_words(attempt, error.__cause__, known, error.argument.name.lstrip("-").replace("-", "_"))
    if isinstance(error, cyclopts.UnknownOptionError) and (given := error.token.keyword):
        names = [option.name for option in error.argument_collection]
        beside = ", ".join(name for name in names if name.rpartition(".")[0] == given.rpartition(".")[0])
        return f"{attempt}: {given} is not one of them; known are {beside or ', '.join(names)}. Correct it."
    found = str(error).rstrip(".")
    return f"{attempt}: {found[:1].lower()}{found[1:]}; {known} says what is allowed. Correct it."


class _WithoutTraceback(logging.Filter):
    """Leaves the traceback out of the log for errors whose message says all that there is to do."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], GainloopError):
            record.exc_info, record.is_last_word = None, True
        return True


class _WithoutLastWord(logging.Filter):
    """Leaves out of the console what the last line says; flow by flow, Prefect would say it up to six times."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (hasattr(record, "is_last_word") or record.getMessage().startswith("Finished in state Failed"))


def main() -> None:
    """Run the command line."""
    atexit.register(_say_last_words)
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_WithoutTraceback())
    for handler in logging.getLogger().handlers:
        handler.addFilter(_WithoutLastWord())
    try:
        make_app()()
    except cyclopts.CycloptsError as error:
        stop(explain(error), 2)


def _say_last_words() -> None:
    for style, text in last_words:
        Console(stderr=bool(style), soft_wrap=True).print(text, style=style, highlight=False, markup=False)


if __name__ == "__main__":
    main()
