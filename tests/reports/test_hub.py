"""Datasets on the hub: what is there after an export, who may read it, and what is said when it cannot be."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.export import export
from gainloop.reports.hub import publish_batches
from gainloop.store import Store
from schemas.errors import BadInput, GainloopError, ServerError
from tests.fake_hub import FakeHub, Repository, fake_hub
from tests.reports.exported import CALLING, TALK, make_store, talk, text, write
from tests.small_run import ROOT

REPO = "me/handbook"

PUBLISH_AND_LOAD = """
import json, sys
from datasets import load_dataset
from gainloop.reports.hub import publish_batches
from gainloop.store import Store
path, folder, form, *batches = sys.argv[1:]
print(publish_batches(Store(path, folder), batches, "me/handbook", form))
rows = load_dataset("me/handbook", split="train")
print(json.dumps(rows.to_list()))
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub for this process and for those that it starts."""
    with fake_hub({"hf_mine": "me", "hf_others": "somebody"}) as running:
        for name, value in {"HF_ENDPOINT": running.url, "HF_TOKEN": "hf_mine", "HF_HUB_DISABLE_XET": "1"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", running.url)
        template = f"{running.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # between its tries
        yield running


def refusal(store: Store, batch_id: str, repo: str = REPO, is_public: bool = False) -> tuple[type[GainloopError], str]:
    with pytest.raises(GainloopError) as caught:
        publish_batches(store, [batch_id], repo, is_public=is_public)
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize(("form", "shape"), [("jsonl", "text"), ("parquet", "messages")])
def test_what_is_exported_is_private_and_loads_from_the_hub_with_the_token(
    store: Store,
    hub: FakeHub,
    tmp_path: Path,
    form: str,
    shape: str,
) -> None:
    records = (
        [talk("mill", TALK), talk("barn", CALLING)]
        if shape == "messages"
        else [text("mill", "Rye, \u201cslowly\u201d.")]
    )
    batch_id = write(store, "one", *records)
    done = subprocess.run(
        [sys.executable, "-c", PUBLISH_AND_LOAD, store.path, store.folder, form, batch_id],
        cwd=ROOT,
        env=os.environ | {"HF_HOME": str(tmp_path / "hf")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    url, rows = done.stdout.splitlines()[0], json.loads(done.stdout.splitlines()[-1])
    assert url == f"{hub.url}/datasets/{REPO}"
    repository = hub.repositories[REPO]
    assert repository.is_private
    assert sorted(repository.files) == ["README.md", f"records.{form}"]
    assert len(repository.commits) == 2, "one commit beside the hub's own first"
    assert {row["batch_id"] for row in rows} == {batch_id}
    assert len(rows) == len(records)
    assert all(row[shape] for row in rows)
    print(url, repository.commits[-1], [(row["record_id"], str(row[shape])[:60]) for row in rows])


def test_a_second_export_takes_the_place_of_the_first_and_leaves_no_other_form_beside_it(
    store: Store, hub: FakeHub
) -> None:
    batch_id = write(store, "one", text("mill", "Rye."))
    for form in ("jsonl", "parquet", "jsonl"):
        publish_batches(store, [batch_id], REPO, "parquet" if form == "parquet" else "jsonl")
        assert sorted(hub.repositories[REPO].files) == ["README.md", f"records.{form}"]


def test_everybody_may_read_it_only_if_that_is_said(store: Store, hub: FakeHub) -> None:
    batch_id = write(store, "one", text("mill", "Rye."))
    hub.repositories[REPO] = Repository(is_private=False)
    kind, said = refusal(store, batch_id)
    assert kind is BadInput
    assert "everybody may read that repository; a private one" in said
    assert not hub.repositories[REPO].files
    publish_batches(store, [batch_id], REPO, is_public=True)
    assert "records.jsonl" in hub.repositories[REPO].files
    publish_batches(store, [batch_id], "me/another", is_public=True)
    assert not hub.repositories["me/another"].is_private


def test_somebodys_own_repository_is_not_written_over(store: Store, hub: FakeHub) -> None:
    batch_id = write(store, "one", text("mill", "Rye."))
    hub.repositories[REPO] = Repository(is_private=True, files={"README.md": b"# My project"})
    kind, said = refusal(store, batch_id)
    assert kind is BadInput
    assert "it has a README.md that no export wrote" in said
    assert hub.repositories[REPO].files == {"README.md": b"# My project"}


def test_without_a_token_or_with_one_that_may_not_nothing_is_sent(
    store: Store, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = write(store, "one", text("mill", "Rye."))
    monkeypatch.delenv("HF_TOKEN")
    kind, said = refusal(store, batch_id)
    assert kind is BadInput
    assert "HF_TOKEN is not set; a token that may write" in said
    assert not hub.asked
    for token, found in {"hf_wrong": "401 (Invalid credentials", "hf_others": "403 (You don't have the rights"}.items():
        monkeypatch.setenv("HF_TOKEN", token)
        kind, said = refusal(store, batch_id)
        assert kind is BadInput
        assert f"the hub answers {found}" in said
        assert "the token in HF_TOKEN must be valid and may write there" in said
        assert token not in said
    assert not hub.repositories


@pytest.mark.parametrize("repo", ["handbook", "me/hand book", "me/../handbook", "me/a/b"])
def test_a_name_that_no_repository_can_have_is_refused_at_once(store: Store, hub: FakeHub, repo: str) -> None:
    kind, said = refusal(store, write(store, "one", text("mill", "Rye.")), repo)
    assert kind is BadInput
    assert "account" in said
    assert not hub.asked


def test_a_fault_that_passes_is_borne_and_one_that_stays_leaves_nothing_half_written(
    store: Store, hub: FakeHub
) -> None:
    batch_id = write(store, "one", text("mill", "Rye."))
    hub.faults["preupload"] = [503]
    publish_batches(store, [batch_id], REPO)
    before = dict(hub.repositories[REPO].files)
    other = write(store, "two", text("barn", "Hay."))
    for status, found in (
        (500, "the hub answers 500"),
        (429, "the hub answers 429"),
        (0, "the hub must be within reach"),
    ):
        hub.faults["/commit/"] = [status] * 10
        kind, said = refusal(store, other)
        assert kind is ServerError
        assert found in said
        assert hub.repositories[REPO].files == before
    hub.faults.clear()
    publish_batches(store, [other], REPO)
    assert hub.repositories[REPO].files != before


def test_without_a_network_it_says_so_and_what_else_there_is(
    store: Store, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = write(store, "one", text("mill", "Rye."))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    kind, said = refusal(store, batch_id)
    assert kind is ServerError
    assert "ConnectError" in said
    assert said.endswith("or export into a folder.")


def test_what_a_folder_would_refuse_never_reaches_the_hub(store: Store, hub: FakeHub) -> None:
    kind, said = refusal(store, write(store, "one", text("mill", "Rye."), text("room", "Free.")))
    assert kind is BadInput
    assert "under CC-BY-4.0, MIT; one licence is allowed" in said
    assert not hub.asked


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"to": "hub"}, "exporting to hub: no --repo is given"),
        ({"to": "there", "repo": "acme/handbook"}, "exporting to there: --repo is given, which is of the hub alone"),
        ({"to": "there", "public": True}, "exporting to there: --public is given"),
    ],
)
def test_what_is_of_the_hub_alone_is_not_passed_over_beside_a_folder(given: dict[str, Any], found: str) -> None:
    with pytest.raises(BadInput, match=found):
        export.fn(**given)
