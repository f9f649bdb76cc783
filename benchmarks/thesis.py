"""Does synthetic text teach a real model more than its documents repeated, and more than a milder diet alone?

``python -m benchmarks.thesis --data FOLDER --model FOLDER --work FOLDER`` answers it with the product's own flow
``cycle``: SQuAD passages with their human questions, recorded completions of Qwen2.5-7B as one generator and the
trainee itself as the other, every arm at every learning rate with several seeds. A run again goes on where it stopped.
``--data`` is a folder with recorded_replies/, c4/ and wikipedia/ below it.

Arms are compared at equal tokens, rate by rate, and at equal forgetting: the synthetic arm at the end of its run at one
rate, against the other arm at whichever of all rates knows most where it has forgotten as much. So the other arm has
the choice, made on the very questions that are told, and the synthetic arm has none.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gainloop.measures.estimate import Estimate, Floats, over_seeds
from gainloop.reports.answers import BASELINE, START, SYNTHETIC, AnswerSheets, Moment, at_level
from gainloop.reports.examined import gather_exams
from gainloop.reports.knowledge import CONTROL
from gainloop.store import open_store
from gainloop.store.batches import list_summaries, read_recipe
from schemas.profile import Generation, Profile, Servers, StoreSettings
from tests.serving.recorded_teacher import recorded_teacher

ROOT = Path(__file__).resolve().parents[1]
OTHERS = {BASELINE: "repeating", CONTROL: "the replay control"}

LEAST_QUESTIONS = 4
"""Questions of a passage that is used."""

METHODS = {
    "recorded": "--generator.kind served --generator.model recorded --text.method.kind implications "
    "--text.method.draws 5 --text.sampling.top-p 0.95 --text.sampling.max-tokens 4096",
    "own": "--text.method.kind rephrase --text.method.unit sentence --text.sampling.temperature 0.6 "
    "--text.sampling.max-tokens 96",
}
"""Generators: completions of Qwen2.5-7B that were recorded, and the trainee itself."""


@dataclass(frozen=True)
class Thesis:
    """What is asked: the passages, the plan that all arms share, and the rates."""

    data: Path
    work: Path
    model: Path
    half: int
    passages: int
    rates: Sequence[str]
    seeds: int
    points: int
    budget: int
    mixture: Sequence[str]
    layers: str
    arms: Sequence[str]

    def prepare(self) -> None:
        """Write the passages and their questions, those with most questions of one half of all passages first."""
        self.work.mkdir(parents=True, exist_ok=True)
        lines = (self.data / "recorded_replies/base_val.jsonl").read_text().splitlines()
        rows = [row for row in map(json.loads, lines) if len(row["questions"]) >= LEAST_QUESTIONS]
        rows.sort(key=lambda row: hashlib.sha256(row["context"].encode()).hexdigest())
        rows = rows[self.half :: 2]
        chosen = sorted(rows, key=lambda row: -len(row["questions"]))[: self.passages]
        asked = [
            {"title": row["title"], "context": row["context"]} | question
            for row in chosen
            for question in row["questions"]
        ]
        for name, written in (("passages", [{"title": r["title"], "context": r["context"]} for r in chosen]),
                              ("questions", asked)):  # fmt: skip
            (self.work / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in written))
        print(f"{len(chosen)} passages, {len(asked)} questions", file=sys.stderr)

    def run(self, text: str, rate: str, profile: Path) -> None:
        """Run ``cycle`` with one generator at one rate."""
        flags = f"""
            --profile {profile} --heldout-fraction 0 --source.kind files --source.paths {self.work}/passages.jsonl
            --source.text-field context --source.title-field title --source.licence CC-BY-SA-4.0
            --source.max-chars 10000 --start.kind checkpoint --start.model {self.model}
            --general.kind files --general.paths {self.data}/c4/*.jsonl {self.data}/wikipedia/*.txt
            --general.one-per-line true --general.licence mixed --scoring.least-tokens 4000
            --exam.kind files --exam.paths {self.work}/questions.jsonl {METHODS[text]}
            --plan.budget-tokens {self.budget} --plan.context-tokens 256 --plan.trained-layers {self.layers}
            --plan.titled true --plan.arms {" ".join(self.arms)} --plan.scored-texts 10
            --plan.seeds {self.seeds} --plan.points {self.points}
            --plan.mixture.synthetic {self.mixture[0]} --plan.mixture.anchors {self.mixture[1]}
            --plan.mixture.replay {self.mixture[2]}
            --plan.optimiser.learning-rate {rate} --plan.optimiser.batch-tokens 512"""
        command = [sys.executable, "-m", "flows", "cycle", *flags.split(), "--release", "every arm is wanted"]
        with (self.work / f"{text}-{rate}.log").open("w") as log:
            done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False)  # noqa: S603
        if done.returncode:
            raise SystemExit(f"training on {text} at {rate}: status {done.returncode}; see {log.name}.")


def write_profile(path: Path, name: str, urls: Sequence[str]) -> Path:
    """Write a profile whose generator is at some urls, or the embedded engine without any; all share one store."""
    serving = Servers(urls=list(urls), logprobs=False) if urls else None
    settings = {"generation": Generation(max_in_flight=32), **({"serving": serving} if serving else {})}
    profile = Profile(name=name, folder=str(path), store=StoreSettings(url=f"{path}/thesis.duckdb"), **settings)
    file = path / f"{name}.yaml"
    file.write_text(yaml.safe_dump(profile.model_dump(mode="json", exclude={"name"}, exclude_none=True)))
    return file


@dataclass(frozen=True)
class Line:
    """One comparison of the synthetic arm with another: nats a token and points by which it is ahead."""

    against: str
    where: str
    nats: Estimate
    right: Estimate


class Found:
    """The answers of all trainings of one batch, by learning rate."""

    def __init__(self, work: Path, text: str) -> None:
        store = open_store(Profile(name="thesis", folder=str(work), store=StoreSettings(url=f"{work}/thesis.duckdb")))
        kind = METHODS[text].partition("--text.method.kind ")[2].split()[0]
        batches = store.query("select batch_id from batches where recipe->'method'->>'kind' = ?", kind)["batch_id"]
        (batch_id,) = batches.to_list()
        trained = {key.partition("-")[0] for key, _ in list_summaries(store, batch_id, "evaluate")}
        exams = gather_exams(store, read_recipe(store, batch_id).snapshot_id, batch_id, min(trained))
        whole_last = sorted(exams, key=lambda exam: len(exam.answers))
        self.sheets = {exam.arms[0]["learning_rate"]: AnswerSheets(exam) for exam in whole_last}
        self.any = next(iter(self.sheets.values()))

    def paths(self, arm: str, rate: float) -> list[list[Moment]]:
        """Return the moments of an arm at a rate, seed by seed, the start first."""
        moments = list(self.sheets[rate].moments())
        start = [replace(one, forgotten=0.0) for one in moments if one.arm == START]
        return [start + [one for one in moments if (one.arm, one.seed) == (arm, seed)]
                for seed in self.sheets[rate].seeds(arm)]  # fmt: skip

    def moments(self) -> Iterator[tuple[str, float, float, list[Moment]]]:
        """Yield arm, rate, fraction and the moments of all seeds."""
        for rate, sheets in sorted(self.sheets.items()):
            for arm in (BASELINE, CONTROL, SYNTHETIC):
                for step, at in enumerate(sheets.fractions(arm), start=1):
                    yield arm, rate, at, [path[step] for path in self.paths(arm, rate)]

    def compare(self) -> Iterator[Line]:
        """Yield the synthetic arm against each other arm, at equal tokens and at equal forgetting, rate by rate."""
        for rate in sorted(self.sheets):
            own = self.paths(SYNTHETIC, rate)
            for other, words in OTHERS.items():
                if rivals := self.paths(other, rate):
                    yield self._line(words, f"{rate:g}, equal tokens", [p[-1] for p in own], [p[-1] for p in rivals])
                yield from self._at_equal_forgetting(words, rate, [path[-1] for path in own], other)

    def _at_equal_forgetting(self, words: str, rate: float, ends: list[Moment], other: str) -> list[Line]:
        """Return the comparison with the rate at which the other arm knows most; none where it was not trained."""
        level = float(np.mean([end.forgotten or 0 for end in ends]))
        found = []
        for at in (one for one in sorted(self.sheets) if self.paths(other, one)):
            rivals = [reached(path, level) for path in self.paths(other, at)]
            found.append(self._line(words, f"{rate:g}, equal forgetting ({level:+.3f}), other at {at:g}", ends, rivals))
        return sorted(found, key=lambda line: line.nats.value or 0.0)[:1]

    def _line(self, words: str, where: str, own: Sequence[Moment], rivals: Sequence[Moment]) -> Line:
        nats, right = (np.array([getattr(one, of) for one in own]) - np.array([getattr(one, of) for one in rivals])
                       for of in ("nats", "right"))  # fmt: skip
        return Line(words, where, self.nats(-nats), self.mean(100 * right, "points"))

    def nats(self, table: Floats) -> Estimate:
        return over_seeds(table, self.any.documents, "nats/token", weights=self.any.num_tokens)

    def mean(self, table: Floats, unit: str) -> Estimate:
        return over_seeds(table, self.any.documents, unit)


def reached(path: list[Moment], level: float) -> Moment:
    """Return what a training knew where it had forgotten so much, or at its end if it never did."""
    if max(float(one.forgotten or 0) for one in path) < level:
        return path[-1]
    right, nats = at_level(path, level, "right"), at_level(path, level, "nats")
    return replace(path[-1], right=right, nats=nats, forgotten=level)


def shown(one: Estimate, digits: int = 2) -> str:
    """Return a value and its interval as the table has them."""
    if one.value is None or one.low is None or one.high is None:
        return f"{one.value if one.value is None else round(one.value, digits)} ({one.status})"
    return f"{one.value:.{digits}f} [{one.low:.{digits}f}, {one.high:.{digits}f}]"


def tell(text: str, found: Found) -> None:
    """Print what was found with one generator."""
    any_ = found.any
    print(f"\n## {text}: {len(any_.documents)} questions about {len(set(any_.documents))} documents\n")
    print("arm | rate | of its tokens | seeds | right, % | nats/token of right answers | bits/byte forgotten")
    for condition in ("closed", "open"):
        nats, right = any_.nats(START, condition), any_.right(START, condition=condition)
        print(
            f"start, {condition} book | | | | {shown(found.mean(100 * right, '%'), 1)} | {shown(found.nats(nats))} | 0"
        )
    for arm, rate, at, moments in found.moments():
        right, nats = (np.array([getattr(one, of) for one in moments]) for of in ("right", "nats"))
        lost = np.mean([one.forgotten for one in moments if one.forgotten is not None])
        print(f"{arm} | {rate:g} | {at:g} | {len(moments)} | {shown(found.mean(100 * right, '%'), 1)} | "
              f"{shown(found.nats(nats))} | {lost:+.3f}")  # fmt: skip
    print("\nahead of | at | nats/token | points right")
    for line in found.compare():
        print(f"{line.against} | {line.where} | {shown(line.nats)} | {shown(line.right, 1)}")


def main() -> None:
    """Run what the flags say, and print what came of it."""
    parser = argparse.ArgumentParser("python -m benchmarks.thesis", description=__doc__)
    for name in ("data", "work", "model"):
        parser.add_argument(f"--{name}", type=lambda given: Path(given).resolve(), required=True)
    parser.add_argument("--text", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--half", type=int, choices=(0, 1), default=0, help="half of the passages: choose on one")
    parser.add_argument("--passages", type=int, default=26)
    parser.add_argument("--rates", nargs="+", default=["4e-4", "8e-4"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--points", type=int, default=2)
    parser.add_argument("--budget", type=int, default=24_576, help="tokens of each arm")
    parser.add_argument("--mixture", nargs=3, default=["0.5", "0.5", "0"], help="synthetic, documents, replay")
    parser.add_argument("--layers", default="10", help="last layers that are trained, or none")
    parser.add_argument("--arms", nargs="+", default=[SYNTHETIC, BASELINE, CONTROL])
    parser.add_argument("--only-tell", action="store_true", help="run nothing, print what there is")
    asked: dict[str, Any] = vars(parser.parse_args())
    texts, only_tell = asked.pop("text"), asked.pop("only_tell")
    thesis = Thesis(**asked)
    thesis.prepare()
    with ExitStack() as open_now:
        teacher = open_now.enter_context(recorded_teacher(thesis.data)) if "recorded" in texts else None
        urls = {"recorded": [teacher.url] if teacher else [], "own": []}
        profiles = {text: write_profile(thesis.work, text, urls[text]) for text in texts}
        for text in () if only_tell else texts:
            for rate in thesis.rates:
                thesis.run(text, rate, profiles[text])
    for text in texts:
        tell(text, Found(thesis.work, text))


if __name__ == "__main__":
    main()
