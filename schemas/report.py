"""What is said about a batch. The JSON of ``Report`` is the truth; the page and the artifacts only show it."""

import math
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

FORMAT = 3
"""Raised when the fields or the arithmetic change, so that a batch is measured anew."""

Verdict = Literal["synthetic_wins", "baseline_wins", "undecided"]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Figure(Part):
    """One measured number: 95 % interval, the number of rows it rests on, and its definition.

    ``value`` is null where ``status`` is not "ok"; an interval is null where there are fewer than
    two ``clusters``, or where the figure is a property of this very set of texts.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    dropped: int
    unit: str
    status: str
    definition: str

    @property
    def number(self) -> str:
        """The value, to two significant digits of the interval's half width."""
        return "not measured" if self.value is None else f"{self.value:,.{self._decimals}f}"

    @property
    def signed(self) -> str:
        return "not measured" if self.value is None else f"{self.value:+,.{self._decimals}f}"

    @property
    def interval(self) -> str:
        if self.low is None or self.high is None:
            return ""
        return f"[{self.low:,.{self._decimals}f}, {self.high:,.{self._decimals}f}]"

    @property
    def _decimals(self) -> int:
        half = 0.0 if self.low is None or self.high is None else (self.high - self.low) / 2
        if half > 0:
            return min(6, max(0, 1 - math.floor(math.log10(half))))
        if self.unit == "pairs":
            return 0
        return 3 if abs(self.value or 0) < 10 else max(0, 3 - math.floor(math.log10(abs(self.value or 0))))


class GeneratedBy(Part):
    model: str
    revision: str
    temperature: float
    top_p: float


class Counts(Part):
    """The ledger. Every anchor and every record is in exactly one line of its sum.

    A record may be quarantined for several reasons, so ``quarantined_by_reason`` may add up to more.
    """

    anchors: int
    anchors_kept: int
    anchors_only_quarantined: int
    anchors_only_dropped: int
    anchors_add_up: bool
    requests: int
    replies: int
    records: int
    kept: int
    quarantined: int
    records_add_up: bool
    quarantined_by_reason: dict[str, int]
    drops: int
    drops_by_reason: dict[str, int]


class Validation(Part):
    """What Great Expectations said of the batch as a whole; null where it left no word."""

    success: bool | None
    expectations: int | None


class Histogram(Part):
    """``counts[i]`` rows lie between ``edges[i]`` and ``edges[i + 1]``."""

    edges: list[float]
    counts: list[int]
    unit: str


class DeltaI(Part):
    nats_per_record: Figure
    median: Figure
    bits_per_byte: Figure
    histogram: Histogram


class Entropy(Part):
    anchors: Figure
    records: Figure


class Diversity(Part):
    """``too_many_collisions`` is null where nothing can be expected: no log-probabilities, or no prompt asked twice."""

    distinct_trigrams: Figure
    vendi: Figure
    anchors_vendi: Figure
    compression: Figure
    anchors_compression: Figure
    duplicates: Figure
    near_duplicates: Figure
    repetition: Figure
    common_opening: Figure
    opening: str
    collisions: Figure
    expected_collisions: Figure
    too_many_collisions: bool | None


class Faithfulness(Part):
    copying: Figure
    copying_any: Figure
    novelty: Figure
    longest_copy: Figure


class Quality(Part):
    """The data quality table of Synthetic Bootstrapped Pretraining (arXiv:2509.15248), for a batch of any method.

    ``no_closer`` is no column of it: it stands beside ``pair_irrelevance``, for which a language model has to judge.
    """

    repetition: Figure
    duplicates_1m: Figure
    non_factual: Figure
    pair_irrelevance: Figure
    no_closer: Figure
    pair_copying: Figure


class Trainee(Part):
    """Loss on anchors that were neither generated from nor trained on."""

    heldout_start: Figure
    heldout_synthetic: Figure
    heldout_baseline: Figure


class Gain(Part):
    """What training on the batch saved on held-out anchors, and what repeating real text saved for as many tokens."""

    synthetic: Figure
    baseline: Figure
    advantage: Figure
    verdict: Verdict


class Money(Part):
    """What the tokens of the replies cost, at the prices of the profile that finished the batch."""

    amount: float
    currency: str


class Cost(Part):
    """What a batch took. Null is what was not told: by servers, or by a batch generated before this was counted.

    Tokens, money and ``retried_replies``, those that took more than one attempt, are of the batch as a whole,
    however many runs made it; there is no money where no price is set. ``requests_sent retries refusals hedges``,
    ``seconds`` (wall clock, by stage), ``tokens_per_second`` (completion tokens) and ``cache_hit_rate`` (the share of
    prompt tokens found in the servers' prefix caches) are of the run that finished it. ``requests_sent`` counts every
    attempt: again after a fault (``retries``), after a full server said no (``refusals``), beside a slow one
    (``hedges``).
    """

    prompt_tokens: int
    completion_tokens: int
    money: Money | None = None
    retried_replies: int | None = None
    requests_sent: int | None = None
    retries: int | None = None
    refusals: int | None = None
    hedges: int | None = None
    tokens_per_second: float | None = None
    cache_hit_rate: float | None = None
    training_tokens: dict[str, int]
    seconds: dict[str, float]


class Example(Part):
    """One kept record beside its anchor, both cut short."""

    record_id: str
    anchor_id: str
    title: str
    facet: str
    text: str
    anchor: str


class Report(Part):
    """``logprob_semantics``: of what the log-probabilities are, processed, raw or unknown; none if there are none."""

    format: int
    headline: str
    batch: str
    training: str
    created: datetime
    recipe: dict[str, Any]
    generator: GeneratedBy
    logprob_semantics: str
    counts: Counts
    validation: Validation
    delta_i: DeltaI
    entropy: Entropy
    diversity: Diversity
    faithfulness: Faithfulness
    quality: Quality
    trainee: Trainee
    gain: Gain
    cost: Cost
    checkpoints: dict[str, str]
    caveats: list[str]
    examples: list[Example]
