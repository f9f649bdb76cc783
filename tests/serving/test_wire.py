import json
from typing import Any

import pytest

from gainloop.serving import Refused, TryAgain
from gainloop.serving.wire import ask, read_reply, read_scores, semantics_of
from schemas.recipe import Sampling
from schemas.rows import Message, Request

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}


def completion(**choice: Any) -> bytes:
    plain = {"text": "ab", "finish_reason": "stop", "token_ids": [5, 0], "logprobs": {"token_logprobs": [-1.0, -0.5]}}
    return json.dumps({"model": "m", "choices": [plain | choice], "usage": {"prompt_tokens": 3}}).encode()


def test_a_raw_prompt_and_a_chat_ask_the_same_of_the_sampler() -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=50)
    _, raw = ask("m", Request("Once"), sampling, seed=1)
    _, chat = ask("m", Request((Message("user", "Once"),)), sampling, seed=1)
    for prompt, body in (("prompt", raw), ("messages", chat)):
        del body[prompt], body["logprobs"]
    assert raw == chat
    assert (raw["temperature"], raw["top_p"], raw["max_tokens"], raw["seed"]) == (0.7, 0.9, 50, 1)


def test_sampling_defaults_of_a_served_model_are_overruled() -> None:
    _, body = ask("m", Request("Once"), Sampling(), seed=1)
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (-1, 0.0, 1.0)


def test_a_json_schema_is_asked_for_in_completions_and_chats() -> None:
    for prompt in ("Once", (Message("user", "Once"),)):
        _, body = ask("m", Request(prompt, json_schema=json.dumps(SCHEMA)), Sampling(), seed=1)
        assert body["response_format"]["json_schema"]["schema"] == SCHEMA


def test_the_end_token_is_among_the_tokens_and_not_in_the_text() -> None:
    said = read_reply(completion(), max_tokens=9)
    assert (said.text, said.token_ids, said.token_logprobs) == ("ab", (5, 0), (-1.0, -0.5))


def test_a_server_that_keeps_token_ids_to_itself_gives_none() -> None:
    assert read_reply(completion(token_ids=None), max_tokens=9).token_ids == ()


@pytest.mark.parametrize(
    "choice",
    [
        {"logprobs": None},
        {"logprobs": {"token_logprobs": []}},
        {"logprobs": {"token_logprobs": [-1.0]}},
        {"logprobs": {"token_logprobs": [-1.0, None]}},
        {"logprobs": {"token_logprobs": [-1.0, float("nan")]}},
        {"logprobs": {"token_logprobs": [-1.0, -9999.0]}},
        {"finish_reason": None},
    ],
)
def test_a_reply_without_one_finite_logprob_per_token_is_malformed(choice: dict[str, Any]) -> None:
    with pytest.raises(TryAgain, match="malformed"):
        read_reply(completion(**choice), max_tokens=9)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": "m", "choices": [], "usage": {"prompt_tokens": 1}}'])
def test_a_body_that_is_no_completion_is_malformed(body: bytes) -> None:
    with pytest.raises(TryAgain, match="malformed"):
        read_reply(body, max_tokens=9)


def test_a_withheld_reply_is_refused_even_without_logprobs() -> None:
    with pytest.raises(Refused, match="refusal"):
        read_reply(completion(finish_reason="content_filter", logprobs=None), max_tokens=9)


def test_a_reply_cut_to_fit_the_context_is_refused_not_taken_as_long() -> None:
    assert read_reply(completion(finish_reason="length"), max_tokens=2).finish_reason == "length"
    with pytest.raises(Refused, match="rejected"):
        read_reply(completion(finish_reason="length"), max_tokens=3)


def test_scores_are_of_the_texts_tokens_after_each_prompt_in_the_order_asked() -> None:
    first = [None, {"7": {"logprob": -1.0}}, {"8": {"logprob": -2.0}, "9": {"logprob": -0.5}}]
    second = [None, {"8": {"logprob": -3.0}, "4": {"logprob": -0.2}}]
    choices = [{"index": 1, "prompt_logprobs": second}, {"index": 0, "prompt_logprobs": first}]
    body = json.dumps({"choices": choices}).encode()
    assert read_scores(body, [8], 2, 1) == [([-2.0], [[-0.5]]), ([-3.0], [[-0.2]])]
    for tokens, num_prompts, likeliest in (([9], 2, 1), ([8], 3, 1), ([6, 7, 8], 2, 0), ([8], 2, 3)):
        with pytest.raises(TryAgain, match="malformed"):
            read_scores(body, tokens, num_prompts, likeliest)


def test_semantics_of_a_model_that_is_sure_of_everything_are_unknown() -> None:
    assert semantics_of({"a": -1.0, "b": -1.01}, {"a": -1.0, "b": -1.01}) == "unknown"
