"""Judging anchors and records, with the real store and the real Great Expectations."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from markupsafe import escape

from gainloop.curation.suite import SuiteResult, anchor_columns, as_markdown, is_missed, open_suites, read_result
from gainloop.methods import METHODS
from gainloop.methods.rephrase import WISHES, Rephrase
from gainloop.store import Store
from gainloop.store.batches import begin_batch, complete_stage, kept_records, read_records, resolve_batch
from gainloop.store.duck import now
from schemas.conversation import write_turns
from schemas.curation import Curation
from schemas.errors import BadInput, SuiteFailed
from schemas.recipe import Recipe
from schemas.rows import Anchor, Record
from schemas.suites import ANCHORS, CORPUS, KEPT, REASONS, at_most, records_suite
from tasks.validate import records_folder, require_accepted, validate_anchors, validate_batch
from tests.browser import open_page

REWRITES = records_suite(Rephrase.expectations)
ADJECTIVES = ("old", "quiet", "northern", "stone", "wooden", "narrow", "crowded", "distant", "green", "windy")
NOUNS = ("harbour", "bridge", "tower", "market", "chapel", "garden", "canal", "mill", "school", "lighthouse")
VERBS = ("faces", "crosses", "shades", "replaced", "supplied", "divided", "outlived", "guards", "joined", "feeds")

HOSTILE = (
    "<script>window.ran=1;fetch('http://127.0.0.1:9/a')</script>",
    "<img src='http://127.0.0.1:9/b.png' onerror='window.ran=1'>",
    "</div></details><link rel=stylesheet href=//127.0.0.1:9/c.css>",
    "</div><style>@import'http://127.0.0.1:9/d'</style>",
    "\x1b[2J\x1b]0;owned\x07{{7*7}}{%include'x'%}",
)
"""Texts that a page must show and not obey; with a mark of a broken encoding they are refused."""


def sentences(seed: str, count: int = 8) -> str:
    """Return made-up prose: two texts of different seeds share no eight words in a row."""
    rng = Random(seed)
    lines = (
        f"The {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)} {rng.choice(VERBS)} a {rng.choice(ADJECTIVES)} "
        f"{rng.choice(NOUNS)} since {rng.randint(1200, 1999)}."
        for _ in range(count)
    )
    return " ".join(lines)


@dataclass
class World:
    """A store with one snapshot and one generated batch."""

    store: Store
    records: dict[str, Record]
    batch_id: str
    anchors: list[Anchor] = field(default_factory=list)
    curation: Curation = field(default_factory=Curation)

    def validate(self) -> dict[str, Any]:
        return validate_batch(self.store, self.batch_id, self.curation)

    def reasons(self) -> dict[str, set[str]]:
        """Return the reasons of every quarantined record, under the names the test gave."""
        names = {record.record_id: name for name, record in self.records.items()}
        rows = self.store.query("select record_id, reason from quarantine where batch_id = ?", self.batch_id)
        found: dict[str, set[str]] = {}
        for record_id, reason in rows.iter_rows():
            found.setdefault(names[record_id], set()).add(reason)
        return found


def make_world(
    store: Store,
    texts: dict[str, str],
    anchors: list[Anchor],
    method: str = "rephrase",
    heldout: int = 0,
    seed: int = 0,
) -> World:
    """Fill a store: text number i is made from anchor number i, the first ``heldout`` anchors are held out.

    Another seed is another batch of the same snapshot.
    """
    parts = {"source_id": "s", "part": "p", "fingerprint": "f"}
    rows = [
        {name: getattr(anchor, name) for name in ("anchor_id", "text", "title", "uri", "licence", "revision")}
        | {"num_bytes": len(anchor.text.encode())}
        for anchor in anchors
    ]
    snapshot = {"snapshot_id": "snap", "source_id": "s", "source": "{}", "heldout_fraction": 0.1, "created_at": now()}
    counts = {"num_anchors": len(rows), "num_heldout": heldout, "num_bytes": 1}
    recipe = Recipe(method={"kind": method}, snapshot_id="snap", model="m", seed=seed)
    records = {
        name: Record(anchors[number % len(anchors)].anchor_id, method, str(number), text, (f"q{number}",))
        for number, (name, text) in enumerate(texts.items())
    }
    store.insert(
        anchors=pl.DataFrame(rows),
        part_anchors=[parts | {"anchor_id": anchor.anchor_id, "uri": anchor.uri} for anchor in anchors],
        snapshots=[snapshot | counts],
        snapshot_parts=[parts | {"snapshot_id": "snap"}],
        snapshot_heldout=[
            {"snapshot_id": "snap", "anchor_id": anchor.anchor_id, "place": "held_out"} for anchor in anchors[:heldout]
        ],
        refreshes=[{"snapshot_id": "snap", "source_id": "s", "refreshed_at": now()}],
        records=[as_row(recipe.batch_id, record) for record in records.values()],
    )
    begin_batch(store, recipe, "processed")
    complete_stage(store, recipe.batch_id, "generate", {})
    return World(store, records, recipe.batch_id, anchors)


def as_row(batch_id: str, record: Record) -> dict[str, Any]:
    names = ("record_id", "anchor_id", "method", "facet", "text")
    sizes = {"request_ids": list(record.request_ids), "num_bytes": len(record.text.encode())}
    named = {name: getattr(record, name) for name in names}
    return {"batch_id": batch_id, "turns": write_turns(record.turns)} | named | sizes


def good_anchors(count: int = 24) -> list[Anchor]:
    return [Anchor(sentences(f"anchor {number}"), f"Place {number}") for number in range(count)]


def good_texts(count: int = 24) -> dict[str, str]:
    return {f"good {number}": sentences(f"record {number}") for number in range(count)}


def planted_texts(anchors: list[Anchor]) -> dict[str, str]:
    """Return one bad text per reason, named by it; each stands at the place of its anchor."""
    return {
        "too_short": "A bridge, too.",
        "not_prose": " ".join(f"{number} = {number * 7} | {number}.5 +" for number in range(40)),
        "broken_encoding": sentences("broken") + "\ufffd" * 40,
        "repeats": "The old mill feeds the canal every day of the week. " * 8,
        "copies_anchor": anchors[4].text,
        "foreign_script": sentences("foreign", 2)
        + " 这座古老的石桥横跨在安静的北方运河之上已经有很多年了没有人知道它是谁修建的",
        "refusal": "Unfortunately, I am unable to rewrite this text about a bridge and a mill.",
        "prompt_leak": sentences("leak") + " You are an AI assistant. You will be given a task.",
        "cites_source": sentences("cite") + " The text is in two parts.",
        "placeholder": sentences("letter") + " So writes [Your Name].",
    }


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "data")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return a validated batch with one bad record for each reason, and two equal ones."""
    place = tmp_path_factory.mktemp("judged")
    anchors = good_anchors()
    twins = {"twin one": sentences("twin"), "twin two": sentences("twin")}
    texts = planted_texts(anchors) | twins | good_texts()
    world = make_world(Store(str(place / "gainloop.duckdb"), str(place / "data")), texts, anchors)
    validate_anchors(world.store, "snap")
    world.validate()
    return world


