"""Time grows with the text: runs of one character, and of a pair, through every pattern and every function of texts.

Time is that of this process alone. A pattern that goes over a run again from each of its characters takes several times
what is allowed here; one that does not, a tenth.
"""

import importlib
import inspect
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import product
from random import Random
from typing import Any, Final

import polars as pl
import pytest
import regex

from gainloop.asking.conversation import after
from gainloop.curation.suite import anchor_columns, record_columns
from gainloop.filters import FILTERS, read_filters
from gainloop.methods import METHODS, read_method
from gainloop.sources.pieces import normalise, split_document
from schemas.errors import GainloopError
from schemas.rows import Anchor, Document, Record, Reply, Request

PACKAGES: Final = (
    *("schemas", "gainloop.sources", "gainloop.asking", "gainloop.methods", "gainloop.filters", "gainloop.measures"),
    *("gainloop.curation", "gainloop.curation.selection", "gainloop.solutions"),
)
MODULES: Final = (
    *("gainloop.evaluation.writing", "gainloop.evaluation.wording", "gainloop.evaluation.distractors"),
    *("gainloop.evaluation.exam_files", "gainloop.evaluation.document_index", "gainloop.serving.wire"),
)
"""Modules of other packages that read what a document or a server wrote."""

PATTERN_CHARS, PATTERN_SECONDS = 40_000, 0.3
TEXT_CHARS, TEXT_SECONDS = 60_000, 0.8
LONG_CHARS, LONG_SECONDS = 1_000_000, 2.0

SINGLES: Final = (
    *" \n\t.!?,;:-_=+*/|#~`'\"()[]{}<>&%$@^\\aAqz09",
    *"\u00e9\u2019\u2026\u3002\u6210\u0939\u0964\u0e40\u0e01\u0301\u0640\u200b\u200d\ufe0f\u00a0\uff5c\u25c1",
    *"\U0001f469\U0001f1e9",
)
PAIRS: Final = tuple(map("".join, product(" \na1.|`<=\u3002", repeat=2)))
RUNS: Final = (
    *' \n."`|<[=a0',
    *("\u00e9", "\u3002", "\u0e40", "\u0301", "\u200b"),
    *(". ", "A.", "1,", " \n", "a\u0301", "\u0645\u200c", "\U0001f469\u200d"),
)


def modules() -> list[Any]:
    found = [importlib.import_module(one) for one in MODULES]
    for package in map(importlib.import_module, PACKAGES):
        found += [
            importlib.import_module(one.name) for one in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        ]
    return found


def patterns() -> dict[str, Any]:
    """Return every pattern of the modules, alone or in a tuple."""
    found: dict[str, Any] = {}
    for module in modules():
        for name, value in vars(module).items():
            for number, one in enumerate(value if isinstance(value, tuple) else (value,)):
                if isinstance(one, re.Pattern | regex.Pattern):
                    found.setdefault(f"{one.flags} {one.pattern}", (f"{module.__name__}.{name}[{number}]", one))
    return dict(found.values())


def run_of(part: str, num_chars: int) -> str:
    return part * (num_chars // len(part))


def seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes; a refusal is an answer too."""
    begun = time.process_time()
    with suppress(
        ValueError, LookupError, OSError, TypeError, GainloopError
    ):  # a refusal is an answer: only its time counts
        call()
    return time.process_time() - begun


def least_seconds(call: Callable[[], Any], limit: float) -> float:
    """Return how long a call takes, the least of three where it is too long: other work slows the machine too."""
    spent = seconds(call)
    return spent if spent <= limit else min(spent, seconds(call), seconds(call))


def too_slow(call: Callable[[str], Any], runs: tuple[str, ...], num_chars: int, most: float) -> dict[str, float]:
    """Return the runs that take too long, with their seconds: between two letters, and alone where they are blank."""
    found: dict[str, float] = {}
    for part, (size, limit) in product(runs, ((num_chars // 16, most / 4), (num_chars, most))):
        run = run_of(part, size)  # what grows by the square is found by the first, and not awaited
        for text in (f"a{run}x", *([run] if run.isspace() else [])):
            if ascii(part) not in found and (spent := least_seconds(partial(call, text), limit)) > limit:
                found[ascii(part)] = round(spent, 2)
    return found


NEVER_BLANK: Final = {"gainloop.asking.chunks._PIECES[0]", "gainloop.asking.chunks._EUROPEAN_PIECES[0]"}
"""Patterns whose one caller leaves blank texts out."""


@pytest.mark.parametrize("name", sorted(patterns()))
def test_every_pattern_takes_time_in_proportion_to_a_run(name: str) -> None:
    pattern = patterns()[name]

    def search(text: str) -> None:
        if not (text.isspace() and name in NEVER_BLANK):
            for _ in pattern.finditer(text):
                pass

    assert too_slow(search, SINGLES + PAIRS, PATTERN_CHARS, PATTERN_SECONDS) == {}


MADE: Final[dict[str, Callable[[str], Any]]] = {
    "str": lambda text: text,
    "object": lambda text: text,
    "str | None": lambda text: text,
    "Any": lambda text: text,
    "Sequence[str]": lambda text: [text],
    "Iterable[str]": lambda text: [text],
    "list[str]": lambda text: [text],
    "tuple[str, ...]": lambda text: (text,),
    "Series": lambda text: pl.Series([text, text]),
    "Anchor": lambda text: Anchor(text, "Title"),
    "Document": lambda text: Document(text, text, "x:doc", ""),
    "Record": lambda text: Record("a", "rephrase", "facet", text, ("q",)),
    "Request": lambda text: Request(after(text, "Retell it.")),
    "Reply": lambda text: reply(text),
    "Answer": lambda text: reply(text),
    "Random": lambda text: Random(0),
    "int": lambda text: 100,
    "float": lambda text: 0.8,
    "bool": lambda text: True,
}
"""What a function is called with, by what it says it takes."""

PLACES: Final = frozenset(
    {"url", "path", "pattern", "patterns", "paths", "union", "folder", "profile", "package", "kind", "place", "name"}
)
"""What names a place or a part of the project: such a function is not of a text."""

VERIFIED: Final = {"gainloop.solutions.verifying.give_verdict"}
"""What takes requests that hold a problem alone, and has a deadline of its own."""


def reply(text: str) -> Reply:
    return Reply("q", "p", text, (1, 0), (-1.0, -0.5), "stop", 9, 2, 0.1, "list")


def functions() -> dict[str, Any]:
    """Return every public function that takes a text and nothing that is not ``MADE``."""
    found = {}
    for module in modules():
        for name, one in vars(module).items():
            if name.startswith("_") or getattr(one, "__module__", "") != module.__name__ or inspect.isclass(one):
                continue
            try:
                kinds = [kind_of(parameter.annotation) for parameter in parameters_of(one)]
            except (TypeError, ValueError):
                continue
            if PLACES & set(inspect.signature(one).parameters) or f"{module.__name__}.{name}" in VERIFIED:
                continue
            if not set(kinds) <= {"int", "float", "bool", "Random"} and set(kinds) <= set(MADE):
                found[f"{module.__name__}.{name}"] = one
    return found


def parameters_of(function: Any) -> list[inspect.Parameter]:
    """Return the parameters that a call has to give, and all texts."""
    parameters = inspect.signature(function, eval_str=False).parameters.values()
    return [one for one in parameters if one.default is one.empty or kind_of(one.annotation) == "str"]


def kind_of(annotation: Any) -> str:
    """Return an annotation as it is written, without the modules' names."""
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(annotation))


