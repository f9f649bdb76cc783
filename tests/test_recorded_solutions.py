"""A batch of recorded solutions: four models' answers to real problems, served, verified, validated and kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gainloop.serving.driver import Progress
from gainloop.sources.pieces import normalise
from gainloop.sources.problems import Problems
from gainloop.store import Store
from gainloop.store.batches import kept_records
from gainloop.store.draws import plan_batch
from gainloop.store.replies import spans_of
from schemas.conversation import read_turns
from schemas.curation import Curation
from schemas.profile import Generation, Profile, Servers
from schemas.recipe import Recipe, Sampling
from tasks.generate import RunTotals, finish_batch, generate_records
from tasks.refresh import refresh_snapshot
from tasks.validate import validate_batch
from tests.serving.recorded_teacher import RecordedTeacher

NUM_PROBLEMS = 120


class Recorded(NamedTuple):
    """The recorded solutions of each question, as a model that parts its answers gives them, and which are right."""

    replies: dict[str, list[str]]
    right: dict[str, set[str]]


def recorded(folder: Path) -> Recorded:
    replies: dict[str, list[str]] = {}
    right: dict[str, set[str]] = {}
    for line in (folder / "gsm8k" / "example_model_solutions.jsonl").read_text().splitlines()[:NUM_PROBLEMS]:
        row = json.loads(line)
        question, solutions = normalise(row["question"]), [one for one in row.values() if isinstance(one, dict)]
        replies[question] = [f"THOUGHT\n{one['solution']}\n\nSOLUTION\n{one['solution']}" for one in solutions]
        right[question] = {one["solution"].strip() for one in solutions if one["is_correct"]}
    return Recorded(replies, right)


@pytest.fixture
def teacher(shared_data: Path) -> Iterator[RecordedTeacher]:
    serving = RecordedTeacher(recorded(shared_data).replies)
    yield serving
    serving.stop()


@pytest.mark.parametrize(
    ("method", "filters"),
    [({"keep": "right"}, ()), ({"keep": "all"}, ({"kind": "solved"},))],
    ids=["method", "filter"],
)
def test_exactly_the_solutions_that_were_recorded_as_right_become_conversations(
    method: dict[str, str],
    filters: tuple[dict[str, str], ...],
    teacher: RecordedTeacher,
    shared_data: Path,
    store: Store,
) -> None:
    source = Problems(
        problem_paths=[str(shared_data / "gsm8k" / "example_model_solutions.jsonl")],
        answer_field="ground_truth",
        licence="MIT",
    )
    recipe = Recipe(
        method={"kind": "reasoning", "answers": 4, **method},
        filters=filters,
        snapshot_id=refresh_snapshot(store, source, 0.0).snapshot_id,
        model="recorded",
        revision="Qwen2.5-7B",
        sampling=Sampling(max_tokens=4096),
    )
    serving = Servers(urls=[teacher.url], logprobs=False)
    place = Profile(name="recorded", folder=store.folder, serving=serving, generation=Generation(shard_anchors=300))
    total = Progress()
    for span in spans_of(plan_batch(store, recipe), place.generation.shard_anchors):
        total = total.add(generate_records(store, place, recipe, None, span, {}))
    made = finish_batch(store, place.prices, recipe, RunTotals(total))

    rows = store.query("select turns from records where batch_id = ?", recipe.batch_id)["turns"]
    talks = list(map(read_turns, rows))
    known = recorded(shared_data).right
    found: dict[str, set[str]] = {question: set() for question in known}
    for talk in talks:
        if talk[0].content in known:
            found[talk[0].content].add(talk[1].content)
            assert talk[1].thought == talk[1].content
    assert found == known
    assert made["records"] + made["drops"] >= made["requests"]
    reasons = set(store.query("select distinct reason from drops")["reason"].to_list())
    assert reasons == {"wrong", "no_thought"}, "of problems without a recorded solution the stub's words come back"

    validated = validate_batch(store, recipe.batch_id, Curation())
    assert validated["success"]
    assert len(kept_records(store, recipe.batch_id)) == validated["kept"] > 0.9 * validated["records"]