def test_each_reason_refuses_its_own_record_and_no_other(judged: World) -> None:
    later_twin = max(("twin one", "twin two"), key=lambda name: judged.records[name].record_id)
    assert judged.reasons() == {name: {name} for name in planted_texts(judged.anchors)} | {later_twin: {"duplicate"}}


def test_a_record_in_another_language_than_its_anchor_is_refused(store: Store) -> None:
    english = (
        "The bridge over the canal is of stone, and for a long time it was the only one that they had in the town."
    )
    german = "Die Brücke über den Kanal ist aus Stein, und sie war lange Zeit die einzige, die es in der Stadt gab."
    world = make_world(store, {"told": german, **good_texts()}, [Anchor(english, "Bridge"), *good_anchors()])
    world.validate()

    assert world.reasons() == {"told": {"other_language"}}


def test_kept_and_quarantined_records_add_up_to_all(judged: World) -> None:
    summary, kept = judged.validate(), kept_records(judged.store, judged.batch_id)
    refused = {judged.records[name].record_id for name in judged.reasons()}
    everything = {record.record_id for record in judged.records.values()}
    assert set(kept["record_id"]) == everything - refused
    assert (summary["records"], summary["kept"], summary["quarantined"]) == (len(everything), kept.height, len(refused))
    assert summary["reasons"] == dict.fromkeys(summary["reasons"], 1)
    assert kept["record_id"].is_sorted()
    assert kept.columns == ["record_id", "anchor_id", "facet", "text", "request_ids", "num_bytes", "turns"]


def test_every_reason_is_explained() -> None:
    suites = [ANCHORS, CORPUS, KEPT, *(records_suite(made.expectations) for made in METHODS.values())]
    assert {one.reason for suite in suites for one in suite} == set(REASONS)


