"""The table of figures in ``docs/measures.md``, written from the fields of the report: ``make docs``."""

import re
from pathlib import Path
from typing import Final

from schemas.figure import Words
from schemas.report import WORDS
from schemas.sections import Section

PAGE: Final = Path(__file__).parents[2] / "docs" / "measures.md"


def tables() -> dict[str, str]:
    """Return Markdown by the name of the marker that it belongs between."""
    lines = ["| figure | unit | better | expected of the gain | what it says |", "|---|---|---|---|---|"]
    for heading in Section:
        lines.append(f"| **{heading}** | | | | |")
        lines += [_as_row(path, words) for path, words in WORDS.items() if words.section == heading]
    return {"figures": "\n".join(lines)}


def fill(page: str, found: dict[str, str]) -> str:
    """Return a page with each table between its markers, ``<!-- begin: name -->`` and ``<!-- end: name -->``.

    Raises:
        ValueError: The page does not have the markers of a table exactly once.
    """
    for name, table in found.items():
        marked = re.compile(f"(<!-- begin: {name} -->\n).*?(\n<!-- end: {name} -->)", re.DOTALL)
        parts = marked.split(page)
        if len(parts) != 4:
            raise ValueError(
                f"writing the table {name}: the page has its markers {len(parts) // 3} times; it takes them once. "
                f"Write <!-- begin: {name} --> and <!-- end: {name} --> on lines of their own."
            )
        before, begin, end, after = parts
        page = f"{before}{begin}{table}{end}{after}"
    return page


def _as_row(path: str, words: Words) -> str:
    cells = [f"{words.title}<br>`{path}`", words.unit, words.healthy or "", words.predicts or "", words.meaning]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text(), tables()))
