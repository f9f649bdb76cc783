"""Instructions that no text can answer, that are several, or that lack their input or output, are told by name."""

import json
from pathlib import Path
from random import Random

import pytest

from gainloop.asking.instructions import fault_of_instance, fault_of_instruction, without_placeholder
from schemas.instruction import Instruction

PATTERNS = {"impossible", "glued", "empty_output", "placeholder_input"}
NUM_PLANTED = 50
NO_INPUT = (
    "N/A",
    "n/a",
    "None",
    "none.",
    "<noinput>",
    "<No Input>",
    "No input",
    "-",
    "(empty)",
    "[None]",
    "NULL",
    "Input",
)
NO_OUTPUT = ("", " \n", "N/A", "None", "<nooutput>", "No output", "-", "...", "null", "[insert answer]", "Output: ")
SEEN = ("photo", "picture", "image", "video", "chart", "map", "diagram", "screenshot")
UNDOABLE = (
    "Describe what is happening in the {seen} at https://example.org/{n}.",
    "Look at the attached {seen} and say what is wrong with it.",
    "Draw a {seen} of a mill beside a river in winter.",
    "Create a {seen} that shows how rye prices rose since {n}.",
    "Write a caption for the following {seen} of a bakery.",
    "Identify the birds in this {seen} and name them.",
    "Log in to my account and change the password to rye{n}.",
    "Visit the website www.example.org/{n} and summarize it.",
    "Open the attached file and count its {n} rows.",
    "Tell me what the weather in Ottery is right now.",
    "Check my inbox for messages from the miller.",
    "Set an alarm for {n} minutes from now.",
    "Analyze the data in the given {seen} and explain the trend.",
    "Generate an image of a {seen} in the style of an old master.",
    "Download the {seen} and send it to the baker.",
)


def seeds(shared_data: Path) -> list[Instruction]:
    rows = map(json.loads, (shared_data / "self_instruct" / "seed_tasks.jsonl").read_text().splitlines())
    return [
        Instruction(" ".join(row["instruction"].split()), one["input"].strip(), one["output"].strip())
        for row in rows
        for one in row["instances"][:1]
    ]


def fault_of(one: Instruction) -> str:
    return fault_of_instruction(one.text) or fault_of_instance(one)


def glued(one: Instruction, other: Instruction, rng: Random) -> Instruction:
    """Return two instructions in one, in one of the ways that were seen."""
    return [
        Instruction(f"1. {one.text} 2. {other.text}", one.input, one.output),
        Instruction(one.text, one.input, f"{one.output}\n\nInstruction: {other.text}\nOutput: {other.output}"),
        Instruction(f"{one.text} Output: {one.output[:60]} Instruction: {other.text}", other.input, other.output),
        Instruction(one.text, one.input, f"{one.output}\n###\n{other.text}\n{other.output}"),
        Instruction(one.text, one.input, f"{one.output}\n\nTask 10: {other.text}\nInput: {other.input}"),
        Instruction(one.text, one.input, f"{one.output}\nInput: {other.input}\nOutput: {other.output}"),
    ][rng.randrange(6)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Write a haiku.", "too_short"),
        ("Write a haiku now.", ""),
        ("rye " * 150, ""),
        ("rye " * 151, "too_long"),
        ("\u5199\u4e00\u9996\u5173\u4e8e\u9ea6\u5b50\u7684\u8bd7", ""),
        ("\u5199\u4e00\u9996\u8bd7", "too_short"),
        ("1. Name a grain. 2. Say how to grind it.", "glued"),
        ("Name a grain. Output: Rye Instruction: Name a mill", "glued"),
        ("Name a grain of the kind that follows Output: Rye", "glued"),
        ("Name the sum of 1. and 2 in words", ""),
        ("Choose one of these: 1) rye; 2) oats; 3) wheat.", ""),
        *((one.format(seen="photo", n=7), "impossible") for one in UNDOABLE),
        ("Write a Python program that opens a file and draws a chart.", ""),
        ("Draw a conclusion from what the miller says.", ""),
        ("Think of a title for my video about rye.", ""),
        ("Write the description of a picture that hangs in a mill.", ""),
        ("Write an email that invites my friends to dinner.", ""),
        ("Explain how maps were made in 1874.", ""),
    ],
)
def test_an_instruction_is_refused_for_its_reason_alone(text: str, reason: str) -> None:
    assert fault_of_instruction(text) == reason


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (Instruction("Name a grain.", "", "Rye"), ""),
        (Instruction("Name a grain.", "", " \n"), "empty_output"),
        (Instruction("Say what falls.", "", "..."), "empty_output"),
        (Instruction("Add both.", "3 and 4", "7"), ""),
        (Instruction("Correct it.", "The mill grinds  rye.", "the mill grinds rye."), "repeats_input"),
        (Instruction("List grains.", "", "Here are some:"), "ends_open"),
        (Instruction("Go on.", "The miller said:", "Rye."), "ends_open"),
        (Instruction("Name a grain.", "", "Rye\n\nTask 3: Name a mill"), "glued"),
        (Instruction("Name a grain.", "", "Rye\nInput: oats"), "glued"),
        (Instruction("Name its subject.", "https://example.org/rye.html", "Rye"), "impossible"),
        (Instruction("Name its subject.", "Image: mill.jpg", "Rye"), "impossible"),
        (Instruction("Name its subject.", "a photo of a mill", "Rye"), "impossible"),
        (
            Instruction("Name its subject.", "See https://example.org: it is about rye, of which much is said.", "Rye"),
            "",
        ),
        (Instruction("Name the mood of the following sentence.", "N/A", "sad"), "placeholder_input"),
        (Instruction("Name the mood of the following sentence.", "", "sad"), "placeholder_input"),
        (Instruction("Name the mood of the sentence: It rained all day.", "", "sad"), ""),
        (Instruction("Name a grain.", "None", "Please provide the text."), "placeholder_input"),
        (Instruction("Name a grain.", "None", "Rye"), ""),
    ],
)
def test_an_input_and_an_output_are_refused_for_their_reason_alone(one: Instruction, reason: str) -> None:
    assert fault_of_instance(one) == reason


