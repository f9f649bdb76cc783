"""New instructions from a group of others, each then with inputs and outputs of its own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from gainloop.asking.conversation import Conversation, Read, after, alone, ask, own_draw, reason_to_drop, side_by_side
from gainloop.asking.instructions import fault_of_instance, fault_of_instruction, without_placeholder
from gainloop.asking.structured import list_of, object_of, one_of, read_object, read_passage, read_text, text_of
from gainloop.measures.rouge import LEAST_ALIKE, AlikeTexts, rouge_tokens
from gainloop.methods.method import Method, Prompts
from schemas.characters import folded
from schemas.instruction import Instruction, read_group
from schemas.rows import Anchor, Answer, Drop, Outcome, Record, Reply, Request, Rounds
from schemas.suites import Suite, at_least, at_most, distinct

CONTINUE = (
    "The document is a numbered list of instructions, some of them with an input and an output. Continue the list: "
    "think of {most} more instructions that could stand below the last one. Each asks for a kind of work that none "
    "before it asks for, on a subject of its own, in one or two sentences; some are questions, some are orders. "
    "Somebody who only reads and writes text must be able to do it, without pictures, sounds, files, links, accounts "
    "and today's news. Leave out numbers, inputs and outputs. Answer as JSON with the instructions."
)
CONTINUE_PLAIN = (
    "The document is a numbered list of instructions. Write {most} other instructions, each for another kind of work "
    "on another subject, in one sentence. Answer as JSON with the instructions."
)
ANSWER_PLAIN = "{text} Write {max_words} words at most."
CLASSIFY = (
    "Instruction: {text}\nDoes a good answer to it only name one of a few classes that are known beforehand, as yes or "
    "no, a mood, a topic out of a list? Answer as JSON with the classification."
)
FORM = (
    'Put "Input:" before the one and "Output:" before the other, as the list does, and write nothing else. Both are '
    "whole and made up by you: no blanks to be filled in."
)
INPUT_FIRST = (
    "Write one example of how the instruction below is followed: first an input that it can be followed with, then the "
    "output that follows it well. Where it can be followed without any input, write the output alone. "
    f"{FORM}\nInstruction: {{text}}"
)
OUTPUT_FIRST = (
    "The instruction below asks for a class. Choose one of its classes as the output, a less usual one too now and "
    "then; then write an input of which that class is right beyond doubt, and which does not name it. First comes the "
    f"output here, then the input. {FORM}\nInstruction: {{text}}"
)

PLAIN_WORDS: Final = 100
"""Words that the answer to an instruction may have where nothing else is wished of it."""

INSTRUCTION_TOKENS, INSTANCE_TOKENS = 40, 300
"""Tokens that a new instruction and an example of one may take: of the real ones most have half of that."""

LEAST_CHARS, LISTED_CHARS = 12, 1200

# Of 426 real instructions with their outputs, as records beside groups of the seeds, 2 puzzles have fewer letters than
# prose, 3 translations are of another language than the group; 14 hold places to be filled in, which are refused.
EXPECTED: Final[Suite] = (
    distinct("opening", 0.1, "same_openings"),  # examples of one instruction begin alike
    at_least("letter_share", 0.15, "not_prose", mostly=0.5),
    at_most("foreign_share", 0.9, "foreign_script", mostly=0.8),
    at_most("other_language", 0.9, "other_language", mostly=0.5),
)

Alike = Annotated[
    float,
    Field(
        gt=0,
        le=1,
        description="ROUGE-L with another instruction of the anchor above which one is dropped as near_duplicate.",
    ),
]

_MARK: Final = re.compile(
    r"^[ \t#*>-]{0,8}(input|output|class label|label|answer)[ \t*]{0,4}:[ \t*]{0,4}", re.IGNORECASE | re.MULTILINE
)
_INDENT: Final = " " * 6
_NUMBER: Final = re.compile(
    r"[#*\s-]{0,8}(?:(?:task|instruction)\s{0,2}(?:\d{1,3})?\s{0,2}:|\d{1,3}[.):])\s+", re.IGNORECASE
)


class SelfInstruct(Method):
    """Instructions as a group of others goes on, each with inputs and outputs: conversations to tune a model with.

    The target capability is to follow instructions of any kind. A prompt is the instruction with its input below it,
    as a user says it; the response is the output, as an assistant says it: a record is that conversation. Anchors are
    groups of the source ``instructions``.

    Asks: for one JSON list of ``instructions`` new ones; of each that stands, by the likeliest reply, whether it asks
    for a class; then for ``instances`` examples of it, the output first where it does, so that no class is the only
    one, and the input first elsewhere.
    Costs: ``17 d`` prompt tokens, d of the group; a third of the requests have some 80 prompt tokens, not the group.
    Counts: an instruction is a drop if it is ``too_short`` (a word alone) or ``too_long`` (more than 150), or
    ``impossible`` for who reads and writes text alone, ``glued`` of several, a ``repeat``, or a ``near_duplicate``:
    ROUGE-L above ``alike`` with one of the group or one before it. An example is one if it is ``cut_off``,
    ``malformed``, ``glued``, or ``impossible``, has an ``empty_output``, ``repeats_input``, ``ends_open`` in a colon
    that its output does not fill in, is ``too_short``: 3 words and no input; ``conflicting``: the same input has two
    outputs, and all examples of the instruction go; or a ``placeholder_input``: the input is missing or "N/A" where the
    instruction, its output or the asking for a class needs one. Elsewhere "N/A", "None", ``<noinput>`` and the like
    mean that there is no input: the record has none, and its facet ends in ": placeholder left out", by which such
    records are counted.
    With ``prompts: plain`` an instruction is put to the model as it is, and its answer is the output: so a model of
    under a billion parameters, which makes up no examples in a form, can. There are no classes and no inputs then.
    Measured: validation compares each instruction with those of other anchors, of earlier batches of the method and of
    the anchors by ROUGE-L as well: ``curation.instructions_alike``.
    Source: Self-Instruct, Wang et al. 2022, arXiv:2212.10560, with its thresholds and its two orders of examples.
    Differs: replies are chat replies, of JSON where the paper continues a list; an example is a request of its own, so
    that a record is one reply; examples are shown with the group, not with fixed ones. Programs, charts in code, other
    languages than English and 3 words with an input are not dropped; what no text can do is told by patterns, not by
    single words.
    """

    kind: Literal["self_instruct"] = "self_instruct"
    makes_turns: ClassVar[bool] = True
    invents_instructions: ClassVar[bool] = True
    wishes: ClassVar[tuple[str, ...]] = (CONTINUE, CONTINUE_PLAIN, INPUT_FIRST, OUTPUT_FIRST)
    expectations: ClassVar[Suite] = EXPECTED
    instructions: Annotated[int, Field(ge=1, le=32, description="New instructions of each anchor.")] = 8
    instances: Annotated[int, Field(ge=1, le=5, description="Examples of each instruction, one a record.")] = 2
    alike: Alike = LEAST_ALIKE
    prompts: Prompts = "full"

    @property
    def max_requests(self) -> int:
        return 1 + self.instructions * (self.instances + (self.prompts == "full"))

    @property
    def max_records(self) -> int:
        return self.instructions * self.instances

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        wish = CONTINUE if self.prompts == "full" else CONTINUE_PLAIN
        listed = yield from ask(anchor, ask_instructions(anchor, self.instructions, wish), read_instructions)
        if isinstance(listed, Drop):
            return Outcome(drops=[listed])
        sieve = Sieve.of(anchor, self.alike)
        texts = [one for one in listed.value[: self.instructions] if sieve.passes(one, listed.request_id)]
        sorts = yield from self.sort(anchor, texts)
        sieve.drops += [one for one in sorts if isinstance(one, Drop)]
        asked = [
            (n, text, one) for n, (text, one) in enumerate(zip(texts, sorts, strict=True)) if isinstance(one, Read)
        ]
        made = yield from side_by_side([self.exemplify(anchor, n, text, one.value) for n, text, one in asked])
        records = [record for outcome in made for record in outcome.records]
        return Outcome(records, sieve.drops + [drop for outcome in made for drop in outcome.drops])

    def sort(self, anchor: Anchor, texts: Sequence[str]) -> Conversation[list[Read[bool] | Drop]]:
        """Return of each instruction whether it asks for a class, or the drop of what was asked about it."""
        if self.prompts == "plain":
            return [Read(False, "") for _ in texts]
        asked = [ask(anchor, ask_sort(anchor, number, text), read_sort) for number, text in enumerate(texts)]
        return (yield from side_by_side(asked))

    def exemplify(self, anchor: Anchor, number: int, text: str, is_class: bool) -> Conversation[Outcome]:
        """Return the records of one instruction, and the drops of examples that are none."""
        wish = ANSWER_PLAIN if self.prompts == "plain" else OUTPUT_FIRST if is_class else INPUT_FIRST
        requests = [ask_instance(anchor, number, draw, text, wish) for draw in range(self.instances)]
        answers = yield requests
        found = [
            read_answer(anchor, request, one, text, is_class) for request, one in zip(requests, answers, strict=True)
        ]
        drops = [one for one in found if isinstance(one, Drop)]
        read = [(request.facet, one) for request, one in zip(requests, found, strict=True) if isinstance(one, Read)]
        facets = {one.request_id: facet_of(facet, one.value) for facet, one in read}
        good = [Read(without_placeholder(one.value), one.request_id) for _, one in read]
        records: dict[Instruction, Record] = {}
        is_bad = conflict([one.value for one in good])
        for one in good:
            name = facets[one.request_id]
            reason = "conflicting" if is_bad else "repeat" if one.value in records else ""
            if reason:
                drops.append(Drop(anchor.anchor_id, name, reason, one.request_id))
            else:
                records[one.value] = record_of(self, anchor, name, one)
        return Outcome(list(records.values()), drops)


@dataclass
class Sieve:
    """The instructions of an anchor so far, its group's among them, and the drops of those that did not pass."""

    anchor: Anchor
    known: AlikeTexts
    seen: set[tuple[str, ...]] = field(default_factory=set)
    drops: list[Drop] = field(default_factory=list)
    number: int = 0

    @classmethod
    def of(cls, anchor: Anchor, alike: float) -> "Sieve":
        sieve = cls(anchor, AlikeTexts(alike))
        for one in read_group(anchor.text):
            sieve.add(rouge_tokens(one.text))
        return sieve

    def add(self, tokens: list[str]) -> None:
        self.known.add(tokens)
        self.seen.add(tuple(tokens))

    def passes(self, text: str, request_id: str, but_for: str = "") -> bool:
        """Tell whether an instruction is one, and like none before it; one that passes is before the next.

        Args:
            text: Instruction; empty where there is none that can be read.
            but_for: Reason to drop it that was found elsewhere: it does not count as seen then.
        """
        reason, tokens = "malformed" if not text else fault_of_instruction(text) or but_for, rouge_tokens(text)
        if not reason:
            reason = "repeat" if tuple(tokens) in self.seen else "near_duplicate" if self.known.nearest(tokens) else ""
        self.number += 1
        if reason:
            self.drops.append(Drop(self.anchor.anchor_id, f"instruction {self.number}", reason, request_id))
        else:
            self.add(tokens)
        return not reason


