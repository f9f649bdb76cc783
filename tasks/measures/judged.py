"""What a language model as judge says of a batch, as rates with intervals."""

from collections import Counter
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from schemas.figure import Figure
from tasks.asking.verdicts import ANCHOR_FACTUALITY, FACTUALITY, RELEVANCE, UNREADABLE
from tasks.measures.estimate import Estimate, as_figure, mean_of
from tasks.measures.evidence import Evidence
from tasks.measures.reading import as_per_cent, as_share

MOST_UNREADABLE: Final = 0.1
"""The share of verdicts above which those that can be read are no fair sample of all."""

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
"""By question: the verdict that is counted, and in words of what."""


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


def _rate(verdicts: pl.DataFrame, counted: str) -> Estimate:
    unreadable = verdicts.filter(verdict=UNREADABLE).height
    if verdicts.is_empty():
        return Estimate(None, None, None, 0, "%", NO_ANCHOR_JUDGED)
    if unreadable > MOST_UNREADABLE * verdicts.height:
        why = (
            f"invalid: {unreadable} of {verdicts.height} verdicts are unreadable; at most {MOST_UNREADABLE:.0%} may be"
        )
        return Estimate(None, None, None, 0, "%", why, num_dropped=unreadable)
    told = verdicts.filter(~pl.col("verdict").is_in([UNREADABLE, "not_checkable"]))
    if told.is_empty():
        why = f"not measured: the judge finds no claim that can be checked in {verdicts.height} texts"
        return Estimate(None, None, None, 0, "%", why, num_dropped=unreadable)
    flags = (told["verdict"] == counted).to_numpy().astype(np.float64)
    found = as_per_cent(as_share(mean_of(flags, told["anchor_id"].to_numpy(), "share")))
    return replace(found, num_dropped=unreadable)


def _who(evidence: Evidence, verdicts: pl.DataFrame) -> str:
    """Return who judged how many, and what it said in how many cases."""
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
