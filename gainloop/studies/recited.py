"""EntiGraph's protocol: what each training reads, and what its models had right of the exam, closed book and not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import polars as pl

from gainloop.evaluation.general import general_texts
from gainloop.evaluation.results import attempt_rate, result_of
from gainloop.measures.estimate import Estimate, Floats, as_figure, over_seeds
from gainloop.measures.recovered import Scores, score_arms
from gainloop.reports.evidence import as_per_cent
from gainloop.steering.curve import fit_curve
from gainloop.store import Store
from gainloop.store.batches import read_records
from gainloop.store.checkpoints import Lineage
from gainloop.store.snapshots import read_anchors
from gainloop.studies.protocols import EntiGraphProtocol
from schemas.curve import Curve
from schemas.errors import BadInput
from schemas.figure import Figure
from schemas.plan import TrainingPlan
from schemas.protocol import Against, Recital, Sat
from schemas.rows import content_hash

if TYPE_CHECKING:  # transformers takes seconds
    from gainloop.models.packing import MixturePart

START: Final = "start"
RAW: Final = "raw"
REPHRASE: Final = "rephrase"
ENTIGRAPH: Final = "entigraph"

ARMS: Final = {
    START: "the model as it is",
    RAW: "the documents themselves",
    REPHRASE: "the documents rephrased",
    ENTIGRAPH: "EntiGraph's text, all of it",
}

RIGHT: Final = "questions right, of those asked; interval over documents, and over seeds where there are several"
PAIRED: Final = f"question by question; {RIGHT}"

PUBLISHED: Final = (
    "The authors report 39.5 % for Llama 3 8B as it is, 38.2 % after the raw articles and 56.2 % after 455 million "
    "tokens of EntiGraph's text; with retrieval the base has 60.4 %, so that the text alone reached 80 % of what "
    "retrieval adds."
)


class Reading(NamedTuple):
    """One training: its arm, its texts with their titles, the tokens of synthetic text among them, and all it reads."""

    arm: str
    texts: tuple[str, ...]
    titles: tuple[str, ...]
    synthetic_tokens: int
    budget: int


@dataclass(frozen=True, slots=True)
class Written:
    """Texts of one method with their titles, in the order of the stream, and the tokens of each."""

    texts: list[str]
    titles: list[str]
    tokens: list[int]

    def beginning(self, tokens: int) -> "Written":
        """Return the first texts that have so many tokens together, or all."""
        until = int(np.searchsorted(np.cumsum(self.tokens), tokens)) + 1
        return Written(self.texts[:until], self.titles[:until], self.tokens[:until])

    @property
    def num_tokens(self) -> int:
        return sum(self.tokens)


def read_stream(store: Store, tokenizer: Any, snapshot_id: str, batch_id: str, seed: int) -> Written:
    """Return the records of a batch as one stream, shuffled text by text: its beginnings are nested."""
    records = read_records(store, batch_id)
    titles = dict(read_anchors(store, snapshot_id).select("anchor_id", "title").iter_rows())
    rows = sorted(records.iter_rows(named=True), key=lambda row: content_hash("stream", seed, row["record_id"]))
    return _written(tokenizer, [row["text"] for row in rows], [titles.get(row["anchor_id"], "") for row in rows])


def plan_readings(
    paper: EntiGraphProtocol, raw: Written, rephrased: Written, stream: Written, replay: float = 0.0
) -> list[Reading]:
    """Return every training of a seed: raw, rephrase, and EntiGraph's text from its first part to all of it.

    Args:
        replay: Share of every training's tokens that is general text; what is asked for in passes comes on top of it.

    Raises:
        BadInput: EntiGraph gave no text.
    """
    if not stream.num_tokens:
        raise BadInput(
            "training by the protocol entigraph: entigraph made no text that could be used; some is needed. Name a "
            "more capable generator: set generator.kind to served, or paper.start to a larger model."
        )
    whole = stream.beginning(min(paper.synthetic_tokens or stream.num_tokens, stream.num_tokens))
    parts = [whole.beginning(round(part * whole.num_tokens)) for part in paper.parts]

    def budget_of(passes: float, tokens: int) -> int:
        return round(passes * tokens / (1 - replay))

    longest = budget_of(paper.passes, whole.num_tokens)
    budget = budget_of(paper.raw_passes, raw.num_tokens) if paper.raw_passes else longest
    readings = [_reading(paper, RAW, raw, 0, budget)]
    if rephrased.num_tokens:
        own = rephrased.beginning(whole.num_tokens)
        readings.append(_reading(paper, REPHRASE, own, own.num_tokens, budget_of(paper.passes, own.num_tokens)))
    distinct = {part.num_tokens: part for part in parts}
    return readings + [
        _reading(paper, ENTIGRAPH, part, tokens, budget_of(paper.passes, tokens)) for tokens, part in distinct.items()
    ]


def _reading(paper: EntiGraphProtocol, arm: str, text: Written, synthetic: int, budget: int) -> Reading:
    """Return a training that reads at least one row, and no less than the plan's least."""
    return Reading(arm, tuple(text.texts), tuple(text.titles), synthetic, max(1024, paper.context_tokens, budget))


