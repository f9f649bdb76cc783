"""Who judges a batch and how much of it, and what comes of it: verdicts."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from schemas.identity import content_hash
from schemas.recipe import Parameters, Recipe, Sampling

SAMPLING = Sampling(temperature=0, max_tokens=384)
"""The likeliest verdict, and room for a reason of at most 200 characters."""


class Judging(Parameters):
    """One judge, the questions it is asked, and the texts that are drawn. Its hash names it; it changes no record."""

    model: Annotated[str, Field(description="the judge: a served name, or judge for a checkpoint of the store")]
    revision: Annotated[str, Field(description="what tells two judges of one name apart: of ours, the checkpoint")]
    questions: Annotated[str, Field(description="the hash of all that is asked: other words are another judging")]
    sample: Annotated[int, Field(ge=1, description="records that are judged, the first by id")]
    anchors: Annotated[int, Field(ge=0, description="anchors that are judged as if they were records")]

    @property
    def judging_id(self) -> str:
        return content_hash("judging", self.model_dump(mode="json"))

    @property
    def by(self) -> Recipe:
        """The judge as a generator: what finds and starts a model asks for a recipe."""
        return Recipe(method={}, snapshot_id="", model=self.model, revision=self.revision, sampling=SAMPLING)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge answered to one question about one text. One row per text and question.

    ``text_id`` is a record's id, or an anchor's where the question is about an anchor. ``verdict`` is one of the
    question's, or ``unreadable``, and then ``reason`` is the short key of why.
    """

    text_id: str
    anchor_id: str
    question: str
    verdict: str
    reason: str
    request_id: str
