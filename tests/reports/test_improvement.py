"""The loop's report and page, from made-up answers of its models."""

import re
from typing import Any

import pytest

from gainloop.reports.improvement import as_markdown, describe_loop
from gainloop.reports.improvement_page import render_improvement
from gainloop.reports.rounds import Standings
from schemas.improvement import GapRow, Improvement
from schemas.profile import Prices
from schemas.steering import EvenShares, Spending
from tests.examined import make_examined
from tests.steering.test_rounds import round_

LEFT = [
    GapRow(document="mill-3.md", title="Mill of Orl", missing=0.75, share=0.3, asked=2),
    GapRow(document="mill-8.md", title="", missing=0.25, share=0.1, asked=0),
]
ASKED = {"snapshot": "s", "exam": "e", "recipes": {"pairs": {}, "sentences": {}}}


def describe(shares: dict[str, float], with_even: bool = True, **changes: Any) -> Improvement:
    """Return the report of two rounds whose models have these shares right in the final part."""
    examined = make_examined(shares, forgotten={}, fractions=(1.0,), open_book=None)
    even = EvenShares(batches=["x"], tokens=4_000, checkpoints=["c"]) if with_even else None
    rounds = [round_(1), round_(2)]
    return describe_loop(
        loop_id="loop",
        asked=ASKED,
        corpus="files: mills",
        spending=Spending(tokens=5_000),
        rounds=changes.get("rounds", rounds),
        gaps=changes.get("gaps", LEFT),
        missing=0.4,
        ending=changes.get("ending", ("rounds", "all 2 rounds are done")),
        even=even,
        final=Standings(examined, "final"),
        prices=Prices(),
    )


WON = {"start": 0.2, "baseline": 0.3, "round1": 0.5, "round2": 0.8, "even": 0.45}


def test_a_loop_that_wins_says_so_in_a_paragraph_that_names_what_it_is_compared_with() -> None:
    found = describe(WON)
    assert re.match(
        r"Of \d+ questions that were kept for the end the model answers \d+ % \[\d+, \d+\] from memory after 2 rounds. "
        r"Before: \d+ % .* Repeating the documents for as many training tokens: \d+ % .* The loop teaches more than "
        r"repeating: \+\d+ points .* Even shares, no steering, for another 4,000 tokens: \d+ % .* Steering was worth "
        r"it: \+\d+ points .* It spent 4,000 of 5,000 tokens for 100 tokens of text that is trained on, and stopped "
        r"because all 2 rounds are done.",
        found.headline,
    )
    assert found.steps[0].startswith("Use the model of round 2: checkpoint c")
    assert [row.name for row in found.final] == [
        "Before", "Repeating the documents", "After round 1", "After round 2", "Even shares"
    ]  # fmt: skip
    assert [row.tokens for row in found.final] == [0, 0, 2_000, 4_000, 4_000]


def test_a_loop_of_one_seed_says_that_its_intervals_hold_no_other_draw() -> None:
    told = "One draw of the text and one seed: another may move this more than the intervals say."
    three = [one.model_copy(update={"checkpoints": ["a", "b", "c"]}) for one in (round_(1), round_(2))]
    assert told in describe(WON).headline
    assert told not in describe(WON, rounds=three).headline


def test_a_loop_that_loses_says_so_too() -> None:
    found = describe(WON | {"round2": 0.5, "baseline": 0.95, "even": 0.97})
    assert "Repeating teaches more: -" in found.headline
    assert "Even shares did better: -" in found.headline
    assert found.steps[0].startswith("Do not use these models")


def test_what_cannot_be_told_is_not_told() -> None:
    found = describe({"start": 0.2, "baseline": 0.5, "round1": 0.5, "round2": 0.5})
    assert found.headline.count("cannot be told") == 1
    assert found.over_even.value is None
    assert found.steps[0].startswith("Do not adopt a model yet, and ask more questions first")


def test_what_seems_a_loss_is_called_one_and_questions_that_steered_are_not_gone_by() -> None:
    first, second, *_ = describe({"start": 0.2, "baseline": 0.5, "round1": 0.5, "round2": 0.45}).steps
    assert "if the difference is what it seems, which is a loss: make no more of this text before" in first
    assert second.startswith("Go by the questions that were kept for the end (-")
    assert "not by those that steered (+2 points" in second
    assert not [one for one in describe(WON).steps if "Go by the questions" in one]


