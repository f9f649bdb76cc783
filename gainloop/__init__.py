"""gainloop: turn documents into a model that knows them, and measure what each batch of synthetic text added.

The library is plain Python: no Prefect, so it can be imported from a notebook or another project.

    import gainloop

    store = gainloop.open_store("embedded")  # a profile, or the path of a .duckdb file
    store.batches()                          # a Polars frame, the latest first
    store.kept("latest")                     # the records that may be trained on
    store.report("latest").headline
    gainloop.score_text("data/checkpoints/9a7e3105f4d850e1", "A text.").bits_per_byte
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from schemas.masking import mask_logs

if TYPE_CHECKING:
    from gainloop.measures.mutual_information import conditional_entropy, mutual_information
    from gainloop.models.scoring import score_text, score_texts
    from gainloop.store import Store, open_store

__all__ = [
    "ORDER",
    "Store",
    "conditional_entropy",
    "mutual_information",
    "open_store",
    "score_text",
    "score_texts",
]

# Threads that wait for each other sleep rather than spin. With another process on the same two cores a training
# step otherwise takes five times as long (measured: 150 against 1,000 tokens/s). Read once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

mask_logs(("gainloop",))  # where stages run, tasks/ masks what all others log as well

ORDER: Final = (
    ("studies",),
    ("reports",),
    ("serving", "evaluation"),
    ("models",),
    ("methods",),
    ("curation", "filters", "steering"),
    ("measures", "sources", "store", "asking"),
    ("solutions", "tools"),
)
"""The packages from top to bottom: each imports those below it, never one beside or above it; all import schemas."""

_HOMES: Final = {
    "Store": "store",
    "open_store": "store",
    "conditional_entropy": "measures.mutual_information",
    "mutual_information": "measures.mutual_information",
    "score_text": "models.scoring",
    "score_texts": "models.scoring",
}
"""Where each name of this module lives: it is imported when it is asked for, since torch takes seconds."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gainloop' has no attribute {name!r}")
    return getattr(import_module(f"gainloop.{_HOMES[name]}"), name)
