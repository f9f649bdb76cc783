"""Validation of anchors and records: rows that fail are quarantined, a table that fails stops the flow."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.curation.corpus import CorpusMatches, compare, examples, write_matches
from gainloop.curation.probes import exam_probes, read_probes
from gainloop.curation.suite import (
    MATCHES,
    Finding,
    SuiteResult,
    anchor_columns,
    as_markdown,
    open_suites,
    read_result,
    record_columns,
    require_success,
    write_result,
)
from gainloop.methods import METHODS
from gainloop.methods.method import Method
from gainloop.methods.pipeline import read_pipeline
from gainloop.store import Store, open_store
from gainloop.store.batches import batch_folder, complete_stage, read_recipe, read_records, resolve_batch, stage_summary
from gainloop.store.exams import snapshot_questions
from gainloop.store.files import only_one
from gainloop.store.snapshots import read_anchors
from schemas.curation import Curation
from schemas.errors import BadInput
from schemas.profile import Profile
from schemas.suites import ANCHORS, CORPUS, KEPT, records_suite
from tasks.artifacts import create_markdown_artifact, create_table_artifact

log = logging.getLogger("gainloop.validate")


def anchors_folder(store: Store, snapshot_id: str) -> str:
    """Return where the results and the page of a snapshot's anchors lie."""
    return f"{store.folder}/snapshots/{snapshot_id}/validation"


def require_accepted(store: Store, batch_id: str) -> None:
    """Refuse again a batch whose records a suite has refused before.

    Raises:
        SuiteFailed: The suite's own words.
    """
    if (reached := read_result(records_folder(store, batch_id))) and not reached.summary["success"]:
        require_success(reached, f"{reached.summary['records']} records of batch {batch_id}")


def records_folder(store: Store, batch_id: str) -> str:
    """Return where the results and the page of a batch's records lie."""
    return f"{batch_folder(store, batch_id)}/validation"


def validate_anchors(store: Store, snapshot_id: str) -> dict[str, Any]:
    """Validate the anchors of a snapshot. It never changes, so one that has passed is not validated again.

    Anchors are not quarantined: the corpus is what it is, and its source is the place to mend it.

    Returns:
        {"anchors", "success", "expectations"}.

    Raises:
        SuiteFailed: An expectation does not hold; verdict and page are there nevertheless.
    """
    folder = anchors_folder(store, snapshot_id)
    with only_one(f"{store.folder}/snapshots/{snapshot_id}/.lock", f"validates the anchors of snapshot {snapshot_id}"):
        return _validate_anchors(store, snapshot_id, folder)


def _validate_anchors(store: Store, snapshot_id: str, folder: str) -> dict[str, Any]:
    if (reached := read_result(folder)) and reached.summary["success"]:
        return reached.summary
    rows = anchor_columns(read_anchors(store, snapshot_id))
    findings = open_suites(folder, snapshot_id).run("anchors", rows, "anchor_id", ANCHORS)
    page = _page_of(f"snapshot {snapshot_id}", findings, rows.select("anchor_id", "text"))
    verdict = write_result(folder, {"anchors": rows.height}, findings, page)
    require_success(verdict, f"{rows.height} anchors of snapshot {snapshot_id}")
    return verdict.summary


def validate_batch(store: Store, batch_id: str, curation: Curation) -> dict[str, Any]:
    """Validate the records of a batch, quarantine those that fail, and mark the batch validated.

    First each record beside its anchor, then those that passed beside all others, as ``curation`` says; what was found
    there lies in ``matches.jsonl`` beside the result. A batch that is marked is not validated again. If the suite
    fails, nothing goes into the store, so that no reason outlives its threshold; result and page lie in the batch's
    folder.

    Returns:
        {"records", "kept", "quarantined", "reasons": {reason: records}, "corpus", "success", "expectations"}; corpus
        holds the settings of curation, what records were compared with, and examples of what was found.

    Raises:
        BadInput: The batch is not in the store, its generation is not complete, or the probes cannot be read.
        SuiteFailed: An expectation does not hold for the batch as a whole.
    """
    if done := stage_summary(store, batch_id, "validate"):
        return done
    _require_generated(store, batch_id)
    recipe = read_recipe(store, batch_id)
    # Those that cannot be read are an error now, not after minutes of validation.
    probes = pl.concat([read_probes(curation.probes), exam_probes(snapshot_questions(store, recipe.snapshot_id))])
    pipeline = read_pipeline(recipe)
    records, anchors = read_records(store, batch_id), read_anchors(store, recipe.snapshot_id)
    rows = record_columns(records, anchors, pipeline.wishes)
    folder = records_folder(store, batch_id)
    runner = open_suites(folder, batch_id)
    findings = runner.run("records", rows, "record_id", records_suite(pipeline.method.expectations))
    refused = _quarantine_rows(batch_id, findings)["record_id"].to_list()
    passed = records.filter(~pl.col("record_id").is_in(refused))
    corpus = compare(store, batch_id, passed, anchors, probes, curation, _inventing(pipeline.method))
    if suite := tuple(one for one in CORPUS if one.reason in corpus.found):
        findings += runner.run("corpus", corpus.columns, "record_id", suite)
    write_matches(f"{folder}/{MATCHES}", corpus)
    quarantine = _quarantine_rows(batch_id, findings)
    kept = rows.select("record_id", kept=~pl.col("record_id").is_in(quarantine["record_id"].to_list()))
    findings += runner.run("kept", kept, "record_id", KEPT)
    counts = _counts(kept, quarantine) | {"corpus": _about(corpus, curation)}
    page = _page_of(f"batch {batch_id}", findings, records.select("record_id", "text"))
    verdict = write_result(folder, counts, findings, page)
    require_success(verdict, f"{rows.height} records of batch {batch_id}")
    complete_stage(store, batch_id, "validate", verdict.summary, quarantine=quarantine)
    log.info("Batch %s: %s", batch_id, validation_summary(verdict.summary))
    return verdict.summary


