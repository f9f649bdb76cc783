"""A batch of real model text: recorded completions served over the OpenAI protocol, validated, and reported."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gainloop.methods.implications import Implications
from gainloop.reports.page import list_figures
from gainloop.serving.driver import Progress
from gainloop.sources.files import Files
from gainloop.store import Store
from gainloop.store.batches import kept_records
from gainloop.store.draws import plan_batch
from gainloop.store.measurements import load_report
from gainloop.store.replies import spans_of
from schemas.curation import Curation
from schemas.profile import Generation, Profile, Servers
from schemas.recipe import Recipe, Sampling
from tasks.generate import RunTotals, finish_batch, generate_records
from tasks.refresh import refresh_snapshot
from tasks.report import save_report
from tasks.validate import validate_batch
from tests.serving.recorded_teacher import RecordedTeacher, recorded_teacher


class Batch(NamedTuple):
    """What became of the recorded completions."""

    store: Store
    place: Profile
    recipe: Recipe
    teacher: RecordedTeacher
    generated: dict[str, Any]
    validated: dict[str, Any]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Iterator[Batch]:
    folder = tmp_path_factory.mktemp("recorded")
    store = Store(str(folder / "store.duckdb"), str(folder))
    passages = [str(shared_data / f"recorded_replies/{name}_val.jsonl") for name in ("base", "iter1")]
    source = Files(paths=passages, text_field="context", title_field="title", licence="CC BY-SA 4.0", max_chars=10_000)
    snapshot_id = refresh_snapshot(store, source, 0.02).snapshot_id
    method = Implications(draws=10)
    recipe = Recipe(
        method=method.model_dump(mode="json"),
        snapshot_id=snapshot_id,
        model="recorded",
        revision="Qwen2.5-7B",
        sampling=Sampling(top_p=0.95, max_tokens=4096),
    )
    with recorded_teacher(shared_data) as teacher:
        serving = Servers(urls=[teacher.url], logprobs=False)
        place = Profile(name="recorded", folder=str(folder), serving=serving, generation=Generation(shard_anchors=64))
        total = Progress()
        for span in spans_of(plan_batch(store, recipe), place.generation.shard_anchors):
            total = total.add(generate_records(store, place, recipe, None, span, {}))
        generated = finish_batch(store, place.prices, recipe, RunTotals(total))
        validated = validate_batch(store, recipe.batch_id, Curation())
        yield Batch(store, place, recipe, teacher, generated, validated)


def test_a_real_models_text_makes_a_batch_of_more_than_two_thousand_records(batch: Batch) -> None:
    made = batch.generated
    assert made["requests"] == 10 * made["anchors"]
    assert made["records"] >= 2_000
    assert made["records"] + made["drops"] == made["requests"]
    drops = batch.store.query("select distinct reason from drops")["reason"].to_list()
    assert drops == ["repeat"]  # where five completions were recorded, ten draws hear each twice


def test_what_is_quarantined_is_what_a_reader_would_take_out(batch: Batch) -> None:
    validated = batch.validated
    assert validated["success"]
    reasons = {"prompt_leak", "cites_source", "wanders_off", "repeats", "copies_anchor", "placeholder"}
    assert set(validated["reasons"]) == reasons
    assert 0.9 * validated["records"] < validated["kept"] < 0.95 * validated["records"]
    kept = kept_records(batch.store, batch.recipe.batch_id)["text"]
    # Looked at one by one: talk to an assistant, tasks that follow the list, "the passage", other subjects.
    for sign in ("You are an AI assistant", "read the following passage", "Word: { Output", "The passage highlights"):
        assert not kept.str.contains(sign, literal=True).any(), sign
    alike = kept.filter(kept.str.contains("is a graduate of the University of Chicago", literal=True))
    assert alike.len() > 0, "lines of a list may begin or end alike"


def test_the_batch_has_a_report_with_a_figure_or_a_reason_in_every_line(batch: Batch) -> None:
    page = save_report(batch.store, batch.place.gate, batch.recipe.batch_id, "")
    report = load_report(batch.store, batch.recipe.batch_id, "")
    lines = [line for section in list_figures(report).values() for line in section]

    assert Path(page).stat().st_size > 50_000
    assert all((line.figure.value is None) == (line.figure.status != "ok") for line in lines)
    assert all(line.figure.unit and line.figure.definition for line in lines)
    unjudged = {line.words.title for line in lines if line.figure.status.startswith("not judged")}
    assert unjudged == {"Non-factual", "Non-factual, anchors", "Pair-irrelevance"}
    assert report.counts.kept == batch.validated["kept"]
    # What such replies are: about their own passage, in other words, each one different.
    assert report.quality.no_closer.high is not None
    assert report.quality.no_closer.high < 5
    assert report.faithfulness.copying.value is not None
    assert 0.03 < report.faithfulness.copying.value < 0.5
    assert report.diversity.vendi.value is not None
    assert report.diversity.vendi.value > 0.3 * report.diversity.vendi.n
    assert report.headline.startswith("Delta I: not measured")
