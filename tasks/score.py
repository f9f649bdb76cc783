"""Scoring: outputs of a batch under prompts that are not theirs, as far as a budget of tokens goes."""

import logging
import time
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from gainloop.measures.contrast_plan import ContrastPlan, plan_contrasts
from gainloop.serving import CannotScore
from gainloop.serving.driver import replay
from gainloop.serving.engine import engine
from gainloop.serving.scorer import Scorer
from gainloop.store import Store, open_store
from gainloop.store.batches import (
    complete_stage,
    landed_folder,
    read_recipe,
    replies_folder,
    stage_summary,
    would_be_records,
)
from gainloop.store.replies import read_answers, read_replies
from gainloop.store.scores import contrasts_folder, read_contrasts
from gainloop.store.snapshots import read_texts
from schemas.profile import Profile, Servers
from schemas.recipe import Recipe, Scoring
from schemas.rows import content_hash
from tasks.progress import Bar
from tasks.runner import slot

logger = logging.getLogger("gainloop.score")


def plan_scores(store: Store, batch_id: str, scoring: Scoring) -> ContrastPlan:
    """Return what a batch's budget buys: which of its outputs are scored under which prompts."""
    columns = ["request_id", "prompt_id", "anchor_id", "prompt_tokens", "completion_tokens"]
    replies = read_replies(landed_folder(store, batch_id, "the flow score"), columns=columns)
    outputs = replies.join(would_be_records(store, batch_id), on="request_id", how="semi")
    budget = scoring.budget(int(replies["completion_tokens"].sum()))
    return plan_contrasts(outputs.rename({"completion_tokens": "num_tokens"}), budget)


def name_plan(plan: ContrastPlan) -> str:
    """Return the plan's id: two budgets that buy the same are one."""
    return content_hash("contrasts", plan.outputs["request_id"].to_list(), plan.num_scored, plan.by_family)


def score_outputs(
    store: Store, profile: Profile, recipe: Recipe, folder: str | None, plan: ContrastPlan, bar: Bar
) -> dict[str, Any]:
    """Score what was not scored yet, mark the plan as complete, and return what was found of it as a whole.

    Args:
        folder: The generator's weights; None for a model that servers have.

    Raises:
        CannotScore: The generator scores no text.
        ServerError: It is down.
    """
    begun, plan_id = time.monotonic(), name_plan(plan)
    scorer = _recall(store, recipe, plan, contrasts_folder(store, recipe.batch_id, plan_id))
    scorable = [one for one in plan if scorer.can_score(*one)]
    landed = set(read_contrasts(scorer.folder)["request_id"])
    missing = [one for one in scorable if one[0] not in landed]
    done = len(scorable) - len(missing)

    def count() -> None:
        nonlocal done
        done += 1
        bar(done, len(scorable), f"{plan.num_scored} prompts each")

    if missing:
        with engine(profile, recipe, folder) as lent:
            lent.run(lambda pool: scorer.run(pool, missing, count))
    summary = {
        "outputs": len(scorable),
        "not_scorable": plan.outputs.height - len(scorable),
        "prompts_each": plan.num_scored,
        "prompts": plan.prompts.height,
        "by_family": plan.by_family,
        "tokens": plan.tokens,
        "budget_tokens": plan.budget_tokens,
        "half_width_nats": plan.half_width,
        "folder": store.keep(scorer.folder),
        "seconds": time.monotonic() - begun,
    }
    complete_stage(store, recipe.batch_id, "score", summary, plan_id)
    return summary


def _recall(store: Store, recipe: Recipe, plan: ContrastPlan, folder: str) -> Scorer:
    """Return the scorer of a plan, with the prompts made again of the anchors and replies that they came from."""
    replies = read_answers(replies_folder(store, recipe.batch_id), plan.anchor_ids)
    anchors = {anchor.anchor_id: anchor for anchor in read_texts(store, plan.anchor_ids)}
    asked = [request for anchor in anchors.values() for request in replay(recipe, anchor, replies).values()]
    return Scorer(plan, recipe.sampling, replies, {one.prompt_id: one for one in asked}, anchors, folder)


@task(cache_policy=NO_CACHE, task_run_name="plan scores of {batch_id}")
def plan_batch_scores(profile: Profile, batch_id: str, scoring: Scoring) -> ContrastPlan:
    plan = plan_scores(open_store(profile), batch_id, scoring)
    logger.info(plan.summary)
    return plan


@task(cache_policy=NO_CACHE, task_run_name="score outputs")
def score_plan(profile: Profile, recipe: Recipe, folder: str | None, plan: ContrastPlan) -> None:
    with slot(profile), Bar(f"score {recipe.batch_id}", "outputs") as bar:
        try:
            score_outputs(open_store(profile), profile, recipe, folder, plan, bar)
        except CannotScore:
            logger.warning(
                "scoring outputs of batch %s: the servers have no /tokenize; vLLM has. Nothing is scored: the report "
                "does not say what replies tell of their prompts, and all else goes on.",
                recipe.batch_id,
            )


def why_not_scored(store: Store, profile: Profile, batch_id: str, plan: ContrastPlan) -> str:
    """Return why there is nothing to score, or nothing left; empty if there is."""
    if isinstance(profile.serving, Servers) and not profile.serving.logprobs:
        return "the profile's serving.logprobs is false"
    if read_recipe(store, batch_id).players:
        return "several models made it, and none can score what another said"
    if plan.outputs.is_empty():
        return f"a budget of {plan.budget_tokens:,} tokens buys no score"
    return "it was done before" if stage_summary(store, batch_id, "score", name_plan(plan)) else ""
