"""A checkpoint that cannot be used is one sentence, whatever is wrong with it, and before any weight is read."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma3Config,
    GPT2Config,
    Llama4Config,
    Mistral3Config,
    MptConfig,
    PretrainedConfig,
)

from gainloop.models.checking import check_checkpoint
from gainloop.models.loading import context_of, load_model, load_tokenizer, read_context
from schemas.errors import BadInput, OutOfMemory
from tests.conftest import ROOT
from tests.test_bad_input import HOUSE_FORM
from tests.tiny_model import PLAN, save_tiny_model

Harm = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("whole"))


def change(name: str, **settings: object) -> Harm:
    def harm(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    return harm


def cut(name: str, size: int) -> Harm:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def write(name: str, text: str) -> Harm:
    return lambda folder: (folder / name).write_text(text)


def remove(name: str) -> Harm:
    return lambda folder: (folder / name).unlink()


def split(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    index = {"metadata": {}, "weight_map": {"one": "a.safetensors", "two": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def index_of(text: str) -> Harm:
    def harm(folder: Path) -> None:
        remove("model.safetensors")(folder)
        write("model.safetensors.index.json", text)(folder)

    return harm


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"

HARMS: dict[str, tuple[Harm, str]] = {
    "pointer": (write("model.safetensors", POINTER), "a pointer of Git LFS"),
    "torn": (cut("model.safetensors", -1), "model.safetensors is torn"),
    "torn head": (cut("model.safetensors", 6), "model.safetensors is torn"),
    "no weights": (remove("model.safetensors"), "it has no weights: none of model.safetensors"),
    "a shard is missing": (split, "1 of 2 files of weights are missing, b.safetensors first"),
    "quantized": (change("config.json", quantization_config={"quant_method": "gptq", "bits": 4}), r"quantized \(gptq"),
    "no config": (remove("config.json"), "config.json"),
    "torn config": (cut("config.json", 30), "not a valid JSON"),
    "other code": (change("config.json", model_type="own", auto_map={"AutoConfig": "own.Own"}), "code of its own"),
    "unknown": (change("config.json", model_type="nowhere"), "nowhere"),
    "no tokenizer": (lambda f: [remove(n)(f) for n in ("tokenizer.json", "tokenizer_config.json")], "tokenizer"),
    "no end": (change("tokenizer_config.json", eos_token=None), "its tokenizer has no end token"),
    "masked": (
        change("config.json", architectures=["BertForMaskedLM"]),
        "it is a BertForMaskedLM, which does not go on",
    ),
    "rewarding": (
        change("config.json", architectures=["LlamaForSequenceClassification"]),
        "does not go on with a text",
    ),
    "config of another shape": (write("config.json", "[]"), ""),
    "words for numbers": (change("config.json", vocab_size="many"), ""),
    "torn tokenizer": (cut("tokenizer.json", 200), ""),
    "tokenizer of another shape": (write("tokenizer.json", "[1, 2]"), ""),
    "index of another shape": (index_of("[]"), "model.safetensors.index.json cannot be read"),
    "index without files": (index_of('{"weight_map": [1]}'), "model.safetensors.index.json cannot be read"),
    "index of files elsewhere": (index_of('{"weight_map": {"a": "../../a.safetensors"}}'), "not right in its folder"),
    "too few embeddings": (change("config.json", vocab_size=300), "up to number 319, its model only 300"),
}


@pytest.mark.parametrize("name", HARMS)
def test_what_is_wrong_is_said_in_one_sentence(whole: str, tmp_path: Path, name: str) -> None:
    harm, said = HARMS[name]
    folder = shutil.copytree(whole, tmp_path / "harmed")
    harm(folder)

    with pytest.raises(BadInput, match=said) as refused:
        check_checkpoint(str(folder))
    message = str(refused.value)
    assert HOUSE_FORM.fullmatch(message)
    assert message.startswith(f"opening the checkpoint {folder}: ")
    assert len(message) < 600
    assert "\n" not in message


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hidden_size": 64}, "mismatch|size"),
        ({"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}, "are not in its files, model.layers.2"),
    ],
)
def test_weights_of_another_model_are_refused_when_they_are_loaded(
    whole: str, tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    folder = shutil.copytree(whole, tmp_path / "harmed")
    change("config.json", **settings)(folder)

    check_checkpoint(str(folder))
    with pytest.raises(BadInput, match=f"opening the checkpoint .*({said})"):
        load_model(str(folder))


def test_a_whole_checkpoint_passes_at_once_and_in_shards_and_as_pickled_tensors(whole: str, tmp_path: Path) -> None:
    check_checkpoint(whole, chats=True)
    model, tokenizer = load_model(whole), load_tokenizer(whole)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    tokenizer.save_pretrained(tmp_path / "shards")
    check_checkpoint(str(tmp_path / "shards"))
    pickled = shutil.copytree(whole, tmp_path / "pickled", ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(model.state_dict(), pickled / "pytorch_model.bin")
    check_checkpoint(str(pickled))
    cut("pytorch_model.bin", 1000)(pickled)
    with pytest.raises(BadInput, match=r"pytorch_model\.bin is torn"):
        check_checkpoint(str(pickled))


def test_a_model_without_a_chat_template_may_continue_documents_and_may_not_be_asked(
    whole: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "base")
    (folder / "chat_template.jinja").unlink()

    check_checkpoint(str(folder))
    with pytest.raises(BadInput, match=r"writing a chat for .*: its tokenizer has no chat template; .* the method sbp"):
        check_checkpoint(str(folder), chats=True)


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{{ nothing.at.all }}", "{% if %}", "{{ messages[9].content }}"])
def test_a_chat_template_that_fails_is_one_sentence(whole: str, tmp_path: Path, template: str) -> None:
    folder = shutil.copytree(whole, tmp_path / "harmed")
    write("chat_template.jinja", template)(folder)
    with pytest.raises(BadInput, match="writing a chat for ") as refused:
        check_checkpoint(str(folder), chats=True)
    assert HOUSE_FORM.fullmatch(str(refused.value)), refused.value


@pytest.mark.parametrize(
    "failure", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")]
)
def test_want_of_memory_is_not_called_damage(whole: str, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail(*_given: object, **_named: object) -> None:
        raise failure

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(OutOfMemory, match=r"opening the checkpoint .*: memory ran out"):
        load_model(whole)


@pytest.mark.parametrize(
    ("config", "context"),
    [
        (Gemma3Config(text_config={"max_position_embeddings": 128}), 128),
        (Mistral3Config(text_config={"model_type": "mistral", "max_position_embeddings": 160}), 160),
        (Llama4Config(text_config={"max_position_embeddings": 192}), 192),
        (GPT2Config(n_positions=77), 77),
        (MptConfig(max_seq_len=96), 96),
        (BloomConfig(seq_length=2048), 2048),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, PretrainedConfig) else str(value),
)
def test_the_context_is_found_whatever_a_config_calls_it(
    config: PretrainedConfig, context: int, tmp_path: Path
) -> None:
    assert context_of(config) == context
    config.save_pretrained(tmp_path)
    assert read_context(str(tmp_path)) == context


def test_a_config_that_states_no_context_is_refused(tmp_path: Path) -> None:
    BloomConfig().save_pretrained(tmp_path)

    with pytest.raises(BadInput, match="the config of bloom says nowhere how many tokens its context has"):
        read_context(str(tmp_path))


def test_no_code_of_a_checkpoint_runs_and_nothing_is_asked_at_the_terminal(whole: str, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "own")
    ran = tmp_path / "ran"
    write("own.py", f"open({str(ran)!r}, 'w')\nclass Own: pass\n")(folder)
    names = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own", "AutoTokenizer": ["own.Own", "own.Own"]}
    change("config.json", model_type="own", auto_map=names)(folder)
    program = f"from gainloop.models.checking import check_checkpoint; check_checkpoint({str(folder)!r})"

    ended = subprocess.run(
        [sys.executable, "-c", program], input="y\n" * 9, capture_output=True, text=True, cwd=ROOT, env=os.environ
    )
    assert "BadInput" in ended.stderr.splitlines()[-1]
    assert not ended.stdout
    assert not ran.exists()


def test_the_tiny_models_context_is_its_plans(whole: str) -> None:
    assert read_context(whole) == PLAN.context_tokens
