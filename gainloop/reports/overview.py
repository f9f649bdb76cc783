"""The overview of all batches, from their reports and the rows that the store counts."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from gainloop.measures.estimate import Estimate, as_figure, ratio_of_sums
from gainloop.measures.prediction import chance, find, holm, rank_correlation
from gainloop.reports.evidence import Begun
from gainloop.reports.ranking import name_recipes, name_yardstick, rank_recipes
from gainloop.steering.gate import OFF
from gainloop.store import Store
from gainloop.store.catalogue import find_refusal
from gainloop.store.digests import Digest, read_digests
from gainloop.store.files import exists, read_file, write_file
from schemas.figure import Figure
from schemas.overview import (
    FORMAT,
    Foretold,
    Lines,
    LoopLine,
    Lost,
    Overview,
    Quadrant,
    Ranked,
    Ranking,
    Standing,
    Unmeasured,
)
from schemas.profile import Gate
from schemas.report import DELTA_I, DEPENDENCE, GAIN, KNOWLEDGE, SURPRISE, WORDS

NON_FACTUAL: Final = "quality.non_factual"
ANCHORS: Final = "entropy.anchors"

COLUMNS: Final = (
    "knowledge.after",
    KNOWLEDGE,
    GAIN,
    DELTA_I,
    DEPENDENCE,
    "curation.accept_rate",
    "faithfulness.novelty",
)
"""The figures of every batch that the overview shows side by side, by their paths in the report."""

PREDICTORS: Final = tuple(path for path, words in WORDS.items() if words.predicts)
"""Every figure whose field says what it predicts; the gain on held-out text predicts what an exam says."""

SHOWN: Final = tuple(dict.fromkeys((*COLUMNS, *PREDICTORS, SURPRISE, NON_FACTUAL, ANCHORS)))
"""The figures of a report that the overview needs."""


def save_overview(store: Store, gate: Gate) -> str:
    """Write the page over all batches and its JSON, unless they are up to date; return the path of the page.

    Two runs may do so at once: each writes whole files, and the last one wins.
    """
    from gainloop.reports.overview_page import render_overview

    page = f"{store.folder}/batches/index.html"
    truth, overview = page.replace(".html", ".json"), measure_overview(read_batches(store), gate, read_loops(store))
    content = overview.model_dump_json(indent=2).encode()
    if not (exists(page) and exists(truth) and read_file(truth) == content):
        write_file(page, render_overview(overview).encode())
        write_file(truth, content)
    return page


def read_loops(store: Store) -> list[LoopLine]:
    """Return the store's loops, the newest first."""
    rows = store.query(
        "select batch_id, arg_max(summary, rowid) as told from completions where stage = 'improve' "
        "group by batch_id order by max(rowid) desc"
    )
    return [
        LoopLine(improvement=one, headline=json.loads(told)["headline"], page=f"../improvements/{one}/report.html")
        for one, told in rows.iter_rows()
    ]


def read_batches(store: Store) -> list[Begun]:
    """Return every batch that was begun, with its newest report and what it lost."""
    stages: dict[str, dict[str, Any]] = {}
    for batch_id, stage, summary in store.query("select batch_id, stage, summary from completions").iter_rows():
        stages.setdefault(batch_id, {})[stage] = json.loads(summary)
    digests = read_digests(store, SHOWN)
    drops, quarantine = (_count_by_reason(store, table) for table in ("drops", "quarantine"))
    begun = store.query("select batch_id, recipe, created_at, rowid from batches order by rowid")
    return [
        Begun(
            batch_id=batch_id,
            recipe=json.loads(recipe),
            begun=created_at,
            place=place,
            stages=tuple(sorted(stages.get(batch_id, {}))),
            digest=digests.get(batch_id),
            is_outdated=batch_id in digests and digests[batch_id] is None,
            requests=stages.get(batch_id, {}).get("generate", {}).get("requests", 0),
            records=stages.get(batch_id, {}).get("generate", {}).get("records", 0),
            drops=drops.get(batch_id, {}),
            quarantine=quarantine.get(batch_id, {}),
            refusal="" if "validate" in stages.get(batch_id, {}) else find_refusal(store, batch_id),
        )
        for batch_id, recipe, created_at, place in begun.iter_rows()
    ]


