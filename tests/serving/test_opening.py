from contextlib import nullcontext
from pathlib import Path

import pytest

from gainloop.serving.embedded import EmbeddedEngine
from gainloop.serving.opening import count_cached, open_pool, served_revision, started
from schemas.errors import BadInput, ServerError
from schemas.profile import LocalVLLM, Profile, Servers
from schemas.recipe import Recipe, Sampling
from schemas.rows import Request
from tests.serving.stub_server import StubOptions, stub_server
from tests.tiny_model import save_tiny_model

DOWN = "http://127.0.0.1:9/v1"


def on_servers(profile: Profile, *urls: str) -> Profile:
    return profile.model_copy(update={"serving": Servers(urls=list(urls))})


def recipe_for(model: str, revision: str) -> Recipe:
    return Recipe(method={"kind": "rephrase"}, snapshot_id="s", model=model, revision=revision)


async def test_the_embedded_engine_answers_under_the_recipes_name_and_is_loaded_once(
    profile: Profile, tmp_path: Path
) -> None:
    folder, recipe = save_tiny_model(tmp_path / "model"), recipe_for("start", "7")
    with started(profile, recipe, folder) as reached:
        async with open_pool(reached, recipe, folder) as pool:
            engine = pool.desks[0].generator
            assert isinstance(engine, EmbeddedEngine)
            assert (pool.model, pool.revision, pool.logprob_semantics) == ("start", "7", "processed")
            assert (await pool.complete("00", Request("Once"), Sampling(max_tokens=2))).server == "embedded"
        async with open_pool(reached, recipe, folder) as again:
            assert again.desks[0].generator is engine


async def test_running_servers_are_found_able_to_answer_before_the_first_request(profile: Profile) -> None:
    with stub_server() as stub:
        place, recipe = on_servers(profile, stub.url), recipe_for("stub", "/models/stub")
        with started(place, recipe, None) as reached:
            assert reached is place
            async with open_pool(reached, recipe, None) as pool:
                assert pool.logprob_semantics == "raw"
                assert (await pool.complete("00", Request("Once"), Sampling())).server == stub.url
    with pytest.raises(ServerError, match="no connection"):
        await open_pool(on_servers(profile, DOWN), recipe, None).__aenter__()


async def test_a_served_models_revision_is_what_its_servers_say(profile: Profile) -> None:
    with stub_server(StubOptions(models={"stub": "/models/42"})) as stub:
        assert await served_revision(on_servers(profile, stub.url), "stub") == "/models/42"
        with pytest.raises(ServerError, match="served are stub"):
            await served_revision(on_servers(profile, stub.url), "another")


async def test_prompt_tokens_found_in_caches_are_counted_where_every_server_tells() -> None:
    told = 'vllm:prefix_cache_hits_total{engine="0"} 30\nvllm:prefix_cache_queries_total{engine="0"} 40\n'
    with stub_server(StubOptions(metrics=told)) as one, stub_server() as silent:
        assert await count_cached(Servers(urls=[one.url, one.url]), "stub") == (60, 80)
        assert await count_cached(Servers(urls=[one.url, silent.url]), "stub") is None
        assert await count_cached(Servers(urls=[one.url, DOWN]), "stub") is None


@pytest.mark.parametrize("serving", [Profile(name="x").serving, LocalVLLM()])
async def test_a_place_without_running_servers_has_no_served_model(profile: Profile, serving: LocalVLLM) -> None:
    with pytest.raises(
        BadInput, match=r"served model 'stub': profile 'test' has no running servers; .*set generator.kind to own"
    ):
        await served_revision(profile.model_copy(update={"serving": serving}), "stub")


def test_running_servers_cannot_be_given_a_checkpoint(profile: Profile) -> None:
    place, recipe = on_servers(profile, DOWN), recipe_for("start", "0123")

    with pytest.raises(BadInput, match="checkpoint 0123 on profile 'test': its servers are running"):
        started(place, recipe, "data/checkpoints/0123").__enter__()


def test_a_vllm_place_becomes_one_of_a_running_server_and_keeps_its_limit(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = profile.model_copy(update={"serving": LocalVLLM(concurrency_limit="gpu")})
    monkeypatch.setattr(
        "gainloop.serving.vllm.serve_vllm", lambda _place, folder, model: nullcontext(f"{folder}/{model}")
    )

    with started(place, recipe_for("start", "1"), "folder") as reached:
        assert reached.serving == Servers(urls=["folder/start"], api_key_variable="", concurrency_limit="gpu")
