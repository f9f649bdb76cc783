import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gainloop.sources import texts
from gainloop.sources.files import Files
from schemas.errors import BadInput, SourceError


class Site(BaseHTTPRequestHandler):
    """A page, one that never ends, one that breaks off, and nothing else."""

    def do_HEAD(self) -> None:
        self.answer(False)

    def do_GET(self) -> None:
        self.answer(True)

    def answer(self, has_body: bool) -> None:
        body = {"/a.txt": b"A text.", "/broken.txt": b"Half of", "/endless.txt": b"words " * 10_000}.get(self.path)
        self.send_response(200 if body else 404)
        if self.path != "/endless.txt":
            self.send_header("Content-Length", str(len(body or b"") * (2 if "broken" in self.path else 1)))
        self.end_headers()
        try:
            while has_body and body:
                self.wfile.write(body)
                if self.path != "/endless.txt":
                    return
        except ConnectionError:
            pass  # the reader has had enough

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def read(url: str) -> list[tuple[str, str]]:
    source = Files(paths=[url])
    return [(document.uri, document.text) for part in source.parts() for document in source.read(part)]


def test_a_file_of_a_web_server_is_read(site: str) -> None:
    assert read(f"{site}/a.txt") == [("a.txt", "A text.")]


def test_a_body_that_never_ends_is_refused(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_TEXT_BYTES", 1_000_000)

    with pytest.raises(BadInput, match="a text of more than 1,000,000 bytes"):
        read(f"{site}/endless.txt")


def test_a_body_that_breaks_off_is_no_shorter_text(site: str) -> None:
    with pytest.raises(SourceError, match=r"broken\.txt"):
        read(f"{site}/broken.txt")


def test_a_server_that_is_not_there_and_a_file_that_is_not_are_told_apart(site: str) -> None:
    with pytest.raises(BadInput, match="nothing found at 'http"):
        read(f"{site}/nothing.txt")
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:1/a\.txt"):
        read("http://127.0.0.1:1/a.txt")
