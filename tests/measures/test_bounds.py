"""Worlds of a few anchors, prompts and outputs, where every entropy of the paper is a sum."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from gainloop.measures.estimate import Floats
from tests.measures.known_sources import entropy as entropy_of_rows

NUM_WORLDS = 10_000


@dataclass(frozen=True, slots=True)
class Entropies:
    """What Theorem 4.10 is made of; floats, or arrays over many worlds.

    Attributes:
        anchors: H(S_anchor).
        outputs: H(M(p)).
        synthetic: H(S_gen).
        delta_i: H(M(p)) - I(h(e_p); M(p)).
        anchors_given_outputs: H(S_anchor | M(p)).
        anchors_given_trainee: H(S_anchor | W).
        anchors_given_anchor_trainee: H(S_anchor | W').
        synthetic_given_trainee: H(S_gen | W).
    """

    anchors: Floats
    outputs: Floats
    synthetic: Floats
    delta_i: Floats
    anchors_given_outputs: Floats
    anchors_given_trainee: Floats
    anchors_given_anchor_trainee: Floats
    synthetic_given_trainee: Floats

    @property
    def ggmi(self) -> Floats:
        """I(S_anchor, W') - I(S_gen, W), Definition 4.9: a difference of generalisation gaps, not of test losses.

        A trainee that learns nothing has the largest.
        """
        absorbed = self.synthetic - self.synthetic_given_trainee
        return self.anchors - self.anchors_given_anchor_trainee - absorbed

    @property
    def alpha(self) -> Floats:
        """H(S_anchor | W') / H(S_anchor | W): how much better the anchors' own trainee knows them."""
        with np.errstate(invalid="ignore", divide="ignore"):  # of a trainee that knows the anchors by heart it is none
            return np.asarray(self.anchors_given_anchor_trainee / self.anchors_given_trainee)

    @property
    def delta_h(self) -> Floats:
        """H(S_anchor) - H(S_gen)."""
        return self.anchors - self.synthetic

    @property
    def eps(self) -> Floats:
        """H(S_anchor | W) - H(S_anchor | M(p)): what the trainee lost of the outputs' knowledge of the anchors."""
        return self.anchors_given_trainee - self.anchors_given_outputs

    @property
    def ggmi_bound(self) -> Floats:
        """The right side of Theorem 4.10, with (alpha + 1) H(S_anchor | W) multiplied out."""
        return (
            self.delta_i
            - (self.anchors_given_anchor_trainee + self.anchors_given_trainee)
            + 2 * self.delta_h
            + self.synthetic_given_trainee
            + self.eps
        )

    @property
    def curation_slack(self) -> Floats:
        """H(M(p)) - H(S_gen): below 0 where curation adds what is not in M(p), or drops common outputs."""
        return self.outputs - self.synthetic

    @property
    def prompt_slack(self) -> Floats:
        """I(S_anchor; M(p)) - I(h(e_p); M(p)): below 0 where prompts hold what is not of the anchors."""
        return (self.anchors - self.anchors_given_outputs) - (self.outputs - self.delta_i)

    @property
    def slack(self) -> Floats:
        """The bound less the GGMI: nothing else is in it, so H(S_anchor | W) and alpha cancel."""
        return self.curation_slack + self.prompt_slack

    @property
    def holds(self) -> NDArray[np.bool_]:
        return np.asarray(self.slack >= -1e-12)


def entropy(joint: np.ndarray, *kept: int) -> np.ndarray:
    """Return the entropy of some axes of joint distributions [world, ...], in nats; axes count from 1."""
    summed = joint.sum(axis=tuple(axis for axis in range(1, joint.ndim) if axis not in kept))
    return entropy_of_rows(summed.reshape(len(summed), -1))


def given(joint: np.ndarray, what: int, *known: int) -> np.ndarray:
    return entropy(joint, what, *known) - entropy(joint, *known)


def quantities(
    anchors: np.ndarray,
    prompt: np.ndarray,
    output: np.ndarray,
    curated: np.ndarray,
    w: np.ndarray,
    w_anchors: np.ndarray,
) -> Entropies:
    """Return what Theorem 4.10 is made of, from the tables of S_anchor, p, M(p), S_gen and W each given the last."""
    joint = np.einsum("na,nap,npm,nmg,ngw->napmgw", anchors, prompt, output, curated, w)
    apart = np.einsum("na,naw->naw", anchors, w_anchors)
    return Entropies(
        anchors=entropy(joint, 1),
        outputs=entropy(joint, 3),
        synthetic=entropy(joint, 4),
        delta_i=given(joint, 3, 2),  # h(e_p) is all that the prompt decides
        anchors_given_outputs=given(joint, 1, 3),
        anchors_given_trainee=given(joint, 1, 5),
        anchors_given_anchor_trainee=given(apart, 1, 2),
        synthetic_given_trainee=given(joint, 4, 5),
    )


def random_worlds(rng: np.random.Generator, num_worlds: int) -> Entropies:
    """Return worlds with two to four values of everything, sharp and flat ones; curation has a will of its own."""
    a, p, m, g, w = rng.integers(2, 5, 5)
    sharp = lambda *shape: rng.dirichlet(np.full(shape[-1], rng.choice([0.1, 0.5, 2.0])), shape[:-1])  # noqa: E731
    tables = (sharp(num_worlds, *shape) for shape in ((a,), (a, p), (p, m), (m, g), (g, w), (a, w)))
    return quantities(*tables)


@pytest.fixture(scope="module")
def worlds() -> list[Entropies]:
    rng = np.random.default_rng(0)
    return [random_worlds(rng, NUM_WORLDS // 100) for _ in range(100)]


def test_the_bound_is_the_gain_and_its_slack_and_nothing_else(worlds: list[Entropies]) -> None:
    for world in worlds:
        alpha = np.nan_to_num(world.alpha)  # it is none where the trainee knows the anchors by heart
        printed = (
            world.delta_i
            - (alpha + 1) * world.anchors_given_trainee
            + 2 * world.delta_h
            + world.synthetic_given_trainee
            + world.eps
        )
        is_known = world.anchors_given_trainee > 1e-12
        assert np.abs((printed - world.ggmi_bound)[is_known]).max() < 1e-9
        assert np.abs(world.ggmi_bound - world.ggmi - world.slack).max() < 1e-9


def test_so_what_the_trainee_knows_of_the_anchors_cancels(worlds: list[Entropies]) -> None:
    for world in worlds:
        known = {name: getattr(world, name) for name in Entropies.__slots__}
        other = Entropies(**known | {"anchors_given_trainee": known["anchors_given_trainee"] + 1.0})
        assert np.allclose(other.ggmi_bound, world.ggmi_bound, atol=1e-9)


def test_it_fails_in_many_worlds_and_always_by_the_slack(worlds: list[Entropies]) -> None:
    fails = np.concatenate([world.ggmi > world.ggmi_bound + 1e-9 for world in worlds])
    below = np.concatenate([world.slack < -1e-9 for world in worlds])
    assert (fails == below).all()
    assert 0.1 < fails.mean() < 0.95
    grows = np.concatenate([world.curation_slack < 0 for world in worlds])
    assert 0.2 < grows.mean() < 0.6


def test_a_world_in_which_it_fails_by_one_bit() -> None:
    """The prompt is a coin of its own: the generator repeats it, and no anchor is in what it says.

    Delta I is 0, trainees learn nothing, so GGMI is 0. The bound says it is at most minus one bit.
    """
    coin = np.full((1, 2), 0.5)
    ignored, copied = np.full((1, 2, 2), 0.5), np.eye(2)[None]
    world = quantities(coin, ignored, copied, copied, ignored, ignored)
    assert world.ggmi == pytest.approx(0)
    assert world.ggmi_bound == pytest.approx(-math.log(2))
    assert (world.curation_slack, world.prompt_slack) == (pytest.approx(0), pytest.approx(-math.log(2)))
    assert not world.holds


def test_it_holds_where_the_prompt_is_the_anchor_and_curation_only_forgets() -> None:
    rng = np.random.default_rng(1)
    identity = np.broadcast_to(np.eye(3), (200, 3, 3))
    merged = np.broadcast_to(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), (200, 3, 2))
    output, w, w_anchors = (rng.dirichlet(np.ones(size), (200, rows)) for rows, size in ((3, 3), (2, 3), (3, 3)))
    world = quantities(rng.dirichlet(np.ones(3), 200), identity, output, merged, w, w_anchors)
    assert (world.prompt_slack > -1e-9).all()
    assert (world.curation_slack > -1e-9).all()
    assert (world.ggmi <= world.ggmi_bound + 1e-9).all()


def test_a_trainee_that_learns_nothing_has_the_largest_gain(worlds: list[Entropies]) -> None:
    for world in worlds:
        known = {name: getattr(world, name) for name in Entropies.__slots__}
        lazy = Entropies(**known | {"synthetic_given_trainee": known["synthetic"]})
        assert (lazy.ggmi >= world.ggmi - 1e-12).all()
