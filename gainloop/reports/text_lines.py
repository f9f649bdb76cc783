"""What the figures of a batch's texts mean, and what is healthy, for someone who has read no paper about them.

Where a line says what a 7B model has, it is Qwen2.5-7B that noted what follows from passages of Wikipedia, five times
each, at temperature 1.
"""

from typing import Final

TEXT_LINES: Final = {
    "How varied it is": {
        "diversity.vendi": (
            "Different texts in effect, records",
            "Vendi score of the records looked at: 1 if all are alike, as many as were looked at if no two share a "
            "pair of words. Healthy: above half of them; five replies to each passage by a 7B model have 0.6 to 0.7.",
        ),
        "diversity.anchors_vendi": (
            "Different texts in effect, anchors",
            "The yardstick for the line above where about as many were looked at; real passages have 0.9.",
        ),
        "diversity.compression": (
            "Compression, records",
            "How far gzip shrinks the text. Healthy: near that of the anchors; far above, records repeat each other.",
        ),
        "diversity.anchors_compression": ("Compression, anchors", "The yardstick for the line above."),
        "diversity.distinct_trigrams": (
            "Distinct trigrams",
            "1 if no three words come twice. It falls with size: compare only batches of about one size.",
        ),
        "diversity.duplicates": ("Duplicates", "Kept records that say what another one says. Healthy: 0."),
        "diversity.near_duplicates": (
            "Near duplicates",
            "Kept records that share four fifths of their wording with another one. Healthy: below 0.01; more, and "
            "training reads the same text again.",
        ),
        "diversity.repetition": (
            "Repetition within a record",
            "Part of the words that a record says over again. Healthy: about 0.05 or less; far above, the generator "
            "loops.",
        ),
        "diversity.common_opening": (
            "Most common opening",
            "Part of the records that begin with the same four words. Healthy: a few in a hundred.",
        ),
        "diversity.facet_opening": (
            "Most common opening of a facet",
            "The same for the records of one style or format, the worst of them: four formats with a template each are "
            "0.25 above and 1 here. FinePhrase has 0.115 for a generator that falls into templates, 0.003 for another.",
        ),
        "diversity.collisions": (
            "Equal replies to one prompt",
            "Healthy: about as many as expected below. Far more: a cache or a fixed seed answers, not the model.",
        ),
        "diversity.expected_collisions": (
            "Equal replies expected",
            "How many independent answers would be equal by chance, by the replies' own log-probabilities.",
        ),
    },
    "How faithful it is to its anchors": {
        "faithfulness.copying": (
            "Copied from the own anchor",
            "Part of the words that stand in the anchor, eight in a row at least. A 7B model's notes on a passage have "
            "0.1; near 1, the batch is its anchors again.",
        ),
        "faithfulness.copying_any": (
            "Copied from any anchor",
            "The same for all anchors of the batch. Far above the line above: the generator recites other documents.",
        ),
        "faithfulness.novelty": (
            "New wording",
            "Part of the words in runs of five that no anchor has. Near 0, nothing new is said; near 1 beside an "
            "irrelevant batch, the anchors are ignored.",
        ),
        "faithfulness.longest_copy": (
            "Longest copied run",
            "Words in a row from the anchor, per record. A 7B model's notes have 8 to 10; above 50, records recite.",
        ),
        "faithfulness.distance": (
            "Distance from the anchors",
            "How well words alone tell records from anchors: 0 not at all, 1 always. Another style, such as questions, "
            "is a distance too; near 1 where text of the same kind is wanted, it is not that.",
        ),
        "faithfulness.divergence": ("Divergence from the anchors", "The same in nats, and without a largest value."),
    },
    "Data quality, as Synthetic Bootstrapped Pretraining reports it": {
        "quality.repetition": (
            "Repetition",
            "Records that repeat themselves too much to train on. Healthy: below 5; the paper has 4.3 for its "
            "smallest synthesizer and 1.8 for real text, by a threshold that it does not print.",
        ),
        "quality.duplicates_1m": (
            "Duplicate@1M",
            "Records that nearly repeat another one. It rises with their number, up to a million. Healthy: below 1; "
            "the paper has 0.8 and 0.7 at a million.",
        ),
        "quality.non_factual": (
            "Non-factual",
            "Records that say what is not so, by a judge. Healthy: near the line below; the paper has 15.1 for its "
            "smallest synthesizer and 1.8 for real text.",
        ),
        "quality.anchors_non_factual": (
            "Non-factual, anchors",
            "What the same judge calls false among the real texts: how far to trust it. Far above 2, it is hard to "
            "please, or knows too little.",
        ),
        "quality.pair_irrelevance": (
            "Pair-irrelevance",
            "Records that have nothing to do with their anchor, by a judge. The paper has 25.6 for its smallest "
            "synthesizer.",
        ),
        "quality.no_closer": (
            "No closer to the own anchor",
            "Records no more like their anchor than like another one, by their words: what can be said of relevance "
            "without a judge. Healthy: below 5; 50 means that anchors are ignored.",
        ),
        "quality.pair_copying": (
            "Pair-copying",
            "Records of which half or more is copied from their anchor. Healthy: a few; the paper has 0.1 to 0.9.",
        ),
    },
}
