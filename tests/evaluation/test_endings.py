"""Endings of texts: how they are cut, and that a model which has read them finds the right ones."""

import copy
from pathlib import Path

import polars as pl
import torch

from gainloop.evaluation.endings import NUM_ENDINGS, OPENING_WORDS, cut_texts, mark_endings
from gainloop.models.answers import open_examinee
from tests.tiny_model import PLAN, TEXTS, save_tiny_model


def frame(texts: list[str]) -> pl.DataFrame:
    rows = [{"text_id": f"t{n:02}", "text": text, "document": f"d{n // 2}"} for n, text in enumerate(texts)]
    return pl.DataFrame(rows)


def test_a_text_is_cut_in_two_and_gets_wrong_endings_of_other_documents() -> None:
    texts = frame([*[text for text in TEXTS if len(text.split()) >= 42][:10], "too short to be cut"])
    cuts = cut_texts(texts)
    assert [one.text_id for one in cuts] == [f"t{n:02}" for n in range(10)]
    own = {one.text_id: one.endings[0] for one in cuts}
    for one in cuts:
        words = texts.filter(text_id=one.text_id)["text"].item().split()
        assert f"{one.opening} {one.endings[0]}".split() == words[: OPENING_WORDS + 10]
        assert len({*one.endings}) == NUM_ENDINGS
        assert all(one.document != f"d{int(name[1:]) // 2}" for name, text in own.items() if text in one.endings[1:])
    assert cut_texts(texts.reverse()) == cuts, "the order of texts changes nothing"
    assert cut_texts(texts.head(2)) == [], "nobody else has an ending"


def test_a_model_that_has_read_the_texts_finds_their_own_endings(tmp_path: Path) -> None:
    cuts = cut_texts(frame([text[:330] for text in TEXTS[:8]]))
    examinee = open_examinee(save_tiny_model(tmp_path / "model", PLAN.model_copy(update={"context_tokens": 512})))
    untrained = copy.deepcopy(examinee)
    torch.manual_seed(0)
    optimiser = torch.optim.AdamW(examinee.model.parameters(), lr=1e-2)
    rows = [examinee.encode(f"{one.opening} {one.endings[0]}") for one in cuts]
    for step in range(120):
        ids = torch.tensor([rows[step % len(rows)]])
        examinee.model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    marked = mark_endings(examinee, cuts)
    assert marked.height == len(cuts) >= 6
    assert marked["right"].sum() >= marked.height - 1
    assert mark_endings(untrained, cuts)["right"].sum() < marked["right"].sum()