def facet_of(name: str, made: Instruction) -> str:
    """Return the facet of an example, which tells where its input only held the place of one.

    >>> facet_of("instance 0.1", Instruction("Name a grain.", "N/A", "Rye"))
    'instance 0.1: placeholder left out'
    """
    return name if without_placeholder(made) == made else f"{name}: placeholder left out"


def record_of(method: Method, anchor: Anchor, facet: str, made: Read[Instruction]) -> Record:
    return Record.of_turns(anchor.anchor_id, method.kind, facet, made.value.turns, (made.request_id,))


def conflict(made: Sequence[Instruction]) -> bool:
    """Tell whether one input has two outputs.

    >>> one = Instruction("Name the mood.", "It rained.", "sad")
    >>> conflict([one, one]), conflict([one, Instruction("Name the mood.", "it rained.", "glad")])
    (False, True)
    """
    outputs: dict[str, str] = {}
    pairs = [(folded(one.input), folded(one.output)) for one in made if one.input]
    return any(outputs.setdefault(given, output) != output for given, output in pairs)


def ask_instructions(anchor: Anchor, most: int, wish: str = CONTINUE) -> Request:
    """Ask for new instructions as JSON."""
    schema = object_of(instructions=list_of(text_of(LISTED_CHARS, LEAST_CHARS), 1, most))
    prompt = after(anchor.text, wish.format(most=most), anchor.title)
    return Request(prompt, facet="instructions", json_schema=schema, reply_tokens=INSTRUCTION_TOKENS * most)


