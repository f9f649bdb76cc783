import json
from collections import defaultdict
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

from gainloop.measures.duplication import LEAST_SIMILAR, jaccard
from gainloop.measures.ngrams import hash_texts
from gainloop.sources.files import Files
from gainloop.store import Store
from gainloop.store.snapshots import read_anchors, untrained_documents
from schemas.rows import document_of, heldout_draw
from tasks.refresh import Refreshed, refresh_snapshot

PROSE = [" ".join(topics[name].split())[:2000] for name in sorted(topics) if len(topics[name]) > 2500]


def write(folder: Path, documents: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    rows = [json.dumps({"text": text, "id": name}) for name, text in documents.items()]
    (folder / "all.jsonl").write_text("\n".join(rows))


def refresh(store: Store, folder: Path, fraction: float) -> Refreshed:
    source = Files(paths=[str(folder)], max_chars=400, min_chars=50, id_field="id")
    return refresh_snapshot(store, source, fraction)


def places(store: Store, snapshot_id: str) -> tuple[set[str], set[str]]:
    """Return the documents with a held-out anchor, and those with one that is trained on, by name."""
    sides = (read_anchors(store, snapshot_id, heldout)["uri"] for heldout in (True, False))
    held, trained = ({document_of(uri).removeprefix("all.jsonl#") for uri in uris} for uris in sides)
    return held, trained


def named(count: int, below: float, least: float = 0.0, prefix: str = "d") -> list[str]:
    """Return names of documents whose own draws lie between two numbers."""
    draws = ((f"{prefix}{n}", heldout_draw(f"all.jsonl#{prefix}{n}")) for n in range(100_000))
    found = (name for name, draw in draws if least <= draw < below)
    return [next(found) for _ in range(count)]


def nearly(text: str) -> str:
    """Return a text that has another ending than this one."""
    return f"{text[:-40]} and another ending altogether, of seven words."


def test_all_pieces_of_a_document_are_on_one_side(store: Store, tmp_path: Path) -> None:
    write(tmp_path / "c", {f"d{n}": text for n, text in enumerate(PROSE)})
    refreshed = refresh(store, tmp_path / "c", 0.3)
    held, trained = places(store, refreshed.snapshot_id)

    assert held == {name for name in held | trained if heldout_draw(f"all.jsonl#{name}") < 0.3}
    assert not held & trained
    assert refreshed.corpus.num_heldout_documents == len(held) > 1
    assert untrained_documents(store, refreshed.snapshot_id) == dict.fromkeys(
        sorted(f"all.jsonl#{name}" for name in held), "held_out"
    )
    assert refreshed.corpus.num_heldout > 2 * len(held)
    assert refreshed.corpus.num_kept_out == 0


def test_a_document_that_nearly_repeats_one_held_out_is_held_out_too(store: Store, tmp_path: Path) -> None:
    (low,), (high, other) = named(1, 0.1), named(2, 1.0, least=0.9)
    write(tmp_path / "c", {high: nearly(PROSE[0]), low: PROSE[0], other: PROSE[1]})
    held, trained = places(store, refresh(store, tmp_path / "c", 0.2).snapshot_id)

    assert held == {low, high}
    assert trained == {other}


def test_no_refresh_moves_a_document_and_a_larger_fraction_only_adds(store: Store, tmp_path: Path) -> None:
    (low,), (high, other) = named(1, 0.1), named(2, 1.0, least=0.9)
    write(tmp_path / "c", {high: PROSE[0], other: PROSE[1]})
    refresh(store, tmp_path / "c", 0.2)
    write(tmp_path / "c", {high: PROSE[0], other: PROSE[1], low: nearly(PROSE[0])})
    held, trained = places(store, refresh(store, tmp_path / "c", 0.2).snapshot_id)
    assert (held, trained) == (set(), {high, other, low})

    write(tmp_path / "c", {f"{n}": text for n, text in enumerate(PROSE)})
    few, many = (places(store, refresh(store, tmp_path / "c", fraction).snapshot_id)[0] for fraction in (0.2, 0.4))
    assert few < many


def test_a_document_near_both_sides_is_neither_measured_on_nor_trained_on(store: Store, tmp_path: Path) -> None:
    (low,), (high,), (bridge, other) = named(1, 0.1), named(1, 1.0, least=0.9), named(2, 0.8, least=0.5)
    words = PROSE[0].split()
    begin, middle, end = " ".join(words[:200]), " ".join(words[25:225]), " ".join(words[:225])
    first, second, both = jaccard_of(begin, middle), jaccard_of(begin, end), jaccard_of(middle, end)
    assert first < LEAST_SIMILAR < min(second, both)
    write(tmp_path / "c", {low: begin, high: middle, other: PROSE[1]})
    refresh(store, tmp_path / "c", 0.2)
    write(tmp_path / "c", {low: begin, high: middle, other: PROSE[1], bridge: end})
    refreshed = refresh(store, tmp_path / "c", 0.2)

    assert places(store, refreshed.snapshot_id) == ({low}, {high, other})
    assert refreshed.corpus.num_kept_out > 0
    assert sorted(untrained_documents(store, refreshed.snapshot_id).values()) == ["held_out", "kept_out"]
    everything = read_anchors(store, refreshed.snapshot_id)
    assert everything.filter("heldout").height == refreshed.corpus.num_heldout + refreshed.corpus.num_kept_out


def jaccard_of(one: str, other: str) -> float:
    return float(jaccard(hash_texts([one, other]), np.array([0]), np.array([1]))[0])


def test_a_document_that_is_written_anew_stays_where_it_was(store: Store, tmp_path: Path) -> None:
    (low,), (high, other) = named(1, 0.1), named(2, 1.0, least=0.9)
    write(tmp_path / "c", {low: PROSE[0], high: nearly(PROSE[0]), other: PROSE[1]})
    refresh(store, tmp_path / "c", 0.2)
    write(tmp_path / "c", {low: PROSE[2], high: PROSE[3], other: PROSE[4]})

    assert places(store, refresh(store, tmp_path / "c", 0.2).snapshot_id) == ({low, high}, {other})


def test_a_refresh_says_when_nothing_is_held_out(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "c", {named(1, 1.0, least=0.9)[0]: PROSE[0]})
    refresh(store, tmp_path / "c", 0.05)

    assert "No document of" in caplog.text
    assert "Raise heldout_fraction" in caplog.text


@pytest.mark.parametrize(
    ("file", "field"), [("quality/quality.jsonl", "article"), ("squality/squality.jsonl", "document")]
)
def test_no_held_out_piece_of_real_stories_has_a_sibling_in_training(
    store: Store, shared_data: Path, file: str, field: str
) -> None:
    source = Files(paths=[str(shared_data / file)], text_field=field, max_chars=1000)
    fraction = 0.05 if "squality" in file else 0.2
    refreshed = refresh_snapshot(store, source, fraction)
    sides: dict[str, set[bool]] = defaultdict(set)
    for uri, is_held in read_anchors(store, refreshed.snapshot_id).select("uri", "heldout").iter_rows():
        sides[document_of(uri)].add(is_held)

    assert all(len(one) == 1 for one in sides.values())
    assert 0 < refreshed.corpus.num_heldout_documents < len(sides) / 2
    assert refreshed.corpus.num_heldout > 5 * refreshed.corpus.num_heldout_documents
