"""Great Expectations at work on one frame after another; results go into one folder.

Only this module imports Great Expectations, and only when a suite is run: that costs seconds of CPU.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import fsspec
import numpy as np
import polars as pl

from gainloop.measures import words as measure
from gainloop.measures.faithfulness import longest_runs, says_wish
from gainloop.measures.intervals import exact_interval
from gainloop.measures.languages import other_language
from gainloop.measures.ngrams import copied_words, hash_texts, repeated_words
from gainloop.measures.talk import leaves_places
from gainloop.measures.words import COPY_WORDS, REPEAT_WORDS
from gainloop.store.files import exists, read_file, write_file
from schemas.errors import SuiteFailed
from schemas.suites import LEAKS, REASONS, SET_BY, THRESHOLDS, Expectation, Suite

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext

PAGE = "index.html"
"""Page beside the result of a table, which ``reports/validation_page.py`` makes."""

RECORD_SCHEMA = pl.Schema(
    {
        "opening": pl.String,
        "printable_share": pl.Float64,
        "letter_share": pl.Float64,
        "foreign_share": pl.Float64,
        "other_language": pl.Float64,
        "refuses": pl.Boolean,
        "leaks": pl.Boolean,
        "cites_source": pl.Boolean,
        "leaves_places": pl.Boolean,
        "least_on_subject": pl.Float64,
    }
)

ROWS_AT_ONCE: Final = 20_000
"""Rows whose words are held at a time."""

MATCHES = "matches.jsonl"
"""File beside the result of a batch: each record that repeats another text or holds a probe, and which one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one expectation on one table.

    Attributes:
        observed: Share of rows that pass, or the table's own value; None if it could not be computed.
        held: True if the expectation is met.
        failing: Ids of the rows that do not pass, in order.
        rows: Rows of the table.
    """

    expectation: Expectation
    observed: float | None
    held: bool
    failing: tuple[str, ...] = ()
    rows: int = 0

    def as_row(self) -> dict[str, Any]:
        """Return the finding without its rows, as JSON types."""
        expectation = self.expectation
        observed = None if self.observed is None else round(self.observed, 4)
        return {
            "expectation": expectation.rule,
            "reason": expectation.reason,
            "observed": observed,
            "required": expectation.required,
            "held": self.held,
            "rows": self.rows,
            "is_share": expectation.mostly is not None,
        }


@dataclass(frozen=True)
class SuiteRunner:
    """Great Expectations with a folder to write into.

    Attributes:
        folder: Folder that results are written to.
        name: Id of the batch or snapshot that is validated.
    """

    context: "EphemeralDataContext"
    folder: str
    name: str

    def run(self, table: str, frame: pl.DataFrame, id_column: str, suite: Suite) -> list[Finding]:
        """Validate a frame by a suite; the whole result goes to ``results/<table>.json``.

        Returns:
            One finding per expectation, in the suite's order.
        """
        import great_expectations as gx
        from great_expectations.core.run_identifier import RunIdentifier

        asset = self.context.data_sources.add_pandas(table).add_dataframe_asset(table)
        whole = asset.add_batch_definition_whole_dataframe("all")
        definition = gx.ValidationDefinition(name=table, data=whole, suite=self._add_suite(table, suite))
        result = self.context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": frame.to_pandas()},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [id_column]},
            # With a time of its own: without, a name that is all digits is read as one.
            run_id=RunIdentifier(run_name=self.name, run_time=datetime.now(UTC)),
        )
        content: Any = result.to_json_dict()  # type: ignore[no-untyped-call]
        write_file(f"{self.folder}/results/{table}.json", json.dumps(content, indent=1).encode())
        by_position = {one["expectation_config"]["meta"]["position"]: one for one in content["results"]}
        return [_finding(expectation, by_position[n], id_column, frame.height) for n, expectation in enumerate(suite)]

    def _add_suite(self, table: str, suite: Suite) -> "ExpectationSuite":
        import great_expectations as gx
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

        added = self.context.suites.add(gx.ExpectationSuite(name=table))
        for position, expectation in enumerate(suite):
            # One by one: given to the suite's constructor, one that is invalid is logged and left out.
            added.add_expectation_configuration(ExpectationConfiguration(**_configuration(expectation, position)))
        added.save()
        return added


def open_suites(folder: str, name: str) -> SuiteRunner:
    """Return a runner of suites for a folder; files of an earlier run are removed from it."""
    import great_expectations as gx
    from great_expectations.data_context.types import base

    _remove(folder)
    # Without a site: its Data Docs load fonts and scripts from the network, and reports/validation_page.py does not.
    config = base.DataContextConfig(
        store_backend_defaults=base.InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars=base.ProgressBarsConfig(globally=False),
    )
    return SuiteRunner(gx.get_context(project_config=config, mode="ephemeral"), folder, name)


def _configuration(expectation: Expectation, position: int) -> dict[str, Any]:
    """Return an expectation as Great Expectations takes it; the position finds its result again."""
    arguments = expectation.arguments | ({"column": expectation.column} if expectation.column else {})
    rows = ""
    if expectation.mostly is not None:
        arguments, rows = arguments | {"mostly": expectation.mostly}, f" in at least {expectation.mostly:.0%} of rows"
    description = f"{expectation.rule}{rows}. {REASONS[expectation.reason]}"
    meta = {"position": position, "reason": expectation.reason}
    return {"type": expectation.kind, "kwargs": arguments, "description": description, "meta": meta}


def _finding(expectation: Expectation, one: dict[str, Any], id_column: str, num_rows: int) -> Finding:
    """Return one result as a finding; an expectation that raised has nothing observed and is not met."""
    if one["exception_info"].get("raised_exception", True):
        return Finding(expectation, None, False, rows=num_rows)
    if expectation.mostly is None:
        return Finding(expectation, float(one["result"]["observed_value"] or 0), one["success"], rows=num_rows)
    failing = tuple(sorted(row[id_column] for row in one["result"]["unexpected_index_list"] or ()))
    return Finding(expectation, 1 - len(failing) / num_rows if num_rows else 1.0, one["success"], failing, num_rows)


def _remove(folder: str) -> None:
    system, path = fsspec.url_to_fs(folder)
    if system.exists(path):
        system.rm(path, recursive=True)


def anchor_columns(anchors: pl.DataFrame) -> pl.DataFrame:
    """Return anchor_id, text and the measures of the text."""
    rows = anchors.select("anchor_id", "text")
    return rows.hstack(pl.concat([_measure_anchors(some["text"]) for some in _slices(rows)]))


def _measure_anchors(texts: pl.Series) -> pl.DataFrame:
    hashed = hash_texts(texts)
    num_words = hashed.lengths
    return pl.DataFrame(
        [
            pl.Series("num_words", num_words, pl.Int64),
            pl.Series("printable_share", [measure.printable_share(text) for text in texts], pl.Float64),
            pl.Series("letter_share", [measure.letter_share(text) for text in texts], pl.Float64),
            pl.Series("repeated_share", repeated_words(hashed, REPEAT_WORDS) / np.maximum(num_words, 1)),
        ]
    )


def record_columns(records: pl.DataFrame, anchors: pl.DataFrame, wishes: tuple[str, ...] = ()) -> pl.DataFrame:
    """Return record_id and the measures of each record beside its anchor.

    Args:
        records: Columns record_id, anchor_id, text.
        anchors: Columns anchor_id, text, heldout; a record whose anchor is missing is measured alone.
        wishes: Instructions of the prompts; a record that repeats a piece of one leaks.
    """
    beside = anchors.select("anchor_id", "heldout", anchor="text")
    rows = records.select("record_id", "anchor_id", "text").join(beside, on="anchor_id", how="left")
    rows = rows.sort("anchor_id", "record_id")
    return rows.select(
        "record_id",
        anchor_known=pl.col("anchor").is_not_null(),
        anchor_heldout=pl.col("heldout").fill_null(False),
        num_earlier_copies=pl.col("record_id").rank("ordinal").over("text").cast(pl.Int64) - 1,
    ).hstack(pl.concat([_measure_beside(some, wishes) for some in _slices(rows)]))


def _slices(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Return rows in pieces whose words, and whose values as Python's, are held at a time; one at least."""
    return list(rows.iter_slices(ROWS_AT_ONCE)) or [rows]