def measure_overview(batches: Sequence[Begun], gate: Gate, loops: Sequence[LoopLine] = ()) -> Overview:
    """Return the overview; the same batches give the same one, in whatever order they come.

    Args:
        batches: All batches of a store.
        gate: Thresholds between the quadrants.
        loops: All loops of a store, the newest first.
    """
    in_order = sorted(batches, key=lambda batch: (batch.place, batch.batch_id))
    names = dict(zip([b.batch_id for b in in_order], name_recipes([batch.recipe for batch in in_order]), strict=True))
    measured = [(batch, batch.digest) for batch in in_order if batch.digest]
    lines = draw_lines([digest for _, digest in measured], gate)
    standings = [
        _stand(number, batch, digest, names[batch.batch_id], lines)
        for number, (batch, digest) in enumerate(measured, start=1)
    ]
    rankings = rank_recipes(standings)
    return Overview(
        format=FORMAT,
        headline=write_headline(rankings, len(standings)),
        loops=list(loops),
        standings=standings,
        unmeasured=[
            Unmeasured(
                batch=batch.batch_id,
                begun=batch.begun,
                recipe=names[batch.batch_id],
                why=_why(batch),
                page=_failed_page(batch),
            )
            for batch in in_order
            if not batch.digest
        ],
        rankings=rankings,
        lost=[*_list_lost(in_order, "drop"), *_list_lost(in_order, "quarantine")],
        lines=lines,
        foretold=foretell_all(standings, rankings[0]) if rankings else [],
    )


def draw_lines(digests: Sequence[Digest], gate: Gate) -> Lines:
    """Return the lines between quadrants.

    Args:
        digests: Digests, oldest batch first; the newest one whose anchors were scored is the yardstick for noise.
        gate: Thresholds of the profile.
    """
    return Lines(
        ignored=gate.prompt_ignored, noise=_draw_noise(digests, gate), collapsed=_draw_collapsed(digests, gate)
    )


def find_quadrant(delta_i: Figure, dependence: Figure, non_factual: Figure, lines: Lines) -> Quadrant:
    """Return the quadrant of a batch by its values, whatever their intervals; no batch is healthy unjudged."""
    if delta_i.value is None:
        return "not known"
    if lines.collapsed.value is not None and delta_i.value < lines.collapsed.value:
        return "collapsed"
    if lines.noise.value is not None and delta_i.value > lines.noise.value:
        return "noisy"
    if dependence.value is None:
        return "not known"
    if lines.ignored is not None and dependence.value < lines.ignored:
        return "prompt ignored"
    return "not judged" if non_factual.value is None else "healthy"


def foretell_all(standings: Sequence[Standing], ranking: Ranking) -> list[Foretold]:
    """Return the rank correlation of every predictor with the gain that a ranking is by, and what may be said."""
    own = [one for one in standings if ranking.holds(one)]
    predictors = [path for path in PREDICTORS if path != ranking.figure]
    gains = _column(own, ranking.figure)
    found = [_column(own, predictor) for predictor in predictors]
    shares = [chance(column, gains) for column in found]
    return [
        _foretell(predictor, ranking.figure, rank_correlation(column, gains), replace(share, value=adjusted))
        for predictor, column, share, adjusted in zip(
            predictors, found, shares, holm([share.value for share in shares]), strict=True
        )
    ]


def write_headline(rankings: Sequence[Ranking], num_batches: int) -> str:
    """Return in plain words the number of batches, and the recipe whose text gained most by the first yardstick."""
    if not num_batches:
        return "No batch of this store was measured yet."
    num_recipes = len({one.recipe for ranking in rankings for one in ranking.recipes})
    counted = f"{_count(num_batches, 'batch', 'batches')} of {_count(num_recipes, 'recipe', 'recipes')}."
    first, *others = rankings
    known = [one for one in first.recipes if one.gain.value is not None]
    if not known:
        return f"{counted} What their text gained is {first.recipes[0].gain.status}."
    if not first.exam:
        alone = "No batch has an exam: this is of held-out text, which measures style as well."
        return f"{counted} {_say_best(known)} {alone}"
    apart = sum(bool(other.exam) for other in others)
    more = f" What {_count(apart, 'other exam', 'other exams')} found is ranked apart." if apart else ""
    said = _say_best(known)
    return f"{counted} By {name_yardstick(first)}: {said[:1].lower()}{said[1:]}{more}"


def _say_best(known: Sequence[Ranked]) -> str:
    """Return which of the recipes that have a gain has the largest, and what of it is certain."""
    best, others = known[0], known[1:]
    shown = f"{best.gain.signed} {best.gain.unit} {best.gain.interval}".rstrip()
    if best.adjusted is None or best.adjusted[0] <= 0:
        among = f" among {len(known)} compared" if others else ""
        return f"No recipe's text has certainly beaten repeating{among}; nearest comes {best.recipe}, with {shown}."
    if not others:
        return f"The text of {best.recipe} has beaten repeating, by {shown}."
    ends = [one.adjusted[1] if one.adjusted else float("inf") for one in others]
    return (
        f"The text of {best.recipe} gained most over repeating, {shown}; with {len(known)} "
        "recipes compared, that it beats repeating is certain, that it beats every other recipe is "
        f"{'too' if best.adjusted[0] > max(ends) else 'not'}."
    )


def _count_by_reason(store: Store, table: str) -> dict[str, dict[str, int]]:
    """Return batch to reason to number of rows; a table's key lets no row be there twice."""
    counted: pl.DataFrame = store.query(f"select batch_id, reason, count(*) from {table} group by all")
    found: dict[str, dict[str, int]] = {}
    for batch_id, reason, number in counted.iter_rows():
        found.setdefault(batch_id, {})[reason] = number
    return found


