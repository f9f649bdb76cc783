from gainloop.methods.sbp import RELATED, SBP, ask_related
from schemas.rows import Drop, Outcome, Record
from tests.methods.playing import ANCHOR, make_reply, play
from tests.tiny_model import tiny_tokenizer


def test_draws_of_one_prompt_differ_in_their_draw_alone() -> None:
    asked, _ = play(SBP(draws=3))

    assert {request.prompt for request in asked} == {ANCHOR.text + RELATED}
    assert len({request.prompt_id for request in asked}) == 1
    assert [(request.draw, request.facet) for request in asked] == [(0, "draw 0"), (1, "draw 1"), (2, "draw 2")]


def test_finished_replies_become_records_and_the_others_drops_with_their_reason() -> None:
    texts = [("A lighthouse.\n", "stop"), ("A light", "length"), ("", "stop")]

    _, outcome = play(SBP(draws=3), answer=lambda request, n: make_reply(request, n, *texts[n]))
    assert outcome == Outcome(
        records=[Record(ANCHOR.anchor_id, "sbp", "draw 0", "A lighthouse.", ("q0",))],
        drops=[Drop(ANCHOR.anchor_id, "draw 1", "cut_off", "q1"), Drop(ANCHOR.anchor_id, "draw 2", "empty", "q2")],
    )


def test_more_draws_only_add_requests() -> None:
    assert play(SBP(draws=2))[0] == play(SBP(draws=5))[0][:2]


def test_the_synthesizer_is_tuned_first_and_the_separator_is_one_token_of_our_tokenizer() -> None:
    ids = tiny_tokenizer().encode(ask_related("x"))

    assert SBP.tunes_generator
    assert ids[-1] == tiny_tokenizer().convert_tokens_to_ids(RELATED)
