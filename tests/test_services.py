"""Units and containers that docs/deploy.md shows: they are well formed, and what they call is there."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.__main__ import LOOKS, RESULTS
from schemas.profile import load_profile
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "deploy.md").read_text()
SECTIONS = {"Unit": {"Description"}, "Service": {"ExecStart", "User", "WorkingDirectory"}, "Install": {"WantedBy"}}
INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "CMD"}


def blocks(kind: str, mark: str) -> list[str]:
    return [text for text in re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) if mark in text]


def units() -> dict[str, str]:
    found = {re.findall(r"/system/(\S+)", text)[0]: text for text in blocks("ini", "[Unit]")}
    assert list(found) == ["gainloop-server.service", "gainloop-worker.service", "gainloop-pages.service"]
    return found


def require_known(words: list[str]) -> None:
    """Refuse a command line that names no command of Prefect or of this project."""
    program = Path(words[0]).name
    assert program in ("prefect", "gainloop"), words
    if program == "gainloop":
        assert words[1] in {*RESULTS, *LOOKS}
        if "--profile" in words:
            load_profile(words[words.index("--profile") + 1])


@pytest.mark.parametrize("name", units())
def test_a_unit_has_what_systemd_needs_and_runs_a_command_that_is_there(name: str) -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(units()[name])
    assert {*unit.sections()} == {*SECTIONS}
    assert not [name for section, needed in SECTIONS.items() for name in needed - {*unit[section]}]
    words = shlex.split(unit["Service"]["ExecStart"])
    assert words[0].startswith(f"{unit['Service']['WorkingDirectory']}/.venv/bin/")
    require_known(words)
    others = {*unit["Unit"].get("After", "").split(), *unit["Unit"].get("Wants", "").split()}
    assert {one for one in others if one.startswith("gainloop")} <= {*units()}


def test_systemd_itself_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd here")
    for name, text in units().items():
        runnable = re.sub(r"(?<=ExecStart=)\S+", "/bin/true", text).replace("User=gainloop\n", "")
        (tmp_path / name).write_text(re.sub(r"(WorkingDirectory|EnvironmentFile)=.*\n", "", runnable))
    paths = [str(tmp_path / name) for name in units()]
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if str(tmp_path) in line], done.stderr


def test_the_image_is_built_of_known_instructions_and_of_files_that_are_there() -> None:
    (text,) = blocks("dockerfile", "FROM")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    assert {line.split()[0] for line in lines} == INSTRUCTIONS
    assert lines[0].startswith("FROM python:3.")
    for path in re.findall(r"--constraint (\S+)", text):
        assert (ROOT / path).is_file()
    pinned = re.findall(r"torch==(\S+)", text)
    assert f'"torch=={pinned[0]}"' in (ROOT / "pyproject.toml").read_text()


def test_the_containers_name_services_volumes_and_commands_that_are_there() -> None:
    (text,) = blocks("yaml", "services:")
    compose: dict[str, Any] = yaml.safe_load(text)
    services = compose["services"]
    assert {*services} == {"db", "server", "worker", "pages"}
    for service in services.values():
        assert {*service.get("depends_on", [])} <= {*services}
        assert {one.split(":")[0] for one in service["volumes"]} <= {*compose["volumes"]}
        assert ("image" in service) != ("build" in service)
        for words in re.findall(r"(?:^|&& |exec |\")((?:prefect|gainloop) [^&\"]+)", service.get("command", "")):
            require_known(shlex.split(words))
    variables = {*re.findall(r"\$\{(\w+)", text)}
    assert variables == {"DB_PASSWORD", "PREFECT_AUTH", "OPENAI_API_KEY"}
    assert all(f"`{name}`" in PAGE for name in variables)
