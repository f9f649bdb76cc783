"""From a profile to something that answers."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from gainloop.serving import wire
from gainloop.serving.endpoint import Endpoint
from gainloop.serving.pool import Pool
from gainloop.serving.server import Server
from schemas.errors import BadInput
from schemas.masking import keep_secret
from schemas.profile import Embedded, EmbeddingServers, Generation, LocalVLLM, Profile, Servers
from schemas.recipe import Recipe

if TYPE_CHECKING:
    from gainloop.serving.embedded import EmbeddedEngine


@contextmanager
def started(profile: Profile, recipe: Recipe, folder: str | None) -> Iterator[Profile]:
    """Start what a batch needs to be running, give the profile that reaches it, stop it at the end.

    Only a profile that starts its own vLLM server needs anything: it becomes one of a running server.

    Args:
        folder: The generator's weights; None for a model that servers have already.

    Raises:
        BadInput: The profile cannot serve the recipe's model.
        ServerError: The server did not start.
    """
    serving = profile.serving
    if isinstance(serving, Servers) and folder is not None:
        raise BadInput(
            f"generating with checkpoint {recipe.revision} on profile {profile.name!r}: its servers are running "
            "already and cannot load it; a profile whose serving.kind is embedded or vllm can. "
            "Use such a profile, or set generator.model to a model that the servers have."
        )
    if not isinstance(serving, LocalVLLM):
        yield profile
    else:
        assert folder is not None
        from gainloop.serving.vllm import serve_vllm

        with serve_vllm(serving, folder, recipe.model) as url:
            running = Servers(urls=[url], api_key_variable="", concurrency_limit=serving.concurrency_limit)
            yield profile.model_copy(update={"serving": running})


def connect(profile: Profile, recipe: Recipe, folder: str | None) -> Pool:
    """Return the pool of a recipe's generator; it belongs to the event loop that it is entered in."""
    match profile.serving:
        case Servers() as servers:
            return _connect_all(servers, profile.generation, recipe)
        case Embedded() as embedded:
            if folder is None:
                raise BadInput(
                    f"asking {recipe.model!r} on profile {profile.name!r}: servers have that model, and this profile "
                    "has none; a checkpoint of its store is needed there. Use the profile whose servers made the batch."
                )
            return Pool([_engine(folder, recipe.model, recipe.revision, embedded.device)], profile.generation)
        case LocalVLLM():
            raise AssertionError("a profile that starts its own server is opened inside served()")


@asynccontextmanager
async def open_pool(profile: Profile, recipe: Recipe, folder: str | None) -> AsyncIterator[Pool]:
    """Give the pool of a recipe's generator, found able to answer.

    Raises:
        ServerError: It is down, has another model, or gives no log-probabilities.
    """
    async with connect(profile, recipe, folder) as pool:
        await pool.check()
        yield pool


def connect_servers(servers: Servers, bounds: Generation, model: str, revision: str = "") -> Pool:
    """Return the pool of a profile's servers."""
    return Pool(_servers(servers, model, revision), bounds)


def _connect_all(servers: Servers, bounds: Generation, recipe: Recipe) -> Pool:
    """Return the pool of a recipe's generator, with those of the models that play a part in its place."""
    named = {role: recipe.played_by(role) for role in recipe.players}
    pools = {one: connect_servers(servers, bounds, *one) for one in set(named.values())}
    players = {role: pools[one] for role, one in named.items()}
    return Pool(_servers(servers, recipe.model, recipe.revision), bounds, players)


def _servers(servers: Servers, model: str, revision: str = "") -> list[Server]:
    """Return a profile's servers."""
    key = read_key(servers)
    return [Server(url, model, revision, key, servers.logprobs) for url in servers.urls_of(model)]


def read_key(servers: Servers | EmbeddingServers) -> str:
    """Return the key from the environment variable that a profile names; "none" if it is not set.

    Raises:
        BadInput: No header can carry it.
    """
    key = os.environ.get(servers.api_key_variable, "").strip() or "none"
    if not (key.isascii() and key.isprintable()):
        raise BadInput(
            f"reading the servers' key from {servers.api_key_variable}: it has characters that no "
            "HTTP header may have; printable ASCII is allowed. Set the variable to the key alone."
        )
    keep_secret(key)
    return key


async def count_cached(servers: Servers, model: str) -> tuple[float, float] | None:
    """Return the prompt tokens that the servers found in their prefix caches, and those that they looked for.

    They count since they started; None if one of them does not say.
    """
    connected = _servers(servers, model)
    counts = await asyncio.gather(*(server.cache_counts() for server in connected))
    await asyncio.gather(*(server.close() for server in connected))
    known = [count for count in counts if count is not None]
    return (sum(hits for hits, _ in known), sum(all_ for _, all_ in known)) if len(known) == len(counts) else None


async def served_revision(profile: Profile, model: str, revision: str = "") -> str:
    """Return what the running servers say identifies a model that they have under a name.

    Raises:
        BadInput: The profile has no running servers.
        ServerError: They are down, do not have it, or give no log-probabilities.
    """
    if not isinstance(profile.serving, Servers):
        raise BadInput(
            f"looking for the served model {model!r}: profile {profile.name!r} has no running servers; "
            "its serving.kind must be servers. Use such a profile, or set generator.kind to own."
        )
    async with connect_servers(profile.serving, profile.generation, model, revision) as pool:
        await pool.check()
        return pool.revision


@lru_cache(maxsize=1)
def _engine(folder: str, model: str, revision: str, device: str) -> "EmbeddedEngine":
    """Load a model once for all shards of a batch."""
    from gainloop.serving.embedded import EmbeddedEngine

    return EmbeddedEngine(folder, model, revision, device)


async def list_served(url: str, key: str) -> list[str]:
    """Return the names of the models that a server has, in its order.

    Raises:
        ServerError: It cannot be asked.
    """
    endpoint = Endpoint(url, key)
    try:
        return list(await endpoint.patiently("its models", "models", None, wire.read_models))
    finally:
        await endpoint.close()
