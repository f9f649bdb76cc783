from random import Random

from gainloop.filters.filter import sift
from gainloop.filters.solved import Solved
from gainloop.solutions.problem import Problem, write_problem
from schemas.conversation import Turn
from schemas.rows import Anchor, Drop, Outcome, Record
from tests.methods.playing import hold

SUM = Anchor(write_problem(Problem("What is 3 + 4?", "7", "mathematics")))


def sifted(said: str, anchor: Anchor = SUM, is_text: bool = False) -> Outcome:
    turns = (Turn("user", "What is 3 + 4?"), Turn("assistant", said, "The answer is 99."))
    made = Record.of_turns(anchor.anchor_id, "reasoning", "answer 0", turns, ("q1", "q2"))
    record = Record(anchor.anchor_id, "other", "answer 0", said, ("q1", "q2")) if is_text else made
    asked, outcome = hold(sift(anchor, Outcome([record]), [Solved()], Random(0)))
    assert not asked, "nobody is asked"
    return outcome


def test_a_right_solution_is_kept_whatever_its_thought_says() -> None:
    assert len(sifted("So it is.\n\n\\boxed{7}").records) == 1
    assert len(sifted("The answer is 7.", is_text=True).records) == 1


def test_every_reply_of_any_other_is_a_drop_with_the_verdict_as_its_reason() -> None:
    for said, reason in (("The answer is 8.", "wrong"), ("I cannot say.", "unreadable")):
        assert sifted(said) == Outcome(drops=[Drop(SUM.anchor_id, "answer 0", reason, reply) for reply in ("q1", "q2")])


def test_an_anchor_that_is_no_problem_has_no_answer_to_compare_with() -> None:
    assert {drop.reason for drop in sifted("7", Anchor("The mill grinds rye.")).drops} == {"no_answer"}
    unanswered = Anchor(write_problem(Problem("Why?")))
    assert {drop.reason for drop in sifted("So.", unanswered).drops} == {"no_answer"}
