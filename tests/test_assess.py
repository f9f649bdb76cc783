"""Skills assessed as the flow does: a served model that follows a known rule, and a small model of this machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flows.__looking__ import list_all, show_one
from gainloop.evaluation.exercise_results import skill_result
from gainloop.evaluation.exercises import WRITER
from gainloop.store import Store, group_commit
from gainloop.store.batches import latest_summary
from gainloop.store.catalogue import describe, find_row, list_rows
from gainloop.store.exercises import read_marked
from schemas.errors import BadInput, StoreError
from schemas.exercise import Exercises, Trials
from schemas.profile import Profile, Servers
from tasks.assess import answer_exercises, complete_assessment, read_set, show_marked
from tests.serving.stub_server import Stub, StubOptions, stub_server
from tests.tiny_model import PLAN, save_tiny_model

GRIND = {"name": "grind", "parameters": {"properties": {"sacks": {"type": "integer"}}, "required": ["sacks"]}}
SAMPLES = 4


def quiet(*_told: object) -> None:
    """Tell nobody."""


def rows() -> list[dict[str, object]]:
    """Return 12 sums, 6 calls and 4 texts."""
    sums = [{"question": f"What is {n} + 100?", "answer": f"Add.\n#### {n + 100}"} for n in range(12)]
    calls = [
        {"question": f"Grind {n} sacks.", "function": [GRIND], "ground_truth": [{"grind": {"sacks": [n]}}]}
        for n in range(6)
    ]
    texts = [
        {"question": f"Write of rye, {n}.", "constraints": [{"kind": "no_comma"}, {"kind": "words", "least": 3}]}
        for n in range(4)
    ]
    return [*sums, *calls, *texts]


def by_rule(prompt: str, seed: int) -> str:
    """Answer sums below 105 rightly always, others in half of the draws; call with a text; write short."""
    asked = prompt.rpartition("<user> ")[2]
    if asked.startswith("What is "):
        number = int(asked.split()[2])
        return f"Answer: {number + 100 if number < 5 or seed % 2 else 7}"
    if asked.startswith("Grind "):
        return f"[grind(sacks='{asked.split()[1]}')]"
    return "Rye, then." if WRITER in prompt else "Yes."


def withhold_calls(body: dict[str, Any]) -> None:
    """Leave an answer that is a call without its choice, every time it is asked for."""
    if "[grind" in json.dumps(body["choices"]):
        body["choices"] = []


@pytest.fixture(autouse=True)
def _quick_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "COMMIT_SECONDS", 0.02)


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with stub_server(StubOptions(draws=by_rule)) as running:
        yield running


@pytest.fixture
def place(profile: Profile, stub: Stub) -> Profile:
    stub.requests.clear()
    return profile.model_copy(update={"serving": Servers(urls=[stub.url])})


@pytest.fixture
def exercises(tmp_path: Path) -> Exercises:
    path = tmp_path / "exercises.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows()))
    return Exercises(paths=[str(path)])


def sent(stub: Stub) -> int:
    """Return how many requests a stub was sent that are no check's, and forget them."""
    number = sum(one["max_tokens"] > 1 for one in stub.requests)
    stub.requests.clear()
    return number


def test_a_served_model_is_right_as_often_as_its_rule_says_in_one_sample_and_in_all(
    store: Store,
    place: Profile,
    exercises: Exercises,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, trials = read_set(exercises), Trials(samples=SAMPLES, drawn=2, temperature=1)
    urls = {"stub": store.keep(answer_exercises(store, place, "stub", found, trials, quiet))}
    marked = read_marked(store.locate(urls["stub"]))

    assert marked.height == SAMPLES * len(found.exercises)
    solved = marked.filter(skill="solved")
    always = solved.filter(solved["question"].is_in([f"What is {n} + 100?" for n in range(5)]))
    assert always["right"].all()
    result = skill_result(solved, 2)
    half = float(solved.filter(~solved["exercise_id"].is_in(always["exercise_id"].implode()))["right"].mean() or 0)  # type: ignore[arg-type]
    assert 0.2 < half < 0.8
    assert result.accuracy.value == pytest.approx((5 + 7 * half) / 12)
    assert (result.all_right.value or 0) < (result.accuracy.value or 0) < (result.any_right.value or 0)

    called = marked.filter(skill="called")
    assert called["detail"].unique().to_list() == ["wrong_type grind (sacks)"]

    shown: list[str] = []
    monkeypatch.setattr("tasks.assess.create_markdown_artifact", lambda markdown, **_more: shown.append(markdown))
    said = show_marked(place, found, urls, trials)
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines()[1:]]
    by_skill = {row[1]: dict(zip(table[0], row, strict=True)) for row in table[2:]}
    assert "22, each answered 4 times at temperature 1" in said
    assert "pass^2" in table[0]
    assert by_skill["called"]["right"].startswith("0 % [0, ")
    assert by_skill["called"]["not right"] == "24 wrong_type"
    assert by_skill["constrained"]["not right"] == "16 no_comma, 16 words"
    assert by_skill["constrained"]["constraints met"].startswith("0 %")
    assert shown[0].splitlines()[2:] == said.splitlines()[1:]

    key = complete_assessment(place, found, urls, trials)
    summary = latest_summary(store, found.set_id, "assess")
    assert summary
    accuracy = result.accuracy
    assert summary.pop("right")["stub"]["solved"] == [accuracy.value, accuracy.low, accuracy.high, 48]
    assert summary == {"urls": urls, "trials": trials.model_dump(mode="json"), "exercises": 22}

    (listed,) = list_rows(store, "assessments").iter_rows(named=True)
    assert (listed["id"], listed["set"], listed["exercises"], listed["samples"]) == (key, found.set_id, 22, SAMPLES)
    assert listed["right"].startswith(f"stub: solved {by_skill['solved']['right']} of 48, called 0 % [0, ")
    what, row = find_row(store, key[:9])
    details = describe(store, what, row)
    assert what == "assessments"
    assert details["stub"].endswith(f", answers {store.locate(urls['stub'])}")
    assert details["trials"] == "samples 4, drawn 2, temperature 1, top_p 1, max_tokens 512, seed 0"

    config = tmp_path / "place.yaml"
    config.write_text(f"folder: {store.folder}\nstore:\n  url: {store.path}\n")
    list_all("assessments", str(config))
    show_one(key[:9], str(config))
    told = capsys.readouterr().out
    print(told)
    assert all(one in told for one in (key, listed["right"], details["stub"]))


