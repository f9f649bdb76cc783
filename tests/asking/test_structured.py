import pytest
from hypothesis import given
from hypothesis import strategies as st

from gainloop.asking.structured import read_passage, read_text, read_texts


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
