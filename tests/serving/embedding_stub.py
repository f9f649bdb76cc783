"""A server that answers ``/v1/embeddings`` as vLLM does, faults included, with no weights behind it.

``with embedding_stub(faults={"server_error": 0.3}) as stub:`` gives ``stub.url``.
"""

import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from schemas.rows import unit_draw

FAULTS = {
    "server_error": "status 500",
    "overloaded": "status 429",
    "reset": "the connection is cut",
    "malformed": "the JSON ends half-way",
    "missing": "the last text has no vector",
    "nan": "a number is none",
}


@dataclass
class EmbeddingStub:
    """What the stub serves, how badly, and what it was asked; ``faults`` as those of ``StubOptions``."""

    url: str = ""
    width: int = 8
    model: str = "stub"
    faults: dict[str, float] = field(default_factory=dict)
    context_characters: int = 10_000
    latency_seconds: float = 0.0
    api_key: str = ""
    tls: ssl.SSLContext | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    most_open: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def fault(self, body: str) -> str:
        self.seen[body] += 1
        draw = unit_draw("fault", body, self.seen[body])
        for fault, share in self.faults.items():
            if draw < share:
                return fault
            draw -= share
        return ""


def vector_of(text: str, width: int = 8) -> list[float]:
    """Return a text's vector: the same for the same text, and of no special length."""
    return [3 * unit_draw("vector", text, place) - 1 for place in range(width)]


@contextmanager
def embedding_stub(**options: Any) -> Iterator[EmbeddingStub]:
    """Run a stub on a free port, in threads."""
    assert options.get("faults", {}).keys() <= FAULTS.keys(), f"faults are {', '.join(FAULTS)}"
    stub = EmbeddingStub(**options)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(stub))
    server.daemon_threads = True
    if stub.tls:
        server.socket = stub.tls.wrap_socket(server.socket, server_side=True)
    stub.url = f"http{'s' if stub.tls else ''}://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(stub: EmbeddingStub) -> type[BaseHTTPRequestHandler]:
    num_open, lock = [0], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer: the second of two would wait for 40 ms

        def do_POST(self) -> None:
            with lock:
                num_open[0] += 1
                stub.most_open = max(stub.most_open, num_open[0])
            try:
                time.sleep(stub.latency_seconds)
                self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())
            finally:
                with lock:
                    num_open[0] -= 1

        def _answer(self, body: str) -> None:
            asked = json.loads(body)
            with lock:
                stub.requests.append(asked)
                fault = stub.fault(body)
            if fault == "reset":
                self.close_connection = True
                self.connection.close()
                return
            if stub.api_key and self.headers["Authorization"] != f"Bearer {stub.api_key}":
                self._send(401, {"error": {"message": "Unauthorized"}})
            elif self.path != "/v1/embeddings" or asked["model"] != "stub":
                self._send(404, {"error": {"message": "not found"}})
            elif fault in ("server_error", "overloaded"):
                self._send({"server_error": 500, "overloaded": 429}[fault], {"error": {"message": fault}})
            elif max(map(len, asked["input"])) > stub.context_characters:
                self._send(400, {"error": {"message": "This model's maximum context length is exceeded."}})
            else:
                self._send(200, self._embedded(asked["input"], fault), cut=fault == "malformed")

        def _embedded(self, texts: list[str], fault: str) -> dict[str, Any]:
            vectors: list[list[float]] = [vector_of(text, stub.width) for text in texts]
            if fault == "nan":
                vectors[0][0] = float("nan")
            # The order of the list is not promised: the index is.
            data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(vectors)][::-1]
            return {"object": "list", "model": stub.model, "data": data[fault == "missing" :], "usage": {}}

        def _send(self, status: int, told: dict[str, Any], *, cut: bool = False) -> None:
            body = json.dumps(told).encode()
            body = body[: len(body) // 2] if cut else body
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *_told: Any) -> None:
            pass

    return Handler
