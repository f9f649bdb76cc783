"""Conversations with a generator, as generators of requests: one question, and several conversations side by side."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from gainloop.asking.structured import holds_placeholder, is_placeholder, is_text
from schemas.marks import THOUGHTS, held_marks
from schemas.rows import Anchor, Answer, Drop, Message, Reply, Request, content_hash

T = TypeVar("T")

Conversation = Generator[list[Request], list[Answer], T]
"""A generator that yields requests, is sent their answers in the same order, and returns its result."""

ALONE = (
    "Its readers have never seen the text above: name people, places, things and dates wherever they come up, and "
    "refer to nothing outside. Answer with the finished text only, without a word about it or about this request."
)

ORDER_CHARS = 40
"""Characters from which on a wish that a reply holds is said again, and not by chance."""


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """The value that was read from a reply, and the id of that reply."""

    value: T
    request_id: str


def ask(anchor: Anchor, request: Request, read: Callable[[str], T | None]) -> Conversation[Read[T] | Drop]:
    """Send one request; return the value of its reply, or a drop if the reply cannot be used.

    Args:
        read: Function from the reply's text to a value, or to None, which drops the reply as ``malformed``, or as
            ``placeholder`` if it gives the prompt's example back.
    """
    (answer,) = yield [request]
    if drop := reason_to_drop(anchor, request, answer):
        return drop
    assert isinstance(answer, Reply)
    value = read(answer.text)
    if value is None:
        reason = "placeholder" if holds_placeholder(answer.text) else "malformed"
        return Drop(anchor.anchor_id, request.facet, reason, answer.request_id)
    return Read(value, answer.request_id)


def reason_to_drop(anchor: Anchor, request: Request, answer: Answer) -> Drop | None:
    """Return the drop of an answer that never came, thinks aloud, was cut off at the token limit, is empty, or repeats
    its request; None for any other."""
    if isinstance(answer, Drop):
        return answer
    reason = _fault(anchor, request, answer)
    return Drop(anchor.anchor_id, request.facet, reason, answer.request_id) if reason else None


def _fault(anchor: Anchor, request: Request, reply: Reply) -> str:
    # First of all: a model that thinks until it is cut off needs another setting, not more tokens.
    if any(held_marks(THOUGHTS, reply.text, f"{anchor.title} {anchor.text}")):
        return "chain_of_thought"
    if reply.finish_reason == "length":
        return "cut_off"
    if not is_text(reply.text):
        return "empty"
    if is_placeholder(reply.text.strip()):
        return "placeholder"
    return "echo" if _echoes(request, reply.text) else ""


def side_by_side(conversations: Sequence[Conversation[T]]) -> Conversation[list[T]]:
    """Run several conversations at once, round by round; return their results in order."""
    results: dict[int, T] = {}
    waiting: dict[int, list[Request]] = {}

    def step(number: int, answers: list[Answer] | None) -> None:
        talk = conversations[number]
        try:
            waiting[number] = next(talk) if answers is None else talk.send(answers)
        except StopIteration as end:
            results[number] = end.value

    for number in range(len(conversations)):
        step(number, None)
    while waiting:
        sent, waiting = waiting, {}
        answers = iter((yield [request for requests in sent.values() for request in requests]))
        for number, requests in sent.items():
            step(number, [next(answers) for _ in requests])
    return [results[number] for number in range(len(conversations))]


def after(text: str, wish: str, title: str = "") -> tuple[Message, ...]:
    """Return a prompt of a text and an instruction; the text comes first, so that servers cache it."""
    return (Message("user", "\n\n".join(part for part in (title, text, wish) if part)),)


def beside(anchor: Anchor, text: str, wish: str) -> tuple[Message, ...]:
    """Return a prompt of an anchor, a text about it below a line, and an instruction for the two."""
    return after(f"{anchor.text}\n\n---\n\n{text}", wish, anchor.title)


def own_draw(anchor: Anchor, number: int) -> int:
    """Return the draw of a request that does not hold the document: another anchor may ask the same, for itself."""
    return int(content_hash("draw", anchor.anchor_id, number)[:8], 16)


def _echoes(request: Request, text: str) -> bool:
    """Tell whether a reply says again what it was asked: all of a raw prompt, the instruction of a chat (its last
    paragraph), or the system message; or is one of the replies that the prompt shows."""
    if isinstance(request.prompt, str):
        return request.prompt in text
    said = _one_line(text)
    orders = [request.prompt[-1].content.rpartition("\n\n")[2]]
    orders += [message.content for message in request.prompt if message.role == "system"]
    shown = [message.content for message in request.prompt if message.role == "assistant"]
    if any(len(order) >= ORDER_CHARS and order in said for order in map(_one_line, orders)):
        return True
    return said in map(_one_line, shown) or bool(
        request.json_schema and said.replace(" ", "") in "".join(orders[0].split())
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