def ask_sort(anchor: Anchor, number: int, text: str) -> Request:
    """Ask whether an instruction asks for a class; without the group, and for the likeliest reply."""
    schema = object_of(classification=one_of("yes", "no"))
    prompt, draw = alone(CLASSIFY.format(text=text)), own_draw(anchor, number)
    return Request(prompt, facet=f"sort {number}", json_schema=schema, draw=draw, greedy=True)


def ask_instance(anchor: Anchor, number: int, draw: int, text: str, wish: str) -> Request:
    """Ask for one example of an instruction, beside the group, whose form it takes; plainly, for an answer alone."""
    if wish == ANSWER_PLAIN:
        prompt = alone(wish.format(text=text, max_words=PLAIN_WORDS))
        return Request(prompt, facet=f"instance {number}.{draw}", draw=own_draw(anchor, draw), reply_tokens=150)
    prompt = after(anchor.text, wish.format(text=text), anchor.title)
    return Request(prompt, facet=f"instance {number}.{draw}", draw=draw, reply_tokens=INSTANCE_TOKENS)


def read_instructions(text: str) -> list[str] | None:
    """Return the instructions of a reply, empty where one is no text; None if it has no list of them.

    >>> read_instructions('{"instructions": ["9. Name a grain.", 7]}'), read_instructions("9. Name a grain.") is None
    (['Name a grain.', ''], True)
    """
    listed = (read_object(text) or {}).get("instructions")
    return [unnumbered(read_text(one) or "") for one in listed] if isinstance(listed, list) and listed else None


