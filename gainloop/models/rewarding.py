"""Rewards by epoch: a model is trained on questions by reward alone, and each question's share of right answers noted.

The training is TRL's GRPO, which is imported when a training begins; the extra ``rewards`` has it.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from datasets import Dataset
from pydantic import Field
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging

from gainloop.models.loading import context_of, load_model, load_tokenizer
from schemas.errors import BadInput
from schemas.recipe import BASIC, Parameters

Reward = Callable[[str, str], float]
"""Function from a question's id and an answer to 0 to 1; of a right answer 1."""


class RewardPlan(Parameters):
    """A training by reward: GRPO, whose answers are compared with others to the same question."""

    epochs: Annotated[int, BASIC, Field(ge=1, description="Times that all questions are asked.")] = 8
    answers: Annotated[int, Field(ge=2, description="Answers that are drawn to a question each time.")] = 8
    questions_at_once: Annotated[
        int, Field(ge=1, description="Questions of a step; those that fill none wait for another epoch.")
    ] = 16
    max_tokens: Annotated[int, Field(ge=1, description="Tokens of an answer, at most.")] = 256
    temperature: Annotated[float, Field(gt=0, le=2, description="Temperature of the draws.")] = 1.0
    learning_rate: Annotated[
        float, BASIC, Field(gt=0, description="Learning rate: 1e-6 suits a model of billions, 1e-4 one of a million.")
    ] = 1e-6
    divergence: Annotated[
        float, Field(ge=0, description="Weight of the divergence from the start; 0 leaves it out, and saves a model.")
    ] = 0.0
    seed: Annotated[int, Field(description="Seed of orders and draws.")] = 0


@dataclass(frozen=True, slots=True)
class RewardTable:
    """Rewards of questions over the epochs of one training.

    Attributes:
        by_question: By the question's id: of each epoch the mean reward of its answers, None where it was not asked.
        num_answers: Answers that were rewarded.
    """

    by_question: dict[str, list[float | None]]
    num_answers: int

    @property
    def means(self) -> list[float]:
        """Mean reward of each epoch, over the questions that were asked in it."""
        columns = [
            [one for one in column if one is not None] for column in zip(*self.by_question.values(), strict=True)
        ]
        return [math.fsum(column) / len(column) if column else math.nan for column in columns]


def train_by_reward(
    questions: Mapping[str, str], reward: Reward, start: str, plan: RewardPlan, folder: str = "", device: str = "cpu"
) -> RewardTable:
    """Continue a checkpoint on questions by reward, and return what each question earned in each epoch.

    Args:
        questions: Prompts by the ids of their questions, each the whole text that the model goes on from.
        reward: Function that says how right an answer is; it is called in this process.
        start: Folder of the checkpoint.
        folder: Folder that the trained model is saved in; empty to leave it.

    Raises:
        BadInput: TRL is not installed, the questions are fewer than a step's, one does not fit into the model's
            context, a reward is no share, or no answer of all was rewarded: a reward that never says yes is a fault of
            the reward more often than of the model, and says nothing of the questions.
    """
    trl = _import_trl()
    if len(questions) < plan.questions_at_once:
        raise _refusal(
            questions,
            f"a step asks {plan.questions_at_once}",
            "at least as many are needed",
            "Lower questions_at_once, or give more questions",
        )
    logging.disable_progress_bar()
    model, tokenizer = load_model(start, device), load_tokenizer(start)
    _require_room(questions, tokenizer, context_of(model.config, start), plan)
    notes = _Notes(questions, reward)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = trl.GRPOTrainer(
            model=model,
            reward_funcs=notes.reward,
            args=trl.GRPOConfig(**_settings(plan, scratch, device)),
            train_dataset=Dataset.from_list([{"prompt": text, "row_id": name} for name, text in questions.items()]),
            processing_class=tokenizer,
            callbacks=[notes],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    if folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    table = notes.table(plan.epochs)
    if not any(map(any, table.by_question.values())):
        found = f"none of {table.num_answers:,} answers was rewarded"
        raise _refusal(
            questions, found, "some must be", "Try the reward on right answers, or start from a model that gives some"
        )
    return table


class _Notes(TrainerCallback):
    """The rewards of every answer, noted by question and epoch as they are given."""

    def __init__(self, questions: Mapping[str, str], reward: Reward) -> None:
        self._earned: dict[str, dict[int, list[float]]] = {name: {} for name in questions}
        self._reward = reward
        self._epoch = -1

    def on_epoch_begin(self, *_state: Any, **_more: Any) -> None:
        self._epoch += 1

    def reward(self, completions: Sequence[str], row_id: Sequence[str], **_more: Any) -> list[float]:
        """Return the reward of each answer; the interface is TRL's."""
        rewards = [self._earn(name, answer) for name, answer in zip(row_id, completions, strict=True)]
        for name, one in zip(row_id, rewards, strict=True):
            self._earned[name].setdefault(self._epoch, []).append(one)
        return rewards

    def _earn(self, name: str, answer: str) -> float:
        earned = float(self._reward(name, answer))
        if not 0 <= earned <= 1:
            raise BadInput(
                f"rewarding an answer to the question {name!r}: the reward is {earned}; 0 to 1 is allowed. "
                "Correct the reward function."
            )
        return earned

    def table(self, epochs: int) -> RewardTable:
        by_question: dict[str, list[float | None]] = {
            name: [math.fsum(of[epoch]) / len(of[epoch]) if epoch in of else None for epoch in range(epochs)]
            for name, of in self._earned.items()
        }
        return RewardTable(by_question, sum(len(one) for of in self._earned.values() for one in of.values()))


def _import_trl() -> Any:
    try:
        import trl
    except ImportError as error:
        raise BadInput(
            "training by reward: the package trl is not installed; the extra `rewards` has it. "
            "Install it: pip install 'gainloop[rewards]'."
        ) from error
    return trl


def _settings(plan: RewardPlan, folder: str, device: str) -> dict[str, Any]:
    """Return a plan as TRL has it: one update a step, each on the answers that were just drawn."""
    return {
        "output_dir": folder,
        "per_device_train_batch_size": plan.questions_at_once * plan.answers,
        "num_generations": plan.answers,
        "num_train_epochs": plan.epochs,
        "max_completion_length": plan.max_tokens,
        "temperature": plan.temperature,
        "learning_rate": plan.learning_rate,
        "lr_scheduler_type": "constant",
        "beta": plan.divergence,
        "seed": plan.seed,
        "use_cpu": device == "cpu",
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _require_room(questions: Mapping[str, str], tokenizer: Any, context: int, plan: RewardPlan) -> None:
    lengths = {name: len(tokenizer(text)["input_ids"]) for name, text in questions.items()}
    longest = max(lengths, key=lambda name: lengths[name])
    if lengths[longest] + plan.max_tokens > context:
        found = f"{longest!r} has {lengths[longest]} tokens and its answer {plan.max_tokens}"
        raise _refusal(questions, found, f"{context} together are allowed", "Shorten it, or lower max_tokens")


def _refusal(questions: Mapping[str, str], found: str, allowed: str, advice: str) -> BadInput:
    return BadInput(f"training by reward on {len(questions):,} questions: {found}; {allowed}. {advice}.")
