"""The answers of one training's models to an exam, made up: shares right and forgetting are those asked for."""

import math
from typing import Any

import numpy as np
import polars as pl

from gainloop.reports.evidence import Examined
from gainloop.store import Store
from gainloop.store.batches import complete_stage
from gainloop.store.duck import now
from gainloop.store.files import write_frame
from schemas.rows import content_hash

TRAINING = "0badcafe12345678"
NUM_DOCUMENTS = 16
EACH = 8
NUM_TEXTS = 40

RIGHT = {"start": 0.27, "synthetic": 0.55, "baseline": 0.38, "replay_control": 0.33}
FORGOTTEN = {"start": 0.0, "synthetic": 0.03, "baseline": 0.09, "replay_control": 0.03}
"""Bits by byte of general text at the end of each arm."""


def make_examined(
    right: dict[str, float] | None = None,
    forgotten: dict[str, float] | None = None,
    num_seeds: int = 3,
    fractions: tuple[float, ...] = (0.5, 1.0),
    open_book: float | None = 0.8,
    **changes: Any,
) -> Examined:
    """Return an exam of 128 questions; a model that has more right has the questions right that others have, and more.

    Args:
        right: Share right at the end, by arm; half way it lies in the middle between the start's and that.
        forgotten: Bits by byte of general text at the end, by arm.
        open_book: Share that the start has right with the document in front; None if it was not asked.
    """
    shares, lost = right or RIGHT, forgotten or FORGOTTEN
    rng = np.random.default_rng(0)
    questions = pl.DataFrame([_question(number) for number in range(NUM_DOCUMENTS * EACH)])
    order = rng.permutation(questions.height)
    general = _general(rng)
    answers = {"start/0/0/closed": _answers(rng, questions, order, shares["start"], "closed")}
    if open_book is not None:
        answers["start/0/0/open"] = _answers(rng, questions, order, open_book, "open")
    scores, arms = {"start/0/0": general}, []
    uneven = pl.Series([0.02 * (-1) ** number for number in range(general.height)])
    for arm in [one for one in shares if one != "start"]:
        for seed in range(num_seeds):
            points = []
            for at in fractions:
                name, moved = f"{arm}/{seed}/{at:g}", shares[arm] + 0.02 * (seed - (num_seeds - 1) / 2)
                share = shares["start"] + at * (moved - shares["start"])
                answers[f"{name}/closed"] = _answers(rng, questions, order, share, "closed")
                more = at * lost.get(arm, 0.0) * math.log(2) * general["num_bytes"] * (1 + 0.1 * (seed - 1) + uneven)
                scores[name] = general.with_columns(nats=general["nats"] + more)
                points.append({"fraction": at, "tokens": int(14_336 * at), "checkpoint": f"{arm}{seed}{at:g}"})
            arms.append({"arm": arm, "seed": seed, "learning_rate": 3e-4, "points": points})
    facts: dict[str, Any] = {
        "exam_id": "e0a3000000000001",
        "kind": "files",
        "training_id": TRAINING,
        "questions": questions,
        "answers": answers,
        "general": scores,
        "arms": arms,
        "asking": {"titled": True, "gradings": ["likelihood"]},
    }
    return Examined(**facts | changes)


def save_examined(store: Store, batch_id: str, examined: Examined) -> None:
    """Write an exam and its answers as the stages exam and evaluate leave them."""
    folder, exam_id = f"{store.folder}/exams", examined.exam_id
    urls, general = {}, {}
    for found, frames in ((urls, examined.answers), (general, examined.general)):
        for name, frame in frames.items():
            kind = "answers" if found is urls else "general"
            found[name] = f"{folder}/{kind}-{examined.training_id}-{name.replace('/', '-')}.parquet"
            write_frame(found[name], frame)
    about = {"kind": examined.kind, "num_questions": examined.questions.height, "about": "{}", "drops": "{}"}
    rows = examined.questions.with_columns(
        exam_id=pl.lit(exam_id), accepted=pl.lit([], dtype=pl.List(pl.String)), evidence=pl.lit("")
    )
    store.insert(
        exams=[{"exam_id": exam_id, "snapshot_id": "the snapshot", "created_at": now(), **about}], questions=rows
    )
    summary = {"exam": exam_id, "urls": urls, "general": general, "asking": examined.asking}
    complete_stage(store, batch_id, "evaluate", summary, examined.training_id)


def _question(number: int) -> dict[str, Any]:
    document = f"handbook/{number // EACH:02}.md"
    return {
        "question_id": content_hash("question", number),
        "question": f"At which depth does buoy {number} lie?",
        "answer": f"{number + 11} metres",
        "options": [f"{number + 11 + 3 * place} metres" for place in range(4)],
        "document_id": document,
        "title": f"Chapter {number // EACH}",
        "part": "dev" if number // EACH % 2 else "final",
    }


def _answers(
    rng: np.random.Generator, questions: pl.DataFrame, order: np.ndarray[Any, Any], share: float, condition: str
) -> pl.DataFrame:
    is_right = np.zeros(questions.height, dtype=bool)
    is_right[order[: round(share * questions.height)]] = True
    is_right ^= rng.random(questions.height) < 0.04
    num_tokens = 2 + np.arange(questions.height) % 4
    return pl.DataFrame(
        {
            "question_id": questions["question_id"],
            "document_id": questions["document_id"],
            "part": questions["part"],
            "condition": condition,
            "nats": (3.2 - 2.2 * share + rng.normal(0, 0.3, questions.height)) * num_tokens,
            "num_tokens": num_tokens,
            "num_bytes": 4 * num_tokens,
            "option": np.where(is_right, 0, 1 + np.arange(questions.height) % 3),
            "option_right": is_right,
            "option_right_by_byte": is_right,
            "num_options": 4,
            "answer": pl.Series([None] * questions.height, dtype=pl.String),
            "exact": pl.Series([None] * questions.height, dtype=pl.Boolean),
            "f1": pl.Series([None] * questions.height, dtype=pl.Float64),
            "verdict": pl.Series([None] * questions.height, dtype=pl.String),
            "skipped": "",
        }
    )


def _general(rng: np.random.Generator) -> pl.DataFrame:
    sizes = rng.integers(300, 2500, NUM_TEXTS)
    nats = rng.normal(1.0, 0.1, NUM_TEXTS) * sizes * math.log(2)
    names = [f"general {number}" for number in range(NUM_TEXTS)]
    return pl.DataFrame({"text_id": names, "nats": nats, "num_tokens": sizes // 4, "num_bytes": sizes})
