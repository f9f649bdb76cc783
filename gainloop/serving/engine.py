"""One thread with an event loop that asks for all shards of this process: together they keep the servers full."""

import asyncio
import concurrent.futures
import gc
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import uvloop

from gainloop.serving.metrics import meter_at
from gainloop.serving.opening import open_pool
from gainloop.serving.pool import Pool
from schemas.errors import GainloopError
from schemas.profile import Profile
from schemas.recipe import Recipe

T = TypeVar("T")

OBJECTS_PER_COLLECTION = 50_000
"""A reply is hundreds of objects and none in a cycle: Python's 700 took a third of the engine's CPU."""

_LOCK = threading.Lock()
_OPEN: dict[str, "Engine"] = {}


class Stopped(GainloopError):
    """Open requests were ended from outside, by a failure elsewhere or by a person."""


class Engine:
    """An open pool and the loop it lives in; ``run`` lends both to a coroutine, from any thread."""

    def __init__(self, profile: Profile, recipe: Recipe, folder: str | None) -> None:
        self.num_users = 0
        self._is_ended = False
        self._running: set[concurrent.futures.Future[Any]] = set()
        self._asked = (profile, recipe, folder)
        self._loop = uvloop.new_event_loop()
        # One thread a shard, which may wait for the store, and one for the addresses of hosts, which must not.
        self._loop.set_default_executor(ThreadPoolExecutor(profile.generation.shards_at_once + 1, "store"))
        self._pool: Pool | None = None
        self._error: BaseException | None = None
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._live(),), daemon=True)
        self._thread.start()

    def run(self, work: Callable[[Pool], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine with the pool in the engine's loop, and return what it returns.

        Raises:
            ServerError: The pool cannot answer.
        """
        running = asyncio.run_coroutine_threadsafe(work(self._opened()), self._loop)
        self._running.add(running)
        if self._is_ended:
            running.cancel()
        try:
            return running.result()
        except concurrent.futures.CancelledError:
            raise Stopped("generating: another shard failed or the run was stopped; what landed is kept.") from None
        except BaseException:  # a stop from outside: nothing goes on unseen
            running.cancel()
            raise
        finally:
            self._running.discard(running)

    @property
    def logprob_semantics(self) -> str:
        """What the generator's log-probabilities are of; see ``Generator``."""
        return self._opened().logprob_semantics

    @property
    def state(self) -> str:
        """How the servers do, in a few words; nothing before they are found."""
        return self._pool.state if self._pool else ""

    def _opened(self) -> Pool:
        self._ready.wait()
        if self._error:
            raise self._error
        assert self._pool is not None
        return self._pool

    def cancel_all(self) -> None:
        """End all open requests; who waits for one gets ``Stopped``."""
        self._is_ended = True
        for work in list(self._running):
            work.cancel()

    def stop(self) -> None:
        """Close the pool, end the thread."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    async def _live(self) -> None:
        before = gc.get_threshold()
        gc.freeze()  # what was imported is never looked at again
        gc.set_threshold(OBJECTS_PER_COLLECTION, 20, 100)
        try:
            async with open_pool(*self._asked) as self._pool:
                with counted(self._pool):
                    self._ready.set()
                    await self._over.wait()
                    running = asyncio.all_tasks() - {asyncio.current_task()}
                    for task in running:
                        task.cancel()
                    await asyncio.gather(*running, return_exceptions=True)
        except BaseException as error:  # every user of the engine gets it
            self._error = error
        finally:
            await self._loop.shutdown_default_executor()
            gc.unfreeze()
            gc.set_threshold(*before)
            self._ready.set()


@contextmanager
def counted(pool: Pool) -> Iterator[None]:
    """Have what is asked of a pool counted for Prometheus in the block, if its profile names a port for that."""
    port = pool.bounds.metrics_port
    meter = meter_at(port) if port else None
    let_go = meter.watch(pool) if meter else None
    try:
        yield
    finally:
        if let_go:
            let_go()


@contextmanager
def engine(profile: Profile, recipe: Recipe, folder: str | None, for_all: bool = False) -> Iterator[Engine]:
    """Give the process's engine for a recipe's generator: the one there is, or a new one.

    The last who leaves stops it.

    Args:
        for_all: An error in this block stops it for all others too.
    """
    key = f"{profile.serving!r} {profile.generation!r} {recipe.model} {recipe.revision} {recipe.players!r} {folder}"
    with _LOCK:
        if key not in _OPEN:
            _OPEN[key] = Engine(profile, recipe, folder)
        lent = _OPEN[key]
        lent.num_users += 1
    try:
        yield lent
    except BaseException:
        if for_all:
            lent.cancel_all()
        raise
    finally:
        with _LOCK:
            lent.num_users -= 1
            is_last = lent.num_users == 0
            if is_last:
                del _OPEN[key]
        if is_last:
            lent.stop()
