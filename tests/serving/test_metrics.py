"""What Prometheus reads at the engine's port: the ledger's numbers, while a batch is made and after."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from urllib.request import urlopen

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gainloop.serving.engine import engine
from gainloop.store import Store, group_commit
from schemas.profile import Profile
from tasks.preflight import try_out
from tests.serving.stub_server import Stub, StubOptions, stub_server
from tests.test_generate import finish, generate, on_servers, recipe_on, write_corpus

Figures = dict[tuple[str, str], float]
"""Value by name and by reason, which is empty but for drops."""


@pytest.fixture
def faulty() -> Iterator[Stub]:
    """A server that takes its time, and now and then fails or filters."""
    with stub_server(StubOptions(latency_seconds=0.05, faults={"server_error": 0.2, "filtered": 0.2})) as running:
        yield running


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        found: int = free.getsockname()[1]
        return found


def scrape(port: int) -> Figures:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            (one.name.removeprefix("gainloop_"), one.labels.get("reason", "")): one.value
            for family in families
            for one in family.samples
            if one.labels.get("model") == "stub"
        }


def listening() -> set[int]:
    """Return the ports that this process listens at."""
    return {one.laddr.port for one in psutil.Process().net_connections("tcp") if one.status == psutil.CONN_LISTEN}


def test_what_is_read_while_a_batch_is_made_and_after_is_what_the_ledger_says(
    profile: Profile, store: Store, faulty: Stub, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "COMMIT_SECONDS", 0.02)
    place = on_servers(profile, faulty, metrics_port=port, max_in_flight=2)
    recipe, seen, over = recipe_on(write_corpus(store)), list[Figures](), threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(scrape(port))
            time.sleep(0.05)

    with engine(place, recipe, None) as lent:
        lent.logprob_semantics  # noqa: B018 - it is open from here on
        looking = threading.Thread(target=look)
        looking.start()
        try_out(store, place, recipe, None)
        progress = generate(place, recipe)
        over.set()
        looking.join()
    ledger, figures = finish(place, recipe, progress), scrape(port)
    named = {
        **{name: figures[f"{name}_total", ""] for name in ("replies", "records", "prompt_tokens", "completion_tokens")},
        "drops": sum(value for (name, _), value in figures.items() if name == "drops_total"),
    }
    assert named == {name: ledger[name] for name in named}
    reasons = store.query("select reason, count(*) as n from drops where batch_id = ? group by all", recipe.batch_id)
    assert {reason: n for (name, reason), n in figures.items() if name == "drops_total"} == dict(reasons.rows())
    sent = Counter(body["max_tokens"] > 1 for body in faulty.requests)[True]
    assert 0 <= sent - figures["requests_sent_total", ""] <= 2  # a proof that a server works is no request of a batch
    assert figures["retries_total", ""] >= ledger["retried_replies"] > 0
    assert figures["requests_open", ""] == 0
    print({name: (figures.get((f"{name}_total", "")), ledger.get(name)) for name in (*named, "requests_sent")})

    opened = [one["requests_open", ""] for one in seen]
    assert 0 < max(opened) <= 2
    counted = [one["replies_total", ""] for one in seen]
    assert counted == sorted(counted)
    assert len({*counted}) > 3


def test_a_port_that_another_has_costs_a_warning_and_no_run(
    profile: Profile, store: Store, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with stub_server() as stub, socket.create_server(("127.0.0.1", port)):
        place = on_servers(profile, stub, metrics_port=port)
        recipe = recipe_on(write_corpus(store))
        generate(place, recipe)
    assert f"Counting for Prometheus at 127.0.0.1:{port}: Address already in use" in caplog.text


def test_no_port_is_opened_unless_the_profile_names_one(profile: Profile, store: Store) -> None:
    with stub_server() as stub:
        place = on_servers(profile, stub)
        assert place.generation.metrics_port is None
        before = listening()
        with engine(place, recipe_on(write_corpus(store)), None) as lent:
            lent.logprob_semantics  # noqa: B018 - it is open from here on
            assert listening() == before
