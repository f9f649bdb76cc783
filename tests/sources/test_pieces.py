from hypothesis import given
from hypothesis import strategies as st

from gainloop.sources.pieces import normalise, one_line, split_document
from schemas.rows import Document

WORDS = st.text(alphabet="ab.!? \n\té\u0301\ud800\x00", max_size=400)


def document(text: str) -> Document:
    return Document(text, "Title", "x:doc", "CC0-1.0")


def texts(text: str, max_chars: int, min_chars: int) -> list[str]:
    return [piece.text for piece in split_document(document(text), max_chars, min_chars)]


@given(WORDS, st.integers(1, 20), st.integers(0, 60))
def test_pieces_are_the_text_again_and_keep_to_their_lengths(text: str, min_chars: int, extra: int) -> None:
    max_chars = 2 * min_chars + extra
    pieces = texts(text, max_chars, min_chars)

    if len(normalise(text)) >= min_chars:
        assert "".join("".join(pieces).split()) == "".join(normalise(text).split())
    assert all(min_chars <= len(piece) <= max_chars for piece in pieces)


@given(WORDS)
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)

    assert normalise(once) == once
    once.encode()


def test_a_cut_goes_to_the_last_paragraph_border_that_fits() -> None:
    paragraphs = ["a " * 20 + "end.", "b " * 20 + "end.", "c " * 20 + "end."]

    assert texts("\n\n".join(paragraphs), 100, 10) == ["\n\n".join(paragraphs[:2]), paragraphs[2]]


def test_without_paragraphs_a_cut_goes_to_a_line_then_a_sentence_then_a_word() -> None:
    assert texts("one two. three\nfour five", 20, 5) == ["one two. three", "four five"]
    assert texts("one two. three four five", 20, 5) == ["one two.", "three four five"]
    assert texts("one two three four five", 20, 5) == ["one two three", "four five"]
    assert texts("abcdefghij", 6, 3) == ["abcdef", "ghij"]


def test_a_rest_too_short_for_a_piece_moves_the_cut_back() -> None:
    assert texts("aaaa bbbb cccc d", 14, 6) == ["aaaa bbbb", "cccc d"]


def test_indentation_stays_with_its_line() -> None:
    assert texts("def f():\n    return 1\n\n    # more", 24, 5) == ["def f():\n    return 1", "    # more"]


def test_a_document_that_fits_stays_whole_and_keeps_its_uri() -> None:
    assert split_document(document("a text"), 100, 1) == [document("a text")]


def test_pieces_say_where_they_come_from() -> None:
    pieces = split_document(document("aaaa bbbb"), 4, 2)

    assert [(piece.uri, piece.title, piece.licence) for piece in pieces] == [
        ("x:doc;piece=1", "Title", "CC0-1.0"),
        ("x:doc;piece=2", "Title", "CC0-1.0"),
    ]


def test_a_short_document_gives_no_piece() -> None:
    assert split_document(document(" \n \n"), 100, 1) == []
    assert split_document(document("x" * 99), 1000, 100) == []


def test_a_long_line_takes_linear_time() -> None:
    pieces = texts("x" * 3_000_000, 1000, 100)

    assert len(pieces) == 3000


def test_titles_are_one_line() -> None:
    assert one_line("a\r\n\ud800 b ") == "a \ufffd b"
