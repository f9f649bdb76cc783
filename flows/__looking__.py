"""Commands that run no flow: what a method would write, what a store holds, its pages, the server's automations."""

import asyncio
import os
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import polars as pl
from pydantic import Field, ValidationError
from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from flows.__stopping__ import start_server
from gainloop.methods import METHODS, Making, require_generator
from gainloop.methods.method import Method
from gainloop.methods.rephrase import Rephrase
from gainloop.reports.paragraph import UNCHECKED
from gainloop.serving.preview import Preview, first_anchors, write_few
from gainloop.sources import AnySource
from gainloop.sources.python_docs import PythonDocs
from gainloop.store import Store, catalogue, open_store
from gainloop.store.daily import morning_lines
from gainloop.store.traces import counted
from schemas.choice import error_summary, one_of
from schemas.errors import BadInput, ServerError
from schemas.masking import mask
from schemas.plan import Accepted, AnyStart, Checkpoint, NewModel
from schemas.profile import PROFILES, Embedded, Profile, Servers, load_profile
from schemas.recipe import BASIC, AnyGenerator, Own, Player, Recipe, Sampling, Served
from schemas.rows import Anchor, Record

SMALL_MODEL: Final = "data/models/smollm2-135m-instruct"
"""Folder that `make model` makes, in the project's."""

SMALL: Final = {
    "method": Rephrase(unit="sentence", sentence_styles=("reworded", "shorter")),
    "sampling": Sampling(temperature=0.6, max_tokens=96),
}
"""What a model of 135 million parameters can do faithfully: three documents are 1,900 tokens, 35 s on two cores."""

ONE: Final = {
    "snapshots": "snapshot",
    "batches": "batch",
    "models": "model",
    "trainings": "training",
    "loops": "loop",
    "exams": "exam",
    "assessments": "assessment",
}

MOST_CHARS: Final = 1500
"""Characters of a text that a terminal shows, at most."""

SIDE_BY_SIDE: Final = 100
"""Columns of a terminal from which on a record stands beside its anchor, not below it."""


if TYPE_CHECKING:
    PreviewMethod = Method
else:
    PreviewMethod = one_of("text.method", METHODS, "gainloop/methods/", "rephrase")


class PreviewMaking(Making):
    """How text is made of anchors, and which of it is kept. Default: rephrase, by sentence if a small model writes."""

    method: Annotated[PreviewMethod, BASIC, Field(description="Method that makes text of an anchor.")] = Rephrase()


What = Literal["all", "snapshots", "batches", "models", "trainings", "loops", "exams", "assessments", "runs"]


