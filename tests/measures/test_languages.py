"""Which language a text is in."""

# ruff: noqa: E501, RUF001

import json
from pathlib import Path

import pytest

from gainloop.measures.languages import language_of, other_language

TOLD = {
    "en": "The mill on the river was built in the spring of 1874, and for more than fifty years it ground rye for the "
    "bakers of the valley.",
    "de": "Die Mühle am Fluss wurde im Frühjahr 1874 gebaut und mahlte mehr als fünfzig Jahre lang Roggen für die Bäcker "
    "des Tals. Als der neue Damm fertig war, stand das Rad still.",
    "fr": "Le moulin au bord de la rivière fut construit au printemps et pendant des années il a moulu le seigle pour "
    "les boulangers de la vallée, et la maison est toujours là.",
    "es": "El molino junto al río fue construido en la primavera y durante más de cincuenta años molió centeno para los "
    "panaderos del valle, pero la casa sigue allí.",
    "pt": "O moinho junto ao rio foi construído na primavera e durante mais de cinquenta anos moeu centeio para os "
    "padeiros do vale, mas a casa ainda está lá.",
    "sv": "Kvarnen vid floden byggdes på våren och malde råg åt dalens bagare i mer än femtio år, men huset står kvar, "
    "och på söndagar är det öppet för dem som vill se det.",
    "pl": "Młyn nad rzeką został zbudowany wiosną i przez ponad pięćdziesiąt lat mielił żyto dla piekarzy z doliny, ale "
    "dom nadal tam jest i w niedziele jest otwarty dla gości, którzy chcą go zobaczyć.",
    "tr": "Nehrin kıyısındaki değirmen baharda yapıldı ve daha uzun bir süre vadinin fırıncıları için çavdar öğüttü, ama "
    "ev hâlâ orada ve çok sevilen bir yer olarak açık.",
    "CYRILLIC": "Мельница у реки была построена весной и более пятидесяти лет молола рожь для пекарей долины.",
    "CJK": "河边的磨坊建于一八七四年春天，五十多年来一直为山谷里的面包师磨黑麦。",
    "JAPANESE": "川のほとりの水車小屋は春に建てられ、五十年以上にわたって谷のパン屋のためにライ麦を挽いた。",
    "HANGUL": "강가의 방앗간은 봄에 지어졌고 오십 년이 넘도록 골짜기의 빵집들을 위해 호밀을 빻았다. 새 둑이 완성되자 바퀴는 멈추었다.",
}


@pytest.mark.parametrize("language", TOLD)
def test_prose_of_a_language_is_told_and_is_foreign_beside_every_other(language: str) -> None:
    assert language_of(TOLD[language]) == language
    for other, anchor in TOLD.items():
        assert (other_language(TOLD[language], anchor) > 0.3) == (other != language), other


def test_a_text_that_changes_its_language_on_the_way_is_foreign_in_part() -> None:
    assert 0.3 < other_language(TOLD["en"] * 4 + TOLD["de"] * 4, TOLD["en"]) < 0.7


@pytest.mark.parametrize(
    "text", ["", "Rye, oats.", "1 2 3 4 5 6 7 8 9 10 11 12 13", "x = f(y); " * 20, "Lorem ipsum dolor sit amet " * 8]
)
def test_what_is_no_prose_has_no_language_and_is_foreign_to_nothing(text: str) -> None:
    assert language_of(text) == ""
    assert other_language(text, TOLD["de"]) == 0
    assert other_language(TOLD["de"], text) == 0


def test_no_real_reply_and_no_real_page_is_in_another_language(shared_data: Path) -> None:
    replies = [json.loads(line) for line in (shared_data / "recorded_replies/iter1_val.jsonl").open()]
    pages = [json.loads(line)["text"] for line in (shared_data / "c4/c4_demo.jsonl").open()]

    assert max(other_language(text, row["context"]) for row in replies for text in row["completions"]) < 0.3
    assert max(other_language(page, TOLD["en"]) for page in pages) < 0.3
