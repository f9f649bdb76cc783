import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gainloop.methods.k2_rephrase import stitch

words = st.sampled_from(["rye", "mill", "The", "it.", "He", "left.", "\u78e8", "\u574a\u3002", '"So!"', "-", "a\n\nb"])
texts = st.lists(words, min_size=1, max_size=25).map(" ".join)


def plain(text: str) -> list[str]:
    """Return the words of a text, without case and the signs around them."""
    return [word for word in re.sub(r"[^\w\s]", "", text.casefold()).split() if word]


@settings(max_examples=150)
@given(texts | st.text(), texts | st.text(), texts, st.integers(0, 60))
def test_nothing_that_was_written_is_lost_at_a_seam(written: str, new: str, source: str, seen: int) -> None:
    whole = stitch(written, written[seen:], new, " ", source)

    assert whole.startswith(written.strip())
    assert "".join(plain(whole)).endswith("".join(plain(new)))


@settings(max_examples=80)
@given(texts | st.text(), texts | st.text(), texts)
@example(":", ":\x1f", "rye")
def test_words_that_a_chunk_begins_with_are_never_cut(written: str, chunk: str, rest: str) -> None:
    whole = stitch(written, written, chunk, " ", f"{chunk} {rest}")

    assert whole == f"{written.strip()} {chunk.strip()}".strip()


@settings(max_examples=80)
@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_sentences_that_are_said_again_stand_once(num_sentences: int, num_new: int, data: st.DataObject) -> None:
    old = [f"Fact {n} is told at {n}." for n in range(num_sentences)]
    new = " ".join(f"Other {n} is told." for n in range(num_new))
    again = data.draw(st.integers(1, num_sentences))
    repeat = " ".join(old[-again:])

    for repeated in (repeat, repeat.upper(), repeat.replace(".", " ").replace("  ", " ").strip()):
        assert stitch(" ".join(old), " ".join(old), f"{repeated} {new}", " ", "Source.") == f"{' '.join(old)} {new}"


@pytest.mark.parametrize(
    ("written", "new", "expected"),
    [
        ("He built the mill.", "The mill burnt.", "He built the mill. The mill burnt."),
        ("a b c d e f g h i", "b c d e f g h i j", "a b c d e f g h i j"),
        ("a b c d e f g h", "c d e f g h i", "a b c d e f g h c d e f g h i"),
        ("\u6cb3\u8fb9\u3002\u78e8\u574a\u8f6c\u3002", "\u78e8\u574a\u8f6c\u3002\u9ea6\u3002", None),
        ("Rye. It grows.", "It grows.", "Rye. It grows."),
        ("Rye grows. It is", "It is ground.", "Rye grows. It is ground."),
        (
            "He said: \u201cGo.\u201d",
            "He said: \u201cGo.\u201d Then he left.",
            "He said: \u201cGo.\u201d Then he left.",
        ),
    ],
)
def test_only_what_begins_with_a_sentence_or_is_eight_words_is_a_repetition(
    written: str, new: str, expected: str | None
) -> None:
    whole = stitch(written, written, new, " ", "Source.")

    assert whole == (expected or "\u6cb3\u8fb9\u3002\u78e8\u574a\u8f6c\u3002 \u9ea6\u3002")
