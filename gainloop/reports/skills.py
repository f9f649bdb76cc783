"""The report's sections on skills: what becomes of conversations with tools, and how new invented instructions are."""

from collections.abc import Iterable
from typing import Final

import polars as pl

from gainloop.measures.diversity import common_opening
from gainloop.measures.estimate import Estimate, as_figure, median_of, not_measured, share_of
from gainloop.measures.invention import nearest_seeds
from gainloop.measures.rouge import LEAST_ALIKE
from gainloop.measures.trajectories import (
    STAGES,
    Fate,
    acceptance,
    accepted,
    cost_of_accepted,
    fates,
    never_called,
    tool_coverage,
)
from gainloop.methods import METHODS
from gainloop.reports.evidence import Evidence
from schemas.conversation import Turn, read_turns
from schemas.figure import Figure
from schemas.instruction import instruction_of, read_group
from schemas.skills import Instructions, Spent, StageCount, ToolCalls, ToolTalk

MOST_TOOLS: Final = 100
"""Tools whose calls are told one by one; every domain of a batch may have evolved some of its own."""

COMPARED_INSTRUCTIONS: Final = 2000
"""Instructions whose nearest seed is looked for: a share of so many is known to two points."""

FAR: Final = 0.5
START_WORDS: Final = 3

OTHER_PARTS: Final = "tools, tasks and filters"
"""Part of the requests that are of no conversation: a domain's tools and tasks, and what filters ask."""

BY_ACCEPTED: Final = "{} by kept conversations, what was thrown away among them; interval over anchors"


def measure_tools(evidence: Evidence) -> ToolTalk | None:
    """Return what became of a batch's conversations with tools; None for a method that makes none."""
    if not _is_of(evidence, "calls_tools"):
        return None
    conversations = _fates_of(evidence)
    stages, coverage = acceptance(conversations), tool_coverage(_kept_talks(evidence))
    if not evidence.recipe["method"].get("judge", True):
        stages["rubric"] = not_measured("share", "the recipe has no judge")
    before = "begun"
    shares = dict[str, Figure]()
    for name, one in stages.items():
        shares[name] = as_figure(one, f"conversations that passed {name}, by those {before}; interval over anchors")
        before = f"that passed {name}" if before == "begun" else f"{before}, {name}"
    spent = _count_spent(evidence)
    by_anchor, by_part = (spent.group_by(of).agg(pl.sum("requests", "tokens")).sort(of) for of in ("anchor_id", "part"))
    return ToolTalk(
        accepted=as_figure(accepted(conversations), "kept conversations by those begun; interval over anchors"),
        **shares,
        never_called=as_figure(
            never_called(coverage), "tools that stand in the system turn of a kept conversation and that none calls"
        ),
        requests=as_figure(
            _by_accepted(evidence, by_anchor, "requests"),
            BY_ACCEPTED.format("requests of the batch, each once, calls of real tools among them,"),
        ),
        tokens=as_figure(
            _by_accepted(evidence, by_anchor, "tokens"), BY_ACCEPTED.format("tokens of the batch's prompts and replies")
        ),
        stages=list(_count_stages(conversations)),
        spent=[Spent(**row) for row in by_part.iter_rows(named=True)],
        calls=[
            ToolCalls(tool=name, share=as_figure(one, "kept conversations that call the tool, by those that have it"))
            for name, one in list(coverage.items())[:MOST_TOOLS]
        ],
    )


