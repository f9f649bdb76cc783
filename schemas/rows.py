"""The rows of a run, from document to record, each with its grain; and the content hashes that are their ids."""

import hashlib
import json
import re
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from schemas.conversation import Turn, fault_of, transcript

FinishReason = Literal["stop", "length"]

_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def content_hash(*parts: Any) -> str:
    """Return 16 hex digits that name a value of JSON types.

    64 bits: among ten million rows, the chance that any two share a name is below 1e-5.

    >>> content_hash("a", {"y": 1, "x": 2}) == content_hash("a", {"x": 2, "y": 1})
    True
    >>> content_hash("ab", "c") == content_hash("a", "bc")
    False
    """
    return hashlib.sha256(_CANONICAL.encode(parts).encode()).hexdigest()[:16]


def unit_draw(*parts: Any) -> float:
    """Return a number in [0, 1) that depends on nothing but the parts.

    >>> 0 <= unit_draw("heldout", "abc") < 1
    True
    """
    return int(content_hash(*parts), 16) / 2**64


@dataclass(frozen=True, slots=True)
class Document:
    """One text as its source gives it, before it is normalised and split."""

    text: str
    title: str
    uri: str
    licence: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """One real text, whole or a piece of a document. One row per distinct text.

    ``anchor_id`` is the hash of the text alone, given only where it is known already: the same text
    is the same anchor wherever it lies. ``missing`` are texts of its document that the trainee does not know, where
    a round of the loop aims at them: no part of the row.
    """

    text: str
    title: str = ""
    uri: str = ""
    licence: str = ""
    revision: str = ""
    anchor_id: str = field(default="", compare=False)
    missing: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not self.anchor_id:
            object.__setattr__(self, "anchor_id", content_hash("anchor", self.text))


_PIECE = re.compile(r";piece=\d+$")


def document_of(uri: str) -> str:
    """Return the document that an anchor is, or is a piece of, by the anchor's uri.

    >>> document_of("guide/pumps.md;piece=3"), document_of("guide/pumps.md")
    ('guide/pumps.md', 'guide/pumps.md')
    """
    return _PIECE.sub("", uri)


def heldout_draw(name: str) -> float:
    """Return the number in [0, 1) of a document or a record that is held out where it lies below the held-out fraction.

    It depends on the name alone: no refresh, order or limit moves it, and a larger fraction only adds.
    """
    return unit_draw("heldout", name)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


Prompt = str | tuple[Message, ...]
"""Chat messages, or the raw text that a base model continues."""


CALL: Final = "call"
"""Role of a request that is a call: its prompt is the JSON of server, name and arguments. It is run once, at most."""

VERIFY: Final = "verify"
"""Role of a request for a verdict: its prompt is the JSON of problem and solution. This machine gives it, once."""


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to send.

    ``facet`` says what the request is for (a style, a pair); it goes into the record, not to the model. ``draw``
    numbers the samples of one prompt. ``role`` says who is asked, where several speak (a user, an agent, a judge):
    the recipe says which model plays it, but for ``CALL``, which is no prompt but the call of a real tool, and
    ``VERIFY``, which asks a program. ``greedy`` asks for the likeliest reply, whatever the recipe's temperature: a
    judge's verdict. ``reply_tokens`` is about how many tokens the reply was asked to have, 0 where its schema alone
    says so: it decides no reply, only whether one fits. ``prompt_id`` is the prompt's hash without the draw: replies
    to one prompt are one cluster.
    """

    prompt: Prompt
    facet: str = ""
    json_schema: str | None = None
    draw: int = 0
    greedy: bool = False
    role: str = ""
    reply_tokens: int = field(default=0, compare=False)
    prompt_id: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        messages = self.prompt if isinstance(self.prompt, str) else [[m.role, m.content] for m in self.prompt]
        object.__setattr__(self, "prompt_id", content_hash("prompt", messages, self.json_schema))


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to one request.

    ``token_logprobs`` are natural logarithms, one per sampled token with the end token last when
    the model ended by itself (``finish_reason == "stop"``); empty if they were not requested.
    ``seconds`` is the latency of the attempt that succeeded, the ``attempt``-th.
    """

    request_id: str
    prompt_id: str
    text: str
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    server: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One synthetic document or conversation, made of one or more replies. One row per text that may be trained on.

    ``turns`` are those of a conversation, and ``text`` is its transcript then; see ``of_turns``.
    """

    anchor_id: str
    method: str
    facet: str
    text: str
    request_ids: tuple[str, ...]
    turns: tuple[Turn, ...] = ()

    @classmethod
    def of_turns(
        cls, anchor_id: str, method: str, facet: str, turns: tuple[Turn, ...], request_ids: tuple[str, ...]
    ) -> "Record":
        """Return the record of a conversation.

        Raises:
            ValueError: The turns are none; see ``fault_of``, by which a method drops what a model made of them.
        """
        if fault := fault_of(turns):
            raise ValueError(f"making a record of {len(turns)} turns: {fault}")
        return cls(anchor_id, method, facet, transcript(turns), request_ids, turns)

    @property
    def record_id(self) -> str:
        return content_hash("record", self.request_ids, self.text)


@dataclass(frozen=True, slots=True)
class Drop:
    """A reply or anchor that gave no record, and why; ``reason`` is a short key that reports count by."""

    anchor_id: str
    facet: str
    reason: str
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All records and drops of one anchor."""

    records: list[Record] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a judge to one question about one text. One row per text and question.

    ``text_id`` is a record's id, or an anchor's where the question is about an anchor. ``verdict`` is one of the
    question's, or ``unreadable``, and then ``reason`` is the short key of why.
    """

    text_id: str
    anchor_id: str
    question: str
    verdict: str
    reason: str
    request_id: str


Answer = Reply | Drop
"""The answer to a request: its reply, or the drop that stands for one that never came."""

Rounds = Generator[list[Request], list[Answer], Outcome]
"""A method at work on one anchor: it yields requests, is sent their answers in order, returns the outcome."""
