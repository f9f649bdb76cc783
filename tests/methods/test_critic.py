import json
from typing import Any

import pytest

from gainloop.filters.judge import Judge
from gainloop.methods import METHODS
from gainloop.methods.critic import Critic, ask_critique, read_critique
from gainloop.methods.method import Method, without_repeats
from gainloop.methods.pipeline import Pipeline, read_pipeline
from gainloop.methods.rephrase import Rephrase
from schemas.recipe import Recipe
from schemas.rows import Answer, Drop, Outcome, Record, Request
from tests.methods import malformed
from tests.methods.playing import ANCHOR, hold, make_reply, prompt, say, shown
from tests.methods.playing import play as play_method

EASY = Rephrase(styles=("easy",), max_chunks=1)
BOTH = Rephrase(styles=("easy", "hard"))


def criticised(method: Method = EASY, **parameters: Any) -> Pipeline:
    return Pipeline(method, critic=Critic(**parameters))


def play(pipeline: Pipeline, answer: Any) -> tuple[list[Request], Outcome]:
    """Run a pipeline against a rule that answers; return what it asked and what came of it."""
    rounds, outcome = hold(pipeline.rounds(ANCHOR, 0), answer)
    return [request for requests in rounds for request in requests], outcome


def scoring(*scores: int | str) -> Any:
    """Return the rule by which the critic of each turn gives the next score, or says the next thing."""

    def answer(request: Request, number: int) -> Answer:
        if not request.greedy:
            return make_reply(request, number, f"Text {number}.")
        said = scores[int(request.facet.split()[1]) - 1]
        found = said if isinstance(said, str) else json.dumps({"problems": ["It says nothing of rye."], "score": said})
        return make_reply(request, number, found)

    return answer


def test_a_record_is_criticised_and_written_anew_until_it_is_good_enough() -> None:
    asked, outcome = play(criticised(max_turns=5), answer=scoring(1, 3, 4))

    assert [request.facet for request in asked] == [
        *("easy", "critique 1 easy", "revision 1 easy", "critique 2 easy", "revision 2 easy", "critique 3 easy"),
    ]
    assert outcome.records == [Record(ANCHOR.anchor_id, "rephrase", "easy", "Text 4.", ("q4",))]
    assert outcome.drops == []


def test_the_critic_sees_source_draft_and_rubric_and_the_reviser_the_problems() -> None:
    asked, _ = play(criticised(rubric="5: it rhymes."), answer=scoring(1, 1))

    critique, revision = asked[1:3]
    assert critique.greedy
    assert not revision.greedy
    assert prompt(critique).startswith(shown(ANCHOR.text, ANCHOR.title, "Text 0."))
    assert "5: it rhymes." in prompt(critique)
    assert prompt(revision).startswith(shown(ANCHOR.text, ANCHOR.title, "Text 0."))
    assert "- It says nothing of rye." in prompt(revision)
    assert "Text 2." in prompt(asked[3])


@pytest.mark.parametrize("max_turns", [1, 2, 7])
def test_the_loop_ends_after_its_turns(max_turns: int) -> None:
    pipeline = criticised(max_turns=max_turns)
    asked, outcome = play(pipeline, answer=scoring(*[1] * 7))

    assert len(asked) == pipeline.max_requests == 1 + 2 * max_turns
    assert outcome.records[0].request_ids == (f"q{2 * max_turns}",)


def test_records_of_an_anchor_are_revised_side_by_side() -> None:
    asked, outcome = play(criticised(BOTH), answer=scoring(1, 5))

    assert [request.facet for request in asked[2:6]] == [
        *("critique 1 easy", "critique 1 hard", "revision 1 easy", "revision 1 hard"),
    ]
    assert [record.request_ids for record in outcome.records] == [("q4",), ("q5",)]


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [("Text", "length", "cut_off"), (" ", "stop", "empty"), ("Text 0.", "stop", "repeat")],
)
def test_a_revision_that_cannot_be_used_is_a_drop_and_the_draft_stays(text: str, finish: str, reason: str) -> None:
    def answer(request: Request, number: int) -> Answer:
        return (
            make_reply(request, number, text, finish)
            if request.facet.startswith("revision")
            else scoring(1)(request, number)
        )

    _, outcome = play(criticised(), answer=answer)
    assert [record.text for record in outcome.records] == ["Text 0."]
    assert outcome.drops == [Drop(ANCHOR.anchor_id, "revision 1 easy", reason, "q2")]