def _draw_noise(digests: Sequence[Digest], gate: Gate) -> Figure:
    rates = [one.figures[ANCHORS] for one in digests if one.figures[ANCHORS].value is not None]
    if gate.noise is None or not rates:
        why = "not measured: the anchors of no batch were scored; training on one does it" if gate.noise else OFF
        return as_figure(Estimate(None, None, None, 0, "bits/byte", why), "a multiple of the anchors' entropy rate")
    ends = {name: _times(getattr(rates[-1], name), gate.noise) for name in ("value", "low", "high")}
    noise = f"{gate.noise:g} times the entropy rate of the anchors of the newest batch that has one, as an upper bound"
    return rates[-1].model_copy(update=ends | {"definition": noise})


def _draw_collapsed(digests: Sequence[Digest], gate: Gate) -> Figure:
    known = [value for one in digests if (value := one.figures[DELTA_I].value) is not None]
    share, why, line = gate.collapsed_share, "ok", None
    if share is None:
        why = OFF
    elif len(known) < gate.min_history:
        why = f"not measured: batches that have Delta I: {len(known)}; a median takes {gate.min_history}"
    else:
        line = share * float(np.median(known))
    collapsed = Estimate(line, None, None, len(known), "bits/byte", why, num_clusters=len(known))
    of = "a part of" if share is None else f"{share:g} times"
    return as_figure(collapsed, f"{of} the median of Delta I per byte over all batches")


def _stand(number: int, batch: Begun, digest: Digest, recipe: str, lines: Lines) -> Standing:
    figures = {path: digest.figures[path] for path in dict.fromkeys((*COLUMNS, *PREDICTORS, SURPRISE))}
    return Standing(
        number=number,
        batch=batch.batch_id,
        training=digest.training,
        page=f"{batch.batch_id}/report.html",
        begun=batch.begun,
        recipe=recipe,
        exam=digest.exam,
        graded=digest.graded,
        verdict=digest.verdict,
        figures=figures,
        accepted_tokens=digest.accepted_tokens,
        cost_tokens=digest.cost_tokens,
        quadrant=find_quadrant(figures[DELTA_I], figures[DEPENDENCE], digest.figures[NON_FACTUAL], lines),
    )


def _failed_page(batch: Begun) -> str:
    return f"{batch.batch_id}/validation/index.html" if batch.refusal else ""


def _why(batch: Begun) -> str:
    if batch.is_outdated:
        return "measured by an earlier version: run the flow report again"
    if batch.refusal:
        return batch.refusal
    for stage, word in (("generate", "generated"), ("validate", "validated")):
        if stage not in batch.stages:
            return f"not {word} to the end: run the flow {stage} again"
    return "not measured: run the flow report"


def _list_lost(batches: Sequence[Begun], kind: Literal["drop", "quarantine"]) -> list[Lost]:
    """Return the reasons of one kind, the most frequent first, over batches whose stage is complete."""
    stage, whole, counts = (
        ("generate", "requests", "drops") if kind == "drop" else ("validate", "records", "quarantine")
    )
    counted = [batch for batch in batches if stage in batch.stages]
    found: list[Lost] = []
    for reason in sorted({reason for batch in counted for reason in getattr(batch, counts)}):
        numbers = [getattr(batch, counts).get(reason, 0) for batch in counted]
        share = ratio_of_sums(
            [100.0 * number for number in numbers],
            [getattr(batch, whole) for batch in counted],
            [batch.batch_id for batch in counted],
            f"% of {whole}",
        )
        definition = f"{whole} lost to the reason by all {whole}, over batches that are complete; interval over batches"
        figure = as_figure(share, definition)
        figure = figure.model_copy(update={"low": _within(figure.low), "high": _within(figure.high), "n": len(counted)})
        found.append(Lost(kind=kind, reason=reason, count=sum(numbers), batches=len(counted), share=figure))
    return sorted(found, key=lambda lost: (-lost.count, lost.reason))


def _foretell(predictor: str, target: str, correlation: Estimate, share: Estimate) -> Foretold:
    definition = f"Spearman's rank correlation with: {WORDS[target].name}; bootstrap interval over batches"
    return Foretold(
        predictor=predictor,
        correlation=as_figure(correlation, definition),
        chance=as_figure(share, "share of random orders whose correlation is as far from 0, by Holm's rule over all"),
        finding=find(correlation, share.value, is_expected_to_rise=WORDS[predictor].predicts == "rises"),
    )


def _column(standings: Sequence[Standing], path: str) -> list[float]:
    return [float("nan") if (value := one.figures[path].value) is None else value for one in standings]


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _times(end: float | None, factor: float) -> float | None:
    return None if end is None else end * factor


def _within(percent: float | None) -> float | None:
    return None if percent is None else min(100.0, max(0.0, percent))
