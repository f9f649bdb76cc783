"""What was made of documents that are to be forgotten: a list, and what to do next. Nothing is changed."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field
from rich.console import Console
from rich.text import Text

from flows.__looking__ import existing_store
from gainloop.store import Store
from gainloop.store.files import disk_errors
from gainloop.store.traces import HELD, Trace, counted, find_documents, list_traces, untouched_starts
from schemas.masking import mask

SHOWN_IDS: Final = 5
"""Ids that a line shows; a file has all."""


def forget(
    documents: Annotated[tuple[str, ...], Field(min_length=1)],
    to: str = "",
    profile: str = "embedded",
) -> str:
    """List what holds what was made of documents, gone ones too, and say how to do without it; nothing is changed.

    Args:
        documents: Documents: uri, title, file name, or the beginning of a uri or of an anchor's id.
        to: JSONL file that every record, question, batch and checkpoint is listed in, one a line.
        profile: Profile whose store it is: a name in profiles/, or a YAML file.
    """
    store, console = existing_store(profile), Console()
    found = find_documents(store, documents)
    traces = list_traces(store, found)
    for document in found:
        say_document(console, document, [one for one in traces if one.document == document])
    if to:
        with disk_errors(f"writing {to}"):
            Path(to).write_text("".join(f"{json.dumps(asdict(one), ensure_ascii=False)}\n" for one in traces))
        console.print(Text(mask(f"{len(traces):,} lines in {to}")))
    return say_next(store, traces)


def say_document(console: Console, document: str, traces: Sequence[Trace]) -> None:
    """Print what holds one document."""
    console.print(Text(mask(document), style="bold"), soft_wrap=True)
    for what, name in HELD.items():
        own = [one for one in traces if one.what == what]
        if own:
            number = len({one.id for one in own})  # a question stands in every exam that has it
            console.print(Text(f"  {name:13} {number:>6,}  {mask(_words(own))}"), soft_wrap=True)
    if not traces:
        console.print(Text("  nothing that this store knows was made of it"))


def _words(traces: Sequence[Trace]) -> str:
    """Return in which batch or exam things are, or in how many, of which state how many, and their first ids."""
    inside, places = {"record": "batch", "question": "exam"}.get(traces[0].what), sorted({one.within for one in traces})
    told = [f"in {f'{inside} {places[0]}' if len(places) == 1 else counted(len(places), inside)}"] if inside else []
    told += [f"{number:,} {state}" for state, number in Counter(one.state for one in traces).items() if state]
    named = list(dict.fromkeys(one.id for one in traces))
    ids = ", ".join(named[:SHOWN_IDS]) + (", ..." if len(named) > SHOWN_IDS else "")
    return f"{', '.join(told)}: {ids}" if told else ids


def say_next(store: Store, traces: Sequence[Trace]) -> str:
    """Return what to do next: what must be made again without the documents, and from which model on."""
    without = "take them out of the source, where they are still in it, and run `gainloop refresh`"
    steps: list[Any] = [f"{without}: the new snapshot is without them"]
    if any(one.what == "batch" for one in traces):
        steps.append("`gainloop cycle` with the same recipe makes text of the new snapshot")
    if any(one.what == "checkpoint" for one in traces):
        starts = untouched_starts(store, traces)
        first = f"`--start.model {starts[0]}`, which holds nothing of them" if starts else "a model made elsewhere"
        steps.append(f"train from the start again, from {first}: all checkpoints listed have read them")
    if any(one.what == "question" for one in traces):
        steps.append("have the exam made anew for the new snapshot")
    kept = "rows of the store stay, with replies and pages in the batches' folders; exports lie where they were written"
    return f"{'; '.join(steps)}. Nothing was removed: {kept}."
