"""The report of a batch: measured once, written as JSON and as a page, shown on the run's page."""

import io
import json
from typing import TYPE_CHECKING, Any

import polars as pl
from prefect import task
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.cache_policies import NO_CACHE

from schemas.errors import BadInput, StoreError
from schemas.identity import content_hash
from schemas.profile import Profile
from schemas.report import FORMAT, Report
from tasks.measures.evidence import Evidence
from tasks.overview import save_overview
from tasks.store import Store, open_store
from tasks.store.batches import TRAIN, latest_scores, stage_summary, training_stage, used_anchors
from tasks.store.contrasts import read_contrasts
from tasks.store.duck import now
from tasks.store.files import exists, link_to, read_file, write_file
from tasks.store.records import kept_records, read_records
from tasks.store.replies import read_replies

if TYPE_CHECKING:  # pages draw with matplotlib, measures compute with scipy: a second each, for reports alone
    from tasks.pages.reading import Line


@task(cache_policy=NO_CACHE, task_run_name="measure {batch_id}")
def make_report(place: Profile, batch_id: str, training_id: str) -> str:
    return save_report(open_store(place), place, batch_id, training_id)


@task(cache_policy=NO_CACHE, task_run_name="show {batch_id}", retries=2, retry_delay_seconds=[2, 20])
def show_report(place: Profile, batch_id: str, training_id: str) -> str:
    return publish(load_report(open_store(place), batch_id, training_id), page_of(place, batch_id))


def resolve_training(store: Store, batch_id: str, training_id: str = "latest") -> str:
    """Return the id of a training of a batch; ``latest`` is the one completed last, or "" before the first.

    Raises:
        BadInput: The batch has no such training.
    """
    stages = store.query(
        "select stage from completions where batch_id = ? and starts_with(stage, ?) order by completed_at desc, stage",
        batch_id,
        TRAIN,
    )
    known = [stage.removeprefix(TRAIN) for stage in stages["stage"]]
    if training_id == "latest":
        return known[0] if known else ""
    if training_id not in known:
        raise BadInput(
            f"finding training {training_id!r} of batch {batch_id}: known are {', '.join(known) or 'none'}. "
            "Set training_id to one of them or to latest, or run the flow train first."
        )
    return training_id


def save_report(store: Store, profile: Profile, batch_id: str, training_id: str) -> str:
    """Return the path of a batch's page, having measured what was not measured yet.

    A report that is there already is not computed again; its files are written if they are missing or
    show another training. The row in the store comes last.

    Raises:
        BadInput: The batch is not generated and validated yet.
        LedgerError: A row of the batch was lost without a reason.
    """
    from tasks.measures.batch import measure_batch

    page = page_of(profile, batch_id)
    report = find_report(store, batch_id, training_id)
    if report is None:
        report = measure_batch(gather_evidence(store, profile, batch_id, training_id))
    write_report(report, page)
    row = {
        "batch_id": batch_id,
        "measurement_id": _measurement_id(store, batch_id, training_id),
        "measured_at": report.created,
    }
    store.insert(measurements=[row | {"report": report.model_dump_json()}])
    save_overview(store, profile)
    return page


def write_report(report: Report, page: str) -> None:
    """Write the page and then the JSON beside it, unless both are there and say this."""
    from tasks.pages.page import render_page

    truth, content = page.replace(".html", ".json"), report.model_dump_json(indent=2).encode()
    if exists(page) and exists(truth) and read_file(truth) == content:
        return
    results = "validation/index.html"
    has_results = exists(page.replace("report.html", results))
    write_file(page, render_page(report, results if has_results else None).encode())
    write_file(truth, content)


def find_report(store: Store, batch_id: str, training_id: str) -> Report | None:
    """Return the report of a training of a batch, if it was measured."""
    rows = store.query(
        "select report from measurements where batch_id = ? and measurement_id = ?",
        batch_id,
        _measurement_id(store, batch_id, training_id),
    )
    return None if rows.is_empty() else Report.model_validate_json(rows["report"][0])


def load_report(store: Store, batch_id: str, training_id: str) -> Report:
    """Return the report of a training of a batch.

    Raises:
        BadInput: It was not measured.
    """
    report = find_report(store, batch_id, training_id)
    if report is None:
        raise BadInput(
            f"loading the report of batch {batch_id}, training {training_id or 'none'}: it was not measured; "
            f"the flow report measures. Run it with batch_id {batch_id} first."
        )
    return report


