"""What a report says of the texts of a batch alone: how varied, how faithful, and how good they are."""

from dataclasses import dataclass

import numpy as np

from schemas.report import Diversity, Faithfulness, Quality
from tasks.measures.collisions import collisions_of
from tasks.measures.diversity import (
    FACET_TEXTS,
    VENDI_TEXTS,
    common_opening,
    compression_ratio,
    distinct_ngrams,
    duplicate_share,
    facet_opening,
    vendi_score,
)
from tasks.measures.duplication import SHINGLE_WORDS
from tasks.measures.estimate import Estimate, as_figure, mean_of
from tasks.measures.evidence import Evidence
from tasks.measures.faithfulness import NOVEL_WORDS
from tasks.measures.hashed import Flags
from tasks.measures.quality import measure_quality
from tasks.measures.reading import Read, near_duplicates_of, over_words, read_texts, share_of, why_no_words
from tasks.measures.text import COPY_WORDS, REPEAT_WORDS
from tasks.measures.two_sample import TwoSample, compare_texts

COMPARED_TEXTS = 500
"""Of each kind: a classifier learns from so many in a second."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The three sections that rest on texts alone."""

    diversity: Diversity
    faithfulness: Faithfulness
    quality: Quality


def measure_texts(evidence: Evidence) -> Texts:
    """Return what is said of a batch's texts; none of it needs a model or log-probabilities, but for collisions."""
    read = read_texts(evidence)
    near = near_duplicates_of(read, read.kept)
    return Texts(
        measure_diversity(evidence, read, near),
        measure_faithfulness(evidence, read),
        measure_quality(read, near, evidence),
    )


def list_caveats_of_texts(diversity: Diversity) -> list[str]:
    """Return what a reader must know of the texts before leaning on any figure."""
    if not diversity.too_many_collisions:
        return []
    expected = diversity.expected_collisions
    return [
        f"{diversity.collisions.number} pairs of replies to one prompt are the same to the letter, where independent "
        f"draws would give {expected.number} {expected.interval}".rstrip()
        + ": a cache, a fixed seed or copied rows. "
        "Replies do not count as independent then, and intervals are too narrow."
    ]


def measure_diversity(evidence: Evidence, read: Read, near: Flags) -> Diversity:
    kept, anchors = evidence.kept["text"], evidence.anchors.sort("anchor_id")["text"]
    opening_share, opening = common_opening(kept)
    facet_share, opening_in_facet = facet_opening(kept, evidence.kept["facet"])
    in_order = np.argsort(read.rows["record_id"].to_numpy()[read.kept], kind="stable")
    sample = read.texts.take(np.flatnonzero(read.kept)[in_order[:VENDI_TEXTS]])
    gzip = "bytes before gzip by bytes after, of {} one after the other by id, up to 32 MiB"
    vendi = (
        "exp of the entropy of the eigenvalues of the similarities of {} by their number; similarity is the cosine of "
        f"counts of word pairs; over the first {VENDI_TEXTS:,} by id, which is a hash (Friedman & Dieng 2023)"
    )
    collisions, expected, are_too_many = collisions_of(evidence.would_be_records)
    return Diversity(
        distinct_trigrams=as_figure(
            distinct_ngrams(read.texts, among=read.kept), "different word trigrams by all of them, kept records"
        ),
        vendi=as_figure(vendi_score(sample), vendi.format("kept records")),
        anchors_vendi=as_figure(
            vendi_score(read.anchors.take(np.arange(min(VENDI_TEXTS, len(read.anchors))))),
            vendi.format("anchors"),
        ),
        compression=as_figure(compression_ratio(kept), gzip.format("kept records")),
        anchors_compression=as_figure(compression_ratio(anchors), gzip.format("anchors")),
        duplicates=as_figure(duplicate_share(kept), "kept records that equal an earlier one but for case and spaces"),
        near_duplicates=as_figure(
            share_of(near, read.kept & (read.texts.lengths >= SHINGLE_WORDS), read),
            "kept records whose word 5-grams have a Jaccard similarity of 0.8 or more to those of an earlier kept one "
            "by id that is itself none of these, found by MinHash and verified; records of fewer than five words are "
            "left out; interval over anchors",
        ),
        repetition=as_figure(
            over_words(read.repeated, read, read.kept),
            f"words of the kept records in a {REPEAT_WORDS}-word sequence that the record has had before, by all their "
            "words; interval over anchors",
        ),
        common_opening=as_figure(opening_share, "kept records that begin with the most common four words"),
        opening=opening,
        facet_opening=as_figure(
            facet_share,
            "kept records of one facet that begin with its most common four words, the largest such share; facets of "
            f"fewer than {FACET_TEXTS} are looked at together",
        ),
        opening_in_facet=opening_in_facet,
        collisions=as_figure(collisions, "pairs of replies to one prompt that are the same to the letter, kept or not"),
        expected_collisions=as_figure(
            expected,
            "such pairs that independent draws would give: over prompts, C(r, 2) times the mean of q(reply | prompt) "
            "for r replies; interval over prompts",
        ),
        too_many_collisions=are_too_many,
    )


def _compare(evidence: Evidence) -> TwoSample:
    kept = evidence.kept.head(COMPARED_TEXTS)
    anchors = evidence.anchors.sort("anchor_id").head(COMPARED_TEXTS)
    first, second = (frame["text"].to_list() for frame in (kept, anchors))
    return compare_texts(first, second, kept["anchor_id"].to_list(), anchors["anchor_id"].to_list())


def measure_faithfulness(evidence: Evidence, read: Read) -> Faithfulness:
    known, num_words = read.kept & (read.own >= 0), read.texts.lengths
    over = "of the kept records, by all their words; interval over anchors"
    has_gram = read.kept & (num_words >= NOVEL_WORDS)
    runs = Estimate(None, None, None, 0, "words/record", why_no_words(read, known))
    if num_words[known].sum():
        runs = mean_of(read.taken.longest[known].astype(float), read.own[known], "words/record")
    apart = _compare(evidence)
    by_classifier = (
        "a logistic regression on words and pairs of words tells apart what it has not learnt from; over the first "
        f"{COMPARED_TEXTS} of each by id, which is a hash; a lower bound (Lopez-Paz & Oquab 2017); interval by anchor"
    )
    return Faithfulness(
        distance=as_figure(apart.total_variation, f"total variation of kept records and anchors: {by_classifier}"),
        divergence=as_figure(apart.divergence, f"KL(kept records || anchors) in nats: {by_classifier}"),
        copying=as_figure(
            over_words(read.taken.own, read, known),
            f"words in a {COPY_WORDS}-word sequence that stands in the record's own anchor, {over}",
        ),
        copying_any=as_figure(
            over_words(read.taken.any, read, read.kept),
            f"words in a {COPY_WORDS}-word sequence that stands in some anchor of the batch, {over}",
        ),
        novelty=as_figure(
            over_words(read.taken.novel, read, has_gram),
            f"words in a {NOVEL_WORDS}-word sequence that stands in no anchor of the batch, {over}; records of fewer "
            "than five words are left out",
        ),
        longest_copy=as_figure(
            runs,
            "words of the longest run that a kept record shares with its own anchor, mean over records; a run of fewer "
            f"than {COPY_WORDS} words is chance and counts as 0; interval over anchors",
        ),
    )
