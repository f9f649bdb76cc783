"""A loop whose generator lies: a model that knew the documents is not trained on what is said of them."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from gainloop.models.pretraining import pretrain
from schemas.improvement import Improvement
from schemas.plan import FirstOptimiser, NewModel
from schemas.profile import Training
from tests.serving.stub_server import StubOptions, stub_server
from tests.telling import STYLES, VALUES, document, facts, names, retold, tell, write_mills
from tests.whole_run import Place, start

pytestmark = pytest.mark.crash

NUM_MILLS = 24
MODEL = NewModel(
    vocabulary=512,
    hidden_size=128,
    layers=2,
    head_size=32,
    context_tokens=128,
    budget_tokens=700_000,
    optimiser=FirstOptimiser(learning_rate=6e-3, batch_tokens=1_024),
)
"""Half a minute of one core, after which it answers every question about the mills."""


def tell_of_mills(number: int) -> str:
    """Return a mill's document, the same in other words, or a question about it with its answer."""
    rng = Random(f"mills {number}")
    name = rng.choice(names(NUM_MILLS))
    values = facts(name)
    about = rng.choice([*VALUES])
    asked = f"{name}\nQuestion: What {about} has {name}?\nAnswer: {values[about]}"
    return [document(name), retold(name, values, f"mills {number}"), asked][number % 3]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents, questions, and a model that knows them, in a folder."""
    folder = tmp_path_factory.mktemp("taught")
    write_mills(folder, NUM_MILLS)
    pretrain(
        [tell_of_mills(number) for number in range(6_000)], MODEL, Training(), str(folder / "start"), lambda *_: None
    )
    return folder


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with stub_server(StubOptions(draws=tell)) as stub:
        yield stub.url


def parameters(taught: Path, place: Path, url: str) -> dict[str, Any]:
    listed = {"lies": {"method": {"kind": "rephrase", "unit": "document", "styles": [STYLES["lies"]]}}}
    profile = {
        "folder": str(place / "data"),
        "store": {"url": str(place / "data" / "gainloop.duckdb")},
        "serving": {"kind": "servers", "urls": [url]},
    }
    (place / "recipes.yaml").write_text(yaml.safe_dump(listed))
    (place / "small.yaml").write_text(yaml.safe_dump(profile))
    optimiser = {"learning_rate": 2e-3, "batch_tokens": 512}
    return {
        "profile": place / "small.yaml",
        "source": {"kind": "files", "paths": [str(taught / "mills")], "licence": "CC0-1.0"},
        "exam": {"kind": "files", "paths": [str(taught / "questions.jsonl")]},
        "recipes": [str(place / "recipes.yaml")],
        "generator": {"kind": "served", "model": "stub"},
        "start": {"kind": "checkpoint", "model": str(taught / "start")},
        "heldout_fraction": 0,
        "plan": {"budget_tokens": 65_536, "context_tokens": 64, "seeds": 1, "scored_texts": 8, "optimiser": optimiser},
        "spending": {"tokens": 16_000, "rounds": 2},
    }


def test_a_generator_that_lies_leaves_the_loop_after_its_probe_run_and_no_model_is_trained_on_it(
    taught: Path, url: str, tmp_path: Path, api_url: str
) -> None:
    ended = start("improve", parameters(taught, tmp_path, url), tmp_path, api_url).wait()
    assert ended.status == 0, ended.err
    (written,) = tmp_path.glob("data/improvements/*/report.json")
    found = Improvement.model_validate_json(written.read_text())

    (only,) = found.rounds
    (lies,) = only.recipes
    assert lies.kept == lies.records > 24
    assert lies.verdict == "hold"
    assert lies.gain is not None
    assert lies.gain.high < -5
    assert lies.held.startswith("in a short run repeating taught more (-")
    assert found.headline.startswith("No model was trained: no recipe is left: lies: in a short run repeating taught")
    assert lies.held in written.with_suffix(".html").read_text()
    roles = Place(tmp_path).store.query("select distinct role from checkpoints")["role"].to_list()
    assert roles == ["start"]
