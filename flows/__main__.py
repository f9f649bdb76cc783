"""The command line: ``gainloop <flow> --help``. Every flow's parameters are its options."""

import argparse
import ast
import atexit
import contextlib
import importlib
import importlib.metadata
import inspect
import logging
import os
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from rich.console import Console
from rich_argparse import RichHelpFormatter

from flows.__stopping__ import Stop, start_server
from schemas.errors import BadInput, GainloopError
from schemas.options import REQUIRED, Parameter, read_options
from schemas.profile import PROFILES, load_profile

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
    "evaluate": "exam",
    "report": "report",
    "simulate": "simulation",
    "verify": "verification",
}
"""Every flow, and what its last line calls its result."""

BESIDE: Final = {
    "serve": "Show the pages of the profile's folder over HTTP, where links on Prefect's pages lead.",
    "automate": "Make the automations of automations.yaml and automations-off.yaml on the Prefect server.",
}
"""Commands that run no flow."""

SERVE: Final = (
    Parameter("profile", str, "embedded", "Profile whose folder is shown, at the address in its pages."),
    Parameter("host", str, "127.0.0.1", "Address that is listened at; 0.0.0.0 shows it to all who reach this machine."),
)

PROGRAM: Final = "gainloop" if Path(sys.argv[0]).stem == "gainloop" else "python -m flows"

STOPPED: Final = ("yellow", "stopped: what was done so far is kept. Run the same again to go on.")

LAST_STATES: Final = ("Finished in state Failed", "Finished in state Held")

PARTS: Final = (
    "What is not Required has a default that works. A part can be given as a whole too: by its kind, --text.method "
    "entigraph, or as JSON, "
    """--source '{"kind": "files", "paths": ["docs"]}'. An option with [kinds] belongs to these kinds of its part."""
)

last_words: list[tuple[str, str]] = []
"""Style and text, printed when all else is said: Prefect still logs its own end after the flow's."""


def run(words: Sequence[str]) -> None:
    """Run a command line; its result, or what is wrong, becomes the last line.

    Raises:
        SystemExit: The command line is wrong (2), the run failed (1), or only help was asked for (0).
    """
    try:
        if words and words[0] in BESIDE:
            run_beside(words[0], words[1:])
            return
        flow, given = read(words)
    except GainloopError as error:
        stop(str(error), 2)
    run_flow(flow, given)


def run_beside(name: str, words: Sequence[str]) -> None:
    """Run a command that runs no flow.

    Raises:
        BadInput: Its options are wrong, or what they name cannot be.
    """
    parser = make_parser(f"{PROGRAM} {name}", BESIDE[name])
    if name == "automate":
        read_options(words, [], parser)
        from tasks.automations import make_automations

        last_words.append(("", "\n".join(make_automations(PROFILES.parent))))
        return
    from flows.__serving__ import serve

    given = {"profile": "embedded", "host": "127.0.0.1"} | read_options(words, SERVE, parser)
    loaded = load_profile(given["profile"])
    print(f"pages of {loaded.folder} at {loaded.pages}", flush=True)
    serve(loaded, given["host"])


def read(words: Sequence[str]) -> tuple["Flow[Any, Any]", dict[str, Any]]:
    """Return the flow that a command line names, and the parameters it sets.

    Raises:
        BadInput: The command line is wrong, or what it sets does not go together.
        SystemExit: Only help was asked for.
    """
    name, *options = words or ["--help"]
    if name not in RESULTS:
        answer(name)
    flow: Flow[Any, Any] = getattr(importlib.import_module(f"flows.{name}"), name)
    parameters = parameters_of(flow)
    epilog = PARTS if {"source", "text"} & {one.name for one in parameters} else ""
    given = read_options(options, parameters, make_parser(f"{PROGRAM} {name}", summary_of(name), epilog))
    require_possible({one.name: one.default for one in parameters} | given)
    return flow, given


