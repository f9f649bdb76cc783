"""The report's figures of a batch's texts alone: diversity, faithfulness and quality."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from gainloop.evaluation.judge import ANCHOR_FACTUALITY, FACTUALITY, RELEVANCE, UNREADABLE, parroted
from gainloop.measures import estimate
from gainloop.measures.collisions import collisions_of
from gainloop.measures.diversity import (
    FACET_TEXTS,
    VENDI_TEXTS,
    common_opening,
    compression_ratio,
    distinct_ngrams,
    duplicate_share,
    facet_opening,
    vendi_score,
)
from gainloop.measures.duplication import SHINGLE_WORDS, Screen, near_duplicates
from gainloop.measures.entropy import why_without_logprobs
from gainloop.measures.estimate import Estimate, as_figure, mean_of
from gainloop.measures.faithfulness import NOVEL_WORDS, no_closer_than_another
from gainloop.measures.ngrams import Flags
from gainloop.measures.two_sample import TwoSample, compare_texts
from gainloop.measures.words import COPY_WORDS, REPEAT_WORDS
from gainloop.reports.evidence import (
    Evidence,
    RecordTexts,
    as_per_cent,
    hash_records,
    over_words,
    per_cent,
    screen_records,
    share_of,
    why_no_words,
)
from gainloop.reports.information import (
    OTHER_DISTRIBUTION,
    describe_semantics,
    has_sampled_logprobs,
    likelihoods,
    scored_outputs,
)
from schemas.figure import Figure
from schemas.sections import Diversity, Faithfulness, Quality

MOST_UNREADABLE: Final = 0.1
"""Share of unreadable verdicts above which the others are no fair sample of all."""

NOT_JUDGED: Final = "not judged: no language model has judged this batch; the flow judge asks one"
NO_ANCHOR_JUDGED: Final = "not judged: the judge was asked about no anchor; anchors of the flow judge is how many"

RATES: Final = {
    FACTUALITY: (
        "non_factual",
        "per cent of records that a judge calls non-factual, because a claim contradicts the source or what is "
        "generally known, by those with a claim that can be checked",
    ),
    ANCHOR_FACTUALITY: (
        "non_factual",
        "per cent of anchors that the same judge calls non-factual, because a claim contradicts what is generally "
        "known, by those with a claim that can be checked",
    ),
    RELEVANCE: ("unrelated", "per cent of records that a judge calls unrelated to their anchor"),
}
"""By question: the verdict that is counted, and the definition of its rate."""

MUCH_REPEATED: Final = 0.15
"""Gopher keeps pages up to this share of repeated 5-grams (Rae et al. 2021, table A1)."""

MUCH_COPIED: Final = 0.5
"""The share of its anchor's words above which the suite of sbp refuses a record."""

SAMPLED_RECORDS: Final = 1_000_000
"""Records that duplicates are looked for among: the paper's Duplicate@1M."""

COMPARED_TEXTS = 500
"""Records, and anchors, that a classifier learns from in a second."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The three sections that rest on texts alone."""

    diversity: Diversity
    faithfulness: Faithfulness
    quality: Quality


def measure_texts(evidence: Evidence) -> Texts:
    """Return the sections on texts; only collisions need log-probabilities, and none needs a model."""
    read = hash_records(evidence)
    screen = screen_records(read)
    near = near_duplicates(screen, read.kept)
    return Texts(
        measure_diversity(evidence, read, near),
        measure_faithfulness(evidence, read),
        measure_quality(read, screen, near, evidence),
    )


def list_caveats_of_texts(diversity: Diversity) -> list[str]:
    """Return what a reader must know of the texts before relying on any figure."""
    if not diversity.too_many_collisions:
        return []
    expected = diversity.expected_collisions
    return [
        f"{diversity.collisions.number} pairs of replies to one prompt are the same to the letter, where independent "
        f"draws would give {expected.number} {expected.interval}".rstrip()
        + ": a cache, a fixed seed or copied rows. "
        "Replies do not count as independent then, and intervals are too narrow."
    ]


