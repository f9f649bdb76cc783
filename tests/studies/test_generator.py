"""The generator's likelihood is exact, and what it says of information is what estimators find."""

from itertools import product

import numpy as np
import pytest

from gainloop.measures.mutual_information import conditional_entropy, mutual_information
from gainloop.studies.generator import Plan, TextDistribution, log_likelihoods, make_batch, make_distribution, split
from gainloop.studies.world import RELATIONS, Entity, Fact, Words, make_world
from tests.measures.known_sources import entropy, other_prompts

VOCABULARY: Words = (".", "ant", "bee", "cat")
FIRST = {("ant", "."): 0.5, ("bee", "."): 0.2, ("cat", "bee", "."): 0.3}
SECOND = {("bee", "bee", "."): 1.0}


def every_text() -> list[Words]:
    """Return every text of two sentences of one or two words."""
    sentences = [(*words, ".") for length in (1, 2) for words in product(VOCABULARY[1:], repeat=length)]
    return [one + other for one in sentences for other in sentences]


def tiny_distributions(num_prompts: int = 16, noise: float = 0.15) -> list[TextDistribution]:
    """Return distributions whose every text is among ``every_text``."""
    rng = np.random.default_rng(5)
    plain = [("ant", "."), ("bee", "."), ("cat", "."), ("ant", "cat", "."), ("bee", "bee", "."), ("cat", "ant", ".")]
    weights = rng.dirichlet(np.full(len(plain), 0.4), (num_prompts, 2))
    options = [[dict(zip(plain, row.tolist(), strict=True)) for row in pair] for pair in weights]
    return [TextDistribution((first, second), noise, VOCABULARY) for first, second in options]


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_the_likelihoods_of_all_texts_add_up_to_one(noise: float) -> None:
    distribution = TextDistribution((FIRST, SECOND), noise, VOCABULARY)
    assert np.exp([distribution.log_likelihood(text) for text in every_text()]).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_texts_come_as_often_as_their_likelihood_says(noise: float) -> None:
    distribution, rng = TextDistribution((FIRST, SECOND), noise, VOCABULARY), np.random.default_rng(0)
    drawn = [distribution.draw(rng) for _ in range(4000)]
    for text in {("ant", ".", "bee", "bee", "."), ("cat", "bee", ".", "bee", "bee", ".")}:
        assert drawn.count(text) / 4000 == pytest.approx(np.exp(distribution.log_likelihood(text)), abs=0.03)


def test_the_likelihood_of_a_text_is_the_product_over_its_words() -> None:
    distribution, rng = TextDistribution((FIRST, SECOND), 0.3, VOCABULARY), np.random.default_rng(1)
    for text in {distribution.draw(rng) for _ in range(30)}:
        logs = distribution.token_logprobs(text)
        assert len(logs) == len(text) + 1
        assert sum(logs) == pytest.approx(distribution.log_likelihood(text), abs=1e-12)


def test_what_a_prompt_cannot_lead_to_is_impossible() -> None:
    distribution = TextDistribution((FIRST, SECOND), 0.0, VOCABULARY)
    assert distribution.log_likelihood(("ant", ".")) == -np.inf
    assert distribution.log_likelihood(("cat", ".", "bee", "bee", ".")) == -np.inf
    assert distribution.log_likelihood(("ant", ".", "bee", "bee")) == -np.inf


def test_the_estimators_cover_the_exact_information_of_a_tiny_world() -> None:
    distributions, texts, rng = tiny_distributions(), every_text(), np.random.default_rng(7)
    table = np.exp(log_likelihoods(distributions, texts)).T
    delta_i = float(entropy(table).mean())
    shared = float(entropy(table.mean(axis=0))) - delta_i

    asked = np.arange(512) % len(distributions)
    drawn = [distributions[prompt].draw(rng) for prompt in asked]
    scores = log_likelihoods(distributions, drawn)
    own = scores[np.arange(512), asked]
    found = conditional_entropy(-own, asked)
    assert found.low < delta_i < found.high
    others = np.take_along_axis(scores, other_prompts(rng, asked, len(distributions), 7), axis=1)
    information = mutual_information(own, others, len(distributions), asked)
    assert information.low < shared < information.high
    assert information.fpc_bc.value == pytest.approx(shared, rel=0.15)


def test_without_noise_delta_i_is_that_of_the_choices_made() -> None:
    world = make_world(0, 8, 8, 4)
    batch = make_batch(world, Plan("rephrase", wordings=4, hallucination=0.4), 4000, 4, 0)
    of_values = 0.6 * np.log(1 / 0.6) + 0.4 * np.log(7 / 0.4)
    exact = 4 * (np.log(3) + np.log(4) + of_values)  # four sentences: of three facts, four wordings, and a value
    found = conditional_entropy(batch.nll, batch.asked)
    assert found.low < exact < found.high


def test_a_wrong_value_is_as_likely_as_the_plan_says() -> None:
    fact = Fact(("ka", "dan"), RELATIONS["town"][0], "asp", "gate")
    plan = Plan("rephrase", wordings=1, hallucination=0.4)
    distribution = make_distribution(plan, (Entity("town", fact.subject, (fact,)),), 1, (".",))
    (options,) = distribution.sentences
    right = sum(weight for plain, weight in options.items() if "asp" in plain)
    assert right == pytest.approx(0.6)
    assert sum(options.values()) == pytest.approx(1)


def test_sentences_end_at_full_stops() -> None:
    assert split(("a", ".", "b", "c", ".")) == [("a", "."), ("b", "c", ".")]
    assert split(()) == []
