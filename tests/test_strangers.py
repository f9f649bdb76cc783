"""What others bring, files, models, servers and settings: no password gets out, nothing asks, loads or runs."""

import subprocess
import sys
from typing import Any

import pytest
from prefect.utilities.schema_tools import ValidationError, validate

from flows.__main__ import read, say_traceback
from flows.refresh import refresh
from schemas.errors import BadInput
from schemas.masking import mask
from schemas.profile import load_profile
from tasks import artifacts
from tasks.progress import ended
from tests.conftest import ROOT

SECRET = "ftp://me:hunter2@host/a.txt"


def test_a_password_on_the_command_line_is_refused_by_a_message_without_it() -> None:
    with pytest.raises(BadInput, match=r"has a password or a token in it; .* FSSPEC_FTP_PASSWORD") as caught:
        read(["refresh", "--source.kind", "files", "--source.paths", "docs", SECRET])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "report --batch-id {}",
        "cycle --release {}",
        "refresh --source.kind files --source.paths docs --source.licence {}",
    ],
)
def test_a_key_of_the_environment_in_a_parameter_is_refused_before_prefect_stores_it(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-long-KEY42")
    monkeypatch.setenv("DB_PASSWORD", "licence")
    with pytest.raises(BadInput, match=r"has a password or a token in it; ") as caught:
        read(words.format("a-sk-long-KEY42").split())
    assert "KEY42" not in str(caught.value)
    read(words.format("licence").split())


def test_a_password_in_the_name_of_a_profile_is_masked() -> None:
    with pytest.raises(BadInput) as caught:
        load_profile(f"{SECRET}.yaml")
    assert mask(str(caught.value)).startswith("reading profile ftp://***@host/a.txt.yaml: No such file or directory;")


@pytest.mark.parametrize("paths", [[SECRET], ["docs", "https://host/a?token=hunter2"]])
def test_prefect_refuses_a_run_with_a_password_before_it_stores_its_parameters(paths: list[str]) -> None:
    schema = refresh.parameters.model_dump_for_openapi()
    given = {"profile": "embedded", "heldout_fraction": 0.1, "source": {"kind": "files", "paths": ["docs"]}}
    validate(given, schema, raise_on_error=True)
    with pytest.raises(ValidationError):
        validate(given | {"source": {"kind": "files", "paths": paths}}, schema, raise_on_error=True)


def test_a_traceback_on_the_terminal_has_no_password_and_no_command_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    error = RuntimeError("no way to http://me:hunter2@host/ \x1b[2J")
    say_traceback(RuntimeError, error, None)
    assert capsys.readouterr().err == "RuntimeError: no way to http://***@host/ \\x1b[2J\n"


def test_the_message_of_a_run_that_ended_well_has_no_password_and_no_command_to_a_terminal() -> None:
    state: Any = ended(f"released: {SECRET} \x1b[2J", "page")
    assert (state.message, state.data) == ("released: ftp://***@host/a.txt \\x1b[2J", "page")


def test_no_library_can_ask_a_question_on_stdin() -> None:
    asks = "command.run = lambda _: print('ran it', input('Run its code? [y/N] '))"
    program = f"import flows.__main__ as command; {asks}; command.main()"
    ended = subprocess.run([sys.executable, "-c", program], input="y\n", capture_output=True, text=True, cwd=ROOT)
    assert "EOFError" in ended.stderr.splitlines()[-1]
    assert "ran it" not in ended.stdout


def test_artifacts_show_no_password_and_load_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    for name in ("create_markdown_artifact", "create_table_artifact", "create_link_artifact"):
        monkeypatch.setattr(f"prefect.artifacts.{name}", lambda *given: sent.append(given))
    loads, hidden = "![a](http://host/a.png) <img src=//host>", "ftp://***@host/a.txt"
    loads_not = "\\![a](http://host/a.png) &lt;img src=//host>"
    artifacts.create_markdown_artifact(f"{SECRET} {loads}\x00", "k", SECRET)
    artifacts.create_table_artifact([{"a": SECRET, "n": 1}], "k", loads)
    artifacts.create_link_artifact(SECRET, "k", "t")
    assert sent == [
        (f"{hidden} {loads_not}\\x00", "k", hidden),
        ([{"a": hidden, "n": 1}], "k", loads_not),
        (hidden, "t", "k", None),
    ]
