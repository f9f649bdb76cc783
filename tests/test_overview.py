"""The page over all batches, as a store's reports bring it about."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
from polars.testing import assert_frame_equal

from gainloop.reports.overview import read_batches, save_overview
from gainloop.store import Store
from gainloop.store.files import read_file
from gainloop.store.measurements import load_report, save_measurement
from schemas.figure import figures_of
from schemas.overview import Overview
from schemas.profile import Profile
from schemas.report import FORMAT
from tasks.report import save_report
from tests.evidence import make_evidence, save_evidence

EARLIER = "measured by an earlier version: run the flow report again"


def read_overview(profile: Profile) -> Overview:
    return Overview.model_validate_json(read_file(f"{profile.folder}/batches/index.json"))


def test_a_report_brings_its_batch_onto_the_page_and_training_replaces_it(store: Store, profile: Profile) -> None:
    evidence = make_evidence(num_anchors=20)
    save_evidence(store, profile, evidence)
    page = Path(save_report(store, profile.gate, evidence.batch_id, ""))
    (before,) = read_overview(profile).standings
    assert before.gain.status == "not measured: no model was trained on this batch yet"
    save_report(store, profile.gate, evidence.batch_id, evidence.training_id)
    without = load_report(store, evidence.batch_id, "")
    save_measurement(store, without.model_copy(update={"created": without.created + timedelta(days=9)}), "later")
    save_report(store, profile.gate, evidence.batch_id, "")  # newer, and yet the training's is shown
    (after,) = read_overview(profile).standings
    assert after.training == evidence.training_id
    assert after.gain.value is not None
    assert (page.parent.parent / after.page).resolve() == page
    assert (page.parent / "../index.html").resolve().is_file()
    lost = {(one.kind, one.reason): one.count for one in read_overview(profile).lost}
    assert lost["quarantine", "too_short"] == 7
    assert lost["drop", "cut_off"] == evidence.drops.filter(pl.col("reason") == "cut_off").height


def test_a_report_of_another_format_is_listed_and_stops_nothing(store: Store, profile: Profile) -> None:
    evidence = make_evidence(num_anchors=20)
    for batch_id, report in (("a", '{"format":1,"training":"t"}'), ("b", f'{{"format":{FORMAT},"training":""}}')):
        save_evidence(store, profile, replace(evidence, batch_id=batch_id, contrasts=None, scores={}))
        row = {"batch_id": batch_id, "measurement_id": "m", "measured_at": evidence.measured_at, "report": report}
        store.insert(measurements=[row])
    as_of_the_fifth_version(store)
    save_evidence(store, profile, evidence)
    save_report(store, profile.gate, evidence.batch_id, "")
    overview = read_overview(profile)
    assert [one.batch for one in overview.standings] == [evidence.batch_id]
    assert [(one.batch, one.why) for one in overview.unmeasured] == [("a", EARLIER), ("b", EARLIER)]


def test_a_store_of_the_fifth_version_has_the_overview_and_the_figures_that_its_reports_have(
    store: Store, profile: Profile
) -> None:
    evidence = make_evidence(num_anchors=20)
    save_evidence(store, profile, evidence)
    for training_id in ("", evidence.training_id):
        save_report(store, profile.gate, evidence.batch_id, training_id)
    before, rows = read_overview(profile), "from figures order by all"
    figures, digests = store.query(rows), store.query("from digests")

    as_of_the_fifth_version(store)
    save_overview(store, profile.gate)

    assert read_overview(profile) == before
    assert_frame_equal(store.query("from digests"), digests)
    assert set(figures["path"]) == {one.path for one in figures_of(store.report(evidence.batch_id))}
    assert_frame_equal(store.query(rows), figures)


def test_the_overview_reads_no_report(store: Store, profile: Profile) -> None:
    evidence = make_evidence(num_anchors=20)
    for number in range(3):
        one = replace(evidence, batch_id=f"{number:016x}", training_id="")
        save_evidence(store, profile, one)
        save_report(store, profile.gate, one.batch_id, "")
    before = read_overview(profile)
    assert len(before.standings) == 3
    with duckdb.connect(store.path) as connection:
        connection.execute("update measurements set report = 'no JSON any more'")

    for name in ("index.json", "index.html"):
        Path(profile.folder, "batches", name).unlink()
    save_overview(store, profile.gate)

    assert read_overview(profile) == before


def as_of_the_fifth_version(store: Store) -> None:
    """Take the tables away that the sixth version brought."""
    with duckdb.connect(store.path) as connection:
        connection.execute("drop table digests; drop table figures; delete from schema_version")
        connection.execute("insert into schema_version values (5)")


def test_a_page_that_says_all_is_not_written_again_and_one_that_is_gone_is(store: Store, profile: Profile) -> None:
    page = Path(save_overview(store, profile.gate))
    assert read_batches(store) == []
    written = page.stat().st_mtime_ns
    save_overview(store, profile.gate)
    assert page.stat().st_mtime_ns == written
    page.unlink()
    save_overview(store, profile.gate)
    assert page.read_bytes().count(b"No batch of this store was measured yet.") == 1
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "index.json"]
