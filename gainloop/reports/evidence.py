"""Evidence: the rows and scores that a report rests on, and the batches that an overview rests on."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from gainloop.measures import estimate
from gainloop.measures.duplication import Screen
from gainloop.measures.estimate import Estimate
from gainloop.measures.faithfulness import Taken, take_from_anchors
from gainloop.measures.ngrams import Flags, HashedTexts, Rows, hash_texts, repeated_words
from gainloop.measures.words import REPEAT_WORDS
from gainloop.store.digests import Digest

REPLY_IS: Final = [
    "request_id",
    "prompt_id",
    "anchor_id",
    "facet",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
]
REPLY_SAYS: Final = ["text", "token_logprobs"]


@dataclass(frozen=True, slots=True)
class Examined:
    """The answers of one training's models to one exam.

    Attributes:
        exam_id: Id of the exam.
        kind: Kind of the exam: files, written or known.
        training_id: Id of the training whose models answered.
        questions: Questions: question_id, question, answer, options, document_id, title, part.
        answers: "<arm>/<seed>/<fraction>/<condition>" to the answers, one row a question.
        general: "<arm>/<seed>/<fraction>" to scores of general text: text_id, nats, num_bytes.
        arms: Runs as the stage train lists them: arm, seed, learning_rate, points; may be empty.
        asking: Settings that the questions were asked with.
        untrained: Documents of the snapshot of which nothing is trained on, by why: held_out or kept_out.
        drops: Rows of the exam that gave no question, by reason.
    """

    exam_id: str
    kind: str
    training_id: str
    questions: pl.DataFrame
    answers: dict[str, pl.DataFrame]
    general: dict[str, pl.DataFrame]
    arms: list[dict[str, Any]] = field(default_factory=list)
    asking: dict[str, Any] = field(default_factory=dict)
    untrained: dict[str, str] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)

    @property
    def taught(self) -> "Examined":
        """The same exam without questions about documents that nothing was trained on."""
        return self.only(~pl.col("document_id").is_in(list(self.untrained)))

    @property
    def control(self) -> "Examined":
        """The same exam with questions about held-out documents alone; those kept out are near what was trained on."""
        return self.only(pl.col("document_id").is_in([one for one, why in self.untrained.items() if why == "held_out"]))

    def only(self, chosen: pl.Expr) -> "Examined":
        """Return the same exam with some of its questions."""
        return replace(self, questions=self.questions.filter(chosen))


@dataclass(frozen=True)
class Evidence:
    """The rows and scores of one batch.

    Attributes:
        batch_id: Id of the batch.
        training_id: Id of the training whose scores these are; empty before the first.
        recipe: Recipe as JSON.
        logprob_semantics: "processed", "raw" or "unknown"; see ``gainloop.serving.Generator``.
        measured_at: Time at which the evidence was read.
        replies: Replies, as ``sum_replies`` shortens them: request_id, prompt_id, anchor_id, facet, finish_reason,
            prompt_tokens, completion_tokens, num_bytes, nats, said.
        records: Records: record_id, anchor_id, facet, text, request_ids, num_bytes, turns and
            bool kept.
        quarantine: Quarantined records, a row for each reason: record_id, reason.
        drops: Drops: anchor_id, facet, reason, request_id.
        anchors: Anchors with a record or a drop: anchor_id, text, title, num_bytes.
        scores: "<role>/<texts>" to one row per text: text_id, nats, num_tokens, num_bytes. Roles are
            start, synthetic, baseline, replay_control; texts are heldout, general, anchors, records. Of other seeds
            than 0, and of points along a run, the key says more: see ``key_of``. Any may be missing.
        contrasts: Scores of outputs under own and other prompts: request_id, kind, prompt_id, low, high; or None.
        summaries: Completed stage (generate, validate, score, judge, train) to its summary.
        checkpoints: Role to checkpoint id.
        verdicts: Verdicts of the latest judging, see ``Verdict``; or None.
        documents: Held-out or general text's id to the document that it is of; one that is missing is its own.
        snapshot: Row of the snapshot that the batch was made from: source (JSON), num_anchors, num_heldout, num_bytes;
            empty if it is not known.
        examined: Answers to the exam: those of this training first, then those of the batch's other trainings.
        probed: Answers of the models of the batch's latest probe run, summarised by the stage probe; or None.
        made_of: Documents that the batch has a record or a drop of, in the order of their names.
        gone: Sentence on documents that text was made of and that the corpus lacks by now; empty if it lacks none.
    """

    batch_id: str
    training_id: str
    recipe: dict[str, Any]
    logprob_semantics: Literal["processed", "raw", "unknown"]
    measured_at: datetime
    replies: pl.DataFrame
    records: pl.DataFrame
    quarantine: pl.DataFrame
    drops: pl.DataFrame
    anchors: pl.DataFrame
    scores: dict[str, pl.DataFrame]
    contrasts: pl.DataFrame | None
    summaries: dict[str, dict[str, Any]]
    checkpoints: dict[str, str]
    verdicts: pl.DataFrame | None = None
    documents: dict[str, str] = field(default_factory=dict)
    snapshot: dict[str, Any] = field(default_factory=dict)
    examined: tuple[Examined, ...] = ()
    probed: Examined | None = None
    made_of: tuple[str, ...] = ()
    gone: str = ""

    @cached_property
    def would_be_records(self) -> pl.DataFrame:
        """The replies that became a record or a drop; a list of entities, say, only leads to others."""
        used = pl.concat([self.records["request_ids"].explode(), self.drops["request_id"]])
        return self.replies.filter(pl.col("request_id").is_in(used.implode()))

    @cached_property
    def kept(self) -> pl.DataFrame:
        """The kept records, each with its anchor's text."""
        anchors = self.anchors.select("anchor_id", "title", anchor="text")
        return self.records.filter("kept").join(anchors, on="anchor_id", how="left").sort("record_id")


