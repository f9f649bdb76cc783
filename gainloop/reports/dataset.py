"""Kept records as a dataset: files that trainers read, and a card that says what they are and whose."""

import json
from collections.abc import Sequence
from typing import Any, Final, Literal

import polars as pl

from gainloop.store import Store
from gainloop.store.batches import kept_records, read_recipe
from gainloop.store.files import exists, read_file, remove_file, write_file, write_frame
from schemas.errors import BadInput
from schemas.figure import figures_of
from schemas.recipe import Recipe

Format = Literal["jsonl", "parquet"]

LICENCES: Final = {"apache-2.0": "apache-2.0", "mit": "mit", "cc0-1.0": "cc0-1.0", "cc-by-4.0": "cc-by-4.0"}
"""Licences by the names that the hub's cards have for them; another one is told by its own."""

TITLE: Final = "# Synthetic text made with gainloop"

NO_LICENCE: Final = "none named"

ON_CARD: Final = (
    *("delta_i.bits_per_byte", "curation.accept_rate", "diversity.near_duplicates"),
    *("faithfulness.copying", "faithfulness.novelty", "quality.non_factual"),
)
"""Figures of a report that a card has, by their paths; the headline has those of a model that was trained."""

_FUNCTION: Final = pl.Struct({"name": pl.String, "arguments": pl.String})
_CALL: Final = pl.Struct({"id": pl.String, "type": pl.String, "function": _FUNCTION})
_SHAPE: Final[dict[str, pl.DataType]] = {
    **{"role": pl.String(), "content": pl.String()},
    **{"tool_calls": pl.List(_CALL), "tool_call_id": pl.String()},
}
"""A message of a dataset, without the fields that no message of it has."""

_ANCHORS: Final = """
select anchor_id, title, uri as document, licence from anchors
    where anchor_id in (select anchor_id from records where list_contains($1, batch_id)) order by anchor_id
"""


def export_batches(store: Store, batch_ids: Sequence[str], folder: str, form: Format, mixes_licences: bool) -> str:
    """Write the kept records of batches into a folder, with a card, and return the path of the data.

    A record that several batches have is written once, in the order of record ids. A text stands in the column
    ``text``, a conversation in ``messages``.

    Raises:
        BadInput: A batch is not validated, none of its records is kept, some are texts and some conversations, or their
            documents are of several licences and that was not allowed.
    """
    card_url, other = f"{folder.rstrip('/')}/README.md", "jsonl" if form == "parquet" else "parquet"
    if exists(card_url) and TITLE not in read_file(card_url).decode(errors="replace"):
        raise BadInput(
            f"exporting batches {', '.join(batch_ids)} to {folder}: it has a README.md that no export wrote; a folder "
            "without one, or one of an earlier export, is allowed. Give another by --to."
        )
    rows = read_rows(store, batch_ids)
    licences = sorted({one or NO_LICENCE for one in rows["licence"]})
    if len(licences) > 1 and not mixes_licences:
        raise BadInput(
            f"exporting batches {', '.join(batch_ids)}: their documents are under {', '.join(licences)}; one licence "
            "is allowed, or several where that is said. Export batches apart, or set --mixes-licences true."
        )
    data = f"{folder.rstrip('/')}/records.{form}"
    if form == "parquet":
        write_frame(data, rows)
    else:
        write_file(data, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows.to_dicts()).encode())
    measured = [line for one in batch_ids for line in _list_measured(store, one)]
    card = write_card(rows, [read_recipe(store, one) for one in batch_ids], licences, form, measured)
    remove_file(f"{folder.rstrip('/')}/records.{other}")  # an earlier export's, which the card is not of
    write_file(card_url, card.encode())  # last: a folder with a card is whole
    return data


def read_rows(store: Store, batch_ids: Sequence[str]) -> pl.DataFrame:
    """Return kept records with where they come from.

    Returns:
        Columns text or messages, record_id, batch_id, method, facet, model, anchor_id, title, document, licence.
    """
    frames = [_rows_of(store, batch_id) for batch_id in batch_ids]
    found = pl.concat(frames).unique("record_id", keep="first").sort("record_id")
    if found.is_empty():
        raise BadInput(
            f"exporting batches {', '.join(batch_ids)}: validation kept none of their records; one at least is needed. "
            "`gainloop show BATCH` says why they were refused."
        )
    talks = found["turns"] != ""
    if talks.any() and not talks.all():
        raise BadInput(
            f"exporting batches {', '.join(batch_ids)}: {talks.sum():,} of {len(talks):,} records are conversations "
            "and the others texts; a dataset is of one shape. Export batches of one kind together."
        )
    anchors = store.query(_ANCHORS, list(batch_ids))
    joined = found.join(anchors, on="anchor_id", how="left", maintain_order="left")
    shown = _messages_of(joined) if talks.all() else joined["text"]
    named = ("record_id", "batch_id", "method", "facet", "model", "anchor_id", "title", "document", "licence")
    return joined.select(shown, *named)


