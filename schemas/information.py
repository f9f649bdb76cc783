"""What a report says of information: between prompts and outputs, in trained models, and by the paper's quantities."""

from schemas.figure import Figure, Part


class CurvePoint(Part):
    """Both bounds of I(p; Y) where each output is scored under so many prompts, its own among them."""

    prompts: int
    incl: Figure
    fpc: Figure


class Dependence(Part):
    """What outputs tell of their prompts, I(p; Y): bounds, the share of what they could tell, and of what it is.

    ``covering`` has the point estimate and an interval that covers; the caps are what the bounds cannot exceed, in
    nats. ``drift`` is how far scoring and generation disagree on one and the same likelihood, and ``widest_bracket``
    how much of an output's likelihood, in nats, a server that tells only the likeliest tokens leaves open. There is no
    ``curve`` of scores that are of another model.
    """

    covering: Figure
    incl: Figure
    fpc: Figure
    fpc_bc: Figure
    cap_log_m: float | None
    cap_log_p: float | None
    ratio_to_log_p: Figure
    document: Figure
    facet: Figure
    pmi_null: Figure
    curve: list[CurvePoint]
    drift: Figure
    widest_bracket: float


class LossPoint(Part):
    """What synthetic rows cost, in bits per byte, around one moment of training: before it, and in the end."""

    tokens: int
    online: float
    final: float


class Trainee(Part):
    """What trained models lose, and what they took in: the synthetic one unless baseline or start is named.

    Attributes:
        heldout_start: Loss on anchors that were neither generated from nor trained on; of each model.
        anchors_synthetic: Loss on the anchors that the batch is made from; of both trained models.
        records_in: Loss on records that were trained on, and out: on those held out of training.
        absorbed: Prequential less final loss on the synthetic text, of which memorised does not hold for records held
            out, and generalised does.
        absorbed_anchors: The same of the matched baseline and its anchors.
        curve: Loss on synthetic text while it is learnt from, smoothed.
    """

    heldout_start: Figure
    heldout_synthetic: Figure
    heldout_baseline: Figure
    anchors_synthetic: Figure
    anchors_baseline: Figure
    records_in: Figure
    records_out: Figure
    absorbed: Figure
    memorised: Figure
    generalised: Figure
    absorbed_anchors: Figure
    curve: list[LossPoint]


class Paper(Part):
    """The quantities of Gan & Liu 2024, in nats per text: an anchor, or a reply. They describe; they decide nothing.

    Attributes:
        anchors: H(S_anchor), by the start checkpoint: an upper bound. synthetic: H(S_gen) of what curation kept.
        delta_h: H(S_anchor) - H(S_gen).
        alpha: H(S_anchor | W') / H(S_anchor | W).
        eps: H(S_anchor | W) - H(S_anchor | M(p)): the book closed less the book open.
        ggmi: I(S_anchor, W') - I(S_gen, W), by what both trainees absorbed.
        bound: The right side of Theorem 4.10, and the two terms in which it differs from the GGMI.
    """

    anchors: Figure
    synthetic: Figure
    delta_h: Figure
    alpha: Figure
    eps: Figure
    ggmi: Figure
    bound: Figure
    curation_slack: Figure
    prompt_slack: Figure
