"""The files of automations: what they name is there, and a message says what is missing."""

from pathlib import Path

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_URL, temporary_settings

from schemas.errors import BadInput
from tasks.automations import FILES, make_automations, read_automations, save_url
from tests.conftest import ROOT

SOME_ID = "9100c7a9-f4e8-43e8-b10c-cf0ad1f97a3d"
FILLED = {"call-webhook": {"block_document_id": SOME_ID}, "run-deployment": {"deployment_id": SOME_ID}}


def test_every_automation_is_one_that_prefect_takes_and_has_a_name_of_its_own() -> None:
    told = list(read_automations(ROOT))
    assert len({one["name"] for one in told}) == len(told) == 8
    for one in told:
        actions = [{**action, **FILLED.get(action["type"], {})} for action in one["actions"]]
        for action in actions:
            action.pop("deployment", None)
        AutomationCore.model_validate({**one, "actions": actions})


def test_what_may_disturb_somebody_is_off_and_looks_at_runs_of_this_project_alone() -> None:
    off = yaml.safe_load((ROOT / FILES[1]).read_text())["automations"]
    assert not [one["name"] for one in off if one["enabled"]]
    for one in off:
        related = one["trigger"]["match_related"]
        named = {part["prefect.resource.id"] for part in related} if isinstance(related, list) else set()
        assert {"prefect.tag.gainloop", "prefect.deployment.*"} == named or related["prefect.resource.name"]


def test_what_waits_for_silence_waits_for_each_of_something_or_it_would_act_on_the_silence_before() -> None:
    waiting = [one["trigger"] for one in read_automations(ROOT) if one["trigger"]["posture"] == "Proactive"]
    assert len(waiting) == 6
    assert all(one["for_each"] and one["after"] for one in waiting)


def test_a_deployment_that_an_automation_names_is_one_of_the_project() -> None:
    deployed = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    known = {f"{one['entrypoint'].rpartition(':')[2]}/{one['name']}" for one in deployed}
    told = list(read_automations(ROOT))
    assert {action["deployment"] for one in told for action in one["actions"] if "deployment" in action} <= known
    names = {one["trigger"]["match_related"]["prefect.resource.name"] for one in told if "snapshot" in one["name"]}
    assert names <= {one["name"] for one in deployed}


def test_without_a_server_the_message_says_how_to_get_one() -> None:
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(BadInput, match="no server is named; the Prefect server that PREFECT_API_URL names must be up"),
    ):
        make_automations(Path(ROOT))


def test_what_is_no_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadInput, match="GAINLOOP_ALERT_URL holds no url") as refused:
        save_url("hunter2")
    assert "hunter2" not in str(refused.value)
