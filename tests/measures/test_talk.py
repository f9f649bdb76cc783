"""Talk in place of a text."""

import json
import time
from pathlib import Path

import pytest

from gainloop.measures.talk import describes_text, leaves_places, talks
from gainloop.measures.words import cites_source, refuses

MILL = "The mill by the river grinds rye."


@pytest.mark.parametrize(
    "text",
    [
        "I am a helpful AI named SmolLM, trained by Hugging Face",
        "Please go ahead and ask the questions. I'll do my best to provide a response.",
        "Sounds great! Here's a possible question and answer:\n\nQ: What is ground?",
        "Certainly! The mill grinds rye.",
        "**Sure, here is the retelling:**\n\nThe mill grinds rye.",
        "Here's a concise version of the text:\nThe mill grinds rye.",
        "The user asks for a chapter.",
        "Okay, so the user wants it retold.",
        "Let me break this down. The mill grinds.",
        "I need to rewrite it for a child. The mill grinds.",
        "What would you like to know about the mill?",
        "The mill grinds rye. Would you like me to go on?",
        "The mill grinds rye.\n\nLet me know if you need any changes.",
        "They want it plain.\n</think>\nThe mill grinds rye.",
        "The mill grinds rye.<|im_end|>",
        "The mill grinds rye.<end_of_turn>",
        "[/INST] The mill grinds rye.",
        "<\uff5cAssistant\uff5c>The mill grinds rye.",
        "### Response: The mill grinds rye.",
        "ASSISTANT: The mill grinds rye.",
    ],
)
def test_talk_and_marks_of_a_chat_are_seen(text: str) -> None:
    assert talks(text, MILL)
    assert not talks(text, text), "what the anchor says itself may be said"


@pytest.mark.parametrize(
    "text",
    [
        "Dear Ann, let me know if you come. I hope this helps.",
        '"Sure!" said the miller. "I can help."',
        "Question: Is it great? Answer: Okay, here it is.",
        "The user asks the server for a page, and <b>the page</b> is sent | then [shown].",
        "He is an AI researcher. I am an assistant professor.",
        "Here is the mill.",
        "Certainly the mill ground rye, and of course wheat.",
    ],
)
def test_a_letter_a_dialogue_and_a_page_are_no_talk(text: str) -> None:
    assert not talks(text)


def test_a_text_about_the_text_is_told_from_one_about_texts() -> None:
    for text in (
        "This text is structured into several paragraphs, each with a clear topic.",
        "The text is in two parts.",
        "Rye is dear. The text begins with a mill.",
        "The main idea of the passage is rye.",
        "In the rewritten version rye is dear.",
    ):
        assert describes_text(text, MILL), text
        assert not describes_text(text, text)
    for text in ("When the text is bold, it shows.", "The passage is narrow.", "The text of the bill is long."):
        assert not describes_text(text), text


def test_places_to_be_filled_in_are_seen_unless_the_document_is_a_form() -> None:
    assert leaves_places("Dear [Recipient's name], it burned on {{date}}.")
    assert not leaves_places("Dear [Name],", "A form: [name], [date].")
    assert not leaves_places("He wrote [sic] a[0] = {1, 2} and <b>rye</b>.")


def test_no_page_article_or_passage_talks(shared_data: Path) -> None:
    pages = [json.loads(line)["text"] for line in (shared_data / "c4/c4_demo.jsonl").open()]
    articles = (shared_data / "wikipedia/wiki_demo.txt").read_text().splitlines()

    assert not [text[:80] for text in pages + articles if talks(text) or describes_text(text) or leaves_places(text)]


@pytest.mark.parametrize(
    "one", ["a", "sure! ", "<", "<|", "[a", "{{ ", "the text is ", ". ", "! ", " ", "\n", "here is a ", "1 "]
)
def test_time_grows_with_the_length_alone(one: str) -> None:
    text = one * (1_000_000 // len(one))
    begun = time.process_time()
    found = (talks(text), describes_text(text), leaves_places(text), refuses(text), cites_source(text))
    assert time.process_time() - begun < 4, found  # below 1 on a machine of its own
