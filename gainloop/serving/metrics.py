"""What the engine counts, for Prometheus: at a port of this process, where the profile names one."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gainloop.serving.driver import Progress
from gainloop.serving.pool import Pool
from gainloop.serving.watch import Tally

HOST: Final = "127.0.0.1"
"""Address that is listened at: what is open and how much was spent is for this machine, unless a proxy hands it on."""

COUNTS: Final[dict[str, tuple[str, Callable[[Progress], int]]]] = {
    "requests_sent": (
        "Requests sent to servers, second tries and stragglers' copies too.",
        lambda of: of.requests_sent,
    ),
    "retries": ("Requests sent again after a fault.", lambda of: of.retries),
    "refusals": ("Requests that a server had no room for.", lambda of: of.refusals),
    "hedges": ("Requests sent a second time beside a straggler.", lambda of: of.hedges),
    "replies": ("Replies that are on disk.", lambda of: of.replies),
    "replies_reused": ("Replies that were on disk before.", lambda of: of.replies_reused),
    "prompt_tokens": ("Tokens of the prompts of these replies.", lambda of: of.prompt_tokens),
    "completion_tokens": ("Tokens of these replies.", lambda of: of.completion_tokens),
    "lost_tokens": (
        "Tokens that attempts without a reply may have taken, where a budget counts.",
        lambda of: of.lost_tokens,
    ),
    "anchors": ("Anchors that are done.", lambda of: of.anchors_done),
    "records": ("Records made.", lambda of: of.records),
}
"""Counters by name: their help, and where they stand in what a driver counts."""

logger = logging.getLogger("gainloop.metrics")


@dataclass
class _Watched:
    """The drivers of one pool, and the pool itself while it is open: its weights may be gone afterwards.

    What drivers count stands under the generator's model, whichever model answered; what is open and up, under its own.
    """

    model: str
    models: tuple[str, ...]
    driven: list[Tally]
    pool: Pool | None

    @property
    def counted(self) -> list[Progress]:
        return [one for one in list(self.driven) if isinstance(one, Progress)]


@dataclass(eq=False)
class Meter(Collector):
    """Sums over all pools that this process has had, by model; read by the thread that answers Prometheus."""

    _watched: list[_Watched] = field(default_factory=list)

    def watch(self, pool: Pool) -> Callable[[], None]:
        """Count what the drivers of a pool do, from its first to its last; returns how to let the pool itself go."""
        one = _Watched(pool.model, tuple(each.model for each in pool.pools), pool.driven, pool)
        self._watched.append(one)

        def let_go() -> None:
            one.pool = None

        return let_go

    def collect(self) -> Iterator[Metric]:
        """Yield every figure, as Prometheus asks for them."""
        watched = list(self._watched)
        for name, (about, count) in COUNTS.items():
            family = CounterMetricFamily(f"gainloop_{name}", about, labels=["model"])
            for model, number in _summed(watched, count).items():
                family.add_metric([model], number)
            yield family
        yield _drops(watched)
        yield _gauge(watched, "requests_open", "Requests that are open at servers now.", lambda pool: pool.num_open)
        yield _gauge(
            watched, "servers_up", "Servers, or models in this process, that are up.", lambda pool: pool.num_up
        )


def _summed(watched: list[_Watched], count: Callable[[Progress], int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in watched:
        found[one.model] += sum(count(progress) for progress in one.counted)
    return found


def _drops(watched: list[_Watched]) -> Metric:
    found: Counter[tuple[str, str]] = Counter()
    for one in watched:
        for progress in one.counted:
            found.update({(one.model, reason): count for reason, count in dict(progress.drops).items()})
    family = CounterMetricFamily(
        "gainloop_drops", "Replies and anchors that gave no record.", labels=["model", "reason"]
    )
    for (model, reason), count in sorted(found.items()):
        family.add_metric([model, reason], count)
    return family


def _gauge(watched: list[_Watched], name: str, about: str, read: Callable[[Pool], int]) -> Metric:
    found: Counter[str] = Counter()
    for one in watched:
        found.update(dict.fromkeys(one.models, 0))
        held = one.pool  # another thread may let it go meanwhile
        for pool in held.pools if held else ():
            found[pool.model] += read(pool)
    family = GaugeMetricFamily(f"gainloop_{name}", about, labels=["model"])
    for model, number in found.items():
        family.add_metric([model], number)
    return family


_METERS: dict[int, Meter | None] = {}
"""By port: what answers there for as long as this process lives; None where another process has the port."""


def meter_at(port: int) -> Meter | None:
    """Return what counts for a port, listening there from the first time on; None if the port cannot be had.

    A run goes on without it: another run of this machine may have the port.
    """
    if port not in _METERS:
        _METERS[port] = _listen(port)
    return _METERS[port]


def _listen(port: int) -> Meter | None:
    meter, registry = Meter(), CollectorRegistry()
    registry.register(meter)
    try:
        start_http_server(port, HOST, registry)
    except OSError as error:
        logger.warning(
            "Counting for Prometheus at %s:%d: %s; a free port of this machine is needed. The run goes on without. "
            "Set generation.metrics_port to another one, or to none.",
            *(HOST, port, error.strerror or error),
        )
        return None
    logger.info("What the engine counts is at http://%s:%d/metrics.", HOST, port)
    return meter
