from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from schemas.choice import by_kind, choice, kinds_within
from schemas.recipe import Parameters


class Walk(Parameters):
    """On foot."""

    kind: Literal["walk"] = "walk"
    num_steps: Annotated[int, Field(ge=1)] = 10
    pauses: tuple[int, ...] = ()

    @model_validator(mode="after")
    def check_pauses(self) -> "Walk":
        if len(self.pauses) > self.num_steps:
            raise ValueError("it has more pauses than steps; one pause a step is allowed.")
        return self


class Ride(Parameters):
    kind: Literal["ride"] = "ride"
    line: str


Union = Walk | Ride
Journey = Annotated[Union, Field(discriminator="kind"), choice("journey", by_kind(Union), "journeys/")]


def message(value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Journey).validate_python(value)
    (error,) = caught.value.errors()
    return error["msg"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"kind": "fly"},
            "journey.kind 'fly' not found in journeys/: known are ride, walk. Set journey.kind to one of them.",
        ),
        ({}, "journey {}: it has no kind; known are ride, walk. Set journey.kind to one of them."),
        ("walk", "journey 'walk': it has no kind; known are ride, walk. Set journey.kind to one of them."),
        ({"kind": "ride"}, "journey 'ride': line is not set; it is required. Set it."),
        (
            {"kind": "walk", "steps": 1},
            "journey 'walk': 'steps' is not a parameter; its parameters are kind, num_steps, pauses. Set one of them.",
        ),
        (
            {"kind": "walk", "num_steps": 0},
            "journey 'walk': num_steps is 0; input should be greater than or equal to 1. Change it.",
        ),
        (
            {"kind": "walk", "num_steps": 1, "pauses": [1, 2]},
            "journey 'walk': it has more pauses than steps; one pause a step is allowed. Change its parameters.",
        ),
    ],
)
def test_an_error_says_what_may_be_set(value: Any, expected: str) -> None:
    assert message(value) == expected


def test_every_wrong_parameter_is_named_at_once() -> None:
    found = message({"kind": "walk", "steps": 1, "pauses": ["x"]})

    assert "'steps' is not a parameter" in found
    assert "pauses.0 is 'x'" in found


def test_the_message_is_kept_within_another_model() -> None:
    class Holiday(BaseModel):
        journey: Journey = Walk()

    with pytest.raises(ValidationError, match="known are ride, walk"):
        Holiday.model_validate({"journey": {"kind": "fly"}})


def test_the_union_stays_a_form() -> None:
    schema = TypeAdapter(Journey).json_schema()

    assert schema["discriminator"]["mapping"] == {"walk": "#/$defs/Walk", "ride": "#/$defs/Ride"}
    assert schema["anyOf"] == [{"$ref": "#/$defs/Walk"}, {"$ref": "#/$defs/Ride"}]  # drawn as tabs; oneOf is not
    assert schema["$defs"]["Walk"]["properties"]["num_steps"]["minimum"] == 1


def test_good_values_pass_as_they_are() -> None:
    assert TypeAdapter(Journey).validate_python({"kind": "ride", "line": "U1"}) == Ride(line="U1")
    assert TypeAdapter(Journey).validate_python(Walk()) == Walk()


SHOP = """from abc import abstractmethod
from typing import Literal
from schemas.recipe import Parameters

class Tool(Parameters):
    kind: str

    @abstractmethod
    def use(self) -> str: ...
"""


def tool(kind: str) -> str:
    return f'''from typing import Literal
from {{shop}}.tool import Tool

class {kind.title()}(Tool):
    kind: Literal["{kind}"] = "{kind}"

    def use(self) -> str:
        return "{kind}"
'''


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return what finds the kinds in a folder of the modules that it is given."""
    name = f"shop_{abs(hash(request.node.name))}"
    monkeypatch.syspath_prepend(tmp_path)

    def find(**modules: str) -> dict[str, Any]:
        folder = tmp_path / name
        folder.mkdir()
        for module, text in {"__init__": "", "tool": SHOP, **modules}.items():
            (folder / f"{module}.py").write_text(text.replace("{shop}", name))
        return kinds_within(name, [str(folder)], import_module(f"{name}.tool").Tool, first="saw")

    return find


def test_a_class_is_known_because_it_stands_in_the_folder(shop: Any) -> None:
    found = shop(saw=tool("saw"), a_plane=tool("plane"), hammer=tool("hammer"))

    assert list(found) == ["saw", "hammer", "plane"], "what a form opens with, then by name"
    assert found["plane"]().use() == "plane"


def test_what_kinds_have_in_common_is_no_kind(shop: Any) -> None:
    edged = "from {shop}.tool import Tool\nfrom {shop}.saw import Saw\nclass Edged(Tool):\n    teeth: int = 0"
    assert list(shop(saw=tool("saw"), edged=edged)) == ["saw"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_thing", r"module \w+\.broken cannot be imported, ModuleNotFoundError: No module named 'no_"),
        ("1 / 0", r"module \w+\.broken cannot be imported, ZeroDivisionError: division by zero; every module"),
        (tool("saw"), r"\w+\.broken and \w+\.saw both have the kind 'saw'; a kind is allowed once"),
        (tool("saw").replace(' = "saw"', ""), r"Saw of \w+\.broken has no kind; every class that is used needs one"),
    ],
)
def test_a_module_that_is_not_as_it_must_be_is_told_by_its_name(shop: Any, text: str, message: str) -> None:
    with pytest.raises(ImportError, match=message):
        shop(saw=tool("saw"), broken=text)
