"""A hub at the border of HTTP: repositories, tokens, large files and commits, as the real one answers, faults included.

``with fake_hub(tokens={"hf_good": "me"}) as hub:`` gives ``hub.url`` for HF_ENDPOINT. Storage by chunks (xet) is not
spoken: with HF_HUB_DISABLE_XET large files go by LFS, as they do to hubs that have no other.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".parquet", ".arrow")
"""Ends of names that the hub keeps as large files, whatever their size."""

Answer = tuple[int, Any, dict[str, str]]


@dataclass
class Repository:
    """A dataset of the hub as its last commit left it."""

    is_private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=lambda: [hashlib.sha1(b"initial commit").hexdigest()])

    @property
    def sha(self) -> str:
        return self.commits[-1]


@dataclass
class FakeHub:
    """A running hub: ``tokens`` to the account that each writes for; ``asked`` are method and path of each request.

    ``faults`` are statuses that the next requests of a path that holds the word get in place of an answer; 0 cuts the
    connection.
    """

    tokens: Mapping[str, str]
    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, token: str, body: bytes) -> Answer:
        """Return status, content and headers."""
        for word, statuses in self.faults.items():
            if word in path and statuses:
                return statuses.pop(0), {"error": "try again later"}, {}
        if token and token not in self.tokens:
            return 401, {"error": "Invalid credentials in Authorization header"}, {}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if path == "/api/repos/create":
            return self._create(json.loads(body), token)
        if method == "PUT" and path.startswith("/lfs/"):
            self.large[hashlib.sha256(body).hexdigest()] = body
            return 200, {}, {}
        found = re.fullmatch(r"/(?:api/)?datasets/([^/]+/[^/]+?)(?:\.git)?(?:/(.*))?", path)
        repository = self.repositories.get(found[1]) if found else None
        if not found or not repository or (repository.is_private and self.tokens.get(token) != found[1].split("/")[0]):
            return 404 if token else 401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
        return self._of(repository, found[1], found[2] or "", method, body, path.startswith("/api/"), token)

    def _create(self, asked: dict[str, Any], token: str) -> Answer:
        if not token:
            return 401, {"error": "Invalid username or password."}, {}
        account = asked.get("organization") or self.tokens[token]
        if account != self.tokens[token]:
            return 403, {"error": f"You don't have the rights to create a dataset under the namespace {account}"}, {}
        name = f"{account}/{asked['name']}"
        made = {"url": f"{self.url}/datasets/{name}"}
        if name in self.repositories:
            return 409, made | {"error": "You already created this dataset repo"}, {}
        self.repositories[name] = Repository(asked.get("visibility") == "private" or bool(asked.get("private")))
        return 200, made, {}

    def _of(
        self, repository: Repository, name: str, rest: str, method: str, body: bytes, is_api: bool, token: str
    ) -> Answer:
        what, _, below = rest.partition("/")
        if not is_api and what == "resolve":
            return self._resolve(repository, below.partition("/")[2])
        if not is_api and rest == "info/lfs/objects/batch":
            return 200, {"transfer": "basic", "objects": [self._place(one) for one in json.loads(body)["objects"]]}, {}
        if what in ("", "revision"):
            return 200, self._about(repository, name), {}
        if what in ("tree", "paths-info"):
            paths = json.loads(body)["paths"] if what == "paths-info" else [*repository.files]
            return 200, [_entry(one, repository.files[one]) for one in paths if one in repository.files], {}
        if what == "preupload":
            files = json.loads(body)["files"]
            return 200, {"files": [self._mode(repository, one) for one in files]}, {}
        if what == "commit" and self.tokens.get(token) == name.split("/")[0]:
            return self._commit(repository, name, [json.loads(line) for line in body.splitlines()])
        return (403 if what == "commit" else 404), {"error": f"{method} {rest} is not allowed"}, {}

    def _about(self, repository: Repository, name: str) -> dict[str, Any]:
        siblings = [{"rfilename": path} for path in sorted(repository.files)]
        about = {"id": name, "sha": repository.sha, "private": repository.is_private, "siblings": siblings}
        return about | {"tags": [], "downloads": 0, "likes": 0, "lastModified": "2026-01-01T00:00:00.000Z"}

    def _mode(self, repository: Repository, file: dict[str, Any]) -> dict[str, Any]:
        is_large = file["path"].endswith(LARGE) or file["size"] > 10_000_000
        known = repository.files.get(file["path"])
        oid = _entry(file["path"], known)["oid"] if known is not None else None
        mode = "lfs" if is_large else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}

    def _place(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted["oid"] in self.large:
            return wanted
        return wanted | {"actions": {"upload": {"href": f"{self.url}/lfs/{wanted['oid']}"}}}

    def _commit(self, repository: Repository, name: str, lines: list[dict[str, Any]]) -> Answer:
        files, header = dict(repository.files), lines[0]["value"]
        if header.get("parentCommit") not in (None, repository.sha):
            return 412, {"error": "A commit has happened since. Please refresh and try again."}, {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.large:
                    return 400, {"error": f"lfs object {value['oid']} is not there"}, {}
                files[value["path"]] = self.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        repository.files = files
        sha = hashlib.sha1(json.dumps(lines).encode()).hexdigest()
        repository.commits.append(sha)
        return 200, {"commitUrl": f"{self.url}/datasets/{name}/commit/{sha}", "commitOid": sha}, {}

    def _resolve(self, repository: Repository, path: str) -> Answer:
        if path not in repository.files:
            return 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"}
        content = repository.files[path]
        tag = {"ETag": f'"{_entry(path, content)["oid"]}"', "X-Repo-Commit": repository.sha, "Accept-Ranges": "bytes"}
        return 200, content, tag


def _entry(path: str, content: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return {"type": "file", "path": path, "size": len(content), "oid": oid}


@contextmanager
def fake_hub(tokens: Mapping[str, str] = MappingProxyType({})) -> Iterator[FakeHub]:
    """Keep a hub running for the block."""
    hub = FakeHub(tokens)

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            path = unquote(urlsplit(self.path).path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.asked.append((self.command, path))
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, content, headers = hub.answer(self.command, path, token, body)
            if not status:
                self.close_connection = True
                return
            written = content if isinstance(content, bytes) else json.dumps(content).encode()
            if status == 200 and (asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))):
                end = min(int(asked[2] or len(written) - 1), len(written) - 1)
                headers |= {"Content-Range": f"bytes {asked[1]}-{end}/{len(written)}"}
                status, written = 206, written[int(asked[1]) : end + 1]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(written)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(written)

        do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815 - as http.server calls them

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()
