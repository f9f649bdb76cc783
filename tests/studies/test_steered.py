"""Steering in the invented world: as many words for every way, nothing seen that is asked in the end, files kept."""

from html import unescape
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from gainloop.measures.estimate import Estimate, as_figure
from gainloop.models.start import make_model
from gainloop.steering.budget import FLOOR, GROWTH
from gainloop.studies import steered_ground
from gainloop.studies.steered import WAYS, count_steps, list_plays, run_play, steer
from gainloop.studies.steered_budget import ARMS, spend
from gainloop.studies.steered_figures import decide, describe_agreement, describe_steering
from gainloop.studies.steered_gaps import KNOWN, NEW, direct, half_of, names_of, with_replay, write
from gainloop.studies.steered_ground import Ground
from gainloop.studies.trainee import Vocabulary
from gainloop.studies.verification_page import render_verification
from gainloop.studies.world import make_world
from gainloop.studies.world_runs import MODEL
from schemas.figure import Figure
from schemas.steered import Steered, SteeredRun, SteeredWay, Steering
from schemas.studies import BatchOutcome, InventedWorld
from tests.studies.test_findings import TRUTH, verified

WORDS = 600
SUBJECT = InventedWorld(seed=3, updates=4, base_updates=2, anchors=6, batch_tokens=WORDS, steering_seeds=2)


def make_ground() -> Ground:
    world = make_world(3, 6, 8, 4)
    vocabulary = Vocabulary.of(world)
    return Ground(world, vocabulary, make_model(MODEL, vocabulary.tokenizer), updates=4, words=WORDS, seed=3)


@pytest.fixture(scope="module")
def ground() -> Ground:
    return make_ground()


def play(ground: Ground, way: SteeredWay) -> SteeredRun:
    return (direct if way == "gap-directed" else spend)(ground, way)


@pytest.fixture(scope="module")
def by_gain(ground: Ground) -> SteeredRun:
    return spend(ground, "by gain")


@pytest.fixture(scope="module")
def by_gaps(ground: Ground) -> SteeredRun:
    return direct(with_replay(ground), "gap-directed")


