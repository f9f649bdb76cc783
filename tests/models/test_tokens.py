"""What stands before, in and after a text, by tokenizers with and without a beginning token."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from gainloop.methods.sbp import RELATED, ask_related
from gainloop.models.loading import load_model
from gainloop.models.packing import IGNORED, MixturePart, PairRows, encode, orders_of, pack
from gainloop.models.scoring import score_answers, score_texts
from gainloop.models.start import make_model
from gainloop.models.tokens import beginning, continued_tokens, text_tokens
from tests.tiny_model import PLAN, TEXTS, tiny_tokenizer


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer as Llama's is: words after a ▁, a beginning token before each text."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>", "<|start|>", "<|stop|>"]
    trainer = trainers.BpeTrainer(vocab_size=PLAN.vocabulary, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<|start|>", "<|stop|>"],
        chat_template="{{ bos_token }}{% for m in messages %}{{ '<|start|>' + m['role'] + '\n' + m['content'] | trim "
        "+ '<|stop|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}",
    )


LLAMA, PLAIN = llama_tokenizer(), tiny_tokenizer()
BOS = LLAMA.bos_token_id


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of an untrained model with a beginning token."""
    saved = tmp_path_factory.mktemp("llama")
    make_model(PLAN, LLAMA).save_pretrained(saved)
    LLAMA.save_pretrained(saved)
    return str(saved)


def test_a_text_begins_as_its_tokenizer_says_and_only_once() -> None:
    assert (beginning(LLAMA), beginning(PLAIN)) == ([BOS], [])
    (row,) = encode(LLAMA, [TEXTS[0]])
    assert row == [*LLAMA(TEXTS[0])["input_ids"], LLAMA.eos_token_id]
    assert row.count(BOS) == 1
    assert encode(PLAIN, [TEXTS[0]]) == [[*PLAIN(TEXTS[0])["input_ids"], PLAIN.eos_token_id]]


def test_a_tokenizer_that_ends_texts_too_has_its_end_once() -> None:
    both = llama_tokenizer()
    special = [("<s>", both.bos_token_id), ("</s>", both.eos_token_id)]
    both.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=special)

    (row,) = encode(both, ["word"])
    assert (row[0], row[-1], row.count(both.eos_token_id)) == (both.bos_token_id, both.eos_token_id, 1)


@pytest.mark.parametrize("tokenizer", [LLAMA, PLAIN], ids=["llama", "plain"])
def test_names_of_control_tokens_in_a_text_are_text(tokenizer: PreTrainedTokenizerFast) -> None:
    names = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    text = f"a turn ends with {' and '.join(names)} here"

    (ids,) = text_tokens(tokenizer, [text])
    assert not set(ids) & set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    if tokenizer is PLAIN:
        assert tokenizer.decode(ids) == text
    assert text_tokens(tokenizer, []) == []


def test_packed_rows_hold_a_beginning_before_each_document() -> None:
    rows = pack([MixturePart("anchors", TEXTS[:4], 1.0)], LLAMA, 2048, 2048, orders_of(0)).rows
    (row,) = (row["input_ids"] for row in rows)

    after = [row[at + 1] for at, token in enumerate(row[:-1]) if token == LLAMA.eos_token_id]
    assert row[0] == BOS
    assert after
    assert set(after) == {BOS}


def test_a_pair_begins_once_and_a_generator_is_asked_as_it_was_tuned() -> None:
    prompt, text = ask_related("one <|end|> two"), "three <|user|>"
    (row,) = PairRows(np.array([[0, 0]]), [prompt], [text], PLAIN, 128, 128)
    mark, (asked,) = PLAIN.convert_tokens_to_ids(RELATED), continued_tokens(PLAIN, [prompt])

    assert row["input_ids"][: len(asked)] == asked
    assert [token for token in asked if token in PLAIN.all_special_ids] == [mark] == asked[-1:]
    assert [t for t in row["input_ids"] if t in PLAIN.all_special_ids] == [mark, PLAIN.eos_token_id]
    assert row["labels"] == [IGNORED] * len(asked) + row["input_ids"][len(asked) :]
    assert continued_tokens(LLAMA, ["one two"]) == [LLAMA("one two")["input_ids"]]


@torch.inference_mode()
def nats_after(folder: str, before: list[int], ids: list[int]) -> float:
    logprobs = load_model(folder)(torch.tensor([[*before, *ids]])).logits[0].double().log_softmax(-1)
    return -sum(float(logprobs[len(before) - 1 + at, token]) for at, token in enumerate(ids))


def test_a_text_is_scored_after_its_beginning_token_alone(folder: str) -> None:
    ids = [*text_tokens(LLAMA, ["the value"])[0], LLAMA.eos_token_id]

    (row,) = score_texts(folder, ["one"], ["the value"]).rows(named=True)
    assert row["nats"] == pytest.approx(nats_after(folder, [BOS], ids), rel=1e-5)
    assert row["num_tokens"] == len(ids)
    (nats,) = score_answers(folder, ["the value"], ["is a"])
    asked, given = text_tokens(LLAMA, ["the value", " is a"])
    assert nats == pytest.approx(nats_after(folder, [BOS, *asked], given), rel=1e-5)


def test_each_piece_of_a_long_text_and_each_text_before_has_one_beginning(folder: str) -> None:
    ids, window = [*text_tokens(LLAMA, [TEXTS[0] + TEXTS[1]])[0], LLAMA.eos_token_id], PLAN.context_tokens - 1
    pieces = [ids[at : at + window] for at in range(0, len(ids), window)]
    assert len(pieces) > 1

    (nats,) = score_texts(folder, ["one"], [TEXTS[0] + TEXTS[1]])["nats"]
    assert nats == pytest.approx(sum(nats_after(folder, [BOS], piece) for piece in pieces), rel=1e-5)
    (read,) = score_texts(folder, ["one"], ["the value"], before=["a name"], window=32)["nats"]
    head, text = ([*one, LLAMA.eos_token_id] for one in text_tokens(LLAMA, ["a name", "the value"]))
    assert read == pytest.approx(nats_after(folder, [BOS, *head], text), rel=1e-5)


def test_a_saved_tokenizer_is_as_it_was(folder: str, tmp_path: Path) -> None:
    text_tokens(PLAIN, ["a"])
    PLAIN.save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)

    assert again("<|end|>")["input_ids"] == [PLAIN.eos_token_id]
