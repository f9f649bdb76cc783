"""The data quality table of Synthetic Bootstrapped Pretraining, for a batch of any method."""

from typing import Final

import numpy as np

from schemas.report import Quality
from tasks.asking.verdicts import ANCHOR_FACTUALITY, FACTUALITY, RELEVANCE
from tasks.measures.duplication import SHINGLE_WORDS
from tasks.measures.estimate import Estimate, as_figure
from tasks.measures.evidence import Evidence
from tasks.measures.hashed import Flags
from tasks.measures.judged import judged_rate
from tasks.measures.reading import Read, near_duplicates_of, per_cent
from tasks.measures.relevance import no_closer_than_another

MUCH_REPEATED: Final = 0.15
"""Gopher keeps pages up to this share of repeated 5-grams (Rae et al. 2021, table A1)."""

MUCH_COPIED: Final = 0.5
"""The share of its anchor's words above which the suite of sbp refuses a record."""

SAMPLED_RECORDS: Final = 1_000_000


def measure_quality(read: Read, near: Flags, evidence: Evidence) -> Quality:
    """Return the columns of the data quality table of Synthetic Bootstrapped Pretraining, and what stands in for two.

    Over all records, kept or not: what is kept has been cut at much the same thresholds.

    Source: Yang et al. 2025, arXiv:2509.15248. It gives no thresholds, judge or prompts: these are ours.
    What a judge is asked: ``tasks/asking/verdicts.py``.
    """
    made = np.ones(len(read.rows), dtype=bool)
    num_words = np.maximum(read.texts.lengths, 1)
    has_words, has_shingle = read.texts.lengths > 0, read.texts.lengths >= SHINGLE_WORDS
    sampled = read.first(SAMPLED_RECORDS, made)
    again = near if (read.kept == sampled).all() else near_duplicates_of(read, sampled)
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


def _no_closer(read: Read) -> Estimate:
    if len(read.anchors) < 2:
        why = f"not measured: there is no other anchor to compare with ({len(read.anchors)} in the batch)"
        return Estimate(None, None, None, 0, "%", why)
    found = no_closer_than_another(read.texts, read.anchors, read.own, read.rows["record_id"].to_list())
    return per_cent(found == 1, np.isfinite(found), read)
