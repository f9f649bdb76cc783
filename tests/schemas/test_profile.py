import os
import re
import time
from pathlib import Path

import pytest

from schemas.errors import BadInput
from schemas.profile import (
    PROFILES,
    Embedded,
    EmbeddingServers,
    Generation,
    LocalEmbedding,
    LocalVLLM,
    Profile,
    Servers,
    ToolCommand,
    ToolUrl,
    load_profile,
)


def write(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_every_profile_of_the_project_loads_under_its_own_name(name: str) -> None:
    assert load_profile(name).name == name


def test_the_default_profile_needs_no_server() -> None:
    assert load_profile("embedded").serving == Embedded()


def test_a_file_of_ones_own_is_a_profile(tmp_path: Path) -> None:
    path = write(tmp_path, "folder: /data\nserving: {kind: servers, urls: [http://a/v1]}\ngeneration: {attempts: 2}")

    profile = load_profile(path)
    assert (profile.name, profile.folder) == ("mine", "/data")
    assert profile.serving == Servers(urls=["http://a/v1"])
    assert profile.generation == Generation(attempts=2)


def test_where_an_embedding_model_runs_is_a_setting_of_the_profile(tmp_path: Path) -> None:
    path = write(tmp_path, "embedding: {kind: servers, urls: [http://a/v1], max_in_flight: 4}")

    assert load_profile(path).embedding == EmbeddingServers(urls=["http://a/v1"], max_in_flight=4)
    assert load_profile("embedded").embedding == LocalEmbedding()


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    beside = {"folder": f"{tmp_path}/data", "store": {"url": f"{tmp_path}/data/gainloop.duckdb"}}
    assert load_profile(write(tmp_path, "")) == Profile.model_validate({"name": "mine"} | beside)


@pytest.mark.parametrize("name", ["embedded", "vllm-cpu", "profiles/embedded.yaml"])
def test_a_profile_of_the_project_means_the_same_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(PROFILES.parent / name) if name.endswith(".yaml") else name
    here = load_profile(name)
    monkeypatch.chdir(tmp_path)

    assert load_profile(name) == here
    assert (here.folder, here.store.url) == tuple(f"{PROFILES.parent}/data{name}" for name in ("", "/gainloop.duckdb"))
    if isinstance(here.serving, LocalVLLM):
        assert here.serving.python == f"{PROFILES.parent}/.venv-vllm/bin/python"


def test_relative_paths_of_a_file_lie_beside_it_and_urls_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "folder: s3://bucket/data\nstore: {url: db/store.duckdb}\nserving: {kind: vllm, python: python3}")
    monkeypatch.chdir(tmp_path)

    profile = load_profile("mine.yaml")
    assert (profile.folder, profile.store.url) == ("s3://bucket/data", f"{tmp_path}/db/store.duckdb")
    assert isinstance(profile.serving, LocalVLLM)
    assert profile.serving.python == "python3"


def test_paths_on_a_cluster_of_several_machines_stay_as_they_are_written(tmp_path: Path) -> None:
    path = write(tmp_path, "runner: {kind: ray, address: 'head:6379'}")

    assert load_profile(path).folder == "data"


