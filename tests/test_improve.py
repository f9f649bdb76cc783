"""The loop as people run it: a county of mills, a server that tells, copies or repeats, and a small real model."""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from gainloop.models.pretraining import pretrain
from schemas.improvement import Improvement
from schemas.plan import FirstOptimiser, NewModel
from schemas.profile import Training
from tasks.loop import PILOT_ANCHORS
from tests.serving.stub_server import StubOptions, stub_server
from tests.telling import STYLES, is_for, tell, write_mills, write_others
from tests.whole_run import Place, start

pytestmark = pytest.mark.crash

MODEL = NewModel(
    vocabulary=512,
    hidden_size=64,
    layers=2,
    head_size=32,
    context_tokens=128,
    budget_tokens=40_960,
    optimiser=FirstOptimiser(learning_rate=6e-3, batch_tokens=1_024),
)
BUDGET = 9_000
KILLS = 3
CHECK_TOKENS = 6
"""Tokens of the two requests by which a server is checked before it is asked for anything."""


@dataclass
class County:
    """Documents, questions, recipes and a start in a folder, and the tokens that a server has answered with."""

    folder: Path
    url: str
    answered: list[int]

    def parameters(self, place: Path, recipes: list[str], **spending: Any) -> dict[str, Any]:
        place.mkdir(parents=True, exist_ok=True)
        listed = {
            name: {"method": {"kind": "rephrase", "unit": "document", "styles": [STYLES[name]]}} for name in recipes
        }
        (place / "recipes.yaml").write_text(yaml.safe_dump(listed))
        profile = {
            "folder": str(place / "data"),
            "store": {"url": str(place / "data" / "gainloop.duckdb"), "lock_seconds": 30},
            "serving": {"kind": "servers", "urls": [self.url]},
            "prices": {"prompt": 1.0, "completion": 2.0},
        }
        (place / "small.yaml").write_text(yaml.safe_dump(profile))
        optimiser = {"learning_rate": 2e-3, "batch_tokens": 512}
        return {
            "profile": place / "small.yaml",
            "source": {"kind": "files", "paths": [str(self.folder / "mills")], "licence": "CC0-1.0"},
            "exam": {"kind": "files", "paths": [str(self.folder / "questions.jsonl")]},
            "recipes": [str(place / "recipes.yaml")],
            "generator": {"kind": "served", "model": "stub"},
            "start": {"kind": "checkpoint", "model": str(self.folder / "start")},
            "heldout_fraction": 0,
            "plan": {
                "budget_tokens": 4_096,
                "context_tokens": 64,
                "seeds": 1,
                "scored_texts": 8,
                "optimiser": optimiser,
            },
            "spending": {"tokens": BUDGET, "rounds": 2, **spending},
        }

    def read(self, place: Path) -> Improvement:
        (page,) = place.glob("data/improvements/*/report.json")
        return Improvement.model_validate_json(page.read_text())


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> Iterator[County]:
    folder = tmp_path_factory.mktemp("county")
    write_mills(folder, 24)
    others = write_others(folder, 24, 24, 4)
    texts = [part for page in sorted(others.glob("*.md")) for part in page.read_text().split("\n\n")]
    pretrain(texts, MODEL, Training(), str(folder / "start"), lambda *_: None)
    answered: list[int] = []
    shy: set[str] = set()

    def draw(prompt: str, seed: int) -> str:
        """Speak of the text in place of its subject to the first two who ask for the truth, whenever they ask."""
        if len(shy) < PILOT_ANCHORS and is_for(prompt, "truth"):
            shy.add(prompt)
        return f"The text states the following. {tell(prompt, seed)}" if prompt in shy else tell(prompt, seed)

    def count(body: dict[str, Any]) -> None:
        answered.append(sum(body["usage"][name] for name in ("prompt_tokens", "completion_tokens")))

    with stub_server(StubOptions(draws=draw, edits=count, latency_seconds=0.02)) as stub:
        yield County(folder, stub.url, answered)


