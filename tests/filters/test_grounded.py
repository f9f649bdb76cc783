from random import Random

from gainloop.filters.filter import sift
from gainloop.filters.grounded import Grounded
from schemas.rows import Anchor, Drop, Outcome, Record
from tests.methods.playing import hold

MILL = Anchor("It was built in 1874 and has three wheels.", title="Kesselbach Mill")


def sifted(text: str, most: int = 0) -> tuple[int, Outcome]:
    record = Record(MILL.anchor_id, "rephrase", "easy", text, ("q1", "q2"))
    asked, outcome = hold(sift(MILL, Outcome([record]), [Grounded(most=most)], Random(0)))
    return sum(map(len, asked)), outcome


def test_a_record_with_a_number_or_a_name_that_document_and_title_lack_is_refused_and_nobody_is_asked() -> None:
    for text in ("Built in 1875, it has wheels.", "Of its wheels Anna turned one."):
        asked, outcome = sifted(text)
        assert asked == 0
        assert outcome == Outcome(drops=[Drop(MILL.anchor_id, "easy", "ungrounded", reply) for reply in ("q1", "q2")])


def test_a_record_that_says_the_same_in_other_words_is_kept() -> None:
    assert len(sifted("With 3 wheels, the mill of Kesselbach stands since 1874.")[1].records) == 1


def test_so_many_may_be_allowed() -> None:
    assert sifted("In 1875 Anna came.", most=1)[1].drops
    assert sifted("In 1875 Anna came.", most=2)[1].records
