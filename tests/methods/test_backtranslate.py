import json
from typing import Any

import pytest

from gainloop.methods.backtranslate import Backtranslate, code_likeness, kind_of, table_likeness
from schemas.rows import Anchor, Answer, Drop, Outcome, Record, Request
from tests.methods.playing import ANCHOR, OTHER, make_reply, play, prompt, shown

CODE = Anchor('def total(rye):\n    """Sum sacks."""\n    return sum(rye.values())\n', "mill.py")
TABLE = Anchor("| Town | Sacks |\n|---|---|\n| Ulm | 1,200 |\n| Bonn | 7 |", "Rye")
TASK = "Write total(rye), which adds up a dictionary's values."


def saying(*answers: str, verdict: str = "same", task: Any = TASK) -> Any:
    """Return the rule that writes this task, then these answers one after the other, and compares them so."""

    def answer(request: Request, number: int) -> Answer:
        if request.facet.startswith("task"):
            return make_reply(request, number, json.dumps({"task": task}))
        if request.greedy:
            return make_reply(request, number, json.dumps({"reason": "So.", "verdict": verdict}))
        return make_reply(request, number, answers[int(request.facet.rpartition(".")[2])])

    return answer


def test_the_record_is_the_task_and_the_artefact_itself() -> None:
    asked, outcome = play(Backtranslate(), CODE, saying("```python\ndef total(rye):\n  return sum(rye.values())\n```"))

    assert [request.facet for request in asked] == ["task 0", "answer 0.0"]
    assert outcome == Outcome(
        [Record(CODE.anchor_id, "backtranslate", "code", f"{TASK}\n\n{CODE.text}", ("q0", "q1"))], []
    )


def test_the_task_is_solved_without_the_document() -> None:
    asked, _ = play(Backtranslate(), CODE, saying("x = 1", "x = 2"))

    for request in asked[1:]:
        assert TASK in prompt(request)
        assert not any(part in prompt(request) for part in (CODE.text, CODE.title, "Sum sacks"))
        assert not request.greedy


def test_two_anchors_with_one_task_have_answers_of_their_own() -> None:
    one, other = (
        play(Backtranslate(), anchor, saying("Why?", "So.", verdict="partly"))[0] for anchor in (ANCHOR, OTHER)
    )

    assert one[1].prompt_id == other[1].prompt_id
    assert len({one[1].draw, one[3].draw, other[1].draw, other[3].draw}) == 4


def test_attempts_end_with_the_first_that_passes_and_those_before_are_drops() -> None:
    asked, outcome = play(Backtranslate(attempts=5), CODE, saying("x = 1", CODE.text, CODE.text))

    assert len(asked) == 3
    assert [record.request_ids for record in outcome.records] == [("q0", "q2")]
    assert outcome.drops == [Drop(CODE.anchor_id, "answer 0.0", "differs", "q1")]


def test_a_task_that_leads_nowhere_is_a_drop_with_all_its_answers() -> None:
    asked, outcome = play(Backtranslate(artefact="code", attempts=2), CODE, saying("x = 1", "x = 2"))

    assert len(asked) == Backtranslate(artefact="code", attempts=2).max_requests == 3
    assert outcome.records == []
    assert [(drop.reason, drop.request_id) for drop in outcome.drops] == [
        *(("differs", "q1"), ("differs", "q2"), ("unsolved", "q0")),
    ]


@pytest.mark.parametrize(
    ("verdict", "reason"), [("same", None), ("partly", "differs"), ("different", "differs"), ("alike", "unjudged")]
)
def test_passages_are_compared_by_a_judge_that_sees_both(verdict: str, reason: str | None) -> None:
    asked, outcome = play(Backtranslate(attempts=1), ANCHOR, saying("Rye is ground.", verdict=verdict))

    assert asked[2].greedy
    assert prompt(asked[2]).startswith(shown(ANCHOR.text, ANCHOR.title, "Rye is ground."))
    assert [drop.reason for drop in outcome.drops] == ([reason, "unsolved"] if reason else [])


def test_a_task_that_quotes_its_solution_is_not_tried() -> None:
    asked, outcome = play(Backtranslate(), ANCHOR, saying(task=f"Say this: {ANCHOR.text}"))

    assert len(asked) == 1
    assert outcome == Outcome(drops=[Drop(ANCHOR.anchor_id, "task 0", "gives_away", "q0")])


def test_a_task_that_is_drawn_twice_is_tried_once() -> None:
    asked, outcome = play(Backtranslate(draws=3), CODE, saying(CODE.text))

    assert [request.draw for request in asked[:3]] == [0, 1, 2]
    assert (len(asked), len(outcome.records)) == (4, 1)
    assert outcome.drops == [Drop(CODE.anchor_id, f"task {n}", "repeat", f"q{n}") for n in (1, 2)]


