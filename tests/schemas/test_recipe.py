from typing import Any

import pytest
from pydantic import ValidationError

from schemas.curation import Curation
from schemas.plan import Mixture, NewModel, Optimiser, TrainingPlan
from schemas.recipe import Player, Recipe, Sampling
from schemas.rows import content_hash

RECIPE = Recipe(method={"kind": "rephrase", "styles": ["easy"]}, snapshot_id="s", model="m", revision="1")


def test_the_same_recipe_is_the_same_batch_on_every_machine() -> None:
    shuffled = Recipe(revision="1", model="m", snapshot_id="s", method={"styles": ["easy"], "kind": "rephrase"})

    assert RECIPE.batch_id == shuffled.batch_id == "cdd7933156d38fb5"
    assert Recipe.model_validate_json(RECIPE.model_dump_json()).batch_id == RECIPE.batch_id


@pytest.mark.parametrize(
    "change",
    [
        {"method": {"kind": "rephrase", "styles": ["hard"]}},
        {"snapshot_id": "t"},
        {"model": "n"},
        {"revision": "2"},
        {"sampling": Sampling(temperature=0.7)},
        {"sampling": Sampling(top_p=0.9)},
        {"sampling": Sampling(max_tokens=10)},
        {"seed": 1},
        {"max_anchors": 10},
        {"critic": {"max_turns": 1}},
        {"filters": ({"kind": "judge"},)},
        {"budget_tokens": 1_000},
        {"aim_id": "a"},
        {"players": {"judge": Player(model="n")}},
    ],
)
def test_whatever_changes_a_record_changes_the_batch(change: dict[str, Any]) -> None:
    assert RECIPE.model_copy(update=change).batch_id != RECIPE.batch_id


def test_every_field_of_a_recipe_is_one_that_changes_a_record() -> None:
    assert Recipe.model_fields.keys() == {
        *(
            "method",
            "critic",
            "filters",
            "snapshot_id",
            "model",
            "revision",
            "sampling",
            "seed",
            "max_anchors",
            "since",
        ),
        *("since", "budget_tokens", "aim_id", "players"),
    }


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Sampling, {"temperature": -0.1}),
        (Sampling, {"top_p": 0}),
        (Sampling, {"max_tokens": 0}),
        (Sampling, {"temprature": 1}),
        (Optimiser, {"learning_rate": 0}),
        (Optimiser, {"warmup_fraction": 1}),
        (NewModel, {"hidden_size": 100}),
        (NewModel, {"vocabulary": 100}),
        (TrainingPlan, {"budget_tokens": 10}),
    ],
)
def test_what_is_out_of_range_or_misspelt_is_refused(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind(**values)


def test_the_parts_of_a_mixture_add_up_to_one() -> None:
    assert Mixture(synthetic=0.3, anchors=0.7).synthetic == 0.3
    with pytest.raises(
        ValidationError, match=r"mixture adds up to 0.9; synthetic, anchors and replay together must add up to 1"
    ):
        Mixture(synthetic=0.4, anchors=0.5)


def test_parameters_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Sampling().temperature = 0.5  # type: ignore[misc]


def test_a_recipe_without_critic_and_filters_keeps_the_id_it_had_before_there_were_any() -> None:
    recipe = Recipe(method={"kind": "rephrase"}, snapshot_id="s", model="m")
    judged = recipe.model_copy(update={"filters": ({"kind": "judge", "least": 3},)})

    before = recipe.model_dump(
        mode="json", exclude={"filters", "critic", "since", "budget_tokens", "aim_id", "players"}
    )
    assert recipe.batch_id == content_hash("batch", before)
    assert judged.batch_id != recipe.batch_id


def test_near_duplicates_are_similar_by_half_at_least_or_not_asked_about() -> None:
    assert Curation(near_duplicates=0).near_duplicates == 0
    with pytest.raises(ValidationError, match=r"near_duplicates is 0.3; it must be from 0.5 to 1, or 0 for none"):
        Curation(near_duplicates=0.3)
