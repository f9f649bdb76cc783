"""Replies of models that do not do what they are asked: 200 ways, the same on every run."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from schemas.rows import Request
from tests.methods.playing import obey, prompt

NUMBER = 200
WRONG: tuple[Any, ...] = (7, -1.5, True, None, [], {}, [[]], {"text": "x"}, "", [None, 3], 10**400)
TALK = (
    "Sure! Here is what you asked for:",
    "I'm sorry, but I can't help with that.",
    "Voici la liste des entit\u00e9s du texte ci-dessus.",
    "\u4ee5\u4e0b\u662f\u4e0a\u6587\u4e2d\u7684\u5b9e\u4f53\u5217\u8868\u3002",
    "\u0648\u0627\u0644\u0646\u0635 \u0641\u064a\u0645\u0627 \u064a\u0644\u064a",
    "<think>The user wants JSON.</think>",
    "```",
    "{",
    "\x00\x1b[31m\x07",
    "N/A",
)


def broken(request: Request, number: int, variant: int) -> str:
    """Return a reply in which nothing that was asked for can be read; of a free text, one that no one should keep."""
    rng = Random(variant)
    good = obey(request, number) if request.json_schema else prompt(request)
    return list(_ways(good, prompt(request), rng))[variant % 8]


def _ways(good: str, asked: str, rng: Random) -> Iterator[str]:
    talk = rng.choice(TALK)
    yield good[: rng.randrange(1, len(good))] if good.startswith("{") else asked
    yield f"{talk}\n{good}\nI hope that this helps!"
    yield f"{talk}\n```json\n{good}\n```\n{rng.choice(TALK)}"
    yield asked
    yield f"{asked}\n\n{good}"
    yield json.dumps(rng.choice(WRONG)) if good.startswith("{") else asked
    yield json.dumps([good]) if good.startswith("{") else asked
    yield "[" * rng.choice((1, 50, 100_000)) if good.startswith("{") else asked


def spoiled(request: Request, number: int, variant: int) -> str:
    """Return a reply in the asked shape with a field, or the members of a list, that are not as they ought to be."""
    rng = Random(variant)
    if not request.json_schema:
        return f"Text {number}."
    found = json.loads(obey(request, number))
    field = rng.choice(sorted(found))
    listed = found[field] if isinstance(found[field], list) else [found[field]]
    found[field] = rng.choice(
        [
            rng.choice(WRONG),
            [f"thing {n}" for n in range(10_000)],
            [listed, listed],
            [*listed, rng.choice(WRONG), "\x00\x1b[2J \ud800"],
            ["```\n" + "x" * 50_000],
            {"0": listed},
            f"{listed}\u202e\x00",
            "\u5b9e\u4f53",
            [*listed[:1] * 50],
            prompt(request),
        ]
    )
    return json.dumps(found)