def measure_instructions(evidence: Evidence) -> Instructions | None:
    """Return how new the instructions of a batch are; None for a method that invents none."""
    if not _is_of(evidence, "invents_instructions"):
        return None
    made = _kept_instructions(evidence)
    seeds = sorted({one.text for text in evidence.anchors["text"] for one in read_group(text)})
    texts, anchor_ids = made["text"].to_list(), made["anchor_id"].to_list()
    start, words = common_opening(made["text"], START_WORDS)
    scores = nearest_seeds(texts, seeds) if texts and seeds else None
    of = (
        f"ROUGE-L of kept instructions with the nearest of {len(seeds):,} that stand in the batch's anchors, each "
        f"wording of an anchor once, the first {COMPARED_INSTRUCTIONS:,} by record; interval over anchors"
    )

    def share_up_to(most: float) -> Estimate:
        return _why_none(seeds, "share") if scores is None else share_of(scores <= most, anchor_ids)

    return Instructions(
        likeness=as_figure(
            _why_none(seeds, "ROUGE-L") if scores is None else median_of(scores, anchor_ids, "ROUGE-L"), f"median {of}"
        ),
        new=as_figure(share_up_to(LEAST_ALIKE), f"share of at most {LEAST_ALIKE:g}: {of}"),
        far=as_figure(share_up_to(FAR), f"share of at most {FAR:g}: {of}"),
        common_start=as_figure(start, f"kept instructions that begin with the most common {START_WORDS} words"),
        seeds_common_start=as_figure(
            common_opening(pl.Series(seeds, dtype=pl.String), START_WORDS)[0],
            f"instructions in the batch's anchors that begin with the most common {START_WORDS} words",
        ),
        start=words,
    )


def _is_of(evidence: Evidence, trait: str) -> bool:
    """Tell whether the batch's method has a trait; one that is known no more has none."""
    return getattr(METHODS.get(evidence.recipe["method"]["kind"]), trait, False) is True


def _fates_of(evidence: Evidence) -> list[Fate]:
    made = evidence.records.select("anchor_id", "facet", "kept").iter_rows()
    return fates(made, evidence.drops.select("anchor_id", "facet", "reason").iter_rows())


def _kept_talks(evidence: Evidence) -> Iterable[tuple[str, tuple[Turn, ...]]]:
    for anchor_id, turns in evidence.kept.select("anchor_id", "turns").iter_rows():
        yield anchor_id, read_turns(turns)


def _count_stages(conversations: list[Fate]) -> Iterable[StageCount]:
    left = conversations
    for name in STAGES:
        passed = [one for one in left if one.lost_at != name]
        yield StageCount(stage=name, came=len(left), passed=len(passed))
        left = passed


def _count_spent(evidence: Evidence) -> pl.DataFrame:
    """Return requests and tokens by anchor and part: anchor_id, part, requests, tokens.

    A request that never got a reply is a drop, and counts as a request without tokens.
    """
    tokens = (pl.col("prompt_tokens") + pl.col("completion_tokens")).alias("tokens")
    answered = evidence.replies.select("anchor_id", "facet", "request_id", tokens)
    lost = evidence.drops.filter(pl.col("request_id") != "").join(answered, on="request_id", how="anti")
    asked = pl.concat(
        [answered, lost.unique("request_id").select("anchor_id", "facet", "request_id", tokens=pl.lit(0))],
        how="vertical_relaxed",
    )
    part = pl.col("facet").str.extract(r"^level [^:]*: (.*)$").fill_null(OTHER_PARTS)
    return asked.group_by("anchor_id", part.alias("part")).agg(requests=pl.len(), tokens=pl.sum("tokens"))


def _by_accepted(evidence: Evidence, by_anchor: pl.DataFrame, name: str) -> Estimate:
    kept = evidence.kept["anchor_id"].value_counts(name="kept")
    rows = by_anchor.join(kept, on="anchor_id", how="left").sort("anchor_id").with_columns(pl.col("kept").fill_null(0))
    return cost_of_accepted(rows[name], rows["kept"], rows["anchor_id"].to_list(), f"{name}/conversation")


def _kept_instructions(evidence: Evidence) -> pl.DataFrame:
    """Return the instructions of kept records, each wording of an anchor once: anchor_id, text."""
    rows = evidence.kept.select("anchor_id", pl.col("turns").map_elements(_instruction, pl.String).alias("text"))
    return rows.unique(maintain_order=True).head(COMPARED_INSTRUCTIONS)


def _instruction(turns: str) -> str:
    return instruction_of(read_turns(turns))


def _why_none(seeds: list[str], unit: str) -> Estimate:
    return not_measured(unit, "no record was kept" if seeds else "no anchor of the batch is a group of instructions")
