"""The trainee: a small transformer that has read about other entities, continued on anchors and a batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gainloop.measures.estimate import Floats
from gainloop.models.start import END, make_model
from gainloop.studies.world import EVERY, Fact, Words, World, cloze, list_words, say
from schemas.plan import NewModel

IGNORED = -100
SCORED_AT_ONCE = 128

Row = tuple[list[int], int]
"""Token ids with the end token before and after, and how many of the first are only read, not predicted."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps of a training, tokens of a step, of which parts have equal shares, and the peak learning rate."""

    steps: int
    tokens: int
    learning_rate: float


@dataclass(frozen=True)
class Vocabulary:
    """The words as the model's tokens."""

    tokenizer: PreTrainedTokenizerFast
    numbers: dict[str, int]

    @classmethod
    def of(cls, world: World) -> "Vocabulary":
        numbers = {word: number for number, word in enumerate([END, *list_words(world.everybody)])}
        tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=END))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return cls(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END), numbers)

    def row(self, words: Words, read: Words = ()) -> Row:
        """Return a text as a row, after words that are only read, not predicted."""
        return [self.numbers[word] for word in (END, *read, *words, END)], len(read)


def pretrain(world: World, vocabulary: Vocabulary, plan: NewModel, schedule: Schedule) -> PreTrainedModel:
    """Return the base model: it knows every wording, and nothing of the anchors' entities."""
    model = make_model(plan, vocabulary.tokenizer)
    rng = Random(f"{plan.seed}/pretrain")  # noqa: S311

    def texts() -> Iterator[Row]:
        while True:
            yield vocabulary.row(tell_generic(world, rng))

    for _ in _steps(model, [texts()], schedule):
        pass
    return model


def tell_generic(world: World, rng: Random) -> Words:
    """Return one generic entity's facts, each in any wording: a fact read in one can then be said in another."""
    entity, other = rng.sample(world.generic, 2)
    facts = rng.sample(entity.facts, len(entity.facts))
    said = [say(rng.choice(EVERY), fact, fact.value, other.name) for fact in facts]
    return tuple(word for sentence in said for word in sentence)


def continue_on(
    model: PreTrainedModel,
    parts: Sequence[Sequence[Row]],
    schedule: Schedule,
    seed: int,
) -> list[Floats]:
    """Train a model on parts that have equal shares of every step's tokens, each read in a new order each time through.

    Returns:
        For each part the loss of each text the moment before it was first learnt from, in nats; NaN if it never was.
    """
    read = [_in_orders(len(part), seed, place) for place, part in enumerate(parts)]
    scored = [_in_orders(len(part), seed, place) for place, part in enumerate(parts)]  # the same order, a step behind
    online = [np.full(len(part), np.nan) for part in parts]
    streams = [map(part.__getitem__, order) for part, order in zip(parts, read, strict=True)]
    for losses in _steps(model, streams, schedule):
        for of_part, order, found in zip(losses, scored, online, strict=True):
            for loss in of_part:
                number = next(order)
                found[number] = loss if np.isnan(found[number]) else found[number]
    return online


@torch.inference_mode()
def losses_of(model: PreTrainedModel, rows: Sequence[Row]) -> Floats:
    """Return the negative log-likelihood of each row's predicted words, in nats."""
    model.eval()
    order = sorted(range(len(rows)), key=lambda place: len(rows[place][0]))
    found = np.zeros(len(rows))
    for begin in range(0, len(order), SCORED_AT_ONCE):
        chosen = order[begin : begin + SCORED_AT_ONCE]
        found[chosen] = _losses(model, [rows[place] for place in chosen])[0].double().numpy()
    return found


def ask(
    model: PreTrainedModel, vocabulary: Vocabulary, wording: str, facts: Sequence[Fact]
) -> tuple[list[float], list[bool]]:
    """Return the log-probability of each fact's right value after a question, and whether no other is as likely."""

    def row(fact: Fact, value: str) -> Row:
        ids, read = vocabulary.row((value,), cloze(wording, fact))
        return ids[:-1], read  # the end of the text is not part of the answer

    answers = [(fact, value) for fact in facts for value in fact.relation.values]
    logs = dict(zip(answers, -losses_of(model, [row(*pair) for pair in answers]), strict=True))
    right = [float(logs[fact, fact.value]) for fact in facts]
    best = [max(logs[fact, value] for value in fact.relation.values if value != fact.value) for fact in facts]
    return right, [own > other for own, other in zip(right, best, strict=True)]


def _steps(model: PreTrainedModel, streams: Sequence[Iterator[Row]], schedule: Schedule) -> Iterator[list[Floats]]:
    """Take the optimiser's steps; yield after each the losses that its texts had before it, by stream.

    A loop of its own, not ``gainloop.models.trainer``: that one has a step's mean loss where each text's is
    needed, packs texts into rows, where a loss depends on neighbours, and takes seconds to start: a third of a run.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=schedule.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    warm = max(1, schedule.steps // 20)
    for step in range(schedule.steps):
        model.train()
        filled = [_fill(stream, schedule.tokens / len(streams)) for stream in streams]
        losses, num_predicted = _losses(model, [row for rows in filled for row in rows])
        for group in optimiser.param_groups:
            decay = 0.5 * (1 + np.cos(np.pi * step / schedule.steps))
            group["lr"] = schedule.learning_rate * min(1.0, (step + 1) / warm) * decay
        optimiser.zero_grad()
        (losses.sum() / num_predicted).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        nats = losses.detach().double().numpy()
        ends = np.cumsum([len(rows) for rows in filled])[:-1]
        yield list(np.split(nats, ends))


def _fill(stream: Iterator[Row], tokens: float) -> list[Row]:
    rows, num_tokens = [], 0
    while num_tokens < tokens:
        rows.append(next(stream))
        num_tokens += len(rows[-1][0])
    return rows


def _losses(model: PreTrainedModel, rows: Sequence[Row]) -> tuple[torch.Tensor, int]:
    """Return each row's summed loss in nats, and how many tokens were predicted in all."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows])
    labels = torch.tensor([[IGNORED] * read + ids[read + 1 :] + [IGNORED] * (longest - len(ids)) for ids, read in rows])
    logits = model(input_ids=ids[:, :-1]).logits
    return cross_entropy(logits.transpose(1, 2), labels, reduction="none").sum(1), int((labels != IGNORED).sum())


def _in_orders(number: int, *names: int) -> Iterator[int]:
    """Yield the numbers below a number in one random order after another."""
    rng = Random("/".join(map(str, names)))  # noqa: S311
    while True:
        yield from rng.sample(range(number), number)
