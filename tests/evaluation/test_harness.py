import math
import sys
from pathlib import Path

import pytest

from gainloop.evaluation import wording
from gainloop.evaluation.answering import Sitting, likelihoods
from gainloop.evaluation.harness import run_tasks, write_choices_task, write_texts_task
from gainloop.models.answers import open_examinee
from gainloop.models.loading import load_tokenizer
from gainloop.models.scoring import score_texts
from schemas.errors import BadInput
from schemas.exam import Asking, Exam, Question, shuffled
from tests.exams import MILLS, owner
from tests.tiny_model import PLAN, TEXTS, save_tiny_model

PROSE = [text[: 60 + 9 * n].strip() for n, text in enumerate(TEXTS[:8])]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tiny")
    plans = {str(seed): PLAN.model_copy(update={"seed": seed, "context_tokens": 256}) for seed in (1, 2)}
    return {name: save_tiny_model(folder / name, plan) for name, plan in plans.items()}


@pytest.fixture
def lm_eval() -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install -e '.[evaluate]'")


@pytest.mark.usefixtures("lm_eval")
def test_bits_per_byte_of_lm_eval_are_ours(checkpoints: dict[str, str], tmp_path: Path) -> None:
    task = write_texts_task(tmp_path, "prose", PROSE)
    found = run_tasks(checkpoints, [task], tmp_path)

    for name, folder in checkpoints.items():
        ours = score_texts(folder, [str(n) for n in range(len(PROSE))], PROSE, ends=False)
        bits = ours["nats"].sum() / math.log(2) / ours["num_bytes"].sum()
        assert found[name][task]["bits_per_byte"] == pytest.approx(bits, abs=1e-6)
    assert found["1"][task]["bits_per_byte"] != found["2"][task]["bits_per_byte"]


@pytest.mark.usefixtures("lm_eval")
def test_the_share_right_of_lm_eval_is_ours(checkpoints: dict[str, str], tmp_path: Path) -> None:
    questions = tuple(
        Question(
            asked := f"Who was the miller of {name}?",
            owner(n),
            f"{name}.md",
            options=shuffled(asked, tuple(owner(n + step) for step in range(4))),
        )
        for n, name in enumerate(MILLS)
    )
    asked_of = ((wording.plain(one, True), one) for one in questions)
    task = write_choices_task(tmp_path, "mills", asked_of, load_tokenizer(checkpoints["1"]).eos_token)
    found = run_tasks(checkpoints, [task], tmp_path)

    for name, folder in checkpoints.items():
        sitting = Sitting(Exam("s", questions), "closed", Asking())
        ours = likelihoods(open_examinee(folder), questions, [()] * len(questions), sitting, lambda *_told: None)
        assert found[name][task]["acc"] == pytest.approx(ours["option_right"].mean())
        assert found[name][task]["acc_norm"] == pytest.approx(ours["option_right_by_byte"].mean())


@pytest.mark.usefixtures("lm_eval")
def test_a_task_that_is_not_there_is_an_error(checkpoints: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no task no_such_task"):
        run_tasks(checkpoints, ["no_such_task"], tmp_path)


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)

    with pytest.raises(BadInput, match=r"Install it with `pip install -e '\.\[evaluate\]'`"):
        run_tasks({}, ["arc_easy"])
