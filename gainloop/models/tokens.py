"""Texts to tokens: what stands in a text is text, and its tokenizer says how a text begins."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from gainloop.methods.sbp import RELATED

Tokens = list[int]


def beginning(tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """Return the tokens that a tokenizer puts before each text: Llama, Gemma and Mistral one, Qwen and SmolLM2 none."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    starts = (at for at in range(len(whole)) if whole[at : at + len(plain)] == plain)
    return list(whole[: next(starts, 0)])


def before_text(tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """Return the tokens that a text's first one is predicted from: what begins a text, or else an end token.

    So it is in packed training, where the end token of the text before stands there.
    """
    return beginning(tokenizer) or [int(tokenizer.eos_token_id)]


def text_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Tokens]:
    """Return the tokens of texts alone. The name of a control token in a text is text, as any other word."""
    if not texts:
        return []
    found: list[Tokens] = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return found


def continued_tokens(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[Tokens]:
    """Return the tokens of documents that a model goes on from, as it read them in training.

    The mark at the end of a prompt for a related document is the one control token that it may have.
    """
    begin = beginning(tokenizer)
    mark = tokenizer(RELATED, add_special_tokens=False, split_special_tokens=False)["input_ids"]
    texts = text_tokens(tokenizer, [prompt.removesuffix(RELATED) for prompt in prompts])
    return [
        [*begin, *ids, *(mark if prompt.endswith(RELATED) else [])] for prompt, ids in zip(prompts, texts, strict=True)
    ]