def unnumbered(text: str) -> str:
    """Return an instruction without the number that it would have in a list.

    >>> unnumbered("9. Name a grain."), unnumbered("Task 3: Name a mill."), unnumbered("3.5 tons are how much rye?")
    ('Name a grain.', 'Name a mill.', '3.5 tons are how much rye?')
    """
    found = _NUMBER.match(text)
    return text[found.end() :] if found else text


def read_sort(text: str) -> bool | None:
    """Return whether a reply says that an instruction asks for a class; None if it does not say.

    >>> read_sort('{"classification": "yes"}'), read_sort('{"classification": "maybe"}') is None
    (True, True)
    """
    said = (read_object(text) or {}).get("classification")
    return said == "yes" if said in ("yes", "no") else None


def read_answer(
    anchor: Anchor, request: Request, answer: Answer, text: str, is_class: bool
) -> Read[Instruction] | Drop:
    """Return the example that an answer is, as it came, or why it is none."""
    if drop := reason_to_drop(anchor, request, answer):
        return drop
    assert isinstance(answer, Reply)
    made = read_instance(answer.text, text)
    reason = made if isinstance(made, str) else fault_of_instance(made, needs_input=is_class)
    if isinstance(made, str) or reason:
        return Drop(anchor.anchor_id, request.facet, reason, answer.request_id)
    return Read(made, answer.request_id)


def read_instance(reply: str, text: str) -> Instruction | str:
    r"""Return the example of an instruction that a reply is, or why it is none; without a mark it is the output.

    >>> read_instance("Input: It rained.\nOutput: sad", "Name the mood.")
    Instruction(text='Name the mood.', input='It rained.', output='sad')
    >>> read_instance("Rye", "Name a grain.").output, read_instance("Input: Rye", "Name a grain.")
    ('Rye', 'malformed')
    >>> read_instance("Output: a\nInput: b\nOutput: c", "Name the mood.")
    'glued'
    """
    marks = list(_MARK.finditer(reply))
    if not marks:
        return Instruction(text, "", read_passage(reply) or "")
    names = ["input" if mark[1].lower() == "input" else "output" for mark in marks]
    if len(set(names)) < len(names):
        return "glued"
    begun = folded(reply[: marks[0].start()][: len(text) + 40]).strip(" 0123456789.:*#")
    if "output" not in names or (begun and folded(text).rstrip(".") not in begun):
        return "malformed"
    ends = [*(mark.start() for mark in marks[1:]), len(reply)]
    found = {name: _part(reply[mark.end() : end]) for name, mark, end in zip(names, marks, ends, strict=True)}
    return Instruction(text, **found)


def _part(text: str) -> str:
    """Return a part of a reply without the indentation that lists have; a placeholder stays as it is."""
    first, *more = text.split("\n")
    if more and all(line.startswith(_INDENT) or not line.strip() for line in more):
        more = [line[len(_INDENT) :] for line in more]
    return read_passage("\n".join([first, *more])) or text.strip()
