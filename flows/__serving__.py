"""The pages of a profile's folder, over HTTP: ``gainloop serve``. Links on Prefect's pages lead here."""

import socket
from contextlib import suppress
from errno import EADDRINUSE
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from schemas.errors import BadInput
from schemas.profile import Profile

PAGES = (".html", ".js", ".json", ".jsonl", ".png", ".svg", ".css")
"""Ends of the names of what is shown: reports with records and matches, not the store, replies or weights."""

CONTENT = "default-src 'self' 'unsafe-inline' data:"
"""A page of a report asks nobody else for anything."""

OVERVIEW = "/batches/index.html"


class Pages(StaticFiles):
    """The pages in a folder, and no other file of it."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        parts = Path(path).parts
        if not path.endswith(PAGES) or any(part.startswith(".") for part in parts):
            raise HTTPException(404)
        answer = await super().get_response(path, scope)
        answer.headers["Content-Security-Policy"] = CONTENT
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer


def make_site(profile: Profile, host: str) -> Starlette:
    """Return the site of a profile's folder; requests for other hosts than its own are refused.

    Raises:
        BadInput: The folder is not on this machine.
    """
    if "://" in profile.folder:
        raise BadInput(
            f"serving the pages of profile {profile.name!r}: its folder is {profile.folder}; a folder of this machine "
            "is allowed. Open the pages where they are, and set the profile's pages to that place's address."
        )
    Path(profile.folder).mkdir(parents=True, exist_ok=True)
    named = {urlsplit(profile.pages).hostname or "", host, "localhost", "127.0.0.1"}
    below = urlsplit(profile.pages).path.rstrip("/")
    return Starlette(
        routes=[
            Route(f"{below}/", lambda _: RedirectResponse(f"{below}{OVERVIEW}")),
            Mount(below, Pages(directory=profile.folder)),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=sorted(named - {"", "0.0.0.0"}))],  # noqa: S104
    )


def listen(profile: Profile, host: str) -> socket.socket:
    """Return a socket at the port of the profile's ``pages``.

    Args:
        host: Address that is listened at; 0.0.0.0 shows the pages to everybody who reaches this machine.

    Raises:
        BadInput: The port is taken, or may not be taken.
    """
    where = urlsplit(profile.pages)
    port = where.port or (443 if where.scheme == "https" else 80)
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        said = (error.strerror or str(error)).partition(" (while")[0]  # the rest says the address again
        by = ", perhaps by another `gainloop serve`" if error.errno == EADDRINUSE else ""
        raise BadInput(
            f"serving the pages of profile {profile.name!r} at {host}, port {port}: {said}{by}; a free port "
            "of this machine is allowed. Set pages in the profile to another port, or host to another address."
        ) from error


def serve(profile: Profile, host: str, listener: socket.socket) -> None:
    """Serve the pages at a socket until the process is told to end."""
    server = uvicorn.Server(uvicorn.Config(make_site(profile, host), log_level="warning"))
    with listener, suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
