"""Answers of a checkpoint: how likely it finds the endings of a prompt, and what it writes itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteria

from gainloop.models.loading import context_of, end_tokens, load_model, load_tokenizer
from gainloop.models.prompts import encode_prompt
from gainloop.models.tokens import Tokens, before_text, text_tokens
from schemas.rows import Prompt

BATCH_TOKENS: Final = 2048
"""Tokens of a forward pass, padding counted; one row of more is read alone."""

SHARED_TOKENS: Final = 64
"""Tokens that prompts must begin with alike to stand in one row: a document that several questions are about."""

ROW_TOKENS: Final = 1024
"""Tokens of a row of several prompts, at most."""

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
    hidden from the others, and so do prompts that begin alike, as questions about one document do; where a model's
    attention is more than a mask says, each ending has a row of its own.
    """
    apart = not _is_plain_attention(examinee.model)
    twigs = [twig for number, one in enumerate(asked) for twig in _twigs(examinee, number, one, apart)]
    fitting = set(range(len(asked))) - {twig.owner for twig in twigs if twig.reach > examinee.context}
    found: dict[int, dict[int, Ending]] = {number: {} for number in fitting}
    done = len(asked) - len(fitting)
    fit = [twig for twig in twigs if twig.owner in fitting]
    for batch in _batches([_Row([], [twig]) for twig in fit] if apart else _rows(fit)):
        for row, nats in zip(batch, _score(examinee, batch), strict=True):
            values = iter(nats)
            for twig in row.twigs:
                found[twig.owner] |= {place: Ending(next(values), len(ids)) for place, ids in twig.endings}
        done += len({twig.owner for row in batch for twig in row.twigs})
        on_rows(min(done, len(asked)), len(asked))
    return [
        [found[number][place] for place in range(len(one.endings))] if number in fitting else None
        for number, one in enumerate(asked)
    ]


@dataclass(frozen=True, slots=True)
class _Twig:
    """Tokens of a prompt and of some of its endings with their places."""

    owner: int
    prompt: Tokens
    endings: list[tuple[int, Tokens]]

    @property
    def length(self) -> int:
        return len(self.prompt) + sum(len(ids) for _, ids in self.endings)

    @property
    def reach(self) -> int:
        """Tokens of the prompt and its longest ending."""
        return len(self.prompt) + max(len(ids) for _, ids in self.endings)


@dataclass(frozen=True, slots=True)
class _Row:
    """Tokens that prompts begin with alike, and what is left of each of them: at least its last token."""

    stem: Tokens
    twigs: list[_Twig]

    @property
    def length(self) -> int:
        return len(self.stem) + sum(twig.length for twig in self.twigs)

    @property
    def first(self) -> int:
        """Position of the first token whose logits are needed."""
        return len(self.stem) + len(self.twigs[0].prompt) - 1


def _twigs(examinee: Examinee, number: int, one: Branches, apart: bool) -> list[_Twig]:
    prompt = examinee.encode(one.prompt)
    endings = list(enumerate(text_tokens(examinee.tokenizer, [f" {text.strip()}" for text in one.endings])))
    return [_Twig(number, prompt, [ending]) for ending in endings] if apart else [_Twig(number, prompt, endings)]


def _rows(twigs: list[_Twig]) -> list[_Row]:
    """Return rows that read once what prompts begin with alike."""
    groups: list[list[_Twig]] = []
    for twig in sorted(twigs, key=lambda twig: (twig.prompt, twig.owner)):
        if groups and _fit_together([*groups[-1], twig]):
            groups[-1].append(twig)
        else:
            groups.append([twig])
    return [_row(group) for group in groups]


def _fit_together(group: list[_Twig]) -> bool:
    shared = _num_shared(group)
    length = sum(twig.length for twig in group) - shared * (len(group) - 1)
    return shared >= SHARED_TOKENS and length <= ROW_TOKENS


def _num_shared(group: list[_Twig]) -> int:
    """Return how many tokens sorted prompts begin with alike; each keeps one of its own at least."""
    first, last = group[0].prompt, group[-1].prompt
    alike = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return min(alike, *(len(twig.prompt) - 1 for twig in group))


