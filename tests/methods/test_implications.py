from gainloop.methods.implications import Implications
from tests.methods.playing import ANCHOR, make_reply, play, prompt, shown


def test_one_prompt_is_sampled_as_often_as_asked_and_draws_tell_the_requests_apart() -> None:
    asked, _ = play(Implications(draws=3))

    assert len({request.prompt_id for request in asked}) == 1
    assert [(request.facet, request.draw) for request in asked] == [("draw 0", 0), ("draw 1", 1), ("draw 2", 2)]
    assert prompt(asked[0]).startswith(f"{shown(ANCHOR.text, ANCHOR.title)}List ")


def test_a_list_is_one_record_as_it_was_written_whatever_it_goes_on_to() -> None:
    said = "1. The mill grinds rye.\n2. The river turns the mill.\n\nPassage:\nThe town has a bakery."
    _, outcome = play(Implications(draws=1), answer=lambda request, n: make_reply(request, n, f"\n{said}\n"))

    assert [record.text for record in outcome.records] == [said]
