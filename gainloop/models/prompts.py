"""Prompts to tokens: the turns of a chat come from the template alone, never from what a message says."""

from collections.abc import Sequence
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from gainloop.models.tokens import Tokens, continued_tokens
from schemas.errors import BadInput
from schemas.rows import Prompt

ChatMessage = dict[str, Any]

NO_CLOCK = "{%- macro strftime_now(format) -%}01 January 2026{%- endmacro -%}"
"""Tells templates that write the day into a prompt (Llama 3, SmolLM3) always the same: no reply depends on a clock."""


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> Tokens:
    """Return the tokens of a prompt: a document to go on from, or a chat up to where the assistant begins.

    Control tokens are those of the chat template. Their names in a message are text, so that no document can end its
    turn and begin another.

    Raises:
        BadInput: The tokenizer has no chat template, or one that refuses the messages.
    """
    if isinstance(prompt, str):
        return continued_tokens(tokenizer, [prompt])[0]
    return encode_chat(tokenizer, [{"role": message.role, "content": message.content} for message in prompt])


def encode_chat(tokenizer: PreTrainedTokenizerBase, turns: Sequence[ChatMessage], asks: bool = True) -> Tokens:
    """Return the tokens of a chat. Where a template has no system message, that begins the first question.

    Args:
        asks: True for tokens up to where the assistant begins, False for the chat as it stands.

    Raises:
        BadInput: The tokenizer has no chat template, or one that refuses the messages.
    """
    try:
        try:
            return _fill_in(tokenizer, list(turns), asks)
        except TemplateError:
            if len(turns) < 2 or turns[0]["role"] != "system":
                raise
            begun = turns[1] | {"content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
            return _fill_in(tokenizer, [begun, *turns[2:]], asks)
    except Exception as error:  # a template is a program
        found = " ".join(str(error).split())[:200] if tokenizer.chat_template else "its tokenizer has no chat template"
        raise BadInput(
            f"writing a chat for {tokenizer.name_or_path}: {found}; a model that was tuned to follow instructions, "
            "with its chat template, is needed. Name such a model, or use the method sbp, which needs none."
        ) from error


def _fill_in(tokenizer: PreTrainedTokenizerBase, turns: list[ChatMessage], asks: bool) -> Tokens:
    template = tokenizer.get_chat_template()
    if "strftime_now" in template:
        template = NO_CLOCK + template
    options: dict[str, Any] = {"add_generation_prompt": asks, "return_dict": False, "sanitize_control_tokens": True}
    ids: Any = tokenizer.apply_chat_template(turns, chat_template=template, **options)
    return list(ids)
