"""What a person sees in a terminal, and on the run's page, while a batch is made."""

import io
import logging
import threading
from uuid import UUID, uuid4

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from gainloop.serving.driver import Progress
from gainloop.store.replies import Span
from tasks import progress
from tasks.generate import RunTotals
from tasks.progress import Bar, Stages, Terminal


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal of 80 columns that Prefect's log goes to."""
    for name, value in {"TERM": "xterm", "COLUMNS": "80", "TTY_COMPATIBLE": "1"}.items():
        monkeypatch.setenv(name, value)
    screen = Screen()
    monkeypatch.setattr(logging.getLogger(), "handlers", [PrefectConsoleHandler(stream=screen, styles={})])
    return screen


def test_the_bar_is_drawn_on_prefects_console_which_has_no_styles_for_it(screen: Screen) -> None:
    with Terminal("generate") as one, Terminal("train") as other:
        one.show(50, "generate: 1 of 2 anchors", "3 records [a]")
        other.show(10, "train: 1 of 10 steps", "")
        assert one._display is not None
        one._display.refresh()

    shown = screen.getvalue()
    assert "━━━━━━━━" in shown
    for words in ("generate: 1 of 2 anchors", "3 records [a]", "train: 1 of 10 steps"):
        assert words in shown


def test_a_log_that_goes_to_a_file_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [PrefectConsoleHandler(stream=file, styles={})])
    with Terminal("generate") as terminal:
        terminal.show(50, "generate: 1 of 2 anchors", "")

    assert file.getvalue() == ""


def test_a_batch_is_told_as_the_sum_of_its_shards_and_its_servers_only_while_it_goes_on() -> None:
    made = RunTotals(Progress(anchors_done=3, records=5, requests_sent=9, drops={"empty": 1, "cut_off": 2}))
    made.live[Span(4, 8)] = Progress(anchors_done=1, records=1, retries=2, state="1 of 2 servers up, 7 open")

    assert made.shown(settled=10, num_anchors=20) == (
        *(14, 20),
        "6 records, 3 drops (2 cut_off, 1 empty), 9 requests sent, 2 retries, 1 of 2 servers up, 7 open",
    )
    assert made.shown(settled=16, num_anchors=20)[2].endswith("9 requests sent, 2 retries")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[UUID, list[tuple[float, str]]]:
    """What Prefect is told of each bar: per cent and line."""
    told: dict[UUID, list[tuple[float, str]]] = {}

    def create(percent: float, key: str | None = None, description: str = "") -> UUID:
        made = uuid4()
        told[made] = [(percent, description)]
        return made

    monkeypatch.setattr("prefect.artifacts.create_progress_artifact", create)
    monkeypatch.setattr("prefect.artifacts.update_progress_artifact", lambda made, *shown: told[made].append(shown))
    monkeypatch.setattr(progress, "get_run_logger", lambda: logging.getLogger("run"))
    monkeypatch.setattr(progress, "SHOW_SECONDS", 0.01)
    return told


def test_the_bar_of_all_stages_goes_on_with_the_bar_of_the_one_under_way(
    told: dict[UUID, list[tuple[float, str]]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "run")
    shown = threading.Event()
    with Stages(["refresh", "generate", "validate", "report"]) as stage:
        stage("refresh")
        stage("generate")
        with Bar("generate abc", "anchors", lambda: (shown.set(), (1, 2, "3 records"))[1]):
            assert shown.wait(10)
        stage("report")
        stage.end("Delta I = 3 nats/record.")
    all_stages, of_generate = told.values()
    assert all_stages[:2] == [(0, "stage 1 of 4, refresh"), (25, "stage 2 of 4, generate")]
    assert (37.5, f"stage 2 of 4, generate: {of_generate[-1][1]}") in all_stages
    assert of_generate[-1][0] == 50
    stages = [line for line in caplog.messages if line.startswith("stage ")]
    assert stages == ["stage 1 of 4, refresh", "stage 2 of 4, generate", "stage 4 of 4, report"]
    assert all_stages[-2] == (75, "stage 4 of 4, report")
    percent, line = all_stages[-1]
    assert percent == 100
    assert line.startswith("4 of 4 stages in ")
    assert line.endswith(": Delta I = 3 nats/record.")


def test_a_bar_outside_a_run_of_stages_shows_itself_alone(told: dict[UUID, list[tuple[float, str]]]) -> None:
    with Stages(["train"]):
        pass
    with Bar("train", "steps", lambda: (1, 4, "")):
        pass
    (shown,) = told.values()
    assert shown[-1][0] == 25
