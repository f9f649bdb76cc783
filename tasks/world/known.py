"""What is known of a batch before the verdict: from its texts alone, and from its probe run."""

import numpy as np
import polars as pl
from transformers import PreTrainedModel

from schemas.figure import Figure
from schemas.verification import Trained
from tasks.measures.collisions import count_collisions
from tasks.measures.diversity import compression_ratio, distinct_ngrams
from tasks.measures.estimate import Estimate, Floats, as_figure, mean_of
from tasks.measures.hashed import hash_texts
from tasks.measures.information import conditional_entropy, mutual_information
from tasks.measures.learning import learned
from tasks.measures.likelihood import bits_per_byte, paired_gain
from tasks.measures.text import copied_share
from tasks.measures.two_sample import compare_texts
from tasks.world.atlas import Entity, Words, World
from tasks.world.batches import Batch, anchor_of
from tasks.world.generator import log_likelihoods, split
from tasks.world.trainee import Vocabulary, losses_of
from tasks.world.wordings import EVERY, say, write_document

SCORED_OUTPUTS = 128
OTHER_PROMPTS = 15
COPY_WORDS = 4
"""Sentences here have eight words: longer sequences are copied by copies alone."""


def describe_batch(world: World, batch: Batch) -> dict[str, Figure]:
    """Return the figures of a batch that need no trainee."""
    texts = [" ".join(text) for text in batch.texts]
    anchors = [" ".join(anchor_of(batch.prompts[place])) for place in batch.asked]
    copied = [copied_share(text, anchor, COPY_WORDS) for text, anchor in zip(texts, anchors, strict=True)]
    documents = [" ".join(write_document(entity)) for entity in world.anchors]
    size = [len(text.encode()) for text in texts]
    per_byte = conditional_entropy(batch.nll, batch.asked, size)
    found = {
        "delta_i_bytes": (per_byte, "exact -log2 q of outputs given prompts by UTF-8 bytes; interval over prompts"),
        "delta_i": (conditional_entropy(batch.nll, batch.asked), "exact -log q of outputs; interval over prompts"),
        **_information(batch),
        "distinct": (distinct_ngrams(hash_texts(pl.Series(texts))), "different word trigrams by all of them"),
        "compression": (compression_ratio(pl.Series(texts)), "bytes before gzip by bytes after, of all texts in a row"),
        "copying": (
            mean_of(np.array(copied), batch.asked, "share"),
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
        online: The loss of each text the moment before it was first learnt from.
        batch: None for the reference.
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
    scores = log_likelihoods(batch.sources, batch.texts[:number])
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
    return mean_of(np.array(kept, dtype=float), batch.asked, "share")


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
