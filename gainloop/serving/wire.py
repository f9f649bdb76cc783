"""What is said to an OpenAI-compatible server, and what its answers mean. Opens nothing.

What vLLM 0.32 does, as tried against a running server:

- The end token is among the sampled tokens, with its id and its log-probability, though not in the text. Of a
  server that leaves it out, every reply that ended by itself tells one log-probability too few.
- Log-probabilities are the model's own at temperature 1, whatever was asked ("raw"), unless the server runs
  with ``--logprobs-mode processed_logprobs``. Under a JSON schema they are of the tokens that the schema allows.
- Sampling that a request leaves open comes from the model's ``generation_config.json``: a ``top_k`` of 20
  there cuts every reply's distribution. So a request leaves nothing open.
- A reply may be cut to fit the model's context, short of ``max_tokens``, without a word.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from gainloop.serving import Refused, TryAgain
from gainloop.serving.shapes import COMPLETION, EMBEDDINGS, MODELS, RANKED, SCORED, TOKENS, Token, Usage
from schemas.recipe import Sampling
from schemas.rows import FinishReason, Message, Prompt, Request

MOST_WORD_BYTES = 4096
"""Bytes of an error's body that are read."""

TOKEN_CHARS = 1024
"""No token is longer: those of vocabularies that hold rows of spaces have some hundred characters."""

Shape = TypeVar("Shape")

NOTHING_LEFT_OPEN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "return_token_ids": True}


@dataclass(frozen=True, slots=True)
class Said:
    """What a server said to one request. ``token_ids`` is empty where the server keeps them to itself."""

    model: str
    text: str
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


