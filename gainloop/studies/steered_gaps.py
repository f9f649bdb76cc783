"""Prompts over entities of which half are known already: even, or by what the trainee still lacks.

What is trained on is text alone, as EntiGraph does (Yang et al. 2024, arXiv:2409.07431), beside a replay of what the
start has read: with documents beside it, most of what there is to learn is learnt from them.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Final

import numpy as np
from transformers import PreTrainedModel

from gainloop.steering.gaps import Gap, find_gaps, weigh
from gainloop.studies.generator import Plan, make_distribution
from gainloop.studies.steered_ground import Ground, cost_of, fill
from gainloop.studies.trainee import Schedule, continue_on, tell_generic
from gainloop.studies.world import Words, list_words
from gainloop.studies.world_runs import NUM_SENTENCES, PROBE_SEED, RATE, STEP_TOKENS
from schemas.steered import SteeredRun, SteeredWay

PLAN: Final = Plan("rephrase", wordings=6)
"""The one recipe, a good one."""

ROUNDS: Final = 3
ROUND_PART: Final = 12
"""A round has a batch's words by this: a text of four sentences for one entity in four."""

LONGER: Final = 2
"""Times the updates of a training on one batch: here text has only a third of them, beside two parts of replay."""

NUM_GENERIC_TEXTS: Final = 600
"""Texts about generic entities, in all wordings, that are read on: without them a model forgets how to answer."""

KNOWN, NEW = "known before", "new to it"

GOLDEN: Final = (5**0.5 - 1) / 2


def with_replay(ground: Ground) -> Ground:
    """Return the ground with what its start is to have read: of half of the entities, and of generic ones.

    The start itself is as it was: ``know_half`` trains it.
    """
    known, rng = half_of(ground, "known"), Random(f"{ground.seed}/generic")  # noqa: S311
    shares = {name: float(name in known) for name in names_of(ground)}
    generic = tuple(tell_generic(ground.world, rng) for _ in range(NUM_GENERIC_TEXTS))
    read = write(ground, shares, ground.words, ROUNDS)[0]
    return replace(ground, replay=(tuple(read), generic), reads_anchors=False)


def know_half(ground: Ground) -> PreTrainedModel:
    """Return the start after a training on its replay's first part: of half of the entities it knows most facts."""
    model = copy.deepcopy(ground.start)
    rows = [ground.vocabulary.row(text) for text in ground.replay[0]]
    continue_on(model, [rows], Schedule(ground.updates, STEP_TOKENS, RATE), PROBE_SEED)
    return model


def direct(ground: Ground, way: SteeredWay) -> SteeredRun:
    """Return what all rounds' words came to with prompts even over the entities, or by their gaps.

    Args:
        ground: One whose start knows half of the entities.
    """
    known, names = half_of(ground, "known"), names_of(ground)
    kinds = {name: KNOWN if name in known else NEW for name in names}
    shares = dict.fromkeys(names, 1 / len(names))
    texts: list[Words] = []
    gaps: list[Gap] = []
    had_text: frozenset[str] = frozenset()
    told, words, probe_tokens = [], [], 0
    for number in range(ROUNDS):
        if way == "gap-directed":
            gaps = find_gaps(*measure(ground, texts), names, gaps, had_text)
            probe_tokens += cost_of(LONGER * ground.updates) if texts else 0
            shares = weigh(gaps)
        made, had_text = write(ground, shares, ground.words // ROUND_PART, number)
        texts += made
        told.append({kind: sum(shares[name] for name in names if kinds[name] == kind) for kind in (KNOWN, NEW)})
        words.append(sum(map(len, made)))
    return SteeredRun(
        steering="gaps",
        way=way,
        seed=ground.seed,
        shares=told,
        words=words,
        probe_tokens=probe_tokens,
        kinds=list(kinds.values()),
        before=ground.verdict(ground.start),
        after=ground.examine(texts, LONGER * ground.updates),
    )


def measure(ground: Ground, texts: Sequence[Words]) -> tuple[dict[str, list[bool]], dict[str, float]]:
    """Return what the model that has all text so far knows of the gate's facts.

    Returns:
        Answers, of the half of the entities that there are questions about; and losses of all entities' facts in
        another wording.
    """
    model = ground.train(texts, LONGER * ground.updates, PROBE_SEED) if texts else ground.start
    rights = {" ".join(name): given for name, given in ground.gate(model).items()}
    losses = {" ".join(name): loss for name, loss in ground.losses(model).items()}
    return {name: rights[name] for name in names_of(ground) if name in half_of(ground, "asked")}, losses


def write(ground: Ground, shares: Mapping[str, float], words: int, number: int) -> tuple[list[Words], frozenset[str]]:
    """Return texts of so many words about entities in proportion to their shares, and the entities they are about.

    Entities come in steps of the golden ratio along their shares laid end to end: after any number of texts each has
    had its share, to within a text or two.
    """
    rng = np.random.default_rng([ground.seed, number])
    vocabulary, ends = list_words(ground.world.everybody), np.cumsum(list(shares.values()))
    prompts = [make_distribution(PLAN, (entity,), NUM_SENTENCES, vocabulary) for entity in ground.world.anchors]
    made: list[Words] = []
    asked: list[str] = []
    at = rng.random()
    while sum(map(len, made)) < words:
        at = (at + GOLDEN) % 1
        place = int(np.searchsorted(ends, at * ends[-1], side="right"))
        made.append(prompts[place].draw(rng))
        asked.append(names_of(ground)[place])
    return fill(made, words), frozenset(asked)


def half_of(ground: Ground, name: str) -> set[str]:
    """Return a random half of the entities: those that are known before, or those that there are questions about."""
    return set(Random(f"{ground.seed}/{name}").sample(names_of(ground), len(ground.world.anchors) // 2))  # noqa: S311


def names_of(ground: Ground) -> list[str]:
    """Return the names of the entities."""
    return [" ".join(entity.name) for entity in ground.world.anchors]
