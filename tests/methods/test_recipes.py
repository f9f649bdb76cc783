"""Recipes of a loop, by name and from files: what each takes over from how text is made otherwise."""

from gainloop.methods import Making, read_makings
from gainloop.methods.entigraph import EntiGraph
from gainloop.methods.rephrase import Rephrase
from schemas.profile import PROFILES
from schemas.recipe import Sampling

SENTENCES = Making(method=Rephrase(unit="sentence"), sampling=Sampling(max_tokens=96))


def test_a_name_has_the_settings_of_the_method_that_is_given_and_others_their_defaults() -> None:
    found = read_makings(["rephrase", "entigraph"], SENTENCES)
    assert found["rephrase"] == SENTENCES
    assert found["entigraph"] == SENTENCES.model_copy(update={"method": EntiGraph()})


def test_each_recipe_of_the_examples_loop_sets_a_limit_that_fits_its_method() -> None:
    path = str(PROFILES.parent / "examples" / "improve" / "small-model.yaml")
    found = read_makings([path], SENTENCES)
    assert {name: one.sampling.max_tokens for name, one in found.items()} == {"sentences": 96, "passages": 384}
    assert found["passages"].method == Rephrase(prompts="plain", styles=("easy", "hard"))
