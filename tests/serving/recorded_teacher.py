"""A teacher whose replies were recorded: the stub's protocol with a real model's completions in place of a rule."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.serving.stub_model import prompt_text
from tests.serving.stub_server import Stub, StubOptions


class RecordedTeacher(Stub):
    """Answers a prompt that holds a recorded passage with the completions recorded for it, one per seed, in turn.

    There are no log-probabilities, as of any server that does not give them. A passage with fewer completions than it
    is asked for begins again with its first. Any other prompt, as a check sends, is answered by the stub's rule.
    """

    def __init__(self, completions: dict[str, list[str]]) -> None:
        self.completions = completions
        self._seeds: dict[str, list[int]] = {passage: [] for passage in completions}
        super().__init__(StubOptions(models={"recorded": "Qwen2.5-7B"}))

    async def _answer(self, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        prompt = prompt_text(asked)
        passage = next((text for text in self.completions if text in prompt), None)
        if passage is None:
            return await super()._answer(request, asked)
        seeds, texts = self._seeds[passage], self.completions[passage]
        if asked["seed"] not in seeds:
            seeds.append(asked["seed"])
        text = texts[seeds.index(asked["seed"]) % len(texts)]
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
        return web.json_response({"id": "r", "model": asked["model"], "choices": [choice], "usage": usage})


def recorded_completions(folder: Path) -> dict[str, list[str]]:
    """Return the distinct completions recorded for each passage, of both models, in the order of the files."""
    found: dict[str, dict[str, None]] = {}
    for name in ("base_val", "iter1_val"):
        for line in (folder / f"recorded_replies/{name}.jsonl").read_text().splitlines():
            row = json.loads(line)
            found.setdefault(row["context"], {}).update(dict.fromkeys(row["completions"]))
    return {passage: list(texts) for passage, texts in found.items()}


@contextmanager
def recorded_teacher(folder: Path) -> Iterator[RecordedTeacher]:
    """Run a teacher on a free port, in a thread."""
    teacher = RecordedTeacher(recorded_completions(folder))
    try:
        yield teacher
    finally:
        teacher.stop()
