"""Instructions that no text can answer, that are several, or that lack their input or output, are told by name."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from gainloop.asking.instructions import fault_of_instance, fault_of_instruction, without_placeholder
from gainloop.methods.alpaca import Alpaca
from schemas.instruction import Instruction, write_group
from schemas.rows import Anchor
from tests.methods.playing import make_reply, play

PATTERNS = {"impossible", "glued", "empty_output", "placeholder_input"}
PLANTED = 50
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


NEEDS_NOTHING = (
    "Explain the story of Icarus to a child.",
    "Describe the situation in Europe before 1914.",
    'What does the word "serendipity" mean?',
    "Explain why the sentence is the basic unit of grammar.",
    "Explain this to me like I am five: why is the sky blue?",
    "What are the facts about honey that people get wrong?",
    'How do I answer the question "Where do you see yourself in five years"?',
    "Do these exercises help against back pain: planks and squats?",
    "Tell me how long this kind of cheese keeps.",
    "Tell me about the conversation between Alice and the Cheshire Cat.",
    "If this were your last day on earth, what would you do?",
    "In this modern world, how can one find peace?",
    "What should my resume contain?",
    "Write a poem about the harvest of this season.",
)


def seeds(shared_data: Path, name: str = "seed_tasks.jsonl") -> list[Instruction]:
    rows = map(json.loads, (shared_data / "self_instruct" / name).read_text().splitlines())
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
        ("Rye.", "too_short"),
        ("Write a haiku.", ""),
        ("rye " * 150, ""),
        ("rye " * 151, "too_long"),
        ("\u5199\u4e00\u9996\u5173\u4e8e\u9ea6\u5b50\u7684\u8bd7", ""),
        ("\u8bd7", "too_short"),
        ("1. Name a grain. 2. Say how to grind it.", "glued"),
        ("Name a grain. Output: Rye Instruction: Name a mill", "glued"),
        ("Name a grain of the kind that follows Output: Rye", "glued"),
        ("Name a grain of this kind: 2. Say how to grind it.", "glued"),
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
        (Instruction("Name a good grain.", "", "Rye"), ""),
        (Instruction("Name a good grain.", "", " \n"), "empty_output"),
        (Instruction("Say what falls down.", "", "..."), "empty_output"),
        (Instruction("Add both.", "3 and 4", "7"), ""),
        (Instruction("Correct it.", "The mill grinds  rye.", "the mill grinds rye."), "repeats_input"),
        (Instruction("List some good grains.", "", "Here are some:"), "ends_open"),
        (Instruction("Go on with it.", "The miller said:", "Rye."), "ends_open"),
        (Instruction("Fill in the grains.", "Mill:\nBakery:", "Mill: rye\nBakery: oats"), ""),
        (Instruction("Fill in the grains.", "Mill:\nBakery:", "Mill: rye\nBakery:"), "ends_open"),
        (Instruction("Write a haiku.", "", "Rye in the evening."), "too_short"),
        (Instruction("Write a haiku.", "N/A", "Rye in the evening."), "too_short"),
        (Instruction("Write a haiku.", "Its subject is rye.", "Rye in the evening."), ""),
        (Instruction("Rank these countries by size.", "none", "Sweden, Norway"), "placeholder_input"),
        (Instruction("Choose a topic for the article. Topics include: rye, oats.", "", "rye"), "placeholder_input"),
        (Instruction("Name the kind of each word. Here is an example: mill (noun).", "", "noun"), "placeholder_input"),
        (Instruction("Name a good grain.", "", "Rye\n\nTask 3: Name a mill"), "glued"),
        (Instruction("Name a good grain.", "", "Rye\nInput: oats"), "glued"),
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
        (Instruction("Name a good grain.", "None", "Please provide the text."), "placeholder_input"),
        (Instruction("Name a good grain.", "None", "Rye"), ""),
    ],
)
def test_an_input_and_an_output_are_refused_for_their_reason_alone(one: Instruction, reason: str) -> None:
    assert fault_of_instance(one) == reason


def test_what_names_classes_is_of_no_use_without_an_input_unless_it_quotes_it() -> None:
    assert fault_of_instance(Instruction("Say whether it is good news.", "N/A", "Yes"), True) == "placeholder_input"
    assert fault_of_instance(Instruction("Is it good news: the mill grinds again?", "", "Yes"), True) == ""


@pytest.mark.parametrize("held", NO_INPUT)
def test_an_input_that_holds_the_place_of_one_is_none(held: str) -> None:
    assert without_placeholder(Instruction("Name a good grain.", held, "Rye")).input == ""


def test_an_input_that_only_begins_with_such_a_word_stays() -> None:
    for given in ("None of the mills grinds rye.", "0", "no", "N", "Nil desperandum", "nothing gained"):
        assert without_placeholder(Instruction("Go on.", given, "Rye")).input == given


def test_under_one_in_a_hundred_of_the_seeds_is_refused_by_any_rule(shared_data: Path) -> None:
    found = [fault_of(one) for one in seeds(shared_data)]
    refused = [reason for reason in found if reason]

    print(f"good seeds refused: {len(refused)} of {len(found)} {refused}")
    assert len(found) == 175
    assert len(refused) / len(found) < 0.01


def test_of_instructions_that_users_wrote_few_are_refused_and_none_for_want_of_an_input(shared_data: Path) -> None:
    found = [fault_of(one) for one in seeds(shared_data, "user_oriented_instructions.jsonl")]

    assert Counter(filter(None, found)) == {"ends_open": 2, "empty_output": 1}, "of 252"


@pytest.mark.parametrize("text", NEEDS_NOTHING)
def test_an_instruction_that_is_whole_without_an_input_lacks_none(text: str) -> None:
    assert fault_of(Instruction(text, "N/A", "A good answer.")) == ""


def planted(reason: str, good: list[Instruction], rng: Random) -> list[Instruction]:
    """Return good instructions, each spoilt in one of the ways that were seen."""
    match reason:
        case "empty_output":
            return [
                replace(one, output=NO_OUTPUT[n % len(NO_OUTPUT)]) for n, one in enumerate(rng.sample(good, PLANTED))
            ]
        case "glued":
            return [glued(*rng.sample(good, 2), rng) for _ in range(PLANTED)]
        case "impossible":
            texts = [UNDOABLE[n % len(UNDOABLE)].format(seen=rng.choice(SEEN), n=n) for n in range(PLANTED)]
            return [Instruction(text, "", "A mill.") for text in texts]
    asked = [one for one in good if one.input]
    return [replace(one, input=rng.choice(NO_INPUT)) for one in rng.sample(asked, PLANTED)]


def fate(one: Instruction) -> str:
    """Return what becomes of an instruction that a model writes: the reason of its drop, or what its facet tells."""
    said = json.dumps({"instructions": [{"instruction": one.text, "input": one.input, "output": one.output}]})
    method, anchor = Alpaca(draws=1, tasks=1), Anchor(write_group([Instruction("Knead the dough.", "", "Done.")]))
    outcome = play(method, anchor, lambda request, number: make_reply(request, number, said))[1]
    if outcome.drops:
        return outcome.drops[0].reason
    (record,) = outcome.records
    told = record.facet.partition(": ")[2]
    assert not told or record.turns[0].content == one.text
    return told


@pytest.mark.parametrize("seed", range(3))
def test_of_each_bad_pattern_fifty_planted_are_caught_by_name(shared_data: Path, seed: int) -> None:
    """Caught is what is dropped, or a placeholder that is no input of the record and is told in its facet."""
    good, rng = [one for one in seeds(shared_data) if not fault_of(one)], Random(seed)
    for reason in sorted(PATTERNS):
        fates = Counter(fate(one) for one in planted(reason, good, rng))
        print(f"seed {seed}: {reason} {fates.total() - fates['']} of {fates.total()} caught: {dict(fates)}")
        assert fates[""] == 0, reason
        assert fates[reason] >= 44, reason