def _row(group: list[_Twig]) -> _Row:
    shared = _num_shared(group) if len(group) > 1 else 0
    return _Row(group[0].prompt[:shared], [replace(twig, prompt=twig.prompt[shared:]) for twig in group])


def _is_plain_attention(model: PreTrainedModel) -> bool:
    """Tell whether every layer attends to all that a mask lets it see."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    return kinds == {"full_attention"} and (window is None or hasattr(config, "layer_types"))


def _batches(rows: list[_Row]) -> Iterator[list[_Row]]:
    """Yield rows of about one length, as many as a forward pass has room for."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: (row.length, row.twigs[0].owner)):
        size = len(batch) + 1
        if batch and (size * row.length > BATCH_TOKENS or size * row.length**2 > MASK_CELLS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _score(examinee: Examinee, batch: list[_Row]) -> list[list[float]]:
    """Return the nats of each row's endings, twig by twig."""
    device, width = examinee.model.device, max(row.length for row in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    places = torch.zeros(len(batch), width, dtype=torch.long)
    for number, row in enumerate(batch):
        tokens = [*row.stem, *(token for part in _parts(row) for token in part.ids)]
        ids[number, : len(tokens)] = torch.tensor(tokens)
        positions = [
            *range(len(row.stem)),
            *(part.follows + step for part in _parts(row) for step in range(len(part.ids))),
        ]
        places[number, : len(tokens)] = torch.tensor(positions)
    asked: dict[str, Any] = {"input_ids": ids.to(device)}
    if any(len(_parts(row)) > 2 for row in batch):
        asked |= {"position_ids": places.to(device), "attention_mask": _mask(batch, width).to(device)}
    first = min(row.first for row in batch)
    logits = examinee.model(**asked, logits_to_keep=width - first, use_cache=False).logits
    return [_nats(row, logits[number], first) for number, row in enumerate(batch)]


class _Part(NamedTuple):
    """A prompt's own tokens in a row, or an ending's.

    Attributes:
        begin: Place of the first of them.
        follows: Number of tokens before it that it sees: its position.
        seen_until: Place from which on no token sees them.
        before: Place of the token that an ending follows; None for a prompt.
    """

    ids: Tokens
    begin: int
    follows: int
    seen_until: int
    before: int | None


def _parts(row: _Row) -> list[_Part]:
    """Return the parts of a row in order: each prompt's own tokens, then its endings."""
    parts: list[_Part] = []
    begin = len(row.stem)
    for twig in row.twigs:
        end, after = begin + twig.length, begin + len(twig.prompt)
        parts.append(_Part(twig.prompt, begin, len(row.stem), end, None))
        at = after
        for _, ids in twig.endings:
            parts.append(_Part(ids, at, len(row.stem) + len(twig.prompt), at + len(ids), after - 1))
            at += len(ids)
        begin = end
    return parts


def _mask(batch: list[_Row], width: int) -> torch.Tensor:
    """Return what is added to attention, [rows, 1, width, width]: 0 where a token sees another, the least elsewhere."""
    sees = torch.ones(width, width, dtype=torch.bool).tril().repeat(len(batch), 1, 1)
    for number, row in enumerate(batch):
        for part in _parts(row):
            sees[number, part.seen_until :, part.begin : part.begin + len(part.ids)] = False
    # What pads a row sees itself, so that no row of the mask is empty.
    sees |= torch.eye(width, dtype=torch.bool)
    return torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)[:, None]


def _nats(row: _Row, logits: torch.Tensor, first: int) -> list[float]:
    """Return the nats of a row's endings; ``first`` is the position that the logits begin with."""
    found = []
    for part in _parts(row):
        if part.before is None:
            continue
        before = [part.before, *range(part.begin, part.begin + len(part.ids) - 1)]
        chosen = logits[[place - first for place in before]].double()
        wanted = torch.tensor(part.ids, device=logits.device)
        found.append(float(torch.nn.functional.cross_entropy(chosen, wanted, reduction="none").sum()))
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
