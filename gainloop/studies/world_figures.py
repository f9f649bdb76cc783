"""Predictors in the invented world: figures of a batch's texts, and of its probe run."""

from typing import Final

import numpy as np
import polars as pl
from transformers import PreTrainedModel

from gainloop.measures.collisions import count_collisions
from gainloop.measures.diversity import compression_ratio, distinct_ngrams
from gainloop.measures.entropy import bits_per_byte, paired_gain
from gainloop.measures.estimate import Estimate, Floats, as_figure, mean_of, share_of
from gainloop.measures.learning import learned
from gainloop.measures.mutual_information import conditional_entropy, mutual_information
from gainloop.measures.ngrams import copied_words, hash_texts
from gainloop.measures.two_sample import compare_texts
from gainloop.studies.generator import Batch, anchor_of, log_likelihoods, split
from gainloop.studies.trainee import Vocabulary, losses_of
from gainloop.studies.world import EVERY, Entity, Words, World, say, write_document
from schemas.figure import Figure
from schemas.report import DELTA_I
from schemas.studies import Predictor, Trained

SCORED_OUTPUTS = 128
OTHER_PROMPTS = 15
COPY_WORDS = 4
"""Sentences here have eight words: longer sequences are copied by copies alone."""

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
        key=DELTA_I,
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


def describe_batch(world: World, batch: Batch) -> dict[str, Figure]:
    """Return the figures of a batch that need no trainee."""
    texts = [" ".join(text) for text in batch.texts]
    anchors = hash_texts([" ".join(anchor_of(prompt)) for prompt in batch.prompts])
    hashed = hash_texts(texts)
    copied = copied_words(hashed, anchors, np.array(batch.asked), COPY_WORDS) / np.maximum(hashed.lengths, 1)
    documents = [" ".join(write_document(entity)) for entity in world.anchors]
    size = [len(text.encode()) for text in texts]
    per_byte = conditional_entropy(batch.nll, batch.asked, size)
    found = {
        DELTA_I: (per_byte, "exact -log2 q of outputs given prompts by UTF-8 bytes; interval over prompts"),
        "delta_i": (conditional_entropy(batch.nll, batch.asked), "exact -log q of outputs; interval over prompts"),
        **_information(batch),
        "distinct": (distinct_ngrams(hashed), "different word trigrams by all of them"),
        "compression": (compression_ratio(pl.Series(texts)), "bytes before gzip by bytes after, of all texts in a row"),
        "copying": (
            mean_of(copied, batch.asked, "share"),
            "words in a four-word sequence of the own anchor, mean over outputs; interval over prompts",
        ),
        "variation": (
            compare_texts(texts, documents, batch.asked).total_variation,
            "lower bound of the total variation of batch and anchors; interval over prompts and documents",
        ),
        "accepted": (_accepted(world, batch), "well-formed texts not said before, by all; interval over prompts"),
        "collisions": (_surplus(texts, batch), "pairs of a prompt's equal outputs less those expected, by outputs"),
    }
    return {key: as_figure(estimate, definition) for key, (estimate, definition) in found.items()}


def describe_trainee(
    world: World,
    vocabulary: Vocabulary,
    model: PreTrainedModel,
    texts: list[Words],
    online: Floats,
    batch: Batch | None,
) -> dict[str, Figure]:
    """Return what a trainee absorbed of the texts it was trained on, and the epsilon of its batch.

    Args:
        online: Loss of each text the moment before it was first learnt from, in nats.
        batch: Batch that it was trained on, or None for the reference.
    """
    met = np.isfinite(online)
    rows = [vocabulary.row(text) for text, was in zip(texts, met, strict=True) if was]
    size = np.array([len(" ".join(text).encode()) for text, was in zip(texts, met, strict=True) if was])
    final = losses_of(model, rows)
    found = {
        "absorbed_nats": (
            learned(online[met], final, size, [], []).absorbed,
            "prequential less final loss over all training texts; interval over texts",
        ),
        "absorbed": (
            paired_gain(online[met], final, size),
            "prequential less final loss of the batch's texts, by UTF-8 bytes; interval over texts",
        ),
    }
    if batch:
        found["own_eps"] = (
            _epsilon(vocabulary, model, batch),
            "loss of the anchor alone less its loss after one of its outputs, by UTF-8 bytes; interval over outputs",
        )
    return {key: as_figure(estimate, definition) for key, (estimate, definition) in found.items()}