def answer(word: str) -> NoReturn:
    """Print help or the version, and exit.

    Raises:
        BadInput: The word asks for neither.
    """
    parser = make_parser(
        PROGRAM, "Turn a corpus into a model that knows it, and say what each batch of synthetic text added."
    )
    parser.add_argument("-h", "--help", action="help", help="Show this, and exit.")
    version = importlib.metadata.version("gainloop")
    parser.add_argument("--version", action="version", version=version, help="Show the version, and exit.")
    flows = parser.add_subparsers(
        title="flows", metavar="FLOW", description=f"`{PROGRAM} FLOW --help` lists the options of one."
    )
    for name in RESULTS:
        flows.add_parser(name, help=summary_of(name))
    for name, about in BESIDE.items():
        flows.add_parser(name, help=about)
    with contextlib.suppress(argparse.ArgumentError):
        parser.parse_known_args([word])
    known = ", ".join([*RESULTS, *BESIDE])
    raise BadInput(f'reading the options of `{PROGRAM}`: unknown command "{word}"; known are {known}. Correct it.')


def make_parser(program: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """Return a parser of no options yet that raises where argparse would print and exit."""
    return argparse.ArgumentParser(
        program,
        usage=f"{program} {'FLOW ' if program == PROGRAM else ''}[OPTIONS]",
        description=description,
        epilog=epilog,
        formatter_class=Help,
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )


class Help(RichHelpFormatter):
    """Help in colour, with room for long options, and brackets as they are."""

    group_name_formatter = str
    text_markup = help_markup = False
    highlights: ClassVar[list[str]] = [*RichHelpFormatter.highlights, r"(?P<metavar>\[[\w, ]+\])"]

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=44)


def parameters_of(flow: "Flow[Any, Any]") -> list[Parameter]:
    """Return the parameters of a flow, each with the sentence that the form of Prefect's UI shows of it."""
    said = flow.parameters.properties
    return [
        Parameter(
            name,
            option.annotation,
            REQUIRED if option.default is inspect.Parameter.empty else option.default,
            said[name].get("description", ""),
        )
        for name, option in inspect.signature(flow.fn, eval_str=True).parameters.items()
    ]


def summary_of(name: str) -> str:
    """Return the first sentence of a flow's module, without importing it."""
    docstring = ast.get_docstring(ast.parse((Path(__file__).parent / f"{name}.py").read_text())) or ""
    return docstring.partition("\n")[0]


def require_possible(given: dict[str, Any]) -> None:
    """Refuse, before Prefect starts anything, what cannot go together.

    Raises:
        BadInput: There is no such profile, or text, generator and profile do not go together.
    """
    loaded = load_profile(given["profile"])
    if "generator" in given:
        from gainloop.methods import require_generator  # numpy comes with it, which help does without

        require_generator(loaded, given["text"], given["generator"])


def run_flow(flow: "Flow[Any, Any]", given: dict[str, Any]) -> None:
    """Run a flow; its result or its error becomes the last line."""
    try:
        quieten()
        start_server()
        result = flow(**given)
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
    last_words.append(("", f"{'batch' if given.get('dry_run') else RESULTS[flow.name]}: {from_here(result)}"))


def from_here(result: str) -> str:
    """Return a path within the working folder as it is from there, and anything else as it is."""
    path, here = Path(result), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else result


def stop(message: str, status: int) -> NoReturn:
    """End the command with an error as its last line: 2 if the command line is wrong, 1 if the run failed."""
    last_words.append(("red", f"error: {message}"))
    sys.exit(status)


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


def prefect_settings() -> dict[str, str]:
    """Return Prefect's settings of pyproject.toml as variables; Prefect itself reads those of the working folder."""
    table = tomllib.loads((PROFILES.parent / "pyproject.toml").read_text())["tool"]["prefect"]
    return dict(_variables("PREFECT", table))


def _variables(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield name.upper(), str(value)
        return
    for inner, of_inner in value.items():
        yield from _variables(f"{name}_{inner}", of_inner)


def main() -> None:
    """Run the command line of this process."""
    for variable, value in prefect_settings().items():
        os.environ.setdefault(variable, value)
    stopping = Stop(say_stopped)
    atexit.register(end, stopping)  # the first is run last
    try:
        run(sys.argv[1:])
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
