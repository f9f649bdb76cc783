"""What a store holds, for people: snapshots, batches, models, trainings, loops, exams, assessments; verdicts, paths."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
from filelock import FileLock, Timeout

from gainloop.store.batches import batch_folder, page_of
from gainloop.store.duck import Store
from gainloop.store.files import exists, read_file
from gainloop.store.snapshots import name_source
from schemas.errors import BadInput

SHOWN: Final = 20
"""Rows of a list, the newest; ``show`` finds any."""

_LOCKS: Final = {"batch": "batches/*/.lock", "checkpoint": "checkpoints/*.lock", "loop": "improvements/*.lock"}
"""Files that runs lock while they make or read something of a kind."""

ROWS: Final = {
    "snapshots": """
select snapshot_id as id, source, num_anchors as anchors, num_heldout as held_out, num_bytes as bytes,
    created_at as made from snapshots order by rowid desc
""",
    "batches": """
with verdicts as (select batch_id, arg_max(state, rowid) as verdict from decisions group by batch_id)
select batch_id as id, recipe ->> '$.method.kind' as method, recipe ->> '$.model' as model, snapshot_id as snapshot,
    (select count(*) from records where records.batch_id = batches.batch_id) as records,
    (select max((summary ->> '$.kept')::bigint) from completions
        where completions.batch_id = batches.batch_id and stage = 'validate') as kept,
    coalesce(verdict, '') as verdict, created_at as made
from batches left join verdicts using (batch_id) order by batches.rowid desc
""",
    "models": """
select checkpoint_id as id, role, coalesce(plan ->> '$.fraction', '') as of_its_run, parent,
    array_to_string(batch_ids, ' ') as batches, url as path, created_at as made
from checkpoints order by rowid desc
""",
    "trainings": """
select key as id, batch_id as batch,
    coalesce((select arg_max(state, decisions.rowid) from decisions
        where decisions.batch_id = completions.batch_id and training_id = key), '') as verdict,
    coalesce((select arg_max(decision ->> '$.headline', decisions.rowid) from decisions
        where decisions.batch_id = completions.batch_id and training_id = key), '') as says,
    coalesce(summary ->> '$.selection.kind', '') as selection, completed_at as made
from completions where stage = 'train' and key != '' order by completions.rowid desc
""",
    "loops": """
with ends as (select batch_id, arg_max(summary ->> '$.headline', rowid) as says
    from completions where stage = 'improve' group by batch_id)
select batch_id as id, count(*) as rounds, coalesce(any_value(says), 'it is not over') as says,
    max(completed_at) as made
from completions left join ends using (batch_id) where stage = 'round'
group by batch_id order by max(completions.rowid) desc
""",
    "exams": """
select exam_id as id, snapshot_id as snapshot, kind, num_questions as questions, created_at as made
from exams order by rowid desc
""",
    "assessments": """
select key as id, batch_id as set, (summary ->> '$.exercises')::bigint as exercises,
    (summary ->> '$.trials.samples')::bigint as samples, summary ->> '$.right' as "right", completed_at as made
from completions where stage = 'assess' order by rowid desc
""",
}
"""By what can be listed: the newest first, by the order in which rows came and not by the clock."""

STAGES: Final = ("generate", "validate", "score", "train")
"""The stages that lead a batch to its report, in order."""


def list_rows(store: Store, what: str) -> pl.DataFrame:
    """Return what a store has of one kind, the newest first."""
    found = store.query(ROWS[what])
    if what == "models":
        gone = "select name, strftime(max(pruned_at), '%Y-%m-%d') from pruned where kind = 'weights' group by name"
        days = dict(store.query(gone).rows())
        paths = [(store.locate(url), days.get(name)) for name, url in found.select("id", "path").iter_rows()]
        shown = [f"pruned on {day}" if day and not exists(path) else path for path, day in paths]
        found = found.with_columns(path=pl.Series(shown, dtype=pl.String))
    if what == "snapshots":
        named = [name_source(json.loads(source)) for source in found["source"]]
        found = found.with_columns(source=pl.Series(named, dtype=pl.String))
    if what == "assessments":
        said = ["; ".join(f"{model}: {told}" for model, told in tell_right(one).items()) for one in found["right"]]
        found = found.with_columns(pl.Series("right", said, dtype=pl.String))
    if what == "loops":
        pages = [f"{store.folder}/improvements/{name}/report.html" for name in found["id"]]
        found = found.with_columns(page=pl.Series([one if exists(one) else "" for one in pages], dtype=pl.String))
    if what == "batches":
        pages = [find_page(store, batch_id) for batch_id in found["id"]]
        found = found.with_columns(pl.Series("page", pages, dtype=pl.String))
    return found


def tell_right(written: str | None) -> dict[str, str]:
    """Return what share of answers is right, with its interval, of each model by skill.

    Args:
        written: JSON of the assessment's shares, by model and skill; None of one that has none written down.

    >>> tell_right('{"start": {"solved": [0.414, 0.36, 0.463, 400], "called": [0, null, null, 1]}}')
    {'start': 'solved 41 % [36, 46] of 400, called 0 % of 1'}
    """
    shares = json.loads(written) if written else {}
    return {model: ", ".join(_as_share(*one) for one in by_skill.items()) for model, by_skill in shares.items()}


def _as_share(skill: str, share: list[float | None]) -> str:
    value, low, high, n = share
    if value is None:
        return f"{skill} not answered"
    interval = "" if low is None or high is None else f" [{100 * max(0, low):.0f}, {100 * min(1, high):.0f}]"
    return f"{skill} {100 * value:.0f} %{interval} of {n}"


def find_page(store: Store, batch_id: str) -> str:
    """Return where a batch's page lies; empty if it has none yet."""
    page = page_of(store, batch_id)
    return page if exists(page) else ""


