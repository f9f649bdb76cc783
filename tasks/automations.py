"""Automations of a Prefect server: made of the project's files, once however often it is asked for."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from httpx import TransportError
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from schemas.errors import BadInput
from schemas.masking import keep_secret

URL_VARIABLE: Final = "GAINLOOP_ALERT_URL"
"""Environment variable that holds the url alerts are posted to; whoever knows such a url can often post there."""

BLOCK: Final = "gainloop-alerts"
"""Name of the Webhook block that keeps the url on the server."""

FILES: Final = ("automations.yaml", "automations-off.yaml")


def make_automations(folder: Path) -> list[str]:
    """Make what the project's files of automations say, or bring it up to date; returns a line for each.

    Whether one is switched on is left as it is. Alerts are left out if there is no url to post them to.

    Raises:
        BadInput: There is no server, the url is none, or a deployment that is to be started is not deployed.
    """
    try:
        if not PREFECT_API_URL.value():
            raise ConnectionError("no server is named")
        with get_client(sync_client=True) as client:
            block = save_url(os.environ.get(URL_VARIABLE, ""))
            return [make_one(client, block, one) for one in read_automations(folder)]
    except (ConnectionError, TransportError) as error:
        raise BadInput(
            f"making automations: {error}; the Prefect server that PREFECT_API_URL names must be up. Start it with "
            "`prefect server start`, and run `prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api`."
        ) from error


def read_automations(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the automations of the project's files."""
    for name in FILES:
        yield from yaml.safe_load((folder / name).read_text(encoding="utf-8"))["automations"]


def save_url(url: str) -> str:
    """Keep the url of alerts on the server, unless it is empty; returns the id of its block, empty if there is none."""
    if url and not url.startswith(("http://", "https://")):
        raise BadInput(
            f"making alerts: {URL_VARIABLE} holds no url of a webhook; http:// and https:// are allowed. Set it anew."
        )
    if url:
        keep_secret(url)
        hook = Webhook(method="POST", url=SecretStr(url), headers={"Content-Type": "application/json"})
        return str(hook.save(BLOCK, overwrite=True))
    try:
        kept = Webhook.load(BLOCK)
    except ValueError:
        return ""
    assert isinstance(kept, Webhook)  # outside an event loop Prefect answers at once
    return str(kept._block_document_id)


def make_one(client: SyncPrefectClient, block: str, told: dict[str, Any]) -> str:
    """Make an automation or bring it up to date; returns what became of it."""
    name = str(told["name"])
    if not block and any(action["type"] == "call-webhook" for action in told["actions"]):
        return f"left out, for {URL_VARIABLE} is not set: {name}"
    actions = [find_named(client, block, action) for action in told["actions"]]
    made = AutomationCore.model_validate({**told, "actions": actions})
    found = client.read_automations_by_name(name)
    for one in found:
        client.update_automation(one.id, made.model_copy(update={"enabled": one.enabled}))
    if not found:
        client.create_automation(made)
    is_on = found[0].enabled if found else made.enabled
    return f"{'brought up to date' if found else 'made'}, {'on' if is_on else 'off'}: {name}"


def find_named(client: SyncPrefectClient, block: str, action: dict[str, Any]) -> dict[str, Any]:
    """Return an action with the id of the block or the deployment that it names."""
    if action["type"] == "call-webhook":
        return {**action, "block_document_id": block}
    if "deployment" not in action:
        return action
    rest = {key: value for key, value in action.items() if key != "deployment"}
    try:
        return {**rest, "deployment_id": str(client.read_deployment_by_name(action["deployment"]).id)}
    except ObjectNotFound as error:
        raise BadInput(
            f"making automations: there is no deployment {action['deployment']!r}; those of prefect.yaml are meant. "
            "Run `prefect --no-prompt deploy --all` first."
        ) from error