def gather_evidence(store: Store, profile: Profile, batch_id: str, training_id: str = "") -> Evidence:
    """Return what a batch, and a training of it if given, left behind in the store and the profile's folder.

    Raises:
        BadInput: The batch is not generated and validated yet.
        StoreError: A file of scores is gone.
    """
    summaries = read_summaries(store, batch_id, training_id)
    batch = store.query("select recipe, logprob_semantics from batches where batch_id = ?", batch_id).row(0, named=True)
    kept, of_batch = kept_records(store, batch_id)["record_id"], "where batch_id = ? order by all"
    trained, scored = summaries.get("train", {}), summaries.get("score")
    return Evidence(
        batch_id=batch_id,
        training_id=training_id,
        recipe=json.loads(batch["recipe"]),
        logprob_semantics=batch["logprob_semantics"],
        measured_at=now(),
        replies=read_replies(f"{profile.folder}/batches/{batch_id}/replies"),
        records=read_records(store, batch_id).with_columns(kept=pl.col("record_id").is_in(kept.implode())),
        quarantine=store.query(f"select record_id, reason from quarantine {of_batch}", batch_id),
        drops=store.query(f"select anchor_id, facet, reason, request_id from drops {of_batch}", batch_id),
        anchors=used_anchors(store, batch_id),
        scores=_read_scores(batch_id, trained.get("scores", {})),
        contrasts=read_contrasts(scored["folder"]) if scored else None,
        summaries=summaries,
        checkpoints=trained.get("checkpoints", {}),
    )


def read_summaries(store: Store, batch_id: str, training_id: str = "") -> dict[str, dict[str, Any]]:
    """Return the summaries of ``generate`` and ``validate``, of ``score`` if it is done, of ``train`` if one is given.

    Raises:
        BadInput: One of them is not complete.
    """
    stages = {"generate": "generate", "validate": "validate"} | (
        {"train": training_stage(training_id)} if training_id else {}
    )
    found = {name: stage_summary(store, batch_id, stage) for name, stage in stages.items()}
    missing = [name for name, summary in found.items() if summary is None]
    if missing:
        raise BadInput(
            f"reporting on batch {batch_id}: {' and '.join(missing)} is not complete; a report needs "
            f"{', '.join(found)}. Run the flow {missing[0]} on this batch first."
        )
    whole = {name: summary for name, summary in found.items() if summary is not None}
    scored = latest_scores(store, batch_id)
    return whole | ({"score": scored} if scored else {})


def publish(report: Report, page: str) -> str:
    """Show a report on the run's page in Prefect; returns its headline.

    The Markdown says it all; table, image and link are for those who collect them over many batches.
    """
    from tasks.pages.page import draw_image, list_ledger

    place, key = link_to(page), f"report-{report.batch}"
    # As text too: a browser follows no link from a site to a file.
    shown = f"{write_markdown(report)}\n\nThe whole report, with examples: `{place}`"
    create_markdown_artifact(shown, key=key, description=report.headline)
    create_table_artifact(list_ledger(report.counts), key=f"{key}-ledger", description="Where every row went")
    if plot := draw_image(report):
        create_image_artifact(plot, key=f"{key}-plot", description=report.headline)
    create_link_artifact(place, key=f"{key}-page", link_text="The whole report", description=report.headline)
    return report.headline


def write_markdown(report: Report) -> str:
    """Return the headline, the plot, every figure, the ledger and the caveats as Markdown."""
    from tasks.pages.page import draw_image, list_ledger
    from tasks.pages.reading import list_figures

    plot = draw_image(report)
    lines = [f"**{report.headline}**", ""] + ([f"![the headline, drawn]({plot})", ""] if plot else [])
    lines += ["| Figure | value | 95 % interval | unit | n |", "|---|---:|---|---|---:|"]
    for section, figures in list_figures(report).items():
        lines += [f"| **{section}** | | | | |", *map(_as_row, figures)]
    lines += ["", "| Where every row went | |", "|---|---:|"]
    lines += [f"| {row['line']} | {row['count']:,} |" for row in list_ledger(report.counts)]
    return "\n".join([*lines, "", *(f"- {caveat}" for caveat in report.caveats)])


def page_of(profile: Profile, batch_id: str) -> str:
    return f"{profile.folder}/batches/{batch_id}/report.html"


def _as_row(line: "Line") -> str:
    figure = line.figure
    shown = figure.number if figure.value is not None else figure.status
    return f"| {line.name} | {shown} | {figure.interval} | {figure.unit} | {figure.n} |"


def _measurement_id(store: Store, batch_id: str, training_id: str) -> str:
    """Name what a report rests on: a batch never changes once it is validated, but it can be scored and trained on."""
    scored = latest_scores(store, batch_id)
    return content_hash("report", FORMAT, training_id, scored["folder"] if scored else "")


def _read_scores(batch_id: str, urls: dict[str, str]) -> dict[str, pl.DataFrame]:
    gone = [url for url in urls.values() if not exists(url)]
    if gone:
        raise StoreError(
            f"reading the scores of batch {batch_id}: there is no file {', '.join(gone)}; every score that training "
            "recorded must be there. Put them back, or run the flow train with another seed and report on that."
        )
    return {key: pl.read_parquet(io.BytesIO(read_file(url))) for key, url in urls.items()}
