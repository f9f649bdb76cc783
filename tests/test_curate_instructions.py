"""What becomes of records whose instruction is there already: in an anchor, an earlier batch, or their own batch."""

import json
from pathlib import Path
from random import Random

import pytest

from gainloop.curation.instructions import Known, KnownInstructions
from gainloop.curation.suite import MATCHES
from gainloop.measures.rouge import rouge_l, rouge_tokens
from gainloop.methods import METHODS
from gainloop.store import Store
from schemas.curation import Curation
from schemas.instruction import Instruction, write_group
from schemas.rows import Anchor, Record
from tasks.validate import differing_settings, records_folder
from tests.test_validate import ADJECTIVES, NOUNS, VERBS, World, as_row, make_world, sentences

SEED = "Name the mood in which the keeper of the lighthouse wrote this letter."


def instruction(seed: str) -> str:
    """Return a made-up instruction that is like no other one."""
    rng = Random(seed)
    named = [
        f"{rng.choice(ADJECTIVES)}{rng.randrange(1000)} {rng.choice(NOUNS)}{rng.randrange(1000)}" for _ in range(3)
    ]
    return f"Explain{rng.randrange(1000)} how {named[0]} {rng.choice(VERBS)} {named[1]} and {named[2]}."


def like(text: str, num_words: int = 1) -> str:
    found = text.split()
    return " ".join([*found[:-num_words], *[f"else{number}" for number in range(num_words)]])


ANCHORS = [
    Anchor(write_group([Instruction(SEED), Instruction(instruction(f"seed {n}"), output="Rye")])) for n in range(12)
]


def world_of(store: Store, talks: dict[str, tuple[int, str]], method: str = "self_instruct", seed: int = 0) -> World:
    """Return a batch of conversations, each the number of its anchor and an instruction, beside twelve that are new."""
    world = make_world(store, {}, ANCHORS, method, seed=seed)
    talks |= {f"fresh {n}": (n, instruction(f"{seed} fresh {n}")) for n in range(12)}
    for name, (anchor, text) in talks.items():
        turns = Instruction(text, output=sentences(f"{seed} {name}", 3)).turns
        world.records[name] = Record.of_turns(ANCHORS[anchor].anchor_id, method, "f", turns, (f"q{seed}{name}",))
    store.insert(records=[as_row(world.batch_id, record) for record in world.records.values()])
    return world


def evidence(world: World) -> dict[str, dict[str, object]]:
    names = {record.record_id: name for name, record in world.records.items()}
    lines = Path(records_folder(world.store, world.batch_id), MATCHES).read_text().splitlines()
    return {names[row["record_id"]]: row for row in map(json.loads, lines)}


def test_a_record_is_refused_whose_instruction_an_anchor_an_earlier_batch_or_another_anchors_record_has(
    store: Store,
) -> None:
    old, twin = instruction("old"), instruction("twin")
    first = world_of(store, {"old": (0, old)})
    first.validate()
    second = world_of(
        store,
        {
            "of anchor": (3, like(SEED)),
            "of earlier": (0, like(old)),
            "half of earlier": (0, like(old, 4)),
            "twin 1": (1, twin),
            "twin 1 again": (1, twin),
            "twin 2": (2, like(twin)),
        },
        "alpaca",
        seed=1,
    )
    summary = second.validate()

    ids = {name: record.record_id for name, record in second.records.items()}
    twins = [["twin 2"], ["twin 1", "twin 1 again"]]
    later = twins[0] if min(ids[name] for name in twins[1]) < ids["twin 2"] else twins[1]
    assert second.reasons() == {name: {"near_instruction"} for name in ("of anchor", "of earlier", *later)}
    found = evidence(second)
    assert (found["of anchor"]["kind"], found["of anchor"]["text"]) == ("anchor", SEED)
    earlier = (found["of earlier"]["item"], found["of earlier"]["of"])
    assert earlier == (first.records["old"].record_id, first.batch_id)
    assert found["of earlier"]["similarity"] == round(rouge_l(rouge_tokens(old), rouge_tokens(like(old))), 4)
    assert summary["corpus"]["compared"]["instructions known before"] == 13 + 13


def test_the_threshold_is_the_settings_and_none_refuses_none(store: Store) -> None:
    for seed, (alike, refused) in enumerate([(0.7, True), (0.95, False), (0.0, False)]):
        world = world_of(store, {"of anchor": (3, like(SEED))}, seed=seed)
        world.curation = Curation(instructions_alike=alike)
        world.validate()
        assert ("of anchor" in world.reasons()) == refused, alike


def test_only_what_records_are_compared_with_refuses_them(store: Store) -> None:
    twins = {"of anchor": (3, like(SEED)), "twin 1": (1, instruction("twin")), "twin 2": (2, instruction("twin"))}
    world = world_of(store, twins)
    world.curation = Curation(among=["anchors"])
    world.validate()

    assert set(world.reasons()) == {"of anchor"}


def test_the_same_record_of_a_batch_with_more_anchors_is_kept_again(store: Store) -> None:
    first = world_of(store, {})
    first.validate()
    second = make_world(store, {}, ANCHORS, "self_instruct", seed=1)
    second.records = first.records
    store.insert(records=[as_row(second.batch_id, record) for record in first.records.values()])
    second.validate()

    assert second.reasons() == {}


def test_conversations_of_a_method_that_invents_no_instructions_are_not_compared(store: Store) -> None:
    world = world_of(store, {"of anchor": (3, like(SEED)), "one": (1, SEED), "other": (2, SEED)}, "backtranslate")
    summary = world.validate()

    assert "near_instruction" not in {reason for found in world.reasons().values() for reason in found}
    assert "instructions known before" not in summary["corpus"]["compared"]
    assert {kind for kind, made in METHODS.items() if made.invents_instructions} == {"alpaca", "self_instruct"}


def test_the_most_alike_of_several_is_the_evidence() -> None:
    known = KnownInstructions(0.5)
    for number, text in enumerate([like(SEED, 3), SEED, like(SEED, 2)]):
        known.add(Known("anchor", "snap", f"a{number}", "", text))

    found = known.nearest(like(SEED), "b", ("anchor",))
    assert found is not None
    assert found[0].item == "a1"
    assert known.nearest(SEED, "b", ("record",)) is None


def test_a_batch_that_was_validated_before_there_was_such_a_setting_was_validated_alike() -> None:
    before = Curation().model_dump(mode="json")
    del before["instructions_alike"]

    assert differing_settings({"corpus": {"curation": before}}, Curation()) == ""


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_likeness_lies_between_nothing_and_all(share: float) -> None:
    with pytest.raises(ValueError, match="instructions_alike"):
        Curation(instructions_alike=share)