@pytest.mark.parametrize(("method", "is_refused"), [("rephrase", False), ("sbp", True)])
def test_a_related_document_may_quote_less_than_a_rewrite(
    store: Store, folder: str, method: str, is_refused: bool
) -> None:
    anchors = good_anchors()
    half_copied = " ".join(anchors[0].text.split()[:44] + sentences("rest").split()[:28])
    world = make_world(store, {"half": half_copied} | good_texts(), anchors, method)
    world.validate()
    assert world.reasons() == ({"half": {"copies_anchor"}} if is_refused else {})


@pytest.mark.parametrize(("method", "is_refused"), [("rephrase", True), ("entigraph", False)])
def test_a_record_that_says_what_its_own_batch_was_asked_leaks_its_prompt(
    store: Store, folder: str, method: str, is_refused: bool
) -> None:
    wish = " ".join(WISHES["medium"].split()[:9])
    world = make_world(store, {"told": f"{sentences('told')} {wish}"} | good_texts(), good_anchors(), method)
    world.validate()
    assert world.reasons() == ({"told": {"prompt_leak"}} if is_refused else {})


def test_results_and_a_page_lie_in_the_batch_folder(judged: World) -> None:
    place = Path(records_folder(judged.store, judged.batch_id))
    page = (place / "index.html").read_text()
    assert escape(REASONS["too_short"]) in page
    for name in planted_texts(judged.anchors):
        assert judged.records[name].record_id in page
        assert f"<summary>{name}: 1</summary>" in page
    assert str(escape(judged.records["placeholder"].text)) in page
    assert judged.records["good 1"].record_id not in page
    results = json.loads((place / "results/records.json").read_text())
    assert results["success"]
    unasked = 2  # no probes are named, and the method invents no instructions
    assert len(results["results"]) == judged.validate()["expectations"] - len(KEPT) - (len(CORPUS) - unasked)


def test_a_page_of_hostile_texts_loads_nothing_and_runs_nothing(store: Store, folder: str) -> None:
    hostile = {f"hostile {number}": f"{text}\ufffd" for number, text in enumerate(HOSTILE)}
    world = make_world(store, hostile | good_texts(), good_anchors())
    world.validate()
    page = Path(records_folder(store, world.batch_id)) / "index.html"
    shown = page.read_text()
    assert shown.count("<style>") == 1
    assert not re.search(r"<(script|img|link|iframe|svg|object|base|meta http)|url\(", shown)
    assert "\x1b" not in shown
    assert "\\x1b[2J\\x1b]0;owned\\x07{{7*7}}" in shown
    with open_page("about:blank") as browser:
        asked: list[str] = []
        browser.on("request", lambda request: asked.append(request.url))
        browser.goto(page.as_uri())
        for closed in browser.locator("details").all():
            closed.evaluate("closed => closed.open = true")
        assert browser.get_by_text("http://127.0.0.1:9/b.png").first.is_visible()
        assert asked == [page.as_uri()]
        assert browser.evaluate("window.ran") is None


def test_a_second_run_changes_nothing_and_does_not_import_great_expectations(judged: World) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in Path(judged.store.folder).rglob("*")}
    again = (
        "import sys; from schemas.curation import Curation; from gainloop.store import Store; "
        "from tasks.validate import validate_anchors, validate_batch; "
        f"store = Store({judged.store.path!r}, {judged.store.folder!r}); validate_anchors(store, 'snap'); "
        f"assert validate_batch(store, {judged.batch_id!r}, Curation()) == {judged.validate()!r}; "
        "assert 'great_expectations' not in sys.modules"
    )
    tables = [judged.store.query(f"select * from {table}").rows() for table in ("quarantine", "completions")]
    subprocess.run([sys.executable, "-c", again], check=True, timeout=60)
    assert {path: path.stat().st_mtime_ns for path in Path(judged.store.folder).rglob("*")} == stamps
    assert [judged.store.query(f"select * from {table}").rows() for table in ("quarantine", "completions")] == tables


def test_babble_that_does_not_loop_passes_as_only_training_can_tell_what_it_is_worth(store: Store, folder: str) -> None:
    rng = Random(0)
    vocabulary = " ".join(anchor.text for anchor in good_anchors()).split()
    babble = {f"babble {number}": " ".join(rng.choices(vocabulary, k=60)) for number in range(24)}
    assert make_world(store, babble, good_anchors()).validate()["kept"] == 24


