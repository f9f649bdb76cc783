"""Scores a plan's outputs under its prompts, keeps the generator busy, and writes every score down as it comes."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gainloop.asking.conversation import without_document
from gainloop.measures.contrast_plan import Contrast, ContrastPlan
from gainloop.serving import UNFIT, CannotScore, Refused
from gainloop.serving.driver import first_failure
from gainloop.serving.pool import Pool
from gainloop.store.group_commit import GroupCommit
from gainloop.store.scores import Row, write_contrasts
from schemas.recipe import Sampling
from schemas.rows import Anchor, Prompt, Reply, Request

Output = tuple[str, str, str]
"""An output's request, prompt and anchor."""


@dataclass(frozen=True)
class Scorer:
    """Everything that scoring a plan's outputs needs.

    Attributes:
        replies: By request id: those of the outputs.
        requests: By prompt id.
        anchors: By anchor id.
        folder: Where scores land.
    """

    plan: ContrastPlan
    sampling: Sampling
    replies: Mapping[str, Reply]
    requests: Mapping[str, Request]
    anchors: Mapping[str, Anchor]
    folder: str

    def can_score(self, request_id: str, prompt_id: str, _anchor_id: str) -> bool:
        """Tell whether an output's tokens are known, and are of the model's own choice, not of a schema's mask."""
        return bool(self.replies[request_id].token_ids) and self.requests[prompt_id].json_schema is None

    async def run(self, pool: Pool, outputs: Iterable[Output], on_output: Callable[[], None]) -> None:
        """Score outputs, several at once.

        Raises:
            CannotScore: The generator scores no text.
            ServerError: No text can be scored; what landed stays.
            StoreError: Scores cannot be written down.
        """
        pen = GroupCommit[list[Row]](lambda scored: write_contrasts(self.folder, scored))
        try:
            async with pen, asyncio.TaskGroup() as running:
                for output in outputs:
                    await pool.quiet()
                    running.create_task(self._land(pool, output, pen, on_output))
                    await asyncio.sleep(0)  # lets it ask before the next begins
        except BaseExceptionGroup as failures:
            raise first_failure(failures) from None

    async def _land(
        self, pool: Pool, output: Output, pen: GroupCommit[list[Row]], on_output: Callable[[], None]
    ) -> None:
        await pen.land(await self._score(pool, output))
        on_output()

    async def _score(self, pool: Pool, output: Output) -> list[Row]:
        request_id, _, anchor_id = output
        contrasts = self.plan.contrasts(*output)
        prompts = {one: prompt for one in contrasts if (prompt := self._prompt(one, output)) is not None}
        tokens = self.replies[request_id].token_ids
        try:
            scores = await pool.score(list(prompts.values()), tokens, self.sampling, near=anchor_id)
        except CannotScore:
            raise
        except Refused:  # counted as what has no score
            scores = [UNFIT] * len(prompts)
        found = dict(zip(prompts, scores, strict=True))
        return [(request_id, *one, *found.get(one, UNFIT)) for one in contrasts]

    def _prompt(self, contrast: Contrast, output: Output) -> Prompt | None:
        _, own_id, anchor_id = output
        prompt = self.requests[contrast.prompt_id or own_id].prompt
        return prompt if contrast.prompt_id else without_document(prompt, self.anchors[anchor_id])
