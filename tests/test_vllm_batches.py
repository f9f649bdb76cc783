"""Batches of real corpora made by a real vLLM server, of a model that the project made; the ring ``vllm``."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas.profile import PROFILES, LocalVLLM, Profile, load_profile
from schemas.recipe import FirstOptimiser, NewModel, Recipe, Sampling
from tasks.generate import finish_batch, generate_records, spans_of
from tasks.methods import EntiGraph, K2Rephrase, Method, Rephrase
from tasks.refresh import refresh_snapshot
from tasks.serving.driver import Progress
from tasks.serving.opening import served
from tasks.sources import Files
from tasks.store import Store
from tasks.store.batches import plan_batch, replies_folder
from tasks.store.checkpoints import checkpoint_folder
from tasks.store.records import read_records
from tasks.store.replies import read_replies
from tasks.train import make_start
from tasks.under_way import Made

pytestmark = pytest.mark.vllm

START = NewModel(
    vocabulary=1024,
    hidden_size=96,
    layers=2,
    head_size=32,
    context_tokens=1024,
    budget_tokens=65_536,
    optimiser=FirstOptimiser(learning_rate=1e-2, batch_tokens=2048),
)
METHODS = (
    Rephrase(),
    EntiGraph(max_entities=4, max_pairs=3, max_triples=1),
    K2Rephrase(chunk_tokens=150, context_tokens=50, max_chunks=3),
)
SAMPLING = Sampling(max_tokens=256)


def corpora(data: Path) -> dict[str, Files]:
    """Return the stories, documents and articles as sources."""
    return {
        "quality": Files(paths=[str(data / "quality/quality.jsonl")], text_field="article", title_field="head"),
        "squality": Files(paths=[str(data / "squality/squality.jsonl")], text_field="document"),
        "wikipedia": Files(paths=[str(data / "wikipedia/wiki_demo.txt")], one_per_line=True),
    }


def local_vllm() -> LocalVLLM:
    place = load_profile("vllm-cpu").serving
    assert isinstance(place, LocalVLLM)
    python = PROFILES.parent / place.python
    if not python.exists():
        pytest.skip(f"no {place.python}; `make vllm` makes it")
    return place.model_copy(update={"python": str(python)})


@contextmanager
def running(store: Store, place: Profile, snapshot_id: str) -> Iterator[tuple[Profile, str, str]]:
    """Make a model from a snapshot and serve it; give the profile that reaches it, its id and its folder."""
    start_id = make_start(store, place, snapshot_id, START, lambda _done, _all: None)
    folder = checkpoint_folder(store, start_id)
    recipe = Recipe(method={}, snapshot_id=snapshot_id, model="start", revision=start_id)
    with served(place.model_copy(update={"serving": local_vllm()}), recipe, folder) as reached:
        yield reached, start_id, folder


def generate(store: Store, place: Profile, recipe: Recipe) -> tuple[dict[str, Any], int]:
    """Run a recipe; return its summary and how many requests were sent."""
    total = Progress()
    for span in spans_of(plan_batch(store, recipe), place.generation.shard_anchors):
        total = total.add(generate_records(store, place, recipe, None, span, {}))
    return finish_batch(store, place, recipe, Made(total)), total.requests_sent


def check(store: Store, place: Profile, recipe: Recipe, method: Method) -> None:
    summary, sent = generate(store, place, recipe)
    replies = read_replies(replies_folder(place.folder, recipe.batch_id))
    assert sent == summary["requests"] >= summary["anchors"] == recipe.max_anchors
    assert summary["records"] + summary["drops"] >= summary["anchors"]
    assert (replies["token_logprobs"].list.len() == replies["token_ids"].list.len()).all()
    assert (replies["token_logprobs"].list.max() <= 1e-6).all()
    assert read_records(store, recipe.batch_id).height == summary["records"] > 0
    if method.kind == "entigraph":
        listed = replies.filter((replies["facet"] == "entities") & (replies["finish_reason"] == "stop"))
        assert listed.height > 0
        assert all(2 <= len(json.loads(text, strict=False)["entities"]) <= 4 for text in listed["text"])
    assert generate(store, place, recipe)[1] == 0


def test_real_corpora_go_through_a_real_vllm_server_by_every_chat_method(
    store: Store, profile: Profile, shared_data: Path
) -> None:
    snapshots = {
        name: refresh_snapshot(store, source, 0.05).snapshot_id for name, source in corpora(shared_data).items()
    }
    with running(store, profile, snapshots["wikipedia"]) as (reached, start_id, _folder):
        for snapshot_id in snapshots.values():
            for method in METHODS:
                recipe = Recipe(
                    method=method.model_dump(mode="json"),
                    snapshot_id=snapshot_id,
                    model="start",
                    revision=start_id,
                    sampling=SAMPLING,
                    max_anchors=12,
                )
                check(store, reached, recipe, method)
