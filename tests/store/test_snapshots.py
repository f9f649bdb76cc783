from datetime import UTC, datetime

import pytest

from gainloop.curation.heldout import decide_documents
from gainloop.store import Store
from gainloop.store.draws import draw_anchors
from gainloop.store.snapshots import PartWriter, count_corpus, insert_snapshot, read_anchors, read_snapshot, read_texts
from schemas.errors import BadInput
from schemas.rows import Anchor, content_hash, heldout_draw


def write_part(store: Store, part: str, fingerprint: str, texts: list[str], too_short: int = 0) -> None:
    writer = PartWriter(store, "source")
    for number, text in enumerate(texts, 1):
        writer.add_anchor(part, Anchor(text, "Title", f"{part}#{number}", "CC0-1.0", fingerprint))
    writer.finish_part(
        part, fingerprint, {"documents": len(texts) + too_short, "anchors": len(texts), "too_short": too_short}
    )
    writer.write()


def make_snapshot(store: Store, parts: dict[str, str], heldout_fraction: float = 0.0) -> str:
    decide_documents(store, "source", parts)
    corpus = count_corpus(store, "source", parts, heldout_fraction)
    row = {
        "snapshot_id": corpus.snapshot_id,
        "source_id": "source",
        "source": "{}",
        "heldout_fraction": heldout_fraction,
        "num_anchors": corpus.num_anchors,
        "num_heldout": corpus.num_heldout,
        "num_bytes": corpus.num_bytes,
    }
    insert_snapshot(store, row, parts)
    return corpus.snapshot_id


def test_a_snapshot_has_the_anchors_of_its_parts_alone(store: Store) -> None:
    write_part(store, "a", "1", ["one", "two"])
    write_part(store, "a", "2", ["two", "three"])
    write_part(store, "b", "1", ["four"])
    old = make_snapshot(store, {"a": "1", "b": "1"})
    new = make_snapshot(store, {"a": "2"})

    assert sorted(read_anchors(store, old)["text"]) == ["four", "one", "two"]
    assert sorted(read_anchors(store, new)["text"]) == ["three", "two"]


def test_anchors_come_in_the_order_of_their_ids_with_where_they_come_from(store: Store) -> None:
    write_part(store, "a", "1", [f"text {n}" for n in range(50)])
    anchors = read_anchors(store, make_snapshot(store, {"a": "1"}))
    by_text = dict(anchors.select("text", "uri").iter_rows())

    assert anchors.columns == ["anchor_id", "text", "title", "uri", "licence", "revision", "num_bytes", "heldout"]
    assert anchors["anchor_id"].to_list() == sorted(Anchor(f"text {n}").anchor_id for n in range(50))
    assert by_text == {f"text {n}": f"a#{n + 1}" for n in range(50)}
    assert {row[2:3] + row[4:6] for row in anchors.rows()} == {("Title", "CC0-1.0", "1")}


def test_the_heldout_anchors_are_those_of_the_documents_that_their_names_choose(store: Store) -> None:
    write_part(store, "a", "1", [f"text {n}" for n in range(200)])
    snapshot_id = make_snapshot(store, {"a": "1"}, heldout_fraction=0.25)
    heldout = set(read_anchors(store, snapshot_id, heldout=True)["uri"])
    training = set(read_anchors(store, snapshot_id, heldout=False)["uri"])

    assert heldout == {uri for uri in heldout | training if heldout_draw(uri) < 0.25}
    assert not heldout & training
    assert len(heldout) == read_snapshot(store)["num_heldout"]
    assert len(heldout | training) == 200


@pytest.mark.parametrize("seed", [0, 7, 2**40])
def test_anchors_are_drawn_in_the_order_of_a_hash_of_the_seed_and_their_ids(store: Store, seed: int) -> None:
    write_part(store, "a", "1", [f"text {n}" for n in range(300)])
    snapshot_id = make_snapshot(store, {"a": "1"}, heldout_fraction=0.25)
    training = read_anchors(store, snapshot_id, heldout=False)
    drawn = draw_anchors(store, snapshot_id, seed, None)

    expected = sorted(training["anchor_id"], key=lambda anchor_id: content_hash(seed, anchor_id))
    assert drawn["anchor_id"].to_list() == expected
    assert drawn["position"].to_list() == list(range(len(expected)))
    sizes = dict(training.select("anchor_id", "num_bytes").iter_rows())
    assert drawn["num_bytes"].to_list() == [sizes[anchor_id] for anchor_id in expected]


