"""The bounds of Gan & Liu 2024 (arXiv:2410.01720) as functions of what goes into them, slack written out.

S_anchor -> p -> M(p) -> S_gen -> W; and S_anchor -> W', a trainee of the anchors alone. All entropies are in nats.
They describe a batch. None of them predicts what training on it will gain: see docs/measures.md.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.measures.estimate import Floats


def error_bound(tv_generator: float, tv_curation: float, generalisation: float, largest_loss: float = 1.0) -> float:
    """Return the most that a model trained on synthetic text can err on the real distribution (Lemma 3.1).

    Args:
        tv_generator: Total variation between the real distribution and the generator's, in [0, 1].
        tv_curation: Total variation between the generator's and what curation leaves, in [0, 1].
        generalisation: Its generalisation error on the synthetic text.
        largest_loss: C, the bound of the loss.
    """
    return largest_loss * (_share(tv_generator) + _share(tv_curation)) + generalisation


def generalisation_bound(
    information: float, num_samples: int, sigma: float, num_layers: int = 0, contraction: float = 1.0
) -> float:
    """Return the most that a trainee's expected loss can lie above its training loss (Lemmas 4.4 and 4.8).

    Args:
        information: I(S, W) between training text and trainee: of S_gen and W, or of S_anchor and W'.
        num_samples: Texts trained on.
        sigma: The loss is sigma-subgaussian.
        num_layers: Layers L that each lose information.
        contraction: What each of them keeps of it, eta in (0, 1].

    Raises:
        ValueError: Negative information, no sample, or a contraction outside (0, 1].
    """
    if information < 0 or num_samples < 1 or not 0 < contraction <= 1:
        raise ValueError(
            f"bounding generalisation: information {information:g} nats, {num_samples} samples, contraction "
            f"{contraction:g}; at least 0, at least 1 and in (0, 1] are allowed. Pass estimates that are."
        )
    return math.exp(num_layers / 2 * math.log(contraction)) * math.sqrt(2 * sigma**2 * information / num_samples)


def synthetic_information_bound(
    delta_i: float, bottleneck: float, generator_entropy: float, curation: float = 0.0
) -> float:
    """Return the most that a trainee can know of the synthetic text, I(S_gen, W) (Lemma 4.5).

    The bound of Lemma 4.6 is ``generalisation_bound`` of it, and that of Theorem 4.7 ``error_bound`` of that. It is
    never below 0: estimates that would make it so contradict each other.

    Args:
        bottleneck: B_syn = I(e_M, W) + I(e_p, W), what training keeps of the generator's and the prompts' own factors.
        generator_entropy: H(e_M).
        curation: delta, what curation adds.
    """
    return max(0.0, -delta_i + bottleneck + generator_entropy + curation)


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


def _share(total_variation: float) -> float:
    if not 0 <= total_variation <= 1:
        raise ValueError(
            f"bounding an error: total variation {total_variation:g}; a number in [0, 1] is allowed. Pass an estimate "
            "that is."
        )
    return total_variation
