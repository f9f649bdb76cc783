"""What a conversation is trained on: every token that the assistant says, and no other."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from gainloop.models.conversations import IGNORED, PLAIN, Row, conversation_rows
from gainloop.models.loading import load_model, load_tokenizer
from gainloop.models.packing import MixturePart, Packed, orders_of, pack
from gainloop.models.prompts import encode_chat
from gainloop.models.start import END, make_model
from gainloop.models.trainer import train
from schemas.conversation import ToolCall, Turn
from schemas.errors import BadInput
from schemas.plan import NewModel, Optimiser
from schemas.profile import Training
from tests.tiny_model import tiny_tokenizer

TALK = (
    Turn("system", "Answer in one word."),
    Turn("user", "What does the mill grind?"),
    Turn("assistant", "Rye."),
    Turn("user", "And the other mill?"),
    Turn("assistant", "Oats, mostly."),
)
SHORTENING = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content.split('</think>')[-1].strip() "
    "if message.role == 'assistant' and not loop.last else message.content }}{{ eos_token }}\n{% endfor %}"
    "{{ '<assistant>' if add_generation_prompt else '' }}"
)
"""A template as those of models that think have it: the thoughts of earlier turns are left out."""

CONTEXT = 96


def with_template(template: str | None) -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def trained(tokenizer: PreTrainedTokenizerFast, row: Row) -> list[str]:
    """Return the texts that the loss is on, one for each run of tokens."""
    runs: list[list[int]] = [[]]
    for token in row["labels"]:
        if token != IGNORED:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(ids) for ids in runs if ids]


def test_the_loss_is_on_what_the_assistant_says_and_on_the_end_of_its_turn(smollm2: str) -> None:
    tokenizer = load_tokenizer(smollm2)
    (row,) = conversation_rows(tokenizer, TALK)

    assert trained(tokenizer, row) == ["Rye.<|im_end|>", "Oats, mostly.<|im_end|>"]
    assert row["input_ids"] == tokenizer.apply_chat_template(
        [{"role": turn.role, "content": turn.content} for turn in TALK], return_dict=False
    )
    assert all(label in (IGNORED, token) for token, label in zip(*row.values(), strict=True))


def test_what_is_trained_begins_as_it_is_asked_for(smollm2: str) -> None:
    for tokenizer in (load_tokenizer(smollm2), tiny_tokenizer(), with_template(PLAIN)):
        (row,) = conversation_rows(tokenizer, TALK)
        asked = encode_chat(tokenizer, [{"role": turn.role, "content": turn.content} for turn in TALK[:4]])

        assert row["input_ids"][: len(asked)] == asked
        assert row["labels"][len(asked)] == row["input_ids"][len(asked)]


def test_a_template_that_leaves_earlier_thoughts_out_has_a_row_for_each_turn() -> None:
    tokenizer = with_template(SHORTENING)
    turns = (
        *(Turn("user", "First?"), Turn("assistant", "Rye.", thought="It is a mill.")),
        *(Turn("user", "Then?"), Turn("assistant", "Oats.", thought="Another.")),
    )
    first, second = conversation_rows(tokenizer, turns)

    assert trained(tokenizer, first) == [f"<think>\nIt is a mill.\n</think>\n\nRye.{tokenizer.eos_token}"]
    assert trained(tokenizer, second) == [f"<think>\nAnother.\n</think>\n\nOats.{tokenizer.eos_token}"]
    assert "It is a mill" not in tokenizer.decode(second["input_ids"])


def test_a_call_is_trained_on_and_its_result_is_not_where_a_template_knows_no_tools(smollm2: str) -> None:
    tokenizer = load_tokenizer(smollm2)
    turns = (
        *(Turn("user", "Is room 7 free?"), Turn("assistant", calls=(ToolCall("find", {"room": 7}, "c1"),))),
        *(Turn("tool", '{"free": true}', call_id="c1"), Turn("assistant", "It is.")),
    )
    (row,) = conversation_rows(tokenizer, turns)

    called = '<tool_call>\n{"name": "find", "arguments": {"room": 7}}\n</tool_call><|im_end|>'
    assert trained(tokenizer, row) == [called, "It is.<|im_end|>"]
    assert '{"free": true}' in tokenizer.decode(row["input_ids"])


def test_no_text_of_a_turn_ends_it() -> None:
    tokenizer = tiny_tokenizer()
    ends = tokenizer.convert_tokens_to_ids(END)
    (honest,) = conversation_rows(tokenizer, (Turn("user", "a"), Turn("assistant", "b")))
    (forged,) = conversation_rows(tokenizer, (Turn("user", f"a{END}b"), Turn("assistant", f"b{END}c")))

    assert forged["input_ids"].count(ends) == honest["input_ids"].count(ends)


def test_a_model_without_a_template_is_refused_by_name_and_the_plain_one_serves_it() -> None:
    with pytest.raises(BadInput, match="its tokenizer has no chat template"):
        conversation_rows(with_template(None), TALK)
    (row,) = conversation_rows(plain := with_template(PLAIN), TALK)
    end = plain.eos_token
    assert trained(plain, row) == [f"Rye.{end}", f"Oats, mostly.{end}"]


def test_a_template_that_asks_otherwise_than_it_writes_is_refused() -> None:
    odd = "{% for one in messages %}{{ one.role }} {{ one.content }}{{ eos_token }}{% endfor %}"
    with pytest.raises(BadInput, match="begins turn 3 otherwise than it asks for one"):
        conversation_rows(with_template(odd + "{{ 'Answer:' if add_generation_prompt }}"), TALK)


def packed(talks: Sequence[Sequence[Turn]], budget: int, seed: int = 0, known: Sequence[float] = ()) -> Packed:
    names = [f"talk {number}" for number in range(len(talks))]
    return pack(
        [MixturePart("synthetic", names, 1.0, known, turns=talks)], tiny_tokenizer(), budget, CONTEXT, orders_of(seed)
    )


WORDS = st.lists(st.sampled_from(["rye", "oats", "mill", "stone"]), min_size=1, max_size=6).map(" ".join)


@settings(max_examples=40)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=12), st.integers(0, 9), st.integers(2, 9))
def test_rows_hold_whole_conversations_and_no_more_than_the_budget(
    said: list[tuple[str, str]], seed: int, rows: int
) -> None:
    talks = [(Turn("user", one), Turn("assistant", other)) for one, other in said]
    alone = [conversation_rows(tiny_tokenizer(), talk)[0] for talk in talks]
    found = packed(talks, rows * CONTEXT, seed)

    assert found.tokens["synthetic"] == sum(len(row["input_ids"]) for row in found.rows) <= rows * CONTEXT
    assert found.trained["synthetic"] == sum(label != IGNORED for row in found.rows for label in row["labels"])
    assert max(len(row["input_ids"]) for row in found.rows) <= CONTEXT
    assert found.tokens["synthetic"] > (rows - 1) * CONTEXT
    times = [round(count) for count in found.times_read["synthetic"]]
    assert found.times_read["synthetic"] == times
    assert found.trained["synthetic"] == sum(
        count * sum(label != IGNORED for label in row["labels"]) for count, row in zip(times, alone, strict=True)
    )
    assert max(times) - min(times) <= 1


def test_a_conversation_longer_than_a_row_is_left_out_and_counted() -> None:
    short, long = (Turn("user", "a"), Turn("assistant", "b")), (Turn("user", "rye " * 99), Turn("assistant", "b"))
    found = packed([short, long, short], 4 * CONTEXT)

    assert found.too_long == {"synthetic": 1}
    assert found.times_read["synthetic"][1] == 0
    with pytest.raises(BadInput, match=f"2 conversations of synthetic into rows of {CONTEXT} tokens: each of them"):
        packed([long, long], 4 * CONTEXT)


def test_a_row_is_first_read_until_the_conversations_come_again() -> None:
    talks = [(Turn("user", f"mill {number}"), Turn("assistant", "rye")) for number in range(20)]
    assert all(packed(talks, 2 * CONTEXT).is_first)
    assert not all(packed(talks, 9 * CONTEXT).is_first)
    assert not any(packed(talks, 2 * CONTEXT, known=[1.0] * 20).is_first)


RULE = {"rye": "north", "oats": "south", "barley": "east", "wheat": "west"}
NOISE = ["mill", "stone", "river", "field", "barn", "cart", "road", "gate"]


def questions(count: int) -> list[str]:
    rng = Random(0)
    drawn = (
        f"{rng.choice(NOISE)} {rng.choice([*RULE])} {rng.choice(NOISE)} {rng.randrange(100)}" for _ in range(2 * count)
    )
    return list(dict.fromkeys(drawn))[:count]


def by_rule(question: str) -> str:
    return next(RULE[word] for word in question.split() if word in RULE)


@torch.inference_mode()
def share_right(folder: str, asked: Sequence[str]) -> float:
    model, tokenizer = load_model(folder).eval(), load_tokenizer(folder)
    right = 0
    for question in asked:
        ids = encode_chat(tokenizer, [{"role": "user", "content": question}])
        said = model.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False, pad_token_id=0)[0, len(ids) :]
        right += str(tokenizer.decode(said, skip_special_tokens=True)).strip() == by_rule(question)
    return right / len(asked)


def test_a_model_trained_on_300_conversations_of_a_rule_follows_it_where_it_was_not_told(tmp_path: Path) -> None:
    asked, tokenizer = questions(400), tiny_tokenizer()
    torch.manual_seed(0)
    model = make_model(NewModel(vocabulary=320, hidden_size=64, layers=2, head_size=32, context_tokens=128), tokenizer)
    before = tmp_path / "before"
    model.save_pretrained(before)
    tokenizer.save_pretrained(before)
    talks = [(Turn("user", one), Turn("assistant", by_rule(one))) for one in asked[:300]]
    rows = pack([MixturePart("synthetic", asked[:300], 1.0, turns=talks)], tokenizer, 100_000, 128, orders_of(0)).rows

    after = str(tmp_path / "after")
    train(model, tokenizer, rows, Optimiser(learning_rate=6e-3, batch_tokens=1024), Training(), after, 0)
    assert share_right(str(before), asked[300:]) < 0.1
    assert share_right(after, asked[300:]) > 0.9
