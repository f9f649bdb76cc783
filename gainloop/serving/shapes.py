"""The shapes of what OpenAI-compatible servers send: the fields that are read, their types, and the range of each.

What has another shape cannot be true: it is a fault, and is never stored. What is not read is skipped.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

Logprob = Annotated[float, Meta(gt=-9999, le=0.01)]
"""vLLM sends minus infinity as -9999: no token that was drawn has it. Rounding lifts the surest a little above 0."""

Likeliness = Annotated[float, Meta(ge=-1e5, le=0.01)]
"""Log-probability of a token that was not drawn: it may be one that cannot be."""

Count = Annotated[float, Meta(ge=0, le=1e9)]
TokenId = Annotated[int, Meta(ge=0, lt=2**31)]
Coordinate = Annotated[float, Meta(ge=-1e9, le=1e9)]
Name = Annotated[str, Meta(max_length=1000)]


class Token(Struct, gc=False):
    logprob: Logprob


class Logprobs(Struct):
    """``token_logprobs`` and ``top_logprobs`` as completions tell them, ``content`` as chat completions do."""

    token_logprobs: list[Logprob] | None = None
    top_logprobs: list[dict[str, Likeliness] | None] | None = None
    content: list[Token] | None = None

    def of_tokens(self) -> tuple[float, ...]:
        return tuple(self.token_logprobs or [token.logprob for token in self.content or ()])


class Part(Struct):
    """A piece of a message: text, or of another type, such as thinking."""

    type: str
    text: str = ""


class Turn(Struct):
    """What the assistant says; thoughts stand apart under one of the names that servers have for them."""

    content: str | list[Part] | None = None
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    thinking: Any = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content if "text" in part.type)
        return self.content or ""

    @property
    def thinks(self) -> bool:
        if isinstance(self.content, list) and any("text" not in part.type for part in self.content):
            return True
        return bool(self.reasoning_content or self.reasoning or self.reasoning_details or self.thinking)

    @property
    def thoughts(self) -> str:
        return str(self.reasoning_content or self.reasoning or self.reasoning_details or self.thinking or "")


class Choice(Struct):
    finish_reason: str | None
    text: str | None = None
    message: Turn | None = None
    logprobs: Logprobs | None = None
    token_ids: list[TokenId] | None = None


class Usage(Struct):
    """Tokens as the server counts them. Some tell none, or not all; some write them as floats."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


class Completion(Struct):
    model: Name
    choices: Annotated[list[Choice], Meta(min_length=1)]
    usage: Usage | None = None


class ScoredChoice(Struct):
    prompt_logprobs: list[dict[int, Token] | None]
    index: int = 0


class Ranked(Struct):
    token: str
    logprob: Likeliness


class RankedToken(Struct):
    top_logprobs: list[Ranked] = []


class RankedLogprobs(Struct):
    content: list[RankedToken] | None = None


class RankedChoice(Struct):
    logprobs: RankedLogprobs | None = None


class RankedCompletion(Struct):
    choices: Annotated[list[RankedChoice], Meta(min_length=1)]


class Scored(Struct):
    choices: Annotated[list[ScoredChoice], Meta(min_length=1)]


class Model(Struct):
    id: Name
    root: Name | None = None


class Models(Struct):
    data: list[Model]


class Tokens(Struct):
    tokens: list[TokenId]


class Embedding(Struct):
    index: int
    embedding: list[Coordinate]


class Embeddings(Struct):
    model: Name
    data: list[Embedding]


# msgspec reads 200 log-probabilities in 60 us and skips what is not asked for; pydantic takes 215 us, json 350.
COMPLETION = msgspec.json.Decoder(Completion)
RANKED = msgspec.json.Decoder(RankedCompletion)
SCORED = msgspec.json.Decoder(Scored)
MODELS = msgspec.json.Decoder(Models)
TOKENS = msgspec.json.Decoder(Tokens)
EMBEDDINGS = msgspec.json.Decoder(Embeddings)
