"""Rewards by epoch of a real GRPO training of a tiny model that adds, and what cannot be rewarded."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gainloop.curation.selection import Candidate, select_rows
from gainloop.curation.selection.limr import Limr
from gainloop.models.rewarding import RewardPlan, train_by_reward
from gainloop.studies.sums import Sum, answer_of, learn, make_adder
from schemas.errors import BadInput

pytest.importorskip("trl", reason="the extra `rewards` is not installed")

EASY = [Sum(f"{a}+{b}", a, b, answer_of(a, b), "easy") for a in range(8) for b in range(4)]
QUESTIONS = {row.row_id: row.question for row in EASY}
TAUGHT = {row.row_id: row.answer for row in EASY} | {"0+0": "never"}
PLAN = RewardPlan(epochs=6, answers=8, questions_at_once=16, max_tokens=3, learning_rate=1e-3)
SHORT = PLAN.model_copy(update={"epochs": 1, "answers": 4})


def is_right(name: str, said: str) -> float:
    return float(said == TAUGHT[name])


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that has begun to learn these sums."""
    folder = str(tmp_path_factory.mktemp("adder"))
    model, tokenizer = make_adder(0)
    learn(model, tokenizer, EASY, 25, 3e-3, 0, at_once=16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_rewards_by_epoch_rise_and_limr_reads_them(start: str, tmp_path: Path) -> None:
    table = train_by_reward(QUESTIONS, is_right, start, PLAN, str(tmp_path / "trained"))

    assert table.by_question.keys() == QUESTIONS.keys()
    assert {len(of) for of in table.by_question.values()} == {PLAN.epochs}
    assert table.num_answers == len(EASY) * PLAN.answers * PLAN.epochs
    assert {8 * one for of in table.by_question.values() for one in of if one is not None} <= set(range(9))
    assert table.by_question["0+0"] == [0.0] * PLAN.epochs
    assert 0 < table.means[0] < table.means[-1]
    rows = [Candidate(name, "", text, values={"rewards": table.by_question[name]}) for name, text in QUESTIONS.items()]
    found = select_rows(rows, Limr())
    assert 0 < len(found.ids) < len(rows)
    assert "0+0" not in found.ids
    before, after = (load_file(Path(at, "model.safetensors")) for at in (start, str(tmp_path / "trained")))
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_questions_that_fill_no_step_are_missing_in_that_epoch_and_not_wrong(start: str) -> None:
    few = dict(list(QUESTIONS.items())[:20])
    table = train_by_reward(few, is_right, start, SHORT.model_copy(update={"epochs": 2}))

    asked = [sum(of[epoch] is not None for of in table.by_question.values()) for epoch in range(2)]
    assert asked == [16, 16]


def test_the_same_seed_earns_the_same_rewards(start: str) -> None:
    first, again, other = (
        train_by_reward(QUESTIONS, is_right, start, SHORT.model_copy(update={"seed": seed})).by_question
        for seed in (0, 0, 1)
    )

    assert first == again != other


@pytest.mark.parametrize(
    ("reward", "changes", "found"),
    [
        (lambda *_: 0.0, {}, r"none of 128 answers was rewarded; some must be\. Try the reward on right answers"),
        (lambda *_: 2.0, {}, r"rewarding an answer to the question '.*': the reward is 2\.0; 0 to 1 is allowed"),
        (is_right, {"questions_at_once": 33}, r"on 32 questions: a step asks 33; at least as many are needed\."),
        (is_right, {"max_tokens": 99}, r"'0\+0' has 4 tokens and its answer 99; 64 together are allowed"),
    ],
)
def test_what_cannot_be_rewarded_is_told(
    start: str, reward: Callable[[str, str], float], changes: dict[str, int], found: str
) -> None:
    with pytest.raises(BadInput, match=found):
        train_by_reward(QUESTIONS, reward, start, SHORT.model_copy(update=changes))
