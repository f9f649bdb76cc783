"""As many rows as another selection takes, drawn at random: what it must be better than."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from gainloop.curation.selection.candidate import Candidate
from gainloop.curation.selection.draws import draw_rows
from gainloop.curation.selection.selection import Selected, Selection, Sieve
from schemas.recipe import BASIC


class RandomRows(Selection):
    """As many rows as asked for, each as likely as any other: what every other selection is compared with."""

    kind: Literal["random"] = "random"
    size: Annotated[int, BASIC, Field(ge=1, description="Rows that are selected, at most.")] = 1000
    seed: Annotated[int, Field(description="Seed of the draws.")] = 0

    def choose(self, rows: Sequence[Candidate]) -> Selected:
        return Sieve(rows).take({row.row_id for row in draw_rows(rows, self.size, f"{self.seed}/random")})
