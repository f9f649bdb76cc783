"""The command line: ``gainloop <flow> --help``. Every flow's parameters are its options."""

import argparse
import atexit
import contextlib
import importlib
import importlib.metadata
import logging
import os
import resource
import sys
import tomllib
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from rich.console import Console
from rich_argparse import RichHelpFormatter

from flows.__parameters__ import find_look, option_of_batches, read_parameters, summary_of
from flows.__places__ import require_there
from flows.__stopping__ import Stop, start_server
from schemas.errors import BadInput, GainloopError, OutOfMemory, is_failure
from schemas.masking import mask
from schemas.options import read_options
from schemas.profile import PROFILES, load_profile

if TYPE_CHECKING:  # Prefect takes two seconds, a flow one more: each is imported when it is asked for
    from prefect import Flow

RESULTS: Final = {
    "cycle": "report",
    "improve": "report",
    "refresh": "snapshot",
    "generate": "batch",
    "validate": "validation",
    "select": "selection",
    "score": "batch",
    "judge": "judging",
    "probe": "report",
    "train": "training",
    "evaluate": "exam",
    "assess": "assessment",
    "report": "report",
    "export": "dataset",
    "simulate": "simulation",
    "verify": "verification",
    "prune": "prune",
    "protocol": "protocol",
    "maintain": "store",
}
"""Every flow, and what its last line calls its result."""

LOOKS: Final = {
    "preview": ("preview", ""),
    "list": ("list_all", "--what"),
    "show": ("show_one", "--name"),
    "status": ("say_status", ""),
    "forget": ("forget", "--documents"),
    "up": ("start_up", ""),
    "serve": ("serve_pages", ""),
    "automate": ("automate", ""),
    "store serve": ("serve_store", "--path"),
    "store copy": ("copy_store", "--origin --target"),
}
"""What runs no flow: its function, and the options that the first bare words are of."""

ALIASES: Final = {"store maintain": "maintain"}
"""Flows that have a second name, beside commands of their kind."""

PROGRAM: Final = "gainloop" if Path(sys.argv[0]).stem == "gainloop" else "python -m flows"

STOPPED: Final = ("yellow", "stopped: what was done so far is kept. Run the same again to go on.")

LAST_STATES: Final = ("Finished in state Failed", "Finished in state Held")

LEAST_ADDRESSES: Final = 3 * 2**30
"""Addresses that DuckDB, Polars and Arrow map when they are loaded (2.6 GiB on two cores), and some for work."""

SERVER_SIDE: Final = ("httpx", "httpcore", "prefect", "sqlalchemy", "sqlite3")
"""Packages whose errors come of the Prefect server, or of its database."""

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
        name, given = read(words)
        require_there(f"{PROGRAM} {name}", given)
    except OutOfMemory as error:
        stop(str(error), 1)
    except GainloopError as error:
        stop(str(error), 2)
    if name in LOOKS:
        look(name, given)
    else:
        run_flow(getattr(importlib.import_module(f"flows.{name}"), name), given)