@task(cache_policy=NO_CACHE, task_run_name="validate anchors of {snapshot_id}")
def validate_snapshot(profile: Profile, snapshot_id: str) -> dict[str, Any]:
    store = open_store(profile)
    try:
        return validate_anchors(store, snapshot_id)
    finally:
        show_result(anchors_folder(store, snapshot_id), snapshot_id)


@task(cache_policy=NO_CACHE, task_run_name="validate records of {batch_id}")
def validate_records(profile: Profile, batch_id: str, curation: Curation) -> dict[str, Any]:
    store = open_store(profile)
    try:
        summary = validate_batch(store, batch_id, curation)
        if differing := differing_settings(summary, curation):
            log.warning("Batch %s: %s", batch_id, differing)
        return summary
    finally:
        show_result(records_folder(store, batch_id), batch_id)


def show_result(folder: str, key: str) -> None:
    """Put a result on the run's page, whether the suite passed or not; nothing if there is none."""
    if verdict := read_result(folder):
        create_table_artifact(
            key=f"expectations-{key}", table=verdict.findings, description="What each expectation found"
        )
        create_markdown_artifact(key=f"verdict-{key}", markdown=as_markdown(verdict))


def validation_summary(summary: dict[str, Any]) -> str:
    """Return what became of a batch's records.

    >>> reasons = {"not_prose": 2, "too_short": 5}
    >>> validation_summary({"records": 1022, "kept": 1015, "quarantined": 7, "reasons": reasons})
    '1,015 of 1,022 records kept, 7 quarantined (5 too_short, 2 not_prose)'
    """
    counts = f"{summary['kept']:,} of {summary['records']:,} records kept, {summary['quarantined']:,} quarantined"
    reasons = sorted(summary["reasons"].items(), key=lambda one: -one[1])
    return counts + (f" ({', '.join(f'{count:,} {reason}' for reason, count in reasons)})" if reasons else "")


def differing_settings(summary: dict[str, Any], curation: Curation) -> str:
    """Return what is to be said if a batch was validated with other settings of curation than these; "" if not.

    >>> wanted = Curation(near_duplicates=0.9)
    >>> differing_settings({"corpus": {"curation": Curation().model_dump(mode="json")}}, wanted)[:80]
    'it was validated before with another curation (near_duplicates 0.8, not 0.9): wh'
    >>> differing_settings({"corpus": {"curation": wanted.model_dump(mode="json")}}, wanted)
    ''
    """
    made, known = curation.model_dump(mode="json"), summary.get("corpus", {}).get("curation", {})
    if known:  # validated when there was no such setting, and no such method
        known = {"instructions_alike": made["instructions_alike"]} | known
    wanted, before = _settings(made), _settings(known)
    others = [f"{name} {before.get(name)}, not {value}" for name, value in wanted.items() if before.get(name) != value]
    if not others:
        return ""
    stands = "what was decided stands. For other settings generate another batch, under another seed"
    return f"it was validated before with another curation ({'; '.join(others)}): {stands}"


def _settings(curation: dict[str, Any]) -> dict[str, Any]:
    """Return settings under their names, those of probes under dotted ones."""
    probes = curation.get("probes", {})
    return {name: value for name, value in curation.items() if name != "probes"} | {
        f"probes.{name}": value for name, value in probes.items()
    }


def _about(corpus: CorpusMatches, curation: Curation) -> dict[str, Any]:
    """Return the summary of a comparison with the corpus."""
    return {
        "curation": curation.model_dump(mode="json"),
        "compared": corpus.compared,
        "matches": len(corpus.matches),
        "examples": examples(corpus),
    }


def _page_of(what: str, findings: Sequence[Finding], texts: pl.DataFrame) -> Callable[[SuiteResult], str]:
    """Return what makes the page of a result; the columns of texts are id and text."""
    from gainloop.reports.validation_page import render_validation  # matplotlib comes with it: half a second

    return partial(render_validation, what=what, findings=findings, texts=dict(texts.rows()))


def _inventing(method: Method) -> list[str]:
    """Return the methods whose instructions a method's are compared with: those that invent them, if it is one."""
    return [kind for kind, made in METHODS.items() if made.invents_instructions] if method.invents_instructions else []


def _require_generated(store: Store, batch_id: str) -> None:
    """Refuse a batch whose records are not all there."""
    resolve_batch(store, batch_id)
    if stage_summary(store, batch_id, "generate") is None:
        raise BadInput(
            f"validating batch {batch_id}: its generation is not complete; only whole batches are validated. "
            "Run the flow generate with the same recipe again: it goes on where it stopped."
        )


def _quarantine_rows(batch_id: str, findings: Sequence[Finding]) -> pl.DataFrame:
    """Return one row per record and reason."""
    rows = [(batch_id, record_id, one.expectation.reason) for one in findings for record_id in one.failing]
    schema = {"batch_id": pl.String, "record_id": pl.String, "reason": pl.String}
    return pl.DataFrame(rows, schema, orient="row").unique(maintain_order=True)


def _counts(kept: pl.DataFrame, quarantine: pl.DataFrame) -> dict[str, Any]:
    num_kept = int(kept["kept"].sum())
    by_reason = quarantine.group_by("reason").len().sort("reason")
    return {
        "records": kept.height,
        "kept": num_kept,
        "quarantined": kept.height - num_kept,
        "reasons": dict(by_reason.rows()),
    }