def test_an_unknown_profile_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(
        BadInput, match=r"profile 'h20' not found in profiles/: known are cluster, embedded, .* one of them"
    ):
        load_profile("h20")


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere.yaml"):
        load_profile(str(tmp_path / "nowhere.yaml"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("folders: data", "folders"),
        ("generation: {max_in_flight: 0}", "max_in_flight"),
        ("serving: {kind: servers, urls: []}", "urls"),
        ("serving: {kind: gpu}", "gpu"),
        ("embedding: {kind: servers, urls: []}", "urls"),
        ("embedding: {kind: local, urls: [http://a/v1]}", "Set one of them, or embedding.kind to servers"),
        ("embedding: {kind: gpu}", "known are local, servers"),
        ("store: {lock_seconds: soon}", "lock_seconds"),
        ("folder: [", "mine.yaml"),
        ("- folder", "mine.yaml"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(BadInput, match=r"reading profile .*/mine.yaml: .*") as caught:
        load_profile(write(tmp_path, text))
    assert found in str(caught.value)


def test_a_vllm_place_says_which_interpreter_and_how_long_to_wait() -> None:
    place = load_profile("vllm-cpu").serving

    assert isinstance(place, LocalVLLM)
    assert place.python.endswith("bin/python")
    assert place.ready_seconds >= 300


def bomb(levels: int) -> str:
    """Return a list of ten lists of ten lists ... by aliases."""
    lines = ["x0: &x0 [a,a,a,a,a,a,a,a,a,a]"]
    lines += [f"x{level}: &x{level} [{','.join([f'*x{level - 1}'] * 10)}]" for level in range(1, levels)]
    return "\n".join([*lines, f"serving: {{kind: servers, urls: *x{levels - 1}}}"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (bomb(9), "it stands for more than 10,000 values, those of aliases counted"),
        (
            "a0: &a0 {k: 1}\n"
            + "".join(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)),
            "it stands for more than 10,000 values",
        ),
        ("folder: &a [*a]", "alias a stands within itself"),
        ("gate: " + "[" * 30_000, "its values stand more than 20 deep within each other"),
        ("gate: " + "{a: " * 30 + "}" * 30, "more than 20 deep"),
        ("# " + "long " * 20_000, "it is longer than 65,536 bytes"),
        ("folder: 2026-13-45", "month must be in 1..12"),
        (f"generation: {{attempts: {'9' * 5000}}}", "4300 digits"),
        ("folder: !!python/object/apply:os.system [id]", "could not determine a constructor"),
    ],
)
def test_a_file_that_stands_for_more_than_settings_is_refused_at_once_and_shortly(
    tmp_path: Path, text: str, found: str
) -> None:
    begun = time.process_time()
    with pytest.raises(BadInput, match=re.escape(found)) as caught:
        load_profile(write(tmp_path, text))
    assert time.process_time() - begun < 2
    assert len(str(caught.value)) < 1000


def test_aliases_are_read_as_long_as_they_stand_for_little(tmp_path: Path) -> None:
    path = write(
        tmp_path, "serving: {kind: servers, urls: &mine [http://a/v1]}\nembedding: {kind: servers, urls: *mine}"
    )
    assert load_profile(path).embedding == EmbeddingServers(urls=["http://a/v1"])


def test_what_a_message_shows_of_a_wrong_value_is_short(tmp_path: Path) -> None:
    many = ", ".join(["http://a/v1"] * 3000)
    with pytest.raises(BadInput) as caught:
        load_profile(write(tmp_path, f"generation: {{attempts: [{many}]}}"))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "serving: {kind: servers, urls: ['http://me:hunter2@a/v1']}",
        "serving: {kind: servers, urls: [http://a/v1, 'https://hunter2@b/v1']}",
        "serving: {kind: servers, urls: ['http://a/v1?api_key=hunter2']}",
        "serving: {kind: gpu, urls: ['http://me:hunter2@a/v1']}",
        "embedding: {kind: servers, urls: ['http://me:hunter2@a/v1']}",
        "embedding: ['http://me:hunter2@a/v1']",
        "folder: 's3://me:hunter2@bucket/data'",
        "folder: ['s3://me:hunter2@bucket/data']",
        "store: {url: 'ducklake:postgres:host=db password=hunter2'}",
        "store: {url: 'postgresql://me:hunter2@db/x'}",
        "store: 'postgresql://me:hunter2@db/x'",
        "runner: {kind: ray, address: 'ray://me:hunter2@head:10001'}",
    ],
)
def test_a_password_in_a_profile_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_profile(write(tmp_path, text))
    assert "hunter2" not in str(caught.value)


def test_a_pipe_is_no_profile_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe.yaml")
    with pytest.raises(BadInput, match="it is no file; "):
        load_profile(str(pipe))


def test_servers_of_tools_are_commands_or_urls_by_name(tmp_path: Path) -> None:
    file = tmp_path / "place.yaml"
    file.write_text(
        "tools:\n  ledger: {kind: command, command: [python, ledger.py], variables: [LEDGER_KEY]}\n"
        "  search: {kind: url, url: 'http://127.0.0.1:8000/mcp'}\n"
    )

    assert load_profile(str(file)).tools == {
        "ledger": ToolCommand(command=["python", "ledger.py"], variables=("LEDGER_KEY",)),
        "search": ToolUrl(url="http://127.0.0.1:8000/mcp"),
    }
    file.write_text("tools: {ledger: {kind: url, url: 'ftp://x'}}")
    with pytest.raises(BadInput, match="tools 'url': url is 'ftp://x'"):
        load_profile(str(file))
