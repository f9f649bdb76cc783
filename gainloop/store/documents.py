"""Documents in the store: which anchors each has now, and between which draws its being held out was decided."""

from collections.abc import Iterator

import polars as pl

from gainloop.store.duck import Store

CURRENT = """
    with current as (select unnest($1::varchar[]) as part, unnest($2::varchar[]) as fingerprint),
    found as (select anchor_id, uri from part_anchors join current using (part, fingerprint) where source_id = $3)
"""
"""Pieces of some parts of a source; the parameters are names, fingerprints and the source."""

OWNED = f"""
    {CURRENT},
    owned as (
        -- document_of of schemas/rows.py; a text without a uri is a document of its own
        select anchor_id, num_bytes, coalesce(try_cast(regexp_extract(found.uri, ';piece=([0-9]+)$', 1) as bigint), 0)
            as piece, coalesce(nullif(regexp_replace(found.uri, ';piece=[0-9]+$', ''), ''), anchor_id) as document_id,
            document_id = regexp_replace(anchors.uri, ';piece=[0-9]+$', '') as is_first
        from found join anchors using (anchor_id)),
    versions as (
        select document_id, sha256(string_agg(anchor_id, ' ' order by anchor_id)) as version,
            list(anchor_id order by piece, anchor_id) as anchor_ids, sum(num_bytes)::bigint as num_bytes
        from owned group by document_id)
"""
"""The same pieces with their documents, and the version of each document that they are."""

PLACED = f"""
    {OWNED},
    decided as (
        select document_id,
            case when high < $4 then 'held_out' when low < $4 then 'kept_out' else 'trained' end as place
        from versions join documents using (document_id, version)),
    chosen as (
        select anchor_id, any_value(num_bytes) as num_bytes,
            arg_min(document_id, (case when is_first then '0' else '1' end) || document_id) as document_id
        from owned group by anchor_id),
    placed as (select chosen.*, place from chosen join decided using (document_id))
"""
"""Each anchor once, placed as the document is that it was first found in, if that is there; $4 is the fraction."""

_BYTES_AT_ONCE = 16_000_000


def list_documents(store: Store, source_id: str, parts: dict[str, str]) -> pl.DataFrame:
    """Return the documents of some parts, in the order of their ids.

    Returns:
        Columns document_id, version, anchor_ids, num_bytes, low, high, sketch; the last three are null in a version
        that was not decided on yet.
    """
    return store.query(
        f"{OWNED} select versions.*, low, high, sketch from versions left join documents using (document_id, version) "
        "order by document_id",
        *(list(parts), list(parts.values()), source_id),
    )


def earlier_versions(store: Store, document_ids: list[str]) -> pl.DataFrame:
    """Return what was decided on other versions of documents: columns document_id, low, high."""
    return store.query(
        "select document_id, min(low) as low, max(high) as high from documents "
        "where document_id in (select unnest(?::varchar[])) group by document_id",
        document_ids,
    )


def read_documents(store: Store, documents: pl.DataFrame) -> Iterator[pl.Series]:
    """Yield the texts of documents in their order, some megabytes at a time.

    Args:
        documents: Columns anchor_ids, num_bytes.
    """
    parts = documents["num_bytes"].cum_sum() // _BYTES_AT_ONCE
    for some in documents.select("anchor_ids", part=parts).partition_by("part", maintain_order=True):
        pieces = some.with_row_index("place").explode("anchor_ids").rename({"anchor_ids": "anchor_id"})
        texts = store.query(
            "select anchor_id, text from anchors where anchor_id in (select unnest(?::varchar[]))",
            pieces["anchor_id"].unique().to_list(),
        )
        joined = pieces.join(texts, on="anchor_id", how="left", maintain_order="left")
        yield joined.group_by("place", maintain_order=True).agg(pl.col("text").str.join("\n"))["text"]
