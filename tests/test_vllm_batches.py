"""Batches of real corpora made by a real vLLM server, of a model that the project made; the ring ``vllm``."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest

from gainloop.filters import FILTERS
from gainloop.filters.judge import Judge
from gainloop.methods import METHODS
from gainloop.methods.critic import Critic
from gainloop.methods.explain import Explain
from gainloop.methods.method import Method
from gainloop.methods.rephrase import Rephrase
from gainloop.serving.driver import Progress, replay
from gainloop.serving.opening import started
from gainloop.sources.files import Files
from gainloop.store import Store
from gainloop.store.batches import read_records, replies_folder
from gainloop.store.checkpoints import checkpoint_folder
from gainloop.store.draws import plan_batch
from gainloop.store.replies import as_reply, read_replies
from gainloop.store.snapshots import read_texts
from schemas.plan import FirstOptimiser, NewModel
from schemas.profile import PROFILES, LocalVLLM, Profile, load_profile
from schemas.recipe import Recipe, Sampling
from schemas.rows import Request
from tasks.generate import RunTotals, finish_batch, generate_records, spans_of
from tasks.refresh import refresh_snapshot
from tasks.train import make_start
from tests.methods.playing import play

pytestmark = pytest.mark.vllm

START = NewModel(
    vocabulary=1024,
    hidden_size=96,
    layers=2,
    head_size=32,
    context_tokens=2048,
    budget_tokens=65_536,
    optimiser=FirstOptimiser(learning_rate=1e-2, batch_tokens=2048),
)
SIZE = re.compile(r"max_\w+|draws|(?:chunk|context)_tokens")
SAMPLING = Sampling(max_tokens=400)

LONGER = {"alpaca", "self_instruct", "tool_use"}
"""Methods whose first JSON, lists of long texts, babble fills beyond so many tokens."""


def corpora(data: Path) -> dict[str, Files]:
    """Return the stories, documents and articles as sources."""
    return {
        "quality": Files(paths=[str(data / "quality/quality.jsonl")], text_field="article", title_field="head"),
        "squality": Files(paths=[str(data / "squality/squality.jsonl")], text_field="document"),
        "wikipedia": Files(paths=[str(data / "wikipedia/wiki_demo.txt")], one_per_line=True),
    }


def smaller(made: type[Method]) -> Method:
    """Return a method that counts and cuts to a third of its defaults: two cores take long over more."""
    sizes = {name: field.default for name, field in made.model_fields.items() if SIZE.fullmatch(name)}
    return made.model_validate({name: ceil(default / 3) for name, default in sizes.items()})


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
    start_id = make_start(store, place.training, snapshot_id, START, lambda _done, _all: None)
    folder = checkpoint_folder(store, start_id)
    recipe = Recipe(method={}, snapshot_id=snapshot_id, model="start", revision=start_id)
    with started(place.model_copy(update={"serving": local_vllm()}), recipe, folder) as reached:
        yield reached, start_id, folder


def generate(store: Store, place: Profile, recipe: Recipe) -> tuple[dict[str, Any], int]:
    """Run a recipe; return its summary and how many requests were sent."""
    total = Progress()
    for span in spans_of(plan_batch(store, recipe), place.generation.shard_anchors):
        total = total.add(generate_records(store, place, recipe, None, span, {}))
    return finish_batch(store, place.prices, recipe, RunTotals(total)), total.requests_sent


def recipe_of(method: Method, snapshot_id: str, start_id: str, **more: Any) -> Recipe:
    made = {"model": "start", "revision": start_id, "sampling": SAMPLING, "max_anchors": 5} | more
    return Recipe(method=method.model_dump(mode="json"), snapshot_id=snapshot_id, **made)


def check(store: Store, place: Profile, recipe: Recipe) -> pl.DataFrame:
    """Run a recipe, hold what came of it to the ledger, run it again; return its replies."""
    summary, sent = generate(store, place, recipe)
    replies = read_replies(replies_folder(store, recipe.batch_id))
    # A judge that never answers leaves its record undecided: a drop of the record, and no request of the batch's.
    assert sent >= summary["requests"] >= summary["anchors"] == recipe.max_anchors
    assert summary["records"] + summary["drops"] >= summary["anchors"]
    assert (replies["token_logprobs"].list.len() == replies["token_ids"].list.len()).all()
    assert (replies["token_logprobs"].list.max() <= 1e-6).all()
    assert read_records(store, recipe.batch_id).height == summary["records"]
    assert generate(store, place, recipe)[1] == 0
    return replies


def asked_for(store: Store, recipe: Recipe, replies: pl.DataFrame) -> dict[str, Request]:
    """Return the requests that a batch's replies answer, by id, from its method and its replies alone."""
    rows = {row["request_id"]: as_reply(row) for row in replies.iter_rows(named=True)}
    anchors = read_texts(store, replies["anchor_id"].unique().to_list())
    return {name: one for anchor in anchors for name, one in replay(recipe, anchor, rows).items()}


def check_structured(store: Store, recipe: Recipe, replies: pl.DataFrame) -> int:
    """Hold every finished structured reply to the schema that was asked for; return how many there are."""
    asked, found = asked_for(store, recipe, replies), 0
    assert set(replies["request_id"]) <= asked.keys()
    for row in replies.filter(finish_reason="stop").iter_rows(named=True):
        if schema := asked[row["request_id"]].json_schema:
            jsonschema.validate(json.loads(row["text"], strict=False), json.loads(schema))
            found += 1
    return found


def test_real_corpora_go_through_a_real_vllm_server_by_every_chat_method(
    store: Store, profile: Profile, shared_data: Path
) -> None:
    snapshots = {
        name: refresh_snapshot(store, source, 0.05).snapshot_id for name, source in corpora(shared_data).items()
    }
    others = [smaller(made) for made in METHODS.values() if not made.tunes_generator]
    structured: dict[str, int] = {}
    with running(store, profile, snapshots["wikipedia"]) as (reached, start_id, _folder):
        for name in ("quality", "squality"):
            check(store, reached, recipe_of(Rephrase(), snapshots[name], start_id))
        for method in others:
            recipe = recipe_of(method, snapshots["wikipedia"], start_id)
            structured[method.kind] = check_structured(store, recipe, check(store, reached, recipe))
        for one in FILTERS.values():
            filters = (one().model_dump(mode="json"),)
            critic = Critic(max_turns=1).model_dump(mode="json") if one is Judge else None
            recipe = recipe_of(Explain(), snapshots["wikipedia"], start_id, filters=filters, critic=critic)
            structured[one().kind] = check_structured(store, recipe, check(store, reached, recipe))
    for method in others:
        asked = play(method)[0]
        is_json_first = asked[0].json_schema and method.kind not in LONGER
        assert structured[method.kind] > 0 or not is_json_first, f"{method.kind} asks for JSON first"
        assert not structured[method.kind] or any(request.json_schema for request in asked)
    assert all(structured[kind] > 0 for kind in ("judge", "fidelity", "vote")), structured
    # consistency asks only about texts with a question, which babble seldom has
    assert not any(structured[kind] for kind, made in FILTERS.items() if not made().max_requests)
