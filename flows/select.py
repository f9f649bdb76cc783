"""Select the smallest set of rows that suffices, from files of questions and answers."""

from prefect import flow

from gainloop.curation.selection import AnySelection
from gainloop.curation.selection.files import RowFields
from gainloop.curation.selection.s1 import S1
from schemas.profile import load_profile
from tasks.progress import ended
from tasks.select import select_files, selection_summary


@flow(name="select", flow_run_name="select-{selection.kind}")
def select(
    files: list[str],
    out: str,
    selection: AnySelection = S1(),
    fields: RowFields = RowFields(),
    profile: str = "embedded",
) -> str:
    """Return what became of the rows: those selected, and how many were not, by reason.

    Args:
        files: Files of rows, .jsonl .json .csv or .parquet: paths, globs or any fsspec url.
        out: File of the selected rows, which ends in .jsonl; their counts lie beside it, in .counts.json.
        selection: Rule by which rows are selected: lima, limr, random or s1.
        profile: Profile that says where to run: a name in profiles/, or a YAML file.
    """
    load_profile(profile)
    said = selection_summary(select_files(files, out, selection, fields))
    return ended(said, said)