@pytest.mark.parametrize("said", ["Good.", '{"score": 2}', '{"problems": ["x"], "score": 9}', '{"problems": 1}', " "])
def test_a_critic_that_cannot_be_understood_leaves_the_draft_and_is_counted(said: str) -> None:
    asked, outcome = play(criticised(), answer=scoring(said))

    assert len(asked) == 2
    assert [record.request_ids for record in outcome.records] == [("q0",)]
    assert outcome.drops == [Drop(ANCHOR.anchor_id, "critique 1 easy", "no_critique")]


def test_a_low_score_without_a_problem_leaves_nothing_to_mend() -> None:
    asked, outcome = play(criticised(), answer=scoring('{"problems": [], "score": 1}'))

    assert (len(asked), len(outcome.records), outcome.drops) == (2, 1, [])


def test_records_that_become_the_same_text_are_one() -> None:
    def answer(request: Request, number: int) -> Answer:
        return (
            make_reply(request, number, "The same.")
            if request.facet.startswith("revision")
            else scoring(1, 5)(request, number)
        )

    _, outcome = play(criticised(BOTH), answer=answer)
    assert [record.facet for record in outcome.records] == ["easy"]
    assert outcome.drops == [Drop(ANCHOR.anchor_id, "hard", "repeat", "q5")]


def test_a_reply_that_made_two_records_alike_is_in_one_and_no_drop() -> None:
    one, other = (Record(ANCHOR.anchor_id, "rephrase", facet, "The same.", ("q5",)) for facet in ("easy", "hard"))

    assert without_repeats(Outcome([one, other])) == Outcome([one])


def test_filters_see_what_the_critic_left() -> None:
    pipeline = Pipeline(EASY, (Judge(least=5),), Critic())

    def answer(request: Request, number: int) -> Answer:
        if request.facet.startswith("judge"):
            return make_reply(request, number, '{"reason": "So.", "score": 4}')
        return scoring(1, 5)(request, number)

    asked, outcome = play(pipeline, answer=answer)
    assert pipeline.max_requests == 1 + 4 + 1
    assert "Text 2." in prompt(asked[-1])
    assert outcome.drops == [Drop(ANCHOR.anchor_id, "easy", "low_score", "q2")]


@pytest.mark.parametrize("method", [made() for made in METHODS.values()], ids=lambda method: method.kind)
@pytest.mark.parametrize("spoil", [malformed.broken, malformed.spoiled])
def test_around_any_method_no_malformed_reply_raises_and_no_draft_is_lost_to_the_critic(
    method: Method, spoil: Any
) -> None:
    drafts = {record.facet for record in play_method(method)[1].records}
    for variant in range(24):

        def answer(request: Request, number: int, variant: int = variant) -> Answer:
            if request.facet.startswith(("critique", "revision")):
                return make_reply(request, number, spoil(request, number, variant))
            return say(request, number)

        pipeline = criticised(method)
        asked, outcome = play(pipeline, answer=answer)
        assert len(asked) <= pipeline.max_requests
        assert {record.facet for record in outcome.records} == drafts


def test_a_recipe_without_a_critic_keeps_its_id_and_one_with_it_reads_it_back() -> None:
    recipe = Recipe(method={"kind": "rephrase"}, snapshot_id="s", model="m", revision="1")
    critical = recipe.model_copy(update={"critic": Critic(max_turns=3).model_dump(mode="json")})

    assert read_pipeline(recipe).critic is None
    assert read_pipeline(critical).critic == Critic(max_turns=3)
    assert recipe.batch_id != critical.batch_id


def test_a_critique_is_asked_for_by_a_schema_that_reads_back() -> None:
    draft = Record(ANCHOR.anchor_id, "rephrase", "easy", "Rye.", ("q0",))

    found = read_critique(say(ask_critique(ANCHOR, draft, "5: good.", 1), 0).text)  # type: ignore[union-attr]
    assert found
    assert (len(found.problems), found.score) == (5, 5)
