"""Each method of conversations with a real model on a real vLLM server: made, validated, trained on, reported."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gainloop.serving.opening import started
from gainloop.store.batches import read_records
from gainloop.store.checkpoints import checkpoint_metrics
from gainloop.tools.shop_tasks import make_task
from gainloop.tools.task import write_task
from schemas.conversation import fault_of, read_turns
from schemas.profile import Profile, Servers
from schemas.recipe import Recipe
from tests.small_run import write_corpus
from tests.test_vllm_batches import local_vllm
from tests.whole_run import Place, start

pytestmark = pytest.mark.vllm

START = {
    **{"kind": "new", "vocabulary": 512, "hidden_size": 64, "layers": 2, "head_size": 32, "context_tokens": 4096},
    "budget_tokens": 16_384,
}
"""The trainee: one of the generator's size takes five minutes of a core for the three."""

PLAN = {
    **{"budget_tokens": 16_384, "context_tokens": 4096, "seeds": 1, "scored_texts": 4},
    "optimiser": {"learning_rate": 1e-3, "batch_tokens": 4096},
}


@pytest.fixture(scope="module")
def url(smollm2: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the model is served."""
    folder = str(tmp_path_factory.mktemp("served"))
    store = {"url": f"{folder}/x.duckdb"}
    profile = Profile.model_validate({"name": "served", "folder": folder, "store": store, "serving": local_vllm()})
    recipe = Recipe(method={}, snapshot_id="", model="start", revision="r")
    with started(profile, recipe, smollm2) as reached:
        assert isinstance(reached.serving, Servers)
        yield reached.serving.urls[0]


def easy_task(number: int) -> str:
    """Return a task of the shop that a model of this size can end: the state is right where nothing was changed."""
    task = json.loads(write_task(make_task(f"easy/{number}", 1)))
    wish = "Ask when the shop is open, thank for the answer, and end."
    task["scenario"] = {"persona": "a customer of few words", "reason": "wants to know when the shop is open"}
    task["scenario"] |= {"known": {}, "unknown": {}, "instructions": wish}
    return json.dumps(task | {"actions": [], "assertions": [], "must_say": [], "rubric": [], "basis": ["state"]})


def problems(place: Path, data: Path) -> dict[str, Any]:
    rows = (data / "gsm8k" / "train.jsonl").read_text().splitlines(keepends=True)
    (place / "problems.jsonl").write_text("".join(sorted(rows, key=len)[:8]))  # of long ones half are cut off
    return {
        "source": {"kind": "problems", "problem_paths": [str(place / "problems.jsonl")]},
        "method": {"kind": "reasoning", "answers": 2, "thought": False, "max_words": 60},
        "sampling": {"max_tokens": 256, "temperature": 0.8},
    }


def instructions(_place: Path, data: Path) -> dict[str, Any]:
    seeds = str(data / "self_instruct" / "seed_tasks.jsonl")
    return {
        "source": {"kind": "instructions", "seed_paths": [seeds], "groups": 8, "shown": 4},
        "method": {"kind": "self_instruct", "prompts": "plain", "instructions": 4, "instances": 1},
        "sampling": {"max_tokens": 320, "temperature": 0.5},
    }


def tools(place: Path, _data: Path) -> dict[str, Any]:
    (place / "tasks.jsonl").write_text("".join(f"{easy_task(number)}\n" for number in range(8)))
    return {
        "source": {"kind": "tool_tasks", "task_paths": [str(place / "tasks.jsonl")]},
        "method": {"kind": "tool_use", "judge": False, "max_steps": 4},
        "sampling": {"max_tokens": 160, "temperature": 1.0, "top_p": 0.9},
    }


@pytest.mark.parametrize("made", [problems, instructions, tools])
def test_conversations_are_made_validated_trained_on_and_reported(
    made: Any, url: str, shared_data: Path, tmp_path: Path, api_url: str
) -> None:
    given = made(tmp_path, shared_data)
    store = {"url": str(tmp_path / "data" / "gainloop.duckdb")}
    profile = {"folder": str(tmp_path / "data"), "store": store, "serving": {"kind": "servers", "urls": [url]}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(profile))
    parameters = {
        "profile": tmp_path / "small.yaml",
        "source": given["source"],
        "text": {"method": given["method"], "sampling": given["sampling"]},
        "generator": {"kind": "served", "model": "start"},
        "start": START,
        "general": {"kind": "files", "paths": [str(write_corpus(tmp_path / "general", 8))]},
        "heldout_fraction": 0,
        "scoring": {"share": 0, "least_tokens": 0},
        "plan": PLAN | {"arms": ["synthetic", "baseline"]},
        "release": "what comes of it is looked at, not how good it is",
    }
    ended = start("cycle", parameters, tmp_path, api_url).wait()
    assert ended.status == 0, ended.err

    place = Place(tmp_path)
    records = read_records(place.store, place.batch.name)
    assert not [text for text in records["turns"] if fault_of(read_turns(text))]
    kept = place.summary("validate")["kept"]
    assert 0 < kept <= records.height
    (synthetic,) = place.store.query("select checkpoint_id from checkpoints where role = 'synthetic'")["checkpoint_id"]
    metrics = checkpoint_metrics(place.store, synthetic)
    assert 0 < metrics["trained_tokens"]["synthetic"] < metrics["tokens"]["synthetic"]
    assert (place.batch / "report.html").is_file()
