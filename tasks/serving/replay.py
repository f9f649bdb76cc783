"""What was asked for: requests are written down nowhere, because a method and its replies give them again."""

from collections.abc import Mapping
from typing import Any

from schemas.recipe import Recipe
from schemas.rows import Anchor, Drop, Message, Prompt, Reply, Request
from tasks.methods.pipeline import read_pipeline
from tasks.serving.driver import name_request


def replay(recipe: Recipe, anchor: Anchor, replies: Mapping[str, Reply]) -> dict[str, Request]:
    """Return the requests of one anchor by their ids.

    Args:
        replies: What came back, by request id; what is missing is replayed as a drop.
    """
    sampling: dict[str, Any] = recipe.sampling.model_dump(mode="json")
    asked: dict[str, Request] = {}
    rounds = read_pipeline(recipe).rounds(anchor, recipe.seed)
    try:
        requests = next(rounds)
        while True:
            keys = [name_request(recipe.model, recipe.revision, one, sampling, recipe.seed) for one in requests]
            named = list(zip(keys, requests, strict=True))
            asked = dict(named) | asked  # a request that recurs was sent as what it was first
            requests = rounds.send(
                [replies.get(key) or Drop(anchor.anchor_id, one.facet, "unanswered", key) for key, one in named]
            )
    except StopIteration:
        return asked


def without_document(prompt: Prompt, anchor: Anchor) -> Prompt | None:
    """Return a prompt that wishes the same of no document; None if the anchor does not stand in it word for word.

    >>> without_document("A mill.<|related|>", Anchor("A mill."))
    '<|related|>'
    >>> without_document("Write of rye.", Anchor("A mill.")) is None
    True
    """
    if isinstance(prompt, str):
        return _left_out(prompt, anchor) if anchor.text in prompt else None
    if not any(anchor.text in message.content for message in prompt):
        return None
    return tuple(Message(message.role, _left_out(message.content, anchor)) for message in prompt)


def _left_out(text: str, anchor: Anchor) -> str:
    text = text.replace(anchor.text, "")
    return text.replace(anchor.title, "").strip() if anchor.title else text
