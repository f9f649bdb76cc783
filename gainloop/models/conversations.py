"""Conversations to rows of tokens, by the model's own chat template, with the loss on what the assistant says alone.

The rows are ours and not those of TRL's SFTTrainer: the budget is exact, a run resumes to the bit, texts and
conversations mix in one training, and no template needs marks of its own around what is generated.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from transformers import PreTrainedTokenizerBase

from gainloop.models.prompts import encode_chat
from gainloop.models.tokens import Tokens
from schemas.conversation import ToolCall, Turn, as_messages
from schemas.errors import BadInput

IGNORED: Final = -100
"""The label that the loss leaves out."""

PLAIN: Final = (
    "{{ bos_token or '' }}{% for message in messages %}{{ message['role'] }}:\n{{ message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '' }}\n\n{% endfor %}"
    "{{ 'assistant:\n' if add_generation_prompt else '' }}"
)
"""Template for a model that has none: who speaks, what is said, and the end token after each of its turns."""

Row = dict[str, list[int]]


def conversation_rows(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> list[Row]:
    """Return a conversation as rows of tokens, whose labels are the assistant's: what it says, and the end of its turn.

    It is one row, where the template writes a turn the same whatever follows it. Some leave the thoughts of earlier
    turns out: then each of the assistant's turns has a row of its own, which begins as that turn is asked for.

    Raises:
        BadInput: The tokenizer has no chat template, or one that refuses the turns, or that begins an assistant's turn
            otherwise than it asks for one.
    """
    messages = _shown(tokenizer, turns)
    wholes, spans = [], []
    for number in (number for number, turn in enumerate(turns) if turn.role == "assistant"):
        prompt = encode_chat(tokenizer, messages[:number])
        whole = encode_chat(tokenizer, messages[: number + 1], asks=False)
        if whole[: len(prompt)] != prompt:
            raise BadInput(
                f"writing a conversation for {tokenizer.name_or_path}: its chat template begins turn {number + 1} "
                "otherwise than it asks for one; what is trained must begin as what is asked for. Set "
                "plan.chat_template to plain, or use a model with another template."
            )
        wholes.append(whole)
        spans.append((len(prompt), _end_of_turn(tokenizer, whole)))
    last = wholes[-1]
    if all(whole[:end] == last[:end] for whole, (_, end) in zip(wholes, spans, strict=True)):
        return [_labelled(last, spans)]
    return [_labelled(whole, [span]) for whole, span in zip(wholes, spans, strict=True)]


def _labelled(ids: Tokens, spans: Sequence[tuple[int, int]]) -> Row:
    labels = [IGNORED] * len(ids)
    for begin, end in spans:
        labels[begin:end] = ids[begin:end]
    return {"input_ids": ids, "labels": labels}


def _end_of_turn(tokenizer: PreTrainedTokenizerBase, ids: Tokens) -> int:
    """Return the number of tokens up to the end of the last turn, without the white space that parts it from a next."""
    end = len(ids)
    while end > 1 and str(tokenizer.decode(ids[end - 1 : end])).isspace():
        end -= 1
    return end


def _shown(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return the messages that the template is given: calls stand in the content where it would leave them out."""
    messages = [message | {"content": message["content"].strip()} for message in as_messages(turns)]
    if "tool_calls" in str(tokenizer.chat_template):
        return messages
    for message, turn in zip(messages, turns, strict=True):
        message.pop("tool_calls", None)
        message["content"] = "\n".join([*([message["content"]] * bool(message["content"])), *map(_as_text, turn.calls)])
    return messages


def _as_text(call: ToolCall) -> str:
    """Return a call as most models that call tools write it."""
    written = json.dumps({"name": call.name, "arguments": dict(call.arguments)}, ensure_ascii=False)
    return f"<tool_call>\n{written}\n</tool_call>"
