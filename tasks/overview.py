"""The page over all batches of a store, written anew whenever a batch is reported."""

import json
from typing import Any

import polars as pl
from pydantic import ValidationError

from schemas.profile import Profile
from schemas.report import FORMAT, Report
from tasks.measures.evidence import Begun
from tasks.store import Store
from tasks.store.files import exists, read_file, write_file

NEWEST = """
with told as (
    select *, json_extract_string(report, '$.format') = ? as is_current,
        json_extract_string(report, '$.training') != '' as is_trained
    from measurements)
select batch_id, report, is_current from told
qualify row_number() over (
    partition by batch_id order by is_current desc, is_trained desc, measured_at desc, measurement_id) = 1
order by batch_id
"""
"""Of each batch one report: of this format if there is one, of a training if there is one, the newest of those."""


def save_overview(store: Store, profile: Profile) -> str:
    """Return the path of the page over all batches, having written it and the JSON beside it unless they say this.

    Two runs may do so at once: each writes whole files of what the store has, and the last one wins.
    """
    from tasks.measures.overview import measure_overview
    from tasks.pages.overview_page import render_overview

    page = f"{profile.folder}/batches/index.html"
    truth, overview = page.replace(".html", ".json"), measure_overview(read_batches(store), profile.gate)
    content = overview.model_dump_json(indent=2).encode()
    if not (exists(page) and exists(truth) and read_file(truth) == content):
        write_file(page, render_overview(overview).encode())
        write_file(truth, content)
    return page


def read_batches(store: Store) -> list[Begun]:
    """Return every batch that was begun, with its newest report and what it lost."""
    stages: dict[str, dict[str, Any]] = {}
    for batch_id, stage, summary in store.query("select batch_id, stage, summary from completions").iter_rows():
        stages.setdefault(batch_id, {})[stage] = json.loads(summary)
    newest = store.query(NEWEST, str(FORMAT)).rows_by_key("batch_id", named=True, unique=True)
    reports = {batch_id: _read_report(row["report"]) for batch_id, row in newest.items() if row["is_current"]}
    drops, quarantine = (_count_by_reason(store, table) for table in ("drops", "quarantine"))
    begun = store.query("select batch_id, recipe, created_at from batches order by batch_id")
    return [
        Begun(
            batch_id=batch_id,
            recipe=json.loads(recipe),
            begun=created_at,
            stages=tuple(sorted(stages.get(batch_id, {}))),
            report=reports.get(batch_id),
            is_outdated=batch_id in newest and reports.get(batch_id) is None,
            requests=stages.get(batch_id, {}).get("generate", {}).get("requests", 0),
            records=stages.get(batch_id, {}).get("generate", {}).get("records", 0),
            drops=drops.get(batch_id, {}),
            quarantine=quarantine.get(batch_id, {}),
        )
        for batch_id, recipe, created_at in begun.iter_rows()
    ]


def _read_report(report: str) -> Report | None:
    try:
        return Report.model_validate_json(report)
    except ValidationError:  # of this format by its number, and yet written by another version
        return None


def _count_by_reason(store: Store, table: str) -> dict[str, dict[str, int]]:
    """Return batch to reason to number of rows; a table's key lets no row be there twice."""
    counted: pl.DataFrame = store.query(f"select batch_id, reason, count(*) from {table} group by all")
    found: dict[str, dict[str, int]] = {}
    for batch_id, reason, number in counted.iter_rows():
        found.setdefault(batch_id, {})[reason] = number
    return found
