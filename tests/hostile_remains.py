"""What hostile runs leave behind: whether it adds up, holds what nothing may hold, and loads or runs anything."""

import base64
import json
import re
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import polars as pl

from gainloop.store import Store
from gainloop.store.batches import batch_folder, replies_folder
from gainloop.store.replies import read_replies
from schemas.tables import KEYS
from tests.browser import open_page
from tests.hostile_files import PLANTED

CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys, and what turns the direction of a line."""

TEXTS: Final = {".html", ".js", ".json", ".jsonl", ".txt", ".md", ".yaml", ".log", ".out", ".err"}
"""Files that people and terminals show as they are."""


TOLD: Final = ("log", "artifact", "artifact_collection", "flow_run_state", "task_run_state")
"""Tables of Prefect with what runs say. The name of a run and its parameters are as they were given."""


class Check(NamedTuple):
    """One fact about what is left: what must hold, what was found, and whether it does."""

    what: str
    found: str
    is_well: bool


def add_up(store: Store, batch_id: str, expected: Counter[str]) -> Iterator[Check]:
    """Yield whether the rows of a batch add up, by the store alone, and whether its report says the same.

    Args:
        expected: Prompts that must end as ``reply``, or as the reason of a drop.
    """
    rows = {name: store.query(f"from {name} where batch_id = ?", batch_id) for name in ("records", "drops")}
    records, drops = rows["records"], rows["drops"]
    quarantine = store.query("from quarantine where batch_id = ?", batch_id)
    anchors = set(store.query("select anchor_id from batch_anchors where batch_id = ?", batch_id)["anchor_id"])
    replies = set(read_replies(replies_folder(store, batch_id))["request_id"])
    kept = records.filter(~pl.col("record_id").is_in(quarantine["record_id"].implode()))
    lost = drops.filter(~pl.col("request_id").is_in(list(replies)))
    made_of = set(records["request_ids"].explode())
    of_replies = drops.filter(pl.col("request_id").is_in(list(replies)))
    with_kept, with_record = set(kept["anchor_id"]), set(records["anchor_id"])
    only_dropped = set(drops["anchor_id"]) - with_record
    yield _equal(
        "anchors = with kept + only quarantined + only dropped",
        len(anchors),
        *(len(with_kept), len(with_record - with_kept), len(only_dropped)),
    )
    reasons = Counter(lost["reason"].to_list())
    expected_reasons = Counter({reason: count for reason, count in expected.items() if reason != "reply"})
    num_requests = sum(expected.values())
    yield _equal("requests = replies + without one", num_requests, len(replies), lost.height)
    wanted = "" if reasons == expected_reasons else f"; expected were {_listed(expected_reasons)}"
    yield Check("why there is no reply", f"{_listed(reasons)}{wanted}", reasons == expected_reasons)
    yield _equal("replies = in records + dropped", len(replies), len(made_of), of_replies["request_id"].n_unique())
    yield _equal("records = kept + quarantined", records.height, kept.height, quarantine["record_id"].n_unique())
    report = Path(batch_folder(store, batch_id), "report.json")
    told = json.loads(report.read_text())["counts"] if report.is_file() else {}
    found = {
        "anchors": len(anchors),
        "anchors_kept": len(with_kept),
        "anchors_only_quarantined": len(with_record - with_kept),
        "anchors_only_dropped": len(only_dropped),
        "requests": num_requests,
        "replies": len(replies),
        "records": records.height,
        "kept": kept.height,
        "drops": drops.height,
        "drops_by_reason": dict(Counter(drops["reason"].to_list())),
    }
    wrong = {name: (told.get(name), value) for name, value in found.items() if told.get(name) != value}
    yield Check("report.json says the same", str(wrong or f"{len(found)} counts"), not wrong)


def _equal(what: str, whole: int, *parts: int) -> Check:
    return Check(what, f"{whole} = {' + '.join(map(str, parts))}", whole == sum(parts) > 0)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def spellings(secret: str) -> set[str]:
    """Return a secret as it is, in a url, and in base64, alone and after a user's name."""
    packed = (base64.b64encode(one.encode()).decode().rstrip("=") for one in (secret, f"user:{secret}"))
    return {secret, quote(secret, safe=""), quote(secret, safe="").lower(), json.dumps(secret)[1:-1], *packed}


