"""A budget of words over recipes, round by round: even, by what probe runs gained, or by Delta I."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from gainloop.measures.estimate import Floats, as_figure, mean_of, ratio_of_sums
from gainloop.steering.budget import Belief, belief_of, split_budget
from gainloop.studies.generator import Batch, Plan, make_batch
from gainloop.studies.steered_ground import PROBE, Ground, cost_of, fill, split_words
from gainloop.studies.world import Words
from gainloop.studies.world_runs import NUM_SENTENCES, PROBE_SEED
from schemas.steered import SteeredRun, SteeredWay

ARMS: Final = {
    "varied": Plan("rephrase", wordings=6),
    "questions": Plan("question", wordings=1),
    "invented": Plan("rephrase", wordings=4, hallucination=0.4),
    "noisy": Plan("relate", wordings=4, noise=0.3),
}
"""The hypothesis, written down before any seed of the verification was run: the first two teach facts; of the third's
values four in ten are false, of the fourth's words three in ten are random. So words go to the first two where gain
decides, and to the last where Delta I does, which cannot tell insight from noise."""

ROUNDS: Final = 4
"""Rounds, with a batch's words in all."""


def spend(ground: Ground, way: SteeredWay) -> SteeredRun:
    """Return what all rounds' words came to under one way of splitting them over the arms."""
    shares: dict[str, float] = dict.fromkeys(ARMS, 1 / len(ARMS))
    beliefs: dict[str, Belief | None] = dict.fromkeys(ARMS)
    reference = probe(ground, []) if way == "by gain" else None
    texts: list[Words] = []
    told, words = [], []
    for number in range(ROUNDS):
        if number and way != "uniform":
            shares = split_budget(beliefs, shares)
        paid = split_words(ground.words // ROUNDS, shares)
        batches = {name: write(ground, name, paid[name], number) for name in ARMS}
        made = {name: fill(batch.texts, paid[name]) for name, batch in batches.items()}
        texts += [text for each in made.values() for text in each]
        told.append(shares)
        words.append(sum(len(text) for each in made.values() for text in each))
        if number < ROUNDS - 1 and way != "uniform":
            for name in ARMS:
                seen = delta_i_of(batches[name]) if reference is None else gain_of(ground, made[name], reference)
                beliefs[name] = _update(beliefs[name], seen)
    num_probes = 0 if reference is None else 1 + len(ARMS) * (ROUNDS - 1)
    return SteeredRun(
        steering="budget",
        way=way,
        seed=ground.seed,
        shares=told,
        words=words,
        probe_tokens=num_probes * cost_of(probe_updates(ground)),
        kinds=["all"] * len(ground.world.anchors),
        before=ground.verdict(ground.start),
        after=ground.examine(texts, ground.updates),
    )


def write(ground: Ground, arm: str, words: int, number: int) -> Batch:
    """Return an arm's batch of a round; with fewer words it is the beginning of the one with more."""
    return make_batch(ground.world, ARMS[arm], words, NUM_SENTENCES, 100 * ground.seed + number)


def gain_of(ground: Ground, texts: Sequence[Words], reference: Floats) -> Belief | None:
    """Return what a probe run on an arm's text of a round says of its gain over anchors alone, for its words."""
    entities = [" ".join(fact.subject) for fact in ground.facts("gate")]
    gain = mean_of(probe(ground, texts) - reference, entities, "share of facts")
    figure = as_figure(gain, "right answers to the gate's questions less the reference's; interval over entities")
    return belief_of(figure, sum(map(len, texts)), ground.words / ROUNDS / len(ARMS))


def probe(ground: Ground, texts: Sequence[Words]) -> Floats:
    """Return which of the gate's questions are answered rightly after a probe run; without texts on anchors alone."""
    model = ground.train(texts, probe_updates(ground), PROBE_SEED)
    return np.array([right for each in ground.gate(model).values() for right in each], dtype=float)


def probe_updates(ground: Ground) -> int:
    """Return the updates of a probe run."""
    return max(1, ground.updates // PROBE)


def delta_i_of(batch: Batch) -> Belief | None:
    """Return what is believed of an arm's Delta I for 1,000 words."""
    nats = ratio_of_sums(batch.nll, [len(text) for text in batch.texts], batch.asked, "nats/word")
    return belief_of(as_figure(nats.mapped(lambda value: 1_000 * value), "exact -log q by words"), 1_000, 1_000)


def _update(before: Belief | None, seen: Belief | None) -> Belief | None:
    return before.after(seen) if before and seen else seen or before
