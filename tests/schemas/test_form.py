"""What a form keeps shut, and that a part left shut is what it would be if nobody had said anything."""

from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter

from flows.cycle import cycle
from flows.train import train
from gainloop.methods import SmallMaking
from gainloop.methods.sbp import SBP
from schemas.form import TAB, default_of
from schemas.options import Parameter
from schemas.plan import AnyPlan, AnyStart, NewModel, TrainingPlan


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return parameter_schema(cycle).model_dump()


def test_every_part_of_the_cycles_form_is_shut_and_takes_a_line(schema: dict[str, Any]) -> None:
    parts = {name: one for name, one in schema["properties"].items() if "anyOf" in one or "$ref" in one}
    assert len(parts) == 11
    for name, one in parts.items():
        assert one["default"] is None, name
        assert any(tab.get("type") == "null" for tab in one["anyOf"]), name


def test_parts_within_parts_are_shut_too(schema: dict[str, Any]) -> None:
    found = 0
    for made in schema["definitions"].values():
        for name, one in made.get("properties", {}).items():
            assert "$ref" not in one or "default" not in one, name  # it would open what is in it
            if one.get("anyOf", [None])[0] == TAB:
                assert (one["default"], bool(one["title"])) == (None, True)
                found += 1
    assert found >= 7


def test_a_part_left_shut_has_the_default_of_its_field_and_not_of_its_class() -> None:
    given = {"method": {"kind": "sbp", "optimiser": None}, "sampling": None, "critic": None}
    made = TypeAdapter(SmallMaking).validate_python(given)
    assert made == SmallMaking()
    assert made.method == SBP()
    assert SBP().optimiser.learning_rate == 1e-3  # other than that of an optimiser by itself


def test_a_flow_that_is_given_none_for_its_parts_runs_with_their_defaults() -> None:
    made = cycle.validate_parameters(dict.fromkeys(("source", "text", "start", "plan"), None))
    assert (made["text"], made["start"], made["plan"]) == (SmallMaking(), NewModel(), TrainingPlan())


def test_a_preset_stands_for_its_parameters() -> None:
    small = TypeAdapter(AnyPlan).validate_python("small")
    assert (small.seeds, small.optimiser.learning_rate) == (1, 1e-3)
    tabs = parameter_schema(train).model_dump()["properties"]["plan"]["anyOf"]
    assert [tab["title"] for tab in tabs] == ["Default", "Small", "Custom"]


def test_the_command_line_knows_the_default_of_a_shut_part() -> None:
    assert default_of(AnyStart, None) is None  # not folded: none is none
    assert Parameter("plan", AnyPlan, None).default == TrainingPlan()
