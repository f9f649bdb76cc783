"""The report of a batch. Its JSON is the truth; the page and the artifacts only show it."""

from datetime import datetime
from typing import Any, Final

from pydantic import Field

from schemas.figure import Figure, ReportPart, figure, section, words_of
from schemas.information import DeltaI, Dependence, Entropy, FilterEffect, Paper, Semantics
from schemas.knowledge import Knowledge
from schemas.sections import Diversity, Faithfulness, Gain, Quality, Section, Trainee
from schemas.skills import Instructions, ToolTalk
from schemas.steering import Probed

FORMAT = 12
"""Raised when the fields or the arithmetic change, so that a batch is measured anew."""


class GeneratedBy(ReportPart):
    model: str
    revision: str
    temperature: float
    top_p: float


class Counts(ReportPart):
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


class Validation(ReportPart):
    """The result of Great Expectations on the batch as a whole; null if it is not known."""

    success: bool | None
    expectations: int | None


class Repetition(ReportPart):
    """The epochs of a part of the training text, and their worth by a law fitted to web text.

    ``read_before`` is how often the start had read the part, as far as is known; both count. ``effective_tokens`` as
    many unseen tokens would teach as much; ``next_token`` is what one more of the part would be worth, 1 for text that
    was never read. They are arithmetic on counts: there is no interval.
    """

    tokens: int
    epochs: float
    read_before: float
    effective_tokens: float
    next_token: float


class Money(ReportPart):
    """The price of tokens, by the profile that finished the batch."""

    amount: float
    currency: str


class Speed(ReportPart):
    """The speed of a training, over all its processes, as it went last without an interruption.

    ``mfu`` is model FLOPs utilisation: the model's own operations by the devices' dense bfloat16 peak, as a share; null
    where that peak is not known, as of a CPU, or where products were not in bfloat16.
    """

    tokens_per_second: float
    mfu: float | None
    processes: int
    device: str


OF_RUN: Final[dict[str, Any]] = {"of": "run"}
"""Marks costs of the run that finished the batch; all others are of the batch, however many runs made it."""


class Cost(ReportPart):
    """The cost of a batch. Null is not known: servers did not report it, or it is not counted yet.

    ``seconds`` are wall clock, by stage. There is no money where no price is set.
    """

    prompt_tokens: int = Field(title="prompt tokens")
    completion_tokens: int = Field(
        title="completion tokens", description="Of all replies, those that were dropped among them."
    )
    accepted_tokens: int | None = Field(
        None, title="completion tokens of kept records", description="What may be trained on."
    )
    money: Money | None = Field(
        None, title="price of these tokens", description="At the prices of the profile that finished the batch."
    )
    money_per_1k_kept: Money | None = Field(
        None,
        title="price of a thousand kept records",
        description="What was dropped or quarantined is paid for too.",
    )
    retried_replies: int | None = Field(None, title="replies that took several attempts")
    requests_sent: int | None = Field(
        None,
        title="requests sent",
        description="Every attempt counts. A request that an earlier run has a reply to is not sent again.",
        json_schema_extra=OF_RUN,
    )
    retries: int | None = Field(
        None,
        title="retries",
        description="Requests sent again after a fault, such as a lost connection.",
        json_schema_extra=OF_RUN,
    )
    refusals: int | None = Field(
        None,
        title="refusals",
        description="A full server said no, and the request waited for room. Nothing is lost by it.",
        json_schema_extra=OF_RUN,
    )
    hedges: int | None = Field(
        None,
        title="hedges",
        description="A reply took far too long, so the request was sent a second time; the first reply counts.",
        json_schema_extra=OF_RUN,
    )
    tokens_per_second: float | None = Field(
        None,
        title="completion tokens per second",
        description="Over the whole run, all servers together.",
        json_schema_extra=OF_RUN,
    )
    cache_hit_rate: float | None = Field(
        None,
        title="prompt tokens found in the servers' prefix cache",
        description="The servers had read the same beginning before, and did not read it again.",
        json_schema_extra=OF_RUN | {"unit": "share"},
    )
    scoring_tokens: int | None = Field(
        None,
        title="tokens read to score outputs",
        description="Under their own prompts and others: what outputs tell of their prompts.",
    )
    judging_tokens: int | None = Field(
        None, title="tokens of the judge", description="Prompts and verdicts of a language model together."
    )
    judging_money: Money | None = Field(None, title="price of the judge's tokens")
    training_tokens: dict[str, int]
    training_speed: dict[str, Speed] = Field(default_factory=dict)
    seconds: dict[str, float]


class Corpus(ReportPart):
    """The documents that the batch was made from; counts are null where the store does not know the snapshot.

    ``name`` is the kind of the source, with its paths, dataset or module. ``documents`` are those that the batch has a
    record or a drop of, and ``named`` the first of them by name.
    """

    name: str
    snapshot: str
    anchors: int | None = None
    held_out: int | None = None
    num_bytes: int | None = None
    documents: int | None = None
    named: list[str] = Field(default_factory=list)


class Example(ReportPart):
    """One kept record beside its anchor, both cut short."""

    record_id: str
    anchor_id: str
    title: str
    facet: str
    text: str
    anchor: str


class Report(ReportPart):
    """The whole report; ``mi`` is I(p; Y), and ``h_output`` is H(M(p)). The figures of a field with a section stand on
    every page, below its heading. ``tools`` and ``instructions`` are null for methods whose records have none."""

    format: int
    headline: str
    batch: str
    training: str
    created: datetime
    recipe: dict[str, Any]
    corpus: Corpus
    generator: GeneratedBy
    logprob_semantics: Semantics
    counts: Counts
    validation: Validation
    knowledge: Knowledge = section(Section.KNOWLEDGE)
    probe: Probed = section(Section.KNOWLEDGE)
    delta_i: DeltaI = section(Section.INFORMATION)
    mi: Dependence = section(Section.INFORMATION)
    h_output: Figure = figure(
        "H(M(p))",
        "What the replies hold in all: what the generator added, and what it passed on of its prompts.",
        "nats/record",
        section=Section.INFORMATION,
        predicts="rises",
    )
    curation: FilterEffect = section(Section.INFORMATION)
    entropy: Entropy = section(Section.INFORMATION)
    tools: ToolTalk | None = section(Section.TOOLS)
    instructions: Instructions | None = section(Section.INSTRUCTIONS)
    diversity: Diversity = section(Section.DIVERSITY)
    faithfulness: Faithfulness = section(Section.FAITHFULNESS)
    quality: Quality = section(Section.QUALITY)
    trainee: Trainee = section(Section.MODELS)
    paper: Paper = section(Section.PAPER)
    repetition: dict[str, Repetition]
    gain: Gain = section(Section.GAIN)
    cost: Cost
    checkpoints: dict[str, str]
    caveats: list[str]
    examples: list[Example]


WORDS: Final = words_of(Report)
"""The words of every figure of a report, by its path."""

GAIN: Final = "gain.advantage"
"""Path of the gain over the matched baseline on held-out text: what predictors are to foretell without an exam."""

KNOWLEDGE: Final = "knowledge.advantage"
"""Path of the knowledge gained over repeating: what accepts a batch."""

SURPRISE: Final = "knowledge.nats_advantage"
"""Path of the surprise saved over repeating: what accepts a batch where no answer is graded."""

DELTA_I: Final = "delta_i.bits_per_byte"
DEPENDENCE: Final = "mi.ratio_to_log_p"