def raw_text(store: Store, tokenizer: Any, snapshot_id: str) -> Written:
    """Return the documents of a snapshot, piece by piece."""
    anchors = read_anchors(store, snapshot_id, heldout=False)
    return _written(tokenizer, anchors["text"].to_list(), anchors["title"].to_list())


def _written(tokenizer: Any, texts: list[str], titles: list[str]) -> Written:
    """Return texts with the tokens that each has as it is read: under its title."""
    from gainloop.models.packing import under_title

    return Written(texts, titles, _lengths(tokenizer, [under_title(*one) for one in zip(titles, texts, strict=True)]))


def reading_parts(
    store: Store,
    device: str,
    paper: EntiGraphProtocol,
    reading: Reading,
    general_id: str,
    start_id: str,
    snapshot_id: str,
) -> "list[MixturePart]":
    """Return the texts of a training with their shares; general text has its share where it is given."""
    from gainloop.models.packing import MixturePart

    replay = paper.replay if general_id else 0.0
    name = "anchors" if reading.arm == RAW else "synthetic"
    parts = [MixturePart(name, reading.texts, 1 - replay, titles=reading.titles)]
    if replay:
        texts = general_texts(store, device, general_id, "replayed", start_id, snapshot_id)
        parts.append(MixturePart("replay", texts["text"].to_list(), replay))
    return parts


def plan_of(paper: EntiGraphProtocol, reading: Reading) -> TrainingPlan:
    """Return the plan of one training."""
    return TrainingPlan(
        budget_tokens=reading.budget,
        seeds=paper.seeds,
        context_tokens=paper.context_tokens,
        titled=True,
        trained_layers=paper.trained_layers,
        optimiser=paper.optimiser,
    )


def reading_lineage(
    paper: EntiGraphProtocol,
    reading: Reading,
    parts: "Sequence[MixturePart]",
    start_id: str,
    seed: int,
    batches: list[str],
) -> Lineage:
    """Return the origin of a training's checkpoint."""
    shared = {"seeds", "arms", "scored_texts", "mixture", "points"}
    plan = {name: value for name, value in plan_of(paper, reading).identity().items() if name not in shared}
    read = {part.name: [part.share, content_hash("texts", *part.texts, *part.titles)] for part in parts}
    return Lineage(f"cpt-{reading.arm}", start_id, plan | {"read": read, "seed": seed}, batches)


class Asked(NamedTuple):
    """One model asked in one way: of EntiGraph's text by how many tokens, and what its training read in all."""

    arm: str
    condition: str
    synthetic_tokens: int
    read_tokens: int


Answers = Mapping[Asked, Sequence[pl.DataFrame]]
"""Answers to the exam, a frame for each seed, the questions in one order."""


def describe_recital(answers: Answers, dropped: dict[str, dict[str, int]]) -> Recital:
    """Return tables, differences and curve of a run.

    Args:
        answers: What all models answered; the start is asked once.
        dropped: Replies of each method that gave no text, by reason.
    """
    first = next(iter(answers.values()))[0]
    column, graded = _graded(first)
    tables = {asked: _table(frames, column) for asked, frames in answers.items()}
    present = {asked.arm for asked in answers}
    result = result_of(first)
    return Recital(
        graded=graded,
        chance=None if result.chance is None or column == "exact" else 100 * result.chance,
        arms={name: words for name, words in ARMS.items() if name in present},
        sat=[_sat(asked, frames, tables[asked], column) for asked, frames in answers.items()],
        against=[*_against(tables, first["document_id"].to_numpy())],
        curve=curve_of(tables, first["document_id"].to_list()),
        dropped=dropped,
    )


def curve_of(tables: Mapping[Asked, Floats], documents: Sequence[str]) -> Curve:
    """Return the curve of EntiGraph's closed-book answers against the tokens of its text; the start is its point 0."""
    points = {
        asked.synthetic_tokens: table
        for asked, table in tables.items()
        if asked.condition == "closed" and asked.arm in (START, ENTIGRAPH)
    }
    return fit_curve(points, documents)


def tell_recital(found: Recital) -> str:
    """Return the headline: what is right closed book before and after each text, and what the curve says."""
    named = {
        START: "the start has",
        RAW: "after the raw documents",
        REPHRASE: "after rephrasings",
        ENTIGRAPH: "after EntiGraph",
    }
    ends = {one.arm: one for one in found.sat if one.condition == "closed"}  # the longest of an arm is the last
    shares = ", ".join(f"{words} {_percent(ends[arm].right)}" for arm, words in named.items() if arm in ends)
    chance = "" if found.chance is None else f", where a blind choice has {found.chance:.0f} %"
    beside = [
        f"{one.name}: {one.figure.signed} {one.figure.unit} {one.figure.interval}".rstrip() for one in found.against[:1]
    ]
    return f"Closed book {shares}{chance}. {'. '.join([*beside, ''])}{found.curve.sentence}"


