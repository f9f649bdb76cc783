"""Texts that a model says of itself, drawn in this process: what it knows in general, where no other text is given."""

import torch

from gainloop.models.loading import context_of, load_model, load_tokenizer
from gainloop.models.tokens import before_text
from schemas.errors import BadInput

AT_ONCE = 16
ROUNDS = 8
"""Times that as many texts are drawn again as came out empty."""


@torch.inference_mode()
def sample_texts(folder: str, number: int, max_tokens: int, seed: int, device: str = "cpu") -> list[str]:
    """Return texts that a checkpoint draws at temperature 1 after what begins a text, and nothing else; none is
    empty.

    Args:
        number: Number of texts.
        max_tokens: Tokens of a text, at most; a longer one is cut off there.
        seed: Seed of the draws.

    Raises:
        BadInput: The model draws hardly anything but empty texts.
    """
    model, tokenizer = load_model(folder, device).eval(), load_tokenizer(folder)
    begun = torch.tensor([before_text(tokenizer)] * AT_ONCE, device=model.device)
    room = min(max_tokens, context_of(model.config) - begun.shape[1])
    found: list[str] = []
    with torch.random.fork_rng(devices=[] if device == "cpu" else None):
        torch.manual_seed(seed)
        for _ in range(ROUNDS * -(-number // AT_ONCE)):
            if len(found) >= number:
                break
            drawn = model.generate(
                input_ids=begun,
                attention_mask=torch.ones_like(begun),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=room,
                pad_token_id=int(tokenizer.eos_token_id),
            )
            texts = tokenizer.batch_decode(drawn[:, begun.shape[1] :], skip_special_tokens=True)
            found += [text.strip() for text in texts if text.strip()]
    if len(found) < number:
        raise BadInput(
            f"drawing {number} texts from {folder}: {len(found)} are not empty; a model that writes text by itself is "
            "needed. Set general to a source of general text."
        )
    return found[:number]
