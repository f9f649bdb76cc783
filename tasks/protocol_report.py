"""The report of a protocol's run, from what the store has: tables, costs, and words on what such a size can show."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gainloop.store import Store, open_store
from gainloop.store.batches import read_recipe
from gainloop.store.checkpoints import checkpoint_metrics
from gainloop.store.exams import read_answers, read_exam
from gainloop.studies.bootstrapped import RANDOM_ARM, list_arms
from gainloop.studies.bootstrapped_figures import PUBLISHED as SBP_PUBLISHED
from gainloop.studies.bootstrapped_figures import describe_bootstrapping, tell_bootstrapping
from gainloop.studies.protocol_page import name_of
from gainloop.studies.protocols import EntiGraphProtocol, SBPProtocol
from gainloop.studies.recited import ENTIGRAPH, REPHRASE, START, Asked, Reading, describe_recital, tell_recital
from gainloop.studies.recited import PUBLISHED as ENTIGRAPH_PUBLISHED
from schemas.exam import Asking
from schemas.profile import Profile
from schemas.protocol import PROTOCOL_FORMAT, Bootstrapping, Cost, ProtocolReport
from schemas.rows import content_hash
from tasks.protocol import (
    Ground,
    Trained,
    cost_of_text,
    cost_of_training,
    count_drops,
    score_runs,
    texts_read,
    unique_tokens,
)

LARGE: Final = 500_000_000
"""Weights from which a model is of the papers' kind; a smaller one is said to be small."""

FEW_PAIRS: Final = 100
"""Pairs below which a generator is said to have had too few."""

UNMATCHED: Final = "beside the budget that the arms share"

Answered = Sequence[Mapping[str, Sequence[str]]]
"""Urls of the answers of all seeds by condition: of the start, then of every reading."""


def report_sbp(
    profile: Profile,
    paper: SBPProtocol,
    trained: Trained,
    snapshot_id: str,
    general_id: str,
    batches: Mapping[bool, str],
    blank_id: str,
) -> ProtocolReport:
    """Return the report of SBP's protocol.

    Args:
        batches: Batch of each kind of pairs: True of those drawn at random.
    """
    store, arms = open_store(profile), {arm.name: arm.meaning for arm in list_arms(paper)}
    scored = score_runs(store, profile.training.device, paper, trained, snapshot_id, general_id, lambda *_: None)
    ordered = {key: trained[key] for name in arms for key in trained if key[0] == name}
    found = describe_bootstrapping(arms, scored, texts_read(store, ordered), paper.model.budget_tokens)
    num_weights = int(checkpoint_metrics(store, blank_id)["num_parameters"])
    pairs = _sbp_pairs(store, batches)
    costs = _sbp_costs(store, ordered, batches, pairs)
    limits = [*_sbp_limits(paper, num_weights), *_sbp_few_pairs(pairs), *_sbp_shortfall(paper, found)]
    return ProtocolReport(
        format=PROTOCOL_FORMAT,
        protocol=content_hash("protocol", PROTOCOL_FORMAT, paper.model_dump(mode="json"), snapshot_id, general_id),
        kind="sbp",
        headline=tell_bootstrapping(found),
        setting=_sbp_setting(store, paper, snapshot_id, blank_id, num_weights),
        limits=[*limits, SBP_PUBLISHED],
        parameters=paper.model_dump(mode="json"),
        costs=costs,
        bootstrapping=found,
    )


def _sbp_setting(store: Store, paper: SBPProtocol, snapshot_id: str, blank_id: str, num_weights: int) -> list[str]:
    unique, fresh = unique_tokens(store, paper, snapshot_id, blank_id)
    budget = paper.model.budget_tokens
    return [
        f"Every arm trains a model of {num_weights:,} weights from nothing on {budget:,} tokens, with {paper.seeds} "
        f"seed{'' if paper.seeds == 1 else 's'} of first weights and order; arms of a seed begin alike.",
        f"The unique documents have {unique:,} tokens, so that repetition reads them {budget / unique:.1f} times; "
        f"{fresh:,} tokens of others are there for the oracle, which reads a text "
        f"{max(1.0, budget / (unique + fresh)):.1f} times at most. What is measured on is in neither.",
        "The generator is the model of the first repetition run, tuned on pairs of the unique documents with the loss "
        "on the second. Its texts are read as they come: the paper has no filter, and here there is none.",
    ]


def _sbp_limits(paper: SBPProtocol, num_weights: int) -> list[str]:
    found = []
    if num_weights < LARGE:
        found.append(
            f"At {num_weights:,} weights and {paper.model.budget_tokens:,} tokens the arms differ by how often the "
            "same text is read, and by what so small a generator can write, which is seldom a sentence that holds. The "
            "run shows that the protocol works and what its arms cost; it says nothing of the share that large models "
            "recover."
        )
    if paper.seeds < 2:
        found.append("One seed: intervals are over documents alone, and another training could move any of it.")
    return found


def _sbp_pairs(store: Store, batches: Mapping[bool, str]) -> dict[bool, int]:
    """Return how many pairs the generator of each batch was tuned on."""
    return {
        by_chance: checkpoint_metrics(store, read_recipe(store, batch_id).revision)["num_pairs"]
        for by_chance, batch_id in sorted(batches.items())
    }


def _sbp_few_pairs(pairs: Mapping[bool, int]) -> list[str]:
    """Return which generators were tuned on so few pairs that they can have learnt little of how texts relate."""
    return [
        f"To tune the generator{_of(by_chance)} there were {number:,} pairs: of so few it learns those, and not how "
        "texts relate. Raise paper.unique or lower paper.method.min_similarity."
        for by_chance, number in pairs.items()
        if number < FEW_PAIRS
    ]


