"""Standard tasks, and tasks from local files, by lm-eval: the optional extra ``evaluate``.

All checkpoints are asked in one process: lm-eval's start, its tasks and their data are paid for once.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from schemas.errors import BadInput
from schemas.exam import Question

Results = dict[str, dict[str, dict[str, float]]]
"""Figures by checkpoint, task and metric; a metric's standard error has its name with ``_stderr``."""

TEXTS: Final[Mapping[str, Any]] = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "text",
    "metric_list": [{"metric": "word_perplexity"}, {"metric": "byte_perplexity"}, {"metric": "bits_per_byte"}],
}
"""The likelihood of whole texts."""

CHOICES: Final[Mapping[str, Any]] = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{prompt}}",
    "doc_to_choice": "options",
    "doc_to_target": "right",
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
    ],
}
"""The likeliest of some options, by the sum of nats (acc) and by byte (acc_norm)."""


def write_texts_task(folder: Path, name: str, texts: Iterable[str]) -> str:
    """Write texts and the YAML of a task of lm-eval that measures their bits per byte; return the task's name."""
    return _write_task(folder, name, TEXTS, ({"text": text} for text in texts))


def write_choices_task(folder: Path, name: str, asked: Iterable[tuple[str, Question]], begin: str = "") -> str:
    """Write questions with options, each with its prompt, and the YAML of a task of lm-eval; return the task's name.

    Args:
        begin: Text before each prompt. Where it is what the model begins a text with, or its end token if it has none,
            likelihoods are those of our own exams.
    """
    rows = (
        {"prompt": f"{begin}{prompt}", "options": list(one.options), "right": one.options.index(one.answer)}
        for prompt, one in asked
        if one.options
    )
    return _write_task(folder, name, CHOICES, rows)


def _write_task(folder: Path, name: str, about: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    where = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data.resolve())}}}
    whole = {"task": name, **where, "test_split": "test", **about, "metadata": {"version": 1.0}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))
    return name


def run_tasks(
    checkpoints: Mapping[str, str],
    tasks: Sequence[str],
    include: Path | None = None,
    device: str = "cpu",
    limit: int | None = None,
    batch_size: int = 8,
) -> Results:
    """Return what tasks of lm-eval say of checkpoints, one after the other in this process.

    Texts begin as in packed training: after what begins a text, or an end token.

    Args:
        checkpoints: Folders of checkpoints by their names.
        tasks: Names of tasks: of lm-eval, or of YAML files in ``include``.
        include: Folder of further tasks.
        limit: Rows of each task, at most. Default: all.

    Raises:
        BadInput: lm-eval is not installed, a checkpoint cannot be opened, or a task is not known.
    """
    evaluator, manager, model_class = _installed(include)
    if unknown := [name for name in tasks if name not in manager.all_tasks]:
        raise BadInput(
            f"evaluating by lm-eval: there is no task {', '.join(unknown)}; a task of lm-eval, or of a YAML file in "
            f"{include or 'a folder'}, is needed. `lm-eval ls tasks` lists lm-eval's own."
        )
    from gainloop.models.loading import load_model, load_tokenizer
    from gainloop.models.tokens import before_text

    found: Results = {}
    for name, folder in checkpoints.items():
        tokenizer = load_tokenizer(folder)
        model = model_class(
            pretrained=load_model(folder, device).eval(),
            tokenizer=tokenizer,
            batch_size=batch_size,
            prefix_token_id=before_text(tokenizer)[-1],
        )
        said = evaluator.simple_evaluate(
            model, tasks=list(tasks), task_manager=manager, limit=limit, bootstrap_iters=0, log_samples=False
        )
        found[name] = {task: _numbers(figures) for task, figures in said["results"].items()}
    return found


def _installed(include: Path | None) -> tuple[Any, Any, Any]:
    """Return the evaluator, the tasks and the class of models of lm-eval."""
    try:
        from lm_eval import evaluator
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise BadInput(
            f"evaluating by lm-eval: {error}; the optional extra is needed. "
            "Install it with `pip install -e '.[evaluate]'`."
        ) from error
    logging.getLogger("lm_eval").setLevel(logging.WARNING)
    return evaluator, TaskManager(include_path=str(include) if include else None), HFLM


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers among a task's figures, without the name of the filter that they went through.

    >>> _numbers({"alias": "mills", "acc,none": 0.5, "acc_stderr,none": "N/A"})
    {'acc': 0.5}
    """
    return {
        name.partition(",")[0]: float(value)
        for name, value in figures.items()
        if isinstance(value, int | float) and "," in name
    }
