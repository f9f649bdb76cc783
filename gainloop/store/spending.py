"""Tokens of a day: what the store's batches took in the last 24 hours, and what is set aside for one that begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gainloop.store.batches import replies_folder, stage_summary
from gainloop.store.catalogue import is_being_written
from gainloop.store.duck import Store, now
from gainloop.store.files import only_one
from gainloop.store.replies import landed_tokens
from schemas.errors import DaySpent
from schemas.recipe import Recipe

DAY: Final = timedelta(hours=24)

LEDGER: Final = "spending"
"""Name that completions have in place of a batch's where they tell what was set aside: no batch takes that back."""

SET_ASIDE: Final = "set aside"
GIVEN_BACK: Final = "given back"

_BATCHES: Final = f"""
with ledger as (select summary ->> '$.batch' as batch_id, arg_max((summary ->> '$.tokens')::bigint, rowid) as tokens,
    max(completed_at) as noted from completions where batch_id = '{LEDGER}' group by all),
made as (select batch_id, completed_at, (summary ->> '$.prompt_tokens')::bigint
    + (summary ->> '$.completion_tokens')::bigint + coalesce((summary ->> '$.lost_tokens')::bigint, 0) as tokens
    from completions where stage = 'generate')
select coalesce(ledger.batch_id, batches.batch_id) as batch_id, made.tokens as taken, completed_at,
    coalesce(ledger.tokens, (recipe ->> '$.budget_tokens')::bigint) as most, coalesce(noted, created_at) as begun,
    noted is not null as is_noted
from batches full join ledger using (batch_id) left join made
    on made.batch_id = coalesce(ledger.batch_id, batches.batch_id) order by all
"""
"""Every batch that was begun, or that tokens were set aside for."""

_KNOWN: Final = f"""
select stage, summary ->> '$.batch' as batch_id, (summary ->> '$.tokens')::bigint as tokens from completions
where batch_id = '{LEDGER}' and (summary ->> '$.asked') = ? and (summary ->> '$.day_tokens')::bigint = ?
order by rowid desc limit 1
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one batch took, or may still take of what was set aside for it, and the time ``until`` which it counts."""

    batch_id: str
    tokens: int
    until: datetime


def list_spent(store: Store, at: datetime) -> list[Spent]:
    """Return what counts of the 24 hours before a time, batch by batch, in the order in which it ceases to count.

    A batch counts whole: a complete one by what it took; another, if it was begun within that time or is written now,
    by what was set aside for it, and if nothing was by its budget while it is written, and by what landed afterwards.
    Requests that judge, write exams or score are no part.
    """
    found = (_spent(store, row, at) for row in store.query(_BATCHES).iter_rows(named=True))
    return sorted((one for one in found if one), key=lambda one: (one.until, one.batch_id))


def _spent(store: Store, row: dict[str, Any], at: datetime) -> Spent | None:
    batch_id, is_complete = row["batch_id"], row["completed_at"] is not None
    if is_complete:
        return Spent(batch_id, row["taken"], row["completed_at"] + DAY) if row["completed_at"] > at - DAY else None
    is_written = is_being_written(store, batch_id)
    if not is_written and row["begun"] <= at - DAY:
        return None
    counts = row["most"] if row["most"] and (is_written or row["is_noted"]) else landed_of(store, batch_id)
    return Spent(batch_id, counts, (at if is_written else row["begun"]) + DAY)


def landed_of(store: Store, batch_id: str) -> int:
    """Return the tokens of prompts and replies that have landed of a batch."""
    return sum(landed_tokens(replies_folder(store, batch_id)))


