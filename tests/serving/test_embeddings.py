import asyncio
import logging
from typing import Any

import numpy as np
import pytest

from gainloop.serving.embeddings import Vectors, embed_at_servers
from schemas.errors import BadInput, ServerError
from schemas.profile import EmbeddingServers
from tests.serving.embedding_stub import FAULTS, embedding_stub, vector_of
from tests.serving.odd_server import OddServer, listening

DOWN = "http://127.0.0.1:9/v1"
TEXTS = [f"text {number}" for number in range(57)]
EXPECTED = np.array([vector_of(text) for text in TEXTS])


def ask(*urls: str, texts: list[str] = TEXTS, model: str = "stub", **settings: Any) -> Vectors:
    place = EmbeddingServers(urls=list(urls), **{"texts_per_request": 5} | settings)
    return embed_at_servers(texts, model, place, lambda _done, _total: None)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.02)


def test_texts_go_in_batches_with_several_in_flight_and_come_back_in_order() -> None:
    told: list[tuple[int, int]] = []
    with embedding_stub(latency_seconds=0.02) as stub:
        place = EmbeddingServers(urls=[stub.url], texts_per_request=5, max_in_flight=4)
        vectors = embed_at_servers(TEXTS, "stub", place, lambda done, total: told.append((done, total)))

    assert vectors == pytest.approx(EXPECTED, abs=1e-6)
    assert sorted(len(asked["input"]) for asked in stub.requests) == [2] + 11 * [5]
    assert 2 <= stub.most_open <= 4
    assert told[-1] == (57, 57)


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_passing_faults_change_no_vector(fault: str) -> None:
    with embedding_stub(faults={fault: 0.4}) as stub:
        vectors = ask(stub.url, attempts=12)

    assert vectors == pytest.approx(EXPECTED, abs=1e-6)
    assert len(stub.requests) > 12  # something was asked again


def test_a_refusal_for_want_of_room_is_no_attempt() -> None:
    with embedding_stub(faults={"overloaded": 0.8}) as stub:
        assert ask(stub.url, attempts=1) == pytest.approx(EXPECTED, abs=1e-6)


async def test_a_server_that_does_not_answer_is_an_error_that_says_so() -> None:
    async with listening(OddServer([b"HTTP/1.1 200 OK\r\n"] * 4)) as port:
        with pytest.raises(ServerError, match="no answer in time"):
            await asyncio.to_thread(ask, f"http://127.0.0.1:{port}/v1", texts=TEXTS[:5], attempts=2, deadline_seconds=1)


def test_another_server_answers_for_one_that_is_down() -> None:
    with embedding_stub() as stub:
        assert ask(DOWN, stub.url) == pytest.approx(EXPECTED, abs=1e-6)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("server_error", r"it fails \(5xx\).* Read its log"),
        ("malformed", "not of the OpenAI protocol"),
        ("overloaded", "it is overloaded"),
    ],
)
def test_a_fault_that_lasts_is_an_error_that_says_what_to_do(fault: str, found: str) -> None:
    with embedding_stub(faults={fault: 1.0}) as stub, pytest.raises(ServerError, match=f"embedding texts.*{found}"):
        ask(stub.url, attempts=2, deadline_seconds=2)


def test_no_server_at_all_is_an_error_that_says_so() -> None:
    with pytest.raises(ServerError, match=r"embedding texts with 'stub' at http://127.0.0.1:9/v1: no connection"):
        ask(DOWN, attempts=2)


def test_a_model_that_is_not_served_is_an_error_that_names_the_url() -> None:
    with embedding_stub() as stub, pytest.raises(ServerError, match=r"asking http.*/v1 for .*: not found \(404\)"):
        ask(stub.url, model="other")


@pytest.mark.parametrize("other", [{"width": 9}, {"model": "another"}])
def test_servers_with_different_models_are_an_error(other: dict[str, Any]) -> None:
    with (
        embedding_stub() as one,
        embedding_stub(**other) as two,
        pytest.raises(ServerError, match="all must be of one model"),
    ):
        ask(one.url, two.url)


def test_a_text_that_is_too_long_is_known_by_its_beginning_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    texts = [*TEXTS[:7], "long " * 100, *TEXTS[7:9]]
    with embedding_stub(context_characters=260) as stub, caplog.at_level(logging.WARNING, "gainloop"):
        vectors = ask(stub.url, texts=texts)

    beginning = ("long " * 100)[:250]
    assert vectors == pytest.approx(np.array([vector_of(t) for t in [*TEXTS[:7], beginning, *TEXTS[7:9]]]), abs=1e-6)
    assert "1 of 10 texts are longer than stub reads" in caplog.text


def test_a_server_that_rejects_every_text_is_an_error() -> None:
    with embedding_stub(context_characters=-1) as stub, pytest.raises(ServerError, match=r"rejected, and so is its"):
        ask(stub.url)


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with embedding_stub(api_key="sk-secret") as stub, caplog.at_level(logging.DEBUG):
        with pytest.raises(ServerError, match=r"refuses the key \(401\).* embedding.api_key_variable of the profile"):
            ask(stub.url)
        monkeypatch.setenv("EMBEDDING_KEY", "sk-secret")
        assert ask(stub.url, api_key_variable="EMBEDDING_KEY") == pytest.approx(EXPECTED, abs=1e-6)
        monkeypatch.setenv("EMBEDDING_KEY", "sk-\nsecret")
        with pytest.raises(BadInput, match="printable ASCII"):
            ask(stub.url, api_key_variable="EMBEDDING_KEY")
    assert "secret" not in caplog.text
