"""Several new instructions at once, each with its input and its output, from a group of others."""

from random import Random
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from gainloop.asking.conversation import Read, after, ask, side_by_side
from gainloop.asking.instructions import fault_of_instance, without_placeholder
from gainloop.asking.structured import list_of, object_of, object_schema, read_object, read_passage, read_text, text_of
from gainloop.measures.rouge import LEAST_ALIKE
from gainloop.methods.method import Method
from gainloop.methods.self_instruct import (
    EXPECTED,
    LEAST_CHARS,
    LISTED_CHARS,
    Alike,
    Sieve,
    facet_of,
    record_of,
    unnumbered,
)
from schemas.instruction import Instruction
from schemas.rows import Anchor, Drop, Outcome, Record, Request, Rounds
from schemas.suites import Suite

WRITE = (
    "The document is a numbered list of instructions with inputs and outputs. Write {most} more of them, each whole.\n"
    "1. No two begin with the same verb, and none repeats the work or the wording of one in the list.\n"
    "2. Mix questions with orders, and short ones with long ones; one or two sentences each, in the list's language.\n"
    "3. Mix kinds: open questions, rewriting, sorting into classes, extracting, planning, reasoning, code.\n"
    "4. Somebody who only reads and writes text can do it: no pictures, sounds, files, links, accounts, alarms, news.\n"
    "5. The input is what the instruction is followed with: real content that you make up, 100 words at most, never a "
    "blank or a mere name of it. Where nothing is needed, as for a question of general knowledge, it stays empty.\n"
    "6. The output follows the instruction rightly and wholly, in 100 words at most, without a word about itself.\n"
    "Answer as JSON with the instructions: of each the instruction, its input, its output."
)
INPUT_CHARS, OUTPUT_CHARS, WHOLE_TOKENS = 1000, 2000, 120


class Alpaca(Method):
    """Several instructions with input and output in one reply, as a group of others goes on: the quick way.

    The target capability, the prompts and the responses are those of ``self_instruct``, and so are anchors and drops.

    Asks: ``draws`` samples of one request for ``tasks`` whole instructions as JSON.
    Costs: ``4 d`` prompt tokens, d of the group, a third of what ``self_instruct`` takes a record. Replies of a large
    model gain from ``tasks`` 20 and ``text.sampling.max_tokens`` 3,072.
    Counts: several records are of one reply. Draws of one prompt are one cluster: intervals count prompts. Reasons are
    those of ``self_instruct``, but for ``conflicting``: an instruction has one input.
    Source: Alpaca, Taori et al. 2023, with its threshold of likeness and its single step.
    Differs: the wishes are our own; JSON in place of marks between the tasks; a group has instructions that a model
    wrote too where the source has them, 8 in place of 3; empty outputs, placeholders in place of inputs, impossible and
    glued instructions, which users found in its data, are dropped by name.
    """

    kind: Literal["alpaca"] = "alpaca"
    makes_turns: ClassVar[bool] = True
    invents_instructions: ClassVar[bool] = True
    wishes: ClassVar[tuple[str, ...]] = (WRITE,)
    expectations: ClassVar[Suite] = EXPECTED
    tasks: Annotated[int, Field(ge=1, le=32, description="Instructions of each reply, one a record.")] = 4
    draws: Annotated[int, Field(ge=1, le=64, description="Replies sampled for each anchor.")] = 4
    alike: Alike = LEAST_ALIKE

    @property
    def max_requests(self) -> int:
        return self.draws

    @property
    def max_records(self) -> int:
        return self.draws * self.tasks

    def rounds(self, anchor: Anchor, rng: Random) -> Rounds:
        replies = yield from side_by_side(
            [ask(anchor, ask_tasks(anchor, draw, self.tasks), read_tasks) for draw in range(self.draws)]
        )
        sieve, records = Sieve.of(anchor, self.alike), list[Record]()
        for draw, listed in enumerate(replies):
            if isinstance(listed, Drop):
                sieve.drops.append(listed)
                continue
            for number, one in enumerate(listed.value[: self.tasks]):
                if sieve.passes(one.text, listed.request_id, fault_of_instance(one)):
                    made = Read(without_placeholder(one), listed.request_id)
                    records.append(record_of(self, anchor, facet_of(f"task {draw}.{number}", one), made))
        return Outcome(records, sieve.drops)


def ask_tasks(anchor: Anchor, draw: int, most: int) -> Request:
    """Ask for whole instructions as JSON; draws of one prompt tell how far the generator's differ."""
    fields = {
        "instruction": text_of(LISTED_CHARS, LEAST_CHARS),
        "input": text_of(INPUT_CHARS, 0),
        "output": text_of(OUTPUT_CHARS),
    }
    schema = object_of(instructions=list_of(object_schema(fields), 1, most))
    prompt = after(anchor.text, WRITE.format(most=most), anchor.title)
    return Request(prompt, facet=f"tasks {draw}", json_schema=schema, draw=draw, reply_tokens=WHOLE_TOKENS * most)


def read_tasks(text: str) -> list[Instruction] | None:
    """Return the instructions of a reply, of which one that is none has no text; None if it has no list of them.

    >>> read_tasks('{"instructions": [{"instruction": "Name a grain.", "input": "", "output": "Rye"}, 7]}')
    [Instruction(text='Name a grain.', input='', output='Rye'), Instruction(text='', input='', output='')]
    """
    listed = (read_object(text) or {}).get("instructions")
    return [_read_task(one) for one in listed] if isinstance(listed, list) and listed else None


def _read_task(value: Any) -> Instruction:
    given = value.get("input") or "" if isinstance(value, dict) else None
    if not isinstance(given, str):
        return Instruction("")
    texts = (
        unnumbered(read_text(value.get("instruction")) or ""),
        read_passage(given) or given.strip(),  # a placeholder stays, to be told
        read_passage(value.get("output")),
    )
    return Instruction(*(one or "" for one in texts))
