"""Options that take several things, each of one of some kinds: ``--filters judge --filters '{"kind": "novelty"}'``."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, get_args, get_origin

import cyclopts
from pydantic import TypeAdapter

from schemas.choice import by_kind


def as_lists(annotation: Any) -> Any:
    """Return the annotation of a parameter; of one that is a tuple of choices, with the way to read it from words."""
    if get_origin(annotation) is not tuple:
        return annotation
    union, *_ = get_args(get_args(annotation)[0])
    kinds = "|".join(sorted(by_kind(union)))
    return Annotated[
        annotation,
        cyclopts.Parameter(
            converter=read_kinds, n_tokens=1, accepts_keys=False, json_list=False, metavar=f"{kinds} or JSON"
        ),
    ]


def read_kinds(annotation: Any, words: Sequence[cyclopts.Token]) -> Any:
    """Return what the words of an option stand for: each is a kind's name, or JSON of its name and parameters.

    Raises:
        ValidationError: A kind or a parameter is not known, or its value is not allowed.
        ValueError: A word is neither a name nor JSON.
    """
    return TypeAdapter(annotation).validate_python([read_word(word.value) for word in words])


def read_word(word: str) -> Any:
    """Return what one word stands for.

    >>> read_word("judge"), read_word('{"kind": "judge", "least": 4}')
    ({'kind': 'judge'}, {'kind': 'judge', 'least': 4})
    """
    if not word.lstrip().startswith(("{", "[")):
        return {"kind": word}
    try:
        return json.loads(word)
    except json.JSONDecodeError as error:
        raise ValueError(f"{word} is not JSON: {error}") from error
