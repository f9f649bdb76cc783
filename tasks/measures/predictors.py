"""What a report says of a batch that might foretell a gain, and what the verdict ought to do where it is higher."""

from typing import Final

from schemas.verification import Predictor
from tasks.measures.findings import DELTA_I

PRIMARY: Final = "gate_gain"
"""The one hypothesis: what a batch gains on one half of the questions foretells what it gains on the other."""

OF_TRAININGS: Final = (
    Predictor(
        key=PRIMARY,
        name="Gain on the gate's half",
        meaning="The same gain on the other half of the texts or probes, of the same trainings.",
        expected="rises",
        is_early=False,
    ),
    Predictor(
        key="heldout_gain",
        name="Gain on held-out text",
        meaning="Difference to the matched baseline over all held-out texts, as the report has it.",
        expected="rises",
        is_early=False,
    ),
)

OF_REPORTS: Final = {
    "delta_i.bits_per_byte": Predictor(
        key=DELTA_I,
        name="Delta I per byte",
        meaning="What the generator added beyond its prompts, by length.",
        expected="rises",
    ),
    "delta_i.nats_per_record": Predictor(
        key="delta_i", name="Delta I per reply", meaning="The same by reply.", expected="rises"
    ),
    "delta_i.median": Predictor(
        key="delta_i_median", name="Delta I, median", meaning="Half of the replies add less.", expected="rises"
    ),
    "mi.ratio_to_log_p": Predictor(
        key="mi_ratio",
        name="I(p; Y) by log P",
        meaning="What replies tell of their prompts, as a part of what they could.",
        expected="rises",
    ),
    "h_output": Predictor(key="h_output", name="H(M(p))", meaning="What the replies hold in all.", expected="rises"),
    "curation.divergence": Predictor(
        key="curation", name="Divergence by curation", meaning="How far dropping moved the text.", expected="falls"
    ),
    "faithfulness.novelty": Predictor(
        key="novelty",
        name="New wording",
        meaning="Part of the words in five-word sequences that no anchor has.",
        expected="rises",
    ),
    "faithfulness.distance": Predictor(
        key="variation",
        name="Distance from the anchors",
        meaning="Lower bound of the total variation of records and anchors.",
        expected="falls",
    ),
    "quality.no_closer": Predictor(
        key="no_closer",
        name="No closer to the own anchor",
        meaning="Records whose words are as near to another anchor as to their own.",
        expected="falls",
    ),
    "trainee.absorbed": Predictor(
        key="absorbed",
        name="Absorbed",
        meaning="What the model no longer has to be told of the batch.",
        expected="rises",
        is_early=False,
    ),
    "paper.ggmi": Predictor(
        key="ggmi",
        name="GGMI",
        meaning="What the baseline absorbed of an anchor less what the model did of a reply.",
        expected="rises",
        is_early=False,
    ),
    "entropy.records": Predictor(
        key="records_entropy",
        name="Entropy of the records",
        meaning="What the kept records cost the start checkpoint.",
        expected="rises",
    ),
    "diversity.distinct_trigrams": Predictor(
        key="distinct", name="Distinct trigrams", meaning="1 if no three words come twice.", expected="rises"
    ),
    "diversity.compression": Predictor(
        key="compression", name="Compression", meaning="How far gzip shrinks the records.", expected="falls"
    ),
    "diversity.duplicates": Predictor(
        key="duplicates", name="Duplicates", meaning="Records that say what another says.", expected="falls"
    ),
    "diversity.common_opening": Predictor(
        key="common_opening",
        name="Most common opening",
        meaning="Part of the records that begin with the same four words.",
        expected="falls",
    ),
    "faithfulness.copying": Predictor(
        key="copying",
        name="Copied from the anchor",
        meaning="Words in eight-word sequences of the anchor.",
        expected="falls",
    ),
}

ACCEPTED: Final = Predictor(
    key="accepted", name="Accept rate", meaning="Part of the records that validation kept.", expected="rises"
)
