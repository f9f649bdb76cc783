"""Answers of a checkpoint: how likely it finds the endings of a prompt, and what it writes itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteria

from gainloop.models.loading import context_of, end_tokens, load_model, load_tokenizer
from gainloop.models.prompts import encode_prompt
from gainloop.models.tokens import Tokens, before_text, text_tokens
from schemas.rows import Prompt

BATCH_TOKENS: Final = 2048
"""Tokens of a forward pass, padding counted; one row of more is read alone."""

MASK_CELLS: Final = 2**24
"""Cells of a batch's mask, at most, where there is more than one row: 64 MB."""

OnRows = Callable[[int, int], None]
"""Called with the prompts done, and all of them."""


@dataclass(frozen=True, slots=True)
class Branches:
    """A prompt and several endings, each of which follows it after a space."""

    prompt: str
    endings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """How likely a model finds one ending after its prompt, in nats."""

    nats: float
    num_tokens: int


@dataclass(frozen=True)
class Examinee:
    """A checkpoint that was opened to be asked.

    Attributes:
        begin: Tokens in front of a prompt that a model goes on from.
        ends: Tokens that end an answer.
        context: Tokens of prompt and ending together, at most.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    begin: Tokens
    ends: set[int]
    context: int

    @property
    def speaks(self) -> bool:
        """Tell whether its tokenizer has a template of conversations."""
        return bool(self.tokenizer.chat_template)

    def encode(self, prompt: Prompt) -> Tokens:
        """Return the tokens of a prompt; names of control tokens in it are text."""
        if isinstance(prompt, str):
            return [*self.begin, *text_tokens(self.tokenizer, [prompt])[0]]
        return encode_prompt(self.tokenizer, prompt)


def open_examinee(folder: str, device: str = "cpu") -> Examinee:
    """Return the model of a checkpoint, ready to be asked.

    Raises:
        BadInput: The folder holds no model, or the machine has no such device.
    """
    model, tokenizer = load_model(folder, device).eval(), load_tokenizer(folder)
    ends, context = end_tokens(model, tokenizer), context_of(model.config, folder)
    return Examinee(model, tokenizer, before_text(tokenizer), ends, context)


@torch.inference_mode()
def score_endings(
    examinee: Examinee, asked: Sequence[Branches], on_rows: OnRows = lambda _done, _all: None
) -> list[list[Ending] | None]:
    """Return the negative log-likelihood of each ending after its prompt; None where one of them does not fit.

    The first token is predicted from what begins a text, as in packed training. An ending is tokenised on its own,
    after a space, and need not end the text. The endings of a prompt stand in one row that reads the prompt once, each
    hidden from the others; where a model's attention is more than a mask says, each has a row of its own.
    """
    rows = [
        row
        for number, one in enumerate(asked)
        for row in _rows(examinee, number, one, apart=not _is_plain_attention(examinee.model))
    ]
    fitting = set(range(len(asked))) - {row.owner for row in rows if row.reach > examinee.context}
    found: dict[int, dict[int, Ending]] = {number: {} for number in fitting}
    done = len(asked) - len(fitting)
    batches = list(_batches([row for row in rows if row.owner in fitting]))
    for batch in batches:
        for row, nats in zip(batch, _score(examinee, batch), strict=True):
            found[row.owner] |= {
                place: Ending(value, len(ids)) for (place, ids), value in zip(row.endings, nats, strict=True)
            }
        done += len({row.owner for row in batch})
        on_rows(min(done, len(asked)), len(asked))
    return [
        [found[number][place] for place in range(len(one.endings))] if number in fitting else None
        for number, one in enumerate(asked)
    ]


@dataclass(frozen=True, slots=True)
class _Row:
    """Tokens of a prompt and of some of its endings with their places."""

    owner: int
    prompt: list[int]
    endings: list[tuple[int, list[int]]]

    @property
    def length(self) -> int:
        return len(self.prompt) + sum(len(ids) for _, ids in self.endings)

    @property
    def reach(self) -> int:
        """Tokens of the prompt and its longest ending."""
        return len(self.prompt) + max(len(ids) for _, ids in self.endings)


def _rows(examinee: Examinee, number: int, one: Branches, apart: bool) -> list[_Row]:
    prompt = examinee.encode(one.prompt)
    endings = list(enumerate(text_tokens(examinee.tokenizer, [f" {text.strip()}" for text in one.endings])))
    if apart:
        return [_Row(number, prompt, [ending]) for ending in endings]
    return [_Row(number, prompt, endings)]


def _is_plain_attention(model: PreTrainedModel) -> bool:
    """Tell whether every layer attends to all that a mask lets it see."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    return kinds == {"full_attention"} and (window is None or hasattr(config, "layer_types"))


