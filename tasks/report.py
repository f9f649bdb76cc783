"""The report of a batch: measured once, written as JSON and as a page, shown on the run's page."""

import json
import logging
from typing import Any, cast

import polars as pl
from markupsafe import escape
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

from gainloop.evaluation.likelihoods import score_yardstick
from gainloop.reports.evidence import REPLY_IS, REPLY_SAYS, Evidence, sum_replies
from gainloop.reports.examined import gather_exams, read_examined
from gainloop.reports.records import save_records_page
from gainloop.steering.gate import as_markdown, decide_once, require_not_held
from gainloop.store import Store, open_store
from gainloop.store.batches import (
    landed_folder,
    latest_summary,
    page_of,
    read_records,
    read_summaries,
    require_validated,
    used_anchors,
)
from gainloop.store.documents import documents_of
from gainloop.store.duck import now
from gainloop.store.files import exists, link_from, read_file, write_file
from gainloop.store.measurements import find_report, load_report, name_measurement, save_measurement
from gainloop.store.replies import read_replies
from gainloop.store.scores import find_scores, read_contrasts, read_verdicts
from gainloop.store.traces import find_gone
from schemas.decision import Decision
from schemas.errors import Held
from schemas.profile import Gate, Profile
from schemas.report import Report
from tasks.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from tasks.progress import ended

log = logging.getLogger("gainloop.report")


@task(cache_policy=NO_CACHE, task_run_name="measure {batch_id}")
def make_report(profile: Profile, batch_id: str, training_id: str) -> str:
    return save_report(open_store(profile), profile.gate, batch_id, training_id)


@task(cache_policy=NO_CACHE, task_run_name="show {batch_id}", retries=2, retry_delay_seconds=[2, 20])
def show_report(profile: Profile, batch_id: str, training_id: str) -> str:
    store = open_store(profile)
    report = load_report(store, batch_id, training_id)
    decision = decide_on(store, profile.gate, report)
    return publish(report, decision, link_from(profile, page_of(store, batch_id)))


def save_report(store: Store, gate: Gate, batch_id: str, training_id: str) -> str:
    """Return the path of a batch's page, having measured what was not measured yet.

    A report that is there already is not computed again; its files are written if they are missing, show another
    training, or the gate says something else by now.

    Raises:
        BadInput: The batch is not generated and validated yet.
        LedgerError: A row of the batch was lost without a reason.
    """
    from gainloop.reports.overview import save_overview  # a second of every command line that reports nothing

    page, report = page_of(store, batch_id), measure_once(store, batch_id, training_id)
    decision = decide_on(store, gate, report)
    save_records_page(store, batch_id)
    write_report(report, decision, page)
    log.info("Batch %s: %s", batch_id, decision.headline)
    save_overview(store, gate)
    return page


def measure_once(store: Store, batch_id: str, training_id: str) -> Report:
    """Return a batch's report; measure it first if it was not."""
    from gainloop.reports.batch import measure_batch

    if report := find_report(store, batch_id, training_id):
        return report
    report = measure_batch(gather_evidence(store, batch_id, training_id))
    save_measurement(store, report)
    return report


def decide_on(store: Store, gate: Gate, report: Report, release: str = "") -> Decision:
    """Return what the gate says of a measured batch."""
    measurement = name_measurement(store, report.batch, report.training)
    return decide_once(store, gate, report, measurement, release)


def write_report(report: Report, decision: Decision, page: str) -> None:
    """Write the page and then the JSON of report and decision beside it, unless all are there and say this."""
    from gainloop.reports.page import find_trained, render_page

    beside = {"report.json": report, "decision.json": decision}
    truths = {page.replace("report.html", name): one.model_dump_json(indent=2).encode() for name, one in beside.items()}
    results, records = (
        link if exists(page.replace("report.html", link)) else None
        for link in ("validation/index.html", "records.html")
    )
    folder = page.rsplit("/", 3)[0]
    trained = find_trained(report, folder)
    told = [records or "", str(escape(trained.path)) if trained else ""]  # a folder that was moved is named anew
    if _says(page, told) and all(exists(url) and read_file(url) == content for url, content in truths.items()):
        return
    write_file(page, render_page(report, results, decision, records, folder).encode())
    for url, content in truths.items():
        write_file(url, content)


