"""A method played against a rule that answers, and replies of a well-behaved model to any request."""

import json
from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

from gainloop.asking.conversation import Conversation
from gainloop.methods.method import Method
from gainloop.solutions.verifying import give_verdict
from schemas.rows import VERIFY, Anchor, Answer, Outcome, Reply, Request, content_hash

T = TypeVar("T")

ANCHOR = Anchor("The mill by the river grinds rye.", "Mill")
OTHER = Anchor("The lighthouse keeper counts ships.", "Lighthouse")


def make_reply(request: Request, number: int, text: str = "", finish_reason: Any = "stop") -> Reply:
    return Reply(f"q{number}", request.prompt_id, text, (1, 0), (-1.0, -0.5), finish_reason, 9, 2, 0.1, "list")


def say(request: Request, number: int) -> Answer:
    """Answer as a model that does what it is asked: its own text, or what the schema allows at its fullest."""
    text = obey(request, number) if request.json_schema else in_form(request, f"\nText {number}. ")
    return make_reply(request, number, text)


def in_form(request: Request, text: str) -> str:
    """Return a text in the parts that a request wishes, if it wishes any."""
    return f"THOUGHT\nOf it.\nSOLUTION\n{text}" if "the word SOLUTION alone" in prompt(request) else text


def say_no(request: Request, number: int) -> Answer:
    """Do the same, but choose the first of every choice: the lowest score, the verdict that refuses."""
    return make_reply(request, number, obey(request, number, 0)) if request.json_schema else say(request, number)


def obey(request: Request, number: int, choice: int = -1) -> str:
    """Return a reply that the request's schema allows, with words of its own for every number."""
    assert request.json_schema
    return json.dumps(_fill(json.loads(request.json_schema), f"thing {number}", choice))


def _fill(schema: dict[str, Any], name: str, choice: int) -> Any:
    """Return a value of a schema: lists as long as they may be, and of every choice the same."""
    if "anyOf" in schema:
        return _fill(schema["anyOf"][choice], name, choice)
    if "enum" in schema:
        return schema["enum"][choice]
    match schema["type"]:
        case "object":
            return {key: _fill(field, f"{name} {key}", choice) for key, field in schema["properties"].items()}
        case "array":
            return [_fill(schema["items"], f"{name} {n}", choice) for n in range(schema["maxItems"])]
        case "boolean":
            return True
        case "string" if schema.get("minLength", 0) > 1:  # a text of some length, of which no two are alike
            return " ".join(content_hash(name, number)[:6] for number in range(6))
        case "string":
            return name
    raise AssertionError(f"no value for {schema}")


def play(method: Method, anchor: Anchor = ANCHOR, answer: Any = say, seed: int = 0) -> tuple[list[Request], Outcome]:
    """Run a method against a rule that answers (request, its number); return what it asked and what came of it."""
    rounds, outcome = play_rounds(method, anchor, answer, seed)
    return [request for requests in rounds for request in requests], outcome


def play_rounds(
    method: Method, anchor: Anchor = ANCHOR, answer: Any = say, seed: int = 0
) -> tuple[list[list[Request]], Outcome]:
    """Do the same; return what it asked round by round."""
    return hold(method.rounds(anchor, Random(f"{seed}/{anchor.anchor_id}")), answer)


def hold(rounds: Conversation[T], answer: Any = say) -> tuple[list[list[Request]], T]:
    """Hold any conversation by a rule that answers; return what it asked round by round, and what it came to.

    Verdicts are those of the verifier, and no round of what is asked.
    """
    asked: list[list[Request]] = []
    try:
        requests = next(rounds)
        while True:
            if requests and all(request.role == VERIFY for request in requests):
                requests = rounds.send([make_reply(one, 0, give_verdict(one)) for one in requests])
                continue
            first = sum(map(len, asked))
            asked.append(requests)
            requests = rounds.send([answer(request, first + n) for n, request in enumerate(requests)])
    except StopIteration as end:
        return asked, end.value


def prompt(request: Request) -> str:
    return request.prompt if isinstance(request.prompt, str) else request.prompt[-1].content


def shown(text: str, title: str = "", draft: str = "") -> str:
    """Return how a prompt begins that holds a document, and a draft of it if there is one."""
    document = f"<document>\n{title}\n\n{text}\n</document>\n\n" if title else f"<document>\n{text}\n</document>\n\n"
    return document + (f"<draft>\n{draft}\n</draft>\n\n" if draft else "")


def system_of(request: Request) -> str:
    assert isinstance(request.prompt, tuple)
    assert [turn.role for turn in request.prompt].count("system") == 1
    assert request.prompt[0].role == "system"
    return request.prompt[0].content


def shared_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    return next((first[:n] for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), first)
