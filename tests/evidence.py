"""A made-up batch that looks like a real one: what page and report tests are shown."""

import io
import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from gainloop.reports.evidence import Evidence, sum_replies
from gainloop.store import Store
from gainloop.store.batches import complete_stage, replies_folder
from gainloop.store.files import write_file
from gainloop.store.replies import REPLY_FIELDS, Row, Span, write_replies
from gainloop.store.scores import contrasts_folder, write_contrasts
from schemas.profile import Profile
from schemas.rows import Reply, content_hash

SUBJECTS = "The river|An early lighthouse|The town council|A travelling botanist|The old observatory|Her second novel"
VERBS = "was rebuilt after|gave its name to|is described in|drew visitors from|lost its charter during|stands beside"
OBJECTS = "the flood of 1862|a small island|the first survey|three provinces|the long war|a chalk quarry|the canal"
STYLES = ("question and answer", "plain summary", "story for children")
SCRIPT = "<script>alert('x')</script> & <i>slanted</i> $x_1$"


RECIPE = {
    "method": {"kind": "rephrase", "styles": list(STYLES)},
    "snapshot_id": "9b1de0c4a7f2e853",
    "model": "qwen3-tiny",
    "revision": "c0ffee0000000000",
    "sampling": {"temperature": 1.0, "top_p": 1.0, "max_tokens": 192},
    "seed": 0,
    "max_anchors": 80,
}


def make_evidence(
    num_anchors: int = 80, synthetic_gain: float = 0.031, baseline_gain: float = 0.052, **changes: Any
) -> Evidence:
    """Return a batch of three replies an anchor, of which some are dropped and some quarantined."""
    rng = np.random.default_rng(0)
    anchors = [_anchor(rng, number) for number in range(num_anchors)]
    replies = [_reply(rng, anchor, style) for anchor in anchors for style in STYLES]
    dropped = [r for number, r in enumerate(replies) if r["finish_reason"] == "length" or number < len(STYLES)]
    records = [_record(reply) for reply in replies if reply not in dropped]
    refused = records[4:7] + records[40:44]
    drops = [_drop(reply) for reply in dropped]
    scores = _scores(rng, anchors, records, synthetic_gain, baseline_gain)
    facts: dict[str, Any] = {
        "batch_id": "5f0c2a9e71b34d68",
        "training_id": "0badcafe12345678",
        "recipe": RECIPE,
        "logprob_semantics": "processed",
        "measured_at": datetime(2026, 11, 21, 12, 30, tzinfo=UTC),
        "replies": with_sums(pl.DataFrame(replies)),
        "records": pl.DataFrame(records).with_columns(
            kept=~pl.col("record_id").is_in([record["record_id"] for record in refused])
        ),
        "quarantine": pl.DataFrame(
            [{"record_id": record["record_id"], "reason": "too_short"} for record in refused]
            + [{"record_id": refused[0]["record_id"], "reason": "copies_its_anchor"}]
        ),
        "drops": pl.DataFrame(drops),
        "anchors": pl.DataFrame(anchors),
        "scores": scores,
        "contrasts": _contrasts(rng, [reply for reply in replies if reply not in dropped][:60], replies),
        "summaries": {
            "generate": {
                "anchors": num_anchors,
                "requests": len(replies) + 2,
                "replies": len(replies),
                "records": len(records),
                "drops": len(drops),
                "retried_replies": 6,
                "prompt_tokens": 81_234,
                "completion_tokens": 34_567,
                "cost": 0.0741,
                "currency": "USD",
                "requests_sent": 259,
                "retries": 5,
                "refusals": 11,
                "hedges": 1,
                "seconds": 41.3,
                "tokens_per_second": 837.0,
                "cache_hit_rate": 0.618,
            },
            "score": {
                "outputs": 60,
                "prompts": len(replies),
                "prompts_each": 11,
                "tokens": 187_654,
                "budget_tokens": 200_000,
                "seconds": 12.5,
            },
            "validate": {"success": True, "expectations": 14, "kept": len(records) - len(refused), "seconds": 3.2},
            "train": {
                "tokens": {"start": 450_000, "synthetic": 120_000, "baseline": 120_000},
                "speed": {
                    "start": {"tokens_per_second": 310.4, "mfu": None, "processes": 1, "device": "cpu"},
                    "synthetic": {
                        "tokens_per_second": 48_200.0,
                        "mfu": 0.412,
                        "processes": 2,
                        "device": "NVIDIA H100 80GB HBM3",
                    },
                },
                "heldout_records": 0.05,
                "epochs": {"synthetic": {"synthetic": [60_000, 1.5, 0.0], "anchors": [60_000, 0.2, 1.5]}},
                "seeds": 1,
                "seconds": 69.9,
            },
        },
        "checkpoints": {"start": "c0ffee0000000001", "synthetic": "c0ffee0000000002", "baseline": "c0ffee0000000003"},
    }
    return Evidence(**facts | changes)