@pytest.fixture(scope="module")
def done(county: County, tmp_path_factory: pytest.TempPathFactory, api_url: str) -> tuple[Path, int]:
    """A loop of three recipes that nothing disturbed, and the tokens that its requests took."""
    place = tmp_path_factory.mktemp("done")
    county.answered.clear()
    given = county.parameters(place, ["truth", "copies", "one"], even=True)
    ended = start("improve", given, place, api_url).wait()
    assert ended.status == 0, ended.err
    return place, sum(county.answered)


def test_a_loop_spends_no_more_than_it_may_and_tells_all_of_it(county: County, done: tuple[Path, int]) -> None:
    place, answered = done
    found = county.read(place)
    assert 0 < found.tokens <= BUDGET
    assert 0 < found.even_tokens <= found.tokens
    told = found.tokens + found.even_tokens
    batches = Place(place).store.query("select count(*) from batches").item()
    assert told <= answered <= told + 3 * CHECK_TOKENS * (batches + 2)
    assert found.tokens == sum(one.tokens for each in found.rounds for one in each.recipes)
    assert found.money is not None
    assert found.money.amount == pytest.approx(sum(one.money.amount for one in found.rounds if one.money))
    assert [row.name for row in found.final][:2] == ["Before", "Repeating the documents"]
    assert found.final[-1].name == "Even shares"


def test_a_generator_that_copies_or_says_one_thing_leaves_the_loop_and_the_page_says_why(
    county: County, done: tuple[Path, int]
) -> None:
    place, _ = done
    found = county.read(place)
    first = {one.recipe: one for one in found.rounds[0].recipes}
    assert first["truth"].held == ""
    assert first["copies"].held
    assert first["one"].held
    assert {one.recipe for one in found.rounds[1].recipes} == {"truth"}
    page = next(place.glob("data/improvements/*/report.html")).read_text()
    assert "copies is out since round 1" in page
    assert "one is out since round 1" in page


def test_a_recipe_stays_whose_first_records_are_refused_and_they_are_not_trained_on(
    county: County, done: tuple[Path, int]
) -> None:
    place, _ = done
    (truth,) = (one for one in county.read(place).rounds[0].recipes if one.recipe == "truth")
    assert truth.refused.keys() == {truth.batches[0]}
    assert "cites_source" in truth.refused[truth.batches[0]]
    assert truth.usable == truth.batches[1:] != []
    assert truth.batches[0] not in county.read(place).rounds[-1].batches


def test_the_same_again_asks_for_nothing_and_trains_nothing(
    county: County, done: tuple[Path, int], api_url: str
) -> None:
    place, _ = done
    before, county.answered[:] = Place(place).files(), []
    given = county.parameters(place, ["truth", "copies", "one"], even=True)
    again = start("improve", given, place, api_url).wait()
    assert again.status == 0, again.err
    assert sum(county.answered) <= CHECK_TOKENS
    changed = {name for name, at in Place(place).files().items() if before.get(name) != at}
    assert not [name for name in changed if "checkpoints" in name or "replies" in name]


def test_a_loop_killed_at_any_instant_ends_with_the_same_rounds(
    county: County, done: tuple[Path, int], tmp_path: Path, api_url: str
) -> None:
    undisturbed, rng = county.read(done[0]), random.Random(7)
    given = county.parameters(tmp_path, ["truth", "copies", "one"], even=True)
    county.answered.clear()
    for _ in range(KILLS):
        run = start("improve", given, tmp_path, api_url)
        time.sleep(rng.uniform(12, 40))
        if run.process.poll() is not None:
            break
        run.kill()
    ended = start("improve", given, tmp_path, api_url).wait()
    assert ended.status == 0, ended.err
    found = county.read(tmp_path)
    for one, other in zip(found.rounds, undisturbed.rounds, strict=True):
        assert one.model_copy(update={"seconds": 0.0}) == other.model_copy(update={"seconds": 0.0})
    assert [row.right for row in found.final] == [row.right for row in undisturbed.final]
    assert json.loads(found.model_dump_json())["tokens"] == undisturbed.tokens