def test_tables_are_the_same_whatever_their_layout() -> None:
    _, outcome = play(Backtranslate(), TABLE, saying("Town\tSacks\nBonn\t7.0\nUlm\t1200"))

    assert [record.facet for record in outcome.records] == ["table"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (CODE.text, "code"),
        ('#include <stdio.h>\nint main() {\n  puts("rye");\n}', "code"),
        ("x = 1", "code"),
        (TABLE.text, "table"),
        ("a\tb\n1\t2\n3\t4", "table"),
        (ANCHOR.text, "passage"),
        ("If it rains, the mill stands still.\nFor rye it is too wet.\nNobody comes.", "passage"),
        ("# The mill\n\nIt grinds rye.\n\nIt stands by the river.", "passage"),
        ("There the mill stood;\nnobody came to it;\nrye was not sown;\nthe river ran dry.", "passage"),
        ("x = 1;\ny[0] = f(x);\ng(x, y);", "code"),
        ("", "passage"),
    ],
)
def test_kinds_are_told_by_simple_rules(text: str, kind: str) -> None:
    assert kind_of(text) == kind


def test_likeness_falls_with_what_differs() -> None:
    java = "static int total(int[] sacks) {\n  return Arrays.stream(sacks).sum();\n}"

    assert code_likeness(java, java) == 1
    assert 0.5 < code_likeness(java, java.replace("sacks", "rye")) < 0.9
    assert code_likeness(CODE.text, "") == code_likeness("", "") == table_likeness("", "") == 0
    assert table_likeness(TABLE.text, TABLE.text.replace("7", "8")) == pytest.approx(2 / 3)


LOOP = """def total(rye, least=0):
    found = 0
    for town, sacks in rye.items():
        if len(sacks) - 1 > least:
            found += sum(one for one in sacks)
    return found
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("found", "result"),
        ("town, sacks in", "_, sacks in"),
        ("one", "n"),
        ("(rye, least=0)", "(rye: dict, least: int = 0) -> int"),
        ("    found = 0\n", '    """Sum up."""\n    found = (0)  # none yet\n'),
    ],
)
def test_python_is_the_same_whatever_its_docstrings_annotations_layout_and_names_of_locals(old: str, new: str) -> None:
    assert code_likeness(LOOP, LOOP.replace(old, new)) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("found +=", "found -="),
        ("len(sacks) - 1", "len(sacks)"),
        ("found = 0", "found = 0.0"),
        ("least=0", "least=True"),
        ("(rye, least", "(oats, least"),
        ("def total", "def add"),
        ("rye.items", "rye.values"),
        ("    return found", "    return least"),
        ("(one for one in sacks)", "(town for one in sacks)"),
        (LOOP, ""),
        (LOOP, f"Here it is:\n{LOOP}"),
    ],
)
def test_python_that_does_anything_else_or_is_called_otherwise_is_not_the_same(old: str, new: str) -> None:
    assert code_likeness(LOOP, LOOP.replace(old, new)) == 0


def test_locals_of_nested_functions_and_lambdas_may_have_other_names_but_not_each_others() -> None:
    nested = "def f(a):\n  B = a\n  def g(c):\n    return lambda D: B + c - D\n  return g"

    assert code_likeness(nested, nested.replace("D", "day").replace("B", "A").replace("g", "inner")) == 1
    assert code_likeness(nested, nested.replace("B + c", "c + B")) == 0
    assert code_likeness(nested, nested.replace("- D", "- a")) == 0


def test_a_task_keeps_its_lines_and_one_that_quotes_its_solution_in_other_lines_gives_it_away() -> None:
    example = "Write total(rye).\n\n    >>> total({})\n    0"
    assert play(Backtranslate(), CODE, saying(CODE.text, task=example))[1].records[0].text.startswith(f"{example}\n\n")

    quoting = "Write this:\n" + CODE.text.replace("    ", "\t")
    (drop,) = play(Backtranslate(), CODE, saying(task=quoting))[1].drops
    assert drop.reason == "gives_away"


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "-" * 50_000 + "1", "x\x00", "\ud800", "(" * 90 + ")" * 90, "|" * 50_000]
)
def test_no_text_is_too_odd_to_be_told_or_compared(text: str) -> None:
    assert kind_of(text) in ("code", "table", "passage")
    assert code_likeness(text, CODE.text) < 0.5
    assert table_likeness(text, TABLE.text) < 0.5
