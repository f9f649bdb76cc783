"""What becomes of records that repeat others or hold a probe, and where it is written which."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from gainloop.curation import corpus as of_corpus
from gainloop.curation import known, suite
from gainloop.curation.corpus import CorpusMatches, compare, examples
from gainloop.curation.probes import read_probes
from gainloop.curation.suite import MATCHES, anchor_columns, as_markdown, read_result, record_columns
from gainloop.reports.batch import count_rows
from gainloop.store import Store
from gainloop.store.batches import complete_stage, kept_records, read_records
from gainloop.store.snapshots import read_anchors
from schemas.curation import Curation, Probes
from schemas.errors import BadInput, SuiteFailed
from schemas.rows import Anchor
from tasks.validate import differing_settings, records_folder
from tests.evidence import make_evidence
from tests.test_bad_input import HOUSE_FORM
from tests.test_validate import World, good_anchors, good_texts, make_world, sentences

QUESTION = "Which of the seven northern harbours was rebuilt after the flood that the miller had foretold?"
SHORT = "Who drowned in the old canal?"

HELDOUT = Anchor(sentences("held out"), "Kept apart")
COPIED = sentences("copied")
EARLIER = {"earlier": COPIED, "leaky": f"{sentences('leaky')} You are an AI assistant."}


def changed(text: str, num_words: int = 1) -> str:
    """Return a text with a few words replaced near its end: similar to nine tenths or so."""
    found = text.split()
    return " ".join([*found[:-num_words], *["elsewhere"] * num_words])


@dataclass
class Batches:
    """Two validated batches: the second repeats the first, an anchor, itself, and holds probes."""

    first: World
    second: World
    summary: dict[str, Any]

    @property
    def matches(self) -> dict[str, dict[str, Any]]:
        """The evidence under the names of the records."""
        names = {record.record_id: name for name, record in self.second.records.items()}
        lines = Path(records_folder(self.second.store, self.second.batch_id), MATCHES).read_text().splitlines()
        return {names[row["record_id"]]: row for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Batches:
    place = tmp_path_factory.mktemp("batches")
    asked = "".join(json.dumps({"question": one}) + "\n" for one in ("What?", QUESTION, SHORT))
    (place / "probes.jsonl").write_text(asked)
    store, anchors = Store(str(place / "gainloop.duckdb"), str(place / "data")), good_anchors()
    make_world(store, {}, [HELDOUT], heldout=1, seed=9)
    first = make_world(store, EARLIER | good_texts(), anchors)
    refused = {"batch_id": first.batch_id, "record_id": first.records["leaky"].record_id, "reason": "prompt_leak"}
    store.insert(quarantine=[refused])
    complete_stage(store, first.batch_id, "validate", {})
    texts = {
        "like earlier": changed(COPIED),
        "like refused": changed(sentences("leaky")),
        "like heldout": changed(HELDOUT.text),
        "with question": f"{sentences('one', 4)} {QUESTION} {sentences('two', 4)}",
        "with short": f"{sentences('three', 4)} {SHORT} {sentences('four', 4)}",
        "twin 1": sentences("twin"),
        "twin 2": changed(sentences("twin"), 2),
        "twin 3": changed(sentences("twin"), 3),
        "leaking twin": f"{sentences('twin')} You are an AI assistant.",
    }
    fresh = {f"fresh {number}": sentences(f"fresh {number}") for number in range(20)}
    second = make_world(store, texts | fresh, anchors, seed=1)
    second.curation = Curation(probes=Probes(files=[str(place / "*.jsonl")]))
    return Batches(first, second, second.validate())


def look(world: World, curation: Curation, folder: str = "") -> CorpusMatches:
    records = read_records(world.store, world.batch_id)
    anchors = read_anchors(world.store, "snap")
    probes = read_probes(curation.probes)
    store = replace(world.store, folder=folder or world.store.folder)
    return compare(store, world.batch_id, records, anchors, probes, curation)


def test_each_record_that_repeats_another_or_holds_a_probe_has_its_reason_and_no_other_record_has(
    batches: Batches,
) -> None:
    ids = {name: batches.second.records[name].record_id for name in ("twin 1", "twin 2", "twin 3")}
    later_twins = sorted(ids, key=lambda name: ids[name])[1:]
    assert batches.second.reasons() == {
        "like earlier": {"near_duplicate_of_earlier_batch"},
        "like heldout": {"near_duplicate_of_anchor"},
        "with question": {"contaminated"},
        "with short": {"contaminated"},
        "leaking twin": {"prompt_leak"},
        **{name: {"near_duplicate"} for name in later_twins},
    }


def test_the_evidence_says_which_other_text_how_similar_and_which_probe_item(batches: Batches) -> None:
    found, first = batches.matches, batches.first
    assert set(found) == set(batches.second.reasons()) - {"leaking twin"}
    like = found["like earlier"]
    assert (like["kind"], like["item"], like["of"]) == (
        "earlier record",
        first.records["earlier"].record_id,
        first.batch_id,
    )
    assert 0.8 <= like["similarity"] < 1
    assert like["text"] == COPIED[:200]
    assert (found["like heldout"]["kind"], found["like heldout"]["item"]) == ("anchor", HELDOUT.anchor_id)
    assert found["with question"]["item"] == "probes.jsonl row 2, question"
    assert (
        found["with question"]["shared"] == "which of the seven northern harbours was rebuilt after the flood that the"
    )
    assert found["with short"]["item"] == "probes.jsonl row 3, question"
    assert found["with short"]["shared"] == "who drowned in the old canal"
    (stays,) = {row["item"] for name, row in found.items() if name.startswith("twin")}
    assert stays in set(kept_records(batches.second.store, batches.second.batch_id)["record_id"])


def test_a_record_that_two_batches_made_of_the_same_replies_is_no_duplicate_of_itself(
    store: Store, tmp_path: Path
) -> None:
    anchors = good_anchors()
    make_world(store, good_texts(), anchors).validate()
    near = {f"near {word}": changed(good_texts()[f"good {word}"]) for word in range(6)}
    more = make_world(store, good_texts() | near, anchors, seed=1)
    ids = {name: record.record_id for name, record in more.records.items()}

    assert any(ids[f"near {word}"] < ids[f"good {word}"] for word in range(6)), "of a batch the lowest id would stay"
    summary = more.validate()
    assert summary["corpus"]["compared"]["records that an earlier batch kept too"] == 24
    assert more.reasons() == {name: {"near_duplicate_of_earlier_batch"} for name in near}


def test_a_batch_of_near_earlier_records_fails_and_the_error_says_what_lets_it_pass(
    store: Store, tmp_path: Path
) -> None:
    anchors = good_anchors()
    make_world(store, good_texts(), anchors).validate()
    again = make_world(store, {name: changed(text) for name, text in good_texts().items()}, anchors, seed=1)
    with pytest.raises(SuiteFailed, match="near_duplicate_of_earlier_batch") as failure:
        again.validate()
    assert HOUSE_FORM.fullmatch(str(failure.value))
    assert "if the rows are good, curation.among, to leave earlier_batches out" in str(failure.value)
    again.curation = Curation(among=["batch", "anchors"])
    assert again.validate()["kept"] == 24


def test_rules_that_would_look_for_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="least_words is 6, words_in_a_row 5; least_words must not be more"):
        Probes(words_in_a_row=5)


def test_the_verdict_tells_what_was_compared_and_names_the_evidence(batches: Batches) -> None:
    corpus = batches.summary["corpus"]
    assert corpus["compared"] == {
        "probe texts": 3,
        "probe texts too short to be looked for": 1,
        "anchors that hold a probe": 0,
        "anchors": 25,
        "earlier batches": 1,
        "records that an earlier batch kept too": 0,
        "earlier records": 25,
        "records of the batch": 24,
    }
    place = records_folder(batches.second.store, batches.second.batch_id)
    verdict = read_result(place)
    assert verdict is not None
    page = as_markdown(verdict)
    assert f"6 matches, all in `{place}/{MATCHES}`" in page
    assert "has 'who drowned in the old canal' of probes.jsonl row 3, question" in page


def test_a_second_run_changes_nothing_and_other_settings_are_told(batches: Batches) -> None:
    world = batches.second
    assert world.validate() == batches.summary
    assert differing_settings(batches.summary, world.curation) == ""
    strict = replace(world, curation=Curation(near_duplicates=0.6))
    assert strict.validate() == batches.summary
    assert "near_duplicates 0.8, not 0.6; probes.files" in differing_settings(batches.summary, strict.curation)
    assert "near_duplicates None, not 0.8" in differing_settings({"records": 3}, Curation())


def test_the_ledger_adds_up(batches: Batches) -> None:
    store, batch_id = batches.second.store, batches.second.batch_id
    records = read_records(store, batch_id)
    kept = pl.col("record_id").is_in(kept_records(store, batch_id)["record_id"].to_list())
    quarantine = store.query("select record_id, reason from quarantine where batch_id = ?", batch_id)
    counts = count_rows(
        replace(
            make_evidence(),
            records=records.with_columns(kept=kept),
            replies=records.select(pl.col("request_ids").explode().alias("request_id").unique()),
            quarantine=quarantine,
            drops=pl.DataFrame(schema={"anchor_id": pl.String, "reason": pl.String}),
            summaries={"generate": {"anchors": 24, "requests": 29, "replies": 29, "records": 29}},
        )
    )
    assert (counts.kept, counts.quarantined) == (22, 7)
    assert counts.quarantined_by_reason == batches.summary["reasons"]
    assert counts.anchors == counts.anchors_kept + counts.anchors_only_quarantined


def test_what_is_not_asked_about_is_not_looked_for(batches: Batches) -> None:
    assert look(batches.second, Curation(near_duplicates=0)).found == {}
    only_batch = look(batches.second, Curation(among=["batch"]))
    assert set(only_batch.found) == {"near_duplicate"}
    assert only_batch.compared == {"records of the batch": 29}


def test_the_order_of_records_changes_nothing(batches: Batches) -> None:
    world = batches.second
    records, anchors = read_records(world.store, world.batch_id), read_anchors(world.store, "snap")
    probes = read_probes(world.curation.probes)
    looks = [
        compare(world.store, world.batch_id, some, anchors, probes, world.curation)
        for some in (records, records.reverse(), records.sample(fraction=1, shuffle=True, seed=0))
    ]
    assert looks[0].matches == looks[1].matches == looks[2].matches


def test_sketches_that_were_kept_say_the_same_as_new_ones_and_damaged_ones_are_made_anew(
    batches: Batches, tmp_path: Path
) -> None:
    kept = look(batches.second, batches.second.curation)
    fresh = look(batches.second, batches.second.curation, str(tmp_path))
    (file,) = tmp_path.glob("batches/*/sketches.parquet")
    written = pl.read_parquet(file)
    written.with_columns(sketch=pl.lit(b"of another release")).write_parquet(file)
    again = look(batches.second, batches.second.curation, str(tmp_path))
    assert kept.matches == fresh.matches == again.matches
    assert pl.read_parquet(file).equals(written)


def test_how_much_is_looked_at_at_a_time_changes_nothing(
    batches: Batches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = batches.second
    whole, records = look(world, world.curation), read_records(world.store, world.batch_id)
    anchors = read_anchors(world.store, "snap")
    columns = record_columns(records, anchors, ("Write it for a child",))
    for name, module in (("KNOWN_AT_ONCE", known), ("ROWS_AT_ONCE", suite), ("NEAR_AT_ONCE", of_corpus)):
        monkeypatch.setattr(module, name, 1)
    few = look(world, world.curation, str(tmp_path))
    assert (few.matches, few.compared) == (whole.matches, whole.compared)
    assert record_columns(records, anchors, ("Write it for a child",)).equals(columns)
    assert columns.height == records.height > 3
    assert anchor_columns(anchors).height == anchors.height


def test_near_copies_of_many_texts_leave_one_of_each_and_no_two_that_are_alike(store: Store, tmp_path: Path) -> None:
    rng = Random(0)
    texts = {f"{n} {copy}": changed(sentences(f"many {n}"), rng.randint(1, 4)) for n in range(20) for copy in range(5)}
    world = make_world(store, texts, good_anchors())
    found = look(world, Curation()).found["near_duplicate"]
    left = [name.split()[0] for name, record in world.records.items() if record.record_id not in found]
    assert sorted(left, key=int) == [str(n) for n in range(20)]


def test_an_anchor_that_holds_a_probe_is_counted_as_it_is_trained_on_as_it_is(store: Store, tmp_path: Path) -> None:
    (tmp_path / "quiz.json").write_text(json.dumps([{"question": QUESTION}]))
    quoting = Anchor(f"{sentences('quoting')} {QUESTION}")
    world = make_world(store, good_texts(4), [*good_anchors(3), quoting])
    corpus = look(world, Curation(probes=Probes(files=[str(tmp_path / "quiz.json")])))
    assert corpus.compared["anchors that hold a probe"] == 1
    (match,) = corpus.matches
    assert (match["anchor_id"], match["item"]) == (quoting.anchor_id, "quiz.json row 1, question")
    assert examples(corpus)[0].startswith(f"anchor holds a probe: anchor {quoting.anchor_id} has 'which of the seven")
    assert corpus.found["contaminated"] == set()


def test_probes_of_every_kind_of_file_and_depth_are_read(tmp_path: Path) -> None:
    nested = {"questions": [{"question": "Who?", "options": ["He", "She"]}, {"question": "Why?", "options": []}]}
    (tmp_path / "a.json").write_text(json.dumps(nested))
    (tmp_path / "b.json").write_text(f"{json.dumps(nested)}\n{json.dumps(nested)}\n")
    pl.DataFrame({"questions": [[{"question": "How?", "options": ["So", "Not so"]}]]}).write_parquet(
        tmp_path / "c.parquet"
    )
    fields = ["questions.question", "questions.options"]
    read = read_probes(Probes(files=[f"file://{tmp_path}/*"], fields=fields))
    assert read["text"].to_list() == ["Who?", "Why?", "He", "She"] * 3 + ["How?", "So", "Not so"]
    assert read["item"][3] == "a.json row 1, questions.options [0] [1]"
    (tmp_path / "d.csv").write_text("question,answer\nWhere?,Here\n")
    assert read_probes(Probes(files=[str(tmp_path / "d.csv")]))["text"].to_list() == ["Where?"]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("missing.jsonl", None, "no file is there; a file or a glob is allowed"),
        ("quiz.pdf", b"%PDF", "it ends in .pdf; allowed are .jsonl .json .csv .parquet"),
        ("empty.jsonl", b"\n\n", "no row is there; one row for each item is allowed"),
        ("empty.json", b"[]", "no row is there"),
        ("broken.jsonl", b'{"question": "Who?"}\n{"question": ', "line 2: Expecting value at column 13"),
        ("broken.parquet", b"PAR1", "a whole Parquet file is allowed"),
        ("bytes.jsonl", '{"question": "éà'.encode() + b'\xff"}', "byte 18 is not UTF-8"),
        ("list.json", b'["Who?"]', "it holds other things than objects"),
        ("other.jsonl", b'{"prompt": "Who?", "answer": "He"}', "no text in field 'question'; fields there are prompt"),
        ("null.jsonl", b'{"question": null}', "no text in field 'question'; fields there are question"),
    ],
)
def test_probes_that_cannot_be_read_say_which_and_what_to_do(
    tmp_path: Path, name: str, content: bytes | None, found: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput) as failure:
        read_probes(Probes(files=[str(path)]))
    message = str(failure.value)
    assert HOUSE_FORM.fullmatch(message)
    assert found in message
    assert name in message


def test_a_probe_file_that_is_missing_is_told_before_anything_is_judged(store: Store, tmp_path: Path) -> None:
    world = make_world(store, good_texts(4), good_anchors(4))
    world.curation = Curation(probes=Probes(files=[str(tmp_path / "none.jsonl")]))
    with pytest.raises(BadInput, match=r"none\.jsonl"):
        world.validate()
    assert not Path(records_folder(world.store, world.batch_id)).exists()


def test_real_replies_hold_few_questions_about_their_passage_and_never_repeat_each_other(
    store: Store, shared_data: Path, tmp_path: Path
) -> None:
    lines = (shared_data / "recorded_replies/base_val.jsonl").read_text().splitlines()
    passages = [json.loads(line) for line in lines]
    anchors = [Anchor(passage["context"], passage["title"]) for passage in passages]
    texts = {f"{draw} {n}": passage["completions"][draw] for draw in range(5) for n, passage in enumerate(passages)}
    world = make_world(store, texts, anchors)
    probes = Probes(files=[str(shared_data / "squad/squad_val.jsonl")], fields=["questions.question"])
    found = look(world, Curation(probes=probes)).found
    assert 0 < len(found["contaminated"]) < 0.02 * len(texts)
    assert not found["near_duplicate_of_anchor"] | found["near_duplicate"]
