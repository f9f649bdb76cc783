import io
import logging

import pytest

from gainloop.sources import texts
from gainloop.sources.texts import decoded, read_lines, read_text
from schemas.errors import BadInput

GERMAN = "Die Straße führt über die Brücke zur Mühle, die größer ist als alle anderen. "
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. "
JAPANESE = "東京は日本の首都である。人口は多い。川の水は冷たい。"
CHINESE = "北京是中国的首都。这座城市有三千多年的历史。许多人每天乘地铁上班。学校和公园很多。"
POLISH = "Gdańsk leży nad zatoką. Miasto słynie z żurawia, który przez wieki służył portowi. "

WRITTEN = [
    (GERMAN, "cp1252"),
    (RUSSIAN, "cp1251"),
    (RUSSIAN, "koi8_r"),
    (JAPANESE, "shift_jis"),
    (CHINESE, "gbk"),
    (POLISH, "cp1250"),
    (GERMAN, "utf-16"),
    (JAPANESE, "utf-8-sig"),
    (RUSSIAN, "utf-32"),
]


@pytest.mark.parametrize(("text", "encoding"), WRITTEN, ids=[encoding for _, encoding in WRITTEN])
def test_a_text_is_read_in_the_encoding_it_was_written_in(text: str, encoding: str) -> None:
    content = f"Plain first.\n{text}\n{text}".encode(encoding)

    assert decoded(content, "a.txt") == f"Plain first.\n{text}\n{text}"
    lines = list(read_lines(io.BufferedReader(io.BytesIO(content)), "a.txt"))
    assert lines == ["Plain first.\n", f"{text}\n", text]


def test_the_encoding_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "gainloop.sources"):
        decoded(GERMAN.encode("latin-1"), "a.txt")

    assert "a.txt is not UTF-8: it is read as cp1252" in caplog.text


def test_an_encoding_that_is_set_is_not_guessed() -> None:
    assert decoded("İstanbul'da şehir".encode("cp1254"), "a.txt", "cp1254") == "İstanbul'da şehir"
    assert decoded("İstanbul".encode(), "a.txt", "cp1254") == "İstanbul"
    with pytest.raises(BadInput, match="byte 0 is not ascii"):
        decoded(b"\xff", "a.txt", "ascii")


@pytest.mark.parametrize("content", [(GERMAN * 3).encode() + b"\xff" + GERMAN.encode(), bytes(range(128, 256)) * 9])
def test_damaged_utf8_and_what_is_no_text_are_refused(content: bytes) -> None:
    with pytest.raises(BadInput, match=r"a\.txt: byte \d+ is not UTF-8, and no other encoding fits all of it"):
        decoded(content, "a.txt")
    with pytest.raises(BadInput, match=r"a\.txt: byte \d+ is not UTF-8"):
        list(read_lines(io.BufferedReader(io.BytesIO(content)), "a.txt"))


def test_a_line_and_a_text_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_TEXT_BYTES", 1000)

    assert len(list(read_lines(io.BufferedReader(io.BytesIO(b"a" * 999 + b"\n" + b"b" * 1000)), "a"))) == 2
    with pytest.raises(BadInput, match="a line of more than 1,000 bytes"):
        list(read_lines(io.BufferedReader(io.BytesIO(b"a" * 1001)), "a"))
    with pytest.raises(BadInput, match="a line of more than 1,000 bytes"):
        list(read_lines(io.BufferedReader(io.BytesIO(("ä" * 1001).encode("utf-16"))), "a"))
    with pytest.raises(BadInput, match="a text of more than 1,000 bytes"):
        read_text(io.BytesIO(b"a\n" * 501), "a")
