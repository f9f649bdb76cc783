import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gainloop.methods.sbp import SBP
from gainloop.serving.embeddings import embed
from schemas.errors import BadInput
from schemas.profile import EmbeddingServers, LocalEmbedding
from tests.models.test_pairing import TEXTS
from tests.serving.embedding_stub import embedding_stub, vector_of
from tests.tiny_model import tiny_tokenizer


@pytest.fixture(scope="module")
def sentence_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a sentence-transformers model of a few random numbers for each of 320 tokens."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    weights = np.random.default_rng(0).standard_normal((320, 16)).astype(np.float32)
    folder = tmp_path_factory.mktemp("sentences") / "model"
    module = StaticEmbedding(tiny_tokenizer().backend_tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[module], device="cpu").save(str(folder))
    return str(folder)


def test_vectors_have_length_one_and_are_the_same_every_time() -> None:
    vectors = embed(TEXTS)

    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(vectors, embed(TEXTS))


def test_a_projection_learned_from_some_texts_still_tells_related_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{text} {n}" for n in range(8) for text in TEXTS]
    monkeypatch.setattr("gainloop.models.embedding.LEARNED_TEXTS", 15)
    monkeypatch.setattr("gainloop.models.embedding.BLOCK_TEXTS", 7)
    told: list[tuple[int, int]] = []
    vectors = embed(texts, on_text=lambda done, total: told.append((done, total)))

    assert vectors.shape[0] == len(texts)
    assert told == [(7, 40), (14, 40), (21, 40), (28, 40), (35, 40), (40, 40)]
    likeness = vectors[0] @ vectors.T
    assert likeness[np.arange(40) % 5 == 0].min() > likeness[np.arange(40) % 5 > 2].max()


def test_a_corpus_without_words_is_refused_in_plain_words() -> None:
    with pytest.raises(BadInput, match=r"embedding 2 texts: .*words of two letters or more are needed"):
        embed(["+ -", "* /"])


def test_a_sentence_transformers_model_embeds_in_this_process(sentence_model: str) -> None:
    vectors = embed(TEXTS, sentence_model, embedding=LocalEmbedding(texts_at_once=2))

    assert vectors.shape == (5, 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert vectors == pytest.approx(embed(TEXTS, sentence_model), abs=1e-6)
    assert vectors[0] @ vectors[1] > 0.95 > max(vectors[2:] @ vectors[0])  # all words but one


def test_a_model_that_is_not_there_is_an_error_that_says_what_may_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match=r"loading the embedding model '.*none' on cpu: .*; tfidf, a folder, or a hub"):
        embed(TEXTS, str(tmp_path / "none"))


def test_without_its_package_a_model_is_an_error_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(BadInput, match=r"sentence-transformers is not installed; .*pip install -e '\.\[embeddings\]'"):
        embed(TEXTS, "some/model")


def test_servers_embed_to_unit_vectors_in_the_order_of_texts() -> None:
    with embedding_stub() as stub:
        vectors = embed(TEXTS, "stub", embedding=EmbeddingServers(urls=[stub.url], texts_per_request=2))

    expected = np.array([vector_of(text) for text in TEXTS])
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(expected / np.linalg.norm(expected, axis=1, keepdims=True), abs=1e-6)


@pytest.mark.parametrize("named", [{}, {"embedder": "tfidf"}, {"embedder": "tfidf", "embedder_revision": ""}])
def test_the_default_embedder_is_no_part_of_a_recipe_and_another_one_is(named: dict[str, Any]) -> None:
    assert not {"embedder", "embedder_revision"} & SBP(**named).model_dump(mode="json").keys()
    other = SBP(embedder="some/model", embedder_revision="abc")
    assert SBP.model_validate(other.model_dump(mode="json")) == other