def test_a_collapsed_batch_stops_with_the_shares_and_where_to_read(store: Store, folder: str) -> None:
    loop = {f"loop {number}": "the mill is the mill is the mill is " * 12 + str(number % 3) for number in range(20)}
    world = make_world(store, loop | good_texts(4), good_anchors())
    with pytest.raises(SuiteFailed) as failure:
        world.validate()
    message = str(failure.value)
    assert "24 records of batch" in message
    assert "repeats (repeated_share at most 0.35: 16.7 % of the rows where 50 % is required)" in message
    page = Path(records_folder(store, world.batch_id)) / "index.html"
    assert str(page) in message
    broken = re.search(r"\d+ of \d+ expectations do not hold", message)
    assert broken
    assert f"{broken[0]}: nothing is trained on this." in page.read_text()
    assert not store.query("select * from completions where stage = 'validate'").height
    with pytest.raises(BadInput, match="no completed validation"):
        kept_records(store, world.batch_id)


def test_a_failed_verdict_says_on_the_page_what_did_not_hold(store: Store, folder: str) -> None:
    world = make_world(store, {f"same {n}": sentences("same") for n in range(9)} | good_texts(1), good_anchors())
    with pytest.raises(SuiteFailed):
        world.validate()
    verdict = read_result(records_folder(store, world.batch_id))
    assert verdict is not None
    page = as_markdown(verdict)
    assert "The suite failed" in page
    assert "| duplicate | 8 |" in page
    assert "**too_few_kept**: kept is true: 20 % of the rows where 30 % is required" in page