def sum_replies(replies: pl.DataFrame) -> pl.DataFrame:
    """Return what a report needs of replies: of their texts and tokens a few numbers, not a few kilobytes.

    Args:
        replies: Columns ``REPLY_IS`` and ``REPLY_SAYS``.

    Returns:
        In their order request_id, prompt_id, anchor_id, facet, finish_reason, prompt_tokens, completion_tokens;
        num_bytes of the text; nats, the negative sum of the tokens' log-probabilities, null where none were asked for;
        said, a number that is the same where texts are the same.
    """
    logprobs = pl.col("token_logprobs").cast(pl.List(pl.Float64))
    return replies.select(
        *REPLY_IS,
        num_bytes=pl.col("text").str.len_bytes(),
        nats=pl.when(logprobs.list.len() > 0).then(-logprobs.list.sum()),
        said=pl.col("text").hash(),
    )


@dataclass(frozen=True, slots=True)
class Begun:
    """A batch that was begun, measured or not.

    Attributes:
        recipe: Recipe as JSON.
        begun: Time at which it was begun, by the clock of that machine.
        place: Place in the order in which the store's batches were begun.
        stages: Stages that are complete: generate, validate, score, judge, train.
        digest: Digest of its newest report of this format, one of a training before one of none; or None.
        is_outdated: True if its only reports are of an earlier format.
        requests: Number of requests; 0 before generation is complete.
        records: Number of records; 0 before generation is complete.
        drops: Number of drops by reason.
        refusal: What validation holds against it, if it has failed as a whole; empty if it has not.
        quarantine: Number of records by reason; one with two reasons counts under both.
    """

    batch_id: str
    recipe: dict[str, Any]
    begun: datetime
    place: int = 0
    stages: tuple[str, ...] = ()
    digest: Digest | None = None
    is_outdated: bool = False
    requests: int = 0
    records: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    quarantine: dict[str, int] = field(default_factory=dict)
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class RecordTexts:
    """The records of a batch, kept or not, read once.

    Attributes:
        rows: Columns record_id, anchor_id, text, kept; records of one anchor stand together.
        texts: Words of the records, hashed.
        anchors: Words of the batch's anchors, hashed.
        own: Number of each record's anchor, -1 where it is not known.
        repeated: Number of words of each record that lie in a 5-gram it has had before.
        taken: Numbers of words that each record takes from anchors.
    """

    rows: pl.DataFrame
    texts: HashedTexts
    anchors: HashedTexts
    own: Rows
    repeated: Rows
    taken: Taken

    @property
    def kept(self) -> Flags:
        return np.asarray(self.rows["kept"].to_numpy(), dtype=bool)

    def first(self, number: int, among: Flags) -> Flags:
        """Return flags of the first records by id, this many at most; ids are hashes, so that it is a fair draw."""
        chosen = np.zeros(len(among), dtype=bool)
        chosen[self.in_order(among)[:number]] = True
        return chosen

    def in_order(self, among: Flags) -> Rows:
        """Return the places of some records, in the order of their ids."""
        (places,) = np.nonzero(among)
        return np.asarray(places[np.argsort(self.rows["record_id"].rank("ordinal").to_numpy()[places])])


def hash_records(evidence: Evidence) -> RecordTexts:
    """Return a batch's words, hashed, and all that is counted text by text."""
    anchors = evidence.anchors.sort("anchor_id")
    numbers = anchors.select("anchor_id", own=pl.int_range(pl.len()))
    rows = (
        evidence.records.select("record_id", "anchor_id", "text", "kept")
        .join(numbers, on="anchor_id", how="left")
        .sort("anchor_id", "record_id")
    )
    own = rows["own"].fill_null(-1).to_numpy().astype(np.int64)
    texts, hashed = hash_texts(rows["text"]), hash_texts(anchors["text"])
    return RecordTexts(
        rows=rows.drop("own"),
        texts=texts,
        anchors=hashed,
        own=own,
        repeated=repeated_words(texts, REPEAT_WORDS),
        taken=take_from_anchors(texts, hashed, own),
    )


def screen_records(read: RecordTexts) -> Screen:
    """Return the screen in which near duplicates are looked for, in the order of record ids."""
    return Screen(read.texts, read.in_order(np.ones(len(read.rows), dtype=bool)))


def over_words(counted: Rows, read: RecordTexts, among: Flags) -> Estimate:
    """Return counted words by all words of some records, over anchors."""
    num_words = read.texts.lengths[among]
    if not num_words.sum():
        return Estimate(None, None, None, 0, "share", why_no_words(read, among))
    return estimate.share_of(counted[among], read.own[among], num_words)


def share_of(flags: Flags, among: Flags, read: RecordTexts) -> Estimate:
    """Return the share of some records that are flagged, over anchors."""
    if not among.any():
        return Estimate(None, None, None, 0, "share", why_no_words(read, among))
    return estimate.share_of(flags[among], read.own[among])


def per_cent(flags: Flags, among: Flags, read: RecordTexts) -> Estimate:
    return as_per_cent(share_of(flags, among, read))


def as_per_cent(share: Estimate) -> Estimate:
    return share.mapped(lambda end: 100 * end, "%")


def why_no_words(read: RecordTexts, among: Flags) -> str:
    if not read.kept.any():
        return "not measured: no record was kept"
    return "not measured: the records have no words, or too few"
