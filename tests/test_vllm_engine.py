"""The engine against real vLLM servers: neither how many are open nor how many servers there are changes a record."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest

from gainloop.methods.entigraph import EntiGraph
from gainloop.serving.vllm import serve_vllm
from gainloop.store import open_store
from gainloop.store.batches import replies_folder
from gainloop.store.draws import plan_batch
from gainloop.store.replies import read_replies
from schemas.plan import NewModel
from schemas.profile import Generation, Profile, Servers, StoreSettings
from schemas.recipe import Recipe, Sampling
from tasks.generate import cached_tokens, generate_records, spans_of
from tests.store.test_snapshots import make_snapshot, write_part
from tests.test_vllm_batches import local_vllm
from tests.tiny_model import TEXTS, save_tiny_model

pytestmark = pytest.mark.vllm

PLAN = NewModel(vocabulary=1024, hidden_size=64, layers=2, head_size=32, context_tokens=1024)
METHOD = EntiGraph(max_entities=4, max_pairs=3, max_triples=1)


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two servers of one model that nobody has trained."""
    folder = save_tiny_model(tmp_path_factory.mktemp("model"), PLAN)
    with ExitStack() as running:
        yield [running.enter_context(serve_vllm(local_vllm(), folder, "tiny")) for _ in range(2)]


def make_batch(folder: Path, urls: list[str], max_in_flight: int) -> tuple[pl.DataFrame, pl.DataFrame, float]:
    """Make a batch in a folder of its own; return its rows, its replies, and what was cached of their prompts."""
    place = Profile(
        name="test",
        folder=str(folder),
        store=StoreSettings(url=str(folder / "store.duckdb")),
        serving=Servers(urls=urls),
        generation=Generation(max_in_flight=max_in_flight, shard_anchors=8),
    )
    store = open_store(place)
    write_part(store, "a", "1", TEXTS)
    recipe = Recipe(
        method=METHOD.model_dump(mode="json"),
        snapshot_id=make_snapshot(store, {"a": "1"}, heldout_fraction=0),
        model="tiny",
        revision="the same everywhere",
        sampling=Sampling(max_tokens=600),
    )
    before = cached_tokens(place, recipe)
    for span in spans_of(plan_batch(store, recipe), place.generation.shard_anchors):
        generate_records(store, place, recipe, None, span, {})
    after = cached_tokens(place, recipe)
    assert before
    assert after
    rows = store.query(
        "select anchor_id, facet, record_id as id, text from records union all "
        "select anchor_id, facet, request_id, reason from drops order by all"
    )
    replies = read_replies(replies_folder(store, recipe.batch_id))
    return rows, replies, (after[0] - before[0]) / (after[1] - before[1])


def test_the_same_recipe_gives_the_same_records_with_1_64_and_1000_in_flight_and_with_1_and_2_servers(
    tmp_path: Path, urls: list[str]
) -> None:
    alone, replies, _ = make_batch(tmp_path / "1", urls[:1], 1)
    assert replies.height > len(TEXTS), "some anchors had a second round"
    for number, (places, max_in_flight) in enumerate(((1, 64), (1, 1000), (2, 64), (2, 1000))):
        rows, others, _ = make_batch(tmp_path / f"again {number}", urls[:places], max_in_flight)
        assert rows.equals(alone), (places, max_in_flight)
        assert others.select("request_id", "text", "token_ids").equals(
            replies.select("request_id", "text", "token_ids")
        )
        assert others["server"].n_unique() == places


def test_a_documents_requests_find_it_in_the_prefix_cache(tmp_path: Path, urls: list[str]) -> None:
    _, _, cached = make_batch(tmp_path, urls, 64)

    assert cached > 0.5
