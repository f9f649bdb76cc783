"""A whole cycle: what it leaves, a second one that finds it, and a refresh beside a generation."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from gainloop.sources.files import Files
from gainloop.store import open_store
from gainloop.store.batches import list_summaries
from gainloop.store.snapshots import read_snapshot
from schemas.profile import load_profile
from schemas.report import Report
from tasks.refresh import refresh_snapshot
from tests.serving.stub_server import StubOptions, stub_server
from tests.small_run import PLAN, RELEASE, START, parameters, served, write_corpus, write_profile
from tests.whole_run import Ended, Place, start

pytestmark = pytest.mark.crash


def said(place: Place) -> Ended:
    """Return what the cycle that made a place said."""
    return Ended(0, (place.folder / "cycle.out").read_text(), (place.folder / "cycle.err").read_text())


def test_the_last_line_of_a_cycle_names_the_report_and_its_json_lies_beside_it(undisturbed: Place) -> None:
    last = said(undisturbed).out.splitlines()[-1]
    assert last == f"report: {undisturbed.batch}/report.html"
    truth = undisturbed.batch / "report.json"
    report = Report.model_validate_json(truth.read_text())
    assert json.loads(truth.read_text()) == report.model_dump(mode="json")
    assert report.headline in " ".join(said(undisturbed).err.split())  # wrapped for a terminal
    assert "What to do next:" in said(undisturbed).err


def test_a_cycle_makes_its_start_asks_the_gate_measures_and_shows_its_report_once(undisturbed: Place) -> None:
    names = Counter(re.findall(r"Task run '(.*?)(?: [0-9a-f]{16})?' - Finished", said(undisturbed).err))
    once = (
        "make start checkpoint",
        "ask the gate about",
        "train synthetic with seed 0",
        "train baseline with seed 0",
        "measure",
        "show",
    )

    assert {name: names[name] for name in once} == dict.fromkeys(once, 1)


def test_the_ledger_of_the_report_is_what_the_store_holds(undisturbed: Place) -> None:
    counts = Report.model_validate_json((undisturbed.batch / "report.json").read_text()).counts
    rows = undisturbed.rows()
    kept = rows["records"].join(rows["quarantine"], on="record_id", how="anti")
    assert counts.anchors == counts.anchors_kept + counts.anchors_only_quarantined + counts.anchors_only_dropped == 32
    assert (counts.records, counts.kept, counts.drops) == (rows["records"].height, kept.height, rows["drops"].height)
    assert counts.records == counts.kept + counts.quarantined
    assert counts.requests == counts.records + counts.drops
    assert counts.drops == sum(counts.drops_by_reason.values())
    assert (counts.anchors_add_up, counts.records_add_up) == (True, True)
    assert counts.anchors_kept == kept["anchor_id"].n_unique()


def test_a_second_cycle_asks_for_nothing_trains_nothing_and_writes_nothing(
    undisturbed: Place, corpus: Path, api_url: str
) -> None:
    first, rows, files = said(undisturbed), undisturbed.rows(), undisturbed.files()
    given = parameters(corpus, undisturbed.folder / "small.yaml")
    second = start("cycle", given, undisturbed.folder, api_url).wait()

    assert (second.status, second.out) == (0, first.out)
    assert undisturbed.files() == files
    for table, after in undisturbed.rows().items():
        assert after.equals(rows[table]), table
    tasks = re.findall(r"Task run '(.*?)( [0-9a-f]{16})?' - Finished", second.err)
    assert not {
        "pre-flight",
        "generate anchors 0 to 16",
        "count batch",
        "train synthetic with seed 0",
        "train baseline with seed 0",
    } & {name for name, _ in tasks}
    assert {
        "pre-flight",
        "generate anchors 0 to 16",
        "count batch",
        "train synthetic with seed 0",
        "train baseline with seed 0",
    } <= set(re.findall(r"Task run '(.*?)' - Finished", first.err))


def test_an_exam_is_taken_by_every_checkpoint_of_a_cycle_once_and_by_any_other_that_is_named(
    tmp_path: Path, undisturbed: Place, corpus: Path, api_url: str
) -> None:
    shutil.copytree(undisturbed.folder / "data", tmp_path / "data")
    place, profile = Place(tmp_path), write_profile(tmp_path)
    exam = {"kind": "files", "paths": [str(write_quiz(tmp_path / "quiz.jsonl"))]}
    first = start("cycle", parameters(corpus, profile, exam=exam), tmp_path, api_url).wait()
    assert first.status == 0, first.err
    (told,) = (summary for _, summary in list_summaries(place.store, place.batch.name, "train"))
    files = place.files()
    (summary,) = (summary for _, summary in list_summaries(place.store, place.batch.name, "evaluate"))
    assert len(summary["general"]) == 1 + sum(len(run["points"]) for run in told["arms"])
    assert {"start/0/0/closed", "start/0/0/open", "synthetic/0/1/open"} < set(summary["urls"])
    assert {name.rpartition("/")[0] for name in summary["urls"]} == set(summary["general"])
    assert re.search(r"\| start/0/0 +\| closed +\| \d+ % \[", first.err)

    named = {"exam": exam, "checkpoints": [told["checkpoints"]["start"]], "conditions": ["closed", "retrieved"]}
    second = start("evaluate", named | {"profile": profile}, tmp_path, api_url).wait()
    assert second.status == 0, second.err
    assert second.out.splitlines()[-1] == f"exam: {summary['exam']}"
    assert "the search finds the right piece for" in second.err
    new = set(place.files()) - set(files)
    assert len([name for name in new if name.startswith("data/exams/")]) == 1, "closed book was asked before"
    assert {name: place.files()[name] for name in files if "/exams/" in name} == {
        name: written for name, written in files.items() if "/exams/" in name
    }


def test_a_dry_run_reads_the_exam(tmp_path: Path, api_url: str) -> None:
    (tmp_path / "quiz.jsonl").write_text("not json\n")
    exam = {"kind": "files", "paths": [str(tmp_path / "quiz.jsonl")]}
    given = parameters(write_corpus(tmp_path / "corpus", 3), write_profile(tmp_path), exam=exam)
    ended = start("cycle", given | {"dry_run": "true"}, tmp_path, api_url).wait()
    assert ended.status == 1
    assert "quiz.jsonl, line 1: " in ended.err.splitlines()[-1]


def write_quiz(path: Path) -> Path:
    """Write a question about each document of the small corpus."""
    rows = [
        {"question": f"Which word does {name} begin with?", "answer": topics[name].split()[0], "document": f"{name}.md"}
        for name in sorted(topics)[:24]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_held_batch_is_not_trained_on_until_the_advice_of_its_error_is_followed(
    tmp_path: Path, undisturbed: Place, api_url: str
) -> None:
    shutil.copytree(undisturbed.folder / "data", tmp_path / "data")
    place, profile = Place(tmp_path), write_profile(tmp_path, gate={"accept_rate": 2})  # no share is as large
    trained = {path.name for path in (tmp_path / "data" / "checkpoints").iterdir()}
    given = {"start": START, "plan": PLAN | {"budget_tokens": 8_192}, "profile": profile}
    # Whether the undisturbed batch was held, and released, is a matter of the machine's arithmetic.
    before = [RELEASE] if "released" in place.store.query("from decisions")["state"].to_list() else []
    for _ in range(2):
        held = start("train", given, tmp_path, api_url).wait()
        assert (held.status, held.out) == (1, "")
        error = held.err.splitlines()[-1]
        assert error.startswith(f"error: training on batch {place.batch.name}: the gate holds it, most of it is thrown")
        assert held.err.count("the gate holds it") == 1
    assert {path.name for path in (tmp_path / "data" / "checkpoints").iterdir()} == trained
    (page,) = re.findall(r"Read (\S+), then", error)
    assert "The gate: held" in Path(page).read_text()

    (release,) = re.findall(r'run the same with --(\w+) "why"', error)
    released = start("train", given | {release: "why"}, tmp_path, api_url).wait()
    assert released.status == 0, released.err
    assert f'released: "{"; ".join([*before, "why"])}". Vetoes:' in released.err
    decisions = place.store.query("from decisions order by decided_at")["state"].to_list()
    assert decisions[-2:] == ["held", "released"]


def test_from_any_folder_data_lie_where_the_profile_says_and_sources_where_the_person_is(
    tmp_path: Path, api_url: str
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    write_corpus(elsewhere / "corpus", num_topics=3)
    home.mkdir()
    profile = home / "mine.yaml"
    profile.write_text("folder: data\nstore: {url: data/gainloop.duckdb}\n")
    given = {"source": {"kind": "files", "paths": ["corpus"]}, "profile": str(profile)}
    ended = start("refresh", given, tmp_path, api_url, within=elsewhere).wait()

    assert ended.status == 0, ended.err
    assert ended.out == f"snapshot: {read_snapshot(open_store(load_profile(str(profile))))['snapshot_id']}\n"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["corpus"]


def test_a_refresh_beside_a_generation_leaves_both_whole(tmp_path: Path, corpus: Path, api_url: str) -> None:
    place, other = Place(tmp_path), write_corpus(tmp_path / "corpus", num_topics=40)
    with stub_server(StubOptions(latency_seconds=0.5)) as stub:
        profile = write_profile(
            tmp_path,
            serving={"kind": "servers", "urls": [stub.url]},
            generation={"shard_anchors": 4, "max_in_flight": 2},
        )
        before = refresh_snapshot(place.store, Files(paths=[str(corpus)], max_chars=400), 0.05)
        given = served(profile, 20)
        generating = start("generate", given, tmp_path, api_url)
        generating.wait_until(lambda: place.store.query("from records limit 1").height > 0)
        source = parameters(other, profile)["source"]
        refreshing = start("refresh", {"source": source, "profile": profile}, tmp_path, api_url)
        generating.wait_until(lambda: read_snapshot(place.store)["snapshot_id"] != before.snapshot_id)
        assert not place.summary("generate")
        refreshed, generated = refreshing.wait(), generating.wait()

    assert (refreshed.status, generated.status) == (0, 0), refreshed.err + generated.err
    assert refreshed.out == f"snapshot: {read_snapshot(place.store)['snapshot_id']}\n"
    assert generated.out == f"batch: {place.batch.name}\n"
    summary = place.summary("generate")
    assert (summary["anchors"], summary["records"]) == (20, summary["replies"])
    assert place.store.query("select snapshot_id from batches").item() == before.snapshot_id
