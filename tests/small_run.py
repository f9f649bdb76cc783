"""A whole cycle that is small enough for a test: real prose, a real model, real training, under a minute."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from pydoc_data.topics import topics
from types import MappingProxyType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent

START = {
    "kind": "new",
    "vocabulary": 512,
    "hidden_size": 64,
    "layers": 2,
    "head_size": 32,
    "context_tokens": 256,
    "budget_tokens": 61_440,
    "optimiser": {"learning_rate": 0.01, "batch_tokens": 512},
}
OPTIMISER = {"learning_rate": 0.002, "batch_tokens": 512}
METHOD = {"kind": "sbp", "budget_tokens": 16_384, "min_similarity": 0.1, "optimiser": OPTIMISER}
SAMPLING = {"max_tokens": 160}
SERVED = {"kind": "served", "model": "stub"}
RELEASE = "so small a generator cannot heed its prompts"
"""The gate holds such batches for good reason; what is tested is what comes after."""
PLAN = {"budget_tokens": 16_384, "context_tokens": 256, "seeds": 1, "optimiser": OPTIMISER}


def write_corpus(folder: Path, num_topics: int = 24) -> Path:
    """Write topics of the Python language reference as Markdown files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(topics)[:num_topics]:
        (folder / f"{name}.md").write_text(topics[name][:3000], encoding="utf-8")
    return folder


def write_profile(folder: Path, **changes: Any) -> Path:
    """Write a profile whose every file lies in ``folder``; ``changes`` replace whole sections."""
    profile = {
        "folder": str(folder / "data"),
        "store": {"url": str(folder / "data" / "gainloop.duckdb"), "lock_seconds": 30},
        "generation": {"shard_anchors": 16},
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(profile | changes))
    return path


def parameters(
    corpus: Path, profile: Path, text: Mapping[str, Any] = MappingProxyType({}), **changes: Any
) -> dict[str, Any]:
    """Return the parameters of ``flows.cycle``; ``text`` changes some of how text is made, ``changes`` whole parts."""
    source = {"kind": "files", "paths": [str(corpus)], "max_chars": 400, "licence": "PSF-2.0"}
    made = {"method": METHOD, "sampling": SAMPLING, "max_anchors": 32, **text}
    small = {"source": source, "text": made, "start": START, "plan": PLAN, "release": RELEASE}
    return {**small, "profile": str(profile), **changes}


def served(profile: Path, max_anchors: int) -> dict[str, Any]:
    """Return the parameters of ``flows.generate`` by ``rephrase`` with the model that a stub server has."""
    text = {"method": {"kind": "rephrase"}, "max_anchors": max_anchors}
    return {"text": text, "generator": SERVED, "profile": str(profile)}


def command(flow: str, given: dict[str, Any]) -> list[str]:
    """Return the command line of a flow with these parameters."""
    return [sys.executable, "-m", "flows", flow, *_options(given)]


def environment(folder: Path, api_url: str | None = None) -> dict[str, str]:
    """Return the environment of a run that has its own Prefect home, or uses the server at ``api_url``."""
    own = {"PREFECT_HOME": str(folder / "prefect"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    given = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return given | own | ({"PREFECT_API_URL": api_url} if api_url else {})


def _options(given: dict[str, Any], prefix: str = "--") -> list[str]:
    options: list[str] = []
    for name, value in given.items():
        option = f"{prefix}{name.replace('_', '-')}"
        if isinstance(value, dict):
            options += _options(value, f"{option}.")
        else:
            options += [option, *(str(one) for one in (value if isinstance(value, list) else [value]))]
    return options
