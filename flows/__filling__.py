"""Text of a loop's recipes: batches until a share of the tokens is used, and what even shares would have made of it."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from flows.generate import make_batch
from gainloop.evaluation.likelihoods import Run
from gainloop.store import open_store
from gainloop.store.batches import stage_summary
from gainloop.store.snapshots import read_anchors
from schemas.errors import SuiteFailed, TooFewTokens, Unusable
from schemas.improvement import Round
from schemas.plan import Arm
from schemas.profile import Prices, Profile
from schemas.recipe import Recipe
from schemas.steering import EvenShares
from tasks.improve import Plan
from tasks.loop import (
    PILOT_ANCHORS,
    Filling,
    Loop,
    Made,
    is_proved,
    least_for,
    most_of_request,
    read_rounds,
    rounds_of,
    tokens_per_anchor,
)
from tasks.report import say_vetoes
from tasks.train import train_checkpoint
from tasks.validate import require_accepted, validate_records

logger = logging.getLogger("gainloop.improve")

PART = 3
"""A batch has at most this part of the documents' anchors, so that what is missing most can be drawn again."""

MOST_BATCHES = 40
"""Batches of a recipe in a round, at most."""

EVEN_SEED = 500_000
"""Seeds of the text by even shares begin here, those of a round at a thousand times its number."""


def done_rounds(loaded: Profile, loop: Loop) -> list[Round]:
    return rounds_of(read_rounds(open_store(loaded), loop.loop_id))


def fill_recipe(loaded: Profile, loop: Loop, plan: Plan, name: str, left: int) -> Made:
    """Return the validated batches of a recipe's share of a round: as many as its tokens pay for.

    Args:
        left: Tokens that are left of the loop's whole budget.
    """
    rounds = done_rounds(loaded, loop)[: plan.number - 1]
    known = tokens_per_anchor(rounds, name)
    least = least_for(open_store(loaded), loop, name, known)  # so that a small share says something
    tokens = min(left, max(plan.tokens[name], least))
    return fill(loaded, loop, name, tokens, 1_000 * plan.number, plan.aim_id, known, rounds)


def fill(
    loaded: Profile,
    loop: Loop,
    name: str,
    tokens: int,
    seed: int,
    aim_id: str = "",
    per_anchor: float | None = None,
    rounds: Sequence[Round] = (),
) -> Made:
    """Return the batches of one recipe, refused ones among them, that take no more tokens than there are.

    Args:
        seed: Seed of the first batch, added to the recipe's own; each further one has the next.
        per_anchor: Tokens that an anchor takes, as far as is known: a few anchors find out.
        rounds: Rounds that are done, whose batches count beside these for what validation refuses.
    """
    store, making = open_store(loaded), loop.makings[name]
    anchors = read_anchors(store, loop.snapshot_id, heldout=False).height
    most = min(making.max_anchors or anchors, max(PILOT_ANCHORS, -(-anchors // PART)))
    tokens = min(tokens, making.budget_tokens or tokens)
    before = [one for each in rounds for one in each.recipes if one.recipe == name]
    filling = Filling(store, Prices() if loop.players else loaded.prices)  # prices are of one model
    for number in range(MOST_BATCHES):
        made = filling.made
        # What the last request may take must still be there when it is sent.
        left = tokens - made.tokens - most_of_request(store, loop, name, made.batches)
        per_anchor = made.per_anchor or per_anchor
        wanted = PILOT_ANCHORS if per_anchor is None else int(left / max(1.0, per_anchor))
        if left <= 0 or wanted < 1:
            break
        given = {"seed": making.seed + seed + number, "max_anchors": min(wanted, most)}
        given |= {"budget_tokens": tokens - made.tokens}
        made_by = loop.snapshot_id, loop.model, loop.revision
        recipe = making.model_copy(update=given).recipe(*made_by, aim_id=aim_id, players=loop.players)
        try:
            words = fill_batch(loaded, loop, recipe, filling)
        except TooFewTokens as refusal:
            logger.info("Recipe %s has no more batch in this round: %s", name, refusal)
            filling.lost += refusal.lost_tokens
            filling.unpaid = recipe.batch_id
            break
        judged = [batch_id for one in before for batch_id in one.batches] + filling.batches
        if words and is_proved(store, judged, sum(len(one.given_up) for one in before) + len(filling.given_up)):
            return replace(filling.made, held=words)
    return filling.made


def fill_batch(loaded: Profile, loop: Loop, recipe: Recipe, filling: Filling) -> str:
    """Make and validate a batch, and add it to those of its recipe; return why it is not trained on, or nothing."""
    try:
        make_batch(loaded, recipe, loop.folder)
    except Unusable as refusal:
        filling.lost += refusal.lost_tokens
        filling.given_up[recipe.batch_id] = _first(refusal)
        return _first(refusal)
    filling.batches.append(recipe.batch_id)
    try:
        require_accepted(filling.store, recipe.batch_id)  # text made since is no reason to judge it otherwise
        validate_records(loaded, recipe.batch_id, loop.curation)
    except SuiteFailed as refusal:
        made = stage_summary(filling.store, recipe.batch_id, "generate") or {}
        no_record = "" if made.get("records") else f"no record came of batch {recipe.batch_id}"
        filling.refused[recipe.batch_id] = no_record or _first(refusal)
    return filling.refused.get(recipe.batch_id, "")


def _first(refusal: Exception) -> str:
    """Return what was attempted and found, without what to do: nobody is there to do it."""
    return str(refusal).partition(";")[0]


def why_not_trained_on(loaded: Profile, made: Made) -> str:
    """Return what gate or validation hold a recipe's batches for, in words; empty if they may be trained on."""
    return made.held or next((words for one in made.usable if (words := say_vetoes(loaded, one))), "")


def train_on(loaded: Profile, loop: Loop, batches: Sequence[str], arms: Sequence[Arm], share: float = 1.0) -> list[Run]:
    """Return the runs of a training on batches, seed by seed; a model that is there is not made again."""
    of = loop.comparison(batches, share)
    return [Run(arm, seed, train_checkpoint(loaded, of, seed, arm)) for seed in range(of.plan.seeds) for arm in arms]


def make_even(loaded: Profile, loop: Loop) -> EvenShares | None:
    """Return the model of text by even shares over recipes and documents, for as many tokens as the loop has spent."""
    left, made = sum(one.tokens for one in done_rounds(loaded, loop)), list[Made]()
    # The loop's own text refuses none of it.
    among = tuple(one for one in loop.curation.among if one != "earlier_batches")
    alone = replace(loop, curation=loop.curation.model_copy(update={"among": among}))
    for place, name in enumerate(loop.makings):
        share = max(left // (len(loop.makings) - place), least_for(open_store(loaded), loop, name, None))
        made.append(fill(loaded, alone, name, min(left, share), EVEN_SEED))
        left -= made[-1].tokens
    batches = [batch_id for one in made if not why_not_trained_on(loaded, one) for batch_id in one.usable]
    if not batches:
        return None
    runs = train_on(loaded, loop, batches, ("synthetic",))
    return EvenShares(
        batches=batches, tokens=sum(one.tokens for one in made), checkpoints=[run.checkpoints[-1] for run in runs]
    )
