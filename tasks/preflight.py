"""Pre-flight: what can be known of a batch before it costs anything: does it work, and how much will it be?"""

import json
import logging
from collections import Counter
from dataclasses import dataclass

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from schemas.errors import ServerError
from schemas.profile import Profile
from schemas.recipe import Recipe
from schemas.rows import Anchor, Answer, Reply, Request
from tasks.asking.conversation import reason_to_drop
from tasks.methods.pipeline import read_pipeline
from tasks.runner import slot
from tasks.serving.driver import Driver
from tasks.serving.engine import engine
from tasks.serving.pool import Pool
from tasks.store import Store, open_store
from tasks.store.batches import replies_folder
from tasks.store.replies import Span
from tasks.store.reply_log import ReplyLog
from tasks.store.snapshots import draw_anchors, read_texts

PROBES = 8
"""First requests that are sent; their replies are kept, so that the run does not ask for them again."""

ADVICE = {
    "cut_off": "Raise sampling.max_tokens, or choose a model that comes to an end",
    "rejected": "Lower sampling.max_tokens or the source's max_chars, or serve the model with a longer context",
    "malformed": "Serve the model with structured outputs, as vLLM does",
    "empty": "Choose an instruction-tuned model, or another method",
}

logger = logging.getLogger("gainloop.preflight")


@dataclass(frozen=True)
class Budget:
    """What a batch will take. Requests are an upper bound; tokens are estimated from the first replies.

    ``cost`` is that of the estimated prompts and of replies that are all as long as they may be.
    """

    batch_id: str
    num_anchors: int
    max_requests: int
    prompt_tokens: int
    completion_tokens: int
    max_completion_tokens: int
    cost: float
    currency: str
    num_usable: int
    num_probes: int
    logprob_semantics: str
    state: str

    @property
    def summary(self) -> str:
        return (
            f"Batch {self.batch_id}: {self.num_anchors:,} anchors, at most {self.max_requests:,} requests, about "
            f"{self.prompt_tokens:,} prompt tokens and {self.completion_tokens:,} completion tokens (at most "
            f"{self.max_completion_tokens:,}), {self.price}; {self.state}; log-probabilities are "
            f"{self.logprob_semantics}; {self.num_usable} of {self.num_probes} first replies can be used"
        )

    @property
    def price(self) -> str:
        return f"about {self.cost:,.2f} {self.currency} if all replies are long" if self.cost else "no price set"

    def as_markdown(self) -> str:
        """Return it as the table that the run's page shows."""
        rows = {
            "anchors": f"{self.num_anchors:,}",
            "requests, at most": f"{self.max_requests:,}",
            "prompt tokens, about": f"{self.prompt_tokens:,}",
            "completion tokens, about": f"{self.completion_tokens:,}",
            "completion tokens, at most": f"{self.max_completion_tokens:,}",
            "cost": self.price,
            "servers": self.state,
            "log-probabilities": self.logprob_semantics,
            "first replies that can be used": f"{self.num_usable} of {self.num_probes}",
        }
        table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
        return f"| pre-flight of batch {self.batch_id} | |\n|---|---:|\n{table}\n"


def try_out(store: Store, place: Profile, recipe: Recipe, folder: str | None) -> Budget:
    """Find out whether a recipe works, with its first few requests, and what it will take as a whole.

    Args:
        folder: The generator's weights; None for a model that servers have.

    Raises:
        ServerError: Servers are down, lack the model or its log-probabilities, or no first reply can be used.
    """
    drawn = draw_anchors(store, recipe.snapshot_id, recipe.seed, recipe.max_anchors)
    anchors = read_texts(store, drawn["anchor_id"].head(PROBES).to_list())
    log = ReplyLog.open(
        replies_folder(place.folder, recipe.batch_id), Span(0, len(anchors)), [anchor.anchor_id for anchor in anchors]
    )

    async def ask(pool: Pool) -> tuple[list[tuple[Request, Answer]], str]:
        driver = Driver(read_pipeline(recipe), pool, recipe.sampling, recipe.seed, log)
        return await driver.ask_first(anchors), pool.state

    with engine(place, recipe, folder) as lent:
        asked, state = lent.run(ask)
        semantics = lent.logprob_semantics
    faults = [reason_not_usable(anchor, *one) for anchor, one in zip(anchors, asked, strict=True)]
    _require_usable(recipe, Counter(fault for fault in faults if fault), len(faults))
    replies = [answer for _, answer in asked if isinstance(answer, Reply)]
    max_requests = read_pipeline(recipe).max_requests * drawn.height
    # Prompts grow with their anchors; replies are taken to be as long as the first ones.
    answered = [
        len(anchor.text.encode()) for anchor, (_, answer) in zip(anchors, asked, strict=True) if answer in replies
    ]
    per_byte = sum(reply.prompt_tokens for reply in replies) / sum(answered)
    prompt_tokens = round(max_requests * per_byte * float(drawn["num_bytes"].mean() or 0))  # type: ignore[arg-type]
    max_completion_tokens = max_requests * recipe.sampling.max_tokens
    return Budget(
        batch_id=recipe.batch_id,
        num_anchors=drawn.height,
        max_requests=max_requests,
        prompt_tokens=prompt_tokens,
        completion_tokens=round(max_requests * sum(reply.completion_tokens for reply in replies) / len(replies)),
        max_completion_tokens=max_completion_tokens,
        cost=place.prices.cost(prompt_tokens, max_completion_tokens),
        currency=place.prices.currency,
        num_usable=faults.count(""),
        num_probes=len(faults),
        logprob_semantics=semantics,
        state=state.rpartition(",")[0],
    )


@task(cache_policy=NO_CACHE, task_run_name="pre-flight")
def preflight(place: Profile, recipe: Recipe, folder: str | None) -> Budget:
    with slot(place):
        budget = try_out(open_store(place), place, recipe, folder)
    create_markdown_artifact(key=f"preflight-{budget.batch_id}", markdown=budget.as_markdown())
    logger.info(budget.summary)
    return budget


def reason_not_usable(anchor: Anchor, request: Request, answer: Answer) -> str:
    """Return why a first reply leads no further: the reason of its drop, or malformed; nothing if it does."""
    if drop := reason_to_drop(anchor, request, answer):
        return drop.reason
    if request.json_schema and isinstance(answer, Reply):
        try:
            json.loads(answer.text, strict=False)
        except ValueError:
            return "malformed"
    return ""


def _require_usable(recipe: Recipe, faults: Counter[str], num_probes: int) -> None:
    if faults.total() < num_probes:
        return
    told = ", ".join(f"{count} {reason}" for reason, count in faults.most_common())
    advice = ADVICE.get(faults.most_common(1)[0][0], "Read the server's log")
    raise ServerError(
        f"trying out {recipe.method['kind']} on {recipe.model!r}: none of the first {num_probes} replies can be used "
        f"({told}); one at least must. {advice}."
    )