def _of(by_chance: bool) -> str:
    return f" of {name_of(RANDOM_ARM)}" if by_chance else ""


def _sbp_shortfall(paper: SBPProtocol, found: Bootstrapping) -> list[str]:
    """Return which arms had less synthetic text than their share asks for."""
    wanted = {arm.name: arm.share for arm in list_arms(paper)}
    read = {one.arm: one.tokens / paper.model.budget_tokens for one in found.read if one.text == "synthetic"}
    return [
        f"The arm {name_of(arm)} was to read synthetic text for {wanted[arm]:.1%} of its tokens, and there was enough "
        f"for {part:.1%}: none is read twice. Raise paper.method.draws."
        for arm, part in read.items()
        if part < 0.95 * wanted[arm]
    ]


def _sbp_costs(store: Store, trained: Trained, batches: Mapping[bool, str], pairs: Mapping[bool, int]) -> list[Cost]:
    names = list(dict.fromkeys(arm for arm, _ in trained))
    costs = [
        cost_of_training(
            store, f"train {name_of(name)}", [along[-1] for (arm, _), along in trained.items() if arm == name]
        )
        for name in names
    ]
    for by_chance, batch_id in sorted(batches.items()):
        synthesizer, note = read_recipe(store, batch_id).revision, f"{pairs[by_chance]:,} pairs; {UNMATCHED}"
        costs.append(cost_of_training(store, f"tune the generator{_of(by_chance)}", [synthesizer], note))
        text = cost_of_text(store, f"write text{_of(by_chance)}", batch_id)
        costs.append(text.model_copy(update={"note": f"{text.note}; {UNMATCHED}"}))
    return costs


def report_entigraph(
    profile: Profile,
    paper: EntiGraphProtocol,
    ground: Ground,
    readings: Sequence[Reading],
    trained: Sequence[Sequence[str]],
    answered: Answered,
    exam_id: str,
    asking: Asking,
) -> ProtocolReport:
    """Return the report of EntiGraph's protocol."""
    store = open_store(profile)
    models = [Asked(START, "", 0, 0), *(Asked(one.arm, "", one.synthetic_tokens, one.budget) for one in readings)]
    answers = {
        model._replace(condition=condition): [read_answers(store.locate(url)) for url in urls]
        for model, urls_of in zip(models, answered, strict=True)
        for condition, urls in urls_of.items()
    }
    dropped = {name: count_drops(store, one) for name, one in zip((REPHRASE, ENTIGRAPH), ground.batches, strict=True)}
    found = describe_recital(answers, dropped)
    questions = read_exam(store, exam_id).questions
    asked: list[Any] = [exam_id, asking.model_dump(mode="json"), *ground]
    return ProtocolReport(
        format=PROTOCOL_FORMAT,
        protocol=content_hash("protocol", PROTOCOL_FORMAT, paper.model_dump(mode="json"), *asked),
        kind="entigraph",
        headline=tell_recital(found),
        setting=_entigraph_setting(
            paper, readings, len(questions), len({one.document_id for one in questions}), ground
        ),
        limits=[*_entigraph_limits(paper, len(questions)), ENTIGRAPH_PUBLISHED],
        parameters=paper.model_dump(mode="json"),
        costs=[*_entigraph_costs(store, readings, trained, ground)],
        recital=found,
    )


def _entigraph_setting(
    paper: EntiGraphProtocol, readings: Sequence[Reading], num_questions: int, num_documents: int, ground: Ground
) -> list[str]:
    last = readings[-1]
    replay = f", {paper.replay:.0%} of them general text" if ground.general_id and paper.replay else ""
    return [
        f"{num_questions:,} questions about {num_documents:,} documents are asked of every model; intervals are over "
        "documents.",
        f"EntiGraph's text has {last.synthetic_tokens:,} tokens, read {paper.passes:g} times{replay}; the points of "
        "the curve are trainings of their own on beginnings of one shuffled stream of it. Each arm is trained "
        f"{paper.seeds} time{'' if paper.seeds == 1 else 's'}.",
    ]


def _entigraph_limits(paper: EntiGraphProtocol, num_questions: int) -> list[str]:
    found = []
    if num_questions < 1000:
        found.append(
            f"{num_questions:,} questions tell differences of some {100 / num_questions**0.5:.0f} points and more, and "
            "the paper's own are 17 and less; its 4,609 questions are about 265 documents. Such a run shows that the "
            "protocol works from documents to curve, not whose text teaches more."
        )
    if paper.max_anchors:
        found.append(
            f"Text was made of {paper.max_anchors:,} pieces at most, while raw training reads all of them and the exam "
            "asks about all documents: what EntiGraph lacks against raw may be what it never saw."
        )
    if paper.synthetic_tokens and paper.synthetic_tokens < 1_000_000:
        found.append(
            f"At most {paper.synthetic_tokens:,} tokens of synthetic text are used, where the paper's curve begins at "
            "a million: what a slope says here need not hold there."
        )
    return found


def _entigraph_costs(
    store: Store, readings: Sequence[Reading], trained: Sequence[Sequence[str]], ground: Ground
) -> list[Cost]:
    costs = [
        cost_of_text(store, f"write by {name}", one)
        for name, one in zip((REPHRASE, ENTIGRAPH), ground.batches, strict=True)
    ]
    for reading, checkpoints in zip(readings, trained, strict=True):
        of = f", {reading.synthetic_tokens:,} synthetic tokens" if reading.synthetic_tokens else ""
        costs.append(cost_of_training(store, f"train {reading.arm}{of}", checkpoints))
    return costs
