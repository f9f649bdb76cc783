"""Tokens of a day: a batch has what is left of them, none is spent twice, and a run that goes on keeps its batch."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gainloop.methods import Making
from gainloop.methods.rephrase import Rephrase
from gainloop.store import Store
from gainloop.store.batches import begin_batch, only_writer, replies_folder
from gainloop.store.replies import Span, write_replies
from gainloop.store.spending import LEDGER, give_back, list_spent, require_left, say_spent, set_aside
from schemas.errors import DaySpent
from schemas.recipe import Recipe
from schemas.rows import Reply

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def recipe_of(seed: int = 0, budget_tokens: int | None = None, snapshot_id: str = "s") -> Recipe:
    return Making(method=Rephrase(), seed=seed, budget_tokens=budget_tokens).recipe(snapshot_id, "m", "r")


def complete(store: Store, recipe: Recipe, tokens: int, at: datetime, lost: int = 0) -> str:
    """Insert a batch that was complete at a time and took so many tokens."""
    begin_batch(store, recipe, "raw")
    summary = {"prompt_tokens": tokens // 2, "completion_tokens": tokens - tokens // 2, "lost_tokens": lost}
    row = {"batch_id": recipe.batch_id, "stage": "generate", "key": "", "summary": summary, "completed_at": at}
    store.insert(completions=[row])
    return recipe.batch_id


def land(store: Store, recipe: Recipe, tokens: int) -> None:
    """Let a reply of a batch land that took so many tokens."""
    about: dict[str, Any] = {
        "prompt_id": "p",
        "text": "t",
        "token_ids": (),
        "token_logprobs": (),
        "seconds": 1.0,
        "server": "s",
    }
    reply = Reply(**about, request_id="r", finish_reason="stop", prompt_tokens=1, completion_tokens=tokens - 1)
    write_replies(replies_folder(store, recipe.batch_id), [(reply, "a", "f")], Span(0, 1))


def test_a_batch_has_what_the_last_24_hours_left_and_is_named_as_by_that_budget(store: Store) -> None:
    complete(store, recipe_of(1), 600, NOON - 2 * HOUR, lost=50)
    complete(store, recipe_of(2), 9_000, NOON - 25 * HOUR)
    made = set_aside(store, recipe_of(), 1_000, NOON)
    assert made.budget_tokens == 350
    assert made.batch_id == recipe_of(budget_tokens=350).batch_id
    assert set_aside(store, recipe_of(3, budget_tokens=300, snapshot_id="t"), 2_000, NOON).budget_tokens == 300


def test_a_dry_run_takes_nothing_from_others(store: Store) -> None:
    assert set_aside(store, recipe_of(1), 1_000, NOON, is_noted=False).budget_tokens == 1_000
    assert set_aside(store, recipe_of(2), 1_000, NOON).budget_tokens == 1_000


def test_what_is_set_aside_for_one_batch_is_there_for_no_other_until_it_is_complete(store: Store) -> None:
    first = set_aside(store, recipe_of(1, budget_tokens=700), 1_000, NOON)
    assert set_aside(store, recipe_of(2), 1_000, NOON).budget_tokens == 300
    with pytest.raises(DaySpent, match=r"The budget of the day is spent: 1,000 of 1,000 tokens are taken or set aside"):
        set_aside(store, recipe_of(3), 1_000, NOON)
    complete(store, first, 500, NOON + HOUR)
    assert set_aside(store, recipe_of(3), 1_000, NOON + HOUR).budget_tokens == 200


def test_of_many_runs_at_once_all_together_have_no_more_than_the_day(store: Store) -> None:
    store.query("select 1")  # it is made

    def take(seed: int) -> int:
        try:
            return set_aside(store, recipe_of(seed, budget_tokens=300), 1_000, NOON).budget_tokens or 0
        except DaySpent:
            return 0

    with ThreadPoolExecutor(6) as runs:
        assert sorted(runs.map(take, range(6))) == [0, 0, 100, 300, 300, 300]


def test_a_run_that_is_started_again_goes_on_with_its_own_batch_however_much_is_left(store: Store) -> None:
    complete(store, recipe_of(1), 600, NOON - 23 * HOUR)
    made = set_aside(store, recipe_of(), 1_000, NOON)
    assert set_aside(store, recipe_of(), 1_000, NOON + HOUR) == made
    assert set_aside(store, recipe_of(), 1_000, NOON + 2 * HOUR) == made  # by now 1,000 are left
    complete(store, made, 400, NOON + 3 * HOUR)
    complete(store, recipe_of(2), 1_000, NOON + 4 * HOUR)
    assert set_aside(store, recipe_of(), 1_000, NOON + 5 * HOUR) == made  # nothing more is asked for it
    assert set_aside(store, recipe_of(), 2_000, NOON + 5 * HOUR) != made  # asked for otherwise, it is another batch


def test_a_batch_that_cannot_go_on_within_the_day_waits_for_it(store: Store) -> None:
    made = set_aside(store, recipe_of(budget_tokens=900), 1_000, NOON)
    assert made.budget_tokens == 900
    complete(store, recipe_of(1), 500, NOON + HOUR)
    with pytest.raises(DaySpent, match=r"500 of 1,000 tokens .*, 900 are needed; .* start at 2026-03-02 13:00 UTC"):
        set_aside(store, recipe_of(budget_tokens=900), 1_000, NOON + 2 * HOUR)
    assert set_aside(store, recipe_of(budget_tokens=900), 1_000, NOON + 26 * HOUR) == made


def test_what_a_run_that_died_set_aside_counts_for_a_day_and_while_it_is_written(store: Store) -> None:
    made = set_aside(store, recipe_of(), 1_000, NOON)
    assert [one.tokens for one in list_spent(store, NOON + 23 * HOUR)] == [1_000]
    with only_writer(store, made.batch_id):
        (still,) = list_spent(store, NOON + 30 * HOUR)
        assert (still.tokens, still.until) == (1_000, NOON + 54 * HOUR)
    assert not list_spent(store, NOON + 30 * HOUR)


def test_what_came_to_nothing_counts_by_what_it_took(store: Store) -> None:
    asked = recipe_of()
    made = set_aside(store, asked, 1_000)
    land(store, made, 60)
    give_back(store, asked, made, 1_000, lost=40)
    assert [one.tokens for one in list_spent(store, datetime.now(UTC))] == [100]
    assert set_aside(store, asked, 1_000).budget_tokens == 1_000 - 100  # another batch: the first was too small


def test_a_batch_that_nobody_set_anything_aside_for_counts_by_what_landed(store: Store) -> None:
    recipe = recipe_of(budget_tokens=500)
    begin_batch(store, recipe, "raw")
    land(store, recipe, 70)
    at = datetime.now(UTC)
    assert [one.tokens for one in list_spent(store, at)] == [70]
    with only_writer(store, recipe.batch_id):
        assert [one.tokens for one in list_spent(store, at)] == [500]


def test_nothing_is_begun_where_nothing_is_left_but_what_was_begun_may_go_on(store: Store) -> None:
    require_left(store, "s", 1_000)
    complete(store, recipe_of(1, snapshot_id="other"), 1_000, datetime.now(UTC))
    with pytest.raises(DaySpent, match=r"1,000 of 1,000 tokens .* or raise text.day_tokens"):
        require_left(store, "s", 1_000)
    set_aside(store, recipe_of(), 2_000)
    require_left(store, "s", 1_000)


def test_the_time_that_is_told_is_when_enough_has_ceased_to_count(store: Store) -> None:
    for hour, tokens in ((1, 400), (3, 500), (5, 100)):
        complete(store, recipe_of(hour), tokens, NOON + hour * HOUR)
    spent = list_spent(store, NOON + 6 * HOUR)
    assert "start at 2026-03-02 13:00 UTC" in say_spent(spent, 1_000)
    assert "600 are needed; the next cycle can start at 2026-03-02 15:00 UTC" in say_spent(spent, 1_000, 600)


def test_the_log_of_what_was_set_aside_is_no_batch(store: Store) -> None:
    set_aside(store, recipe_of(), 1_000, NOON)
    assert store.batches().is_empty()
    assert store.query("select distinct batch_id from completions")["batch_id"].to_list() == [LEDGER]
