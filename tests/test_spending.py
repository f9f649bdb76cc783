"""The tokens of a day, as whole runs spend them against a server: one is killed and goes on, one finds none left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gainloop.sources.files import Files
from gainloop.store.spending import landed_of
from tasks.refresh import refresh_snapshot
from tests.serving.stub_server import Stub, StubOptions, stub_server
from tests.small_run import served, write_profile
from tests.whole_run import Place, start

pytestmark = pytest.mark.server

DAY_TOKENS = 20_000


@pytest.fixture
def slow() -> Iterator[Stub]:
    with stub_server(StubOptions(latency_seconds=0.3)) as running:
        yield running


def test_runs_of_a_day_take_no_more_than_its_tokens_whatever_is_killed(
    tmp_path: Path, corpus: Path, api_url: str, slow: Stub
) -> None:
    place = Place(tmp_path)
    profile = write_profile(
        tmp_path,
        serving={"kind": "servers", "urls": [slow.url]},
        generation={"shard_anchors": 16, "max_in_flight": 4},
    )
    refresh_snapshot(place.store, Files(paths=[str(corpus / "*.md")], max_chars=400), 0.05)

    def asked(seed: int) -> dict[str, Any]:
        given = served(profile, 60)
        return given | {"text": given["text"] | {"day_tokens": DAY_TOKENS, "seed": seed}}

    killed = start("generate", asked(0), tmp_path, api_url)
    killed.wait_until(lambda: len(list(tmp_path.glob("data/batches/*/replies/*.parquet"))) > 3)
    killed.kill()
    again = start("generate", asked(0), tmp_path, api_url).wait()
    assert again.status == 0, again.err
    assert place.store.batches().height == 1, "the run that was started again went on with its own batch"
    drops = place.store.query("select count(*) filter (reason = 'over_budget') as n from drops").item()
    assert drops > 0

    sent = len(slow.requests)
    late = start("generate", asked(1), tmp_path, api_url).wait()
    assert late.status == 0, late.err
    print("\n".join(line for line in late.err.splitlines() if "day" in line))
    assert late.out.splitlines()[-1] == "batch: none"
    words = " ".join(late.err.split())
    assert "The budget of the day is spent: " in words
    assert "the next cycle can start at " in words
    others = [body for body in slow.requests[sent:] if body["max_tokens"] > 1]
    taken = sum(landed_of(place.store, folder.name) for folder in (tmp_path / "data/batches").glob("*/"))
    print(f"{taken:,} of {DAY_TOKENS:,} tokens, {len(others)} requests by the last run")
    assert 0.5 * DAY_TOKENS < taken <= DAY_TOKENS