def test_what_names_classes_is_of_no_use_without_an_input_unless_it_quotes_it() -> None:
    assert fault_of_instance(Instruction("Say whether it is good news.", "N/A", "Yes"), True) == "placeholder_input"
    assert fault_of_instance(Instruction("Is it good news: the mill grinds again?", "", "Yes"), True) == ""


@pytest.mark.parametrize("held", NO_INPUT)
def test_an_input_that_holds_the_place_of_one_is_none(held: str) -> None:
    assert without_placeholder(Instruction("Name a grain.", held, "Rye")).input == ""


def test_an_input_that_only_begins_with_such_a_word_stays() -> None:
    for given in ("None of the mills grinds rye.", "0", "no", "N", "Nil desperandum", "nothing gained"):
        assert without_placeholder(Instruction("Go on.", given, "Rye")).input == given


def test_the_patterns_refuse_under_one_in_a_hundred_of_the_seeds(shared_data: Path) -> None:
    refused = [fault_of(one) for one in seeds(shared_data)]

    assert len(refused) == 175
    assert sum(reason in PATTERNS for reason in refused) == 0
    assert sum(map(bool, refused)) <= 4, "by length and colons"


@pytest.mark.parametrize("seed", range(3))
def test_planted_empty_outputs_glued_and_impossible_instructions_are_all_refused(shared_data: Path, seed: int) -> None:
    good = [one for one in seeds(shared_data) if not fault_of(one)]
    rng = Random(seed)
    planted = {
        "empty_output": [
            Instruction(one.text, one.input, NO_OUTPUT[n % len(NO_OUTPUT)])
            for n, one in enumerate(rng.sample(good, NUM_PLANTED))
        ],
        "glued": [glued(*rng.sample(good, 2), rng) for _ in range(NUM_PLANTED)],
        "impossible": [
            Instruction(UNDOABLE[n % len(UNDOABLE)].format(seen=rng.choice(SEEN), n=n), "", "A mill.")
            for n in range(NUM_PLANTED)
        ],
    }
    for reason, instructions in planted.items():
        missed = [one for one in instructions if not fault_of(one)]
        assert not missed, reason
        assert sum(fault_of(one) == reason for one in instructions) >= 40, reason


def test_planted_placeholders_are_refused_where_the_input_is_spoken_of_and_no_input_elsewhere(
    shared_data: Path,
) -> None:
    asked = [one for one in seeds(shared_data) if one.input and not fault_of(one)]
    rng = Random(0)
    planted = [Instruction(one.text, rng.choice(NO_INPUT), one.output) for one in rng.sample(asked, NUM_PLANTED)]
    kept = [without_placeholder(one) for one in planted if not fault_of(one)]

    assert not any(one.input for one in kept), "none is kept as an input"
    assert NUM_PLANTED - len(kept) >= 35, "most instructions with an input speak of it"