def test_figures_are_of_the_part_that_nothing_steered_by() -> None:
    examined = make_examined(WON, forgotten={}, fractions=(1.0,), open_book=None)
    final = Standings(examined, "final")
    expected = examined.questions.filter(part="final").height
    assert describe(WON).final[0].right.n == expected < examined.questions.height
    assert final.gain("round2", "round2").value == pytest.approx(0)
    assert set(final.rights_by_document("start")) == set(final.sheets.documents)
    wrong = sum(map(len, final.wrong("start").values()))
    rights = final.rights_by_document("start").values()
    assert wrong == sum(len(given) - sum(given) for given in rights)


def test_a_recipe_that_is_out_is_told_with_its_reason() -> None:
    rounds = [round_(1, held={"pairs": "records repeat each other"}), round_(2, held={"pairs": ""})]
    assert "pairs is out since round 1: records repeat each other." in describe(WON, rounds=rounds).steps


def test_a_recipe_whose_replies_are_mostly_dropped_is_told_with_why_and_what_to_do() -> None:
    rounds = [round_(1), round_(2)]
    lost = rounds[0].recipes[0].model_copy(update={"dropped": {"cut_off": 34, "over_budget": 60, "ungrounded": 5}})
    rounds[0] = rounds[0].model_copy(update={"recipes": [lost, *rounds[0].recipes[1:]]})
    found = describe(WON, rounds=rounds)
    (said,) = (one for one in found.steps if "thrown away" in one)
    assert said == (
        f"Most of what {lost.recipe} said was thrown away: 39 replies were dropped (34 cut_off, 5 ungrounded), 8 of 8 "
        "texts are kept. Raise text.sampling.max_tokens, or choose a model that comes to an end (34 cut_off)."
    )
    assert "before that dropped: 34 cut_off, 60 over_budget, 5 ungrounded" in render_improvement(found)
    assert not [one for one in describe(WON).steps if "thrown away" in one]


def test_what_is_left_in_the_end_is_told_beside_what_was_missing_before() -> None:
    first = GapRow(document="mill-3.md", title="Mill of Orl", missing=1, share=0.5, asked=2)
    rounds = [round_(1).model_copy(update={"gaps": [first], "missing": 0.9}), round_(2)]
    found = describe(WON, rounds=rounds)
    steered = "Spend the next tokens where most is missing still: Mill of Orl (75% missing)."
    assert steered in found.steps
    page = re.sub(r"\s+", " ", render_improvement(found))
    assert "90% before round 1, 50% before round 2, 40% in the end" in page
    told = re.findall(r'<tr><th scope="row">(?:Mill of Orl|mill-8.md)</th>.*?</tr>', page)
    assert [re.findall(r">([^<>]*)</td>", row) for row in told] == [
        ["2", "100%", "–", "75%", "30.0%"],  # noqa: RUF001
        ["none", "–", "–", "about 25%", "10.0%"],  # noqa: RUF001
    ]


def test_documents_that_nobody_asked_about_or_whose_gap_did_not_close_are_not_where_tokens_should_go() -> None:
    unasked, stuck = (LEFT[0].model_copy(update=one) for one in ({"asked": 0}, {"is_stuck": True}))
    assert [row for row in describe(WON).steps if "most is missing" in row]
    for row in (unasked, stuck):
        assert not [one for one in describe(WON, gaps=[row]).steps if "most is missing" in one]


def test_the_page_shows_all_and_loads_nothing() -> None:
    found = describe(WON)
    page = render_improvement(found)
    assert found.headline.replace("'", "&#39;") in page
    for title in ("What to do next", "In the end", "Rounds", "What is still missing", "How it works"):
        assert title in page
    assert "<svg" in page
    assert not re.search(r"""(?:src|href)=["']?https?:""", page)
    assert found.headline in as_markdown(found)
    assert Improvement.model_validate_json(found.model_dump_json()) == found