def count_same(evidence: Evidence) -> tuple[Estimate, Estimate, bool | None]:
    """Return the replies to one prompt that are the same, how many are expected, and whether they are too many.

    They are expected from the distribution that was sampled: at temperature 0 a reply is certain; elsewhere what the
    servers told of it if it is of that distribution, or the scores of the outputs that the stage ``score`` drew.
    """
    replies, semantics = evidence.would_be_records, describe_semantics(evidence)
    if semantics == "certain":
        return collisions_of(replies, np.zeros(replies.height))
    told = likelihoods(replies, semantics)
    if has_sampled_logprobs(evidence):
        several = told.filter(pl.len().over("prompt_id") > 1)
        why = why_without_logprobs(several.height, int(several["is_without"].sum()))
        return collisions_of(replies, told["nats"].to_numpy(), why)
    outputs = scored_outputs(evidence)
    if semantics != "repaired" or outputs is None:
        return collisions_of(replies, np.full(replies.height, np.nan), OTHER_DISTRIBUTION)
    own = pl.DataFrame({"request_id": outputs.request_ids, "own": -outputs.own})
    repaired = replies.select("request_id").join(own, on="request_id", how="left", maintain_order="left")
    return collisions_of(replies, repaired["own"].fill_null(np.nan).to_numpy(), is_sample=True)


def measure_diversity(evidence: Evidence, read: RecordTexts, near: Flags) -> Diversity:
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
    collisions, expected, are_too_many = count_same(evidence)
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


def measure_faithfulness(evidence: Evidence, read: RecordTexts) -> Faithfulness:
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
            f"words in a sequence of {COPY_WORDS} words that stands in the record's own anchor, {over}",
        ),
        copying_any=as_figure(
            over_words(read.taken.any, read, read.kept),
            f"words in a sequence of {COPY_WORDS} words that stands in some anchor of the batch, {over}",
        ),
        novelty=as_figure(
            over_words(read.taken.novel, read, has_gram),
            f"words in a sequence of {NOVEL_WORDS} words that stands in no anchor of the batch, {over}; records of "
            "fewer than five words are left out",
        ),
        longest_copy=as_figure(
            runs,
            "words of the longest run that a kept record shares with its own anchor, mean over records; a run of fewer "
            f"than {COPY_WORDS} words is chance and counts as 0; interval over anchors",
        ),
    )


def measure_quality(read: RecordTexts, screen: Screen, near: Flags, evidence: Evidence) -> Quality:
    """Return the columns of the data quality table of Synthetic Bootstrapped Pretraining, and what stands in for two.

    Over all records, kept or not: what is kept has been cut at much the same thresholds.

    Source: Yang et al. 2025, arXiv:2509.15248. It gives no thresholds, judge or prompts: these are ours.
    The questions to a judge: ``gainloop/evaluation/judge.py``.
    """
    made = np.ones(len(read.rows), dtype=bool)
    num_words = np.maximum(read.texts.lengths, 1)
    has_words, has_shingle = read.texts.lengths > 0, read.texts.lengths >= SHINGLE_WORDS
    sampled = read.first(SAMPLED_RECORDS, made)
    again = near if (read.kept == sampled).all() else near_duplicates(screen, sampled)
    of_all = "per cent of all records, kept or not, {}; interval over anchors"
    return Quality(
        repetition=as_figure(
            per_cent(read.repeated / num_words > MUCH_REPEATED, has_words, read),
            of_all.format(f"of whose words more than {MUCH_REPEATED:.0%} lie in a 5-gram that they have had before"),
        ),
        duplicates_1m=as_figure(
            per_cent(again, sampled & has_shingle, read),
            of_all.format(
                "with a Jaccard similarity of word 5-grams of 0.8 or more to an earlier one that is itself none of "
                "these; among the first million by id, or all if they are fewer: it rises with their number"
            ),
        ),
        non_factual=judged_rate(evidence, FACTUALITY),
        anchors_non_factual=judged_rate(evidence, ANCHOR_FACTUALITY),
        pair_irrelevance=judged_rate(evidence, RELEVANCE),
        no_closer=as_figure(
            _no_closer(read),
            of_all.format(
                "whose TF-IDF cosine to their own anchor is not above that to another anchor of the batch, drawn by "
                "the record's id; 50 if records had nothing to do with their anchors"
            ),
        ),
        pair_copying=as_figure(
            per_cent(read.taken.own / num_words >= MUCH_COPIED, has_words & (read.own >= 0), read),
            of_all.format(f"of whose words at least {MUCH_COPIED:.0%} lie in an 8-gram of their own anchor"),
        ),
    )


