"""The predictors, written down before any run: what each is, and what the verdict ought to do where it is higher."""

from typing import Final

from schemas.verification import Predictor

PRIMARY: Final = "probe_gain"
"""The one hypothesis: a probe run's gain on the gate's facts foretells what full trainings gain on others."""

VERDICT: Final = (
    "gain in right answers: the share of the verdict's facts whose right value is the likeliest of eight, asked "
    "closed-book in a wording that no training text has, after a full training on batch and anchors, less that after "
    "as many updates on anchors alone with the same seed; mean over seeds"
)
"""Answers, not nats: a trainee that is unsure of everything saves nats over one that is sure and wrong, so that in nats
text of which every value is wrong helps."""

PREDICTORS: Final = (
    Predictor(
        key="probe_gain",
        name="Probe run's gain",
        meaning="Log-probability of the gate's facts less the reference's, with a quarter of the updates.",
        expected="rises",
    ),
    Predictor(
        key="probe_right",
        name="Probe run's answers",
        meaning="The same run's gain in right answers to the gate's questions, as the verdict counts them.",
        expected="rises",
    ),
    Predictor(
        key="reworded",
        name="Facts in other words",
        meaning="What the probe run saves on the gate's facts, told in a wording that no training text has.",
        expected="rises",
    ),
    Predictor(
        key="heldout_gain",
        name="Held-out loss gain",
        meaning="What the probe run saves on documents about others, that nobody generated from.",
        expected="rises",
    ),
    Predictor(
        key="delta_i_bytes",
        name="Delta I per byte",
        meaning="Exact negative log-likelihood of the outputs given their prompts, by length.",
        expected="rises",
    ),
    Predictor(key="delta_i", name="Delta I per text", meaning="The same by output.", expected="rises"),
    Predictor(
        key="mi_ratio",
        name="I(p; Y) / log P",
        meaning="How much outputs tell of their prompts: 1 if they identify them.",
        expected="rises",
    ),
    Predictor(
        key="h_output",
        name="H(M(p))",
        meaning="Entropy of the outputs over all prompts, by their exact likelihood under every prompt.",
        expected="rises",
    ),
    Predictor(
        key="ggmi",
        name="GGMI, estimated",
        meaning="What the reference absorbed of its anchors less what the trainee absorbed of the batch.",
        expected="rises",
    ),
    Predictor(
        key="absorbed",
        name="Absorbed of the batch",
        meaning="Loss of each text before it was first learnt from, less its loss after the probe run, by length.",
        expected="rises",
    ),
    Predictor(
        key="own_eps",
        name="Own epsilon",
        meaning="What the anchors cost the trainee alone, less what they cost after one of their outputs is read.",
        expected="rises",
    ),
    Predictor(key="distinct", name="Distinct trigrams", meaning="1 if no three words come twice.", expected="rises"),
    Predictor(
        key="compression", name="Compression", meaning="How far gzip shrinks the batch: repetition.", expected="falls"
    ),
    Predictor(key="copying", name="Copied from anchor", meaning="Part of the four-word sequences.", expected="falls"),
    Predictor(
        key="variation",
        name="Distance from anchors",
        meaning="Total variation between batch and anchors, at least, by a classifier.",
        expected="falls",
    ),
    Predictor(
        key="accepted",
        name="Accept rate",
        meaning="Share of texts that are well-formed and that no earlier one has said.",
        expected="rises",
    ),
    Predictor(
        key="collisions",
        name="Surplus collisions",
        meaning="Pairs of a prompt's outputs that say the same beyond those expected by chance, by output.",
        expected="falls",
    ),
)