def set_aside(
    store: Store, recipe: Recipe, day_tokens: int, at: datetime | None = None, is_noted: bool = True
) -> Recipe:
    """Return a recipe with a budget that the day has left, which is set aside for it: no other batch may take it.

    A recipe that was given a budget before keeps it, so that a run that is started again goes on with its own batch.
    Of several runs one at a time sets aside.

    Args:
        day_tokens: Tokens that all batches may take in 24 hours.
        at: Time that it is. Default: now.
        is_noted: False for a dry run: others may take it.

    Raises:
        DaySpent: Not enough is left, of what a batch that was begun still may take, or at all.
    """
    at = at or now()
    with only_one(f"{store.folder}/.{LEDGER}.lock", "sets aside tokens of the day"):
        known = store.query(_KNOWN, recipe.batch_id, day_tokens).rows()
        own = known[0] if known and known[0][0] == SET_ASIDE else None
        if own and stage_summary(store, own[1], "generate"):
            return recipe.model_copy(update={"budget_tokens": own[2]})
        others = [one for one in list_spent(store, at) if not own or one.batch_id != own[1]]
        left = day_tokens - sum(one.tokens for one in others)
        wanted = own[2] if own else min(left, recipe.budget_tokens or left)
        if wanted > left or left < 1:
            raise DaySpent(say_spent(others, day_tokens, own[2] if own else 1))
        made = recipe.model_copy(update={"budget_tokens": wanted})
        if is_noted:
            _note(store, SET_ASIDE, recipe, made, day_tokens, wanted, at)
        return made


def give_back(store: Store, recipe: Recipe, made: Recipe, day_tokens: int, lost: int) -> None:
    """Count of a batch that came to nothing what it took, in place of what was set aside for it.

    Args:
        recipe: Recipe as it was asked for.
        made: The same with the budget that ``set_aside`` gave it.
        lost: Tokens that attempts without a reply may have taken.
    """
    taken = landed_of(store, made.batch_id) + lost
    _note(store, GIVEN_BACK, recipe, made, day_tokens, taken, now())


def _note(store: Store, stage: str, recipe: Recipe, made: Recipe, day_tokens: int, tokens: int, at: datetime) -> None:
    summary = {"batch": made.batch_id, "asked": recipe.batch_id, "day_tokens": day_tokens, "tokens": tokens}
    row = {"batch_id": LEDGER, "stage": stage, "key": f"{made.batch_id} {at.isoformat()}", "completed_at": at}
    store.insert(completions=[row | {"summary": summary | {"snapshot": recipe.snapshot_id}}])


def require_left(store: Store, snapshot_id: str, day_tokens: int) -> None:
    """Refuse to begin what would come to nothing: nothing is left of the day, and no batch of the snapshot was begun.

    Raises:
        DaySpent: It says so.
    """
    begun = store.query(
        f"select 1 from completions where batch_id = '{LEDGER}' and (summary ->> '$.snapshot') = ? limit 1", snapshot_id
    )
    spent = list_spent(store, now())
    if begun.is_empty() and sum(one.tokens for one in spent) >= day_tokens:
        raise DaySpent(say_spent(spent, day_tokens))


def say_day(store: Store, day_tokens: int) -> str:
    """Return that the budget of the day is spent, as it is now."""
    return say_spent(list_spent(store, now()), day_tokens)


def say_spent(spent: Sequence[Spent], day_tokens: int, wanted: int = 1) -> str:
    """Return that the budget of the day is spent, and when a cycle can start again."""
    taken = sum(one.tokens for one in spent)
    again = _free_at(spent, day_tokens, wanted).astimezone(UTC)
    more = f", {wanted:,} are needed" if wanted > 1 else ""
    return (
        f"The budget of the day is spent: {taken:,} of {day_tokens:,} tokens are taken or set aside{more}; the next "
        f"cycle can start at {again:%Y-%m-%d %H:%M} UTC. Run the same then, or raise text.day_tokens."
    )


def _free_at(spent: Sequence[Spent], day_tokens: int, wanted: int) -> datetime:
    """Return the time from which on so many tokens of a day are left."""
    taken = sum(one.tokens for one in spent)
    for one in spent:
        taken -= one.tokens
        if one.tokens and taken + wanted <= day_tokens:
            return one.until
    return now()
