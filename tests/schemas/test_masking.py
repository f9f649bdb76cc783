"""What is hidden from everything that people read, and what is not."""

import io
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from pydantic import Field, ValidationError

from gainloop.serving.opening import read_key
from schemas import masking
from schemas.errors import BadInput, SourceError
from schemas.masking import has_secret, keep_secret, mask, mask_logs
from schemas.profile import Servers
from schemas.recipe import Parameters

PASSWORDS = [
    "http://me:hunter2@host/v1",
    "https://hunter2@host/v1",
    "HTTP://me:hunter2@host/v1",
    "ftp://me:hunter2@host:21/a/b.txt",
    "sftp://me:hun@ter2hunter2@host/a",
    "ftp://me:hunter2/and/more@host/a",
    "zip://a.txt::ftp://me:hunter2@host/b.zip",
    "simplecache::http://me:hunter2@host/b",
    "postgresql+asyncpg://me:hunter2@db:5432/prefect",
    "ducklake:postgres:host=db user=me password=hunter2",
    "s3://bucket/a?X-Amz-Credential=me&X-Amz-Signature=hunter2&part=1",
    "https://account.blob.core.windows.net/c/a.txt?sv=2024&sig=hunter2",
    "https://host/a?access_token=hunter2",
    "https://host/v1?api_key=hunter2",
]
INNOCENT = [
    "http://localhost:8000/v1",
    "http://[::1]:8000/v1",
    "http://host:8000/a@b",
    "s3://bucket/folder/a@b.txt",
    "hf://datasets/org/name@main/a.parquet",
    "github://org:repo@main/docs",
    "sftp://me@host/a",
    "abfs://container@account.dfs.core.windows.net/a",
    "zip://a.txt::sftp://me@host/b.zip",
    "docs/a:b@c.txt",
    "https://host/a?page=2&keyword=x",
    "/data/monkey=1.txt",
]


