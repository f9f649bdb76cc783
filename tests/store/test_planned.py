"""The anchors of a batch in a file of its folder, from which a shard reads its piece."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gainloop.store import Store, planned
from gainloop.store.batches import open_anchors, settled_positions
from gainloop.store.planned import planned_url, read_planned, write_planned
from gainloop.store.replies import Span
from schemas.rows import Anchor

BATCH = "b" * 16
NUM_ANCHORS = 5000


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with a planned batch, of which the anchors at places 2 and 4001 have a record and a drop."""
    anchors = [
        Anchor(f"Text {number} ' \x00 \u202e.", "", f"f.jsonl#{number}", "PSF", "1") for number in range(NUM_ANCHORS)
    ]
    names = ("text", "title", "uri", "licence", "revision", "anchor_id")
    rows = [{name: getattr(one, name) for name in names} | {"num_bytes": 1} for one in anchors]
    order = sorted(range(NUM_ANCHORS), key=lambda number: anchors[number].anchor_id)
    placed = [
        {"batch_id": BATCH, "position": position, "anchor_id": anchors[number].anchor_id}
        for position, number in enumerate(order)
    ]
    record = {
        "record_id": "r",
        "method": "m",
        "facet": "",
        "text": "x",
        "request_ids": ["q"],
        "num_bytes": 1,
        "turns": "",
    }
    drop = {"facet": "", "reason": "refused", "request_id": "q"}
    store.insert(
        anchors=rows,
        batch_anchors=placed,
        records=[record | {"batch_id": BATCH, "anchor_id": placed[2]["anchor_id"]}],
        drops=[drop | {"batch_id": BATCH, "anchor_id": placed[4001]["anchor_id"]}],
    )
    return store


def test_a_shard_has_the_same_anchors_from_the_file_as_from_the_store(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned, "ROW_GROUP_ROWS", 2048)  # DuckDB's least
    spans = [Span(0, 10), Span(2040, 2060), Span(3990, 4010), Span(4990, 6000)]
    looked_for = [open_anchors(filled, BATCH, span) for span in spans]
    assert [len(found) for found in looked_for] == [9, 20, 19, 10]

    write_planned(filled, BATCH)
    assert pq.ParquetFile(planned_url(filled, BATCH)).num_row_groups == 3
    settled = settled_positions(filled, BATCH)
    assert settled == {2, 4001}
    assert [open_anchors(filled, BATCH, span, settled) for span in spans] == looked_for
    assert [path.name for path in Path(planned_url(filled, BATCH)).parent.iterdir()] == ["anchors.parquet"]


def test_a_shard_reads_neither_anchors_nor_outcomes_of_others(filled: Store) -> None:
    write_planned(filled, BATCH)
    there = open_anchors(filled, BATCH, Span(0, 10), {2})
    filled.take_back(("delete from anchors", []), ("delete from records", []), ("delete from drops", []))
    assert open_anchors(filled, BATCH, Span(0, 10), {2}) == there
    assert len(there) == 9


def test_a_damaged_file_is_passed_over(filled: Store) -> None:
    write_planned(filled, BATCH)
    there = open_anchors(filled, BATCH, Span(0, 10))
    Path(planned_url(filled, BATCH)).write_bytes(b"PAR1 no more")
    assert read_planned(filled, BATCH, Span(0, 10)) is None
    assert open_anchors(filled, BATCH, Span(0, 10)) == there
