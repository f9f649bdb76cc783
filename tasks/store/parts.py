"""Parts of sources and their anchors, written as they are read."""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.rows import Anchor, heldout_draw
from tasks.store.duck import Store, now

_SECONDS_PER_WRITE = 1.0
_CHARS_PER_WRITE = 16_000_000


def read_versions(store: Store, source_id: str) -> set[tuple[str, str]]:
    """Return the parts of a source that were read whole, with their fingerprints."""
    return set(store.query("select part, fingerprint from parts where source_id = ?", source_id).iter_rows())


@dataclass(slots=True)
class PartWriter:
    """Inserts anchors about once a second, many small parts or a piece of a large one at a time.

    So memory does not grow with the corpus, and a crash loses a second's work. A part counts as
    read only once it is finished; anchors of a part that was not are facts all the same.

    Attributes:
        num_new_anchors: Those that were not in the store before.
    """

    store: Store
    source_id: str
    num_new_anchors: int = 0
    _rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    _num_chars: int = 0
    _written_at: float = field(default_factory=time.monotonic)

    def add_anchor(self, part: str, anchor: Anchor) -> None:
        """Take one anchor of a part; its revision is the part's fingerprint."""
        anchor_id = anchor.anchor_id
        self._rows["anchors"].append(
            {
                "anchor_id": anchor_id,
                "text": anchor.text,
                "title": anchor.title,
                "uri": anchor.uri,
                "licence": anchor.licence,
                "revision": anchor.revision,
                "num_bytes": len(anchor.text.encode()),
                "heldout_draw": heldout_draw(anchor_id),
            }
        )
        self._rows["part_anchors"].append(self._names(part, anchor.revision) | {"anchor_id": anchor_id})
        self._num_chars += len(anchor.text)

    def finish_part(self, part: str, fingerprint: str, counts: Mapping[str, int]) -> None:
        """Mark a part as read whole, in the same transaction as the last of its anchors or a later one.

        Args:
            counts: Of documents, anchors and too_short.
        """
        about = {
            "num_documents": counts["documents"],
            "num_anchors": counts["anchors"],
            "drops": {"too_short": counts["too_short"]},
            "read_at": now(),
        }
        self._rows["parts"].append(self._names(part, fingerprint) | about)

    def write_if_due(self) -> bool:
        """Insert what there is if a second has passed, or 16 million characters wait."""
        is_due = self._num_chars > _CHARS_PER_WRITE or time.monotonic() - self._written_at > _SECONDS_PER_WRITE
        if is_due:
            self.write()
        return is_due

    def write(self) -> None:
        """Insert what there is in one transaction."""
        if self._rows:
            self.num_new_anchors += self.store.insert(**self._rows).get("anchors", 0)
        self._rows.clear()
        self._num_chars, self._written_at = 0, time.monotonic()

    def _names(self, part: str, fingerprint: str) -> dict[str, str]:
        return {"source_id": self.source_id, "part": part, "fingerprint": fingerprint}