def test_a_batch_that_failed_is_judged_afresh_and_leaves_no_stale_reason(
    store: Store, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {f"short {number}": f"Number {number}." for number in range(20)} | good_texts()
    world = make_world(store, texts, good_anchors())
    strict = tuple(one if one.reason != "too_short" else replace(one, mostly=0.9) for one in REWRITES)
    with monkeypatch.context() as patched:
        patched.setattr("tasks.validate.records_suite", lambda added: strict)
        with pytest.raises(SuiteFailed, match="too_short"):
            world.validate()
    lenient = tuple(one for one in REWRITES if one.reason not in ("too_short", "not_prose"))
    monkeypatch.setattr("tasks.validate.records_suite", lambda added: lenient)
    assert world.validate()["kept"] == len(texts)
    page = (Path(records_folder(store, world.batch_id)) / "index.html").read_text()
    assert "too_short" not in page


def test_an_empty_batch_fails_and_says_so(store: Store, folder: str) -> None:
    world = make_world(store, {}, good_anchors())
    with pytest.raises(SuiteFailed, match="number of rows at least 1: 0 where 1 is required"):
        world.validate()


def test_a_record_from_a_heldout_anchor_stops_the_batch(store: Store, folder: str) -> None:
    world = make_world(store, good_texts(), good_anchors(), heldout=1)
    with pytest.raises(SuiteFailed, match="heldout_anchor"):
        world.validate()


def test_a_record_from_outside_the_snapshot_stops_the_batch(store: Store, folder: str) -> None:
    world = make_world(store, good_texts(), good_anchors())
    stray = Record("0" * 16, "rephrase", "", sentences("stray"), ("q",))
    store.insert(records=[as_row(world.batch_id, stray)])
    with pytest.raises(SuiteFailed, match=r"1 of 20 expectations do not hold, unknown_anchor"):
        world.validate()


def test_an_expectation_that_cannot_be_computed_has_not_held(
    store: Store, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(store, good_texts(), good_anchors())
    monkeypatch.setattr("tasks.validate.records_suite", lambda added: (at_most("no_such_column", 1, "repeats", 0.5),))
    with pytest.raises(SuiteFailed, match=r"no_such_column at most 1: not computable where (50 %|0.5) is required"):
        world.validate()


@pytest.mark.parametrize("name", ["4232076158282901", "20260131", "0000000000000000"])
def test_a_batch_whose_id_looks_like_a_number_or_a_date_is_judged_like_any_other(folder: str, name: str) -> None:
    rows = anchor_columns(pl.DataFrame([{"anchor_id": "a", "text": sentences("a")}]))
    findings = open_suites(f"{folder}/{name}", name).run("anchors", rows, "anchor_id", ANCHORS)

    assert all(one.held for one in findings)


def test_a_batch_that_is_still_being_generated_is_not_judged(store: Store, folder: str) -> None:
    recipe = Recipe(method={"kind": "rephrase"}, snapshot_id="snap", model="m")
    begin_batch(store, recipe, "processed")
    with pytest.raises(BadInput, match="generation is not complete"):
        validate_batch(store, recipe.batch_id, Curation())


def test_latest_is_the_batch_begun_most_recently_and_others_must_be_known(store: Store, folder: str) -> None:
    with pytest.raises(BadInput, match="known are none"):
        resolve_batch(store)
    world = make_world(store, good_texts(2), good_anchors(2))
    assert resolve_batch(store, "latest") == resolve_batch(store, world.batch_id) == world.batch_id
    with pytest.raises(BadInput, match=f"known are {world.batch_id}"):
        resolve_batch(store, "nothing")


def test_broken_anchors_stop_before_anything_is_made_of_them(store: Store, folder: str) -> None:
    anchors = good_anchors(4) + [Anchor("\x00\x01\x02\ufffd" * 9 + sentences(str(number))) for number in range(4)]
    make_world(store, {}, anchors)
    with pytest.raises(SuiteFailed, match=r"8 anchors of snapshot snap.*broken_encoding"):
        validate_anchors(store, "snap")


def test_recorded_replies_of_a_real_model_mostly_pass(store: Store, folder: str, shared_data: Path) -> None:
    lines = (shared_data / "recorded_replies/base_val.jsonl").read_text().splitlines()[:120]
    passages = [json.loads(line) for line in lines]
    anchors = [Anchor(passage["context"], passage["title"]) for passage in passages]
    # One reply per passage, in the order of the passages, then the second ones, and so on.
    texts = {f"{draw} {n}": passage["completions"][draw] for draw in range(5) for n, passage in enumerate(passages)}
    world = make_world(store, texts, anchors)
    assert validate_anchors(store, "snap")["anchors"] == 120
    summary = world.validate()
    assert summary["kept"] >= 0.88 * summary["records"]  # 6 % run on, 4 % speak of "the passage"
    # This model goes on to its next training example after the list it was asked for.
    assert set(summary["reasons"]) <= {"prompt_leak", "repeats", "copies_anchor", "cites_source", "placeholder"}
    leaked = [world.records[name].text for name, why in world.reasons().items() if "prompt_leak" in why]
    assert sum("You are an AI assistant" in text for text in leaked) >= 0.6 * len(leaked)
    assert "You are an AI assistant" not in " ".join(kept_records(store, world.batch_id)["text"])
    assert read_records(store, world.batch_id).height == summary["kept"] + summary["quarantined"]


def looked_at(rows: int, observed: float | None, anchors: int = 100, **about: Any) -> tuple[SuiteResult, int]:
    """Return the result of a batch of so many anchors, whose records have an expectation observed so."""
    found = {"expectation": "cites_source is false", "required": 0.5, "is_share": True, "held": False, **about}
    met = {"expectation": "num_words at least 5", "required": 0.5, "is_share": True, "held": True, "observed": 1.0}
    return SuiteResult("", {}, [met | {"rows": rows}, found | {"rows": rows, "observed": observed}]), anchors


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([], False),
        ([looked_at(3, 1 / 3)], False),  # 1 of 3 may be 9 of 10
        ([looked_at(3, 0)], False),
        ([looked_at(6, 0)], True),  # 0 of 6 is at most 46 %
        ([looked_at(8, 0, anchors=2)], False),  # four records of each anchor are not independent
        ([looked_at(3, 0), looked_at(3, 0)], True),
        ([looked_at(3, 0), looked_at(3, 0), looked_at(40, 0.9, held=True)], False),  # what passed counts too
        ([looked_at(20, 0.4)], False),
        ([looked_at(200, 0.4, anchors=200)], True),
        ([looked_at(3, 2 / 3, required=1.0)], True),  # what all must meet one has missed
        ([looked_at(0, 0.0)], False),
        ([looked_at(50, 0.1, required=0.2, is_share=False)], False),
        ([looked_at(50, None)], False),
    ],
)
def test_an_expectation_is_missed_where_chance_does_not_explain_it(
    batches: list[tuple[SuiteResult, int]], expected: bool
) -> None:
    assert is_missed(batches) is expected


def test_a_result_says_of_how_many_rows_it_is_and_what_is_refused_stays_so(store: Store) -> None:
    world = make_world(store, {str(number): "Too few." for number in range(6)}, good_anchors())
    with pytest.raises(SuiteFailed) as first:
        world.validate()
    found = read_result(records_folder(store, world.batch_id))
    assert found is not None
    assert {one["rows"] for one in found.findings if one["reason"] == "too_short"} == {6}
    assert is_missed([(found, 6)])
    assert not is_missed([(found, 2)])
    with pytest.raises(SuiteFailed) as again:
        require_accepted(store, world.batch_id)
    assert str(again.value) == str(first.value)
