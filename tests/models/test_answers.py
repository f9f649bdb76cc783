from types import SimpleNamespace

import pytest
import torch
from transformers import Gemma3TextConfig, LlamaConfig, MistralConfig, Qwen3Config

from gainloop.models import answers
from gainloop.models.answers import Branches, Examinee, open_examinee, score_endings, write_answers
from gainloop.models.scoring import score_answers
from tests.tiny_model import TEXTS, save_tiny_model

ASKED = [
    Branches(TEXTS[n][: 10 + 5 * n], tuple(TEXTS[m][20 : 24 + 3 * m].strip() for m in range(n, n + 4)))
    for n in range(6)
] + [Branches(TEXTS[0][:30], (TEXTS[1][:9],))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def examinee(folder: str) -> Examinee:
    return open_examinee(folder)


def nats(scored: list[list[answers.Ending] | None]) -> list[float]:
    return [ending.nats for row in scored for ending in row or []]


def test_an_ending_is_as_likely_beside_others_in_one_row_as_alone(folder: str, examinee: Examinee) -> None:
    prompts = [one.prompt for one in ASKED for _ in one.endings]
    alone = score_answers(folder, prompts, [text for one in ASKED for text in one.endings])

    assert nats(score_endings(examinee, ASKED)) == pytest.approx(alone, abs=1e-4)


def test_questions_about_one_document_read_it_once_and_are_as_likely_as_alone(
    folder: str, examinee: Examinee, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = "The mill by the river grinds rye and oats for the town. " * 2
    monkeypatch.setattr(answers, "SHARED_TOKENS", 16)
    asked = [
        Branches(f"{document}\nQuestion: {question}\nAnswer:", ("rye", "oats and barley", "the town"))
        for question in ("What does it grind?", "Where does it stand?", "For whom?", "What does it grind in spring?")
    ] + [Branches("Question: What is ground?\nAnswer:", ("rye", "oats"))]
    lengths: list[int] = []
    score = answers._score
    monkeypatch.setattr(
        answers, "_score", lambda one, batch: lengths.extend(r.length for r in batch) or score(one, batch)
    )
    alone = score_answers(
        folder, [one.prompt for one in asked for _ in one.endings], [text for one in asked for text in one.endings]
    )

    assert nats(score_endings(examinee, asked)) == pytest.approx(alone, abs=1e-4)
    assert len(lengths) == 2, "one row for the document, one for the question without"
    assert max(lengths) < 4 * len(examinee.encode(document))


def test_a_model_with_a_window_of_attention_reads_each_ending_in_a_row_of_its_own(
    folder: str, examinee: Examinee, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = nats(score_endings(examinee, ASKED))
    monkeypatch.setattr(answers, "_is_plain_attention", lambda _model: False)
    masks: list[bool] = []
    score = answers._score
    monkeypatch.setattr(
        answers,
        "_score",
        lambda one, batch: masks.append(any(len(answers._parts(r)) > 2 for r in batch)) or score(one, batch),
    )

    assert nats(score_endings(examinee, ASKED)) == pytest.approx(together, abs=1e-4)
    assert not any(masks)


def test_a_window_of_attention_is_seen_in_a_models_config(examinee: Examinee) -> None:
    assert answers._is_plain_attention(examinee.model)
    windowed = [
        MistralConfig(sliding_window=64, num_hidden_layers=1),
        Gemma3TextConfig(num_hidden_layers=6),
        Qwen3Config(use_sliding_window=True, sliding_window=64, max_window_layers=1, num_hidden_layers=2),
    ]
    for config in windowed:
        assert not answers._is_plain_attention(SimpleNamespace(config=config))  # type: ignore[arg-type]
    assert answers._is_plain_attention(SimpleNamespace(config=LlamaConfig()))  # type: ignore[arg-type]


def test_a_prompt_whose_longest_ending_does_not_fit_is_not_scored_and_the_others_are(examinee: Examinee) -> None:
    long = Branches(TEXTS[3] * 3, ("rye", "oats"))
    told: list[tuple[int, int]] = []

    first, second = score_endings(examinee, [long, ASKED[0]], lambda done, total: told.append((done, total)))

    assert first is None
    assert second is not None
    assert len(second) == 4
    assert told[-1] == (2, 2)


def test_an_ending_is_a_space_and_the_text_whatever_space_it_came_with(examinee: Examinee) -> None:
    (stripped,), (spaced,) = (
        score_endings(examinee, [Branches("Who?", (text,))])[0] or [] for text in ("Ann", "  Ann\n")
    )

    assert stripped == spaced


@torch.inference_mode()
def test_a_written_answer_is_the_likeliest_token_after_token_whatever_is_beside_it(examinee: Examinee) -> None:
    prompts = [examinee.tokenizer(text[: 8 + 6 * n])["input_ids"] for n, text in enumerate(TEXTS[:5])]
    together = write_answers(examinee, prompts, 8, stops_at_line=False)
    for ids, text in zip(prompts, together, strict=True):
        row = list(ids)
        while len(row) < len(ids) + 8 and row[-1] not in examinee.ends:
            row.append(int(examinee.model(input_ids=torch.tensor([row])).logits[0, -1].argmax()))
        assert text == examinee.tokenizer.decode(row[len(ids) :], skip_special_tokens=True).strip()


def test_a_prompt_that_leaves_no_room_for_an_answer_is_not_asked(examinee: Examinee) -> None:
    ids = examinee.tokenizer(TEXTS[3] * 3)["input_ids"]

    assert write_answers(examinee, [ids, ids[:5]], 8, stops_at_line=True)[0] is None


def test_a_real_model_finds_the_right_option_with_the_document_in_front(smollm2: str) -> None:
    text = "The mill of Ashby stands on the north bank. It was built in 1873. The miller was Tamsin Orr.\n"
    asked = [
        Branches(f"{text}Question: Who was the miller of Ashby?\nAnswer:", ("Tamsin Orr", "Hugo Pell", "Edda Voss")),
        Branches(f"{text}Question: When was the mill of Ashby built?\nAnswer:", ("1873", "1901", "1766")),
    ]

    for row in score_endings(open_examinee(smollm2), asked):
        assert row is not None
        assert min(range(3), key=lambda place: row[place].nats) == 0
