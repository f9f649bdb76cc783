from hypothesis import given, settings
from hypothesis import strategies as st

from gainloop.sources.pieces import normalise, one_line
from schemas.conversation import Turn, fault_of
from schemas.instruction import Instruction, instruction_of, read_group, write_group

texts = st.one_of(st.text(max_size=40), st.text("a1. :\nInputOutput", max_size=40)).map(
    lambda one: normalise(one).strip()
)
instructions = st.builds(Instruction, texts.map(one_line).filter(bool), texts, texts)


@settings(max_examples=300)
@given(group=st.lists(instructions, min_size=1, max_size=12))
def test_a_group_is_read_back_as_it_was_written_also_from_an_anchor(group: list[Instruction]) -> None:
    written = write_group(group)

    assert read_group(written) == group
    assert read_group(normalise(written)) == group


def test_a_list_within_an_output_begins_no_instruction() -> None:
    group = [Instruction("List grains.", output="1. Rye\n2. Oats\n\n2. Wheat"), Instruction("Say more.")]

    assert read_group(write_group(group)) == group


def test_a_text_that_is_no_group_has_no_instruction() -> None:
    for text in ("", "The mill grinds rye.", "1. Rye\nand oats", "2. Rye", "Grains:\n\n1. Rye", "1. Rye\n\n3. Oats"):
        assert read_group(text) == []


def test_the_conversation_of_an_instruction_is_one_and_begins_with_it() -> None:
    one = Instruction("Name the mood.", "It rained.\n\nIt stopped.", "sad")

    assert fault_of(one.turns) == ""
    assert one.turns == (Turn("user", "Name the mood.\n\nIt rained.\n\nIt stopped."), Turn("assistant", "sad"))
    assert instruction_of((Turn("system", "Be brief."), *one.turns)) == one.text
    assert instruction_of(()) == ""
