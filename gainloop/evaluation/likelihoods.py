"""Likelihoods of texts under the checkpoints of a training: held-out texts, anchors and records."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from gainloop.evaluation.arms import Comparison, split_records, trained_records
from gainloop.evaluation.general import general_texts
from gainloop.store import Store
from gainloop.store.batches import complete_stage, kept_records, read_recipe, stage_summary, used_anchors
from gainloop.store.checkpoints import checkpoint_folder
from gainloop.store.files import exists, write_frame
from gainloop.store.snapshots import read_anchors
from schemas.plan import Arm
from schemas.rows import content_hash

MAX_SCORED = 2_000
"""Texts scored per set, at most; more would narrow the intervals little and cost as much again."""

MAX_READ = 256
"""Anchors that both arms are scored on, with the book closed and open."""

OnSet = Callable[[int, int], None]
"""Called with the sets of texts scored, and all of them."""


@dataclass(frozen=True)
class TextSet:
    """Texts to score.

    Attributes:
        texts: Columns text_id, text and, where something is read before each text, before.
        half: True to read a text in pieces of half the model's context, so that ``before`` has the other half.
        most: Number of texts that are scored, at most, the first by id.
    """

    texts: pl.DataFrame
    half: bool = False
    most: int = MAX_SCORED


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an arm in the order of one seed, and its checkpoints, the last at its end."""

    arm: Arm
    seed: int
    checkpoints: list[str]


def score_set(store: Store, device: str, checkpoint_id: str, wanted: TextSet) -> str:
    """Return the url of the texts' likelihoods under a checkpoint; score them first if they are not there."""
    from gainloop.models.loading import read_context
    from gainloop.models.scoring import score_texts

    chosen = wanted.texts.sort("text_id").head(wanted.most)
    ids = chosen["text_id"].to_list()
    before = chosen["before"].to_list() if "before" in chosen.columns else None
    url = f"{store.folder}/scores/{checkpoint_id}-{content_hash(ids, before, wanted.half)}.parquet"
    if not exists(url):
        folder = checkpoint_folder(store, checkpoint_id)
        window = read_context(folder) // 2 if wanted.half else None
        texts = chosen["text"].to_list()
        write_frame(url, score_texts(folder, ids, texts, device, before, window))
    return url


def score_training(store: Store, device: str, of: Comparison, runs: list[Run], on_set: OnSet) -> dict[str, str]:
    """Return the urls of all scores of a training, by ``<role>/<texts>`` as in ``Evidence``; score what is missing.

    Held-out and general text is read by the start and by every run; of the rest the runs of seed 0 are enough.
    """
    first: dict[str, str] = {run.arm: run.checkpoints[-1] for run in runs if run.seed == 0}
    checkpoints: dict[str, str] = {"start": of.start_id, **first}
    wanted = {key: (one, texts) for key, one, texts in _seen_by_all(store, device, of, runs)}
    wanted |= {key: (checkpoints[role], texts) for key, role, texts in _seen_by_first(store, of)}
    scored = {}
    for done, (name, (checkpoint, texts)) in enumerate(wanted.items()):
        on_set(done, len(wanted))
        scored[name] = score_set(store, device, checkpoint, texts)
    on_set(len(wanted), len(wanted))
    return scored | {f"{arm}/learned": learned_url(store, one) for arm, one in first.items()}


def general_set(
    store: Store, device: str, general_id: str, start_id: str, snapshot_id: str, most: int = MAX_SCORED
) -> TextSet:
    """Return the general text that forgetting is measured on; see ``general_texts``."""
    dealt = general_texts(store, device, general_id, "measured", start_id, snapshot_id)
    return TextSet(dealt.select("text_id", "text"), most=most)


def key_of(role: str, texts: str, seed: int = 0, fraction: float = 1.0) -> str:
    """Return the key of scores: the end of seed 0 has the shortest.

    >>> key_of("synthetic", "heldout"), key_of("synthetic", "heldout", 2), key_of("baseline", "general", 0, 0.25)
    ('synthetic/heldout', 'synthetic/heldout/2', 'baseline/general/0/0.25')
    """
    key = f"{role}/{texts}"
    if fraction < 1:
        return f"{key}/{seed}/{fraction:g}"
    return f"{key}/{seed}" if seed else key


def learned_url(store: Store, checkpoint_id: str) -> str:
    """Return where a checkpoint keeps the losses of the rows that it read for the first time."""
    from gainloop.models.pretraining import LEARNED

    return f"{checkpoint_folder(store, checkpoint_id)}/{LEARNED}"


def _seen_by_all(store: Store, device: str, of: Comparison, runs: list[Run]) -> Iterator[tuple[str, str, TextSet]]:
    """Yield key, checkpoint and texts of the sets that show what was gained and what was lost."""
    snapshot_id, most = read_recipe(store, of.batch_id).snapshot_id, of.plan.scored_texts
    heldout = TextSet(_as_texts(read_anchors(store, snapshot_id, heldout=True), "anchor_id"), most=most)
    general = general_set(store, device, of.general_id, of.start_id, snapshot_id, most)
    sets = {"heldout": heldout, "general": general}
    for name, texts in sets.items():
        yield key_of("start", name), of.start_id, texts
        for run in runs:
            for fraction, checkpoint in zip(of.fractions, run.checkpoints, strict=True):
                yield key_of(run.arm, name, run.seed, fraction), checkpoint, texts


def _seen_by_first(store: Store, of: Comparison) -> Iterator[tuple[str, str, TextSet]]:
    """Yield key, role and texts of the sets that say what was learnt of anchors and records."""
    kept, used, most = _scored_records(store, of), used_anchors(store, of.batch_id), of.plan.scored_texts
    records = TextSet(_as_texts(kept, "record_id"), most=most)
    # One record an anchor, the first by its id: what the generator said of it.
    before = kept.unique("anchor_id", keep="first", maintain_order=True).select("anchor_id", before="text")
    opened = (
        used.join(before, on="anchor_id")
        .sort("anchor_id")
        .head(min(most, MAX_READ))
        .select("text", "before", text_id="anchor_id")
    )
    closed = opened.drop("before")
    yield "start/anchors", "start", TextSet(_as_texts(used, "anchor_id"))
    yield "start/records", "start", records
    for arm in ("synthetic", "baseline"):
        yield f"{arm}/anchors", arm, TextSet(closed)
    yield "synthetic/records", "synthetic", records
    yield "synthetic/closed", "synthetic", TextSet(closed, half=True)
    yield "synthetic/open", "synthetic", TextSet(opened, half=True)


def _scored_records(store: Store, of: Comparison) -> pl.DataFrame:
    """Return the batch's kept records, without those that a selection left out: they are neither read nor held out."""
    kept = kept_records(store, of.batch_id)
    if not of.selection:
        return kept
    heldout = split_records(kept, of.plan.heldout_records)[1]
    read = [*trained_records(store, of)[0]["record_id"], *heldout["record_id"]]
    return kept.filter(pl.col("record_id").is_in(read))


def score_yardstick(store: Store, device: str, batch_id: str, start_id: str) -> None:
    """Score a batch's anchors under the start before anything is trained: the gate compares Delta I with them."""
    url = score_set(store, device, start_id, TextSet(_as_texts(used_anchors(store, batch_id), "anchor_id")))
    if stage_summary(store, batch_id, "yardstick", start_id) is None:
        complete_stage(store, batch_id, "yardstick", {"start": start_id, "url": store.keep(url)}, start_id)


def _as_texts(frame: pl.DataFrame, key: str) -> pl.DataFrame:
    return frame.select(pl.col(key).alias("text_id"), "text")
