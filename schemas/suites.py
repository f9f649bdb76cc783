"""The suites of Great Expectations for every table: rows that are refused, and the share of rows that must pass.

Expectations are plain data here, since importing Great Expectations costs seconds of CPU. Columns are
those that ``gainloop/curation/suite.py`` computes. The thresholds were set on replies recorded from
Qwen2.5-7B, on wiki, web and book text, on Python's documentation, and on text of a 2.5 M parameter
model trained for three minutes, which babbles but does not repeat itself.
"""

from dataclasses import dataclass
from typing import Any

BETWEEN = "expect_column_values_to_be_between"
IN_SET = "expect_column_values_to_be_in_set"
DISTINCT = "expect_column_proportion_of_unique_values_to_be_between"
NUM_ROWS = "expect_table_row_count_to_be_between"


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation of a table.

    Attributes:
        column: Column that it checks; "" for the table itself.
        kind: Name of the expectation in Great Expectations.
        arguments: Other arguments of the expectation.
        reason: Key that a failing row is quarantined under; ``REASONS`` says what it means.
        mostly: Share of rows that must pass, or the suite fails as a whole; None if the
            expectation is of the table and not of its rows.
    """

    column: str
    kind: str
    arguments: dict[str, Any]
    reason: str
    mostly: float | None = None

    @property
    def required(self) -> float:
        """The least share of rows, or the least value of the table, that holds."""
        return float(self.arguments["min_value"]) if self.mostly is None else self.mostly

    @property
    def rule(self) -> str:
        """The expectation in a few words.

        >>> Expectation("num_words", BETWEEN, {"min_value": 5}, "too_short", 0.5).rule
        'num_words at least 5'
        """
        words = {"min_value": "at least", "max_value": "at most", "value_set": "one of"}
        bounds = " and ".join(f"{words[name]} {value}" for name, value in self.arguments.items())
        names = {NUM_ROWS: "number of rows", DISTINCT: f"share of distinct {self.column}s"}
        return f"{names.get(self.kind, self.column)} {bounds}".replace("one of [True]", "is true").replace(
            "one of [False]", "is false"
        )


Suite = tuple[Expectation, ...]


def at_least(column: str, value: float, reason: str, mostly: float) -> Expectation:
    return Expectation(column, BETWEEN, {"min_value": value}, reason, mostly)


def at_most(column: str, value: float, reason: str, mostly: float) -> Expectation:
    return Expectation(column, BETWEEN, {"max_value": value}, reason, mostly)


def always(column: str, value: bool, reason: str, mostly: float) -> Expectation:
    return Expectation(column, IN_SET, {"value_set": [value]}, reason, mostly)


def distinct(column: str, share: float, reason: str) -> Expectation:
    return Expectation(column, DISTINCT, {"min_value": share}, reason)


NOT_EMPTY = Expectation("", NUM_ROWS, {"min_value": 1}, "no_rows")


LEAKS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<think>",
    "<|eot_id|>",
    "<|related|>",
    "[inst]",
    "### instruction",
    "### response",
    "you are an ai assistant",
    "you are a helpful assistant",
    "as an ai language model",
    "as a large language model",
    "i'm sorry, but i can",
    "please let me know if you need",
    "sure, here is",
    "sure, here's",
    "here is the rewritten",
    "here is the rephrased",
    "here's the rewritten",
    "here's a rephrased",
    "here is a rewritten",
    "here's a rewritten",
    "read the following passage",
    "rewrite the following",
    "here is the reformulated",
    "here's the reformulated",
    "here is a list of implications",
    "here are the implications",
    "based on the provided text",
    "based on the provided passage",
    "according to the provided text",
    "certainly! here is",
    "certainly! here's",
    "sure! here is",
    "sure! here's",
)
"""Pieces of chat templates, and of talk with a user: none of it is a document's own text. A batch's own prompts are
looked for as well: ``Method.wishes``."""

ANCHORS: Suite = (
    NOT_EMPTY,
    distinct("text", 1.0, "duplicate"),
    at_least("num_words", 5, "too_short", mostly=0.95),
    at_least("printable_share", 0.99, "broken_encoding", mostly=0.95),
    at_least("letter_share", 0.4, "not_prose", mostly=0.9),
    at_most("repeated_share", 0.45, "repeats", mostly=0.9),
)

RECORDS: Suite = (
    NOT_EMPTY,
    always("anchor_known", True, "unknown_anchor", mostly=1.0),
    always("anchor_heldout", False, "heldout_anchor", mostly=1.0),
    at_most("num_earlier_copies", 0, "duplicate", mostly=0.5),
    distinct("opening", 0.2, "same_openings"),
    at_least("num_words", 5, "too_short", mostly=0.5),
    at_least("printable_share", 0.99, "broken_encoding", mostly=0.5),
    at_least("letter_share", 0.4, "not_prose", mostly=0.5),
    at_most("repeated_share", 0.35, "repeats", mostly=0.5),
    at_most("copied_share", 0.9, "copies_anchor", mostly=0.5),
    at_most("foreign_share", 0.2, "foreign_script", mostly=0.8),
    at_most("other_language", 0.3, "other_language", mostly=0.5),
    always("refuses", False, "refusal", mostly=0.8),
    always("leaks", False, "prompt_leak", mostly=0.8),
    always("cites_source", False, "cites_source", mostly=0.5),
    always("leaves_places", False, "placeholder", mostly=0.5),
)

CORPUS: Suite = (
    always("contaminated", False, "contaminated", mostly=0.5),
    always("near_duplicate_of_anchor", False, "near_duplicate_of_anchor", mostly=0.5),
    always("near_duplicate_of_earlier_batch", False, "near_duplicate_of_earlier_batch", mostly=0.5),
    always("near_duplicate", False, "near_duplicate", mostly=0.5),
    always("near_instruction", False, "near_instruction", mostly=0.5),
)
"""The suite of records that passed, compared with all others; only what ``Curation`` switches on is validated."""

KEPT: Suite = (always("kept", True, "too_few_kept", mostly=0.3),)
"""Expected once every record is validated: enough is left to train on."""

THRESHOLDS = "the thresholds in schemas/suites.py"

SET_BY = {
    "near_duplicate_of_earlier_batch": "curation.among, to leave earlier_batches out",
    "near_instruction": "curation.instructions_alike",
}
"""By reason: what else than ``THRESHOLDS`` lets a table pass, as an error advises it."""

REASONS: dict[str, str] = {
    "no_rows": "There is nothing to judge in an empty table.",
    "unknown_anchor": "A record is made from an anchor of the batch's snapshot.",
    "heldout_anchor": "Held-out anchors are never generated from.",
    "duplicate": "The text is there already; of equal records the one with the lowest id stays.",
    "same_openings": "A collapsed generator begins most texts with the same eight words. Five real replies to each "
    "anchor have 0.8, a weak model sampled greedily 0.1.",
    "too_short": "Nothing can be said in so few words. The shortest of 2,250 real replies has 27.",
    "broken_encoding": "Text read in the wrong encoding, or bytes sampled by a weak model that make no character.",
    "not_prose": "Rulers, punctuation or numbers in place of prose. Real replies have 0.82 and more, school maths "
    "0.5; of Python's documentation 1 % is below, for its tables.",
    "repeats": "A loop. Gopher keeps pages up to 0.15; terse lists in real replies reach 0.3 without a loop, and "
    "lists of implications, whose lines are alike, 0.42.",
    "copies_anchor": "The anchor's own words, which training has already. Of real rewrites 99 % are below 0.7.",
    "recites_anchor": "A passage of the anchor word for word. Carlini et al. 2023 call 50 tokens memorised.",
    "foreign_script": "The language changes on the way: letters of scripts that the anchor does not use.",
    "other_language": "A third of it is in another language than its anchor, by script or by the commonest words of 17 "
    "languages. Of 2,250 real replies none is, of 4,900 English texts beside another one one.",
    "refusal": "The generator declines; the recipe asks for what it will not write.",
    "prompt_leak": "Prompt, chat template, thinking aloud or talk with the asker. Of a base model's recorded replies "
    "6 % go on to another task after the first. Of 12,900 texts of web, encyclopedias, stories, plays and schools none "
    "has such a mark or talks so, of 10,200 docstrings 9, which are about marks.",
    "cites_source": "It speaks of a passage or of the text's own parts, which no reader of the record sees. Of a "
    "model's recorded replies 3 % do; of 23,000 real texts none speaks of its parts.",
    "placeholder": "Places that someone else should fill in, as [Your Name] or {{date}}. Of 2,250 real replies one has "
    "them, of 12,900 real texts 5, of which 4 are forms to be filled in.",
    "wanders_off": "Somewhere 60 words in a row have nothing to do with the anchor or the record's own beginning: the "
    "generator has gone on to something else. Of 846 long recorded replies 2 % have, and talk to nobody.",
    "contaminated": "What a model is tested on must not be trained on. 13 words in a row of a question, or 0.7 of its "
    "8-grams: of 2,250 real replies 18 have that of a question of SQuAD about their passage, of 985 web texts none.",
    "near_duplicate_of_anchor": "Four fifths of the wording of an anchor, held-out ones among them: training has that "
    "text already, or must not have it.",
    "near_duplicate_of_earlier_batch": "Four fifths of the wording of a record that was kept before. If that is most "
    "of a batch, change method or seed, or leave earlier_batches out of curation.among.",
    "near_duplicate": "Four fifths of the wording of another record; of those the one with the lowest id stays. Real "
    "replies have none.",
    "near_instruction": "An instruction that an anchor, an earlier batch or a record of another anchor has already, by "
    "ROUGE-L; of those in the batch the one with the lowest id stays. If that is most of a batch, the generator has "
    "nothing new to ask: add seeds, or change its model.",
    "too_few_kept": "Where curation refuses more than 70 %, it shapes what is left: change the recipe instead.",
}
"""The reason for each expectation, with the numbers behind its threshold. The page of a validation shows it."""


def records_suite(added: Suite = ()) -> Suite:
    """Return the suite of records.

    Args:
        added: Expectations of their method; each replaces the general one of its column.
    """
    replaced = {expectation.column for expectation in added}
    return tuple(one for one in RECORDS if one.column not in replaced) + added
