"""A server that answers as vLLM does, as fast as Python can, from replies made beforehand. It has no model.

``python -m benchmarks.stub --latency-seconds 0.02`` prints its port and serves until it is killed, or until
the pipe that is its standard input ends. ``with running_stub(StubOptions()) as url`` does that from Python.
"""

import argparse
import asyncio
import json
import math
import os
import re
import stat
import struct
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.stub_replies import (
    KINDS,
    ONE_TOKEN,
    error_response,
    http_response,
    metric_line,
    reply_bytes,
    spoil,
    write_tokens,
)

FAULTS = ("error", "reset", "malformed", "empty", "cut", "hang")
NUM_VARIANTS = 48
LOGPROBS_ASKED = re.compile(rb'"logprobs" ?: ?(?:true|\d)')
ONE_TOKEN_ASKED = re.compile(rb'"max_tokens" ?: ?1 ?[,}]')
DRAW_KEY, DRAWS = struct.Struct("<qQQ"), struct.Struct("<3Q")


@dataclass(frozen=True)
class StubOptions:
    """What the stub answers, how slowly and how badly; every field is a flag, ``--latency-seconds`` for instance.

    A share is the part of requests with that fault. Whether a request has one, and how slow it is, depends on the
    seed, its body, and how often that body came before: a retry may succeed, and order plays no part.

    Args:
        port: 0 takes a free one.
        latency_seconds: From a request's last byte to its reply; up to 1 ms more, as the event loop's clock goes.
        tail_seconds: Mean of an exponential that is added to the latency.
        jitter_seconds: Upper end of a uniform that is added to the latency.
        tokens: In every reply, the end token among them, whatever ``max_tokens`` above 1 says.
        error_share: Status 500.
        reset_share: The connection is cut.
        malformed_share: The JSON ends half-way.
        empty_share: The end token alone.
        cut_share: As many tokens as any reply has, without an end.
        hang_share: No answer; the connection stays open.
        lasting_hang_share: The same, but whenever that body comes.
        named: The model that replies say they are from; ``stub`` is asked for.
        refuse_above: So many requests are open at once, the next are refused at once with 429; 0 refuses none.
        retry_after_seconds: What a refusal says in ``Retry-After``; 0 says nothing.
    """

    port: int = 0
    latency_seconds: float = 0.02
    tail_seconds: float = 0.0
    jitter_seconds: float = 0.0
    tokens: int = 200
    error_share: float = 0.0
    reset_share: float = 0.0
    malformed_share: float = 0.0
    empty_share: float = 0.0
    cut_share: float = 0.0
    hang_share: float = 0.0
    lasting_hang_share: float = 0.0
    named: str = "stub"
    refuse_above: int = 0
    retry_after_seconds: float = 0.0
    seed: int = 0


