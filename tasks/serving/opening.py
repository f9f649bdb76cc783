"""From a profile to something that answers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from schemas.errors import BadInput
from schemas.profile import Embedded, LocalVLLM, Profile, Servers
from schemas.recipe import Recipe
from tasks.serving import Generator

if TYPE_CHECKING:
    from tasks.serving.embedded import EmbeddedEngine


@contextmanager
def served(profile: Profile, recipe: Recipe, folder: str | None) -> Iterator[Profile]:
    """Start what a batch needs to be running, give the profile that reaches it, stop it at the end.

    Only a profile that starts its own vLLM server needs anything: it becomes one of a running server.

    Args:
        folder: The generator's weights; None for a model that servers have already.

    Raises:
        BadInput: The profile cannot serve the recipe's model.
        ServerError: The server did not start.
    """
    place = profile.serving
    if isinstance(place, Servers) and folder is not None:
        raise BadInput(
            f"generating with checkpoint {recipe.revision} on profile {profile.name!r}: its servers are running "
            "already and cannot load it; a profile whose serving.kind is embedded or vllm can. "
            "Use such a profile, or set served_model to a model that the servers have."
        )
    if not isinstance(place, LocalVLLM):
        yield profile
    else:
        assert folder is not None
        from tasks.serving.vllm import serve_vllm

        with serve_vllm(place, folder, recipe.model) as url:
            running = Servers(urls=[url], api_key_variable="", concurrency_limit=place.concurrency_limit)
            yield profile.model_copy(update={"serving": running})


@asynccontextmanager
async def open_generator(profile: Profile, recipe: Recipe, folder: str | None) -> AsyncIterator[Generator]:
    """Give the generator of a recipe, found able to answer.

    Raises:
        ServerError: It is down, has another model, or gives no log-probabilities.
    """
    match profile.serving:
        case Servers() as place:
            from tasks.serving.servers import connect_servers

            async with connect_servers(place, recipe.model, recipe.revision) as servers:
                await servers.check()
                yield servers
        case Embedded() as place:
            assert folder is not None
            yield _engine(folder, recipe.model, recipe.revision, place.device)
        case LocalVLLM():
            raise AssertionError("a profile that starts its own server is opened inside served()")


async def served_revision(profile: Profile, model: str, revision: str = "") -> str:
    """Return what the running servers say identifies a model that they have under a name.

    Raises:
        BadInput: The profile has no running servers.
        ServerError: They are down, do not have it, or give no log-probabilities.
    """
    from tasks.serving.servers import connect_servers

    if not isinstance(profile.serving, Servers):
        raise BadInput(
            f"looking for the served model {model!r}: profile {profile.name!r} has no running servers; "
            "its serving.kind must be servers. Use such a profile, or leave served_model empty."
        )
    async with connect_servers(profile.serving, model, revision) as servers:
        await servers.check()
        return servers.revision


@lru_cache(maxsize=1)
def _engine(folder: str, model: str, revision: str, device: str) -> "EmbeddedEngine":
    """Load a model once for all shards of a batch."""
    from tasks.serving.embedded import EmbeddedEngine

    return EmbeddedEngine(folder, model, revision, device)