def _measure_beside(rows: pl.DataFrame, wishes: tuple[str, ...]) -> pl.DataFrame:
    """Return the measures of some records beside their anchors: columns anchor_id, text, anchor."""
    known = rows.filter(pl.col("anchor").is_not_null()).unique("anchor_id", maintain_order=True)
    numbers = known.select("anchor_id", own=pl.int_range(pl.len()))
    owners = rows.select("anchor_id").join(numbers, on="anchor_id", how="left", maintain_order="left")["own"]
    own = owners.fill_null(-1).to_numpy().astype(np.int64)
    texts, anchors = hash_texts(rows["text"]), hash_texts(known["anchor"])
    num_words = np.maximum(texts.lengths, 1)
    pairs = zip(rows["text"], rows["anchor"].fill_null(""), strict=True)
    measured = pl.DataFrame([_measure_record(text, anchor) for text, anchor in pairs], RECORD_SCHEMA, orient="row")
    leaks = pl.col("leaks") | pl.Series(says_wish(texts, anchors, own, wishes))
    return pl.DataFrame(
        {
            "num_words": texts.lengths,
            "repeated_share": repeated_words(texts, REPEAT_WORDS) / num_words,
            "copied_share": copied_words(texts, anchors, own, COPY_WORDS) / num_words,
            "longest_copy": longest_runs(texts, anchors, own, own >= 0),
        }
    ).hstack(measured.with_columns(leaks))


