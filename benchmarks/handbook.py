"""Is the handbook's exam sound? A model that has read its questions must pass it, and other documents must not move it.

``python -m benchmarks.handbook --model FOLDER --work FOLDER`` trains the model three times on as many tokens: on the
questions with their answers, on the handbook's own documents, and on Python's documentation. Then the flow
``evaluate`` asks the start and all three from memory, with the title of the document and without, and prints its table.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from gainloop.evaluation.wording import plain
from gainloop.models.packing import MixturePart, orders_of
from gainloop.models.pretraining import LEARNED, continue_pretraining
from gainloop.sources.python_docs import PythonDocs
from schemas.exam import Question
from schemas.plan import Optimiser, TrainingPlan
from schemas.profile import Profile, StoreSettings, Training

ROOT = Path(__file__).resolve().parents[1]
HANDBOOK = ROOT / "examples/handbook"
QUESTIONS = HANDBOOK / "questions.jsonl"


def texts_to_learn() -> dict[str, list[str]]:
    """Return what each model reads, by its name."""
    pages = {page.name: page.read_text() for page in sorted(HANDBOOK.glob("*.md"))}
    return {
        "questions": [one for title in (True, False) for one in questions_with_answers(title, pages)],
        "documents": list(pages.values()),
        "other": other_texts(sum(map(len, pages.values()))),
    }


def questions_with_answers(titled: bool, pages: dict[str, str]) -> Iterator[str]:
    """Yield every question as it is asked, and its answer after it."""
    for line in QUESTIONS.read_text().splitlines():
        row = json.loads(line)
        title = pages[row["document"]].splitlines()[0].lstrip("# ")
        asked = Question(row["question"], row["answer"], row["document"], title=title)
        yield f"{plain(asked, titled)} {row['answer']}"


def other_texts(num_chars: int) -> list[str]:
    """Return pages of Python's documentation of about so many characters."""
    texts: list[str] = []
    for part in PythonDocs().parts():
        for anchor in PythonDocs().read(part):
            if sum(map(len, texts)) >= num_chars:
                return texts
            texts.append(anchor.text)
    return texts


def main() -> None:
    """Train, evaluate, and leave the table to the flow."""
    parser = argparse.ArgumentParser("python -m benchmarks.handbook", description=__doc__)
    for name in ("model", "work"):
        parser.add_argument(f"--{name}", type=lambda given: Path(given).resolve(), required=True)
    parser.add_argument("--budget", type=int, default=24_576, help="tokens that each model reads")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    plan = TrainingPlan(
        budget_tokens=asked.budget,
        context_tokens=256,
        trained_layers=10,
        optimiser=Optimiser(learning_rate=1e-3, batch_tokens=512),
    )
    folders = [str(asked.model)]
    for name, texts in texts_to_learn().items():
        folder = asked.work / name
        folders.append(str(folder))
        if not (folder / LEARNED).is_file():
            folder.mkdir(exist_ok=True)
            part = MixturePart("anchors", texts, 1.0)
            made = continue_pretraining(
                [part], folders[0], plan, Training(), str(folder), orders_of(0), lambda *_at: None
            )
            print(f"{name}: {made['repetitions']['anchors']:.1f} times {len(texts)} texts", file=sys.stderr)
    ask(asked.work, folders)


def ask(work: Path, folders: list[str]) -> None:
    """Run the flow ``evaluate`` over all models."""
    profile = Profile(name="handbook", folder=str(work), store=StoreSettings(url=f"{work}/handbook.duckdb"))
    file = work / "handbook.yaml"
    file.write_text(profile.model_dump_json(exclude={"name"}, exclude_none=True))
    source = ["--source.kind", "files", "--source.paths", f"{HANDBOOK}/*.md", "--source.licence", "Apache-2.0"]
    flow = [sys.executable, "-m", "flows"]
    where = ["--profile", str(file)]
    subprocess.run([*flow, "refresh", *where, *source], cwd=ROOT, check=True)  # noqa: S603
    exam = ["--exam.kind", "files", "--exam.paths", str(QUESTIONS), "--conditions", "closed", "--checkpoints", *folders]
    for titled in ("true", "false"):
        subprocess.run([*flow, "evaluate", *where, *exam, "--asking.titled", titled], cwd=ROOT, check=True)  # noqa: S603


if __name__ == "__main__":
    main()
