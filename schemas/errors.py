"""The errors a person can mend: bad input, a place that is not there, a server that is down.

Every message follows one form, so that it can be acted on without reading code:
``<what was attempted, with ids>: <what was found>; <what is allowed>. <what to do next>.``
"""

from schemas.masking import mask


class GainloopError(Exception):
    """Something outside the code is wrong; the message says what to do next, and is masked: it leaves the process."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(mask(one) if isinstance(one, str) else one for one in arguments))


class BadInput(GainloopError, ValueError):
    """A parameter, a file or a row is not what it must be."""


class TooFewTokens(BadInput):
    """The token budget of a batch does not pay for its first requests.

    ``lost_tokens`` are those that attempts without a reply may have taken until that was known.
    """

    lost_tokens: int = 0


class NothingNew(BadInput):
    """A corpus has nothing that its accepted batch ``batch_id`` was not made with."""

    def __init__(self, message: str, batch_id: str) -> None:
        super().__init__(message)
        self.batch_id = batch_id


class DaySpent(BadInput):
    """Batches of the last 24 hours took the tokens that a day may take."""


class SourceError(GainloopError, OSError):
    """A source cannot be reached now, or a file of it is damaged."""


class SourceChanged(SourceError):
    """A part of a source is no longer what it was when it was found."""


class StoreError(GainloopError, OSError):
    """The store cannot be opened or written now."""


class OutOfMemory(GainloopError, MemoryError):
    """The machine, or a limit on it, has no more memory to give."""


class ServerError(GainloopError, ConnectionError):
    """A generation server is down, or does not do what a recipe needs."""


class Unusable(ServerError):
    """A model answers, and nothing of what it says can be used by a recipe.

    ``lost_tokens`` as of ``TooFewTokens``.
    """

    lost_tokens: int = 0


class ProcessLost(GainloopError, ChildProcessError):
    """One of the processes of a training ended before its work was done."""


class VerifierError(GainloopError):
    """What tells whether a solution is right does not work here: no verdict of it would mean anything."""


class SuiteFailed(GainloopError):
    """A Great Expectations suite refused a whole table."""


class Held(GainloopError):
    """A veto of the gate holds a batch back from training."""


class LedgerError(GainloopError):
    """Counts that must add up do not: a row was lost without a reason."""


def is_failure(error: BaseException) -> bool:
    """Tell whether an error is a failure, not somebody's wish to end: a panic of a library in Rust is no Exception."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def require_known(kind: str, name: str, known: dict[str, object] | list[str], where: str) -> None:
    """Refuse a name that is not in a registry.

    Raises:
        BadInput: The name is unknown; the message lists the known ones.
    """
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise BadInput(f"{kind} {name!r} not found in {where}: known are {listed}. Set {kind} to one of them.")