@pytest.mark.parametrize("name", sorted(functions()))
def test_every_function_of_a_text_takes_time_in_proportion_to_a_run(name: str) -> None:
    function = functions()[name]
    parameters = parameters_of(function)

    def call(text: str) -> None:
        given = {one.name: MADE[kind_of(one.annotation)](text) for one in parameters}
        found = function(**given)
        if isinstance(found, Iterator):
            for _ in found:
                pass

    assert too_slow(call, RUNS, TEXT_CHARS, TEXT_SECONDS) == {}


def test_the_functions_that_are_called_are_those_that_cut_read_and_measure_texts() -> None:
    called = set(functions())

    assert {
        *("gainloop.sources.pieces.normalise", "gainloop.asking.chunks.split_text", "schemas.characters.words"),
        *("gainloop.asking.structured.read_object", "gainloop.measures.grounding.ungrounded", "schemas.marks.harmless"),
        *("gainloop.methods.backtranslate.table_likeness", "gainloop.filters.consistency.first_pair"),
    } <= called
    assert len(called) > 80
    assert len(patterns()) > 40


@pytest.mark.parametrize("kind", sorted(METHODS))
def test_every_method_reads_a_run_in_time_in_proportion_to_it(kind: str) -> None:
    if kind == "sbp":
        pytest.skip("it reads no reply before its generator is tuned")

    def play(text: str) -> None:
        rounds = read_method({"kind": kind}).rounds(Anchor(text[:3000], "Title"), Random(0))
        try:
            requests = next(rounds)
            while True:
                requests = rounds.send([reply(text) for _ in requests])
        except StopIteration:
            pass

    assert too_slow(play, RUNS[::3], TEXT_CHARS, 8 * TEXT_SECONDS) == {}


@pytest.mark.parametrize("kind", sorted(FILTERS))
def test_every_filter_reads_a_run_in_time_in_proportion_to_it(kind: str) -> None:
    (one,) = read_filters([{"kind": kind}])

    def check(text: str) -> None:
        talk = one.check(Anchor(text, "Title"), Record("a", "rephrase", "facet", text, ("q",)), Random(0))
        try:
            requests = next(talk)
            while True:
                requests = talk.send([reply(text) for _ in requests])
        except StopIteration:
            pass

    assert too_slow(check, RUNS, TEXT_CHARS, 2 * TEXT_SECONDS) == {}


def test_a_suite_measures_a_run_in_time_in_proportion_to_it() -> None:
    def measure(text: str) -> None:
        anchors = pl.DataFrame({"anchor_id": ["a"], "text": [text], "heldout": [False]})
        anchor_columns(anchors)
        record_columns(pl.DataFrame({"record_id": ["r"], "anchor_id": ["a"], "text": [text]}), anchors, (text[:50],))

    assert too_slow(measure, RUNS, TEXT_CHARS, 2 * TEXT_SECONDS) == {}


@pytest.mark.parametrize(
    "part", [" ", "\n", ".", "\u200b", "\u0301", "a ", '."', "\u3002", "\U0001f469\u200d"], ids=ascii
)
def test_a_megabyte_of_one_character_is_a_document_like_another(part: str) -> None:
    text = f"a{run_of(part, LONG_CHARS)}x"

    assert seconds(lambda: normalise(text)) < LONG_SECONDS
    assert seconds(lambda: split_document(Document(text, "", "x", ""), 2000, 100)) < 2 * LONG_SECONDS
