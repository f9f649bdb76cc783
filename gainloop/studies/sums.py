"""Sums as training text: a pool of easy, hard and wrong ones, and a small model that learns to add."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, Protocol, TypeVar

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gainloop.models.start import END, make_model
from schemas.plan import NewModel
from schemas.rows import unit_draw

Kind = Literal["easy", "hard", "wrong"]

Outcome = TypeVar("Outcome")

MODEL: Final = NewModel(vocabulary=300, hidden_size=64, layers=2, head_size=32, context_tokens=64)
"""90,000 weights: its vocabulary is the digits and two signs."""

HELDOUT_SHARE: Final = 0.05
"""Part of the sums of two-digit numbers that no model is trained on: about 400."""

IGNORED: Final = -100


@dataclass(frozen=True, slots=True)
class Sum:
    """One sum with the answer that is taught, its digits from the right: so each is known when it is written.

    ``kind`` is easy for one digit and one digit, hard for two and two, wrong for a hard one whose answer is not so.
    """

    row_id: str
    left: int
    right: int
    answer: str
    kind: Kind

    @property
    def question(self) -> str:
        return f"{self.left}+{self.right}="


def answer_of(left: int, right: int) -> str:
    """Return a sum's digits from the right.

    >>> answer_of(47, 35)
    '28'
    """
    return str(left + right)[::-1]


def is_heldout(left: int, right: int) -> bool:
    return unit_draw("heldout sum", left, right) < HELDOUT_SHARE


def heldout_sums() -> list[Sum]:
    """Return the held-out sums, the same for every seed."""
    pairs = ((left, right) for left in range(10, 100) for right in range(10, 100))
    return [Sum(f"{a}+{b}", a, b, answer_of(a, b), "hard") for a, b in pairs if is_heldout(a, b)]


def make_pool(seed: int, num_easy: int, num_hard: int, num_wrong: int) -> list[Sum]:
    """Return sums to train on: easy ones many times over, and hard ones, of which some have a wrong answer."""
    rng = Random(f"{seed}/pool")  # noqa: S311
    easy = [(rng.randrange(10), rng.randrange(10)) for _ in range(num_easy)]
    hard = draw_hard(rng, num_hard + num_wrong)
    pairs: list[tuple[int, int, Kind]] = [(a, b, "easy") for a, b in easy]
    pairs += [(a, b, "hard" if place < num_hard else "wrong") for place, (a, b) in enumerate(hard)]
    return [
        Sum(f"s{place:05}", a, b, _wrong_answer(rng, a, b) if kind == "wrong" else answer_of(a, b), kind)
        for place, (a, b, kind) in enumerate(pairs)
    ]


def draw_hard(rng: Random, number: int) -> list[tuple[int, int]]:
    """Return different pairs of two-digit numbers, none of them held out."""
    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100) if not is_heldout(a, b)]
    return rng.sample(pairs, number)


def _wrong_answer(rng: Random, left: int, right: int) -> str:
    """Return an answer that is off as people's are: by one or two, or by ten."""
    return str(left + right + rng.choice((-10, -2, -1, 1, 2, 10)))[::-1]


class Taught(Protocol):
    """What a model is trained on: a question, and the answer that it is to give."""

    @property
    def question(self) -> str: ...

    @property
    def answer(self) -> str: ...


def make_adder(seed: int, signs: str = "+=") -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return an untrained model and the tokenizer of digits and signs."""
    numbers = {sign: number for number, sign in enumerate([END, *"0123456789", *signs])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)
    return make_model(MODEL.model_copy(update={"seed": seed}), wrapped), wrapped


def learn(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Taught],
    steps: int,
    learning_rate: float,
    seed: int,
    at_once: int = 32,
    at_once_tokens: int = 0,
) -> int:
    """Train a model on the answers of sums, read in one random order after another, for a number of steps.

    Args:
        at_once: Rows of a step.
        at_once_tokens: Tokens of answers that a step has at least, in place of a number of rows; 0 for that number.

    Returns:
        Tokens of answers that were trained on.
    """
    rng = Random(f"{seed}/order")  # noqa: S311
    encoded = [_encode(tokenizer, row) for row in rows]
    lengths = [len(ids) - read for ids, read in encoded]
    order: list[int] = []
    trained = 0
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    model.train()
    for step in range(steps):
        chosen: list[int] = []
        while len(chosen) < at_once if not at_once_tokens else sum(lengths[one] for one in chosen) < at_once_tokens:
            order = order or rng.sample(range(len(rows)), len(rows))
            chosen.append(order.pop(0))
        trained += sum(lengths[one] for one in chosen)
        ids, labels = _stack([encoded[place] for place in chosen])
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / 10) * (1 - step / steps)
        logits = model(input_ids=ids[:, :-1]).logits
        loss = cross_entropy(logits.transpose(1, 2), labels[:, 1:], ignore_index=IGNORED)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return trained


@torch.inference_mode()
def answered(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: Sequence[Sum]) -> list[bool]:
    """Return of each sum whether the model's likeliest answer, digit by digit, is the one that is taught."""
    model.eval()
    ids, labels = _stack([_encode(tokenizer, row) for row in rows])
    said = model(input_ids=ids[:, :-1]).logits.argmax(-1)
    is_right = (said == labels[:, 1:]) | (labels[:, 1:] == IGNORED)
    found: list[bool] = is_right.all(dim=1).tolist()
    return found


def _encode(tokenizer: PreTrainedTokenizerFast, row: Taught) -> tuple[list[int], int]:
    """Return a sum's tokens with the end, and how many of them are the question."""
    question = tokenizer(row.question)["input_ids"]
    return [*question, *tokenizer(row.answer)["input_ids"], int(tokenizer.eos_token_id)], len(question)


def _stack(encoded: Sequence[tuple[list[int], int]]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(ids) for ids, _ in encoded)
    rows = [(ids, read, longest - len(ids)) for ids, read in encoded]
    ids = torch.tensor([own + [0] * short for own, _, short in rows])
    labels = torch.tensor([[IGNORED] * read + own[read:] + [IGNORED] * short for own, read, short in rows])
    return ids, labels


def each_seed(seeds: int, run: Callable[[int], Outcome], on_progress: Callable[[int, int], None]) -> list[Outcome]:
    """Return what each seed of a study comes to, in order.

    Args:
        on_progress: Called with the seeds done, and all of them.
    """
    outcomes = []
    for seed in range(seeds):
        on_progress(seed, seeds)
        outcomes.append(run(seed))
    on_progress(seeds, seeds)
    return outcomes
