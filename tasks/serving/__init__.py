"""Who answers: one protocol, and behind it servers that speak the OpenAI protocol, or a model in this process."""

from typing import Protocol

from schemas.errors import ServerError
from schemas.recipe import Sampling
from schemas.rows import Reply, Request


class TryAgain(Exception):
    """The same request may succeed later or elsewhere.

    Args:
        reason: A short key that drops are counted by when no attempt is left.
        after_seconds: How long the server asked to wait; 0 if it did not say.
    """

    def __init__(self, reason: str, after_seconds: float = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_seconds = after_seconds


class Refused(Exception):
    """No reply will come to this request. ``reason`` is the drop's key."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreachable(ServerError):
    """A server is down, overloaded or failing: it may be back later, without anybody mending a setting."""


class Generator(Protocol):
    """A language model that answers requests and scores texts, log-probabilities in nats: one server, or one engine.

    Attributes:
        name: What to call it in messages: a server's url.
        model: The name that recipes give it.
        revision: What tells two models of one name apart; part of every request's id.
        logprob_semantics: "processed" if log-probabilities are of the distribution that was
            sampled, "raw" if of the model's own, "unknown" otherwise. The two agree at temperature 1, top_p 1.
    """

    name: str
    model: str
    revision: str
    logprob_semantics: str

    async def check(self) -> None:
        """Find out, before the first request, whether it is up, has the model and gives log-probabilities.

        Raises:
            Unreachable: It is down or failing.
            ServerError: It has another model, or no log-probabilities.
        """

    async def is_up(self) -> bool:
        """Tell, at little cost, whether it is there to answer at all."""
        ...

    async def complete(self, request_id: str, request: Request, sampling: Sampling) -> Reply:
        """Answer one request. The draw is seeded by the request's id, so asking twice gives the same reply.

        Raises:
            TryAgain: A passing fault: overload, a lost connection, a malformed body.
            Refused: The request cannot be answered.
            ServerError: No request can be answered here.
        """
        ...

    async def score(self, prompt: str, text: str) -> tuple[float, ...]:
        """Return the log-probability of every token of ``text`` when it follows ``prompt``.

        Raises:
            TryAgain, Refused, ServerError: As for ``complete``.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
