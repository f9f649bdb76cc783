"""How far two collections of texts are apart, by a classifier that tries to tell them apart.

Text has too many dimensions to compare distributions bin by bin. A classifier need not: what it can tell apart is
different, so its accuracy on texts that it has not learnt from bounds the distance from below.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gainloop.measures.estimate import Estimate, Floats, Ids, mean_of
from schemas.rows import unit_draw

FOLDS = 5
MIN_TEXTS = 50
"""Texts of each collection, at least: with fewer, a fold learns from noise."""


@dataclass(frozen=True, slots=True)
class TwoSample:
    """Lower bounds, with 95 % intervals over clusters of texts; near 0 the classifier finds no difference.

    Attributes:
        total_variation: In [0, 1]: true minus false positive rate of the classifier.
        divergence: KL(first || second) in nats.
    """

    total_variation: Estimate
    divergence: Estimate


def compare_texts(
    first: Sequence[str], second: Sequence[str], first_clusters: Ids | None = None, second_clusters: Ids | None = None
) -> TwoSample:
    """Return lower bounds of the distance between the distributions of two collections of texts.

    A logistic regression on hashed words and pairs of words learns on four fifths of the clusters and is asked about
    the rest, five times. Which fifth a cluster is in depends on its name alone.

    Args:
        first_clusters: Cluster of each text where texts are not independent, for example the anchor of a record. A
            cluster of both collections is in one fold for both.

    Source: Lopez-Paz & Oquab 2017, arXiv:1610.06545 (two-sample tests by classifiers); Nguyen, Wainwright & Jordan 2010
    for the bound of the divergence, E_first[f] + 1 - E_second[exp f] with f the classifier's log-odds.
    """
    groups = [
        np.asarray([f"{side}/{number}" for number in range(len(texts))] if given is None else [str(c) for c in given])
        for side, texts, given in ((0, first, first_clusters), (1, second, second_clusters))
    ]
    if min(len(first), len(second)) < MIN_TEXTS:
        why = f"not measured: {len(first)} and {len(second)} texts; {MIN_TEXTS} of each are needed"
        nothing = Estimate(None, None, None, len(first) + len(second), "share", why)
        return TwoSample(nothing, replace(nothing, unit="nats"))
    odds = _cross_fitted([*first, *second], np.concatenate(groups), np.arange(len(first) + len(second)) < len(first))
    ours, theirs = odds[: len(first)], odds[len(first) :]
    return TwoSample(
        _difference((ours > 0).astype(float), (theirs > 0).astype(float), groups, "share", 0.0),
        _difference(ours, np.exp(theirs), groups, "nats", 1.0),
    )


def _cross_fitted(texts: list[str], clusters: NDArray[Any], is_first: NDArray[np.bool_]) -> Floats:
    """Return each text's log-odds of being of the first collection, by a classifier that has not seen its cluster."""
    from sklearn.feature_extraction.text import HashingVectorizer  # a second to import
    from sklearn.linear_model import LogisticRegression

    fold = np.array([int(FOLDS * unit_draw("fold", cluster)) for cluster in clusters])
    known = HashingVectorizer(ngram_range=(1, 2), n_features=2**18, alternate_sign=False).transform(texts)
    odds = np.zeros(len(texts))
    for number in range(FOLDS):
        asked, learnt = fold == number, fold != number
        if asked.any() and 0 < is_first[learnt].sum() < learnt.sum():
            # Dual: there are far fewer texts than words. 0.1 s where lbfgs takes 3.
            model = LogisticRegression(
                C=10.0, class_weight="balanced", solver="liblinear", dual=True, max_iter=2000, random_state=0
            )
            odds[asked] = model.fit(known[learnt], is_first[learnt]).decision_function(known[asked])
    # More than the texts can show is no evidence: exp of it would rest on a single text.
    most = np.log(len(texts))
    return np.asarray(np.clip(odds, -most, most))


def _difference(ours: Floats, theirs: Floats, groups: list[NDArray[Any]], unit: str, offset: float) -> Estimate:
    """Return mean(ours) - mean(theirs) + offset; the two collections are independent of each other."""
    one, other = (mean_of(rows, clusters, unit) for rows, clusters in zip((ours, theirs), groups, strict=True))
    assert one.value is not None
    assert other.value is not None
    value, n = one.value - other.value + offset, one.n + other.n
    if one.low is None or other.low is None:
        return Estimate(value, None, None, n, unit, num_clusters=one.num_clusters + other.num_clusters)
    half = float(np.hypot(one.value - one.low, other.value - other.low))
    return Estimate(value, value - half, value + half, n, unit, num_clusters=one.num_clusters + other.num_clusters)