def _percent(figure: Figure) -> str:
    if figure.value is None:
        return "nothing measured"
    ends = "" if figure.low is None or figure.high is None else f" [{figure.low:.0f}, {figure.high:.0f}]"
    return f"{figure.value:.0f} %{ends}"


def _graded(first: pl.DataFrame) -> tuple[str, str]:
    """Return the column that decides, and words for it: the likeliest option where there are options."""
    if first["option_right"].is_not_null().any():
        return "option_right", "the likeliest of the options, by the sum of its nats"
    return "exact", "a written answer, compared in words"


def _table(frames: Sequence[pl.DataFrame], column: str) -> Floats:
    """Return [seeds, questions] 1 for right, 0 for wrong, NaN for not asked."""
    return np.array([frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy() for frame in frames])


def _sat(asked: Asked, frames: Sequence[pl.DataFrame], table: Floats, column: str) -> Sat:
    documents, first = frames[0]["document_id"].to_list(), result_of(frames[0])

    def share(name: str) -> Figure | None:
        own = table if name == column else _table(frames, name)
        return None if np.isnan(own).all() else _share(own, documents)

    tried = frames[0].filter(pl.col("answer").is_not_null())
    of_attempted = result_of(tried.filter(pl.col("answer") != "")).shares.get("exact")
    return Sat(
        **asked._asdict(),
        right=_share(table, documents),
        by_byte=share("option_right_by_byte"),
        nats=as_figure(first.nats_per_token, "nats of the right answers by their tokens, first seed")
        if first.nats.n
        else None,
        written=share("exact"),
        attempted=as_figure(as_per_cent(attempt_rate(frames[0])), "answers that could be read, first seed")
        if tried.height
        else None,
        of_attempted=None
        if of_attempted is None
        else as_figure(as_per_cent(of_attempted), "right, of those read, first seed"),
        skipped=first.num_skipped,
    )


def _share(table: Floats, documents: Sequence[str]) -> Figure:
    known = np.asarray(np.isfinite(table).all(axis=0))
    names = [one for one, is_known in zip(documents, known, strict=True) if is_known]
    return as_figure(as_per_cent(over_seeds(table[:, known], names, "share", is_share=True)), RIGHT)


def _against(tables: Mapping[Asked, Floats], documents: np.ndarray) -> list[Against]:
    """Return the differences that the paper draws its claims from, those of them that were measured."""
    closed = {asked.arm: table for asked, table in tables.items() if asked.condition == "closed"}
    retrieved = {asked.arm: table for asked, table in tables.items() if asked.condition == "retrieved"}
    pairs = {
        "EntiGraph over raw documents": (closed.get(ENTIGRAPH), closed.get(RAW)),
        "EntiGraph over the start": (closed.get(ENTIGRAPH), closed.get(START)),
        "EntiGraph over rephrasings": (closed.get(ENTIGRAPH), closed.get(REPHRASE)),
        "raw documents over the start": (closed.get(RAW), closed.get(START)),
        "retrieval over the start": (retrieved.get(START), closed.get(START)),
        "EntiGraph over the start, both with retrieval": (retrieved.get(ENTIGRAPH), retrieved.get(START)),
    }
    found = [
        Against(name=name, figure=as_figure(_scores([than, own], documents).gain(1), PAIRED))
        for name, (own, than) in pairs.items()
        if own is not None and than is not None and _both(own, than)
    ]
    arms = [
        table
        for one, by in ((START, closed), (ENTIGRAPH, closed), (START, retrieved))
        if (table := by.get(one)) is not None
    ]
    if len(arms) == 3 and _both(*arms):
        share: Estimate = _scores(arms, documents).share(1, oracle=2)
        name = "part of what retrieval adds that EntiGraph's text adds by itself"
        found.append(
            Against(name=name, figure=as_figure(share, f"(EntiGraph - start) / (retrieval - start); {PAIRED}"))
        )
    return found


def _both(*tables: Floats) -> bool:
    """Tell whether some question was asked of all."""
    return bool(np.isfinite(np.vstack(tables)).all(axis=0).any())


def _scores(tables: Sequence[Floats], documents: np.ndarray) -> Scores:
    known = np.isfinite(np.vstack(tables)).all(axis=0)
    return score_arms([100 * table[:, known] for table in tables], documents[known], "%")


def _lengths(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    from gainloop.models.packing import encode

    return [len(ids) for ids in encode(tokenizer, texts)]
