"""What the look across a corpus takes and finds: near duplicates and probes in made-up records with planted ones.

``python -m benchmarks.duplicates`` prints seconds, megabytes, precision and recall; ``--json`` one object as its last
line. One record in twenty is another one with one to eight of its words changed; one in a thousand holds a probe. On
the first records, precision and recall are against the exact Jaccard similarity of every pair. The peer, datasketch,
signs and looks up the same hashed 5-grams with as many hashes, in 25 bands of 5, in the same process after it.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from datasketch import MinHash, MinHashLSH
from scipy.sparse import csr_matrix

from benchmarks.measured import peak_rss_mb, rss_mb
from benchmarks.measures import VOCABULARY, _word
from gainloop.curation.known import KnownTexts, sketched
from gainloop.measures.contamination import find_probes
from gainloop.measures.duplication import LEAST_SIMILAR, NUM_HASHES, SHINGLE_WORDS, Screen, jaccard, repeats
from gainloop.measures.ngrams import HashedTexts, hash_texts
from schemas.curation import Probes

PROBES, PROBE_WORDS = 10_000, 20
PEER_BANDS = (25, 5)


@dataclass
class Timed:
    """Seconds of each step, by the clock and of all cores together."""

    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun, cpu_begun = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = time.perf_counter() - begun
        self.cpu_seconds[name] = time.process_time() - cpu_begun


@dataclass(frozen=True)
class Made:
    """Records and probes: ``near`` are the records that are the one before them with some words changed."""

    texts: pl.Series
    near: Any
    probes: pl.Series
    holding: Any


def make_texts(num_records: int, num_words: int) -> Made:
    """Return made-up records of Zipfian words, and probes of which some records hold one."""
    rng = np.random.default_rng(0)
    words = np.array([_word(rank) for rank in range(VOCABULARY)], dtype=object)
    shares = np.cumsum(1 / np.arange(2.7, VOCABULARY + 2.7))
    drawn = np.searchsorted(shares / shares[-1], rng.random((num_records, num_words)))
    asked = np.searchsorted(shares / shares[-1], rng.random((PROBES, PROBE_WORDS)))
    near = np.arange(1, num_records, 20)  # of records that are no copies themselves
    for row, num_changed in zip(near, rng.integers(1, 9, near.size), strict=True):
        drawn[row] = drawn[row - 1]
        drawn[row, rng.choice(num_words, num_changed, replace=False)] = rng.integers(0, VOCABULARY, num_changed)
    holding = np.arange(10, num_records, 1000)
    for row in holding:
        drawn[row, 30 : 30 + PROBE_WORDS] = asked[row % PROBES]
    return Made(_written(words[drawn]), near, _written(words[asked]), holding)


def measure(num_records: int, num_words: int, num_exact: int, folder: str) -> dict[str, Any]:
    """Return seconds of each step, memory in MB, and what was found of what was planted, in this process."""
    made, timed = make_texts(num_records, num_words), Timed()
    before = rss_mb()
    with timed.step("words, hashed"):
        texts = hash_texts(made.texts)
    with timed.step("sketches"):
        screen = Screen(texts)
    with timed.step("near duplicates"):
        found = repeats(screen)
    with timed.step("probes"):
        holding = find_probes(texts, hash_texts(made.probes), Probes())["text"].to_list()
    peak = peak_rss_mb()
    frame = pl.DataFrame({"id": [str(row) for row in range(num_records)], "text": made.texts})
    url = f"{folder}/sketches.parquet"
    for step in ("sketches, written", "sketches, read"):
        with timed.step(step):
            known = KnownTexts("known", sketched(url, lambda: frame), url, lambda _: frame)
            assert sum(map(len, known.sketches())) == len(known.ids)
    similar = made.near[jaccard(texts, made.near, made.near - 1) >= LEAST_SIMILAR]
    exact = exact_repeats(texts.take(np.arange(num_exact)))
    of_exact = {row for row in found if row < num_exact}
    with timed.step("datasketch"):
        candidates = peer(texts)
    return {
        "records": num_records,
        "seconds": timed.seconds,
        "cpu_seconds": timed.cpu_seconds,
        "records_mb": before,
        "peak_rss_mb": peak,
        "planted": int(similar.size),
        "planted_found": sum(int(row) in found for row in similar),
        "found": len(found),
        "exact_records": num_exact,
        "exact": len(exact),
        "precision": len(of_exact & exact) / max(1, len(of_exact)),
        "recall": len(of_exact & exact) / max(1, len(exact)),
        "probes_planted": int(made.holding.size),
        "probes_found": len(set(holding) & set(made.holding.tolist())),
        "probes_wrong": len(set(holding) - set(made.holding.tolist())),
        "datasketch_candidates": candidates,
    }


def exact_repeats(texts: HashedTexts) -> set[int]:
    """Return which texts are similar to one before them that is itself none of these, by every pair's similarity."""
    whole = texts.whole(SHINGLE_WORDS)
    _, columns = np.unique(texts.grams(SHINGLE_WORDS)[whole], return_inverse=True)
    has = csr_matrix((np.ones(columns.size, dtype=np.int32), (texts.owners[whole], columns)))
    has.data[:] = 1
    has.sum_duplicates()
    has.data[:] = 1
    common, sizes = (has @ has.T).tocoo(), np.asarray(has.sum(axis=1)).ravel()
    similarity = common.data / (sizes[common.row] + sizes[common.col] - common.data)
    alike = (similarity >= LEAST_SIMILAR) & (common.col < common.row)
    order, found = np.argsort(common.row[alike], kind="stable"), set[int]()
    for row, earlier in zip(common.row[alike][order].tolist(), common.col[alike][order].tolist(), strict=True):
        if earlier not in found:
            found.add(row)
    return found


