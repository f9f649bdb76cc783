"""General text: what forgetting is measured on, what is replayed against it, what the replay control reads.

No text has two of these uses. It comes from a source that is given, or from the start itself.
"""

from typing import Final, Literal

import numpy as np
import polars as pl

from gainloop.store import Store
from gainloop.store.checkpoints import checkpoint_folder
from gainloop.store.documents import document_draws
from gainloop.store.files import exists, read_frame, write_frame
from gainloop.store.snapshots import read_anchors
from schemas.errors import BadInput
from schemas.rows import Anchor, content_hash, document_of

Use = Literal["measured", "replayed", "control"]
USES: Final[tuple[Use, ...]] = ("measured", "replayed", "control")

SAMPLED: Final = 32
"""Texts of each use that are drawn from the start where no general text is given."""

SAMPLED_TOKENS: Final = 128


def general_texts(
    store: Store, device: str, general_id: str, use: Use, start_id: str, snapshot_id: str
) -> pl.DataFrame:
    """Return the general text of one use: columns text_id, text, document, in an order that names alone decide.

    Args:
        general_id: Snapshot of the general text; empty if it is drawn from the start.
        start_id: Checkpoint that everything starts from.
        snapshot_id: Snapshot of the main corpus: what it has too is left out.

    Raises:
        BadInput: The source has too few documents for it.
    """
    if not general_id:
        return _sampled(store, device, use, start_id)
    anchors = read_anchors(store, general_id).join(
        read_anchors(store, snapshot_id).select("anchor_id"), on="anchor_id", how="anti", maintain_order="left"
    )
    found = deal(anchors, document_draws(store)).filter(use=use)
    if found.is_empty():
        raise BadInput(
            f"dealing out general text of snapshot {general_id}: its {anchors.height} anchors leave none to be {use}; "
            f"{len(USES)} documents at least are needed that the corpus does not have. Point general at more text."
        )
    return found.select("text_id", "text", "document")


def deal(anchors: pl.DataFrame, draws: dict[str, float]) -> pl.DataFrame:
    """Return each anchor's use: documents, and what nearly repeats them, are dealt out one by one in a drawn order.

    Args:
        anchors: Columns anchor_id, text, uri.
        draws: Draw of each document; near copies have the same.

    Returns:
        Columns text_id, text, document, use, in the order of the draw.
    """
    ids = anchors["anchor_id"].to_list()
    documents = [document_of(uri) or own for uri, own in zip(anchors["uri"], ids, strict=True)]
    clusters = [f"{draws[one]:.17f}" if one in draws else one for one in documents]
    keys = {one: content_hash("general", one) for one in set(clusters)}
    places = {one: place for place, one in enumerate(sorted(keys, key=keys.__getitem__))}
    ranks = np.array([places[one] for one in clusters], dtype=int)
    dealt = anchors.select(
        pl.col("anchor_id").alias("text_id"),
        "text",
        document=pl.Series(documents, dtype=pl.String),
        use=pl.Series([USES[rank % len(USES)] for rank in ranks], dtype=pl.String),
        rank=pl.Series(ranks, dtype=pl.Int64),
    )
    return dealt.sort("rank", "text_id").drop("rank")


def _sampled(store: Store, device: str, use: Use, start_id: str) -> pl.DataFrame:
    """Return texts drawn from the start; they are drawn once and kept."""
    from gainloop.models.sampling import sample_texts

    url = f"{store.folder}/general/{start_id}-{use}-{SAMPLED}x{SAMPLED_TOKENS}.parquet"
    if not exists(url):
        seed = int(content_hash("general", start_id, use)[:8], 16)
        texts = sample_texts(checkpoint_folder(store, start_id), SAMPLED, SAMPLED_TOKENS, seed, device)
        ids = [Anchor(text).anchor_id for text in texts]
        drawn = pl.DataFrame({"text_id": ids, "text": texts, "document": ids})
        write_frame(url, drawn.unique("text_id", maintain_order=True))
    return read_frame(url)
