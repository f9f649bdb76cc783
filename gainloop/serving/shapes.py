"""The shapes of an OpenAI-compatible server's answers, as far as they are read."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from gainloop.serving import TryAgain

Logprob = Annotated[float, Meta(gt=-9999)]
"""vLLM sends minus infinity as -9999: no token that was drawn has it."""


class Token(Struct, gc=False):
    logprob: Logprob


class Logprobs(Struct):
    """``token_logprobs`` and ``top_logprobs`` as completions tell them, ``content`` as chat completions do."""

    token_logprobs: list[Logprob] | None = None
    top_logprobs: list[dict[str, float]] | None = None
    content: list[Token] | None = None

    def of_tokens(self) -> tuple[float, ...]:
        return tuple(self.token_logprobs or [token.logprob for token in self.content or ()])


class Turn(Struct):
    content: str | None = None


class Choice(Struct):
    finish_reason: str | None
    text: str | None = None
    message: Turn | None = None
    logprobs: Logprobs | None = None
    token_ids: list[int] | None = None


class Usage(Struct):
    prompt_tokens: int
    completion_tokens: int = 0


class Completion(Struct):
    model: str
    choices: Annotated[list[Choice], Meta(min_length=1)]
    usage: Usage


class ScoredChoice(Struct):
    prompt_logprobs: list[dict[int, Token] | None]
    index: int = 0


class Scored(Struct):
    choices: Annotated[list[ScoredChoice], Meta(min_length=1)]


class Model(Struct):
    id: str
    root: str | None = None


class Models(Struct):
    data: list[Model]


class Tokens(Struct):
    tokens: list[int]


class Embedding(Struct):
    index: int
    embedding: list[float]


class Embeddings(Struct):
    model: str
    data: list[Embedding]


# msgspec reads 200 log-probabilities in 60 us and skips what is not asked for; pydantic takes 215 us, json 350.
COMPLETION = msgspec.json.Decoder(Completion)
SCORED = msgspec.json.Decoder(Scored)
MODELS = msgspec.json.Decoder(Models)
TOKENS = msgspec.json.Decoder(Tokens)
EMBEDDINGS = msgspec.json.Decoder(Embeddings)

Shape = TypeVar("Shape")


def read(decoder: "msgspec.json.Decoder[Shape]", body: bytes) -> Shape:
    """Return a body in its shape.

    Raises:
        TryAgain: ``malformed``: it has another.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError):  # a body that is not UTF-8 is a ValueError
        raise TryAgain("malformed") from None