class Source(Parameters):
    """Settings with addresses in all places that settings have."""

    paths: list[str] = Field(default_factory=list)
    folder: str | None = None
    more: dict[str, Any] = Field(default_factory=dict)


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_known", set())


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What reaches a handler of the root logger, with all masked that is logged."""
    before, stream = logging.getLogRecordFactory(), io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    mask_logs()
    yield stream
    logging.setLogRecordFactory(before)
    logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize("url", PASSWORDS)
def test_the_password_of_a_url_is_hidden_and_its_host_is_not(url: str) -> None:
    shown = mask(f"reading {url}: it is not there")

    assert "hunter2" not in shown
    assert "ter2" not in shown
    assert shown.startswith("reading ")
    assert shown.endswith("it is not there")
    assert has_secret(url)


@pytest.mark.parametrize("url", INNOCENT)
def test_an_address_without_a_password_stays_as_it_is(url: str) -> None:
    assert mask(url) == url
    assert not has_secret(url)
    assert Source(paths=[url]).paths == [url]
    jsonschema.validate({"paths": [url]}, Source.model_json_schema())


@pytest.mark.parametrize("url", PASSWORDS)
def test_a_setting_with_a_password_is_refused_by_a_message_without_it(url: str) -> None:
    for given in ({"paths": [url]}, {"folder": url}, {"more": {"deep": [url]}}):
        with pytest.raises(ValidationError, match="has a password or a token in it") as caught:
            Source.model_validate(given)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", [url for url in PASSWORDS if "://" in url])
def test_the_form_of_a_flow_refuses_a_password_before_a_run_is_made(url: str) -> None:
    for given in ({"paths": [url]}, {"folder": url}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(given, Source.model_json_schema())


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh",
        "{'Authorization': 'Bearer abcdefgh'}",
        'the header "authorization": "Basic abcdefgh" was wrong',
        "Incorrect key: Bearer 1abcdefgh",
    ],
)
def test_what_a_header_holds_is_hidden(text: str) -> None:
    assert "abcdefgh" not in mask(text)


def test_prose_about_bearers_passwords_and_tokens_stays() -> None:
    prose = "The bearer of bad news; Basic authorization is off. A token of thanks, the password of the day, key=value."
    assert mask(prose) == prose


def test_a_key_that_was_kept_is_hidden_wherever_a_server_puts_it() -> None:
    keep_secret("sk-KEY42")
    assert mask("bad key 'sk-KEY42', said twice: sk-KEY42.") == "bad key '***', said twice: ***."


def test_a_servers_key_is_hidden_as_soon_as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "sk+KEY/42")
    read_key(Servers(urls=["http://host/v1"], api_key_variable="MINE"))
    assert mask("Wrong key: sk+KEY/42, sk%2BKEY%2F42, c2srS0VZLzQy") == "Wrong key: ***, ***, ***"


def test_a_short_key_such_as_none_takes_no_word_away() -> None:
    keep_secret("none")
    assert mask("none of the servers is up") == "none of the servers is up"


def test_secrets_of_the_environment_are_hidden_and_switches_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.masking._known", set())  # keys of servers that other tests had
    monkeypatch.setenv("HF_TOKEN", "hf_abcdef")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:hunter2")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("PGPASSWORD", "hunter3")
    monkeypatch.setenv("TOKENIZER", "bert-base")
    monkeypatch.setenv("SECRET_FILE", "/run/secret")
    assert (
        mask("hf_abcdef admin:hunter2 hunter3 false bert-base /run/secret") == "*** *** *** false bert-base /run/secret"
    )


@pytest.mark.parametrize(
    "control", ["\x1b[2J", "\x1b]0;title\x07", "\r", "\x00", "\x9b31m", "\u202e", "\x7f", "\udcff"]
)
def test_no_control_character_is_printed_raw_and_each_is_told(control: str) -> None:
    shown = mask(f"file a{control}b")
    assert shown.isprintable()
    shown.encode()
    assert "\\" in shown


def test_text_of_any_script_its_lines_and_its_joined_emoji_stay() -> None:
    text = "Zürich, 東京\n\tनमस्ते مرحبا \u200f👩\u200d👩\u200d👧"
    assert mask(text) == text


@pytest.mark.parametrize("kind", [BadInput, SourceError])
def test_an_error_is_masked_as_it_is_made_and_survives_its_way_between_processes(kind: type[Exception]) -> None:
    error = kind("reading ftp://me:hunter2@host/\x1b[2J: gone")
    assert str(error) == "reading ftp://***@host/\\x1b[2J: gone"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_log_lines_and_their_tracebacks_are_masked_whoever_writes_them(logged: io.StringIO) -> None:
    try:
        raise OSError("no way to http://me:hunter2@host/ \x1b[2J")
    except OSError:
        logging.getLogger("some.library").exception("asking %s failed", "http://me:hunter2@host/")
    logging.getLogger("gainloop.endpoint").warning("%d of %s", 3, "a\x1b]0;owned\x07")

    said = logged.getvalue()
    assert "asking http://***@host/ failed" in said
    assert "OSError: no way to http://***@host/ \\x1b[2J" in said
    assert "3 of a\\x1b]0;owned\\x07" in said
    assert "hunter2" not in said


def test_a_log_line_without_secrets_keeps_its_parts_for_handlers_that_use_them(logged: io.StringIO) -> None:
    made = logging.getLogRecordFactory()("uvicorn.access", logging.INFO, "", 1, "%s %d", ("GET", 200), None)
    assert made.args == ("GET", 200)


def test_a_record_that_is_made_of_its_parts_is_still_one(logged: io.StringIO) -> None:
    assert logging.makeLogRecord({"name": "far", "msg": "said %d", "args": (3,)}).getMessage() == "said 3"


@pytest.mark.parametrize("text", [*PASSWORDS, "Authorization: Bearer abcdefgh1", "a\x1b[2J\r"])
def test_what_was_masked_once_stays_as_it_is(text: str) -> None:
    assert mask(mask(text)) == mask(text)
