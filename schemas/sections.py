"""The report's sections: headings, and figures of gain, models, diversity, faithfulness and quality."""

from enum import StrEnum
from typing import Literal

from schemas.figure import Figure, ReportPart, figure

GainVerdict = Literal["synthetic_wins", "baseline_wins", "undecided"]


class Section(StrEnum):
    """Headings of the figures, in the order in which pages show them."""

    KNOWLEDGE = "What the model knows of the documents"
    GAIN = "What training on the batch gained on held-out text"
    INFORMATION = "How much information the batch holds"
    MODELS = "What the models lose, and what they took in"
    PAPER = "The quantities of Gan & Liu 2024, which describe and decide nothing"
    TOOLS = "Conversations with tools: what is kept of them, and what it costs"
    INSTRUCTIONS = "How new the instructions are"
    DIVERSITY = "How varied the batch is"
    FAITHFULNESS = "How faithful the batch is to its anchors"
    QUALITY = "Data quality, as Synthetic Bootstrapped Pretraining reports it"


class Gain(ReportPart):
    """The gain of training on the batch, and of reading its own documents for as many tokens, on held-out anchors.

    ``seeds`` are the trainings of each arm: all figures are over all of them.
    """

    synthetic: Figure = figure(
        "Gain of the synthetic text",
        "How many bits each byte of unseen real text costs less after training on the batch than before. Healthy: the "
        "interval lies above 0.",
        "bits/byte",
        healthy="higher",
        predicts="rises",
        is_early=False,
    )
    baseline: Figure = figure(
        "Gain of repeating",
        "How many bits each byte of unseen real text costs less after training on as many tokens of the documents that "
        "the batch was made from, again and again. It is what synthetic text has to beat.",
        "bits/byte",
    )
    advantage: Figure = figure(
        "Gain over repeating",
        "How many bits each byte of unseen real text costs less after training on the batch than after training on as "
        "many tokens of its own documents. Healthy: the interval lies above 0; below 0, repeating them is better.",
        "bits/byte",
        healthy="higher",
        predicts="rises",
        is_early=False,
    )
    over_control: Figure = figure(
        "Gain over unrelated text",
        "How many bits each byte of unseen real text costs less after training on the batch than after the same "
        "mixture with unrelated real text for its records. Healthy: the interval lies above 0; at 0 the content of the "
        "records has earned nothing.",
        "bits/byte",
        healthy="higher",
    )
    per_1k_tokens: Figure = figure(
        "Gain by tokens",
        "The gain over repeating by thousand tokens that the generator wrote, those that were thrown away "
        "among them: what tokens have bought. A loss has none, for many tokens would make it look small; recipes are "
        "ranked by the gain itself.",
        "bits/byte/1k tokens",
    )
    per_second: Figure = figure(
        "Gain by time",
        "The gain over repeating by second of generating, scoring and training; models made before are not "
        "counted. A loss has none.",
        "bits/byte/s",
    )
    seeds: int
    verdict: GainVerdict


class LossPoint(ReportPart):
    """The loss of synthetic rows around one moment of training, in bits per byte: just before it, and in the end."""

    tokens: int
    online: float
    final: float


