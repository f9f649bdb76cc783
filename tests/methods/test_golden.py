"""What every method asked and made of the same replies when it was last meant to change.

``python -m tests.methods.test_golden`` writes the files anew: read their difference before it is committed.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gainloop.methods import METHODS, read_method
from gainloop.methods.method import Method
from schemas.rows import Anchor, Answer, Drop, Request
from tests.methods.playing import in_form, make_reply, obey, play

GOLDEN = Path(__file__).parent / "golden"
ANCHOR = Anchor(
    "The mill by the river was built in 1874 for seven towns. It grinds rye in winter and oats in spring, "
    "and its wheel is the widest in the valley.\n\nWhen the river froze in 1881, the miller's daughters turned the "
    "stones by hand for nine days, and no town went without bread. A plaque beside the door names all four of them.",
    "The mill at Ottery",
)


def reply(request: Request, number: int) -> Answer:
    """Answer as asked, but for every seventh reply: cut off, empty, lost, or the same as another."""
    said = f"Of {request.facet}: the mill grinds rye ({number}).\n"
    text = obey(request, number) if request.json_schema else in_form(request, said)
    match number % 28:
        case 6:
            return make_reply(request, number, text, "length")
        case 13:
            return make_reply(request, number, " \n")
        case 20:
            return Drop(ANCHOR.anchor_id, request.facet, "deadline", f"q{number}")
        case 27:
            return make_reply(request, number, "Of all things: rye.")
    return make_reply(request, number, text)


def made(method: Method) -> dict[str, Any]:
    """Return what a method asks and makes, as JSON has it."""
    asked, outcome = play(method, ANCHOR, reply)
    requests = [{"facet": one.facet, "prompt": one.prompt_id, "draw": one.draw, "greedy": one.greedy} for one in asked]
    found = {"method": method.model_dump(mode="json"), "asked": requests, **asdict(outcome)}
    found["records"] = [{key: one[key] for key in one if key != "turns" or one[key]} for one in found["records"]]
    return dict(json.loads(json.dumps(found)))


def golden(kind: str) -> Path:
    return GOLDEN / f"{kind}.json"


@pytest.mark.parametrize("kind", METHODS)
def test_the_same_replies_give_the_same_requests_records_and_drops(kind: str) -> None:
    expected = json.loads(golden(kind).read_text())

    assert made(read_method(expected["method"])) == expected
    assert expected["records"]


def test_every_method_has_a_golden_file_and_none_is_of_a_method_that_is_gone() -> None:
    named = {path.stem for path in GOLDEN.glob("*.json")}
    assert named == set(METHODS), "`python -m tests.methods.test_golden` writes them"


if __name__ == "__main__":
    for kind, method in METHODS.items():
        golden(kind).write_text(json.dumps(made(method()), indent=1, ensure_ascii=False) + "\n")
