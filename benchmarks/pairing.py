"""What pairing a large corpus takes, beside exact search in the same process: seconds, recall and memory.

``python -m benchmarks.pairing`` pairs 100,000 texts by vectors of 256 dimensions, three times, each in a process of its
own: ``clustered`` (2,000 topics on a plane of 24 dimensions, and noise), ``text`` (TF-IDF and SVD of windows of real
text from $GAINLOOP_TEST_DATA) and ``isotropic`` (no structure at all, the hardest there is). Exact search of a sample
of texts is the peer: its time for all is extrapolated. Recall is of the ten nearest of that sample, by rows that
pairing did not choose its lists by. The clock runs from vectors and texts to pairs, near-duplicate filter included.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measured import peak_rss_mb, rss_mb

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("clustered", "text", "isotropic")
WIDTH = 256
TOP = 10
SAMPLE_ROWS = 2000
PARTNERS = 4
WINDOW_WORDS = 120


def make_vectors(kind: str, num_rows: int, texts: list[str]) -> Any:
    """Return [num_rows, 256] unit vectors."""
    from gainloop.models.embedding import embed_words

    if kind == "text":
        return embed_words(texts, lambda _done, _total: None, WIDTH)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((num_rows, WIDTH), dtype=np.float32)
    if kind == "clustered":
        topics = rng.standard_normal((2000, 24), dtype=np.float32)
        on_plane = topics[rng.integers(0, 2000, num_rows)]
        on_plane += 0.5 * rng.standard_normal((num_rows, 24), dtype=np.float32)
        vectors = on_plane @ rng.standard_normal((24, WIDTH), dtype=np.float32) + 0.3 * vectors
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_texts(num_rows: int) -> list[str]:
    """Return texts of 200 Zipfian words."""
    rng = np.random.default_rng(1)
    words = np.array([f"w{rank}" for rank in range(20_000)], dtype=object)
    shares = np.cumsum(1 / np.arange(2.7, 20_002.7))
    return [" ".join(words[np.searchsorted(shares / shares[-1], rng.random(200))]) for _ in range(num_rows)]


def read_windows(num_rows: int) -> list[str]:
    """Return windows of real text, as far apart as gives so many; each begins within the one before."""
    folder = Path(os.environ.get("GAINLOOP_TEST_DATA", ROOT.parent / "shared" / "data"))
    words = [word for path in sorted(folder.rglob("*")) for text in _texts_of(path) for word in text.split()]
    if len(words) < num_rows:
        raise SystemExit(
            f"reading text in {folder}: {len(words):,} words; {num_rows:,} at least are needed. Set GAINLOOP_TEST_DATA."
        )
    starts = np.linspace(0, len(words) - WINDOW_WORDS, num_rows).astype(int)
    return [" ".join(words[start : start + WINDOW_WORDS]) for start in starts]


def _texts_of(path: Path) -> Iterator[str]:
    if path.parent.name in ("squality", "wikipedia", "c4", "tinyshakespeare", "quality") and path.suffix == ".txt":
        yield path.read_text()
    if path.parent.name in ("squality", "c4", "quality", "squad") and path.suffix == ".jsonl":
        for line in path.read_text().splitlines():
            told = json.loads(line)
            yield from (told[name] for name in ("document", "text", "article", "context") if name in told)


def measure(kind: str, num_rows: int) -> dict[str, Any]:
    """Pair made-up texts or windows of real ones, in this process; return seconds, recall and memory in MB."""
    import faiss

    from gainloop.models import pairing
    from gainloop.models.pairing import Found, Neighbours, ordered, recall_of

    texts = read_windows(num_rows) if kind == "text" else make_texts(num_rows)
    vectors = make_vectors(kind, num_rows, texts)
    before, watched = rss_mb(), []

    class Watched(Neighbours):
        def __init__(self, *asked: Any) -> None:
            begun = time.perf_counter()
            super().__init__(*asked)
            self.seconds, self.found = time.perf_counter() - begun, []
            watched.append(self)

        def blocks(self) -> Iterator[Found]:
            begun = time.perf_counter()
            for block in super().blocks():
                self.seconds += time.perf_counter() - begun
                self.found.append(block)
                yield block
                begun = time.perf_counter()

    pairing.Neighbours = Watched  # type: ignore[misc]
    begun, cpu_begun = time.perf_counter(), time.process_time()
    made = pairing.related_pairs(texts, vectors, 0.35, 0.5, PARTNERS)
    seconds, cpu_seconds, peak = time.perf_counter() - begun, time.process_time() - cpu_begun, peak_rss_mb()
    (search,) = watched

    sample = np.random.default_rng(2).choice(num_rows, min(SAMPLE_ROWS, num_rows), replace=False)
    begun = time.perf_counter()
    similarities, others = faiss.knn(vectors[sample], vectors, TOP + 1, metric=faiss.METRIC_INNER_PRODUCT)
    exact_seconds = (time.perf_counter() - begun) * num_rows / len(sample)
    truth = ordered(sample, similarities, others, TOP)
    place = np.argsort(np.concatenate([block.rows for block in search.found]))
    nearest = np.concatenate([block.others for block in search.found])[place[sample], :TOP]
    return {
        "vectors": kind,
        "rows": num_rows,
        "threads": faiss.omp_get_max_threads(),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "search_seconds": search.seconds,
        "exact_search_seconds": exact_seconds,
        "recall": asdict(recall_of(Found(sample, truth.similarities, nearest), truth)),
        "before_mb": before,
        "peak_rss_mb": peak,
        "counts": made.counts,
        "search": made.search,
    }


def in_process(kind: str, num_rows: int) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.pairing", "--rows", str(num_rows), "--only", kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"pairing {kind} vectors: the process ended with status {done.returncode}.\n{done.stderr}")
    taken: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return taken


def show(taken: dict[str, Any]) -> None:
    """Print what pairing took."""
    recall, search, counts = taken["recall"], taken["search"], taken["counts"]
    how = f"{search['lists_read']} of {search['lists']:,} lists read" if search["lists"] else "exact search"
    ratio = taken["exact_search_seconds"] / taken["search_seconds"]
    print(f"{taken['vectors']}: {taken['rows']:,} texts, {WIDTH} dimensions, {taken['threads']} threads, {how}")
    print(f"  {taken['seconds']:8.1f} s in all, {taken['cpu_seconds']:.1f} s of CPU")
    print(
        f"  {taken['search_seconds']:8.1f} s of search; exact {taken['exact_search_seconds']:.1f} s, extrapolated from "
        f"{recall['n']:,} texts: {ratio:.1f} times as long"
    )
    print(
        f"  {recall['value']:8.4f} recall@{TOP} [{recall['low']:.4f}, {recall['high']:.4f}], n = {recall['n']:,} texts"
    )
    print(f"  {taken['peak_rss_mb']:8,.0f} MB at most, {taken['before_mb']:,.0f} before: texts, vectors and imports")
    print("  " + ", ".join(f"{number:,} {name}" for name, number in counts.items()), flush=True)


def main() -> None:
    """Measure as the flags say, and print it."""
    parser = argparse.ArgumentParser("python -m benchmarks.pairing", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--vectors", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--json", action="store_true", help="print one JSON list as the last line")
    parser.add_argument("--only", choices=KINDS, help="measure in this process, and print one JSON object")
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(measure(asked.only, asked.rows)))
        return
    taken = []
    for kind in asked.vectors:
        taken.append(in_process(kind, asked.rows))
        show(taken[-1])
    if asked.json:
        print(json.dumps(taken))


if __name__ == "__main__":
    main()
