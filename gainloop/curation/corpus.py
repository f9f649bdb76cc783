"""Records compared with all other texts: which are near duplicates, which hold a probe, and the evidence."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import polars as pl
from rensa import RMinHash

from gainloop.curation.instructions import (
    NEAR_INSTRUCTION,
    KnownInstructions,
    earlier_instructions,
    instructions_of_anchors,
    instructions_said_again,
)
from gainloop.curation.known import KnownTexts, earlier_batches, known_anchors
from gainloop.measures.contamination import find_probes
from gainloop.measures.duplication import (
    Matches,
    Screen,
    candidates,
    confirm,
    repeats,
)
from gainloop.measures.ngrams import HashedTexts, hash_texts
from gainloop.store import Store
from gainloop.store.files import write_file
from schemas.characters import words
from schemas.curation import Curation, Probes

CONTAMINATED: Final = "contaminated"
ANCHOR_CONTAMINATED: Final = "anchor holds a probe"
"""Reason of a match that asks to mend the source, and refuses no record."""

OF_ANCHOR, OF_EARLIER, OF_BATCH = "near_duplicate_of_anchor", "near_duplicate_of_earlier_batch", "near_duplicate"

EXAMPLES: Final = 5

NEAR_AT_ONCE: Final = 100_000
"""Known texts that may be like a record whose sketches are held at a time, a kilobyte each."""


@dataclass
class CorpusMatches:
    """The records of a batch that have passed so far, and their matches in the corpus.

    Attributes:
        records: Columns record_id, text, in the order of record_id.
        hashed: Words of the records.
        found: Record ids with a match, under each reason that was looked for.
        matches: Evidence: one row for each record, or anchor, and the text that it repeats or the probe that it holds.
        compared: Number of texts of each kind that records were compared with.
    """

    records: pl.DataFrame
    hashed: HashedTexts
    found: dict[str, set[str]] = field(default_factory=dict)
    matches: list[dict[str, Any]] = field(default_factory=list)
    compared: dict[str, int] = field(default_factory=dict)

    @property
    def columns(self) -> pl.DataFrame:
        """Columns record_id and, for each reason that was looked for, whether the record has a match."""
        flags = {reason: pl.col("record_id").is_in(list(ids)) for reason, ids in self.found.items()}
        return self.records.select("record_id", **flags)

    @property
    def open_rows(self) -> list[int]:
        """Numbers of the records that have no match yet."""
        found = set().union(*self.found.values())
        return [row for row, record_id in enumerate(self.records["record_id"]) if record_id not in found]

    def is_open(self, row: int) -> bool:
        """Return whether a record has no match yet."""
        record_id = self.records["record_id"][row]
        return not any(record_id in ids for ids in self.found.values())

    def match(self, reason: str, row: int, **about: Any) -> None:
        record_id = self.records["record_id"][row]
        self.found[reason].add(record_id)
        self.matches.append({"reason": reason, "record_id": record_id, **about})


def compare(
    store: Store,
    batch_id: str,
    records: pl.DataFrame,
    anchors: pl.DataFrame,
    probes: pl.DataFrame,
    curation: Curation,
    inventing: Sequence[str] = (),
) -> CorpusMatches:
    """Return which records hold a probe, are nearly the same as an anchor, an earlier record or one of their batch, or
    have the instruction of another.

    In this order, and a record with one match is not compared further: a refused record takes no other with it. Of the
    batch's records that are nearly the same, the one with the lowest id stays.

    Args:
        records: Records that have passed the suite: columns record_id, text; with ``inventing`` anchor_id, turns too.
        anchors: All anchors of the snapshot: columns anchor_id, text, heldout.
        probes: Probes as ``read_probes`` returns them; may have no row.
        curation: Settings: what records are compared with, and from which similarity on they match.
        inventing: Methods whose records' instructions are compared with each other's; none if the batch's method
            invents none.
    """
    records = records.sort("record_id")
    corpus = CorpusMatches(records.select("record_id", "text"), hash_texts(records["text"]))
    if probes.height:
        _look_for_probes(corpus, anchors, probes, curation.probes)
    if curation.near_duplicates:
        _look_for_near_duplicates(store, batch_id, corpus, anchors, curation)
    if curation.instructions_alike and inventing:
        _look_for_instructions(store, batch_id, corpus, records, anchors, curation, inventing)
    return corpus


def write_matches(url: str, corpus: CorpusMatches) -> None:
    """Write the evidence as lines of JSON; no line where nothing was found."""
    write_file(url, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in corpus.matches).encode())


def examples(corpus: CorpusMatches) -> list[str]:
    """Return a sentence for each of a few matches of each reason."""
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for one in corpus.matches:
        by_reason.setdefault(one["reason"], []).append(one)
    return [_match_summary(one) for matches in by_reason.values() for one in matches[:EXAMPLES]]


def _look_for_probes(corpus: CorpusMatches, anchors: pl.DataFrame, probes: pl.DataFrame, rules: Probes) -> None:
    """Find records that hold a probe, and the anchors that do, since those are trained on as they are."""
    hashed = hash_texts(probes["text"])
    corpus.found[CONTAMINATED] = set()
    for row, about in _texts_with_probes(corpus.records["text"], corpus.hashed, probes, hashed, rules):
        corpus.match(CONTAMINATED, row, **about)
    trained = anchors.filter(~pl.col("heldout"))
    matches = list(_texts_with_probes(trained["text"], hash_texts(trained["text"]), probes, hashed, rules))
    corpus.matches += [
        {"reason": ANCHOR_CONTAMINATED, "anchor_id": trained["anchor_id"][row], **about} for row, about in matches
    ]
    corpus.compared |= {
        "probe texts": probes.height,
        "probe texts too short to be looked for": int((hashed.lengths < rules.least_words).sum()),
        "anchors that hold a probe": len({row for row, _ in matches}),
    }


def _texts_with_probes(
    texts: pl.Series, hashed: HashedTexts, probes: pl.DataFrame, hashed_probes: HashedTexts, rules: Probes
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each text that holds a probe, and which one in which words."""
    for found in find_probes(hashed, hashed_probes, rules).iter_rows(named=True):
        shared = words(texts[found["text"]])[found["at"] : found["at"] + found["num_words"]]
        about = {"item": probes["item"][found["probe"]], "shared": " ".join(shared), "overlap": found["overlap"]}
        yield found["text"], {"kind": "probe", **about}