def save_evidence(store: Store, profile: Profile, evidence: Evidence) -> None:
    """Write a batch into the store and its folder, as the stages before the report leave it."""
    of_batch = pl.lit(evidence.batch_id).alias("batch_id")
    write_replies(replies_folder(store, evidence.batch_id), _as_rows(evidence.replies), Span())
    batch = {"batch_id": evidence.batch_id, "snapshot_id": evidence.recipe["snapshot_id"]}
    batch |= {"recipe": json.dumps(evidence.recipe), "logprob_semantics": evidence.logprob_semantics}
    store.insert(
        anchors=evidence.anchors.with_columns(**dict.fromkeys(("uri", "licence", "revision"), pl.lit(""))),
        batches=[batch | {"created_at": evidence.measured_at}],
        records=evidence.records.drop("kept").with_columns(of_batch, method=pl.lit("rephrase")),
        quarantine=evidence.quarantine.with_columns(of_batch),
        drops=evidence.drops.with_columns(of_batch),
    )
    for stage in ("generate", "validate"):
        complete_stage(store, evidence.batch_id, stage, evidence.summaries[stage])
    if evidence.contrasts is not None:
        save_contrasts(store, profile, evidence)
    save_training(store, profile, evidence)


def save_contrasts(store: Store, profile: Profile, evidence: Evidence) -> None:
    """Write the scores of outputs under prompts, and mark them complete."""
    assert evidence.contrasts is not None
    folder = contrasts_folder(store, evidence.batch_id, "0123456789abcdef")
    write_contrasts(folder, [list(evidence.contrasts.iter_rows())])
    summary = evidence.summaries["score"] | {"folder": folder}
    complete_stage(store, evidence.batch_id, "score", summary, "0123456789abcdef")


def save_training(store: Store, profile: Profile, evidence: Evidence) -> None:
    """Write the scores of a training, and mark it complete."""
    urls = {
        key: f"{profile.folder}/scores/{evidence.training_id}-{key.replace('/', '-')}.parquet"
        for key in evidence.scores
    }
    for key, url in urls.items():
        part = io.BytesIO()
        evidence.scores[key].write_parquet(part)
        write_file(url, part.getvalue())
    summary = evidence.summaries["train"] | {"checkpoints": evidence.checkpoints, "scores": urls}
    complete_stage(store, evidence.batch_id, "train", summary, evidence.training_id)


def without_logprobs(evidence: Evidence, num_replies: int | None = None) -> Evidence:
    """Return the same batch, the first few or all of whose replies came without log-probabilities."""
    is_blank = pl.int_range(pl.len()) < (evidence.replies.height if num_replies is None else num_replies)
    blank = pl.when(is_blank).then(pl.lit([], dtype=pl.List(pl.Float64))).otherwise("token_logprobs")
    blanked = evidence.replies.with_columns(token_logprobs=blank)
    return replace(evidence, replies=with_sums(blanked), contrasts=None)


def with_sums(replies: pl.DataFrame) -> pl.DataFrame:
    """Return replies as they land, with what a report needs of them beside it."""
    missing = {"prompt_tokens", "completion_tokens"} - set(replies.columns)
    summed = sum_replies(replies.with_columns(**dict.fromkeys(missing, pl.lit(0))))
    return replies.with_columns(summed)


def _as_rows(replies: pl.DataFrame) -> list[Row]:
    rows = replies.iter_rows(named=True)
    return [(Reply(**{name: row[name] for name in REPLY_FIELDS}), row["anchor_id"], row["facet"]) for row in rows]


def _anchor(rng: np.random.Generator, number: int) -> dict[str, Any]:
    text = _sentences(rng, 8)
    return {
        "anchor_id": content_hash("anchor", text),
        "text": text,
        "title": f"Article {number}",
        "num_bytes": len(text.encode()),
    }


def _reply(rng: np.random.Generator, anchor: dict[str, Any], style: str) -> dict[str, Any]:
    copied = anchor["text"].split(". ")[0] + ". " if rng.random() < 0.3 else ""
    text = copied + _sentences(rng, int(rng.integers(2, 5)))
    num_tokens = len(text) // 4
    return {
        "request_id": content_hash("request", anchor["anchor_id"], style),
        "prompt_id": content_hash("prompt", anchor["anchor_id"], style),
        "anchor_id": anchor["anchor_id"],
        "facet": style,
        "text": text,
        "token_ids": list(range(num_tokens)),
        "token_logprobs": (-rng.gamma(0.6, rng.gamma(20, 0.15), num_tokens)).tolist(),
        "finish_reason": "length" if rng.random() < 0.04 else "stop",
        "prompt_tokens": 338,
        "completion_tokens": num_tokens,
        "seconds": 0.4,
        "server": "embedded",
        "attempt": 1,
    }


