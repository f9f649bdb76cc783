"""What a batch will take, as its pre-flight says it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """What a batch will take, estimated from the first anchors, and what it can take at most.

    ``cost`` is that of the estimate, ``max_cost`` that of as many requests as the method allows with replies that are
    all as long as they may be, and prompts as long as the estimated ones.
    """

    batch_id: str
    num_anchors: int
    requests: int
    max_requests: int
    prompt_tokens: int
    completion_tokens: int
    max_completion_tokens: int
    cost: float
    max_cost: float
    currency: str
    num_usable: int
    num_probes: int
    num_whole: int
    whole_records: int
    whole_drops: int
    logprob_semantics: str
    state: str

    @property
    def summary(self) -> str:
        return (
            f"Batch {self.batch_id}: {self.num_anchors:,} anchors, about {self.requests:,} requests (at most "
            f"{self.max_requests:,}), {self.prompt_tokens:,} prompt tokens and {self.completion_tokens:,} completion "
            f"tokens (at most {self.max_completion_tokens:,}), {self.price}: estimated from {self.num_whole} whole "
            f"anchors ({self.whole_records:,} records, {self.whole_drops:,} drops); {self.state}; log-probabilities "
            f"are {self.logprob_semantics}; {self.num_usable} of {self.num_probes} first replies can be used"
        )

    @property
    def price(self) -> str:
        if not self.max_cost:
            return "no price set"
        return (
            f"about {self.cost:,.2f} {self.currency} (some {self.max_cost:,.2f} if all is asked and replies are long)"
        )

    def as_markdown(self) -> str:
        """Return it as the table that the run's page shows."""
        rows = {
            "anchors": f"{self.num_anchors:,}",
            "requests, about": f"{self.requests:,}",
            "requests, at most": f"{self.max_requests:,}",
            "prompt tokens, about": f"{self.prompt_tokens:,}",
            "completion tokens, about": f"{self.completion_tokens:,}",
            "completion tokens, at most": f"{self.max_completion_tokens:,}",
            "cost": self.price,
            "estimated from whole anchors": f"{self.num_whole}",
            "their records and drops": f"{self.whole_records:,} and {self.whole_drops:,}",
            "servers": self.state,
            "log-probabilities": self.logprob_semantics,
            "first replies that can be used": f"{self.num_usable} of {self.num_probes}",
        }
        table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
        return f"| pre-flight of batch {self.batch_id} | |\n|---|---:|\n{table}\n"
