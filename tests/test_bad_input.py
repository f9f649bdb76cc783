"""Bad input gets one sentence that says what to do next, and leaves nothing half-written."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cyclopts
import duckdb
import polars as pl
import pytest

from flows.__main__ import explain, make_app
from schemas.errors import GainloopError
from schemas.profile import Profile, Servers, load_profile
from schemas.recipe import Checkpoint, Recipe
from tasks.generate import choose_anchors, generate_records
from tasks.refresh import refresh_snapshot
from tasks.serving.opening import served_revision
from tasks.sources import Files
from tasks.store import Store
from tests.serving.stub_server import StubOptions, stub_server
from tests.small_run import write_profile
from tests.whole_run import Ended, start

HOUSE_FORM = re.compile(r"[^:].*(: .+;|: known are) .+\. [A-Z][^.]*.*\.$")
"""What was attempted: what was found; what is allowed. What to do next."""
