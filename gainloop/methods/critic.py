"""A loop around any method: a critic reads each record by a rubric, and it is written anew until it is good enough."""

from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from gainloop.asking.chunks import estimate_tokens
from gainloop.asking.conversation import Conversation, ask, beside, side_by_side
from gainloop.asking.structured import list_of, object_of, read_number, read_object, read_texts, text_of, whole_number
from gainloop.methods.method import without_repeats
from schemas.recipe import Parameters
from schemas.rows import Anchor, Drop, Outcome, Record, Request

RUBRIC = (
    "5: correct by the document, clear, complete and worth reading by itself; "
    "3: correct in the main, but vague, unordered or with gaps; "
    "1: wrong by the document, hard to follow or empty."
)
CRITICISE = (
    "The draft was written from the document. Say what is wrong with the draft, and judge it from 1 to 5 by this "
    "rubric.\n{rubric}\nAnswer as JSON: first the problems, the worst first and each in one sentence that says how "
    "to mend it, or none; then the score."
)
REVISE = (
    "The draft was written from the document. A critic found in the draft:\n{problems}\n"
    "Write the draft anew without these faults. Keep its form, its length and what is right in it, and say nothing "
    "that the document does not."
)
MAX_PROBLEMS = 5

Revised = tuple[Record, list[Drop]]
"""The last good text of a draft, and the drops of replies that gave none."""


class Critique(NamedTuple):
    """The problems that a critic finds in a draft, and the score it gives, 1 to 5."""

    problems: list[str]
    score: int


class Critic(Parameters):
    """The generator as its own critic: each record is written anew while it scores less than ``enough``.

    Asks: for problems and a score from 1 to 5 by ``rubric``, as JSON, the likeliest reply; below ``enough`` for the
    text without these problems, which is sampled as the method's replies are; and so on, ``max_turns`` times at most.
    The last text is not criticised again.
    Costs: each reads the anchor, which is cached, and the draft.
    Counts: a draft that was written anew has led on to its revision, and is neither record nor drop; so is a critique.
    A revision that is cut off, empty, an echo or the draft again is a drop, and the draft stays as the record. A
    critique that cannot be read ends the loop with the draft as it is; it counts as ``no_critique``.
    Measured: Delta I is of the replies that became records or drops: of a revised record that is the revision, given a
    prompt that holds anchor, draft and problems. It says what the last turn added to all that, not what the loop added
    to the anchor, and is not to be compared with that of the same method without a critic.
    Source: phi-4, Abdin et al. 2024, arXiv:2412.08905.
    Differs: the paper prints neither prompts, rubric nor number of turns. The critique is the likeliest reply, and a
    draft that cannot be bettered stays.
    """

    wishes: ClassVar[tuple[str, ...]] = (REVISE,)
    rubric: Annotated[str, Field(min_length=1, description="Rubric: what each score from 1 to 5 means.")] = RUBRIC
    max_turns: Annotated[
        int,
        Field(ge=1, le=8, description="Times that a record is written anew, at most."),
    ] = 2
    enough: Annotated[int, Field(ge=1, le=5, description="Score from which a record is left as it is.")] = 4

    @property
    def max_requests(self) -> int:
        """Requests that one record can lead to, at most."""
        return 2 * self.max_turns

    def revise(self, anchor: Anchor, draft: Record) -> Conversation[Revised]:
        """Return the record with its last good text, and the drops of replies that gave none."""
        for turn in range(1, self.max_turns + 1):
            request = ask_critique(anchor, draft, self.rubric, turn)
            critique = yield from ask(anchor, request, read_critique)
            if isinstance(critique, Drop):
                # Of no request: a verdict is no would-be record, but a critic that fails must be seen.
                return draft, [Drop(anchor.anchor_id, request.facet, "no_critique")]
            if critique.value.score >= self.enough or not critique.value.problems:
                return draft, []
            request = ask_revision(anchor, draft, critique.value.problems, turn)
            written = yield from ask(anchor, request, str.strip)
            if isinstance(written, Drop):
                return draft, [written]
            if written.value == draft.text:
                return draft, [Drop(anchor.anchor_id, request.facet, "repeat", written.request_id)]
            draft = Record(anchor.anchor_id, draft.method, draft.facet, written.value, (written.request_id,))
        return draft, []


def revise_all(anchor: Anchor, outcome: Outcome, critic: Critic) -> Conversation[Outcome]:
    """Return an anchor's outcome with its records revised, side by side; records with equal texts become one."""
    revised = yield from side_by_side([critic.revise(anchor, record) for record in outcome.records])
    drops = outcome.drops + [drop for _, lost in revised for drop in lost]
    return without_repeats(Outcome([record for record, _ in revised], drops))


def ask_critique(anchor: Anchor, draft: Record, rubric: str, turn: int) -> Request:
    """Ask what is wrong with a draft."""
    prompt = beside(anchor, draft.text, CRITICISE.format(rubric=rubric))
    schema = object_of(problems=list_of(text_of(200), 0, MAX_PROBLEMS), score=whole_number(1, 5))
    return Request(prompt, facet=f"critique {turn} {draft.facet}", json_schema=schema, greedy=True)


def ask_revision(anchor: Anchor, draft: Record, problems: list[str], turn: int) -> Request:
    """Ask for a draft without some problems."""
    listed = "\n".join(f"- {problem}" for problem in problems)
    prompt = beside(anchor, draft.text, REVISE.format(problems=listed))
    tokens = estimate_tokens(draft.text)
    return Request(prompt, facet=f"revision {turn} {draft.facet}", reply_tokens=tokens)


def read_critique(text: str) -> Critique | None:
    """Return the problems and the score of a reply; None if one is missing.

    >>> read_critique('{"problems": ["It is short."], "score": 2}')
    Critique(problems=['It is short.'], score=2)
    >>> read_critique('{"problems": "many", "score": 2}') is None, read_critique('{"problems": []}') is None
    (True, True)
    """
    found = read_object(text) or {}
    problems, score = read_texts(found.get("problems"), MAX_PROBLEMS), read_number(found.get("score"), 1, 5)
    return None if problems is None or score is None else Critique(problems, score)