def ask(
    model: str, request: Request, sampling: Sampling, seed: int, logprobs: bool = True
) -> tuple[str, dict[str, Any]]:
    """Return the path and the body that ask for one reply, with a log-probability per token if ``logprobs``.

    >>> path, body = ask("m", Request("Once"), Sampling(), seed=7)
    >>> path, body["prompt"], body["logprobs"], body["seed"]
    ('completions', 'Once', 0, 7)
    """
    body: dict[str, Any] = {
        "model": model,
        "seed": seed,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        **NOTHING_LEFT_OPEN,
    }
    if request.json_schema is not None:
        schema = {"name": "reply", "schema": json.loads(request.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if isinstance(request.prompt, str):
        return "completions", body | {"prompt": request.prompt} | ({"logprobs": 0} if logprobs else {})
    return "chat/completions", body | {"messages": _as_turns(request.prompt), "logprobs": logprobs}


def _as_turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def ask_tokens(model: str, prompt: Prompt) -> dict[str, Any]:
    """Return the body that asks which tokens a reply to a prompt comes after."""
    if isinstance(prompt, str):
        return {"model": model, "prompt": prompt, "add_special_tokens": True}
    return {"model": model, "messages": _as_turns(prompt), "add_generation_prompt": True}


def ask_scores(model: str, prompts: Sequence[list[int]], token_ids: Sequence[int], likeliest: int) -> dict[str, Any]:
    """Return the body that asks how likely a text's tokens are after each of some prompts.

    Args:
        likeliest: Likeliest tokens to return beside each token of the text, this many.
    """
    texts = [[*prompt, *token_ids] for prompt in prompts]
    return {"model": model, "prompt": texts, "prompt_logprobs": likeliest, "max_tokens": 1, "temperature": 0}


def most_bytes(max_tokens: int) -> int:
    """Return the longest that the answer to a request for so many tokens can be: its prompt's ids come with it."""
    return 4 * 2**20 + 8192 * max_tokens


def as_bytes(body: dict[str, Any]) -> bytes:
    """Return a body as it goes over the wire."""
    return msgspec.json.encode(body)


def read_reply(body: bytes, max_tokens: int, logprobs: bool = True) -> Said:
    """Return what a completion or chat completion says.

    Thoughts that stand beside the text are put before it, between marks, where its log-probabilities have them too;
    without log-probabilities they are left out, unless there is nothing else.

    Raises:
        TryAgain: ``malformed``: no JSON, no choice, numbers that cannot be, a token without a finite log-probability
            if they were asked for; ``aborted``: the server gave up half-way.
        Refused: ``refusal``: withheld by a filter; ``rejected``: the model's context has no room for
            ``max_tokens`` after this prompt.
    """
    completion = _read(COMPLETION, body)
    choice, turn = completion.choices[0], completion.choices[0].message
    finish_reason = _require_finished(choice.finish_reason)
    if turn and turn.refusal:
        raise Refused("refusal", turn.refusal)
    given = choice.logprobs.of_tokens() if choice.logprobs else ()
    ids = tuple(choice.token_ids or ())
    if logprobs and (not given or len(ids or given) != len(given)):
        raise TryAgain("malformed", said=f"{len(given)} log-probabilities of {len(ids) or 'no'} tokens")
    usage = completion.usage or Usage()
    length = len(given or ids) or int(usage.completion_tokens or 0)
    text = (turn.text if turn else choice.text) or ""
    thinks = turn is not None and turn.thinks
    if finish_reason == "length" and 0 < length < max_tokens and not thinks:
        raise Refused("rejected")
    if len(given or ids) > max_tokens + 1 or len(text) > TOKEN_CHARS * (length or max_tokens):
        raise TryAgain("malformed", said=f"{len(text)} characters, {length} tokens; {max_tokens} were asked for")
    if turn and thinks and (logprobs or not text):
        text = f"<think>\n{turn.thoughts}\n</think>\n\n{text}"
    return Said(completion.model, text, ids, given, finish_reason, int(usage.prompt_tokens or 0), length)


def read_models(body: bytes) -> dict[str, str]:
    """Return the root of every served model, by name; the root is where its weights came from, or empty."""
    return {model.id: model.root or "" for model in _read(MODELS, body).data}


def read_tokens(body: bytes) -> list[int]:
    """Return the token ids of a text."""
    return _read(TOKENS, body).tokens


def read_embeddings(body: bytes, num_texts: int) -> tuple[str, list[list[float]]]:
    """Return the model that answers, and the vector of each text in the order asked.

    Raises:
        TryAgain: ``malformed``: a text has no vector, or vectors differ in length.
    """
    said = _read(EMBEDDINGS, body)
    vectors = {one.index: one.embedding for one in said.data}
    widths = {len(vector) for vector in vectors.values()}
    if vectors.keys() != set(range(num_texts)) or len(widths) != 1 or widths == {0}:
        raise TryAgain("malformed")
    return said.model, [vectors[number] for number in range(num_texts)]


def read_scores(
    body: bytes, token_ids: Sequence[int], num_prompts: int, likeliest: int
) -> list[tuple[list[float], list[list[float]]]]:
    """Return, for each prompt in the order asked, the log-probability of each token, and those of the likeliest there.

    Raises:
        TryAgain: ``malformed``: a prompt or a token has none.
    """
    choices = sorted(_read(SCORED, body).choices, key=lambda choice: choice.index)
    if [choice.index for choice in choices] != list(range(num_prompts)):
        raise TryAgain("malformed")
    return [_read_scored(choice.prompt_logprobs[-len(token_ids) :], token_ids, likeliest) for choice in choices]


def _read_scored(
    given: "list[dict[int, Token] | None]", token_ids: Sequence[int], likeliest: int
) -> tuple[list[float], list[list[float]]]:
    try:
        own = [(at or {})[token].logprob for at, token in zip(given, token_ids, strict=True)]
        top = [sorted((one.logprob for one in (at or {}).values()), reverse=True)[:likeliest] for at in given]
    except (KeyError, ValueError):
        raise TryAgain("malformed") from None
    if any(len(row) < likeliest for row in top):
        raise TryAgain("malformed")
    return own, top


def read_likeliest(body: bytes) -> dict[str, float]:
    """Return the log-probabilities of the likeliest first tokens; empty if the server gives none."""
    logprobs = _read(COMPLETION, body).choices[0].logprobs
    return dict(logprobs.top_logprobs[0] or {}) if logprobs and logprobs.top_logprobs else {}


def read_ranked(body: bytes) -> dict[str, float]:
    """Return the same of a chat completion, whose tokens carry theirs themselves."""
    logprobs = _read(RANKED, body).choices[0].logprobs
    return {one.token: one.logprob for one in logprobs.content[0].top_logprobs} if logprobs and logprobs.content else {}


def read_cache_counts(metrics: str) -> tuple[float, float] | None:
    """Return the prompt tokens that vLLM found in its prefix cache, and all that it looked for; None if it is silent.

    >>> read_cache_counts('vllm:prefix_cache_hits_total{engine="0"} 3.0\\nvllm:prefix_cache_queries_total 4')
    (3.0, 4.0)
    >>> read_cache_counts("") is None
    True
    """
    number = r"(\d{1,15}(?:\.\d{1,15})?(?:e\+?\d{1,2})?)\s*$"
    hits, queries = (
        [
            float(value)
            for value in re.findall(rf"^vllm:prefix_cache_{name}_total(?:{{.*}})? {number}", f"{metrics}\n", re.M)
        ]
        for name in ("hits", "queries")
    )
    return (sum(hits), sum(queries)) if queries else None


def semantics_of(warm: dict[str, float], cool: dict[str, float]) -> str:
    """Tell which distribution a server's log-probabilities are of, by the same tokens at temperature 1 and 0.5.

    Halving the temperature doubles every difference of processed log-probabilities, and no raw one.

    >>> semantics_of({"a": -1.0, "b": -3.0}, {"a": -0.3, "b": -4.3})
    'processed'
    >>> semantics_of({"a": -1.0, "b": -3.0}, {"a": -1.0, "b": -3.0})
    'raw'
    >>> semantics_of({"a": -1.0}, {"a": -1.0})
    'unknown'
    """
    tokens = sorted(warm.keys() & cool.keys(), key=lambda token: warm[token])
    if len(tokens) < 2 or warm[tokens[-1]] - warm[tokens[0]] < 0.1:
        return "unknown"
    ratio = (cool[tokens[-1]] - cool[tokens[0]]) / (warm[tokens[-1]] - warm[tokens[0]])
    return {1: "raw", 2: "processed"}.get(round(ratio), "unknown")


def _require_finished(finish_reason: str | None) -> FinishReason:
    match finish_reason and finish_reason.casefold():
        case "stop" | "eos" | "eos_token" | "end_turn" | "stop_sequence":
            return "stop"
        case "length" | "max_tokens":
            return "length"
        case None | "":
            raise TryAgain("malformed", said="no finish_reason")
        case "abort" | "error":
            raise TryAgain("aborted")
    raise Refused("refusal", f"finish_reason {finish_reason}")


def words_of(body: bytes) -> str:
    """Return what an error's body says for a person: its message, or all of it without the tags of a page.

    Of one that is too long the last word that is read is left out: the beginning of a key would not be known as one.

    >>> words_of(b'{"error": {"message": "Budget is spent", "code": 402}}'), words_of(b"<h1>No</h1>")
    ('Budget is spent', ' No ')
    """
    text = body[:MOST_WORD_BYTES].decode(errors="replace")
    if len(body) > MOST_WORD_BYTES:
        text = " ".join(text.split()[:-1])
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return re.sub(r"<[^<>]{1,300}>", " ", text)
    for name in ("error", "message", "detail"):
        if isinstance(said, dict) and said.get(name):
            said = said[name]
    return said if isinstance(said, str) else text


def _read(decoder: "msgspec.json.Decoder[Shape]", body: bytes) -> Shape:
    """Return a body in its shape.

    Raises:
        TryAgain: ``malformed``: it has another.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # a body that is not UTF-8 is a ValueError
        says_why = b'"error"' in body[:MOST_WORD_BYTES]
        raise TryAgain("malformed", said=words_of(body) if says_why else str(error)) from None
