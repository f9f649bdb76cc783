r"""Instructions with their inputs and outputs, and the numbered list that a group of them is as a text.

The list is an anchor's text: a model reads it as examples, and ``read_group`` reads it back::

    1. Say in which mood the sentence is.
       Input: It rained,
          and it was well.
       Output: content

    2. Name a grain.
       Output: Rye
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas.conversation import Turn

_NUMBERED: Final = re.compile(r"(\d{1,6})\. (\S.*)")
_FIELD: Final = re.compile(r" {3}(Input|Output): (\S.*)")
_MORE: Final = " " * 6


@dataclass(frozen=True, slots=True)
class Instruction:
    """What someone is told to do, what with, and what comes of it.

    Attributes:
        text: The instruction, on one line.
        input: What it is to be done with; empty where it needs nothing.
        output: A good answer; empty where the instruction is shown alone.
    """

    text: str
    input: str = ""
    output: str = ""

    @property
    def asked(self) -> str:
        r"""What a user says: the instruction, and its input below it.

        >>> Instruction("Name the mood.", "It rained.", "sad").asked
        'Name the mood.\n\nIt rained.'
        """
        return f"{self.text}\n\n{self.input}" if self.input else self.text

    @property
    def turns(self) -> tuple[Turn, Turn]:
        """The conversation that it is: the user's turn, and the assistant's."""
        return Turn("user", self.asked), Turn("assistant", self.output)


def instruction_of(turns: Sequence[Turn]) -> str:
    r"""Return the instruction that a conversation begins with: the first paragraph that its user says.

    >>> instruction_of(Instruction("Name the mood.", "It rained.\n\nIt stopped.", "sad").turns)
    'Name the mood.'
    """
    said = next((turn.content for turn in turns if turn.role == "user"), "")
    return said.strip().partition("\n\n")[0]


def write_group(instructions: Sequence[Instruction]) -> str:
    r"""Return instructions as a numbered list.

    Their texts must have no white space around them and the instruction no line end, as a source leaves them; then
    ``read_group`` gives them back.

    >>> write_group([Instruction("Name the mood.", "It rained,\nand it was well.", "content"), Instruction("Sum up.")])
    '1. Name the mood.\n   Input: It rained,\n      and it was well.\n   Output: content\n\n2. Sum up.'
    """
    return "\n\n".join(_written(number, one) for number, one in enumerate(instructions, 1))


def _written(number: int, one: Instruction) -> str:
    fields = [("Input", one.input), ("Output", one.output)]
    return "\n".join([f"{number}. {one.text}", *(f"   {name}: {_indented(text)}" for name, text in fields if text)])


def _indented(text: str) -> str:
    first, *more = text.split("\n")
    return "\n".join([first, *(_MORE + line if line else "" for line in more)])


def read_group(text: str) -> list[Instruction]:
    r"""Return the instructions of a text that ``write_group`` wrote; none of any other text.

    >>> read_group("1. Name a grain.\n   Output: Rye\n\n2. Sum up.")
    [Instruction(text='Name a grain.', input='', output='Rye'), Instruction(text='Sum up.', input='', output='')]
    >>> read_group("The mill grinds rye."), read_group("1. The mill\ngrinds rye.")
    ([], [])
    """
    found: list[dict[str, list[str]]] = []
    field = ""
    for line in text.split("\n"):
        if (begun := _NUMBERED.fullmatch(line)) and int(begun[1]) == len(found) + 1:
            found.append({"text": [begun[2]]})
            field = ""
        elif found and (named := _FIELD.fullmatch(line)):
            field = named[1].lower()
            found[-1][field] = [named[2]]
        elif field and (not line or line.startswith(_MORE)):
            found[-1][field].append(line[len(_MORE) :])
        elif line or not found:
            return []
    return [Instruction(**{name: "\n".join(lines).rstrip("\n") for name, lines in one.items()}) for one in found]