def look_for(secrets: set[str], store: Store, prefect: Path) -> Iterator[Check]:
    """Yield whether a secret or a control character is in any file or row of a store, or of Prefect's home.

    Args:
        secrets: Texts that stand nowhere.
        prefect: Prefect's home, beside which its server's log lies.
    """
    found: dict[str, list[str]] = {"secrets": [], "control characters": []}

    def look(where: str, said: str, is_shown: bool) -> None:
        if any(secret in said for secret in secrets):
            found["secrets"].append(where)
        if is_shown and (odd := CONTROLS.search(said)):
            found["control characters"].append(
                f"{where} {odd[0]!r} in {said[max(0, odd.start() - 30) : odd.end() + 30]!r}"
            )

    files = [path for folder in (Path(store.folder), prefect) for path in folder.rglob("*") if path.is_file()]
    for path in [*files, prefect.parent / "server.log"]:
        if path.suffix == ".parquet":
            look(path.name, "\n".join(texts_of(pl.read_parquet(path))), is_shown=False)
        else:
            look(path.name, path.read_bytes().decode(errors="surrogateescape"), is_shown=path.suffix in TEXTS)
    for table in KEYS:
        frame = store.query(f"from {table}")
        for column in frame.columns:
            is_reply = (table, column) == ("records", "text")
            look(f"{table}.{column}", "\n".join(texts_of(frame.select(column))), is_shown=not is_reply)
    with sqlite3.connect(prefect / "prefect.db") as database:
        for (table,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
            rows = database.execute(f'select * from "{table}"')
            look(f"Prefect's {table}", "\n".join(str(value) for row in rows for value in row), table in TOLD)
    for what, places in found.items():
        said = "; ".join(places[:5]) or f"none in {len(files)} files and {len(KEYS)} tables"
        yield Check(f"{what} in what is left", said, not places)


def texts_of(frame: pl.DataFrame) -> Iterator[str]:
    """Yield the texts of a frame's rows."""
    for row in frame.iter_rows():
        yield from map(_text_of, row)


def _text_of(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def open_all(folder: Path) -> Iterator[Check]:
    """Yield whether a page below a folder loads from elsewhere, runs what a document says, or opens a dialog."""
    with tempfile.NamedTemporaryFile("w", suffix=".html") as obeying:
        obeying.write("".join(PLANTED[:2]))
        obeying.flush()
        asked, is_planted = watch(Path(obeying.name))
    yield Check("a page that obeys planted marks", f"asked {len(asked)} times", is_planted and len(asked) > 1)
    shown = [path for path in folder.rglob("*") if path.suffix in (".html", ".js") and "planted" in path.read_text()]
    yield Check("pages and scripts with planted marks", f"{len(shown)}", len(shown) > 1)
    for path in sorted(folder.rglob("*.html")):
        asked, is_planted = watch(path)
        odd = [url for url in asked if not url.startswith(f"{folder.as_uri()}/")]
        found = f"asked for {', '.join(odd[:5])}" if odd else f"{len(asked)} requests, all of its own files"
        ran = "; IT RAN A SCRIPT OF A DOCUMENT" if is_planted else ""
        yield Check(f"page {path.parent.name}/{path.name}", found + ran, not odd and not is_planted)


def watch(path: Path) -> tuple[list[str], bool]:
    """Open a page, all of it; return what it asked for, and whether a planted script ran."""
    asked: list[str] = []
    with open_page("about:blank") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: (asked.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.goto(path.as_uri(), wait_until="load")
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(500)
        return asked, page.evaluate("window.planted") is not None
