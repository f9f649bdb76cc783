"""Numbers and names that a document lacks."""

import json
import time
from pathlib import Path

import pytest

from gainloop.measures.grounding import ungrounded

MILL = (
    "The Old Mill of Kesselbach was built in 1,874 by Anna Bell. Its three wheels are 2.50 m wide, and 21 men from "
    "Saint-Rémy worked there until 1994-96. It made 1.5 million loaves, a third of what the United Kingdom ate."
)


GERMAN = (
    "Die Mühle im Tal mahlt seit alter Zeit den Roggen der Bauern zu Mehl. Das Wasser des Baches treibt das Rad, und "
    "der Müller schüttet das Korn in den Trichter. Am Abend holt der Bäcker die Säcke mit dem Wagen."
)


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        ("It was built in 1874.", []),
        ("It was built in 1875.", ["1875"]),
        ("Of its 3 wheels the 3rd is 2.5 m wide.", []),
        ("Work went on until 1996.", []),
        ("They made 1,500,000 loaves, not 1.5 loaves or 1.5 billion.", ["1.5"]),
        ("It was run by Bell's heirs from Saint-Remy and by the Bells.", []),
        ("It was run by the BELL family and by Charles.", ["Charles"]),
        ("Charles built it.", []),  # the first word of a sentence may be any
        ("Was it built? Yes. However, I say that Dr. Winter did.", ["Winter"]),
        ("It stands in the UK, not the US.", ["US"]),
        ("It was Kesselbacher rye, ground on a Tuesday in May.", ["Tuesday", "May"]),
        ("1. It was built.\n2. It burned.\n**Step 3:** It is gone.\n(4) So it is. 5) Yes.", []),
        ("## The Great Fire of London\nIt burned.", []),
        ('It has wheels: Anna made them, "Bell" said. The Bells and O\'Neill did.', ["O'Neill"]),
        ("\u0661\u0668\u0667\u0664 it was, and \uff11\uff18\uff17\uff15.", ["1875"]),
        ("", []),
    ],
)
def test_what_a_document_lacks_is_named_and_what_it_has_in_another_form_is_not(text: str, lacking: list[str]) -> None:
    assert ungrounded(text, MILL, "Kesselbach") == lacking


@pytest.mark.parametrize(
    ("document", "text", "lacking"),
    [
        ("He paid two hundred and five thousand marks in 1990.", "He paid 205,000 marks.", []),
        ("There were twenty-one of them, and 10 000 more.", "There were 21 and 10,000.", []),
        ("It cost 1.234,5 in Berlin and 3,5 in Bonn.", "It cost 3.5 there.", []),
        ("On 2024-05-17 it was shut.", "It was shut on May 17, 2024, and opened in June.", ["June"]),
        ("Version 3.12.1 came out.", "It is version 3.12.2.", ["3.12.2"]),
        (GERMAN, "Heute backt die Frau im Haus ein Brot zu 3 Mark.", ["3"]),
        ("МЕЛЬНИЦА в Казани.", "Она стоит в Казани, не в Москве.", ["Москве"]),
        ("成吉思汗生于1162年。", "他生于1163年。", ["1163"]),
        ("\u0130stanbul'da bir de\u011firmen.", "It stands in Istanbul.", []),
    ],
)
def test_numbers_and_names_of_other_writings(document: str, text: str, lacking: list[str]) -> None:
    assert ungrounded(text, document) == lacking


@pytest.mark.parametrize(
    "one", ["1", "A", "a", " ", ",", "1,", "A ", "A'", "1. ", "hundred ", "\n", "1 000 ", "\u0130"]
)
def test_time_grows_with_the_length_alone(one: str) -> None:
    def seconds(length: int) -> float:
        text = one * (length // len(one))
        begun = time.process_time()
        ungrounded(text, MILL)
        ungrounded(MILL, text)
        return time.process_time() - begun

    assert seconds(400_000) < 20 * seconds(50_000) + 0.1  # 64 times if each part looked at all others


def test_a_fifth_of_real_replies_says_what_its_passage_does_not_and_no_passage_does(
    shared_data: Path,
) -> None:
    rows = [json.loads(line) for line in (shared_data / "recorded_replies/base_val.jsonl").open()][:100]
    refused = [
        bool(ungrounded(text, row["context"], row["title"].replace("_", " ")))
        for row in rows
        for text in row["completions"]
    ]

    assert 0.15 < sum(refused) / len(refused) < 0.35
    assert not any(ungrounded(row["context"], row["context"]) for row in rows)
