import json
from typing import Any

import pytest

from gainloop.serving import Refused, TryAgain
from gainloop.serving.wire import ask, read_cache_counts, read_reply, read_scores, semantics_of
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
        {"logprobs": {"token_logprobs": [-1.0, 0.5]}},
        {"token_ids": [5, -1]},
        {"token_ids": [5, 2**31]},
        {"finish_reason": None},
        {"text": "a" * 3000},
        {"text": ["ab"]},
        {"token_ids": [5] * 11, "logprobs": {"token_logprobs": [-1.0] * 11}},
    ],
)
def test_a_reply_without_one_finite_logprob_per_token_is_malformed(choice: dict[str, Any]) -> None:
    with pytest.raises(TryAgain, match="malformed"):
        read_reply(completion(**choice), max_tokens=9)


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": -1}, {"prompt_tokens": 10**30}, {"prompt_tokens": "7"}, {"completion_tokens": -5}, [7]]
)
def test_tokens_that_nobody_can_have_counted_are_malformed(usage: Any) -> None:
    body = json.loads(completion()) | {"usage": usage}
    with pytest.raises(TryAgain, match="malformed"):
        read_reply(json.dumps(body).encode(), max_tokens=9)


def test_tokens_that_are_not_counted_are_those_that_came() -> None:
    for usage in ({}, {"usage": None}, {"usage": {"prompt_tokens": None, "completion_tokens": 99}}):
        body = {name: value for name, value in json.loads(completion()).items() if name != "usage"} | usage
        said = read_reply(json.dumps(body).encode(), max_tokens=9)
        assert (said.prompt_tokens, said.completion_tokens) == (0, 2)


@pytest.mark.parametrize(
    "message",
    [
        {"content": "It grinds.", "reasoning_content": "Hm."},
        {"content": "It grinds.", "reasoning": "Hm."},
        {"content": "It grinds.", "thinking": "Hm."},
        {"content": "It grinds.", "reasoning_details": [{"text": "Hm."}]},
        {"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "It grinds."}]},
    ],
    ids=str,
)
def test_thoughts_beside_a_text_are_put_before_it_where_its_logprobs_have_them(message: dict[str, Any]) -> None:
    said = read_reply(completion(message=message), max_tokens=9)
    assert said.text.startswith("<think>")
    assert said.text.endswith("</think>\n\nIt grinds.")
    assert read_reply(completion(message=message), max_tokens=9, logprobs=False).text == "It grinds."


def test_thoughts_alone_are_no_text_even_if_they_were_cut_off() -> None:
    alone = completion(message={"content": None, "reasoning_content": "Hm."}, finish_reason="length")
    for logprobs in (True, False):
        assert read_reply(alone, max_tokens=9, logprobs=logprobs).text == "<think>\nHm.\n</think>\n\n"


def test_a_text_in_parts_is_one_text_and_a_refusal_is_none() -> None:
    parts = [{"type": "text", "text": "It "}, {"type": "output_text", "text": "grinds."}]
    assert read_reply(completion(message={"content": parts}), max_tokens=9).text == "It grinds."
    with pytest.raises(Refused, match="refusal"):
        read_reply(completion(message={"content": None, "refusal": "I cannot."}), max_tokens=9)


@pytest.mark.parametrize("nested", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
def test_a_body_that_is_nested_without_end_is_malformed(nested: bytes) -> None:
    with pytest.raises(TryAgain, match="malformed"):
        read_reply(completion()[:-1] + b', "x": ' + nested + b"}", max_tokens=9)


def test_what_metrics_say_is_a_number_or_nothing() -> None:
    told = "vllm:prefix_cache_hits_total{{}} {0}\nvllm:prefix_cache_queries_total {0}\n"
    assert [read_cache_counts(told.format(one)) for one in ("nan", "-3", "many", "1e999", "2.5e+3")] == [
        *[None] * 4,
        (2500, 2500),
    ]


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