class Trainee(ReportPart):
    """Losses of the models, and what they took in: the synthetic one unless baseline or start is named.

    ``curve`` is the loss on synthetic text while it is learnt from, smoothed.
    """

    heldout_start: Figure = figure(
        "Held-out loss, start", "What held-out text costs the model before this training.", "bits/byte"
    )
    heldout_synthetic: Figure = figure(
        "Held-out loss, synthetic",
        "What held-out text costs the model after training on the batch.",
        "bits/byte",
        healthy="lower",
    )
    heldout_baseline: Figure = figure(
        "Held-out loss, repeating",
        "What held-out text costs after training on the batch's own documents, again and again.",
        "bits/byte",
        healthy="lower",
    )
    anchors_synthetic: Figure = figure(
        "Loss on anchors, synthetic",
        "What the real texts that the batch is made from cost after training on the batch.",
        "bits/byte",
        healthy="lower",
    )
    anchors_baseline: Figure = figure(
        "Loss on anchors, repeating",
        "What the real texts that the batch is made from cost after training on them again and again.",
        "bits/byte",
        healthy="lower",
    )
    records_in: Figure = figure(
        "Loss on records, trained on", "What records of the batch cost the model that has read them.", "bits/byte"
    )
    records_out: Figure = figure(
        "Loss on records, held out",
        "What records of the batch cost the model that has not read them. Healthy: near the loss on records that were "
        "trained on.",
        "bits/byte",
    )
    absorbed: Figure = figure(
        "Absorbed",
        "What the model has learnt of the synthetic text: its loss while it reads the text less its loss in the end. "
        "0: it learnt nothing.",
        "nats",
        healthy="higher",
        predicts="rises",
        is_early=False,
    )
    memorised: Figure = figure(
        "Absorbed: memorised",
        "The part that holds only for the very records that were read. Healthy: a small part of what was absorbed.",
        "nats",
        healthy="lower",
    )
    generalised: Figure = figure(
        "Absorbed: generalised",
        "The part that holds for records of the same kind that were not read.",
        "nats",
        healthy="higher",
    )
    absorbed_anchors: Figure = figure(
        "Absorbed of anchors",
        "What repeating has taught of the anchors that the start had not read.",
        "nats",
    )
    curve: list[LossPoint]


class Diversity(ReportPart):
    """Repetition of wording in the batch. Where a field says what a 7B model has, it is Qwen2.5-7B that noted what
    follows from passages of Wikipedia, five times each, at temperature 1.

    ``too_many_collisions`` is null where nothing can be expected: no log-probabilities of the distribution
    that was sampled, or no prompt asked twice.
    """

    distinct_trigrams: Figure = figure(
        "Distinct trigrams",
        "Trigrams that differ, by all trigrams: 1 if no three words come twice. It falls with size: compare only "
        "batches of about one size.",
        "share",
        healthy="higher",
        predicts="rises",
    )
    vendi: Figure = figure(
        "Different texts in effect, records",
        "Vendi score of the records that were compared: 1 if all are alike, as many as were compared if no two share a "
        "pair of words. Healthy: above half of their number; five replies to each passage by a 7B model have 0.6 to "
        "0.7 of it.",
        "texts",
        healthy="higher",
    )
    anchors_vendi: Figure = figure(
        "Different texts in effect, anchors",
        "The yardstick for the records, where about as many anchors were compared; real passages have 0.9 of their "
        "number.",
        "texts",
    )
    compression: Figure = figure(
        "Compression, records",
        "How far gzip shrinks the text. Healthy: near that of the anchors; far above, records repeat each other.",
        "ratio",
        healthy="lower",
        predicts="falls",
    )
    anchors_compression: Figure = figure(
        "Compression, anchors", "How far gzip shrinks the anchors: the yardstick for the records.", "ratio"
    )
    duplicates: Figure = figure(
        "Duplicates",
        "Kept records that say what another one says. Healthy: 0.",
        "share",
        healthy="lower",
        predicts="falls",
    )
    near_duplicates: Figure = figure(
        "Near duplicates",
        "Kept records that share four fifths of their wording with another one. Healthy: below 0.01; more, and "
        "training reads the same text again.",
        "share",
        healthy="lower",
    )
    repetition: Figure = figure(
        "Repetition within a record",
        "Part of the words that a record says over again. Healthy: about 0.05 or less; far above, the generator loops.",
        "share",
        healthy="lower",
    )
    common_opening: Figure = figure(
        "Most common opening",
        "Part of the records that begin with the same four words. Healthy: a few in a hundred.",
        "share",
        healthy="lower",
        predicts="falls",
    )
    opening: str
    facet_opening: Figure = figure(
        "Most common opening of a facet",
        "Part of the records of one style or format that begin with the same four words, for the worst of them: four "
        "formats with a template each have 0.25 over all records and 1 here. FinePhrase has 0.115 for a generator that "
        "falls into templates, 0.003 for another.",
        "share",
        healthy="lower",
    )
    opening_in_facet: str
    collisions: Figure = figure(
        "Equal replies to one prompt",
        "Pairs of replies to one prompt that are equal. Healthy: about as many as chance gives; far more: a cache or a "
        "fixed seed answers, not the model.",
        "pairs",
    )
    expected_collisions: Figure = figure(
        "Equal replies by chance",
        "How many pairs of independent replies would be equal, by the log-probabilities of the distribution that was "
        "sampled: all of them at temperature 0.",
        "pairs",
    )
    too_many_collisions: bool | None