def _look_for_near_duplicates(
    store: Store, batch_id: str, corpus: CorpusMatches, anchors: pl.DataFrame, curation: Curation
) -> None:
    screen = Screen(corpus.hashed, least=curation.near_duplicates)
    if "anchors" in curation.among:
        known = known_anchors(store, _snapshot_of(store, batch_id), anchors)
        _compare_with(corpus, OF_ANCHOR, "anchor", [known], screen)
    if "earlier_batches" in curation.among:
        _compare_with_earlier(corpus, earlier_batches(store, batch_id), screen)
    if "batch" in curation.among:
        corpus.compared["records of the batch"] = len(corpus.open_rows)
        found = repeats(screen, corpus.is_open)
        corpus.found[OF_BATCH] = set()
        for row, (other, similarity) in found.items():
            _match_text(corpus, OF_BATCH, row, "record", batch_id, corpus.records.row(other), similarity)


def _look_for_instructions(
    store: Store,
    batch_id: str,
    corpus: CorpusMatches,
    records: pl.DataFrame,
    anchors: pl.DataFrame,
    curation: Curation,
    inventing: Sequence[str],
) -> None:
    """Match the records whose instruction an anchor, an earlier record or one of another anchor's has."""
    known, kept_before = KnownInstructions(curation.instructions_alike), set[str]()
    if "anchors" in curation.among:
        for one in instructions_of_anchors(_snapshot_of(store, batch_id), anchors):
            known.add(one)
    if "earlier_batches" in curation.among:
        for one in earlier_instructions(store, batch_id, inventing):
            known.add(one)
            kept_before.add(one.item)
    corpus.found[NEAR_INSTRUCTION], corpus.compared["instructions known before"] = set(), len(known)
    rows = {record_id: row for row, record_id in enumerate(records["record_id"])}
    talks = records[corpus.open_rows].filter(pl.col("turns") != "")
    again = instructions_said_again(talks, batch_id, known, kept_before, "batch" in curation.among)
    for record_id, other, alike in again:
        _match_text(corpus, NEAR_INSTRUCTION, rows[record_id], other.kind, other.of, (other.item, other.text), alike)


def _snapshot_of(store: Store, batch_id: str) -> str:
    return str(store.query("select snapshot_id from batches where batch_id = ?", batch_id).item())


def _compare_with_earlier(corpus: CorpusMatches, batches: Iterable[KnownTexts], screen: Screen) -> None:
    """Match the records that are nearly the same as one of an earlier batch, but for those that an earlier one kept.

    The same replies make the same record, so a recipe with more anchors or a filter has it again, as itself. Others are
    compared with it all the same: were it left out there, a near copy with a lower id could take its place.
    """
    corpus.found[OF_EARLIER], corpus.compared["earlier batches"] = set(), 0
    rows_of = {record_id: row for row, record_id in enumerate(corpus.records["record_id"])}
    kept_in = dict[int, int]()

    def noted() -> Iterator[KnownTexts]:
        for number, known in enumerate(batches):
            corpus.compared["earlier batches"] += 1
            for record_id in known.ids:
                if (row := rows_of.get(record_id)) is not None:
                    kept_in.setdefault(row, number)
            yield known

    _compare_with(corpus, OF_EARLIER, "earlier record", noted(), screen, kept_in)
    corpus.compared["records that an earlier batch kept too"] = len(kept_in)


