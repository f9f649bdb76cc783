"""Exercises: tasks whose answers a program can check, where they are from and how often each is answered."""

from typing import Annotated, Final, Literal, get_args

from pydantic import Field, model_validator

from schemas.recipe import BASIC, Parameters, Sampling

Skill = Literal["solved", "called", "constrained"]
"""What is checked of an answer: the final answer of a problem, calls of functions, constraints on the text."""

SKILLS: Final[tuple[Skill, ...]] = get_args(Skill)


FIRST_OPTION: Final = 0
"""Number of the first option of exercises and problems: MMLU, of which there are most, counts from 0. Exams count from
1, as QuALITY does; all are read by one rule (``gainloop/solutions/problem_rows.py``)."""


class Exercises(Parameters):
    """Exercises from files of rows, each of which says by its fields what is checked of an answer."""

    paths: Annotated[
        list[str],
        BASIC,
        Field(min_length=1, description="Files of exercises, .jsonl .json .csv or .parquet: paths, globs or urls."),
    ]
    answer_files: Annotated[
        tuple[str, ...],
        Field(description="Files of the calls that are accepted, by the id of a row, as BFCL has them apart."),
    ] = ()
    first_option: Annotated[
        int,
        Field(ge=0, le=1, description="Number of the first option, where answers are numbers of options: 0 as MMLU."),
    ] = FIRST_OPTION
    max_exercises: Annotated[
        int | None, BASIC, Field(ge=1, description="Exercises of each file, the first, at most, or none for all.")
    ] = None


class Trials(Parameters):
    """How often an exercise is answered, and the draw of an answer."""

    samples: Annotated[
        int, BASIC, Field(ge=1, le=1000, description="Answers to an exercise; several of them need a temperature.")
    ] = 1
    drawn: Annotated[
        int | None,
        Field(ge=1, description="Samples k of pass@k and pass^k, of an exercise's answers. Default: all of them."),
    ] = None
    temperature: Annotated[
        float, BASIC, Field(ge=0, le=2, description="Temperature of each draw; 0 is the likeliest answer.")
    ] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1, description="Nucleus mass that is drawn from; 1 keeps every token.")] = (
        1.0
    )
    max_tokens: Annotated[int, BASIC, Field(ge=1, description="Tokens of an answer, at most.")] = 512
    seed: Annotated[int, Field(description="Seed of the draws.")] = 0

    @model_validator(mode="after")
    def _worth_it(self) -> "Trials":
        if self.samples > 1 and not self.temperature:
            raise ValueError(
                f"samples is {self.samples} and temperature is 0, so that all would be alike; set temperature, to 0.7 "
                "say, or samples to 1"
            )
        if self.k > self.samples:
            raise ValueError(f"drawn is {self.drawn} and samples is {self.samples}; drawn must not be above samples")
        return self

    @property
    def k(self) -> int:
        """Samples k of pass@k and pass^k."""
        return self.drawn or self.samples

    @property
    def sampling(self) -> Sampling:
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens)
