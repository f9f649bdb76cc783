"""What is measured of one text."""

import json
from pathlib import Path

from gainloop.measures.words import (
    cites_source,
    foreign_share,
    leaks,
    least_on_subject,
    letter_share,
    opening,
    printable_share,
    refuses,
    words,
)
from schemas.suites import LEAKS

ANCHOR = "The harbour was rebuilt in 1874 after the great storm, and its two piers still carry lamps to this day."


def test_a_text_without_a_word_has_a_value_for_every_measure() -> None:
    for text in ("", " \n", "--- ***"):
        assert words(text) == []
        assert foreign_share(text, ANCHOR) == 0
        assert 0 <= letter_share(text) <= printable_share(text) == 1


def test_words_are_the_same_beside_a_letter_that_is_not_ascii() -> None:
    every_character = "".join(map(chr, range(128))) + " snake_case 3.14 Don't E-MAIL"
    assert words(f"{every_character} \u00e9") == [*words(every_character), "\u00e9"]


def test_a_change_of_script_counts_by_letter() -> None:
    assert foreign_share("The harbour 港口重建于一八七四年", ANCHOR) == 0.5
    assert foreign_share("Καλημέρα harbour", "harbour και") == 0


def test_only_an_opening_that_declines_is_a_refusal() -> None:
    declined = (
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, but I cannot assist with this request.",
        "I cannot provide a summary of this text.",
        "As an AI language model, I do not have opinions.",
        "Unfortunately, I am unable to rewrite the passage.",
    )
    told = (
        "I'm sorry, said the keeper, but the lamp is out.",
        "Unfortunately, we cannot know who lit the first lamp.",
        "As an aid to ships, the lamps burn all night.",
        "The keeper said: I cannot help with that.",
    )
    assert [text for text in declined if not refuses(text)] == []
    assert [text for text in told if refuses(text)] == []


def test_a_marker_that_the_anchor_has_itself_is_no_leak() -> None:
    text = "A turn begins with <|IM_START|> and the role."
    assert leaks(text, LEAKS, ANCHOR)
    assert not leaks(text, LEAKS, "Every turn begins with <|im_start|>, then the role.")


def test_a_letter_may_hope_to_help_and_only_an_assistant_offers_more_of_it() -> None:
    letter = "Dear Ann, the ferry leaves at noon. I hope this helps. Please let me know if you come. Now, please rest."
    assert not leaks(letter, LEAKS, ANCHOR)
    assert leaks("The ferry leaves at noon. Please let me know if you need further assistance.", LEAKS, ANCHOR)


def test_speaking_of_the_passage_is_told_from_the_passage_of_a_bill_and_from_an_anchor_that_does_so_itself() -> None:
    assert cites_source("1. The passage highlights the role of rye.")
    assert cites_source("Based on the given text, rye was dear.")
    assert not cites_source("The passage of the bill took a year, and the text of it was long.")
    assert not cites_source("He heard steps in the passage.")
    assert not cites_source("When the text does not fit, a scroll bar appears; if the text supports bold, it is bold.")
    assert cites_source("The text mentions rye, and the above text does not say why.")
    assert not cites_source("The text says so.", "What the text says is in doubt.")


def test_a_text_that_goes_on_to_something_else_is_off_its_subject_there() -> None:
    anchor = " ".join(f"The miller of Ottery ground {grain} for the bakers of the valley." for grain in ("rye", "oats"))
    faithful = " ".join(f"{n}. The miller ground grain for bakers of the valley at Ottery." for n in range(20))
    astray = faithful + " Photosynthesis converts sunlight into chemical energy inside chloroplasts of plants." * 10

    assert least_on_subject(anchor, anchor) == 1
    assert least_on_subject(faithful, anchor) > 0.8
    assert least_on_subject(astray, anchor) == 0
    assert least_on_subject("\u6210\u5409\u601d\u6c57" * 200, anchor) == 1


def test_an_opening_is_the_first_words_however_they_are_set() -> None:
    assert opening("**The** Harbour\nwas rebuilt", num_words=3) == opening("the harbour, was it lost?", num_words=3)


def test_real_prose_has_the_shares_that_thresholds_lean_on(shared_data: Path) -> None:
    passages = [json.loads(line)["context"] for line in (shared_data / "squad/squad_val.jsonl").open()][:300]
    assert min(printable_share(text) for text in passages) >= 0.99
    assert min(letter_share(text) for text in passages) > 0.6
    assert not any(refuses(text) or leaks(text, LEAKS) or cites_source(text) for text in passages)
