"""The stub's answers, whole, as the bytes of HTTP responses: what vLLM sends, log-probabilities and all."""

import json
from itertools import accumulate
from random import Random
from typing import Any

KINDS = CHAT, COMPLETION = b"POST /v1/chat/completions", b"POST /v1/completions"
PROMPT_TOKENS = 100
"""What every reply says its prompt had."""

END, ONE_TOKEN = (2, "</s>"), (10, " a")
WORDS = [
    *("a", "mill", "by", "the", "river", "grinds", "rye", "for", "seven", "towns", "and", "their", "bakers", "every"),
    *("long", "winter", "when", "ice", "holds", "back", "water", "men", "cut", "wood", "carry", "grain", "mend"),
    *("roofs", "tell", "old", "tales", "of", "flood", "fire", "war", "drink", "beer", "watch", "sky", "wait", "until"),
    *("spring", "opens", "gates", "again", "so", "wheels", "turn", "boats", "come", "up", "with", "salt", "iron"),
]


def write_tokens(num_tokens: int, variant: int) -> list[tuple[int, str]]:
    """Return the ids and texts of a reply's tokens, the end token last."""
    places = Random(variant).choices(range(len(WORDS)), k=num_tokens - 1)  # noqa: S311
    return [*((10 + place, f" {WORDS[place]}") for place in places), END]


def reply_bytes(kind: bytes, tokens: list[tuple[int, str]], with_logprobs: bool, model: str = "stub") -> bytes:
    """Return a whole answer. One token alone comes with the five likeliest, the same at every temperature."""
    ids, pieces = [token for token, _ in tokens], [piece for _, piece in tokens]
    text = "".join(pieces[:-1] if tokens[-1] == END else pieces)
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop" if tokens[-1] == END else "length", "token_ids": ids}
    choice |= {"message": {"role": "assistant", "content": text}} if kind == CHAT else {"text": text}
    choice["logprobs"] = (_chat_logprobs if kind == CHAT else _logprobs)(pieces) if with_logprobs else None
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": len(ids), "total_tokens": PROMPT_TOKENS + len(ids)}
    return http_response("200 OK", {"id": "stub", "created": 0, "model": model, "choices": [choice], "usage": usage})


def _logprobs(pieces: list[str]) -> dict[str, Any]:
    rng = Random("".join(pieces))  # noqa: S311
    sampled = [-3 * rng.random() ** 2 for _ in pieces]  # with all the digits that vLLM sends
    likeliest = [{piece: value} for piece, value in zip(pieces, sampled, strict=True)]
    if len(pieces) == 1:
        likeliest[0] |= {f" {word}": sampled[0] - 1 - n for n, word in enumerate(WORDS[1:5])}
    offsets = [0, *accumulate(len(piece) for piece in pieces[:-1])]
    return {"text_offset": offsets, "token_logprobs": sampled, "tokens": pieces, "top_logprobs": likeliest}


def _chat_logprobs(pieces: list[str]) -> dict[str, Any]:
    told = _logprobs(pieces)

    def entry(piece: str, value: float) -> dict[str, Any]:
        return {"token": piece, "logprob": value, "bytes": list(piece.encode())}

    content = [entry(*each) | {"top_logprobs": []} for each in zip(pieces, told["token_logprobs"], strict=True)]
    if len(pieces) == 1:
        content[0]["top_logprobs"] = [entry(*each) for each in told["top_logprobs"][0].items()]
    return {"content": content}


def spoil(fault: str, kind: bytes, reply: bytes, num_tokens: int) -> bytes | None:
    """Return what is sent in place of a reply: none cuts the connection, None is never sent."""
    match fault:
        case "error":
            return error_response("500 Internal Server Error")
        case "malformed":
            body = reply.partition(b"\r\n\r\n")[2]
            return http_response("200 OK", body[: len(body) // 2])
        case "empty":
            return reply_bytes(kind, [END], b'"logprobs":null' not in reply)
        case "cut":  # the text that a longer reply would begin with
            return reply_bytes(kind, write_tokens(num_tokens + 1, 0)[:-1], b'"logprobs":null' not in reply)
    return b"" if fault == "reset" else None


def metric_line(name: str, num_requests: int) -> str:
    """Return a counter of the prefix cache, in tokens, as vLLM names it."""
    return f'vllm:prefix_cache_{name}_total{{engine="0",model_name="stub"}} {num_requests * PROMPT_TOKENS:.1f}\n'


def error_response(status: str, headers: str = "") -> bytes:
    return http_response(status, {"error": {"message": status[4:], "code": int(status[:3])}}, headers)


def http_response(status: str, content: Any, headers: str = "") -> bytes:
    """Return head and body; content that is no bytes is sent as JSON, as compact as vLLM's."""
    body = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
    headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status}\r\n{headers}\r\n".encode() + body
