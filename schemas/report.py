"""What is said about a batch. The JSON of ``Report`` is the truth; the page and the artifacts only show it."""

from datetime import datetime
from typing import Any, Literal

from schemas.figure import Figure, Histogram, Part
from schemas.information import Dependence, Paper, Trainee

FORMAT = 7
"""Raised when the fields or the arithmetic change, so that a batch is measured anew."""

Verdict = Literal["synthetic_wins", "baseline_wins", "undecided"]


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


Semantics = Literal["processed", "raw", "unknown", "repaired", "certain", "none"]
"""Of what log-probabilities are: the distribution that was sampled, the model's own, or not known; "repaired" if scores
of what was sampled stand in for them, "certain" at temperature 0, "none" if there are none."""


class DeltaI(Part):
    semantics: Semantics
    nats_per_record: Figure
    median: Figure
    bits_per_byte: Figure
    histogram: Histogram


class Entropy(Part):
    anchors: Figure
    records: Figure


class Filter(Part):
    """What curation did to the generator's distribution of replies: they became kept records or did not."""

    accept_rate: Figure
    total_variation: Figure
    divergence: Figure
    entropy: Figure


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
    facet_opening: Figure
    opening_in_facet: str
    collisions: Figure
    expected_collisions: Figure
    too_many_collisions: bool | None


class Faithfulness(Part):
    """``distance`` and ``divergence`` are lower bounds, by a classifier, of TV and KL(records || anchors)."""

    copying: Figure
    copying_any: Figure
    novelty: Figure
    longest_copy: Figure
    distance: Figure
    divergence: Figure


class Quality(Part):
    """The data quality table of Synthetic Bootstrapped Pretraining (arXiv:2509.15248), for a batch of any method.

    ``non_factual`` and ``pair_irrelevance`` take a language model as judge; ``anchors_non_factual`` is what it calls
    false among real texts. ``no_closer`` is no column of the table: it needs no judge.
    """

    repetition: Figure
    duplicates_1m: Figure
    non_factual: Figure
    anchors_non_factual: Figure
    pair_irrelevance: Figure
    no_closer: Figure
    pair_copying: Figure


class Repetition(Part):
    """How often a part of the training text was read, and what that is worth by a law fitted to web text.

    ``effective_tokens`` as many unseen tokens would teach as much; ``next_token`` is what one more of the part would be
    worth, 1 for text that was never read. They are arithmetic on counts: there is no interval.
    """

    tokens: int
    epochs: float
    effective_tokens: float
    next_token: float


class Gain(Part):
    """What training on the batch saved on held-out anchors, and what repeating real text saved for as many tokens.

    ``per_1k_tokens`` is the difference by thousand tokens that the generator wrote, those of dropped replies among
    them, and ``per_second`` by second of all that was done for it. ``seeds`` are the trainings of each arm.
    """

    synthetic: Figure
    baseline: Figure
    advantage: Figure
    per_1k_tokens: Figure
    per_second: Figure
    seeds: int
    verdict: Verdict


class Money(Part):
    """What the tokens of the replies cost, at the prices of the profile that finished the batch."""

    amount: float
    currency: str


class Cost(Part):
    """What a batch took. Null is what was not told: by servers, or by a batch generated before this was counted.

    Tokens, money and ``retried_replies``, those that took more than one attempt, are of the batch as a whole,
    however many runs made it; there is no money where no price is set, and ``accepted_tokens`` are the completion
    tokens of kept records. ``requests_sent retries refusals hedges``, ``seconds`` (wall clock, by stage),
    ``tokens_per_second`` (completion tokens) and ``cache_hit_rate`` (the share of prompt tokens found in the servers'
    prefix caches) are of the run that finished it. ``requests_sent`` counts every attempt: again after a fault
    (``retries``), after a full server said no (``refusals``), beside a slow one (``hedges``). ``scoring_tokens`` were
    read to find out what outputs tell of their prompts. ``judging_tokens`` are those of a judge's prompts and replies,
    and ``judging_money`` is their price.
    """

    prompt_tokens: int
    completion_tokens: int
    accepted_tokens: int | None = None
    money: Money | None = None
    retried_replies: int | None = None
    requests_sent: int | None = None
    retries: int | None = None
    refusals: int | None = None
    hedges: int | None = None
    tokens_per_second: float | None = None
    cache_hit_rate: float | None = None
    scoring_tokens: int | None = None
    judging_tokens: int | None = None
    judging_money: Money | None = None
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
    """Everything; ``mi`` is I(p; Y), and ``h_output`` is H(M(p))."""

    format: int
    headline: str
    batch: str
    training: str
    created: datetime
    recipe: dict[str, Any]
    generator: GeneratedBy
    logprob_semantics: Semantics
    counts: Counts
    validation: Validation
    delta_i: DeltaI
    mi: Dependence
    h_output: Figure
    curation: Filter
    entropy: Entropy
    diversity: Diversity
    faithfulness: Faithfulness
    quality: Quality
    trainee: Trainee
    paper: Paper
    repetition: dict[str, Repetition]
    gain: Gain
    cost: Cost
    checkpoints: dict[str, str]
    caveats: list[str]
    examples: list[Example]