class Faithfulness(ReportPart):
    """``distance`` and ``divergence`` are lower bounds, by a classifier, of TV and KL(records || anchors)."""

    copying: Figure = figure(
        "Copied from the own anchor",
        "Part of the words that stand in the record's anchor, at least eight in a row. A 7B model's notes on a passage "
        "have 0.1; near 1, the batch is its anchors again.",
        "share",
        predicts="falls",
    )
    copying_any: Figure = figure(
        "Copied from any anchor",
        "Part of the words that stand in any anchor of the batch. Far above what is copied from the own anchor, the "
        "generator recites other documents.",
        "share",
    )
    novelty: Figure = figure(
        "New wording",
        "Part of the words in runs of five that no anchor has. It counts runs across an end of what is copied, so "
        "that both may add up to more than 1. Healthy: well above 0, where nothing new is said; near 1 in a batch of "
        "irrelevant records, the anchors are ignored.",
        "share",
        predicts="rises",
    )
    longest_copy: Figure = figure(
        "Longest copied run",
        "Words in a row from the anchor, per record. A 7B model's notes have 8 to 10; above 50, records recite.",
        "words/record",
        healthy="lower",
    )
    distance: Figure = figure(
        "Distance from the anchors",
        "How well words alone tell records from anchors: 0 not at all, 1 always. Another style, such as questions, is "
        "a distance too; near 1 where text of the same kind is wanted, it is not that.",
        "share",
        predicts="falls",
    )
    divergence: Figure = figure(
        "Divergence from the anchors",
        "How well words tell records from anchors, in nats: KL(records || anchors) at least, without a largest value.",
        "nats",
    )


class Quality(ReportPart):
    """The data quality table of Synthetic Bootstrapped Pretraining (arXiv:2509.15248), for a batch of any method.

    ``no_closer`` is no column of the table: it needs no judge.
    """

    repetition: Figure = figure(
        "Repetition",
        "Records that repeat themselves too much to train on. Healthy: below 5; the paper has 4.3 for its smallest "
        "synthesizer and 1.8 for real text, by a threshold that it does not print.",
        "%",
        healthy="lower",
    )
    duplicates_1m: Figure = figure(
        "Duplicate@1M",
        "Records that nearly repeat another one. It rises with their number, up to a million. Healthy: below 1; the "
        "paper has 0.8 and 0.7 at a million.",
        "%",
        healthy="lower",
    )
    non_factual: Figure = figure(
        "Non-factual",
        "Records that say what is not so, by a language model as judge. Healthy: near what it finds among the anchors; "
        "the paper has 15.1 for its smallest synthesizer and 1.8 for real text.",
        "%",
        healthy="lower",
    )
    anchors_non_factual: Figure = figure(
        "Non-factual, anchors",
        "Real texts that the same judge calls false: how far to trust it. Far above 2, it is hard to please, or knows "
        "too little.",
        "%",
        healthy="lower",
    )
    pair_irrelevance: Figure = figure(
        "Pair-irrelevance",
        "Records that have nothing to do with their anchor, by a language model as judge. The paper has 25.6 for its "
        "smallest synthesizer.",
        "%",
        healthy="lower",
    )
    no_closer: Figure = figure(
        "No closer to the own anchor",
        "Records no more like their anchor than like another one, by their words: what can be said of relevance "
        "without a judge. Healthy: below 5; 50 means that anchors are ignored.",
        "%",
        healthy="lower",
        predicts="falls",
    )
    pair_copying: Figure = figure(
        "Pair-copying",
        "Records of which at least half is copied from their anchor. Healthy: a few; the paper has 0.1 to 0.9.",
        "%",
        healthy="lower",
    )