def _measure_record(text: str, anchor: str) -> tuple[object, ...]:
    """Return the values of ``RECORD_SCHEMA``, in its order."""
    return (
        measure.opening(text),
        measure.printable_share(text),
        measure.letter_share(text),
        # Beside a missing anchor every script would be foreign.
        measure.foreign_share(text, anchor or text),
        other_language(text, anchor),
        measure.refuses(text),
        measure.leaks(text, LEAKS, anchor),
        measure.cites_source(text, anchor),
        leaves_places(text, anchor),
        measure.least_on_subject(text, anchor),
    )


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """The result of a suite on one table.

    Attributes:
        folder: Folder with ``verdict.json``, ``results/`` and the page, ``index.html``.
        summary: Counts of rows; ``reasons``, if rows are quarantined; ``success``; ``expectations``, how many.
        findings: One row per expectation: expectation, reason, observed, required, held; rows, of the table; is_share,
            true where what is observed is the share of rows that pass.
    """

    folder: str
    summary: dict[str, Any]
    findings: list[dict[str, Any]]


def write_result(
    folder: str, counts: dict[str, Any], findings: Sequence[Finding], render: Callable[[SuiteResult], str]
) -> SuiteResult:
    """Sum findings up, write their page, and write them to ``verdict.json``, last of all files in the folder."""
    summary = {**counts, "success": all(one.held for one in findings), "expectations": len(findings)}
    result = SuiteResult(folder, summary, [one.as_row() for one in findings])
    write_file(f"{folder}/{PAGE}", render(result).encode())
    content = {"summary": result.summary, "findings": result.findings}
    write_file(f"{folder}/verdict.json", json.dumps(content, indent=1).encode())
    return result


def read_result(folder: str) -> SuiteResult | None:
    """Return the result in a folder, or None if there is none."""
    url = f"{folder}/verdict.json"
    return SuiteResult(folder, **json.loads(read_file(url))) if exists(url) else None