def test_what_was_asked_is_not_asked_again_and_more_samples_ask_only_for_those(
    store: Store, place: Profile, stub: Stub, exercises: Exercises
) -> None:
    found = read_set(exercises)
    url = answer_exercises(store, place, "stub", found, Trials(samples=2, temperature=1), quiet)
    assert sent(stub) == 44
    assert answer_exercises(store, place, "stub", found, Trials(samples=2, drawn=1, temperature=1), quiet) == url
    assert sent(stub) == 0

    more = answer_exercises(store, place, "stub", found, Trials(samples=3, temperature=1), quiet)
    assert sent(stub) == 22
    first, second = read_marked(url), read_marked(more)
    both = second.filter(second["draw"] < 2)
    assert first.rows() == both.rows()

    few = read_set(exercises.model_copy(update={"max_exercises": 5}))
    answer_exercises(store, place, "stub", few, Trials(samples=3, temperature=1), quiet)
    assert sent(stub) == 0


def test_a_question_that_fits_no_context_is_counted_and_not_wrong(
    store: Store, profile: Profile, tmp_path: Path
) -> None:
    path, long = tmp_path / "long.jsonl", {"question": "What is 1 + 1? " * 80, "answer": "2"}
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*rows()[:3], long]))
    with stub_server(StubOptions(draws=by_rule, context_tokens=200)) as small:
        place = profile.model_copy(update={"serving": Servers(urls=[small.url])})
        trials = Trials(samples=2, temperature=1, max_tokens=32)
        url = answer_exercises(store, place, "stub", read_set(Exercises(paths=[str(path)])), trials, quiet)

    marked = read_marked(url)
    skipped = marked.filter(marked["skipped"] != "")
    assert skipped["question"].unique().to_list() == [long["question"].strip()]
    assert skipped["right"].to_list() == [None, None]
    result = skill_result(marked, 2)
    assert (result.accuracy.value, result.num_exercises, result.num_skipped) == (1, 3, 2)


def test_an_answer_that_never_came_is_asked_for_again_and_those_that_came_are_not(
    store: Store, profile: Profile, exercises: Exercises
) -> None:
    found, trials = read_set(exercises), Trials(samples=2, temperature=1)
    with stub_server(StubOptions(draws=by_rule, edits=withhold_calls)) as bad:
        place = profile.model_copy(update={"serving": Servers(urls=[bad.url])})
        url = answer_exercises(store, place, "stub", found, trials, quiet)
    first = read_marked(url)
    num_skipped = first.filter(first["skipped"] != "").height
    assert num_skipped == 2 * 6

    with stub_server(StubOptions(draws=by_rule)) as good:
        place = profile.model_copy(update={"serving": Servers(urls=[good.url])})
        assert answer_exercises(store, place, "stub", found, trials, quiet) == url
        assert sent(good) == num_skipped
        assert answer_exercises(store, place, "stub", found, trials, quiet) == url
        assert sent(good) == 0
    second = read_marked(url)
    assert (second["skipped"] == "").all()
    came = first.filter(first["skipped"] == "")
    assert came.rows() == second.join(came, on=["exercise_id", "draw"], how="semi").rows()


def test_a_checkpoint_is_asked_on_this_machine(
    store: Store, profile: Profile, exercises: Exercises, tmp_path: Path
) -> None:
    folder = save_tiny_model(tmp_path / "tiny", PLAN.model_copy(update={"context_tokens": 1024}))
    few = read_set(exercises.model_copy(update={"max_exercises": 2}))
    trials = Trials(samples=2, temperature=1, max_tokens=4)
    marked = read_marked(answer_exercises(store, profile, folder, few, trials, quiet))

    assert marked["skipped"].to_list() == [""] * 4
    assert not marked["right"].any()
    assert {reason for reasons in marked["reasons"] for reason in reasons} <= {"cut_off", "wrong", "unreadable"}
    again = answer_exercises(store, profile, folder, few, trials, quiet)
    assert read_marked(again).equals(marked)


def test_a_problem_whose_answer_cannot_be_read_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    bad = {"question": "How far?", "answer": "\\text{}", "kind": "mathematics"}
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*rows()[:2], bad]))

    with pytest.raises(BadInput, match=r"assessing with 'How far\?': its answer .* is no number or formula"):
        read_set(Exercises(paths=[str(path)]))


def test_samples_that_would_be_alike_are_refused(store: Store) -> None:
    with pytest.raises(ValidationError, match="all would be alike"):
        Trials(samples=2)
    with pytest.raises(ValidationError, match="drawn must not be above samples"):
        Trials(samples=2, drawn=3, temperature=1)
    with pytest.raises(StoreError, match="run the flow assess"):
        read_marked(f"{store.folder}/exams/exercises/gone.parquet")
