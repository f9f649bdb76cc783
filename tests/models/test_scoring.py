from functools import cache

import polars as pl
import pytest
import torch

from gainloop.models import scoring
from gainloop.models.loading import load_model, load_tokenizer
from gainloop.models.scoring import score_answers, score_texts
from tests.tiny_model import PLAN, TEXTS, save_tiny_model

SHORT = [text[: 5 + 7 * n] for n, text in enumerate(TEXTS[:12])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


plain_model = cache(load_model)
plain_tokenizer = cache(load_tokenizer)


@torch.inference_mode()
def plain_nats(folder: str, ids: list[int]) -> float:
    """Return the negative log-likelihood of tokens after an end token, by a plain forward pass."""
    end = int(plain_tokenizer(folder).eos_token_id)
    logprobs = plain_model(folder)(torch.tensor([[end, *ids]])).logits[0].double().log_softmax(-1)
    return -sum(float(logprobs[at, token]) for at, token in enumerate(ids))


def token_ids(folder: str, text: str) -> list[int]:
    tokenizer = plain_tokenizer(folder)
    return [*tokenizer.encode(text), int(tokenizer.eos_token_id)]


def score(folder: str, texts: list[str]) -> pl.DataFrame:
    return score_texts(folder, [str(n) for n in range(len(texts))], texts)


def test_a_texts_nats_are_those_of_a_plain_forward_pass(folder: str) -> None:
    scores = score(folder, SHORT)

    assert scores["nats"].to_list() == pytest.approx(
        [plain_nats(folder, token_ids(folder, t)) for t in SHORT], abs=1e-3
    )
    assert scores["num_tokens"].to_list() == [len(token_ids(folder, text)) for text in SHORT]
    assert scores["num_bytes"].to_list() == [len(text.encode()) for text in SHORT]
    assert scores["text_id"].to_list() == [str(n) for n in range(12)]


def test_logits_stay_within_bounds_and_what_is_read_in_parts_scores_the_same(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = score(folder, TEXTS)["nats"].to_list()
    answers = score_answers(folder, TEXTS[:3], TEXTS[3:6])
    sizes: list[int] = []
    load = scoring.load_model

    def watched(*given: str) -> torch.nn.Module:
        model = load(*given)
        model.register_forward_hook(lambda _model, _given, output: sizes.append(output.logits.nbytes))
        return model

    monkeypatch.setattr(scoring, "load_model", watched)
    monkeypatch.setattr(scoring, "BATCH_BYTES", 4 * PLAN.vocabulary * 50)

    assert score(folder, TEXTS)["nats"].to_list() == pytest.approx(whole, rel=1e-5)
    assert score_answers(folder, TEXTS[:3], TEXTS[3:6]) == pytest.approx(answers, rel=1e-5)
    assert max(sizes) == 4 * PLAN.vocabulary * 50


@pytest.mark.parametrize("batch_tokens", [1, 100, 100_000])
def test_batching_changes_nothing(folder: str, monkeypatch: pytest.MonkeyPatch, batch_tokens: int) -> None:
    whole = score(folder, TEXTS)["nats"].to_list()
    monkeypatch.setattr(scoring, "BATCH_TOKENS", batch_tokens)

    assert score(folder, TEXTS)["nats"].to_list() == pytest.approx(whole, abs=1e-4 * max(whole))
    assert score(folder, TEXTS[::-1])["nats"].to_list() == pytest.approx(whole[::-1], rel=1e-5)


def test_a_text_longer_than_the_context_is_scored_in_windows_each_read_alone(folder: str) -> None:
    text = TEXTS[0] + TEXTS[1]
    ids, window = token_ids(folder, text), PLAN.context_tokens - 1
    assert len(ids) > 2 * window

    (nats,) = score(folder, [text])["nats"]
    assert nats == pytest.approx(sum(plain_nats(folder, ids[at : at + window]) for at in range(0, len(ids), window)))


def test_an_empty_text_costs_its_end_and_no_texts_nothing(folder: str) -> None:
    (row,) = score(folder, [""]).rows(named=True)

    assert row["nats"] == pytest.approx(plain_nats(folder, token_ids(folder, "")))
    assert (row["num_tokens"], row["num_bytes"]) == (1, 0)
    assert score(folder, []).is_empty()


def test_bytes_are_counted_in_utf_8(folder: str) -> None:
    assert score(folder, ["Ελλάδα"])["num_bytes"].to_list() == [12]


def test_an_answer_is_scored_after_its_prompt_and_without_an_end(folder: str) -> None:
    prompts, answers = ["The name of a module", "A list"], ["is a string", "holds items"]
    found = score_answers(folder, prompts, answers)
    for prompt, answer, nats in zip(prompts, answers, found, strict=True):
        asked, given = token_ids(folder, prompt)[:-1], token_ids(folder, f" {answer}")[:-1]
        assert nats == pytest.approx(plain_nats(folder, asked + given) - plain_nats(folder, asked), rel=1e-5)


def test_the_last_part_is_read_of_a_prompt_that_is_longer_than_the_context(folder: str) -> None:
    (nats,) = score_answers(folder, ["word " * PLAN.context_tokens], ["is a string"])
    assert 0 < nats < 100