def _batches(rows: list[_Row]) -> Iterator[list[_Row]]:
    """Yield rows of about one length, as many as a forward pass has room for."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: (row.length, row.owner)):
        size = len(batch) + 1
        if batch and (size * row.length > BATCH_TOKENS or size * row.length**2 > MASK_CELLS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _score(examinee: Examinee, batch: list[_Row]) -> list[list[float]]:
    """Return the nats of each row's endings."""
    device, width = examinee.model.device, max(row.length for row in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    places = torch.zeros(len(batch), width, dtype=torch.long)
    for number, row in enumerate(batch):
        tokens = row.prompt + [token for _, ending in row.endings for token in ending]
        ids[number, : len(tokens)] = torch.tensor(tokens)
        places[number, : len(tokens)] = torch.tensor(_places(row))
    asked: dict[str, Any] = {"input_ids": ids.to(device)}
    if any(len(row.endings) > 1 for row in batch):
        asked |= {"position_ids": places.to(device), "attention_mask": _mask(batch, width).to(device)}
    first = min(len(row.prompt) for row in batch) - 1
    logits = examinee.model(**asked, logits_to_keep=width - first, use_cache=False).logits
    return [_nats(row, logits[number], first) for number, row in enumerate(batch)]


def _places(row: _Row) -> list[int]:
    """Return the position of each token: every ending begins where the prompt ends."""
    begun = len(row.prompt)
    return [*range(begun), *(begun + step for _, ids in row.endings for step in range(len(ids)))]


def _mask(batch: list[_Row], width: int) -> torch.Tensor:
    """Return what is added to attention, [rows, 1, width, width]: 0 where a token sees another, the least elsewhere."""
    sees = torch.ones(width, width, dtype=torch.bool).tril().repeat(len(batch), 1, 1)
    for number, row in enumerate(batch):
        begin = len(row.prompt)
        for _, ids in row.endings:
            sees[number, begin + len(ids) :, begin : begin + len(ids)] = False
            begin += len(ids)
    # What pads a row sees itself, so that no row of the mask is empty.
    sees |= torch.eye(width, dtype=torch.bool)
    return torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)[:, None]


def _nats(row: _Row, logits: torch.Tensor, first: int) -> list[float]:
    """Return the nats of a row's endings; ``first`` is the position that the logits begin with."""
    found, begin = [], len(row.prompt)
    for _, ids in row.endings:
        before = [len(row.prompt) - 1, *range(begin, begin + len(ids) - 1)]
        chosen = logits[[place - first for place in before]].double()
        losses = torch.nn.functional.cross_entropy(chosen, torch.tensor(ids, device=logits.device), reduction="none")
        found.append(float(losses.sum()))
        begin += len(ids)
    return found


@torch.inference_mode()
def write_answers(
    examinee: Examinee,
    prompts: Sequence[list[int]],
    max_tokens: int,
    stops_at_line: bool,
    on_rows: OnRows = lambda _done, _all: None,
) -> list[str | None]:
    """Return the likeliest answer to each prompt, token by token; None where prompt and answer do not fit.

    Args:
        prompts: Tokens of each prompt.
        stops_at_line: Answers end before the first line end that follows a word.
    """
    fitting = [n for n, ids in enumerate(prompts) if len(ids) + max_tokens <= examinee.context]
    order = sorted(fitting, key=lambda number: len(prompts[number]))
    found: dict[int, str] = {}
    while order:
        size = max(1, min(64, BATCH_TOKENS // (len(prompts[order[0]]) + max_tokens)))
        batch, order = order[:size], order[size:]
        texts = _generate(examinee, [prompts[number] for number in batch], max_tokens, stops_at_line)
        found |= dict(zip(batch, texts, strict=True))
        on_rows(len(prompts) - len(order), len(prompts))
    return [found.get(number) for number in range(len(prompts))]


def _generate(examinee: Examinee, prompts: list[list[int]], max_tokens: int, stops_at_line: bool) -> list[str]:
    width, end = max(map(len, prompts)), int(examinee.tokenizer.eos_token_id)
    ids = torch.tensor([[end] * (width - len(one)) + one for one in prompts])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts])
    settings = GenerationConfig(
        max_new_tokens=max_tokens, do_sample=False, eos_token_id=sorted(examinee.ends), pad_token_id=end
    )
    stops = [_LineEnd(examinee.tokenizer, width)] if stops_at_line else []
    device = examinee.model.device
    model: Any = examinee.model
    made: Any = model.generate(
        input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=settings, stopping_criteria=stops
    )
    texts = [str(text) for text in examinee.tokenizer.batch_decode(made[:, width:], skip_special_tokens=True)]
    return [text.strip().partition("\n")[0].strip() if stops_at_line else text.strip() for text in texts]


class _LineEnd(StoppingCriteria):
    """Ends a row whose text has a line end after something that is not white space."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, begun: int) -> None:
        self.tokenizer, self.begun = tokenizer, begun

    def __call__(self, input_ids: Any, _scores: Any, **_more: Any) -> Any:
        texts = self.tokenizer.batch_decode(input_ids[:, self.begun :], skip_special_tokens=True)
        return torch.tensor(["\n" in text.lstrip() for text in texts], device=input_ids.device)