def _says(page: str, told: list[str]) -> bool:
    """Return whether a page is there and has these words."""
    content = read_file(page) if exists(page) else b""
    return bool(content) and all(one.encode() in content for one in told)


def gather_evidence(store: Store, batch_id: str, training_id: str = "") -> Evidence:
    """Return what a batch, and a training of it if given, left behind in the store.

    Raises:
        BadInput: The batch is not generated and validated yet.
        StoreError: A file of scores is gone.
    """
    summaries = read_summaries(store, batch_id, training_id)
    batch = store.query("select recipe, logprob_semantics from batches where batch_id = ?", batch_id).row(0, named=True)
    recipe = json.loads(batch["recipe"])
    require_validated(store, batch_id)
    of_batch = "where batch_id = ? order by all"
    quarantine = store.query(f"select record_id, reason from quarantine {of_batch}", batch_id)
    is_refused = pl.col("record_id").is_in(quarantine["record_id"].implode())
    trained, scored, judging = summaries.get("train", {}), summaries.get("score"), summaries.get("judge")
    yardstick = latest_summary(store, batch_id, "yardstick")
    scores = trained.get("scores") or ({"start/anchors": yardstick["url"]} if yardstick else {})
    found = find_scores(store, batch_id, scores)
    probed, used = summaries.get("probe"), used_anchors(store, batch_id)
    landed = landed_folder(store, batch_id, "a report that is measured anew")
    seen = [frame["text_id"] for key, frame in found.items() if key in ("start/heldout", "start/general")]
    return Evidence(
        batch_id=batch_id,
        training_id=training_id,
        recipe=recipe,
        logprob_semantics=batch["logprob_semantics"],
        measured_at=now(),
        replies=read_replies(landed, columns=REPLY_IS + REPLY_SAYS, shorten=sum_replies),
        records=read_records(store, batch_id).with_columns(kept=~is_refused),
        quarantine=quarantine,
        drops=store.query(f"select anchor_id, facet, reason, request_id from drops {of_batch}", batch_id),
        anchors=used,
        scores=found,
        contrasts=read_contrasts(store.locate(scored["folder"])) if scored else None,
        summaries=summaries,
        checkpoints=trained.get("checkpoints", {}),
        verdicts=read_verdicts(store.locate(judging["url"])) if judging else None,
        documents=documents_of(store, pl.concat(seen).to_list()) if seen else {},
        snapshot=_snapshot_row(store, recipe["snapshot_id"]),
        examined=gather_exams(store, recipe["snapshot_id"], batch_id, training_id) if training_id else (),
        probed=read_examined(store, recipe["snapshot_id"], batch_id, "", probed, probed["arms"]) if probed else None,
        made_of=tuple(sorted({*documents_of(store, used["anchor_id"].to_list()).values()})),
        gone=_gone_words(store, recipe["snapshot_id"]),
    )


def _gone_words(store: Store, snapshot_id: str) -> str:
    """Return which documents that text was made of the corpus lacks by now, in words; nothing if it lacks none."""
    known = store.query(
        "select source_id, arg_max(snapshot_id, rowid) as snapshot_id from refreshes where source_id in "
        "(select source_id from refreshes where snapshot_id = ?) group by source_id order by max(rowid) desc limit 1",
        snapshot_id,
    )
    return "" if known.is_empty() else find_gone(store, *known.row(0)).words


def _snapshot_row(store: Store, snapshot_id: str) -> dict[str, Any]:
    names = "source, num_anchors, num_heldout, num_bytes"
    rows = store.query(f"select {names} from snapshots where snapshot_id = ? limit 1", snapshot_id)
    return {} if rows.is_empty() else rows.row(0, named=True)