def read(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the flow or the look that a command line names, and the parameters it sets; Prefect is not imported.

    Raises:
        BadInput: The command line is wrong, or what it sets does not go together.
        SystemExit: Only help was asked for.
    """
    name, options = take_name(words)
    if name not in RESULTS and name not in LOOKS:
        answer(name)
    require_addresses()
    function, bare = LOOKS.get(name, (name, ""))
    parameters = read_parameters(function)
    for place, option in enumerate((bare or option_of_batches(parameters)).split()):
        if options[2 * place : 2 * place + 1] and not options[2 * place].startswith("-"):
            options.insert(2 * place, option)
    epilog = PARTS if {"source", "text"} & {one.name for one in parameters} else ""
    parser = make_parser(f"{PROGRAM} {name}", summary_of(function), epilog)
    given = read_options(options, parameters, parser, lambda: [one.name for one in read_parameters("cycle")])
    whole = {one.name: one.default for one in parameters} | given
    if name in RESULTS:
        require_possible(whole)
    elif "profile" in whole:
        load_profile(whole["profile"])
    return name, given


def take_name(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the command that a line begins with, which can be two words, and the rest of the line.

    >>> take_name(["list", "models"]), take_name(["store", "maintain"]), take_name([])
    (('list', ['models']), ('maintain', []), ('--help', []))
    """
    pair = " ".join(words[:2])
    if pair in LOOKS or pair in ALIASES:
        return ALIASES.get(pair, pair), list(words[2:])
    name, *options = words or ["--help"]
    return name, options


def require_addresses() -> None:
    """Refuse a limit on addresses under which not even the libraries can be loaded: they would end in a crash.

    Raises:
        OutOfMemory: There is such a limit.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESSES:
        raise OutOfMemory(
            f"starting gainloop: a limit (ulimit -v) allows {limit / 2**30:.1f} GiB of addresses; its libraries map "
            f"{LEAST_ADDRESSES / 2**30:.0f} GiB, of which they use a tenth. Raise ulimit -v, or limit the memory that "
            "is used, by a container or a cgroup."
        )


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
        title="commands", metavar="COMMAND", description=f"`{PROGRAM} COMMAND --help` lists the options of one."
    )
    for name in RESULTS:
        flows.add_parser(name, help=summary_of(name))
    for name, (function, _) in LOOKS.items():
        flows.add_parser(name, help=summary_of(function))
    with contextlib.suppress(argparse.ArgumentError):
        parser.parse_known_args([word])
    known = ", ".join([*RESULTS, *LOOKS])
    raise BadInput(f'reading the options of `{PROGRAM}`: unknown command "{word}"; known are {known}. Correct it.')


def make_parser(program: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """Return a parser of no options yet that raises where argparse would print and exit."""
    return argparse.ArgumentParser(
        program,
        usage=f"{program} {'COMMAND ' if program == PROGRAM else ''}[OPTIONS]",
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


def require_possible(given: dict[str, Any]) -> None:
    """Refuse, before Prefect starts anything, what cannot go together.

    Raises:
        BadInput: There is no such profile, or text, generator and profile do not go together.
    """
    loaded = load_profile(given["profile"])
    if {"text", "generator"} <= given.keys():
        # numpy comes with it, which help does without
        from gainloop.methods import read_makings, require_generator, require_objective

        makings = read_makings(given.get("recipes", ()), given["text"]) or {"": given["text"]}
        for making in makings.values():
            require_generator(loaded, making, given["generator"])
        if "plan" in given:
            require_objective(given["plan"], [making.method for making in makings.values()])


def look(name: str, given: dict[str, Any]) -> None:
    """Run a command that runs no flow; what it returns becomes the last line."""
    try:
        said = find_look(LOOKS[name][0])(**given)
    except Exception as error:
        stop(say_what_failed(f"running {name}", error), 1)
    if said:
        last_words.append(("", f"{name}: {mask(from_here(said))}"))


def run_flow(flow: "Flow[Any, Any]", given: dict[str, Any]) -> None:
    """Run a flow; its result or its error becomes the last line."""
    try:
        quieten()
        start_server()
        result = flow(**given)
    except Exception as error:
        stop(say_what_failed(f"running {flow.name}", error), 1)
    made = mask(from_here(result)) if result else "none"
    last_words.append(("", f"{'batch' if given.get('dry_run') else RESULTS[flow.name]}: {made}"))


def say_what_failed(attempt: str, error: BaseException) -> str:
    """Return what is wrong as one sentence: what the project says of it, what the machine lacked, or what is known."""
    if isinstance(error, GainloopError):
        return str(error)
    from gainloop.store.lacks import explain  # DuckDB and Polars come with it, which help does without

    said = " ".join(str(error).split())[:300].rstrip(".")
    if lack := explain(attempt, error):
        return str(lack)
    if type(error).__name__ == "InvalidURL":  # what it says of a url can be the beginning of a password
        return (
            f"{attempt}: PREFECT_API_URL is no url; one such as http://127.0.0.1:4200/api is. "
            "Mend it, or unset it: then the run starts a server."
        )
    if said.startswith("Failed to reach API"):
        return (
            f"{attempt}: {said}; the Prefect server that PREFECT_API_URL names must be up. "
            "Start it with `gainloop up` or `prefect server start`, or unset PREFECT_API_URL: then the run starts one."
        )
    if said.startswith("Timed out while attempting to connect to ephemeral"):
        return (
            f"{attempt}: {said}; the Prefect server that is started for the run must be up soon. Set "
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS to more, or start one with `prefect server start`."
        )
    if type(error).__module__.partition(".")[0] in SERVER_SIDE:
        return (
            f"{attempt}: {type(error).__name__} ({said}); the Prefect server must answer, and its database must have "
            "room. Look at its log, then run the same again: what was complete is kept."
        )
    return (
        f"{attempt}: {type(error).__name__} ({said}); a run ends with a result, or with what is wrong in words that "
        "help. This one is a fault of gainloop: report it with the log above. What was complete is kept."
    )


def from_here(result: str) -> str:
    """Return a path within the working folder as it is from there, and anything else as it is."""
    path, here = Path(result), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else result


def stop(message: str, status: int) -> NoReturn:
    """End the command with an error as its last line: 2 if the command line is wrong, 1 if the run failed."""
    last_words.append(("red", f"error: {mask(message)}"))
    sys.exit(status)


def _is_told(error: BaseException | None) -> bool:
    """Tell whether the last line says all that there is to do about an error."""
    if error is None or isinstance(error, GainloopError):
        return error is not None
    from gainloop.store.lacks import explain

    return explain("", error) is not None


class _WithoutTraceback(logging.Filter):
    """Leaves the traceback out of the log for errors whose message says all that there is to do."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and _is_told(record.exc_info[1]):
            record.exc_info = record.exc_text = None
            record.is_last_word = True
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
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # no library may ask a question, nor a program that one starts
    sys.excepthook = say_traceback
    stopping = Stop(say_stopped)
    atexit.register(end, stopping)  # the first is run last
    try:
        run(sys.argv[1:])
    except BaseException as error:
        if stopping.was_told(error):
            last_words[:] = [STOPPED]
        elif is_failure(error):
            stop(say_what_failed("starting", error), 1)
        else:
            raise


def end(stopping: Stop) -> None:
    """Say the last line; if the run was stopped, do not wait for Python to take itself apart, which takes 3 s."""
    say_last_words()
    if stopping.status:
        os._exit(stopping.status)


def say_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback as Python does, masked."""
    print(mask("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr, end="")


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
