"""The stub server's model: a rule in place of weights, with the tokens and numbers that vLLM would send.

A reply is drawn from a few words by the prompt and the seed, and ends with an end token. A token's
log-probability depends on the token before it alone. The numbers are the same at every run, but they
add up to no distribution.
"""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any
from zlib import crc32

from schemas.rows import unit_draw

WORDS = re.findall(r"\w+", "a mill by the river grinds rye for seven towns and their bakers every long winter")
BEGIN, END = 1, 2


def tokenise(text: str) -> list[tuple[int, str]]:
    """Return the ids and texts of a text's tokens: words with the space before them."""
    return [(10 + crc32(piece.encode()) % 30_000, piece) for piece in re.findall(r"\s*\S+|\s+$", text)]


def logprob(before: int, token: int) -> float:
    """Return the log-probability of a token, in nats."""
    return -0.1 - 3 * unit_draw(before, token)


def prompt_text(asked: dict[str, Any]) -> str:
    if "messages" in asked:
        return "".join(f"<{turn['role']}> {turn['content']}" for turn in asked["messages"])
    return str(asked["prompt"])


def prompt_ids(asked: dict[str, Any]) -> list[int]:
    if isinstance(asked.get("prompt"), list):
        return list(asked["prompt"])
    return [BEGIN, *(token for token, _ in tokenise(prompt_text(asked)))]


def score(asked: dict[str, Any], context_tokens: int) -> dict[str, Any]:
    """Return the body of a completion of several prompts, given as ids, with the log-probabilities of their tokens."""
    choices = [
        answer(asked | {"prompt": ids}, 1, context_tokens, processed=False)["choices"][0] | {"index": index}
        for index, ids in enumerate(asked["prompt"])
    ]
    return {"id": "stub", "model": asked["model"], "choices": choices[::-1], "usage": {"prompt_tokens": 0}}


def answer(
    asked: dict[str, Any],
    num_words: int,
    context_tokens: int,
    processed: bool,
    says: Callable[[str], str] | None = None,
) -> dict[str, Any]:
    """Return the body of a completion or chat completion."""
    prompt = prompt_ids(asked)
    written = says(prompt_text(asked)) if says else _write(asked, num_words)
    tokens = [*tokenise(written), (END, "")]
    room = min(asked["max_tokens"], context_tokens - len(prompt))
    finish_reason = "stop" if len(tokens) <= room else "length"
    tokens = tokens[:room]
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish_reason, "token_ids": [token for token, _ in tokens]}
    before = [prompt[-1], *choice["token_ids"]]
    logprobs = [logprob(last, token) for last, (token, _) in zip(before, tokens, strict=False)]
    text = "".join(piece for _, piece in tokens)
    if "messages" in asked:
        choice["message"] = {"role": "assistant", "content": text}
        choice["logprobs"] = {"content": [{"token": "", "logprob": value} for value in logprobs]}
    else:
        choice["text"] = text
        likeliest = [_likeliest(last, asked["temperature"] if processed else 1) for last in before[: len(tokens)]]
        choice["logprobs"] = {"token_logprobs": logprobs, "top_logprobs": likeliest}
    if "prompt_logprobs" in asked:
        pairs = pairwise(prompt)
        choice["prompt_logprobs"] = [None, *({str(token): {"logprob": logprob(last, token)}} for last, token in pairs)]
    usage = {"prompt_tokens": len(prompt), "completion_tokens": len(tokens)}
    return {"id": "stub", "model": asked["model"], "choices": [choice], "usage": usage}


def _write(asked: dict[str, Any], num_words: int) -> str:
    seed = asked.get("seed") if asked.get("temperature", 1) else None
    rng = Random(f"{prompt_text(asked)}/{seed}")
    if schema := asked.get("response_format", {}).get("json_schema"):
        return json.dumps(_instance(schema["schema"], rng))
    return " ".join(rng.choices(WORDS, k=rng.randint(max(1, num_words // 2), num_words))).capitalize() + "."


def _instance(schema: dict[str, Any], rng: Random) -> Any:
    """Return a value that a JSON schema allows, of the types that the project's methods ask for."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    match schema["type"]:
        case "object":
            return {name: _instance(part, rng) for name, part in schema.get("properties", {}).items()}
        case "array":
            size = rng.randint(schema.get("minItems", 0), schema.get("maxItems", 3))
            return [_instance(schema["items"], rng) for _ in range(size)]
        case "integer" | "number":
            return rng.randint(schema.get("minimum", 0), schema.get("maximum", 9))
        case "boolean":
            return rng.random() < 0.5
    return f"{rng.choice(WORDS)} {rng.choice(WORDS)}"


def _likeliest(before: int, cooling: float) -> dict[str, float]:
    return {piece: logprob(before, token) / cooling for token, piece in tokenise(" ".join(WORDS[:5]))}