def test_every_way_has_as_many_words_in_every_round(ground: Ground, by_gain: SteeredRun, by_gaps: SteeredRun) -> None:
    assert by_gain.words == spend(ground, "uniform").words == spend(ground, "by Delta I").words == [WORDS // 4] * 4
    assert by_gaps.words == direct(ground, "uniform").words == [WORDS // 12] * 3


def test_shares_keep_floor_and_growth_and_add_up(by_gain: SteeredRun, by_gaps: SteeredRun) -> None:
    assert by_gain.shares[0] == dict.fromkeys(ARMS, 0.25)
    for before, after in pairwise(by_gain.shares):
        assert all(FLOOR - 1e-9 <= after[arm] <= GROWTH * before[arm] + 1e-9 for arm in ARMS)
    for shares in by_gain.shares + by_gaps.shares:
        assert sum(shares.values()) == pytest.approx(1)


def test_only_what_trains_to_steer_costs_probe_tokens(ground: Ground, by_gain: SteeredRun, by_gaps: SteeredRun) -> None:
    assert spend(ground, "uniform").probe_tokens == spend(ground, "by Delta I").probe_tokens == 0
    assert by_gain.probe_tokens == (1 + 3 * len(ARMS)) * 1 * 512
    assert by_gaps.probe_tokens == 2 * 8 * 512


@pytest.mark.parametrize("way", ["by gain", "gap-directed"])
def test_no_steering_asks_what_the_verdict_asks(
    monkeypatch: pytest.MonkeyPatch, ground: Ground, way: SteeredWay
) -> None:
    asked: list[str] = []
    ask = steered_ground.ask

    def listen(model, vocabulary, wording, facts):  # type: ignore[no-untyped-def]
        asked.extend(fact.part for fact in facts)
        return ask(model, vocabulary, wording, facts)

    monkeypatch.setattr(steered_ground, "ask", listen)
    monkeypatch.setattr(Ground, "verdict", lambda _self, _model: [0.0])
    assert play(ground, way).after == [0.0]
    assert set(asked) == {"gate"}


def test_the_same_seed_gives_the_same_run(by_gain: SteeredRun) -> None:
    assert spend(make_ground(), "by gain") == by_gain


def test_draws_follow_their_shares_and_end_at_the_last_word(ground: Ground) -> None:
    names = names_of(ground)
    shares = {name: float(place) for place, name in enumerate(names)}
    texts, about = write(ground, shares, 12_000, 0)
    assert sum(map(len, texts)) == 12_000
    assert about == set(names[1:]), "a share of 0 is none"
    told = np.array([sum(" ".join(text).count(name) for text in texts) for name in names])
    assert told / told.sum() == pytest.approx(np.arange(6) / 15, abs=0.01)


def test_the_start_has_read_of_half_of_the_entities_alone(ground: Ground) -> None:
    known = half_of(ground, "known")
    read, generic = with_replay(ground).replay
    said = " . ".join(" ".join(text) for text in read)
    assert len(known) == 3
    assert not [name for text in generic for name in names_of(ground) if f"{name} " in " ".join(text)]
    assert {name for name in names_of(ground) if f"{name} " in said} == known
    assert direct(ground, "uniform").kinds.count(KNOWN) == 3


@pytest.fixture(scope="module")
def steered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Steered, Path, list[tuple[int, int]]]:
    """Steering that crashed within its ways and went on: what came of it, where, and the progress of the second run."""
    folder = tmp_path_factory.mktemp("steered")

    def crash(done: int, _total: int) -> None:
        if done == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        steer(str(folder), SUBJECT, [], 1, crash)
    progress: list[tuple[int, int]] = []
    found = steer(str(folder), SUBJECT, [], 1, lambda done, total: progress.append((done, total)))
    return found, folder, progress


def test_a_resumed_run_trains_nothing_again(steered: tuple[Steered, Path, list[tuple[int, int]]]) -> None:
    found, folder, progress = steered
    assert progress == [(done, 12) for done in range(4, 13)]
    assert count_steps(SUBJECT) == 12
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = steer(str(folder), SUBJECT, [], 1, lambda _done, _total: None)
    assert again == found
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == written


def test_a_way_that_is_played_again_is_the_same_to_the_last_digit(
    steered: tuple[Steered, Path, list[tuple[int, int]]],
) -> None:
    _, folder, _ = steered
    path = folder / "steered" / f"{list_plays(SUBJECT)[4].name}.json"
    written = path.read_bytes()
    run_play(str(folder), SUBJECT, list_plays(SUBJECT)[4])
    assert path.read_bytes() == written


def made_up(seed: int, steering: Steering, way: SteeredWay, right: float) -> SteeredRun:
    """Return a run whose trainee has the same right answers of every other entity."""
    names, kinds = (ARMS, ["all"] * 8) if steering == "budget" else ((KNOWN, NEW), [KNOWN, NEW] * 4)
    return SteeredRun(
        steering=steering,
        way=way,
        seed=seed,
        shares=[dict.fromkeys(names, 1 / len(names))] * 3,
        words=[9] * 3,
        probe_tokens=0 if way == "uniform" else 512,
        kinds=kinds,
        before=[0.0] * 8,
        after=[right, right + 0.2] * 4,
    )


def all_made_up() -> Steered:
    runs = [
        made_up(seed, steering, way, 0.1 * seed + (0 if way == "uniform" else 0.3 + 0.01 * seed))
        for seed in (2, 1, 0)
        for steering, way in WAYS
    ]
    return describe_steering(runs, SUBJECT, [])


def test_each_way_is_set_beside_the_even_split_of_its_own_seed() -> None:
    found = all_made_up()
    even, steered, *_ = found.ways
    assert even.more is None
    assert steered.more is not None
    assert steered.more_by_seed == pytest.approx([0.3, 0.31, 0.32])
    assert steered.more.value == pytest.approx(0.31)
    assert steered.more.low is not None
    assert 0.25 < steered.more.low < 0.31
    assert (steered.more.seeds, steered.more.clusters) == (3, 8)
    assert "spending where probe runs gained most pays (+0.31" in found.headline


def test_the_page_has_every_way_with_its_interval() -> None:
    found = all_made_up()
    verification = verified(good=TRUTH).model_copy(update={"steered": found, "subject": SUBJECT.model_dump()})
    html = unescape(render_verification(verification))
    assert found.headline in html
    assert html.count("<svg") == 5
    for one in found.ways:
        assert one.right.interval in html
        assert one.more is None or f"{one.more.signed} {one.more.interval}" in html
        assert f"{one.words:,} words generated, {one.probe_tokens:,} tokens trained on to steer" in html


def figure(value: float, half: float) -> Figure:
    return as_figure(Estimate(value, value - half, value + half, 9, "share of facts"), "made up")


def test_a_probe_run_is_right_where_the_full_trainings_have_its_sign() -> None:
    pairs = [(0.2, 0.3), (0.2, -0.1), (-0.2, -0.3), (0.0, 0.2), (-0.2, -0.01)]
    batches = [
        BatchOutcome(
            name=str(place),
            method="a",
            predictors={"probe_right": figure(probe, 0.1)},
            verdict=figure(verdict, 0.05),
            by_seed=[verdict],
        )
        for place, (probe, verdict) in enumerate(pairs)
    ]
    assert [decide(batch.predictors["probe_right"]) for batch in batches] == ["go", "go", "hold", "cannot tell", "hold"]
    found = describe_agreement(batches, InventedWorld(updates=200, seeds=3))
    assert [(row.batches, row.gained, row.lost, row.unclear) for row in found.decided] == [
        (2, 1, 1, 0),
        (2, 0, 1, 1),
        (1, 1, 0, 0),
    ]
    assert found.agreed.value == pytest.approx(3 / 4)
    assert (found.probe_tokens, found.full_tokens) == (6 * 50 * 512, 6 * 3 * 200 * 512)
    assert found.saved_tokens == 2 * 3 * 200 * 512
