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
