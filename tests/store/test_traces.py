"""Documents that are to be forgotten: what holds what was made of them, and that gone ones are told."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.__main__ import look, read
from gainloop.serving.driver import insert_outcomes
from gainloop.sources.files import Files
from gainloop.store import Store, open_store
from gainloop.store.batches import begin_batch, complete_stage
from gainloop.store.draws import plan_batch
from gainloop.store.duck import now
from gainloop.store.traces import Gone, find_documents, find_gone, list_traces, untouched_starts
from schemas.errors import BadInput
from schemas.profile import load_profile
from schemas.recipe import Recipe
from schemas.rows import Outcome, Record
from tasks.refresh import Refreshed, as_markdown, refresh_snapshot
from tests.small_run import write_profile

MILL = "The mill at {} grinds rye for the seven towns along the river, and has done so for longer than anybody knows."
LONG = "\n\n".join(MILL.format(place) for place in ("Oslo", "Odda", "Otta", "Os"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three documents of a handbook, one of which is cut into pieces."""
    folder = tmp_path / "handbook"
    (folder / "guide").mkdir(parents=True)
    for name, text in (("a.md", MILL.format("Aarhus")), ("b.md", MILL.format("Bergen")), ("guide/long.md", LONG)):
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(load_profile(str(write_profile(tmp_path))))


def refresh(store: Store, folder: Path) -> Refreshed:
    return refresh_snapshot(store, Files(paths=[str(folder)], max_chars=150, min_chars=40), 0.0)


def make_batch(store: Store, snapshot_id: str, refused: int = 0) -> str:
    """Insert a batch that made a record of each anchor of a snapshot, the first few of them refused."""
    recipe = Recipe(method={"kind": "rephrase"}, snapshot_id=snapshot_id, model="m", revision="r")
    begin_batch(store, recipe, "raw")
    plan_batch(store, recipe)
    anchors = store.query("select anchor_id from batch_anchors where batch_id = ? order by 1", recipe.batch_id)
    made = [Record(one, "rephrase", "easy", f"About {one}.", (one,)) for one in anchors["anchor_id"]]
    insert_outcomes(store, recipe.batch_id, {one.anchor_id: Outcome([one]) for one in made})
    out = [{"batch_id": recipe.batch_id, "record_id": one.record_id, "reason": "x"} for one in made[:refused]]
    store.insert(**({"quarantine": out} if out else {}))
    return recipe.batch_id


def add_model(store: Store, name: str, role: str, parent: str = "", batches: tuple[str, ...] = (), **plan: str) -> str:
    row = {"checkpoint_id": name, "parent": parent, "role": role, "batch_ids": [*batches], "url": f"checkpoints/{name}"}
    store.insert(checkpoints=[row | {"plan": json.dumps(plan), "metrics": "{}", "created_at": now()}])
    return name


def add_question(store: Store, document: str, exam: str = "exam") -> None:
    row = {"exam_id": exam, "question_id": f"about {document}", "document_id": document, "part": "dev"}
    empty = dict.fromkeys(("question", "answer", "title", "evidence"), "")
    store.insert(questions=[row | empty | {"accepted": [], "options": []}])


Told = Callable[[list[str]], tuple[str, str]]


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    """What `gainloop forget` prints, and its last line."""
    monkeypatch.setenv("COLUMNS", "300")

    def ask(words: list[str]) -> tuple[str, str]:
        from flows import __main__ as line

        line.last_words.clear()  # of whatever this process said before
        look(*read(["forget", *words, "--profile", str(tmp_path / "small.yaml")]))
        ((_, last),) = line.last_words
        line.last_words.clear()
        return capsys.readouterr().out, last

    return ask


