"""The pages of a folder over HTTP: what is shown, and what nobody is to see."""

import socket
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from flows.__looking__ import serve_pages
from flows.__serving__ import make_site
from gainloop.store.files import link_from
from schemas.errors import BadInput
from schemas.profile import Profile

PAGE = "<h1>What the batch added</h1>"


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    folder = tmp_path / "data"
    for name in ("batches/a b/report.html", "batches/a b/records/00000.js", "batches/index.html"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(PAGE)
    for name in ("gainloop.duckdb", "batches/a b/replies.parquet", ".hidden.html"):
        (folder / name).write_bytes(b"not for everybody")
    (tmp_path / "outside.html").write_text("outside")
    (folder / "link.html").symlink_to(tmp_path / "outside.html")
    return Profile(name="site", folder=str(folder), pages="http://127.0.0.1:4280/gains")


@pytest.fixture
def site(profile: Profile) -> TestClient:
    return TestClient(make_site(profile, "127.0.0.1"), base_url="http://127.0.0.1:4280", follow_redirects=True)


def test_the_link_of_a_report_shows_it_and_lets_it_ask_nobody_else(profile: Profile, site: TestClient) -> None:
    link = link_from(profile, f"{profile.folder}/batches/a b/report.html")
    assert link == "http://127.0.0.1:4280/gains/batches/a%20b/report.html"
    answer = site.get(link)
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert answer.headers["Content-Security-Policy"] == "default-src 'self' 'unsafe-inline' data:"


def test_the_scripts_of_the_page_of_all_records_are_shown(site: TestClient) -> None:
    answer = site.get("/gains/batches/a%20b/records/00000.js")
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert "javascript" in answer.headers["Content-Type"]


def test_the_beginning_is_the_page_over_all_batches(site: TestClient) -> None:
    answer = site.get("/gains/")
    assert (answer.url.path, answer.text) == ("/gains/batches/index.html", PAGE)


@pytest.mark.parametrize(
    "path",
    [
        "gainloop.duckdb",
        "batches/a b/replies.parquet",
        ".hidden.html",
        "link.html",
        "../outside.html",
        "%2e%2e/outside.html",
        "batches/../../outside.html",
        "batches",
    ],
)
def test_no_file_but_a_page_of_the_folder_is_shown(site: TestClient, path: str) -> None:
    assert site.get(f"/gains/{path}").status_code in (400, 404)


def test_a_request_for_another_host_is_refused(site: TestClient) -> None:
    answer: httpx.Response = site.get("/gains/batches/index.html", headers={"Host": "elsewhere.example"})
    assert answer.status_code == 400


def test_a_port_that_is_taken_is_refused_before_an_address_is_told(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = tmp_path / "site.yaml"
        path.write_text(f"folder: {profile.folder}\npages: http://127.0.0.1:{port}\n")
        said = rf"port {port}: Address already in use, perhaps by another `gainloop serve`; .* Set pages in the profile"
        with pytest.raises(BadInput, match=said):
            serve_pages(str(path))
    assert capsys.readouterr().out == ""


def test_a_url_is_its_own_link_and_its_folder_is_not_served(profile: Profile) -> None:
    far = profile.model_copy(update={"folder": "s3://bucket/data"})
    assert link_from(far, "s3://bucket/data/batches/a/report.html") == "s3://bucket/data/batches/a/report.html"
    with pytest.raises(BadInput, match="a folder of this machine is allowed"):
        make_site(far, "127.0.0.1")