def publish(report: Report, decision: Decision, url: str) -> str:
    """Show a report, and what the gate says of it, on the run's page in Prefect; returns the same for a terminal.

    The Markdown says it all; table, image and link are for those who collect them over many batches.
    """
    from gainloop.reports.page import draw_image, list_ledger, write_markdown
    from gainloop.reports.paragraph import write_screen

    key = f"report-{report.batch}"
    whole = f"[The whole report, with examples]({url}), where `gainloop serve` runs."
    shown = f"**{decision.headline}**\n\n{whole}\n\n{write_markdown(report, decision)}"
    create_markdown_artifact(shown, key=key, description=report.headline)
    create_table_artifact(list_ledger(report.counts), key=f"{key}-ledger", description="Where every row went")
    if plot := draw_image(report):
        create_image_artifact(plot, key=f"{key}-plot", description=report.headline)
    show_decision(decision)
    create_link_artifact(url, key=f"{key}-page", link_text="The whole report", description=report.headline)
    return write_screen(report, decision)


def show_decision(decision: Decision) -> None:
    """Show what the gate says of a batch on the run's page in Prefect."""
    create_markdown_artifact(as_markdown(decision), key=f"decision-{decision.batch}", description=decision.headline)


def ask_gate(profile: Profile, batch_id: str, start_id: str, release: str = "") -> None:
    """Measure a batch before anything is trained on it, and let it pass or not; the run's page shows why.

    Args:
        start_id: The model that would be trained: the batch's anchors under it are the yardstick for noise.
        release: Why a person overrules the vetoes; nothing is released if it is empty.

    Raises:
        Held: A veto holds the batch, and nobody released it; its report is written and shown.
    """
    store = open_store(profile)
    score_yardstick(store, profile.training.device, batch_id, start_id)
    page, report = page_of(store, batch_id), measure_once(store, batch_id, "")
    decision = decide_on(store, profile.gate, report, release)
    if decision.state == "held":
        save_records_page(store, batch_id)
        write_report(report, decision, page)
        publish(report, decision, link_from(profile, page))
        require_not_held(decision, page)
    log.info("Batch %s: %s", batch_id, decision.headline)
    show_decision(decision)


def say_vetoes(profile: Profile, batch_id: str) -> str:
    """Return what the gate holds a batch for before it is trained on, in words; empty if it may be trained on."""
    store = open_store(profile)
    decision = decide_on(store, profile.gate, measure_once(store, batch_id, ""))
    return "; ".join(veto.words for veto in decision.vetoes) if decision.state == "held" else ""


@task(cache_policy=NO_CACHE, task_run_name="ask the gate about {batch_id}")
def why_held(profile: Profile, batch_id: str, start_id: str, release: str) -> Held | None:
    """Return the error that says why a batch is held; None if it may be trained on."""
    try:
        ask_gate(profile, batch_id, start_id, release)
    except Held as held:
        return held
    return None


def headline_of(profile: Profile, batch_id: str, training_id: str) -> str:
    """Return the headline of a batch's report and the address of its page."""
    store = open_store(profile)
    url = link_from(profile, page_of(store, batch_id))
    return f"{load_report(store, batch_id, training_id).headline} {url}"


def as_finished(profile: Profile, batch_id: str, training_id: str, page: str) -> str:
    """Return the state for a flow to end in whose message is the verdict on a batch; to a caller it is the page."""
    store = open_store(profile)
    decision = decide_on(store, profile.gate, load_report(store, batch_id, training_id))
    return ended(f"Batch {batch_id} is {decision.headline}", page)


def as_held(held: Held) -> str:
    """Return the state "Held" for a flow to end in: to whoever calls the flow from Python, it raises the error."""
    return cast(str, Failed(name="Held", message=str(held), data=held))
