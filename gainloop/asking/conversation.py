"""Conversations with a generator, as generators of requests: one question, and several conversations side by side."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from schemas.rows import Anchor, Answer, Drop, Message, Reply, Request, content_hash

T = TypeVar("T")

Conversation = Generator[list[Request], list[Answer], T]
"""A generator that yields requests, is sent their answers in the same order, and returns its result."""

ALONE = (
    "Its readers have never seen the text above: name people, places, things and dates wherever they come up, and "
    "refer to nothing outside. Answer with the finished text only, without a word about it or about this request."
)


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """The value that was read from a reply, and the id of that reply."""

    value: T
    request_id: str


def ask(anchor: Anchor, request: Request, read: Callable[[str], T | None]) -> Conversation[Read[T] | Drop]:
    """Send one request; return the value of its reply, or a drop if the reply cannot be used.

    Args:
        read: Function from the reply's text to a value, or to None, which drops the reply as ``malformed``.
    """
    (answer,) = yield [request]
    if drop := reason_to_drop(anchor, request, answer):
        return drop
    assert isinstance(answer, Reply)
    value = read(answer.text)
    if value is None:
        return Drop(anchor.anchor_id, request.facet, "malformed", answer.request_id)
    return Read(value, answer.request_id)


def reason_to_drop(anchor: Anchor, request: Request, answer: Answer) -> Drop | None:
    """Return the drop of an answer that never came, was cut off at the token limit, is empty, or repeats its request;
    None for any other."""
    if isinstance(answer, Drop):
        return answer
    if answer.finish_reason == "length":
        return Drop(anchor.anchor_id, request.facet, "cut_off", answer.request_id)
    if not answer.text.strip():
        return Drop(anchor.anchor_id, request.facet, "empty", answer.request_id)
    if _echoes(request, answer.text):
        return Drop(anchor.anchor_id, request.facet, "echo", answer.request_id)
    return None


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
    """Tell whether a reply holds its request's instruction (the prompt's last paragraph), or all of a raw prompt."""
    if isinstance(request.prompt, str):
        return request.prompt in text
    wish = request.prompt[-1].content.rpartition("\n\n")[2].strip()
    return len(wish) >= 40 and wish in text
