"""Curation: what every record is compared with besides its own anchor, and what refuses it."""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.form import Folded
from schemas.recipe import Parameters

Compared = Literal["batch", "earlier_batches", "anchors"]


class Probes(Parameters):
    """Questions that a model is to be tested on: no record that holds one of them is trained on."""

    files: Annotated[
        tuple[str, ...],
        Field(description="Files of questions, .jsonl .json .csv or .parquet: paths, globs or any fsspec url."),
    ] = ()
    fields: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="Fields whose texts are looked for; questions.answer is one within another."),
    ] = ("question",)
    words_in_a_row: Annotated[
        int, Field(ge=5, description="Words in a row that a refused record shares with a probe.")
    ] = 13
    least_words: Annotated[
        int, Field(ge=3, description="Words that a shorter probe must have to be looked for whole.")
    ] = 6
    overlap_words: Annotated[int, Field(ge=3, description="Words of the sequences whose overlap is counted.")] = 8
    overlap: Annotated[
        float,
        Field(ge=0, le=1, description="Share of a probe's sequences that a refused record has; 0 refuses none for it."),
    ] = 0.7

    def model_post_init(self, _context: Any) -> None:
        if self.least_words > self.words_in_a_row:
            raise ValueError(
                f"least_words is {self.least_words}, words_in_a_row {self.words_in_a_row}; least_words must not be more"
            )


class Curation(Parameters):
    """Texts that every record is compared with besides its own anchor: other records, anchors, probes."""

    near_duplicates: Annotated[
        float,
        Field(
            ge=0, le=1, description="Jaccard similarity of word 5-grams from which a record is refused; 0 refuses none."
        ),
    ] = 0.8
    among: Annotated[tuple[Compared, ...], Field(description="Texts that records are compared with for it.")] = (
        "batch",
        "earlier_batches",
        "anchors",
    )
    instructions_alike: Annotated[
        float, Field(ge=0, le=1, description="ROUGE-L above which a new instruction is refused; 0 refuses none.")
    ] = 0.7
    probes: Folded[Probes] = Probes()

    def identity(self) -> dict[str, Any]:
        """Return what names it, without what it does not set: a loop keeps its id when curation learns more."""
        defaults = {"instructions_alike": type(self).model_fields["instructions_alike"].default}
        lacks = {name for name, default in defaults.items() if getattr(self, name) == default}
        return self.model_dump(mode="json", exclude=lacks)

    def model_post_init(self, _context: Any) -> None:
        if 0 < self.near_duplicates < 0.5:
            raise ValueError(f"near_duplicates is {self.near_duplicates:g}; it must be from 0.5 to 1, or 0 for none")
