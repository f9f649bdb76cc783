"""A Prefect server that stays up between runs, so that none waits for one of its own: ``gainloop up``."""

import subprocess
import sys
import time

import httpx
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_API_HOST,
    PREFECT_SERVER_API_PORT,
    update_current_profile,
)

from schemas.errors import ServerError
from schemas.masking import mask

STARTING_SECONDS = 60.0


def keep_server() -> str:
    """Have a Prefect server up, and runs of this user use it from now on; return what was done.

    Raises:
        ServerError: The one that PREFECT_API_URL names does not answer, or none can be started.
    """
    named = PREFECT_API_URL.value()
    url = named or f"http://{PREFECT_SERVER_API_HOST.value()}:{PREFECT_SERVER_API_PORT.value()}/api"
    if is_up(url):
        done = "was up already"
    elif named and not is_own(named):
        raise ServerError(
            f"looking for the Prefect server at {named}: it does not answer; the one that PREFECT_API_URL names must "
            "be up. Start it where it runs, or unset PREFECT_API_URL (`prefect config unset PREFECT_API_URL`)."
        )
    else:
        start(url)
        done = "is up"
    if not named:
        update_current_profile({"PREFECT_API_URL": url})
    return (
        f"Prefect server {done}, at {url.removesuffix('/api')}: runs use it from now on. `prefect server stop` ends "
        "it, `prefect config unset PREFECT_API_URL` gives each run a server of its own again"
    )


def is_own(url: str) -> bool:
    """Tell whether a server at this address would be the one that is started here."""
    port = httpx.URL(url).port or 80
    return httpx.URL(url).host in ("127.0.0.1", "localhost") and port == PREFECT_SERVER_API_PORT.value()


def is_up(url: str) -> bool:
    """Tell whether a Prefect server answers."""
    try:
        return bool(httpx.get(f"{url}/health", timeout=2).json() is True)
    except (httpx.HTTPError, ValueError):
        return False


def start(url: str) -> None:
    """Start a Prefect server in the background, and return when it answers.

    Raises:
        ServerError: It does not; the message ends with what Prefect says.
    """
    asked = [sys.executable, "-m", "prefect", "--no-prompt", "server", "start", "--background"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    deadline = time.monotonic() + STARTING_SECONDS
    while not told.returncode and time.monotonic() < deadline:
        if is_up(url):
            return
        time.sleep(0.1)
    said = " ".join((told.stdout + told.stderr).split()) if told.returncode else "it does not answer"
    raise ServerError(
        mask(
            f"starting a Prefect server at {url}: {said[-400:].rstrip('.')}; its port must be free and its database "
            "sound. Run `prefect server stop` and try again, or set PREFECT_SERVER_API_PORT to another port."
        )
    )
