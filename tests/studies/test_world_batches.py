"""What the batches of a run hold: every factor in turn, the controls, and no question's wording."""

from collections import Counter

from gainloop.studies.generator import CONTROLS, HALLUCINATION, METHODS, draw_plans, make_batch, split
from gainloop.studies.world import QUESTION, REWORDED, TELLING, cloze, list_words, make_world, say, write_document

WORLD = make_world(0, 12, 12, 6)


def test_no_name_is_in_two_groups_and_no_value_is_another_relations() -> None:
    names = [entity.name for entity in WORLD.everybody]
    assert len(names) == len(set(names))
    values = Counter(value for relation in {fact.relation for fact in WORLD.facts} for value in relation.values)
    assert max(values.values()) == 1


def test_gate_and_verdict_share_every_entity_and_no_fact() -> None:
    for entity in WORLD.anchors:
        assert {fact.part for fact in entity.facts} == {"gate", "verdict"}


def test_a_run_has_every_method_and_level_as_often_as_every_other() -> None:
    plans = draw_plans(23, 0)
    assert plans[-5:] == list(CONTROLS)
    designed = plans[:-5]
    assert Counter(plan.method for plan in designed) == dict.fromkeys(METHODS, 6)
    levels = Counter(plan.hallucination for plan in designed)
    assert levels == dict.fromkeys(HALLUCINATION, 18 // len(HALLUCINATION))
    assert len({plan.name for plan in plans}) == 23
    assert draw_plans(23, 0) == plans != draw_plans(23, 1)


def test_no_batch_has_a_questions_wording() -> None:
    for plan in draw_plans(12, 0):
        for text in make_batch(WORLD, plan, 400, 4, 0).texts:
            if plan.control != "gibberish":
                assert "tell me the" not in " ".join(text)
                assert "among all that" not in " ".join(text)


def test_the_controls_are_what_they_are_called() -> None:
    made = {plan.control: make_batch(WORLD, plan, 600, 4, 0) for plan in CONTROLS}
    documents = {write_document(entity) for entity in WORLD.anchors}
    assert set(made["copies"].texts) == documents
    assert len(set(made["collapsed"].texts)) == 2
    names = {entity.name for entity in WORLD.anchors}
    assert not {text[place : place + 2] for text in made["elsewhere"].texts for place in range(len(text))} & names
    true = {say(wording, fact, fact.value) for fact in WORLD.facts for wording in TELLING}
    assert not {sentence for text in made["hallucinated"].texts for sentence in split(text)} & true
    assert len({word for text in made["gibberish"].texts for word in text}) > len(list_words(WORLD.everybody)) / 2


def test_batches_have_about_as_many_words_and_are_the_same_again() -> None:
    for plan in draw_plans(8, 3):
        batch = make_batch(WORLD, plan, 500, 4, 1)
        assert 500 <= sum(map(len, batch.texts)) < 560
        again = make_batch(WORLD, plan, 500, 4, 1)
        assert (again.texts, again.asked) == (batch.texts, batch.asked)
        assert (batch.nll >= 0).all()


def test_a_cloze_ends_where_the_value_would_stand() -> None:
    fact = WORLD.facts[0]
    for wording in (QUESTION, REWORDED):
        assert (*cloze(wording, fact), fact.value, ".") == say(wording, fact, fact.value)