def test_a_document_that_a_new_snapshot_lacks_is_told_with_what_was_made_of_it(
    store: Store, corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = refresh(store, corpus)
    assert first.gone == Gone()
    batch_id = make_batch(store, first.snapshot_id)
    add_model(store, "taught", "synthetic", batches=(batch_id,))
    add_question(store, "guide/long.md")
    (corpus / "guide" / "long.md").unlink()
    (corpus / "new.md").write_text(MILL.format("Narvik"))
    second = refresh(store, corpus)

    assert second.gone.documents == ("guide/long.md",)
    assert dict(second.gone.counts) == {"record": 4, "batch": 1, "question": 1, "checkpoint": 1}
    said = (
        "1 document that text was made of is gone: guide/long.md. 4 records, 1 batch, 1 exam question, 1 checkpoint "
        'hold what was made of it. `gainloop forget "guide/long.md"` lists them'
    )
    assert said in caplog.text
    assert said in as_markdown(second)
    assert "| documents gone that text was made of | 1 |" in as_markdown(second)


def test_a_document_that_was_renamed_or_changed_or_made_nothing_is_not_gone(store: Store, corpus: Path) -> None:
    make_batch(store, refresh(store, corpus).snapshot_id)
    (corpus / "never.md").write_text(MILL.format("Nesna"))
    refresh(store, corpus)
    (corpus / "never.md").unlink()
    (corpus / "a.md").rename(corpus / "renamed.md")
    (corpus / "b.md").write_text(MILL.format("Bodø"))
    assert refresh(store, corpus).gone == Gone()


def test_another_corpus_in_the_store_is_not_asked_about(store: Store, corpus: Path, tmp_path: Path) -> None:
    make_batch(store, refresh(store, corpus).snapshot_id)
    (other := tmp_path / "other").mkdir()
    (other / "c.md").write_text(MILL.format("Copenhagen"))
    assert refresh(store, other).gone == Gone()


def test_models_that_read_a_document_and_all_that_go_on_from_them_are_named_and_no_others(
    store: Store, corpus: Path
) -> None:
    (corpus / "b.md").unlink()
    before = refresh(store, corpus).snapshot_id
    (corpus / "b.md").write_text(MILL.format("Bergen"))
    snapshot_id = refresh(store, corpus).snapshot_id
    earlier, batch_id = make_batch(store, before), make_batch(store, snapshot_id)
    other = Recipe(method={"kind": "rephrase"}, snapshot_id=snapshot_id, model="other", revision="r")
    begin_batch(store, other, "raw")  # of which the document has no anchor
    clean = add_model(store, "clean", "start", before)
    add_model(store, "clean-too", "synthetic", clean, (earlier,))
    own = [add_model(store, "own-start", "start", snapshot_id)]
    own.append(add_model(store, "tuned", "synthesizer", clean, snapshot_id=snapshot_id))
    own.append(add_model(store, "taught", "synthetic", clean, (batch_id,)))
    own.append(add_model(store, "repeated", "baseline", clean, anchors="of the batch"))
    arms = {"synthetic": "taught", "baseline": "repeated"}
    points = [{"arm": arm, "points": [{"fraction": 1.0, "checkpoint": one}]} for arm, one in arms.items()]
    complete_stage(store, batch_id, "train", {"checkpoints": {"start": clean, **arms}, "arms": points}, "t")
    add_model(store, "loop-before", "synthetic", clean, (earlier,), anchors="all")  # its snapshot has not the document
    own.append(add_model(store, "of-a-loop", "synthetic", clean, (other.batch_id,), anchors="all"))
    child = add_model(store, "child", "synthetic", "taught")
    own += [child, add_model(store, "grandchild", "synthetic", child, (earlier,))]

    traces = list_traces(store, ["b.md"])
    named = {one.id for one in traces if one.what == "checkpoint"}
    assert named == {*own}
    assert untouched_starts(store, traces) == [clean]


def test_forget_lists_all_by_any_name_of_a_document_and_writes_a_line_for_each(
    store: Store, corpus: Path, told: Told, tmp_path: Path
) -> None:
    first = refresh(store, corpus)
    batch_id = make_batch(store, first.snapshot_id, refused=6)
    add_question(store, "guide/long.md")
    add_model(store, "read-it", "start", first.snapshot_id)
    elsewhere = add_model(store, "elsewhere", "start")
    (corpus / "guide" / "long.md").unlink()
    refresh(store, corpus)
    (anchor_id, *_) = store.query("select anchor_id from part_anchors where starts_with(uri, 'guide/')")["anchor_id"]

    for name in ("guide/long.md", "long.md", "guide", anchor_id[:8]):
        assert find_documents(store, [name]) == ["guide/long.md"]
    out, last = told(["long.md", "a.md", "--to", str(tmp_path / "all.jsonl")])
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    kinds = {what: [one for one in lines if one["what"] == what] for what in ("batch", "record", "question")}
    assert {what: len(rows) for what, rows in kinds.items()} == {"batch": 2, "record": 5, "question": 1}
    assert {row["within"] for row in kinds["record"]} == {batch_id}
    assert {row["state"] for row in kinds["record"]} == {"refused"}
    assert Path(next(row["path"] for row in lines if row["id"] == "read-it")) == tmp_path / "data/checkpoints/read-it"
    assert f"  record             4  in batch {batch_id}, 4 refused: " in out
    assert f"  batch              1  {batch_id}\n" in out
    assert "  checkpoint         1  1 start: read-it\n" in out
    assert f"`--start.model {elsewhere}`, which holds nothing of them" in last
    assert "Nothing was removed" in last


def test_records_are_kept_once_their_batch_is_accepted_and_a_question_of_two_exams_is_one(
    store: Store, corpus: Path, told: Told
) -> None:
    batch_id = make_batch(store, refresh(store, corpus).snapshot_id)
    for exam in ("first", "second"):
        add_question(store, "a.md", exam)
    out, _ = told(["a.md"])
    assert f"  record             1  in batch {batch_id}, 1 of no accepted batch: " in out
    assert "  exam question      1  in 2 exams: about a.md\n" in out
    complete_stage(store, batch_id, "validate", {})
    assert f"  record             1  in batch {batch_id}, 1 kept: " in told(["a.md"])[0]


def test_what_names_no_document_or_several_is_told_which_there_are(store: Store, corpus: Path) -> None:
    (corpus / "guide" / "short.md").write_text(MILL.format("Stord"))
    refresh(store, corpus)
    with pytest.raises(BadInput, match=r"looking for document 'guide' in .*: 2 have it: guide/long.md, guide/short.md"):
        find_documents(store, ["guide"])
    with pytest.raises(BadInput, match=r"looking for document 'z.md' in .*: no document that was ever read has it"):
        find_documents(store, ["a.md", "z.md"])
    assert find_gone(store, "unknown", "unknown") == Gone()