def preview(
    source: AnySource = PythonDocs(),
    text: PreviewMaking = PreviewMaking(),
    generator: AnyGenerator = Own(),
    start: AnyStart = NewModel(),
    url: str = "",
    records: Annotated[int, Field(ge=1, le=50)] = 5,
    seconds: Annotated[float, Field(gt=0)] = 60,
    profile: str = "embedded",
) -> str:
    """Show a few records beside their anchors within a minute; nothing is stored.

    Args:
        source: Source of the documents.
        generator: Generator that writes the text: one's own, the start checkpoint, or a served model.
        start: Model in this process that writes it. Default: the small real model that `make model` makes.
        url: Url of an OpenAI-compatible server, ending in /v1. Default: what the profile says.
        records: Records that are shown.
        seconds: Seconds after which what is there is shown.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    begun, console = time.monotonic(), Console()
    anchors = first_anchors(source)  # what cannot be read is told before a model is loaded
    place, model, folder = find_writer(load_profile(profile), url, generator, start)
    if folder and text == PreviewMaking():
        text = text.model_copy(update=SMALL)
    named = generator.players if isinstance(generator, Served) else {}
    require_generator(place, text, generator if named else Served(model=model))
    players = {role: Player(model=name, revision="preview") for role, name in named.items()}
    recipe = text.recipe("", model, "preview", players=players)
    from gainloop.serving.engine import engine

    about = f"{text.method.kind} by {folder or model}, on {len(anchors)} documents"
    with console.status(about), engine(place, recipe, folder or None) as lent:
        left = max(1.0, seconds - (time.monotonic() - begun))
        at_once = 2 if folder else records
        found = lent.run(lambda pool: write_few(pool, recipe, anchors, records, at_once, left, partial(show, console)))
    return say_preview(found, recipe, time.monotonic() - begun)


def find_writer(place: Profile, url: str, generator: Own | Served, start: Any) -> tuple[Profile, str, str]:
    """Return the profile that reaches a preview's generator, its name, and its folder if it runs in this process.

    Raises:
        BadInput: No model is named, or there is none.
        ServerError: The server cannot be asked for its models.
    """
    serving = servers_at(url) if url else place.serving
    if isinstance(serving, Servers):
        model = generator.model if isinstance(generator, Served) else only_served(serving)
        return place.model_copy(update={"serving": serving.model_copy(update={"logprobs": False})}), model, ""
    folder = find_folder(place, start)
    return place.model_copy(update={"serving": Embedded()}), Path(folder).name, folder


def servers_at(url: str) -> Servers:
    """Return the server at a url.

    Raises:
        BadInput: The url has a password in it.
    """
    try:
        return Servers(urls=[url], logprobs=False)
    except ValidationError as error:
        raise BadInput(error_summary("previewing with a server", error, "schemas/profile.py", "--url")) from None


def only_served(serving: Servers) -> str:
    """Return the model that a server has, if it is one.

    Raises:
        BadInput: It has several, or none.
    """
    from gainloop.serving.opening import list_served, read_key

    names = asyncio.run(list_served(serving.urls[0], read_key(serving)))
    if len(names) != 1:
        raise BadInput(
            f"previewing with {serving.urls[0]}: it has {len(names)} models ({', '.join(names[:8])}); one is needed. "
            "Set generator.kind to served and generator.model to the name of one."
        )
    return names[0]


def find_folder(place: Profile, start: AnyStart) -> str:
    """Return the folder of the model that writes in this process.

    Raises:
        BadInput: There is none, or it cannot be asked in a chat.
    """
    from gainloop.models.adopting import find_checkpoint  # with torch and transformers: four seconds
    from gainloop.models.checking import check_checkpoint
    from gainloop.store.checkpoints import find_weights

    small = PROFILES.parent / SMALL_MODEL
    if isinstance(start, Accepted):
        start = start.first_checkpoint
    if not isinstance(start, Checkpoint) and not small.is_dir():
        raise BadInput(
            f"previewing without a model: there is none at {small}; a server's url, a start of kind checkpoint or that "
            "model is needed. Make it with `make model`, or set url or start.model."
        )
    wanted = start if isinstance(start, Checkpoint) else Checkpoint(model=str(small))
    store = open_store(place)
    folder = find_weights(store, wanted.model) if store.exists() else None
    folder = folder or str(find_checkpoint(wanted).path)
    check_checkpoint(folder, chats=True)
    return folder


def show(console: Console, anchor: Anchor, record: Record) -> None:
    """Print a record beside its anchor, or below it where the terminal is narrow."""
    about = [one for one in (anchor.title or anchor.uri, record.facet) if one]
    texts = [_panel("anchor", anchor.text), _panel("record", record.text)]
    console.rule(Text(mask(", ".join(about))), style="dim", align="left")
    if console.width < SIDE_BY_SIDE:
        console.print(*texts, sep="\n")
    else:
        console.print(Columns(texts, width=console.width // 2 - 1, equal=True))


def _panel(title: str, text: str) -> Panel:
    shown = text if len(text) <= MOST_CHARS else text[:MOST_CHARS] + " ..."
    return Panel(Text(mask(shown)), title=title, title_align="left", border_style="dim")


def say_preview(found: Preview, recipe: Recipe, seconds: float) -> str:
    """Return the last line of a preview."""
    drops = ", ".join(f"{count} {reason}" for reason, count in found.drops.most_common())
    lost = f"; {found.drops.total()} replies dropped: {drops}" if drops else "; none dropped"
    unchecked = f" {UNCHECKED}: read them, or give the cycle --judge.model." if found.shown else ""
    late = " The time was over before there were more: raise --seconds." if found.is_late else ""
    made = f"{counted(len(found.shown), 'record')} of {counted(found.num_anchors, 'document')}"
    return f"{made} by {recipe.method['kind']}, {seconds:.0f} s{lost}.{unchecked}{late} Nothing was stored."


def list_all(what: What = "all", profile: str = "embedded") -> str:
    """List what a store has: snapshots, batches, models, trainings, loops, exams, assessments; and the runs.

    Args:
        what: What is listed: all is without the runs, unless a Prefect server is set.
        profile: Profile whose store it is: a name in profiles/, or a YAML file.
    """
    console = wide_console()
    wanted: list[str] = [what]
    if what == "all":
        wanted = [*catalogue.ROWS, *(["runs"] if os.environ.get("PREFECT_API_URL") else [])]
    for one in wanted:
        print_table(console, one, read_runs() if one == "runs" else catalogue.list_rows(existing_store(profile), one))
    return ""


def show_one(name: str = "latest", profile: str = "embedded") -> str:
    """Show all about a snapshot, batch, model, training, loop, exam or assessment, by its id or the beginning of it.

    Args:
        name: Id, the beginning of one, or latest for the newest batch.
        profile: Profile whose store it is: a name in profiles/, or a YAML file.
    """
    store, console = existing_store(profile), Console()
    what, row = catalogue.find_row(store, name)
    details = catalogue.describe(store, what, row)
    width = max(map(len, details))
    for key, value in details.items():
        console.print(Text.assemble((f"{key:{width}}", "bold"), "  ", as_word(value)), soft_wrap=True)
    return ""


def say_status(profile: str = "embedded") -> str:
    """Say what ran since yesterday and what it took, what is held and why, what fills the disk, and what comes next.

    Args:
        profile: Profile whose store it is: a name in profiles/, or a YAML file.
    """
    store, console = existing_store(profile), Console()
    counts = {what: catalogue.list_rows(store, what).height for what in catalogue.ROWS}
    console.print(Text(", ".join(f"{count:,} {what if count != 1 else ONE[what]}" for what, count in counts.items())))
    for line in morning_lines(store):
        console.print(Text(mask(line)), soft_wrap=not console.is_terminal)
    batches = catalogue.list_rows(store, "batches")
    if batches.is_empty():
        if any(catalogue.worked_on(store)):
            return "no batch is in the store yet; the run above makes the first"
        return "no batch yet: run `gainloop cycle` or `gainloop generate`"
    newest = batches.row(0, named=True)
    if any(one.startswith("loop ") for one in catalogue.worked_on(store)):
        return "the loop above is at work; its page comes at its end"
    if loop := catalogue.loop_of(store, newest["id"]):
        console.print(Text(f"newest loop {loop['id']}, rounds {loop['rounds']}: {loop['says']}"), soft_wrap=True)
        return loop["page"] or "run the same `gainloop improve` again: it goes on where it stopped"
    done, now = catalogue.done_stages(store, newest["id"]), catalogue.is_being_written(store, newest["id"])
    refusal = catalogue.find_refusal(store, newest["id"])
    console.print(
        Text(
            f"newest batch {newest['id']}: {', '.join(done) or 'no stage'} complete, verdict "
            f"{newest['verdict'] or 'none yet'}{'; a run writes it now' if now else ''}"
        )
    )
    report = batches.filter(pl.col("page") != "").row(0, named=True) if any(batches["page"]) else None
    if report and report["id"] != newest["id"]:
        console.print(Text(f"newest report, of batch {report['id']}, verdict {report['verdict'] or 'none yet'}:"))
        console.print(Text(report["page"]), soft_wrap=True)
    if refusal and not now:
        console.print(Text(f"{refusal}: read why, then change what the text is made from, or what curation allows"))
        return catalogue.refusal_page(store, newest["id"])
    missing = next((stage for stage in catalogue.STAGES if stage not in done), "")
    if missing and not now:
        console.print(Text(f"next: `gainloop {missing}`, or run the same cycle again: what is done is kept"))
    return newest["page"] or f"{store.folder}/batches/{newest['id']}"


def serve_pages(profile: str = "embedded", host: str = "127.0.0.1") -> str:
    """Show the pages of the profile's folder over HTTP, where links on Prefect's pages lead.

    Args:
        profile: Profile whose folder is shown, at the address in its pages.
        host: Address that is listened at; 0.0.0.0 shows it to all who reach this machine.
    """
    from flows.__serving__ import listen, serve

    loaded = load_profile(profile)
    listener = listen(loaded, host)
    print(mask(f"pages of {loaded.folder} at {loaded.pages}"), flush=True)
    serve(loaded, host, listener)
    return ""


def start_up() -> str:
    """Keep a Prefect server up, so that no run starts one of its own; one that is up is used."""
    from flows.__keeping__ import keep_server

    return keep_server()


def automate() -> str:
    """Make the automations of automations.yaml and automations-off.yaml on the Prefect server."""
    from tasks.automations import make_automations

    print(mask("\n".join(make_automations(PROFILES.parent))))
    return ""


def existing_store(profile: str) -> Store:
    """Return the store of a profile, which must be there: looking makes none.

    Raises:
        BadInput: No run has made it yet.
    """
    store = open_store(profile)
    if not store.exists():
        raise BadInput(
            f"opening the store {store.path} of profile {profile!r}: there is none yet; one that a run has made is "
            "needed. Run `gainloop refresh` or `gainloop cycle`, or set profile to the one of your runs."
        )
    return store


def wide_console() -> Console:
    """Return the terminal; whatever else the output goes to is as wide as its rows."""
    console = Console()
    return console if console.is_terminal else Console(width=400)


def print_table(console: Console, what: str, rows: pl.DataFrame) -> None:
    """Print a table of the newest rows."""
    older = rows.height - catalogue.SHOWN
    console.print(Text(what + (f", the newest {catalogue.SHOWN} of {rows.height}" if older > 0 else ""), style="bold"))
    if rows.is_empty():
        console.print(Text("  none\n"))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in rows.columns:
        is_number = rows[name].dtype.is_numeric()
        table.add_column(name, justify="right" if is_number else "left", no_wrap=name == "id", overflow="fold")
    for row in rows.head(catalogue.SHOWN).iter_rows():
        table.add_row(*(Text(as_word(value)) for value in row))
    console.print(table)
    console.print()


def as_word(value: Any) -> str:
    """Return a value as a table shows it.

    >>> as_word(12345), as_word(None), as_word(datetime(2026, 1, 2, 3, 4, 5))
    ('12,345', '', '2026-01-02 03:04')
    """
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else mask(str(value))


def read_runs() -> pl.DataFrame:
    """Return the last runs that Prefect began, those that another run started left out.

    Raises:
        ServerError: The Prefect server cannot be asked.
    """
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterParentTaskRunId,
        FlowRunFilterStartTime,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    own = FlowRunFilter(
        parent_task_run_id=FlowRunFilterParentTaskRunId(is_null_=True),
        start_time=FlowRunFilterStartTime(is_null_=False),
    )
    try:
        start_server()
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=own, sort=FlowRunSort.START_TIME_DESC, limit=catalogue.SHOWN)
    except (HTTPError, RuntimeError) as error:
        raise ServerError(
            f"asking Prefect for its runs: {error}; the server that PREFECT_API_URL names must be up. Start it with "
            "`prefect server start`, or unset PREFECT_API_URL: then the runs of this machine are listed."
        ) from error
    rows = [(str(run.id), run.name, run.state_name, run.start_time, run.state and run.state.message) for run in runs]
    return pl.DataFrame(rows, ["id", "run", "state", "begun", "says"], orient="row")
