"""What the documents say of each source, method, filter and figure, written from its class or field.

``make docs`` writes it anew, between comments ``<!-- begin: name -->`` and ``<!-- end -->``. The first line of a
class's docstring stands in the README; a line that begins with one of ``LABELS`` begins an item of its section.
"""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gainloop.curation.selection import SELECTIONS
from gainloop.filters import FILTERS
from gainloop.methods import METHODS
from gainloop.methods.critic import Critic
from gainloop.methods.method import Method
from gainloop.sources import SOURCES
from schemas.figure import Words
from schemas.report import WORDS
from schemas.sections import Section

ROOT = Path(__file__).resolve().parents[1]
PAGES = tuple(ROOT / name for name in ("README.md", "docs/methods.md", "docs/measures.md", "docs/selection.md"))
LABELS = ("Asks", "Passes", "Costs", "Counts", "Measured", "Source", "Differs")

Kind = type[BaseModel]

_LABEL = re.compile(rf"^({'|'.join(LABELS)}): ", re.MULTILINE)
BLOCK = re.compile(r"(<!-- begin: (\w+) -->\n).*?(\n<!-- end -->)", re.DOTALL)
_PAPER = re.compile(r"arXiv:(\d{4}\.\d{5})")


def written(page: str) -> str:
    """Return a page with what the classes say between its marks."""
    return BLOCK.sub(lambda block: f"{block[1]}{WRITTEN[block[2]]()}{block[3]}", page)


def kinds() -> str:
    """Return the README's tables: what there is, in a line each."""
    sources = [(f"`{kind}`", summary(made)) for kind, made in SOURCES.items()]
    methods = [(f"`{kind}`", summary(made), paper(made)) for kind, made in METHODS.items()]
    filters = [(f"`{kind}`", summary(made), cost(made)) for kind, made in FILTERS.items()]
    tables = (
        table(("source", "reads"), sources),
        table(("method", "makes", "source"), methods),
        table(("filter", "does", "asks at most"), filters),
    )
    return "\n\n".join(tables)


def sections(known: dict[str, Any]) -> str:
    """Return a section of each class, headed by its kind."""
    return "\n\n".join(f"### `{kind}`\n\n{section(made)}" for kind, made in known.items())


def section(made: Kind) -> str:
    """Return what a class says of itself, what it costs by default, and its parameters."""
    about, items = read(made)
    if hasattr(made, "max_requests"):  # a selection asks nothing
        items["Costs"] = f"at most {cost(made)}; {items['Costs']}" if "Costs" in items else f"at most {cost(made)}."
    listed = [wrapped(f"- {label}: {items[label]}", "  ") for label in LABELS if label in items]
    fields = [(name, field) for name, field in made.model_fields.items() if field.description]
    rows = [(f"`{name}`", shown(field.default), str(field.description)) for name, field in fields]
    parts = [*map(wrapped, about), "\n".join(listed), table(("parameter", "default", "is"), rows)]
    return "\n\n".join(filter(None, parts))


def read(made: Kind) -> tuple[list[str], dict[str, str]]:
    """Return the paragraphs and the labelled items of a class's docstring, as Markdown."""
    text = _PAPER.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", (inspect.getdoc(made) or "").replace("``", "`"))
    about, *items = _LABEL.split(text)
    return about.strip().split("\n\n"), dict(zip(items[::2], map(str.strip, items[1::2]), strict=True))


def summary(made: Kind) -> str:
    return read(made)[0][0].rstrip(".")


def paper(made: Kind) -> str:
    """Return the beginning of a class's source, up to the first paper."""
    found = re.match(r"[^\[]*\[[^\]]*\]\([^)]*\)", read(made)[1].get("Source", ""))
    return found[0].replace("[arXiv:", "[") if found else ""


def cost(made: Any) -> str:
    """Return the most that an anchor, or a record, leads to by default."""
    default = made()
    requests = plural(default.max_requests, "request")
    if isinstance(default, Method):
        return f"{requests} and {plural(default.max_records, 'record')} an anchor"
    return f"{requests} a record"


def plural(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def shown(default: object) -> str:
    """Return a parameter's default as a table shows it; a prompt is too long for that.

    >>> shown(("faq", "math")), shown(True), shown(""), shown(0.35), shown("Is everything that the text says true?")
    ('faq, math', 'true', 'empty', '0.35', 'of its own')
    """
    text = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    text = text.lower() if isinstance(default, bool) else text
    return "empty" if not text else text if len(text) <= 30 else "of its own"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(" ".join(text.split()), 120, subsequent_indent=indent, break_on_hyphens=False)


def figure(path: str, words: Words) -> tuple[str, ...]:
    cells = (f"{words.title}<br>`{path}`", words.unit, words.healthy or "", words.predicts or "", words.meaning)
    return tuple(cell.replace("|", "\\|") for cell in cells)


def figures() -> str:
    """Return the figures of a report: what each is of, and which way is better."""
    rows: list[tuple[str, ...]] = []
    for heading in Section:
        rows.append((f"**{heading}**", "", "", "", ""))
        rows += [figure(path, words) for path, words in WORDS.items() if words.section == heading]
    return table(("figure", "unit", "better", "expected of the gain", "what it says"), rows)


WRITTEN: dict[str, Callable[[], str]] = {
    "kinds": kinds,
    "methods": lambda: sections(METHODS),
    "critic": lambda: section(Critic),
    "filters": lambda: sections(FILTERS),
    "selections": lambda: sections(SELECTIONS),
    "figures": figures,
}

if __name__ == "__main__":
    for page in PAGES:
        page.write_text(written(page.read_text()))