def _record(reply: dict[str, Any]) -> dict[str, Any]:
    return {
        "record_id": content_hash("record", [reply["request_id"]], reply["text"]),
        "anchor_id": reply["anchor_id"],
        "facet": reply["facet"],
        "text": reply["text"],
        "request_ids": [reply["request_id"]],
        "num_bytes": len(reply["text"].encode()),
        "turns": "",
    }


def _drop(reply: dict[str, Any]) -> dict[str, str]:
    reason = "cut_off" if reply["finish_reason"] == "length" else "refused"
    return {key: reply[key] for key in ("anchor_id", "facet", "request_id")} | {"reason": reason}


def _scores(
    rng: np.random.Generator,
    anchors: list[dict[str, Any]],
    records: list[dict[str, Any]],
    synthetic: float,
    baseline: float,
) -> dict[str, pl.DataFrame]:
    """Return scores whose bits per byte are near 1.9, and whose gains are those asked for."""
    heldout_bytes, hard = rng.integers(300, 2500, 60), rng.normal(1.9, 0.25, 60)
    heldout = [f"h{number}" for number in range(60)]
    saved = {"start": 0.0, "synthetic": synthetic, "baseline": baseline}
    arms = {
        f"{role}/heldout": _frame(heldout, hard - gain - rng.normal(0, 0.02 if gain else 0, 60), heldout_bytes)
        for role, gain in saved.items()
    }
    anchor_bytes, record_bytes = ([row["num_bytes"] for row in rows] for rows in (anchors, records))
    of_anchors = _frame([row["anchor_id"] for row in anchors], rng.normal(1.8, 0.2, len(anchors)), anchor_bytes)
    of_records = _frame([row["record_id"] for row in records], rng.normal(1.5, 0.2, len(records)), record_bytes)
    both = {"start/anchors": of_anchors, "start/records": of_records}
    cheaper = {"synthetic/anchors": 0.93, "synthetic/closed": 0.95, "synthetic/open": 0.85, "baseline/anchors": 0.9}
    both |= {key: _cheaper(rng, of_anchors, share) for key, share in cheaper.items()}
    both |= {"synthetic/records": _cheaper(rng, of_records, 0.8)}
    return arms | both | {f"{role}/learned": _learned(rng, role) for role in ("synthetic", "baseline")}


def _cheaper(rng: np.random.Generator, scores: pl.DataFrame, share: float) -> pl.DataFrame:
    return scores.with_columns(nats=scores["nats"] * pl.Series(rng.normal(share, 0.03, scores.height)))


def _learned(rng: np.random.Generator, role: str) -> pl.DataFrame:
    """Return rows that become cheaper as more of them are learnt from."""
    parts = ["synthetic", "anchors"] if role == "synthetic" else ["anchors"]
    frames = []
    for part in parts:
        final = rng.normal(1900, 60, 40)
        online = final + 500 * np.exp(-np.arange(40) / 15) + rng.normal(0, 20, 40)
        about = {"part": part, "num_tokens": 511, "num_bytes": 1900, "num_ends": 3}
        frames.append(pl.DataFrame({"position": np.arange(40), "online_nats": online, "final_nats": final} | about))
    return pl.concat(frames)


def _contrasts(rng: np.random.Generator, outputs: list[dict[str, Any]], replies: list[dict[str, Any]]) -> pl.DataFrame:
    """Return scores of outputs under their own prompt, their anchor's two others, eight of other anchors, and none."""
    rows = []
    for output in outputs:
        own = sum(output["token_logprobs"])
        family = [r["prompt_id"] for r in replies if r["anchor_id"] == output["anchor_id"]]
        near = [one for one in family if one != output["prompt_id"]]
        other = rng.choice([r["prompt_id"] for r in replies if r["prompt_id"] not in family], 8, replace=False)
        rows += [("own", output["prompt_id"], own), ("null", "", own - rng.gamma(9, 1))]
        rows += [("near", one, own - rng.gamma(2, 1)) for one in near]
        rows += [("other", str(one), own - rng.gamma(4, 1.5)) for one in other]
        rows[-12:] = [(output["request_id"], *row) for row in rows[-12:]]
    kinds = pl.DataFrame(rows, schema=["request_id", "kind", "prompt_id", "low"], orient="row")
    return kinds.with_columns(high="low").sort("request_id", "kind", "prompt_id")


def _frame(text_ids: list[str], rates: Any, num_bytes: Any) -> pl.DataFrame:
    nats = np.asarray(rates) * np.asarray(num_bytes) * math.log(2)
    return pl.DataFrame({"text_id": text_ids, "nats": nats, "num_tokens": num_bytes, "num_bytes": num_bytes})


def _sentences(rng: np.random.Generator, number: int) -> str:
    parts = [options.split("|") for options in (SUBJECTS, VERBS, OBJECTS)]
    return " ".join(" ".join(options[rng.integers(len(options))] for options in parts) + "." for _ in range(number))