def peer(texts: HashedTexts) -> int:
    """Sign and look up every text by datasketch; return how many candidates it gives."""
    empty, index, candidates = MinHash(NUM_HASHES), MinHashLSH(num_perm=NUM_HASHES, params=PEER_BANDS), 0
    for where, piece in texts.pieces():
        whole = piece.whole(SHINGLE_WORDS)
        grams = piece.grams(SHINGLE_WORDS)[whole] >> np.uint64(32)
        for row, some in enumerate(np.split(grams, np.cumsum(piece.count(whole))[:-1]), where.start):
            signed = empty.copy()
            signed.hashfunc = int
            signed.update_batch(some)
            candidates += len(index.query(signed))
            index.insert(row, signed, check_duplication=False)
    return candidates


def show(taken: dict[str, Any]) -> None:
    """Print what it took and what was found."""
    for name, seconds in taken["seconds"].items():
        print(f"{name:>18} {seconds:8.2f} s, {taken['cpu_seconds'][name]:.2f} s of CPU")
    print(f"{'records':>18} {taken['records']:8,}, {taken['records_mb']:,.0f} MB of texts and imports")
    print(f"{'peak resident':>18} {taken['peak_rss_mb']:8,.0f} MB, before the peer")
    print(f"{'planted':>18} {taken['planted_found']:8,} of {taken['planted']:,} found, {taken['found']:,} in all")
    print(
        f"{'every pair of':>18} {taken['exact_records']:8,}: precision {taken['precision']:.4f}, "
        f"recall {taken['recall']:.4f} of {taken['exact']:,}"
    )
    print(
        f"{'probes':>18} {taken['probes_found']:8,} of {taken['probes_planted']:,} records that hold one found, "
        f"{taken['probes_wrong']:,} others"
    )


def main() -> None:
    """Measure as the flags say, and print it."""
    parser = argparse.ArgumentParser("python -m benchmarks.duplicates", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=200, help="words per record")
    parser.add_argument("--exact", type=int, default=10_000, help="records of which every pair is compared")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        taken = measure(asked.records, asked.words, min(asked.exact, asked.records), folder)
    show(taken)
    if asked.json:
        print(json.dumps(taken))


def _written(words: Any) -> pl.Series:
    return pl.Series([" ".join(row) + "." for row in words])


if __name__ == "__main__":
    main()
