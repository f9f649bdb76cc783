"""gainloop: turn documents into a model that knows them, and measure what each batch of synthetic text added.

The library is plain Python: no Prefect, so it can be imported from a notebook or another project.
"""

import os
from typing import Final

# Threads that wait for each other sleep rather than spin. With another process on the same two cores a training
# step otherwise takes five times as long (measured: 150 against 1,000 tokens/s). Read once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ORDER: Final = (
    ("studies",),
    ("reports",),
    ("serving", "evaluation"),
    ("models",),
    ("methods",),
    ("curation", "filters", "steering"),
    ("measures", "sources", "store", "asking"),
)
"""The packages from top to bottom: each imports those below it, never one beside or above it; all import schemas."""