def _compare_with(
    corpus: CorpusMatches,
    reason: str,
    kind: str,
    batches: Iterable[KnownTexts],
    screen: Screen,
    kept_in: Mapping[int, int] = MappingProxyType({}),
) -> None:
    """Match the records that are nearly the same as a known text, with the most similar of a part of them.

    Args:
        kept_in: By the number of a record, the first batch in their order that kept it: from there on it is compared
            with none.
    """
    corpus.found.setdefault(reason, set())
    for pack in _packs(_near_parts(corpus, kind, batches, screen)):
        index = screen.near([sketched for part in pack for sketched in part.sketches])
        for part in pack:
            found = candidates(index, part.sketches, partial(_is_compared, corpus, kept_in, part.number))
            for row, (other, similarity) in _confirmed(corpus.hashed, part, found, screen.least).items():
                _match_text(corpus, reason, row, kind, part.name, other, similarity)


def _is_compared(corpus: CorpusMatches, kept_in: Mapping[int, int], number: int, row: int) -> bool:
    return corpus.is_open(row) and kept_in.get(row, number + 1) > number


@dataclass(frozen=True)
class _Part:
    """Known texts, with their sketches, that share a band with a record; ``number`` is their batch's in its order."""

    name: str
    number: int
    read: Callable[[list[str]], pl.DataFrame]
    ids: list[str]
    sketches: list[RMinHash]


def _near_parts(corpus: CorpusMatches, kind: str, batches: Iterable[KnownTexts], screen: Screen) -> Iterator[_Part]:
    """Yield the known texts that may be like a record, of those that ``KnownTexts.sketches`` reads at a time."""
    for number, known in enumerate(batches):
        begin = 0
        corpus.compared[f"{kind}s"] = corpus.compared.get(f"{kind}s", 0) + len(known.ids)
        for sketches in known.sketches():
            (near,) = np.nonzero(screen.meet(sketches))
            ids = [known.ids[begin + place] for place in near]
            if ids:
                yield _Part(known.name, number, known.read, ids, [sketches[place] for place in near])
            begin += len(sketches)


def _packs(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    """Yield parts together until they have ``NEAR_AT_ONCE`` texts: each pack costs a look through all records."""
    pack, size = list[_Part](), 0
    for part in parts:
        pack.append(part)
        size += len(part.ids)
        if size >= NEAR_AT_ONCE:
            yield pack
            pack, size = [], 0
    if pack:
        yield pack


def _confirmed(
    hashed: HashedTexts, part: _Part, candidates_of: dict[int, list[int]], least: float
) -> dict[int, tuple[tuple[str, str], float]]:
    """Return the id and the text that each record is nearly the same as, and how similar they are."""
    numbers = np.unique([number for near in candidates_of.values() for number in near]).astype(int).tolist()
    if not numbers:
        return {}
    texts = part.read([part.ids[number] for number in numbers]).sort("id")
    places = {text_id: place for place, text_id in enumerate(texts["id"])}
    near = {row: [places[part.ids[number]] for number in found] for row, found in candidates_of.items()}
    matches: Matches = confirm(hashed, hash_texts(texts["text"]), near, least)
    return {row: (texts.row(place), similarity) for row, (place, similarity) in matches.items()}


def _match_text(
    corpus: CorpusMatches, reason: str, row: int, kind: str, where: str, other: tuple[str, str], similarity: float
) -> None:
    other_id, text = other
    about = {"item": other_id, "of": where, "similarity": round(similarity, 4), "text": text[:200]}
    corpus.match(reason, row, kind=kind, **about)


def _match_summary(match: dict[str, Any]) -> str:
    """Return one match in a line.

    >>> _match_summary({"reason": "contaminated", "record_id": "a1", "kind": "probe", "item": "q.jsonl row 3, question",
    ...     "shared": "who was the last", "overlap": None})
    "contaminated: record a1 has 'who was the last' of q.jsonl row 3, question"
    """
    text = f"record {match['record_id']}" if "record_id" in match else f"anchor {match['anchor_id']}"
    begun = f"{match['reason']}: {text}"
    if match["kind"] == "probe":
        share = "" if match["overlap"] is None else f" and {match['overlap']:.2f} of its sequences"
        return f"{begun} has {match['shared']!r} of {match['item']}{share}"
    return f"{begun} is {match['similarity']:.2f} similar to {match['kind']} {match['item']} of {match['of']}"
