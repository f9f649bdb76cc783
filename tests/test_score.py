"""Scores of a batch's outputs under other prompts: of a model in this process, and of a server that fails at times."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gainloop.serving import CannotScore
from gainloop.serving.driver import replay
from gainloop.serving.scorer import Scorer
from gainloop.store import Store, group_commit, open_store
from gainloop.store.batches import latest_summary, replies_folder
from gainloop.store.replies import as_reply, read_replies
from gainloop.store.scores import contrasts_folder, read_contrasts
from gainloop.store.snapshots import read_texts
from schemas.errors import ServerError
from schemas.profile import Profile, Servers
from schemas.recipe import Recipe, Sampling, Scoring
from tasks.progress import Bar
from tasks.score import name_plan, plan_scores, score_outputs, why_not_scored
from tests.serving.stub_server import StubOptions, stub_server
from tests.test_generate import generate, on_servers, recipe_on, write_corpus
from tests.tiny_model import PLAN, save_tiny_model

SOME = Scoring(least_tokens=20_000)


@pytest.fixture(autouse=True)
def _quick_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "COMMIT_SECONDS", 0.02)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), PLAN.model_copy(update={"context_tokens": 1024}))


def score(
    place: Profile, recipe: Recipe, folder: str | None, scoring: Scoring = SOME
) -> tuple[dict[str, Any], pl.DataFrame]:
    store = open_store(place)
    plan = plan_scores(store, recipe.batch_id, scoring)
    summary = score_outputs(store, place, recipe, folder, plan, Bar("score", "outputs"))
    return summary, read_contrasts(store.locate(summary["folder"]))


@pytest.mark.parametrize("method", ["rephrase", "entigraph", "sbp"])
def test_replayed_requests_are_those_that_were_asked(store: Store, profile: Profile, weights: str, method: str) -> None:
    recipe = recipe_on(write_corpus(store), method, model="start", sampling=Sampling(max_tokens=96))
    generate(profile, recipe, weights)
    replies = read_replies(replies_folder(store, recipe.batch_id))
    by_id = {row["request_id"]: as_reply(row) for row in replies.iter_rows(named=True)}
    for (anchor_id,), landed in replies.group_by("anchor_id"):
        asked = replay(recipe, read_texts(store, [str(anchor_id)])[0], by_id)
        assert {key: one.prompt_id for key, one in asked.items() if key in by_id} == dict(
            landed.select("request_id", "prompt_id").iter_rows()
        )


@pytest.mark.parametrize("method", ["rephrase", "sbp"])
def test_an_output_is_likelier_under_its_own_prompt_as_it_was_when_it_was_sampled(
    store: Store, profile: Profile, weights: str, method: str
) -> None:
    recipe = recipe_on(write_corpus(store), method, model="start", sampling=Sampling(max_tokens=24))
    generate(profile, recipe, weights)
    summary, scores = score(profile, recipe, weights)
    assert summary["tokens"] <= summary["budget_tokens"] == 20_000
    assert scores["request_id"].n_unique() == summary["outputs"] > 8
    assert scores["kind"].value_counts().filter(kind="own")["count"].item() == summary["outputs"]
    replies = read_replies(replies_folder(store, recipe.batch_id))
    own = scores.filter(kind="own").join(replies, on="request_id")
    assert own["low"].to_list() == pytest.approx(own["token_logprobs"].list.sum().to_list(), abs=2e-3)
    assert scores["low"].equals(scores["high"])
    assert latest_summary(store, recipe.batch_id, "score") == summary


def test_a_rerun_scores_only_what_is_missing_and_ends_the_same(
    store: Store, profile: Profile, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_on(write_corpus(store), model="start", sampling=Sampling(max_tokens=16))
    generate(profile, recipe, weights)
    plan = plan_scores(store, recipe.batch_id, SOME)
    folder = contrasts_folder(store, recipe.batch_id, name_plan(plan))
    scored: list[str] = []
    whole = Scorer._score

    async def die_after_five(self: Scorer, pool: Any, output: Any) -> Any:
        if len(scored) == 5:
            raise ServerError("dying: five are done; that is all.")
        scored.append(output[0])
        return await whole(self, pool, output)

    monkeypatch.setattr(Scorer, "_score", die_after_five)
    with pytest.raises(ServerError, match="dying"):
        score(profile, recipe, weights)
    landed = set(read_contrasts(folder)["request_id"])
    assert landed <= set(scored)
    assert why_not_scored(store, profile, recipe.batch_id, plan) == ""
    scored.clear()

    async def count(self: Scorer, pool: Any, output: Any) -> Any:
        scored.append(output[0])
        return await whole(self, pool, output)

    monkeypatch.setattr(Scorer, "_score", count)
    _, scores = score(profile, recipe, weights)
    assert not landed & set(scored)
    assert landed | set(scored) == set(plan.outputs["request_id"])
    assert why_not_scored(store, profile, recipe.batch_id, plan) == "it was done before"
    assert score(profile, recipe, weights)[1].equals(scores)


def test_scores_through_a_server_that_fails_at_times_are_those_of_one_that_does_not(
    store: Store, profile: Profile, tmp_path: Path
) -> None:
    recipe = recipe_on(write_corpus(store), "entigraph")
    faulty = {"server_error": 0.2, "malformed": 0.1, "overloaded": 0.2, "reset": 0.1}
    with stub_server() as well, stub_server(StubOptions(faults=faulty)) as ill:
        generate(on_servers(profile, well), recipe)
        found = []
        for stub in (well, ill):
            summary, scores = score(on_servers(profile, stub, attempts=20), recipe, None)
            found.append(scores)
            for part in Path(store.locate(summary["folder"])).glob("*.parquet"):
                part.unlink()
    assert found[0].equals(found[1])
    assert found[0].filter(pl.col("low").is_finite()).height == found[0].height


def test_servers_that_score_no_text_are_found_out_and_nothing_is_said_to_be_done(
    store: Store, profile: Profile
) -> None:
    recipe = recipe_on(write_corpus(store))
    with stub_server(StubOptions(can_tokenize=False)) as stub:
        place = on_servers(profile, stub)
        generate(place, recipe)
        with pytest.raises(CannotScore):
            score(place, recipe, None)
    assert latest_summary(store, recipe.batch_id, "score") is None


def test_servers_that_tell_no_logprobs_are_not_asked_and_no_budget_buys_nothing(store: Store, profile: Profile) -> None:
    recipe = recipe_on(write_corpus(store))
    with stub_server() as stub:
        place = on_servers(profile, stub)
        generate(place, recipe)
        plan = plan_scores(store, recipe.batch_id, SOME)
        blind = place.model_copy(update={"serving": Servers(urls=[stub.url], logprobs=False)})
        assert why_not_scored(store, blind, recipe.batch_id, plan) == "the profile's serving.logprobs is false"
        nothing = plan_scores(store, recipe.batch_id, Scoring(share=0))
        assert why_not_scored(store, place, recipe.batch_id, nothing) == "a budget of 0 tokens buys no score"
