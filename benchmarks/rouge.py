"""What finding instructions that say an earlier one again takes and finds, beside comparing every pair.

``python -m benchmarks.rouge`` prints seconds and decisions; ``--json`` one object as its last line. Candidates are the
instructions of ``$GAINLOOP_TEST_DATA/self_instruct`` with seeded edits, cuts and joins; one that is alike to an earlier
one by more than 0.7 is refused and takes no other with it. In the same run: every pair by the same exact arithmetic,
which must decide alike, and the package rouge-score on the pairs of some candidates.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from rouge_score.rouge_scorer import RougeScorer

from benchmarks.measured import peak_rss_mb, rss_mb
from gainloop.measures.rouge import LEAST_ALIKE, AlikeTexts, common_length, rouge_tokens

PEER_PAIRS = 2000


def instructions(folder: Path) -> list[str]:
    """Return the instructions of the seeds and of the user-oriented set."""
    names = ("seed_tasks.jsonl", "user_oriented_instructions.jsonl")
    lines = [line for name in names for line in (folder / name).read_text().splitlines()]
    return [json.loads(line)["instruction"] for line in lines]


def make_candidates(texts: list[str], number: int, seed: int = 0) -> list[str]:
    """Return instructions with words replaced, swapped and cut out, cut short, or joined with another one."""
    rng = Random(seed)  # noqa: S311
    vocabulary = [word for text in texts for word in text.split()]
    return [_changed(rng.choice(texts).split(), rng.choice(texts).split(), vocabulary, rng) for _ in range(number)]


def _changed(words: list[str], others: list[str], vocabulary: list[str], rng: Random) -> str:
    for _ in range(rng.randrange(1 + len(words) // 2)):
        place = rng.randrange(len(words))
        words[place : place + 1] = rng.choice([[], [rng.choice(vocabulary)], [words[place], rng.choice(vocabulary)]])
        words = words or [rng.choice(vocabulary)]
    match rng.randrange(4):
        case 0:
            words = words[: rng.randrange(len(words)) + 1]
        case 1:
            words = words + others
        case 2:
            words = words[: len(words) // 2] + others[len(others) // 2 :]
    return " ".join(words)


def refused_by_index(candidates: list[list[str]]) -> list[bool]:
    index, refused = AlikeTexts(LEAST_ALIKE), []
    for tokens in candidates:
        refused.append(next(index.alike(tokens), None) is not None)
        if not refused[-1]:
            index.add(tokens)
    return refused


def refused_by_pairs(candidates: list[list[str]]) -> list[bool]:
    """Decide by the longest common subsequence with every instruction that was kept, up to the first that is alike."""
    kept: list[list[str]] = []
    refused = []
    for tokens in candidates:
        # Twice the common length over 0.7 of both lengths, in whole numbers.
        refused.append(any(20 * common_length(tokens, one) > 7 * (len(tokens) + len(one)) for one in kept))
        if not refused[-1]:
            kept.append(tokens)
    return refused


def timed(decide: Callable[[list[list[str]]], list[bool]], candidates: list[list[str]]) -> tuple[list[bool], float]:
    begun = time.process_time()
    return decide(candidates), time.process_time() - begun


def peer_pairs_per_second(texts: list[str]) -> float:
    scorer, rng, begun = RougeScorer(["rougeL"]), Random(0), time.process_time()  # noqa: S311
    for _ in range(PEER_PAIRS):
        scorer.score(rng.choice(texts), rng.choice(texts))
    return PEER_PAIRS / (time.process_time() - begun)


def measure(folder: Path, number: int) -> dict[str, Any]:
    """Return what so many candidates take and lead to; ``folder`` holds ``self_instruct``."""
    texts = make_candidates(instructions(folder / "self_instruct"), number)
    candidates = [rouge_tokens(text) for text in texts]
    before = rss_mb()
    ours, seconds = timed(refused_by_index, candidates)
    megabytes = rss_mb() - before
    theirs, pair_seconds = timed(refused_by_pairs, candidates)
    return {
        "candidates": number,
        "words": sum(map(len, candidates)),
        "refused": sum(ours),
        "differing decisions": sum(one != other for one, other in zip(ours, theirs, strict=True)),
        "seconds, index": round(seconds, 3),
        "seconds, every pair": round(pair_seconds, 3),
        "times as fast": round(pair_seconds / seconds, 1),
        "rouge-score, pairs a second": round(peer_pairs_per_second(texts)),
        "MB, index": round(megabytes, 1),
        "MB, peak": round(peak_rss_mb()),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=5000)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    asked = parser.parse_args()
    data = Path(os.environ.get("GAINLOOP_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    found = measure(data, asked.candidates)
    for name, value in found.items():
        print(f"{name:30} {value:>12,}")
    if asked.json:
        print(json.dumps(found))