def require_success(result: SuiteResult, what: str) -> None:
    """Check that a table meets its suite.

    Args:
        what: Name of the table in the message.

    Raises:
        SuiteFailed: An expectation is not met; the message names each one, with the value observed.
    """
    failed = [one for one in result.findings if not one["held"]]
    broken = [f"{one['reason']} ({_observed(one)})" for one in failed]
    if broken:
        settings = dict.fromkeys(SET_BY.get(one["reason"], THRESHOLDS) for one in failed)
        raise SuiteFailed(
            f"validating {what}: {len(broken)} of {len(result.findings)} expectations do not hold, "
            f"{', '.join(broken)}; all must hold before anything is trained on. "
            f"Read {result.folder}/{PAGE}, then change what the text is made from or, if the rows are good, "
            f"{' and '.join(settings)}, and run the same again."
        )


def is_missed(batches: Sequence[tuple[SuiteResult, int]]) -> bool:
    """Tell whether the records of several batches together miss an expectation by more than chance.

    So they do where the upper end of the exact 95 % interval of the share that meets it lies below what is required.
    Records of one anchor go together: a batch counts as no more rows than it has anchors. An expectation of the table
    as a whole proves nothing.

    Args:
        batches: Results of all of a recipe's batches, those that passed among them, each with the batch's anchors.
    """
    met, number, required = Counter[str](), Counter[str](), dict[str, float]()
    for result, anchors in batches:
        for one in result.findings:
            if one["is_share"] and one["observed"] is not None:
                name, rows = one["expectation"], min(one["rows"], anchors)
                met[name] += one["observed"] * rows
                number[name] += rows
                required[name] = one["required"]
    return any(exact_interval(met[name], number[name])[1] < least for name, least in required.items() if number[name])


def as_markdown(result: SuiteResult) -> str:
    """Return the result as Markdown: counts of rows, and the expectations that are not met."""
    heading = "The suite holds" if result.summary["success"] else "The suite failed: nothing is trained on this"
    counts = ", ".join(f"{value:,} {name}" for name, value in result.summary.items() if type(value) is int)
    broken = [f"- **{one['reason']}**: {_observed(one)}" for one in result.findings if not one["held"]]
    reasons = [f"| {reason} | {count:,} |" for reason, count in result.summary.get("reasons", {}).items()]
    table = ["| reason | records refused |", "|---|---:|", *reasons] if reasons else []
    page = f"Every expectation, with texts that do not meet it: `{result.folder}/{PAGE}`"
    return "\n".join([f"## {heading}", counts, *broken, "", *table, "", *_corpus_lines(result), page])


def _corpus_lines(result: SuiteResult) -> list[str]:
    """Return lines on how records compare with the corpus; none for anchors, which are not compared."""
    if not (corpus := result.summary.get("corpus")):
        return []
    beside = ", ".join(f"{number:,} {what}" for what, number in corpus["compared"].items()) or "nothing was compared"
    found = f"Across the corpus ({beside}): {corpus['matches']:,} matches"
    if not corpus["matches"]:
        return [found, ""]
    return [f"{found}, all in `{result.folder}/{MATCHES}`. Some:", *(f"- {one}" for one in corpus["examples"]), ""]


def _observed(finding: dict[str, Any]) -> str:
    """Return one finding in a sentence.

    >>> _observed({"expectation": "leaks is false", "observed": 0.125, "required": 0.95, "is_share": True})
    'leaks is false: 12.5 % of the rows where 95 % is required'
    >>> _observed({"expectation": "number of rows at least 1", "observed": 0, "required": 1, "is_share": False})
    'number of rows at least 1: 0 where 1 is required'
    """
    observed, scale, unit, of = finding["observed"], 1, "", ""
    if finding.get("is_share"):
        scale, unit, of = 100, " %", " of the rows"
    found = "not computable" if observed is None else f"{scale * observed:.3g}{unit}{of}"
    return f"{finding['expectation']}: {found} where {scale * finding['required']:g}{unit} is required"
