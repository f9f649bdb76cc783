"""A tokenizer and a small model made from a corpus, for when there is no checkpoint to start from."""

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from gainloop.methods.sbp import RELATED
from schemas.plan import NewModel

END, USER, ASSISTANT = "<|end|>", "<|user|>", "<|assistant|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + ('assistant' if message['role'] == 'assistant' else 'user') + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def make_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer: every text has tokens, and decoding gives the text again."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, USER, ASSISTANT, RELATED],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        additional_special_tokens=[USER, ASSISTANT, RELATED],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def make_model(plan: NewModel, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """Return an untrained Qwen3-architecture model; the plan's seed decides its weights."""
    torch.manual_seed(plan.seed)
    heads = max(1, plan.hidden_size // plan.head_size)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=plan.hidden_size,
        intermediate_size=plan.hidden_size * 8 // 3 // 32 * 32,
        num_hidden_layers=plan.layers,
        num_attention_heads=heads,
        num_key_value_heads=max(few for few in range(1, max(1, heads // 3) + 1) if heads % few == 0),
        head_dim=plan.head_size,
        max_position_embeddings=plan.context_tokens,
        tie_word_embeddings=True,
        initializer_range=plan.hidden_size**-0.5,  # the usual 0.02 is for widths of thousands: a narrow model stalls
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)
