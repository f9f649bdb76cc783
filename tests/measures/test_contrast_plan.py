import math
from collections import Counter

import numpy as np
import polars as pl
import pytest

from gainloop.measures.contrast_plan import plan_contrasts
from schemas.rows import content_hash


def outputs(num_anchors: int = 200, per_anchor: int = 1, draws: int = 1, tokens: int = 100) -> pl.DataFrame:
    rows = [
        {
            "request_id": content_hash(anchor, prompt, draw),
            "prompt_id": f"p{anchor}-{prompt}",
            "anchor_id": f"a{anchor}",
            "prompt_tokens": tokens + anchor % 7,
            "num_tokens": tokens + prompt,
        }
        for anchor in range(num_anchors)
        for prompt in range(per_anchor)
        for draw in range(draws)
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize("budget", [0, 700, 20_000, 200_000, 3_000_000])
@pytest.mark.parametrize("per_anchor", [1, 4, 40])
def test_a_budget_is_never_exceeded_and_most_of_it_is_spent_while_there_is_anything_to_buy(
    budget: int, per_anchor: int
) -> None:
    plan = plan_contrasts(outputs(per_anchor=per_anchor), budget)
    lengths = dict(plan.prompts.select("prompt_id", "prompt_tokens").iter_rows())
    sizes = dict(plan.outputs.select("request_id", "num_tokens").iter_rows())
    read = sum(
        sizes[output[0]] + lengths[one.prompt_id or output[1]] for output in plan for one in plan.contrasts(*output)
    )
    assert plan.tokens == read <= budget
    if budget >= 20_000 and plan.outputs.height < 200 * per_anchor:
        assert read > 0.6 * budget


def test_what_is_scored_is_the_own_prompt_others_drawn_afresh_and_the_prompt_without_its_document() -> None:
    plan = plan_contrasts(outputs(), 500_000)
    drawn = Counter()
    for output in plan:
        kinds = Counter(one.kind for one in plan.contrasts(*output))
        assert kinds == {"own": 1, "null": 1, "other": plan.num_scored - 1}
        prompts = [one.prompt_id for one in plan.contrasts(*output) if one.kind != "null"]
        assert len(set(prompts)) == plan.num_scored
        assert prompts[0] == output[1]
        drawn.update(prompts[1:])
    # Every prompt is as likely as any other: counts are binomial.
    counts = np.array([drawn[f"p{n}-0"] for n in range(200)])
    assert counts.var() < 2.5 * counts.mean()
    assert [plan.contrasts(*one) for one in plan] == [plan.contrasts(*one) for one in plan]


def test_prompts_of_one_document_are_all_scored_if_they_leave_room_for_others() -> None:
    plan = plan_contrasts(outputs(per_anchor=4), 500_000)
    assert plan.by_family
    for output in plan:
        near = {one.prompt_id for one in plan.contrasts(*output) if one.kind == "near"}
        assert len(near) == 3
        others = {one.prompt_id.split("-")[0] for one in plan.contrasts(*output) if one.kind == "other"}
        assert output[1].split("-")[0] not in others
    assert not plan_contrasts(outputs(per_anchor=40), 200_000).by_family


def test_a_larger_budget_scores_more_outputs_under_more_prompts_and_says_what_that_buys() -> None:
    small, large = (plan_contrasts(outputs(1000), budget) for budget in (200_000, 2_000_000))
    assert small.num_scored < large.num_scored
    assert small.outputs.height < large.outputs.height
    assert large.half_width < small.half_width
    assert f"{large.outputs.height:,} outputs are scored under {large.num_scored} of 1,000 prompts" in large.summary


def test_the_width_that_is_foretold_is_about_the_width_that_comes() -> None:
    # Densities of information with a mean of one nat and the variance that normal ones have.
    densities = np.random.default_rng(0).normal(
        1, math.sqrt(2), (2000, plan_contrasts(outputs(), 10**6).outputs.height)
    )
    errors = np.abs(densities.mean(axis=1) - 1)
    assert np.mean(errors < plan_contrasts(outputs(), 10**6).half_width) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("frame", [outputs().head(0), outputs(1), outputs(1, draws=5)])
def test_no_output_or_one_prompt_leaves_little_to_score_and_no_error(frame: pl.DataFrame) -> None:
    plan = plan_contrasts(frame, 10_000)
    assert plan.num_scored <= 1
    assert all(one.kind in ("own", "null") for output in plan for one in plan.contrasts(*output))
