import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainloop.asking.structured import is_placeholder, read_passage, read_text, read_texts


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("\u0645\u06cc\u200c\u0631\u0648\u0645", "\u0645\u06cc\u200c\u0631\u0648\u0645"),  # Persian: "I go", one word
        ("wa\u00adter\u00admill", "watermill"),
        ("\ufeffmill \u202erye\u202c", "mill rye"),
        ("rye\x1b[31m\x07", "rye [31m"),
        ("\u200c\u200d", None),
        ("\ud800", None),
    ],
)
def test_joiners_stay_in_their_words_and_what_only_directs_a_display_is_left_out(sent: str, read: str | None) -> None:
    assert read_text(sent) == read_passage(sent) == read


def test_a_passage_keeps_its_lines_and_a_name_is_one_line() -> None:
    assert read_passage("def f():\r\n    return 7\r\n\r\n") == "def f():\n    return 7"
    assert read_text("The\nmill ") == "The mill"


@given(st.text())
def test_what_is_read_is_read_again_as_it_is_and_can_be_stored(text: str) -> None:
    for read in (read_text, read_passage):
        found = read(text)
        assert found is None or read(found) == found == found.encode().decode()


def test_longer_texts_of_a_list_are_left_out() -> None:
    assert read_texts(["mill", "m" * 9], most_chars=8) == ["mill"]


@pytest.mark.parametrize(
    "sent", ["...", "\u2026", "]}},{", "{{title}}", "<topic>", "[insert name]", "string", "n/a", " - "]
)
def test_a_placeholder_is_no_text_wherever_one_is_read(sent: str) -> None:
    assert read_text(sent) is read_passage(sent) is None
    assert read_texts([sent, "mill", sent.upper()]) == ["mill"]


@pytest.mark.parametrize(
    "sent", ["7", "[sic] rye", "<b>rye</b> bread", "String theory", "C", "\u6c57", "{rye} & {oats}", "the date"]
)
def test_what_only_looks_like_a_placeholder_is_read(sent: str) -> None:
    assert read_text(sent) == sent


@pytest.mark.parametrize("one", ["a", "[", "<a", "{", "{a", "insert ", "...", "- "])
def test_a_long_text_is_no_placeholder_and_costs_no_more_than_its_length(one: str) -> None:
    begun = time.process_time()
    is_placeholder(one * (1_000_000 // len(one)))
    assert time.process_time() - begun < 2
