from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from gainloop.reports.evidence import Evidence
from gainloop.reports.gain import measure_gain
from gainloop.reports.knowledge import measure_knowledge
from schemas.report import WORDS
from tests.evidence import make_evidence
from tests.examined import make_examined


def with_seeds(evidence: Evidence, moved: list[float]) -> Evidence:
    """Return the same batch, whose arms were trained with more seeds: each moves the synthetic arm's losses."""
    scores = dict(evidence.scores)
    for seed, bits in enumerate(moved, start=1):
        scores[f"baseline/heldout/{seed}"] = scores["baseline/heldout"]
        by = pl.col("num_bytes") * bits * np.log(2)
        scores[f"synthetic/heldout/{seed}"] = scores["synthetic/heldout"].with_columns(nats=pl.col("nats") + by)
    train = evidence.summaries["train"] | {"seeds": len(moved) + 1}
    return replace(evidence, scores=scores, summaries=evidence.summaries | {"train": train})


def with_general(evidence: Evidence, **lost: float) -> Evidence:
    """Return the same batch with general text, of which each arm has lost so many bits per byte."""
    scores, start = dict(evidence.scores), evidence.scores["start/heldout"]
    scores["start/general"] = start
    for arm, bits in lost.items():
        by = pl.col("num_bytes") * bits * np.log(2)
        scores[f"{arm}/general"] = start.with_columns(nats=pl.col("nats") + by)
    return replace(evidence, scores=scores)


def width(evidence: Evidence) -> float:
    advantage = measure_gain(evidence).advantage
    assert advantage.high is not None
    assert advantage.low is not None
    return advantage.high - advantage.low


def test_all_seeds_count_and_how_far_they_are_apart_widens_the_interval() -> None:
    one = make_evidence()
    first, again = measure_gain(one), measure_gain(with_seeds(one, [0.0, 0.0]))
    apart = measure_gain(with_seeds(one, [0.03, -0.06]))
    assert (first.seeds, again.seeds, apart.seeds) == (1, 3, 3)
    assert first.advantage.value == pytest.approx(again.advantage.value)
    assert apart.advantage.value == pytest.approx(first.advantage.value + 0.01)
    assert width(with_seeds(one, [0.03, -0.06])) > 2 * width(with_seeds(one, [0.0, 0.0]))


def test_a_training_whose_seed_was_not_scored_has_no_gain_from_the_others() -> None:
    evidence = with_seeds(make_evidence(), [0.0])
    scores = {key: frame for key, frame in evidence.scores.items() if key != "synthetic/heldout/1"}

    assert measure_gain(replace(evidence, scores=scores)).advantage.status == (
        "not measured: there are no scores synthetic/heldout/1"
    )


def test_pieces_of_one_document_are_one_cluster() -> None:
    evidence = make_evidence()
    documents = {f"h{number}": f"document {number // 10}" for number in range(60)}
    advantage = measure_gain(replace(evidence, documents=documents)).advantage

    assert (advantage.n, advantage.clusters) == (60, 6)
    assert measure_gain(evidence).advantage.clusters == 60


def test_without_an_exam_what_was_forgotten_is_what_general_text_costs_more() -> None:
    found = measure_knowledge(with_general(make_evidence(), synthetic=0.02, baseline=0.2))

    assert not found.was_asked
    assert found.forgetting.value == pytest.approx(0.02)
    assert found.forgetting_repeating.value == pytest.approx(0.2)
    assert found.forgetting_control.status == "not measured: there are no scores replay_control/general"


def test_a_report_has_one_figure_of_what_an_arm_forgot_and_an_exams_comes_first() -> None:
    asked = measure_knowledge(with_general(make_evidence(examined=(make_examined(),)), synthetic=0.5))
    assert asked.forgetting.value == pytest.approx(0.03, abs=0.002)
    titles = [words.title for words in WORDS.values() if "orgotten" in words.title]
    assert titles == ["Forgotten, synthetic text", "Forgotten, repeating", "Forgotten, unrelated text"]


def test_a_loss_is_not_divided_by_what_it_cost() -> None:
    won = measure_gain(make_evidence(synthetic_gain=0.06, baseline_gain=0.02))
    lost = measure_gain(make_evidence(synthetic_gain=0.02, baseline_gain=0.06))
    assert won.per_1k_tokens.value == pytest.approx(won.advantage.value / 34.567)
    assert (lost.per_1k_tokens.value, lost.per_second.value) == (None, None)
    assert lost.per_1k_tokens.status == "not measured: there is no gain to divide"


def test_the_replay_control_says_what_the_content_of_the_records_has_earned() -> None:
    evidence = make_evidence()
    scores = evidence.scores | {"replay_control/heldout": evidence.scores["synthetic/heldout"]}
    same = measure_gain(replace(evidence, scores=scores))

    assert same.over_control.value == 0
    assert same.synthetic.value != 0
    assert measure_gain(evidence).over_control.value is None
