"""What an export holds: kept records alone, in shapes that other libraries read, with whose they are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import datasets
import polars as pl
import pytest
import yaml

from gainloop.models.conversations import conversation_rows
from gainloop.reports.dataset import ON_CARD, Format, export_batches
from gainloop.store import Store, open_store
from schemas.conversation import Turn, read_messages
from schemas.errors import BadInput
from schemas.figure import words_of
from schemas.profile import Profile
from schemas.report import Report
from tasks.report import save_report
from tests.evidence import make_evidence, save_evidence
from tests.reports.exported import CALLING, TALK, make_store, talk, text, write
from tests.tiny_model import save_tiny_model, tiny_tokenizer


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path)


def read_back(path: str, form: Format) -> list[dict[str, Any]]:
    kind = {"jsonl": "json", "parquet": "parquet"}[form]
    found = datasets.load_dataset(kind, data_files=path, split="train", cache_dir=str(Path(path).parent / "cache"))
    return cast(list[dict[str, Any]], found.to_list())


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_kept_texts_come_back_with_their_documents_and_licences(store: Store, form: Format, tmp_path: Path) -> None:
    refused, kept = text("mill", "Refused."), text("mill", "It grinds rye, \u201cslowly\u201d.")
    first = write(store, "one", refused, kept, refused=1)
    second = write(store, "two", kept, text("barn", "It holds hay."))
    rows = read_back(export_batches(store, [first, second], str(tmp_path / "out"), form, False), form)

    assert sorted(row["text"] for row in rows) == ["It grinds rye, \u201cslowly\u201d.", "It holds hay."]
    (mill,) = [row for row in rows if row["anchor_id"] == "mill"]
    assert (mill["batch_id"], mill["document"], mill["licence"], mill["model"]) == (first, "mill.md", "MIT", "m")
    assert [row["record_id"] for row in rows] == sorted(row["record_id"] for row in rows)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("talks", [(TALK,), (TALK, CALLING)], ids=["talk", "calls"])
def test_conversations_come_back_as_messages_that_a_training_reads(
    store: Store, form: Format, talks: tuple[tuple[Turn, ...], ...], tmp_path: Path
) -> None:
    anchors = ("mill", "barn")
    batch_id = write(store, "one", *(talk(one, turns) for one, turns in zip(anchors, talks, strict=False)))
    rows = read_back(export_batches(store, [batch_id], str(tmp_path / "out"), form, False), form)

    found = {row["anchor_id"]: read_messages(row["messages"]) for row in rows}
    assert found == dict(zip(anchors, talks, strict=False))
    assert all(conversation_rows(tiny_tokenizer(), turns) for turns in found.values())
    has_calls = len(talks) > 1
    assert all(("tool_calls" in message) == has_calls for row in rows for message in row["messages"])


def test_the_card_says_whose_the_documents_are_and_how_the_records_were_made(store: Store, tmp_path: Path) -> None:
    batch_id = write(store, "one", text("mill", "Rye."), text("room", "Free."))
    with pytest.raises(BadInput, match=r"under CC-BY-4.0, MIT; one licence is allowed, .* --mixes-licences true"):
        export_batches(store, [batch_id], str(tmp_path / "out"), "jsonl", False)
    assert not (tmp_path / "out").exists()
    export_batches(store, [batch_id], str(tmp_path / "out"), "jsonl", True)
    _, head, body = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)

    assert yaml.safe_load(head)["license"] == "other"
    assert yaml.safe_load(head)["configs"] == [{"config_name": "default", "data_files": "records.jsonl"}]
    assert "| CC-BY-4.0 | 1 |\n| MIT | 1 |" in body
    assert f"| {batch_id} | one | m | r1 | 1.0 | 1.0 | 0 | 2 |" in body


def test_no_card_but_an_earlier_exports_is_written_over_and_no_other_form_stays_beside_it(
    store: Store, tmp_path: Path
) -> None:
    batch_id, out = write(store, "one", text("mill", "Rye.")), tmp_path / "out"
    for form in ("jsonl", "parquet"):
        export_batches(store, [batch_id], str(out), cast(Format, form), False)
        assert sorted(path.name for path in out.iterdir()) == ["README.md", f"records.{form}"]
    (out / "README.md").write_text("# My project")
    with pytest.raises(BadInput, match=r"has a README.md that no export wrote; .* Give another by --to"):
        export_batches(store, [batch_id], str(out), "jsonl", False)
    assert (out / "README.md").read_text() == "# My project"


def test_texts_and_conversations_are_not_one_dataset_and_nothing_kept_is_none(store: Store, tmp_path: Path) -> None:
    first, second = write(store, "one", text("mill", "Rye.")), write(store, "two", talk("barn", TALK))
    with pytest.raises(BadInput, match=r"1 of 2 records are conversations and the others texts"):
        export_batches(store, [first, second], str(tmp_path / "out"), "jsonl", False)
    refused = write(store, "three", text("mill", "Oats."), refused=1)
    with pytest.raises(BadInput, match=f"exporting batches {refused}: validation kept none"):
        export_batches(store, [refused], str(tmp_path / "out"), "jsonl", False)


def test_a_conversation_in_a_dataset_is_what_the_store_has(store: Store, tmp_path: Path) -> None:
    batch_id = write(store, "one", talk("mill", CALLING))
    data = export_batches(store, [batch_id], str(tmp_path / "out"), "jsonl", False)

    (line,) = Path(data).read_text().splitlines()
    calls = json.loads(line)["messages"][1]["tool_calls"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"room": 7, "of": [1]}
    assert pl.read_ndjson(data).height == 1


CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {% if message['role'] == 'assistant' %}{% generation %}"
    "{{ message['content'] or message['tool_calls'] }}{{ eos_token }}{% endgeneration %}{% else %}"
    "{{ message['content'] }}\n{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("shape", ["text", "messages"])
def test_trls_trainer_reads_an_export_as_it_is(store: Store, shape: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    records = [text("mill", "Rye is ground."), text("barn", "Hay is held.")]
    if shape == "messages":
        records = [talk("mill", TALK), talk("barn", CALLING)]
    data = export_batches(store, [write(store, "one", *records)], str(tmp_path / "out"), "jsonl", False)
    rows = datasets.load_dataset("json", data_files=data, split="train", cache_dir=str(tmp_path / "cache"))
    folder = save_tiny_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHAT
    how = SFTConfig(
        output_dir=str(tmp_path / "trained"),
        max_steps=2,
        per_device_train_batch_size=2,
        use_cpu=True,
        bf16=False,
        max_length=128,
        assistant_only_loss=shape == "messages",
        report_to=[],
        save_strategy="no",
    )
    trainer = SFTTrainer(model=folder, args=how, train_dataset=rows, processing_class=tokenizer)
    result = trainer.train()
    print(shape, trainer.train_dataset.column_names, result.global_step, round(result.training_loss, 2))
    assert result.global_step == 2
    assert 0 < result.training_loss < 20
    assert all(len(row["input_ids"]) > 2 for row in trainer.train_dataset)
    for row in trainer.train_dataset:
        learnt = sum(label != -100 for label in row.get("labels") or row["input_ids"])
        assert 0 < learnt < len(row["input_ids"]) if shape == "messages" else learnt == len(row["input_ids"])


def test_the_card_has_what_the_last_report_says_with_intervals(profile: Profile, tmp_path: Path) -> None:
    measured, evidence = open_store(profile), replace(make_evidence(num_anchors=12), training_id="", scores={})
    save_evidence(measured, profile, evidence)
    save_report(measured, profile.gate, evidence.batch_id, "")
    report = measured.report(evidence.batch_id)

    assert set(ON_CARD) <= set(words_of(Report)), "a figure has another name"
    card = card_of(export_batches(measured, [evidence.batch_id], str(tmp_path / "out"), "jsonl", True))
    assert f"**Batch {evidence.batch_id}.** {report.headline}" in card
    accepted = report.curation.accept_rate
    assert f"| {accepted.number} {accepted.interval} share | {accepted.n} |" in card


def test_the_card_of_a_batch_without_a_report_says_so(store: Store, tmp_path: Path) -> None:
    batch_id = write(store, "one", text("mill", "It grinds."))
    assert f"Batch {batch_id} has no report of its present state." in card_of(
        export_batches(store, [batch_id], str(tmp_path / "out"), "jsonl", False)
    )


def card_of(data: str) -> str:
    return Path(data).with_name("README.md").read_text()
