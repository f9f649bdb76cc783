"""An engine killed at random instants of a two-round batch, and started again: every row once, little paid twice."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

import polars as pl
import pytest
import yaml

from benchmarks.rows import SNAPSHOT, make_corpus, make_records
from gainloop.methods.entigraph import EntiGraph
from gainloop.store import Store, open_store
from gainloop.store.batches import count_settled, replies_folder
from gainloop.store.replies import read_replies
from schemas.profile import load_profile
from schemas.recipe import Recipe, Sampling
from tests.apart import Apart
from tests.serving.stub_server import Stub, StubOptions, stub_server

pytestmark = pytest.mark.crash

KILLS = 20
ANCHORS = 175
IN_FLIGHT = 64
METHOD = EntiGraph(max_entities=8, max_pairs=15, max_triples=5)
RECIPE = Recipe(
    method=METHOD.model_dump(mode="json"),
    snapshot_id=SNAPSHOT,
    model="stub",
    revision="/models/stub",
    sampling=Sampling(max_tokens=64),
)


def make(place: Path) -> None:
    make_records(load_profile(str(place)), RECIPE)


@dataclass(frozen=True)
class Place:
    """A folder with a profile of its own and the corpus in its store."""

    folder: Path
    stub: Stub

    def prepare(self) -> "Place":
        self.folder.mkdir()
        profile = {
            "folder": str(self.folder),
            "store": {"url": str(self.folder / "store.duckdb")},
            "serving": {"kind": "servers", "urls": [self.stub.url]},
            "generation": {"max_in_flight": IN_FLIGHT, "shard_anchors": 40},
        }
        (self.folder / "place.yaml").write_text(yaml.safe_dump(profile))
        make_corpus(load_profile(str(self.folder / "place.yaml")), ANCHORS)
        return self

    def start(self) -> Apart:
        return Apart(make, self.folder / "place.yaml")

    @property
    def store(self) -> Store:
        return open_store(load_profile(str(self.folder / "place.yaml")))

    def rows(self, table: str) -> pl.DataFrame:
        return self.store.query(f"from {table} where batch_id = ? order by all", RECIPE.batch_id)

    def replies(self) -> pl.DataFrame:
        return read_replies(replies_folder(self.store, RECIPE.batch_id)).drop("seconds", "attempt", "server")


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with stub_server(StubOptions(latency_seconds=0.05)) as running:
        yield running


def asked(stub: Stub) -> list[str]:
    """Return the bodies of the batch's requests, without those that a check sends."""
    return [repr(body) for body in stub.requests if body["max_tokens"] > 1]


def test_killed_at_random_instants_it_ends_with_every_row_once_and_asks_little_twice(
    tmp_path: Path, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Place(tmp_path / "whole", stub).prepare()
    begun = time.monotonic()
    assert whole.start().wait() == 0
    seconds = time.monotonic() - begun
    expected, drops, replies = whole.rows("records"), whole.rows("drops"), whole.replies()
    assert expected.height >= 2000
    assert expected.height + drops.height == replies.height
    instants = sorted(Random(0).sample(range(1, replies.height), KILLS))
    repeated = []
    for instant in instants:
        stub.requests.clear()
        place = Place(tmp_path / str(instant), stub).prepare()
        run = place.start()
        while len(asked(stub)) < instant:
            assert run.poll() is None
            time.sleep(0.002)
        run.kill()
        assert place.start().wait() == 0
        assert place.rows("records").equals(expected)
        assert place.rows("drops").equals(drops)
        assert place.replies().equals(replies)
        assert count_settled(open_store(load_profile(str(place.folder / "place.yaml"))), RECIPE.batch_id)[1] == ANCHORS
        assert not list(place.folder.rglob("*.torn"))
        counts = Counter(asked(stub))
        assert len(counts) == replies.height
        repeated.append(counts.total() - len(counts))
    bound = IN_FLIGHT + replies.height / seconds
    with capsys.disabled():
        print(
            f"\n{KILLS} kills of {replies.height:,} requests, {IN_FLIGHT} in flight: sent again median "
            f"{median(repeated):g}, worst {max(repeated)}; in flight and one second's worth are {bound:.0f}"
        )
    assert max(repeated) <= bound
