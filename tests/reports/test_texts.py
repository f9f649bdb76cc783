"""What a report says of texts: of planted ones what was planted, of bad input why there is nothing to say."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from gainloop.reports.batch import measure_batch
from gainloop.reports.evidence import Evidence
from gainloop.reports.texts import NOT_JUDGED, Texts, list_caveats_of_texts, measure_texts
from schemas.figure import Figure
from schemas.sections import Diversity, Faithfulness, Quality
from tests.evidence import make_evidence, with_sums, without_logprobs

WORDS = [f"w{number}" for number in range(3000)]


def prose(seed: int, num_words: int = 60) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, num_words))


def batch(texts: list[str], anchors: list[str] | None = None, **changes: Any) -> Evidence:
    """Return a batch of these records, one after the other from each of the anchors, all kept."""
    anchors = [prose(1000), prose(1001)] if anchors is None else anchors
    ids = [f"{row:04}" for row in range(len(texts))]
    owners = [f"a{row % len(anchors)}" for row in range(len(texts))]
    records = {"record_id": ids, "anchor_id": owners, "facet": "", "text": texts, "num_bytes": 0, "kept": True}
    replies = {"request_id": ids, "prompt_id": owners, "anchor_id": owners, "facet": "", "text": texts}
    strings = dict.fromkeys(("record_id", "request_id", "anchor_id", "prompt_id", "text"), pl.String)
    return replace(
        make_evidence(num_anchors=40),
        records=pl.DataFrame(records, schema_overrides=strings | {"kept": pl.Boolean}).with_columns(
            request_ids=pl.concat_list("record_id")
        ),
        replies=with_sums(
            pl.DataFrame(replies, schema_overrides=strings).with_columns(
                token_logprobs=pl.lit([-50.0, -50.0], dtype=pl.List(pl.Float32)), finish_reason=pl.lit("stop")
            )
        ),
        drops=pl.DataFrame(schema=dict.fromkeys(("anchor_id", "facet", "reason", "request_id"), pl.String)),
        anchors=pl.DataFrame(
            {"anchor_id": [f"a{row}" for row in range(len(anchors))], "text": anchors, "title": "", "num_bytes": 0},
            schema_overrides=strings,
        ),
        **changes,
    )


def figures(texts: Texts) -> dict[str, Figure]:
    parts: list[Diversity | Faithfulness | Quality] = [texts.diversity, texts.faithfulness, texts.quality]
    return {f"{type(part).__name__}.{name}": one for part in parts for name, one in part if isinstance(one, Figure)}


def test_what_was_planted_is_reported() -> None:
    anchors = [prose(1000), prose(1001), prose(1002), prose(1003)]
    own, loop = anchors[0].split(), " ".join(["so it goes on and on"] * 10)
    texts = [
        " ".join([*prose(1, 40).split(), *own[10:30]]),  # 20 of 60 words from its own anchor
        f"{prose(2, 40)} {' '.join(own[10:30])}",  # 20 of 60 words from another's
        loop,  # all but five words again
        " ".join(own),
        prose(3),
        prose(4),
        prose(5),
        prose(4).replace(" ", "  ").upper(),
    ]
    found = measure_texts(batch(texts, anchors))
    assert found.faithfulness.copying.value == pytest.approx(20 / (8 * 60))  # the whole copy is another's text
    assert found.faithfulness.copying_any.value == pytest.approx((20 + 20 + 60) / (8 * 60))
    assert found.faithfulness.longest_copy.value == pytest.approx(20 / 8)
    assert found.diversity.near_duplicates.value == found.diversity.duplicates.value == 1 / 8
    assert found.diversity.repetition.value == pytest.approx(54 / (8 * 60))
    assert found.quality.repetition.value == found.quality.duplicates_1m.value == 100 / 8
    assert found.quality.pair_copying.value == 0


def test_quality_is_of_all_records_and_diversity_of_the_kept_ones() -> None:
    evidence = batch([prose(1), prose(2), prose(3), prose(1)])
    kept = pl.col("record_id") != "0003"
    found = measure_texts(replace(evidence, records=evidence.records.with_columns(kept=kept)))
    assert (found.diversity.near_duplicates.value, found.diversity.near_duplicates.n) == (0, 3)
    assert (found.quality.duplicates_1m.value, found.quality.duplicates_1m.n) == (25, 4)


def test_what_was_never_seen_has_an_interval_all_the_same() -> None:
    figure = measure_texts(batch([prose(row) for row in range(40)], [prose(900 + row) for row in range(20)])).quality
    assert (figure.pair_copying.value, figure.pair_copying.low) == (0, 0)
    assert figure.pair_copying.high == pytest.approx(100 * (1 - 0.025 ** (1 / 20)))
    assert 0 <= figure.no_closer.low < figure.no_closer.high <= 100


def test_where_no_judge_has_spoken_the_figure_says_so() -> None:
    quality = measure_texts(make_evidence()).quality
    assert quality.non_factual.status == quality.pair_irrelevance.status == NOT_JUDGED
    assert quality.non_factual.value is None


def test_the_order_of_rows_changes_nothing() -> None:
    evidence = make_evidence()
    shuffled = {
        name: getattr(evidence, name).sample(fraction=1, shuffle=True, seed=1) for name in ("records", "anchors")
    }
    assert measure_texts(replace(evidence, **shuffled)) == measure_texts(evidence)


def test_replies_that_came_from_a_cache_are_flagged_and_the_report_warns() -> None:
    evidence = batch([prose(row % 4) for row in range(40)])
    diversity = measure_texts(evidence).diversity
    assert diversity.collisions.value == 2 * 2 * 45
    assert diversity.expected_collisions.value < 1e-6
    assert diversity.too_many_collisions
    assert "180 pairs of replies" in list_caveats_of_texts(diversity)[0]
    fair = measure_texts(batch([prose(row) for row in range(40)])).diversity
    assert (fair.collisions.value, fair.too_many_collisions) == (0, False)


def sampled(evidence: Evidence, temperature: float, semantics: str = "raw") -> Evidence:
    recipe = evidence.recipe | {"sampling": {"temperature": temperature, "top_p": 1.0, "max_tokens": 192}}
    return replace(evidence, recipe=recipe, logprob_semantics=semantics, contrasts=None)


@pytest.mark.parametrize("told", [True, False])
def test_an_honest_greedy_batch_is_all_collisions_and_not_suspect(told: bool) -> None:
    evidence = sampled(batch([prose(0)] * 12), 0.0)
    diversity = measure_texts(evidence if told else without_logprobs(evidence)).diversity
    assert diversity.collisions.value == diversity.expected_collisions.value > 10
    assert diversity.too_many_collisions is False


def test_raw_log_probabilities_of_another_temperature_expect_nothing_and_processed_ones_do() -> None:
    evidence = batch([prose(row % 4) for row in range(40)])
    raw = measure_texts(sampled(evidence, 0.5)).diversity
    assert raw.collisions.value == 180
    assert raw.too_many_collisions is None
    assert "another distribution" in raw.expected_collisions.status
    assert measure_texts(sampled(evidence, 0.5, "processed")).diversity.too_many_collisions


def test_scores_of_some_outputs_say_how_many_of_all_are_expected_to_agree() -> None:
    evidence = sampled(batch([prose(row % 4) for row in range(40)]), 0.5)
    prompts = evidence.replies.select("request_id", "prompt_id").head(20)
    scores = prompts.with_columns(kind=pl.lit("own"), low=pl.lit(-0.8), high=pl.lit(-0.7))
    diversity = measure_texts(replace(evidence, contrasts=scores)).diversity
    num_pairs = 2 * 20 * 19 / 2
    assert diversity.expected_collisions.value == pytest.approx(num_pairs * math.exp(-0.75), rel=0.2)
    assert diversity.too_many_collisions is False


def test_without_log_probabilities_collisions_are_counted_and_none_can_be_expected() -> None:
    for evidence in (without_logprobs(batch([prose(0)] * 4)), without_logprobs(batch([prose(0)] * 4), 2)):
        diversity = measure_texts(evidence).diversity
        assert diversity.collisions.value == 2
        assert diversity.expected_collisions.value is diversity.too_many_collisions is None
        assert "log-probabilities" in diversity.expected_collisions.status


def test_a_log_probability_that_is_no_number_makes_the_expectation_invalid() -> None:
    evidence = batch([prose(row) for row in range(10)])
    broken = evidence.replies.with_columns(token_logprobs=pl.lit([float("nan"), -1.0], dtype=pl.List(pl.Float32)))
    diversity = measure_texts(replace(evidence, replies=with_sums(broken))).diversity
    assert diversity.expected_collisions.status.startswith("invalid: 10 of 10")
    assert diversity.too_many_collisions is None


@pytest.mark.parametrize(
    ("texts", "none_of"),
    [
        ([], set()),
        (["", "", "", ""], {"Diversity.duplicates", "Diversity.common_opening", "Diversity.collisions"}),
        (["\U0001f600 \U0001f680", "\u2014", "...", "!?"], {"Diversity.duplicates"}),
    ],
    ids=["nothing kept", "empty", "no words"],
)
def test_texts_that_say_nothing_have_a_reason_in_place_of_a_wrong_number(texts: list[str], none_of: set[str]) -> None:
    report = measure_texts(batch(texts))
    found = figures(report)
    assert all((figure.value is None) == (figure.status != "ok") for figure in found.values())
    about_words = [one for name, one in found.items() if name.startswith(("Faith", "Quality"))]
    assert all(figure.value is None and figure.low is None for figure in about_words)
    assert found["Diversity.vendi"].value is found["Diversity.near_duplicates"].value is None
    assert all(found[name].value is not None for name in none_of)


def test_chinese_is_measured_by_character() -> None:
    anchors = ["成吉思汗于一二〇六年建立大蒙古国并统一各部", "北京是中华人民共和国的首都和第二大城市"]
    found = measure_texts(batch([anchors[0], "这个城市有很多人居住而且历史悠久文化丰富"], anchors))
    assert found.faithfulness.longest_copy.value == pytest.approx(21 / 2, abs=1)
    assert found.quality.pair_copying.value == 50


def test_one_anchor_and_one_prompt_have_no_interval_and_no_other_to_compare_with() -> None:
    found = measure_texts(batch([prose(1), prose(2), prose(3)], [prose(1000)]))
    assert found.faithfulness.novelty.value == 1
    assert found.faithfulness.novelty.low is None
    assert found.quality.no_closer.status.startswith("not measured: there is no other anchor")


def test_a_record_whose_anchor_is_gone_is_measured_without_it() -> None:
    evidence = make_evidence()
    lost = replace(evidence, anchors=evidence.anchors.head(20))
    found = measure_batch(lost).faithfulness
    assert found.copying.n < found.novelty.n
