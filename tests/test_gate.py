"""What the store and the pages hold of the gate's decisions."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gainloop.steering.gate import as_markdown, require_not_held
from gainloop.store import Store
from gainloop.store.batches import complete_stage, page_of
from gainloop.store.files import read_file
from gainloop.store.measurements import read_history, save_decision, save_measurement
from schemas.decision import Decision
from schemas.errors import Held
from schemas.profile import Gate, Profile, load_profile
from schemas.report import Report
from tasks.report import decide_on, measure_once, save_report
from tests.evidence import make_evidence, save_evidence
from tests.examined import make_examined, save_examined
from tests.reports.test_page import Reader
from tests.small_run import write_profile
from tests.test_bad_input import HOUSE_FORM

LENIENT = Gate(no_closer=None)
"""The records of the made-up batch are no closer to their own anchors than to others."""

EVIDENCE = make_evidence(num_anchors=24)
BATCH, TRAINING = EVIDENCE.batch_id, EVIDENCE.training_id


@pytest.fixture
def place(store: Store, profile: Profile) -> Profile:
    """A profile whose store holds a batch that was generated, validated, scored, trained on and examined: it lost."""
    save_evidence(store, profile, EVIDENCE)
    save_examined(store, BATCH, make_examined(right={"start": 0.27, "synthetic": 0.3, "baseline": 0.6}))
    return profile


def decided(store: Store, place: Profile, training_id: str = "", release: str = "") -> Decision:
    return decide_on(store, place.gate, measure_once(store, BATCH, training_id), release)


def states(store: Store) -> list[str]:
    return store.query("select state from decisions order by decided_at")["state"].to_list()


def shown(store: Store) -> str:
    return Reader(read_file(page_of(store, BATCH)).decode()).text


def test_a_held_batch_is_refused_with_figure_threshold_report_and_way_out(store: Store, place: Profile) -> None:
    decision = decided(store, place)
    with pytest.raises(Held) as error:
        require_not_held(decision, page_of(store, BATCH))
    assert HOUSE_FORM.fullmatch(str(error.value))
    (veto,) = decision.vetoes
    assert (veto.key, veto.words in str(error.value)) == ("no_closer", True)
    for part in (BATCH, veto.figure.interval, "above 25 %", page_of(store, BATCH), '--release "why"'):
        assert part in str(error.value)


def test_a_batch_is_decided_once_and_its_release_is_a_row_of_its_own(store: Store, place: Profile) -> None:
    held = decided(store, place)
    assert decided(store, place) == held
    assert states(store) == ["held"]
    released = decided(store, place, release="Ada: to see what comes of it")
    require_not_held(released, "")
    assert states(store) == ["held", "released"]
    assert decided(store, place) == decided(store, place, release="another reason") == released
    assert states(store) == ["held", "released"]
    assert released.release == "Ada: to see what comes of it"


def test_a_release_of_a_batch_that_is_not_held_is_no_release(store: Store, place: Profile) -> None:
    lenient = place.model_copy(update={"gate": LENIENT})
    decision = decided(store, lenient, release="just in case")
    assert (decision.state, decision.release, states(store)) == ("undecided", "", ["undecided"])
    assert decided(store, place).state == "held"


def test_another_threshold_is_another_decision(store: Store, place: Profile) -> None:
    assert decided(store, place).state == "held"
    assert decided(store, place.model_copy(update={"gate": LENIENT})).state == "undecided"
    assert decided(store, place).state == "held"


def test_a_release_is_remembered_where_the_batch_is_measured_again_and_after_training(
    store: Store, place: Profile
) -> None:
    decided(store, place, release="to see")
    complete_stage(store, BATCH, "yardstick", {"start": "s", "url": yardstick(place)}, "s")
    again = decided(store, place)
    assert (again.state, again.release) == ("released", "to see")
    after = decided(store, place, TRAINING)
    assert (after.state, after.release) == ("rejected", "to see")


def test_before_training_noise_is_judged_by_the_start_that_scored_the_anchors(store: Store, place: Profile) -> None:
    def noise() -> Any:
        return next(reason for reason in decided(store, place).reasons if reason.key == "noise")

    assert (noise().outcome, noise().threshold) == ("not known", None)
    complete_stage(store, BATCH, "yardstick", {"start": "s", "url": yardstick(place)}, "s")
    anchors = measure_once(store, BATCH, "").entropy.anchors
    assert (noise().outcome, noise().threshold) == ("passes", 1.5 * anchors.high)


def yardstick(place: Profile) -> str:
    return f"{place.folder}/scores/{TRAINING}-start-anchors.parquet"


def test_the_page_and_the_json_beside_it_follow_the_decision(store: Store, place: Profile) -> None:
    page = Path(save_report(store, place.gate, BATCH, ""))
    held = decided(store, place)
    assert "The gate: held" in shown(store)
    for reason in held.reasons:
        assert reason.found in shown(store)
        assert reason.whole_rule in shown(store)
    assert Decision.model_validate_json(page.with_name("decision.json").read_text()) == held
    measured = page.with_name("report.json").read_text()

    released = decided(store, place, release="<b>to see</b>")
    save_report(store, place.gate, BATCH, "")
    assert "The gate: released" in shown(store)
    assert '"<b>to see</b>"' in shown(store)
    assert Decision.model_validate_json(page.with_name("decision.json").read_text()) == released
    assert page.with_name("report.json").read_text() == measured
    assert Report.model_validate_json(measured).batch == BATCH

    save_report(store, place.gate, BATCH, TRAINING)
    assert "The gate: rejected" in shown(store)


def test_the_markdown_is_the_headline_and_one_row_a_reason(store: Store, place: Profile) -> None:
    decision = decided(store, place, TRAINING)
    lines = as_markdown(decision).splitlines()
    assert lines[0] == f"**{decision.headline}**"
    assert len(lines) == 4 + len(decision.reasons)
    assert lines[-1].endswith("| not known |")
    assert [line.rsplit("| ", 1)[1] for line in lines[4:6]] == ["vetoes |", "rejects |"]


NOW = "batch of now"


def measured(store: Store, batch_id: str, recipe: dict[str, Any]) -> None:
    """Begin a batch with a report of 7 bits per byte and a later one of 5; the clock is set back before each."""
    report = measure_once(store, BATCH, "")
    at = EVIDENCE.measured_at - timedelta(days=1)
    begin(store, batch_id, recipe, at)
    for earlier, bits in ((0, 7.0), (1, 5.0)):
        rate = report.delta_i.bits_per_byte.model_copy(update={"value": bits})
        changed = {"batch": batch_id, "created": at - timedelta(hours=earlier)}
        changed |= {"delta_i": report.delta_i.model_copy(update={"bits_per_byte": rate})}
        save_measurement(store, report.model_copy(update=changed), str(bits))


def test_history_is_of_earlier_batches_of_the_same_method_and_of_the_latest_report_of_each(
    store: Store, place: Profile
) -> None:
    measured(store, "other", EVIDENCE.recipe | {"method": {"kind": "sbp"}})
    measured(store, "earlier", EVIDENCE.recipe)
    begin(store, NOW, EVIDENCE.recipe, EVIDENCE.measured_at - timedelta(days=9))
    measured(store, "later", EVIDENCE.recipe)
    first = measure_once(store, BATCH, "").delta_i.bits_per_byte.value
    assert [figure.value for figure in read_history(store, NOW)] == [first, 5.0]
    assert [figure.value for figure in read_history(store, BATCH)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"model": "another"},
        {"revision": "another"},
        {"sampling": EVIDENCE.recipe["sampling"] | {"temperature": 0.5}},
        {"sampling": EVIDENCE.recipe["sampling"] | {"top_p": 0.9}},
        {"snapshot_id": "of another source"},
    ],
)
def test_batches_of_another_generator_sampling_or_source_are_no_yardstick(
    store: Store, place: Profile, change: dict[str, Any]
) -> None:
    measure_once(store, BATCH, "")
    begin(store, NOW, EVIDENCE.recipe | change, EVIDENCE.measured_at)
    assert read_history(store, NOW) == []


def test_snapshots_of_one_source_are_one_yardstick(store: Store, place: Profile) -> None:
    row = {"source_id": "s", "source": "{}", "heldout_fraction": 0.0, "created_at": EVIDENCE.measured_at}
    row |= {"num_anchors": 1, "num_heldout": 0, "num_bytes": 1}
    store.insert(snapshots=[row | {"snapshot_id": name} for name in ("grown", EVIDENCE.recipe["snapshot_id"])])
    measure_once(store, BATCH, "")
    begin(store, NOW, EVIDENCE.recipe | {"snapshot_id": "grown"}, EVIDENCE.measured_at)
    assert len(read_history(store, NOW)) == 1


@pytest.mark.parametrize(
    ("key", "state", "known"), [("noise", "held", 0), ("noise", "released", 1), ("collapsed", "released", 0)]
)
def test_held_and_collapsed_batches_are_no_yardstick(
    store: Store, place: Profile, key: str, state: str, known: int
) -> None:
    measured(store, "earlier", EVIDENCE.recipe)
    decision = decided(store, place)
    assert decision.state == "held"
    veto = decision.vetoes[0].model_copy(update={"key": key})
    found = decision.model_copy(update={"batch": "earlier", "state": state, "reasons": [veto]})
    save_decision(store, found, place.gate)
    begin(store, NOW, EVIDENCE.recipe, EVIDENCE.measured_at)
    assert len(read_history(store, NOW)) == known


def begin(store: Store, batch_id: str, recipe: dict[str, Any], at: Any) -> None:
    row = store.query("from batches where batch_id = ?", BATCH).row(0, named=True)
    store.insert(batches=[row | {"batch_id": batch_id, "recipe": json.dumps(recipe), "created_at": at}])


def test_thresholds_are_set_and_switched_off_in_the_profile(tmp_path: Path) -> None:
    path = write_profile(tmp_path, gate={"prompt_ignored": 0.2, "no_closer": None})
    gate = load_profile(str(path)).gate
    assert (gate.prompt_ignored, gate.no_closer, gate.accept_rate) == (0.2, None, 0.3)