def judged_rate(evidence: Evidence, question: str) -> Figure:
    """Return the per cent of judged texts that are called false, or unrelated, with an interval over anchors.

    Texts without a claim that can be checked are neither true nor false: they are left out, and so are verdicts that
    cannot be read. Both are counted in the definition, the latter in ``dropped`` too.
    """
    counted, definition = RATES[question]
    if evidence.verdicts is None:
        return as_figure(Estimate(None, None, None, 0, "%", NOT_JUDGED), definition)
    verdicts = evidence.verdicts.filter(question=question)
    return as_figure(_rate(verdicts, counted), f"{definition}; {_who(evidence, verdicts)}")


def _compare(evidence: Evidence) -> TwoSample:
    kept = evidence.kept.head(COMPARED_TEXTS)
    anchors = evidence.anchors.sort("anchor_id").head(COMPARED_TEXTS)
    first, second = (frame["text"].to_list() for frame in (kept, anchors))
    return compare_texts(first, second, kept["anchor_id"].to_list(), anchors["anchor_id"].to_list())


def _no_closer(read: RecordTexts) -> Estimate:
    if len(read.anchors) < 2:
        why = f"not measured: there is no other anchor to compare with ({len(read.anchors)} in the batch)"
        return Estimate(None, None, None, 0, "%", why)
    found = no_closer_than_another(read.texts, read.anchors, read.own, read.rows["record_id"].to_list())
    among = np.isfinite(found)
    if not among.any():
        return per_cent(among, among, read)
    return as_per_cent(estimate.share_of(found[among], read.own[among]))


def _rate(verdicts: pl.DataFrame, counted: str) -> Estimate:
    unreadable = verdicts.filter(verdict=UNREADABLE).height
    if verdicts.is_empty():
        return Estimate(None, None, None, 0, "%", NO_ANCHOR_JUDGED)
    if unreadable > MOST_UNREADABLE * verdicts.height:
        why = (
            f"invalid: {unreadable} of {verdicts.height} verdicts are unreadable; at most {MOST_UNREADABLE:.0%} may be"
        )
        return Estimate(None, None, None, 0, "%", why, num_dropped=unreadable)
    if alike := parroted(verdicts):
        why = f"invalid: all {alike} replies of the judge are alike, reason and all; it says its prompt's words"
        return Estimate(None, None, None, 0, "%", why, num_dropped=verdicts.height)
    decided = verdicts.filter(~pl.col("verdict").is_in([UNREADABLE, "not_checkable"]))
    if decided.is_empty():
        why = f"not measured: the judge finds no claim that can be checked in {verdicts.height} texts"
        return Estimate(None, None, None, 0, "%", why, num_dropped=unreadable)
    flags = (decided["verdict"] == counted).to_numpy().astype(np.float64)
    found = as_per_cent(estimate.share_of(flags, decided["anchor_id"].to_numpy()))
    return replace(found, num_dropped=unreadable)


def _who(evidence: Evidence, verdicts: pl.DataFrame) -> str:
    """Return the judge, the number of texts, and the number of each verdict."""
    judge, recipe = evidence.summaries["judge"], evidence.recipe
    name = judge["model"] + (f" ({judge['revision']})" if judge["revision"] else "")
    # Checkpoints of ours go by their ids, whatever they are called; a served model by its name and revision.
    is_ours = judge["model"] == "judge" and recipe["model"] in ("start", "synthesizer")
    if judge["revision"] == recipe["revision"] and (is_ours or judge["model"] == recipe["model"]):
        name += ", the generator itself"
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in Counter(verdicts["verdict"]).most_common())
    return (
        f"of {verdicts.height:,}, kept or not, drawn by id: {counts or 'none'}; judged by {name}; interval over anchors"
    )
