"""The command line: ``python -m flows <flow> --help``. Every flow's parameters are its options."""

import ast
import atexit
import functools
import importlib
import importlib.metadata
import inspect
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import cyclopts
from pydantic import ValidationError
from rich.console import Console

from flows.__help__ import FlowHelp
from flows.__lists__ import as_lists
from gainloop.serving.opening import require_generator
from schemas.choice import error_summary
from schemas.errors import GainloopError
from schemas.profile import load_profile
from tasks.stopping import Stop, start_server

if TYPE_CHECKING:  # Prefect takes two seconds, a flow one more: each is imported when it is asked for
    from prefect import Flow

RESULTS: Final = {
    "cycle": "report",
    "refresh": "snapshot",
    "generate": "batch",
    "validate": "validation",
    "score": "batch",
    "judge": "judging",
    "train": "training",
    "report": "report",
    "simulate": "simulation",
    "verify": "verification",
}
"""Every flow, and what its last line calls its result."""

STOPPED: Final = ("yellow", "stopped: what was done so far is kept. Run the same again to go on.")

LAST_STATES: Final = ("Finished in state Failed", "Finished in state Held")

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
    for name in RESULTS:
        summary = ast.get_docstring(ast.parse((Path(__file__).parent / f"{name}.py").read_text()))
        app.command(f"{__name__}:{name}", name=name, help=summary, help_formatter=FlowHelp(name))
    return app


def __getattr__(name: str) -> Callable[..., None]:
    """Return the command of a flow when cyclopts asks this module for it."""
    if name not in RESULTS:
        raise AttributeError(name)
    return command_of(getattr(importlib.import_module(f"flows.{name}"), name))


def command_of(flow: "Flow[Any, Any]") -> Callable[..., None]:
    """Return the command of a flow: its parameters as options, its result or its error as the last line."""
    signature = inspect.signature(flow.fn, eval_str=True)

    @functools.wraps(flow.fn)
    def command(**parameters: Any) -> None:
        given = {name: option.default for name, option in signature.parameters.items()} | parameters
        try:
            place = load_profile(given["profile"])
            if "served_model" in given:
                require_generator(place, *(given[name] for name in ("method", "served_model", "critic", "filters")))
        except GainloopError as error:
            stop(str(error), 2)
        try:
            quieten()
            start_server()
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
        last_words.append(("", f"{'batch' if given.get('dry_run') else RESULTS[flow.name]}: {result}"))

    options = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=as_lists(option.annotation))
        for option in signature.parameters.values()
    ]
    command.__signature__ = signature.replace(parameters=options, return_annotation=None)  # type: ignore[attr-defined]
    command.__annotations__ = {option.name: option.annotation for option in options}
    return command


def stop(message: str, status: int) -> NoReturn:
    """End the command with an error as its last line: 2 if the command line is wrong, 1 if the run failed."""
    last_words.append(("red", f"error: {message}"))
    sys.exit(status)


def explain(error: cyclopts.CycloptsError) -> str:
    """Return what is wrong with a command line, in the form of the project's messages."""
    words = " ".join(["python -m flows", *(error.command_chain or ())])
    attempt, known = f"reading the options of `{words}`", f"`{words} --help`"
    if isinstance(error.__cause__, ValidationError) and error.argument:
        return error_summary(attempt, error.__cause__, known, error.argument.name)
    if isinstance(error, cyclopts.UnknownOptionError) and (given := error.token.keyword):
        names = [option.name for option in error.argument_collection]
        beside = ", ".join(name for name in names if name.rpartition(".")[0] == given.rpartition(".")[0])
        return f"{attempt}: {given} is not one of them; known are {beside or ', '.join(names)}. Correct it."
    if isinstance(error, cyclopts.UnknownCommandError) and error.unused_tokens:
        return f'{attempt}: unknown command "{error.unused_tokens[0]}"; known are {", ".join(RESULTS)}. Correct it.'
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
        return not (hasattr(record, "is_last_word") or record.getMessage().startswith(LAST_STATES))


def quieten() -> None:
    """Leave out of the log what the last line says."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_WithoutTraceback())
    for handler in logging.getLogger().handlers:
        handler.addFilter(_WithoutLastWord())


def main() -> None:
    """Run the command line."""
    stopping = Stop(say_stopped)
    atexit.register(end, stopping)  # the first is run last
    try:
        make_app()()
    except cyclopts.CycloptsError as error:
        stop(explain(error), 2)
    except BaseException:
        if not stopping.status:
            raise
        last_words[:] = [STOPPED]


def end(stopping: Stop) -> None:
    """Say the last line; if the run was stopped, do not wait for Python to take itself apart, which takes 3 s."""
    say_last_words()
    if stopping.status:
        os._exit(stopping.status)


def say_stopped() -> None:
    last_words[:] = [STOPPED]
    say_last_words()


def say_last_words() -> None:
    """Print the last line, once: an error or a stop to stderr, a result to stdout."""
    while last_words:
        style, text = last_words.pop()
        Console(stderr=bool(style), soft_wrap=True).print(text, style=style, highlight=False, markup=False)


if __name__ == "__main__":
    main()
