"""Who answers: one protocol, and behind it servers that speak the OpenAI protocol, or a model in this process."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from schemas.errors import ServerError
from schemas.recipe import Sampling
from schemas.rows import Prompt, Reply, Request


class TryAgain(Exception):
    """The same request may succeed later or elsewhere.

    Args:
        reason: Short key that drops are counted by when no attempt is left.
        after_seconds: Seconds that the server asked to wait, or 0.
        said: The server's own words, or what is wrong with its answer; for messages.
    """

    def __init__(self, reason: str, after_seconds: float = 0, said: str = "") -> None:
        super().__init__(reason)
        self.reason, self.after_seconds, self.said = reason, after_seconds, said


class Refused(Exception):
    """No reply will come to this request.

    Args:
        reason: Key of the drop.
        said: The server's own words where it gave no reply for a reason of its own, which may be no fault of this
            request; empty where the request alone is at fault.
    """

    def __init__(self, reason: str, said: str = "") -> None:
        super().__init__(reason)
        self.reason, self.said = reason, said


class CannotScore(Refused):
    """It answers requests, and scores no text."""


class Unreachable(ServerError):
    """A server is down, overloaded or failing: it may be back later, without anybody mending a setting."""


class Denied(ServerError):
    """A server refuses key, budget or path: it answers nothing any more, or not this one request.

    Args:
        message: Sentence for a person.
        is_missing: Whether the path is not there, or takes no request.
    """

    def __init__(self, message: str, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing


class Score(NamedTuple):
    """log q(text | prompt) in nats: minus infinity if sampling could not have drawn it, NaN if the two do not fit.

    The ends differ where a server tells only the likeliest tokens and sampling is not at temperature 1 and top_p 1.
    """

    low: float
    high: float


UNFIT = Score(float("nan"), float("nan"))
"""No score: prompt and text together are longer than the model's context."""


class Generator(Protocol):
    """A language model that answers requests and scores texts, log-probabilities in nats: one server, or one engine.

    Attributes:
        name: Name in messages: a server's url.
        model: Name of the model in recipes.
        revision: Revision of the model; part of every request's id.
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

    async def score(self, prompts: Sequence[Prompt], token_ids: tuple[int, ...], sampling: Sampling) -> list[Score]:
        """Return how likely sampling is to draw one text after each of some prompts.

        The tokens are those that were drawn once, end token included; a text is never tokenised anew. No prefix
        cache is read: its numbers are rounded otherwise.

        Raises:
            TryAgain, ServerError: As for ``complete``.
            CannotScore: It scores no text at all.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