def test_a_larger_limit_only_adds_anchors_and_another_seed_draws_others(store: Store) -> None:
    write_part(store, "a", "1", [f"text {n}" for n in range(50)])
    snapshot_id = make_snapshot(store, {"a": "1"}, heldout_fraction=0.25)
    few, more, whole = (draw_anchors(store, snapshot_id, 0, limit) for limit in (5, 9, None))

    assert whole.head(5).equals(few)
    assert whole.head(9).equals(more)
    assert not draw_anchors(store, snapshot_id, 1, 9).equals(more)
    with pytest.raises(BadInput, match="snapshot 'x' not found"):
        draw_anchors(store, "x", 0, None)


def test_texts_come_in_the_order_asked_for(store: Store) -> None:
    write_part(store, "a", "1", ["one", "two", "three"])
    wanted = {"three": "a#3", "one": "a#1"}
    ids = [Anchor(text).anchor_id for text in wanted]

    assert read_texts(store, ids) == [Anchor(text, "Title", uri, "CC0-1.0", "1") for text, uri in wanted.items()]
    assert read_texts(store, []) == []


def test_a_snapshot_is_named_by_its_anchors_and_heldout_fraction_alone(store: Store) -> None:
    write_part(store, "a", "1", ["one", "two"])
    write_part(store, "b", "1", ["two"])
    write_part(store, "c", "9", ["two", "one", "one"])

    assert make_snapshot(store, {"a": "1", "b": "1"}) == make_snapshot(store, {"c": "9"})
    assert make_snapshot(store, {"a": "1"}) != make_snapshot(store, {"a": "1"}, heldout_fraction=0.5)


def test_every_document_and_piece_is_counted(store: Store) -> None:
    write_part(store, "a", "1", ["one", "two", "two"], too_short=3)
    write_part(store, "b", "1", ["two"], too_short=1)
    decide_documents(store, "source", {"a": "1", "b": "1"})
    corpus = count_corpus(store, "source", {"a": "1", "b": "1"}, 0.0)

    assert (corpus.num_documents, corpus.num_anchors, corpus.num_bytes) == (8, 2, 6)
    assert corpus.drops == {"too_short": 4, "duplicate": 2}


def test_latest_is_what_the_last_refresh_found_also_when_it_was_there_before(store: Store) -> None:
    write_part(store, "a", "1", ["one"])
    write_part(store, "b", "1", ["two"])
    first = make_snapshot(store, {"a": "1"})
    second = make_snapshot(store, {"a": "1", "b": "1"})
    assert read_snapshot(store)["snapshot_id"] == second
    make_snapshot(store, {"a": "1"})

    assert read_snapshot(store)["snapshot_id"] == first
    assert read_snapshot(store)["created_at"] <= datetime.now(UTC)
    assert read_snapshot(store, second)["num_anchors"] == 2


def test_naming_the_latest_again_writes_nothing(store: Store) -> None:
    write_part(store, "a", "1", ["one"])
    make_snapshot(store, {"a": "1"})
    make_snapshot(store, {"a": "1"})

    assert store.query("select * from refreshes").height == 1


def test_an_unknown_snapshot_is_told_which_there_are(store: Store) -> None:
    with pytest.raises(
        BadInput, match=r"snapshot 'latest' not found in the store .*: the newest there are none\. Run the"
    ):
        read_anchors(store)
    write_part(store, "a", "1", ["one"])
    known = make_snapshot(store, {"a": "1"})
    with pytest.raises(BadInput, match=f"snapshot 'x' not found in the store .*: the newest there are {known}"):
        read_snapshot(store, "x")
