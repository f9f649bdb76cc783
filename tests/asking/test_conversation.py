"""Which replies are not read any further, and the reason that each is counted by."""

import time
from typing import Any

import pytest

from gainloop.asking.conversation import Read, after, ask, reason_to_drop
from gainloop.asking.structured import object_of, read_object, read_texts, text_of
from schemas.rows import Anchor, Drop, Message, Request
from tests.methods.playing import hold, make_reply

MILL = Anchor("The mill by the river grinds rye.", "Mill")
WISH = "Retell the text above in the words of a miller who loves it."
ORDER = "You rewrite short texts. Answer with the rewritten text alone."
ASKED = Request((Message("system", ORDER), *after(MILL.text, WISH, MILL.title)), facet="easy")


def reason(text: str, request: Request = ASKED, anchor: Anchor = MILL, finish_reason: str = "stop") -> str:
    drop = reason_to_drop(anchor, request, make_reply(request, 0, text, finish_reason))
    return drop.reason if drop else ""


@pytest.mark.parametrize(
    "text",
    [
        "<think>They want it retold.</think>\n\nThe mill grinds rye.",
        "They want it retold, so I keep the facts.\n</think>\n\nThe mill grinds rye.",
        "<thinking>\nRye.",
        "<|thinking|>Rye.<|/thinking|> The mill grinds.",
        "[THINK]Rye.[/THINK]The mill grinds.",
        "<reasoning>Rye.</reasoning> The mill grinds.",
        "<thought>Rye.</thought> The mill grinds.",
        "\u25c1think\u25b7Rye.\u25c1/think\u25b7The mill grinds.",
        "<|channel|>analysis<|message|>They want rye.<|end|>",
        "analysisWe need to retell it.assistantfinalThe mill grinds.",
        "<seed:think>Rye.</seed:think> The mill grinds.",
        "<|START_THINKING|>Rye.<|END_THINKING|> The mill grinds.",
        "<|begin_of_thought|> Rye. <|end_of_thought|>",
        "<unused94>thought\nRye.",
        '<think effort="low">Rye.</think> The mill grinds.',
        "<antThinking>Rye.</antThinking> The mill grinds.",
        "<chain_of_thought>Rye.</chain_of_thought> The mill grinds.",
        "They want rye.\n</thinking_process>\nThe mill grinds.",
        "Thinking...\nRye.\n...done thinking.\n\nThe mill grinds.",
    ],
)
def test_thinking_aloud_is_a_drop_of_its_own_whatever_marks_a_family_puts_around_it(text: str) -> None:
    assert reason(text) == "chain_of_thought"
    assert reason(text, finish_reason="length") == "chain_of_thought"


def test_a_document_about_the_marks_may_be_retold() -> None:
    about = Anchor("Some models write <think> before they answer and </think> after it.")
    assert reason("A model may open with <THINK> and close with </think>.", anchor=about) == ""


def test_what_begins_with_a_thought_is_one_whatever_the_document_is_about() -> None:
    about = Anchor("Some models write <think> before they answer and </think> after it.")
    assert reason("<think>They ask of marks.</think>A model opens with a mark.", anchor=about) == "chain_of_thought"


@pytest.mark.parametrize(
    "text",
    [
        "The mill grinds.<|im_end|>",
        "The mill grinds.<|im_end|>\n<|im_start|>user\nAnd oats?",
        "The mill grinds.<end_of_turn>",
        "The mill grinds.<|eot_id|><|start_header_id|>user",
        "The mill grinds. [/INST] It does.",
        "The mill grinds.<\uff5cend\u2581of\u2581sentence\uff5c>",
        "The mill grinds.\n### Response:\nIt does.",
    ],
)
def test_marks_of_turns_are_a_drop_unless_the_document_has_them(text: str) -> None:
    assert reason(text) == "turn_marks"
    assert reason(text, anchor=Anchor(f"What a template writes: {text}")) == ""


@pytest.mark.parametrize("text", ["", " \n", "...", "***", "]}},{"])
def test_a_reply_without_a_letter_or_a_digit_is_empty(text: str) -> None:
    assert reason(text) == "empty"


@pytest.mark.parametrize("text", ["{{title}}", "[insert the rewritten text]", "<text>"])
def test_a_reply_that_only_holds_a_place_is_a_placeholder(text: str) -> None:
    assert reason(text) == "placeholder"


@pytest.mark.parametrize("text", [WISH, f"Sure. {WISH}\n\nThe mill grinds.", ORDER, ORDER.replace(". ", ".\n")])
def test_a_reply_that_says_wish_or_system_message_again_is_an_echo(text: str) -> None:
    assert reason(text) == "echo"


def test_a_reply_that_says_a_shown_reply_again_is_an_echo() -> None:
    shown = (Message("user", "Oats: They grow."), Message("assistant", "Oats are growing."))
    request = Request((Message("system", ORDER), *shown, Message("user", "Mill: It grinds.")))
    assert reason("Oats  are growing.", request) == "echo"
    assert reason("A mill is grinding, and oats are growing.", request) == ""


def test_the_example_of_a_wish_is_no_answer() -> None:
    wish = 'List its things as JSON: {"things": ["a mill", "a river"]}.'
    request = Request(after(MILL.text, wish), json_schema=object_of(things=text_of(40)))
    assert reason('{"things":["a mill","a river"]}', request) == "echo"
    assert reason('{"things": ["rye"]}', request) == ""


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{"things": ["...", "..."]}', "placeholder"),
        ('{"things": ["]}},{", ",", "{"]}', "placeholder"),
        ('{"things": ["Topic 1", "Topic 2"]}', "placeholder"),
        ('{"things": [7]}', "malformed"),
        ('{"things": []}', "malformed"),
        ("rye", "malformed"),
    ],
)
def test_a_list_of_placeholders_is_told_from_one_that_cannot_be_read(said: str, expected: str) -> None:
    def read(text: str) -> Any:
        return read_texts((read_object(text) or {}).get("things")) or None

    request = Request(after(MILL.text, "List them."), facet="things", json_schema=object_of(things=text_of(40)))
    _, found = hold(ask(MILL, request, read), lambda request, n: make_reply(request, n, said))
    assert found == Drop(MILL.anchor_id, "things", expected, "q0")
    _, found = hold(ask(MILL, request, read), lambda request, n: make_reply(request, n, '{"things": ["...", "rye"]}'))
    assert found == Read(["rye"], "q0")


@pytest.mark.parametrize(
    "one", ["a", " ", "<", "<|", "[", "\u25c1", "<think", "<a_", "analysis", "<unused9", "<|channel|>", "{"]
)
def test_time_grows_with_the_length_alone(one: str) -> None:
    begun = time.process_time()
    reason(one * (1_000_000 // len(one)))
    assert time.process_time() - begun < 2