@contextmanager
def running_stub(options: StubOptions) -> Iterator[str]:
    """Run a stub in a process of its own, and give its url, which ends in /v1."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(options).items()]
    command = [sys.executable, "-m", "benchmarks.stub", *flags]
    root, pipe = Path(__file__).parents[1], subprocess.PIPE
    with subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            port = process.stdout.readline().decode().strip()
            assert port, f"starting the stub on port {options.port}: it ended; its standard error says why"
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


def read_stats(url: str) -> dict[str, Any]:
    """Return what a stub counted, one-token checks aside.

    ``requests`` were asked, refused ones among them, with ``distinct`` bodies, ``repeated`` of them beyond the first
    of their body; ``refused`` with 429; ``most_open`` at once; ``faults`` by kind; ``cpu_seconds`` since it began.
    """
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as answer:  # noqa: S310
        stats: dict[str, Any] = json.load(answer)
        return stats


class Stub:
    """What all connections share: the replies, the counts, and the rule of which request gets what and when."""

    def __init__(self, options: StubOptions) -> None:
        self.options, self.num_open, self.most_open, self.num_refused = options, 0, 0, 0
        self._asked, self._faults = Counter[int](), Counter[str]()
        texts = [write_tokens(options.tokens, variant) for variant in range(NUM_VARIANTS)]
        asked = list(product(KINDS, (False, True)))
        self._replies = {
            (kind, told): [reply_bytes(kind, tokens, told, options.named) for tokens in texts] for kind, told in asked
        }
        self._check = {(kind, told): reply_bytes(kind, [ONE_TOKEN], told) for kind, told in asked}
        after = options.retry_after_seconds
        self._refusal = error_response("429 Too Many Requests", f"Retry-After: {after:g}\r\n" if after else "")
        drawn = (*(f"{fault}_share" for fault in (*FAULTS, "lasting_hang")), "tail_seconds", "jitter_seconds")
        self._is_plain = not any(getattr(options, name) for name in drawn)

    def decide(self, kind: bytes, body: bytes) -> tuple[float, bytes | None]:
        """Return the seconds to wait and the bytes to send then: none cuts the connection, None waits for ever."""
        if ONE_TOKEN_ASKED.search(body):  # how a client checks a server: neither counted nor spoilt
            return self.options.latency_seconds, self._check[kind, LOGPROBS_ASKED.search(body) is not None]
        key = int.from_bytes(blake2b(body, digest_size=8).digest())
        self._asked[key] += 1
        if 0 < self.options.refuse_above <= self.num_open:
            self.num_refused += 1
            return 0.0, self._refusal
        reply = self._replies[kind, LOGPROBS_ASKED.search(body) is not None][key % NUM_VARIANTS]
        return (self.options.latency_seconds, reply) if self._is_plain else self._draw(kind, key, reply)

    def _draw(self, kind: bytes, key: int, reply: bytes) -> tuple[float, bytes | None]:
        """Return what ``decide`` does where there are faults or delays."""
        options = self.options
        if _draw(options.seed, key, 0)[0] < options.lasting_hang_share:
            self._faults["lasting_hang"] += 1
            return 1.0, None
        fault, tail, jitter = _draw(options.seed, key, self._asked[key])
        slow = options.jitter_seconds * jitter - options.tail_seconds * math.log(1 - tail)
        for name in FAULTS:
            fault -= getattr(options, f"{name}_share")
            if fault < 0:
                self._faults[name] += 1
                return options.latency_seconds + slow, spoil(name, kind, reply, options.tokens)
        return options.latency_seconds + slow, reply

    def page(self, target: bytes) -> bytes:
        """Return the answer to what is no completion. The prefix cache hits when a body comes again."""
        requests, distinct = self._asked.total(), len(self._asked)
        match target:
            case b"GET /health":
                return http_response("200 OK", b"")
            case b"GET /v1/models":
                return http_response("200 OK", {"object": "list", "data": [{"id": "stub", "root": "/models/stub"}]})
            case b"GET /metrics":
                counted = {"queries": requests, "hits": requests - distinct}
                return http_response("200 OK", "".join(metric_line(*each) for each in counted.items()).encode())
            case b"GET /stats":
                stats = {"requests": requests, "refused": self.num_refused, "most_open": self.most_open}
                stats |= {"distinct": distinct, "repeated": requests - distinct}
                return http_response("200 OK", stats | {"faults": self._faults, "cpu_seconds": time.process_time()})
        return error_response("404 Not Found")


def _draw(*named: int) -> tuple[float, ...]:
    """Return three draws that are uniform in [0, 1)."""
    digest = blake2b(DRAW_KEY.pack(*named), digest_size=DRAWS.size).digest()
    return tuple((bits >> 11) / 2**53 for bits in DRAWS.unpack(digest))


class Connection(asyncio.Protocol):
    """Finds the requests in what arrives, in whatever pieces, and answers one after the other."""

    def __init__(self, stub: Stub) -> None:
        self._stub, self._unread, self._is_open = stub, b"", False
        self._timer: asyncio.TimerHandle | None = None
        self._call_later = asyncio.get_running_loop().call_later

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread = self._unread + data if self._unread else data
        if not self._is_open:
            self._read_on()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._close()

    def _read_on(self) -> None:
        unread = self._unread
        begin = unread.find(b"\r\n\r\n") + 4
        if begin < 4:
            return
        head = unread[:begin]
        _, has_length, length = head.lower().partition(b"\r\ncontent-length:")
        end = begin + int(length[: length.index(b"\r\n")]) if has_length else begin
        if len(unread) >= end:
            self._unread = unread[end:]
            self._receive(head[: head.find(b" HTTP/")], unread[begin:end])

    def _receive(self, target: bytes, body: bytes) -> None:
        if target not in KINDS:
            return self._answer(self._stub.page(target))
        seconds, reply = self._stub.decide(target, body)
        if not seconds and reply is not None:
            return self._answer(reply)
        self._is_open = True
        self._stub.num_open += 1
        self._stub.most_open = max(self._stub.most_open, self._stub.num_open)
        if reply is not None:
            self._timer = self._call_later(seconds, self._answer, reply)

    def _answer(self, reply: bytes) -> None:
        self._close()
        if reply:
            self._transport.write(reply)
        else:
            self._transport.abort()
        if self._unread:
            self._read_on()

    def _close(self) -> None:
        self._stub.num_open -= self._is_open
        self._is_open, self._timer = False, None


async def serve(options: StubOptions) -> None:
    """Print the port and serve, until standard input ends if that is a pipe, else for ever."""
    loop, stub, ended = asyncio.get_running_loop(), Stub(options), asyncio.Event()
    # As many may connect at once as a client has in flight.
    server = await loop.create_server(lambda: Connection(stub), "127.0.0.1", options.port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    if stat.S_ISFIFO(os.fstat(0).st_mode):  # a shell's background job has /dev/null there, which ends at once
        loop.add_reader(0, ended.set)
    await ended.wait()


def _read_options() -> StubOptions:
    parser = argparse.ArgumentParser("python -m benchmarks.stub", description=__doc__)
    for option in fields(StubOptions):
        parser.add_argument(f"--{option.name.replace('_', '-')}", type=type(option.default), default=option.default)
    return StubOptions(**vars(parser.parse_args()))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(_read_options()))