def find_refusal(store: Store, batch_id: str) -> str:
    """Return what validation holds against a batch that has failed it; empty if it has not."""
    url = f"{batch_folder(store, batch_id)}/validation/verdict.json"
    if "validate" in done_stages(store, batch_id) or not exists(url):
        return ""
    verdict = json.loads(read_file(url))
    counts = verdict["summary"]
    if counts["success"]:
        return ""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts["reasons"].items()) or "none fails alone"
    broken = ", ".join(one["reason"] for one in verdict["findings"] if not one["held"])
    return f"refused by validation for {broken}: {counts['kept']:,} of {counts['records']:,} records pass ({reasons})"


def refusal_page(store: Store, batch_id: str) -> str:
    """Return where the page lies that shows why validation refused a batch."""
    return f"{batch_folder(store, batch_id)}/validation/index.html"


def loop_of(store: Store, batch_id: str) -> dict[str, Any] | None:
    """Return the row of the loop in one of whose rounds a batch was made; None if it is of none that is known."""
    made = "select batch_id from completions where stage = 'round' and contains(summary::varchar, ?) limit 1"
    loops = store.query(made, f'"{batch_id}"')["batch_id"].to_list()
    return next(iter(list_rows(store, "loops").filter(pl.col("id").is_in(loops)).iter_rows(named=True)), None)


def find_row(store: Store, name: str) -> tuple[str, dict[str, Any]]:
    """Return what has an id, or the beginning of one, and its row; ``latest`` is the newest batch.

    Raises:
        BadInput: Nothing has it, or several do.
    """
    if name == "latest":
        rows = list_rows(store, "batches").head(1)
        found = [("batches", row) for row in rows.iter_rows(named=True)]
    else:
        listed = {what: list_rows(store, what) for what in ROWS}
        found = [
            (what, row)
            for what, rows in listed.items()
            for row in rows.filter(pl.col("id").str.starts_with(name)).iter_rows(named=True)
        ]
    if len(found) != 1:
        several = ", ".join(f"{row['id']} ({what})" for what, row in found[:5])
        said = f"several ids begin so: {several}" if found else "nothing has that id"
        raise BadInput(
            f"looking up {name!r} in {store.path}: {said}; an id of a snapshot, batch, model, training, loop, exam or "
            "assessment, the beginning of one, or latest is allowed. Take one that `gainloop list` names."
        )
    return found[0]


def describe(store: Store, what: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return all that is worth knowing of one row, by name."""
    details = {name: value for name, value in row.items() if value not in ("", None)}
    if what == "batches":
        decided = store.query(
            "select arg_max(decision ->> '$.headline', rowid) as says from decisions where batch_id = ?", row["id"]
        )
        refusal = find_refusal(store, row["id"])
        details["says"] = decided["says"].item() or refusal or "not measured yet"
        if refusal:
            details["page"] = refusal_page(store, row["id"])
        details["stages"] = ", ".join(done_stages(store, row["id"])) or "none is complete"
        details["folder"] = f"{store.folder}/batches/{row['id']}"
        details["load"] = f"gainloop.open_store({store.opened_by!r}).kept({row['id']!r})"
    if what == "models" and exists(row["path"]):
        details["load"] = load_words(row["path"])
    if what == "assessments":
        details.pop("right", None)
        details |= describe_assessment(store, row["id"])
    if what == "snapshots":
        batches = store.query("select batch_id from batches where snapshot_id = ? order by 1", row["id"])["batch_id"]
        details["batches"] = ", ".join(batches) or "none"
    return details


def describe_assessment(store: Store, assessment_id: str) -> dict[str, Any]:
    """Return how an assessment was asked, and of each model what is right and where its answers lie."""
    found = store.query("select summary from completions where stage = 'assess' and key = ?", assessment_id)
    summary = json.loads(found["summary"].item())
    told = tell_right(json.dumps(summary.get("right", {})))
    said = {model: f"{told.get(model, '')}, answers {store.locate(url)}" for model, url in summary["urls"].items()}
    asked = ", ".join(f"{name} {value:g}" for name, value in summary["trials"].items() if value is not None)
    return {"trials": asked} | said


def load_words(path: str) -> str:
    """Return the line of Python that loads a model."""
    return f"transformers.AutoModelForCausalLM.from_pretrained({path!r})"


def done_stages(store: Store, batch_id: str) -> list[str]:
    """Return the stages of a batch that are complete, in the order in which they were first."""
    rows = store.query("select stage from completions where batch_id = ? group by stage order by min(rowid)", batch_id)
    return list(rows["stage"])


def worked_on(store: Store) -> Iterator[str]:
    """Yield what runs of this machine make or read now: batches, checkpoints and loops, by kind and name."""
    for kind, pattern in _LOCKS.items():
        for lock in sorted(Path(store.folder).glob(pattern)):
            if is_held(lock):
                yield f"{kind} {lock.parent.name if lock.name == '.lock' else lock.name.removesuffix('.lock')}"


def is_being_written(store: Store, batch_id: str) -> bool:
    """Return whether a process of this machine writes a batch now."""
    return is_held(Path(store.folder, "batches", batch_id, ".lock"))


def is_held(lock: Path) -> bool:
    """Return whether a process of this machine holds a lock."""
    if not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
