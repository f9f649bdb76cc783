"""Great Expectations at work on one frame after another; results and Data Docs go into one folder.

Only this module imports Great Expectations, and only when a suite is run: that costs seconds of CPU.
"""

import json
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import polars as pl

from schemas.suites import REASONS, Expectation, Suite
from tasks.store.files import disk_errors, write_file

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext

KEPT_SUFFIXES = {".html", ".css"}
"""The rest of a Data Docs site is 4 MB of fonts and pictures, the same in each and shown by none of our pages."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one expectation found in one table.

    Attributes:
        observed: The share of rows that pass, or the table's own value; None if it could not be computed.
        failing: The ids of the rows that do not pass, in order.
    """

    expectation: Expectation
    observed: float | None
    held: bool
    failing: tuple[str, ...] = ()

    def as_row(self) -> dict[str, Any]:
        """Return the finding without its rows, as JSON types."""
        asked = self.expectation
        observed = None if self.observed is None else round(self.observed, 4)
        return {
            "expectation": asked.rule,
            "reason": asked.reason,
            "observed": observed,
            "required": asked.required,
            "held": self.held,
        }


@dataclass(frozen=True)
class Judge:
    """Great Expectations with a folder to write into.

    Attributes:
        name: What is judged, a batch or a snapshot; Data Docs head their pages with it.
    """

    context: "EphemeralDataContext"
    folder: str
    name: str

    def judge(self, table: str, frame: pl.DataFrame, id_column: str, suite: Suite) -> list[Finding]:
        """Hold a frame to a suite; the whole result goes to ``results/<table>.json``.

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
        return [_finding(asked, by_position[n], id_column, frame.height) for n, asked in enumerate(suite)]

    def _add_suite(self, table: str, suite: Suite) -> "ExpectationSuite":
        import great_expectations as gx
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

        added = self.context.suites.add(gx.ExpectationSuite(name=table))
        for position, asked in enumerate(suite):
            # One by one: given to the suite's constructor, one that is invalid is logged and left out.
            added.add_expectation_configuration(ExpectationConfiguration(**_configuration(asked, position)))
        added.save()
        return added


@contextmanager
def open_judge(folder: str, name: str) -> Iterator[Judge]:
    """Give a judge that, when the block ends, builds Data Docs with ``index.html`` in the folder.

    Whatever an earlier judge left in the folder is taken away first.
    """
    import great_expectations as gx
    from great_expectations.data_context.types import base

    _remove(folder)
    with disk_errors(f"building Data Docs in {tempfile.gettempdir()}"), tempfile.TemporaryDirectory() as site:
        backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": site}
        config = base.DataContextConfig(
            store_backend_defaults=base.InMemoryStoreBackendDefaults(),
            data_docs_sites={
                "site": {"class_name": "SiteBuilder", "show_how_to_buttons": False, "store_backend": backend}
            },
            analytics_enabled=False,
            progress_bars=base.ProgressBarsConfig(globally=False),
        )
        judge = Judge(gx.get_context(project_config=config, mode="ephemeral"), folder, name)
        yield judge
        judge.context.build_data_docs()
        for page in sorted(path for path in Path(site).rglob("*") if path.suffix in KEPT_SUFFIXES):
            write_file(posixpath.join(folder, page.relative_to(site).as_posix()), page.read_bytes())


def _configuration(asked: Expectation, position: int) -> dict[str, Any]:
    """Return an expectation as Great Expectations takes it; the position finds its result again."""
    arguments = asked.arguments | ({"column": asked.column} if asked.column else {})
    rows = ""
    if asked.mostly is not None:
        arguments, rows = arguments | {"mostly": asked.mostly}, f" in at least {asked.mostly:.0%} of rows"
    description = f"{asked.rule}{rows}. {REASONS[asked.reason]}"
    meta = {"position": position, "reason": asked.reason}
    return {"type": asked.kind, "kwargs": arguments, "description": description, "meta": meta}


def _finding(asked: Expectation, one: dict[str, Any], id_column: str, num_rows: int) -> Finding:
    """Read one result; an expectation that raised has nothing observed, and has not held."""
    if one["exception_info"].get("raised_exception", True):
        return Finding(asked, None, False)
    if asked.mostly is None:
        return Finding(asked, float(one["result"]["observed_value"] or 0), one["success"])
    failing = tuple(sorted(row[id_column] for row in one["result"]["unexpected_index_list"] or ()))
    return Finding(asked, 1 - len(failing) / num_rows if num_rows else 1.0, one["success"], failing)


def _remove(folder: str) -> None:
    system, path = fsspec.url_to_fs(folder)
    if system.exists(path):
        system.rm(path, recursive=True)
