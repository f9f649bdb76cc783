"""A made-up corpus whose every fact nobody else knows, and questions about it, as tests of exams need them."""

import json
from pathlib import Path

from gainloop.store import Store
from gainloop.store.snapshots import PartWriter
from schemas.rows import Anchor
from tests.store.test_snapshots import make_snapshot

MILLS = ("Ashby", "Brenlow", "Corvane", "Dunmere", "Eskford", "Farlowe", "Grimsel", "Hathern", "Ivorne", "Kelbrook")
OWNERS = ("Tamsin Orr", "Hugo Pell", "Edda Voss", "Milo Crane", "Ursa Lind", "Otto Brand", "Nell Ashe", "Ivo Marsh")


def owner(number: int) -> str:
    return OWNERS[(3 * number + 1) % len(OWNERS)]


def year(number: int) -> str:
    return str(1801 + 13 * number % 97)


def documents() -> dict[str, str]:
    """Return a text for each mill, by name."""
    return {
        name: f"The mill of {name} stands on the north bank. It was built in {year(n)}. The miller was {owner(n)}."
        for n, name in enumerate(MILLS)
    }


def rows() -> list[dict[str, object]]:
    """Return two questions about each mill."""
    asked = []
    for n, name in enumerate(MILLS):
        when = {"question": f"When was the mill of {name} built?", "answer": year(n), "document": f"{name}.md"}
        who = {"question": f"Who was the miller of {name}?", "answer": owner(n), "document": f"{name}.md"}
        asked += [when | {"evidence": f"It was built in {year(n)}."}, who]
    return asked


def write_rows(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def fill(store: Store, texts: dict[str, str], heldout_fraction: float = 0.0, suffix: str = ".md") -> str:
    """Write documents into a store, and return their snapshot."""
    writer = PartWriter(store, "source")
    for name, text in texts.items():
        writer.add_anchor("p", Anchor(text, f"The mill of {name}", f"mills/{name}{suffix}", "CC0-1.0", "1"))
    writer.finish_part("p", "1", {"documents": len(texts), "anchors": len(texts), "too_short": 0})
    writer.write()
    return make_snapshot(store, {"p": "1"}, heldout_fraction)
