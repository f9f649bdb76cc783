"""Ids are hashes of what made a row, so that every machine gives the same id."""

import hashlib
import json
from typing import Any

_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def content_hash(*parts: Any) -> str:
    """Return 16 hex digits that name a value of JSON types.

    64 bits: among ten million rows, the chance that any two share a name is below 1e-5.

    >>> content_hash("a", {"y": 1, "x": 2}) == content_hash("a", {"x": 2, "y": 1})
    True
    >>> content_hash("ab", "c") == content_hash("a", "bc")
    False
    """
    return hashlib.sha256(_CANONICAL.encode(parts).encode()).hexdigest()[:16]


def unit_draw(*parts: Any) -> float:
    """Return a number in [0, 1) that depends on nothing but the parts.

    >>> 0 <= unit_draw("heldout", "abc") < 1
    True
    """
    return int(content_hash(*parts), 16) / 2**64