def _rows_of(store: Store, batch_id: str) -> pl.DataFrame:
    recipe = read_recipe(store, batch_id)
    about = {"batch_id": batch_id, "method": str(recipe.method["kind"]), "model": _models_of(recipe)}
    return kept_records(store, batch_id).with_columns(**{name: pl.lit(value) for name, value in about.items()})


def _messages_of(rows: pl.DataFrame) -> pl.Series:
    """Return conversations as lists of messages; arguments of calls are JSON, so that all messages have one shape."""
    talks = [[_with_written_arguments(message) for message in json.loads(turns)] for turns in rows["turns"]]
    keys = {key for talk in talks for message in talk for key in message}
    shape = {name: kind for name, kind in _SHAPE.items() if name in keys}
    return pl.Series("messages", talks, dtype=pl.List(pl.Struct(shape)))


def _with_written_arguments(message: dict[str, Any]) -> dict[str, Any]:
    if "tool_calls" not in message:
        return message
    functions = [one["function"] for one in message["tool_calls"]]
    written = [json.dumps(one["arguments"], ensure_ascii=False) for one in functions]
    calls = [
        call | {"function": function | {"arguments": text}}
        for call, function, text in zip(message["tool_calls"], functions, written, strict=True)
    ]
    return message | {"tool_calls": calls}


def _list_measured(store: Store, batch_id: str) -> list[str]:
    """Return what the last report of a batch says, as lines of Markdown: its headline, and figures of its text."""
    try:
        report = store.report(batch_id)
    except BadInput:
        return [f"Batch {batch_id} has no report of its present state.", ""]
    rows = [
        (words.title, found.written, found.n, words.meaning)
        for path, words, found in figures_of(report)
        if path in ON_CARD and found.value is not None
    ]
    figures = _table(("of its records", "value, 95 % interval", "n", "is"), rows)
    return [f"**Batch {batch_id}.** {report.headline}", "", *figures, ""]


def write_card(
    rows: pl.DataFrame, recipes: Sequence[Recipe], licences: Sequence[str], form: Format, measured: Sequence[str]
) -> str:
    """Return the card of a dataset in Markdown, with the head that the hub reads.

    Args:
        measured: Lines on what its batches' reports say.
    """
    licence = LICENCES.get(licences[0].casefold(), "other") if len(licences) == 1 else "other"
    shape = "messages" if "messages" in rows.columns else "text"
    files = f"configs:\n- config_name: default\n  data_files: records.{form}"
    head = f"---\nlicense: {licence}\ntags:\n- synthetic\n{files}\n---\n"
    by_licence = rows.with_columns(pl.col("licence").replace("", NO_LICENCE)).group_by("licence").len().sort("licence")
    return "\n".join(
        [
            head,
            TITLE,
            "",
            f"{rows.height:,} records in the column `{shape}`, made of {rows['anchor_id'].n_unique():,} pieces of real "
            "documents. Each was kept by the validation of its batch. The other columns say which batch, method and "
            "model made a record, and of which document, under which licence.",
            "",
            *_table(("licence of the documents", "records"), by_licence.rows()),
            "",
            *_table(
                ("batch", "method", "model", "revision", "temperature", "top_p", "seed", "records"),
                [_recipe_row(rows, recipe) for recipe in recipes],
            ),
            "",
            "## What was measured",
            "",
            *measured,
            "What a text says is a model's: where its documents speak of it, look there.",
            "",
        ]
    )


def _recipe_row(rows: pl.DataFrame, recipe: Recipe) -> tuple[Any, ...]:
    sampling, made = recipe.sampling, (rows["batch_id"] == recipe.batch_id).sum()
    drawn = (sampling.temperature, sampling.top_p, recipe.seed, made)
    return recipe.batch_id, recipe.method["kind"], _models_of(recipe), recipe.revision, *drawn


def _models_of(recipe: Recipe) -> str:
    """Return the generator's name, with those of the models that play a part in its place."""
    played = "; ".join(f"{role}: {one.model}" for role, one in sorted(recipe.players.items()))
    return f"{recipe.model} ({played})" if played else recipe.model


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [" | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) for row in (names, *rows)]
    return [f"| {lines[0]} |", f"|{'---|' * len(names)}", *(f"| {line} |" for line in lines[1:])]