def compare_with_reference(run: Trained, reference: Trained) -> dict[str, Figure]:
    """Return the predictors that a probe run and the reference's give together."""
    ours, theirs = run.figures["absorbed_nats"], reference.figures["absorbed_nats"]
    found = {
        "probe_gain": (_per_fact(run.gate, reference.gate), "log p less the reference's; interval over facts"),
        "probe_right": (
            mean_of(
                np.subtract(run.gate_right, reference.gate_right, dtype=float),
                np.arange(len(run.gate_right)),
                "share of facts",
            ),
            "right answers less the reference's; interval over facts",
        ),
        "reworded": (_per_fact(run.reworded, reference.reworded), "log p less the reference's; interval over facts"),
        "heldout_gain": (
            paired_gain(reference.heldout, run.heldout, run.heldout_bytes),
            "the reference's loss less the run's by UTF-8 bytes, held-out documents; interval over documents",
        ),
        "ggmi": (
            _difference(theirs, ours),
            "absorbed of the anchors by the reference less absorbed of the batch, nats over all texts",
        ),
    }
    figures = {key: as_figure(estimate, definition) for key, (estimate, definition) in found.items()}
    return run.figures | figures


def _information(batch: Batch) -> dict[str, tuple[Estimate, str]]:
    """Return I(p; Y) by log P as a real run would estimate it, and H(M(p)) by the mixture over all prompts."""
    number = min(SCORED_OUTPUTS, len(batch.texts))
    asked, all_prompts = np.array(batch.asked[:number]), len(batch.prompts)
    scores = log_likelihoods(batch.distributions, batch.texts[:number])
    ranks = np.random.default_rng(0).random(scores.shape)
    ranks[np.arange(number), asked] = 2.0  # the own prompt comes last: it is not among the others
    few = ranks.argsort(axis=1)[:, : min(OTHER_PROMPTS, all_prompts - 1)]
    own = scores[np.arange(number), asked]
    found = mutual_information(own, np.take_along_axis(scores, few, axis=1), all_prompts, asked)
    cap = found.cap_log_p
    low, high = (None if end is None else end / cap for end in (found.low, found.high))
    ratio = Estimate(found.ratio_to_log_p, low, high, number, "share", found.fpc_bc.status, found.fpc_bc.num_clusters)
    mixture = -np.logaddexp.reduce(scores - np.log(all_prompts), axis=1)
    return {
        "mi_ratio": (ratio, "I(p; Y) by fpc_bc over log P; from the lower end of incl to the upper end of fpc"),
        "h_output": (
            mean_of(mixture, asked, "nats/record"),
            "-log of the exact mixture over all prompts, mean over outputs; interval over prompts",
        ),
    }


def _accepted(world: World, batch: Batch) -> Estimate:
    """Return the share of texts that a careful reader without knowledge of the facts would keep."""
    sentences = _well_formed(world, batch.prompts)
    said: set[Words] = set()
    kept = []
    for text in batch.texts:
        kept.append(text not in said and all(sentence in sentences for sentence in split(text)))
        said.add(text)
    return share_of(kept, batch.asked)


def _well_formed(world: World, prompts: list[tuple[Entity, ...]]) -> set[Words]:
    """Return every sentence about the prompts' entities that the grammar allows, whatever its value."""
    return {
        say(wording, fact, value, other)
        for prompt in prompts
        for entity in prompt
        for other in [next((each.name for each in prompt if each != entity), ())]
        for fact in entity.facts
        for wording in EVERY
        for value in fact.relation.values
    }


def _surplus(texts: list[str], batch: Batch) -> Estimate:
    found = count_collisions(texts, batch.nll, batch.asked)
    value = None if found.expected.value is None else (found.observed - found.expected.value) / len(texts)
    return Estimate(value, None, None, len(texts), "pairs/output", found.expected.status)


def _epsilon(vocabulary: Vocabulary, model: PreTrainedModel, batch: Batch) -> Estimate:
    number = min(SCORED_OUTPUTS, len(batch.texts))
    documents = [anchor_of(batch.prompts[place]) for place in batch.asked[:number]]
    closed = losses_of(model, [vocabulary.row(document) for document in documents])
    opened = losses_of(
        model, [vocabulary.row(doc, text) for doc, text in zip(documents, batch.texts[:number], strict=True)]
    )
    size = [len(" ".join(document).encode()) for document in documents]
    return bits_per_byte(closed - opened, size, batch.asked[:number])


def _per_fact(ours: list[float], theirs: list[float]) -> Estimate:
    saved = np.array(ours) - np.array(theirs)
    return mean_of(saved, np.arange(len(saved)), "nats/fact")


def _difference(one: Figure, other: Figure) -> Estimate:
    """Return the difference of two independent figures."""
    ends = (one.value, one.low, other.value, other.low)
    if any(end is None for end in ends):
        return Estimate(None, None, None, one.n + other.n, "nats", "not measured: one of the two was not")
    first, first_low, second, second_low = (float(end) for end in ends if end is not None)
    half = float(np.hypot(first - first_low, second - second_low))
    value = first - second
    return Estimate(value, value - half, value + half, one.n + other.n, "nats", num_clusters=one.clusters)
