"""What a person types: options without Prefect, short help and whole, recipes, and commands that only look."""

import json
import re
import resource
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from flows.__main__ import LOOKS, PROGRAM, RESULTS, look, read
from flows.__parameters__ import find_look, read_parameters
from flows.__places__ import require_there
from gainloop.methods.rephrase import Rephrase
from gainloop.reports.overview import measure_overview, read_batches
from gainloop.serving.preview import RECORDS_OF_ONE, first_anchors
from gainloop.sources import Several
from gainloop.sources.files import Files
from gainloop.store import Store, open_store
from gainloop.store.catalogue import find_row, list_rows, name_source
from gainloop.store.duck import now
from schemas.errors import BadInput, GainloopError, ServerError
from schemas.exam import ExamFiles, WrittenExam
from schemas.plan import Checkpoint
from schemas.profile import Gate
from schemas.recipe import Judge, Served
from tests.serving.stub_server import StubOptions, stub_server
from tests.small_run import ROOT, write_corpus, write_profile

SECONDS = 2.0
"""What a wrong option may take, on a machine that has nothing else to do."""


def seconds_of(words: list[str]) -> tuple[float, "subprocess.CompletedProcess[str]"]:
    """Return the processor's seconds that a command line took, and what it said."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "flows", *words], cwd=ROOT, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["cycle", "--text.sampling.max-token", "3"], "--text.sampling.max-token is not one of them"),
        (["cycle", "--plan.seeds", "many"], "--plan.seeds is 'many'"),
        (["cycle", "--profile", "nowhere"], "profile 'nowhere' not found"),
        (["cycle", "--source.paths", "nowhere/*.md"], "nothing found at 'nowhere/*.md', which --source.paths names"),
        (["cycle", "--start.model", "./nowhere"], "nothing found at './nowhere', which --start.model names"),
        (["cycle", "--recipe", "nowhere.yaml"], "reading recipe nowhere.yaml: No such file or directory"),
    ],
)
def test_what_is_wrong_with_a_command_line_is_told_before_anything_starts(words: list[str], found: str) -> None:
    seconds, done = seconds_of(words)
    assert done.returncode == 2
    assert found in " ".join(done.stderr.split())
    assert seconds < SECONDS


def test_the_options_of_no_command_need_prefect_or_torch() -> None:
    code = (
        f"import sys, flows.__main__ as m\nfor name in {[*RESULTS, *LOOKS]}:\n"
        "    try: m.run([*name.split(), '--help'])\n"
        "    except SystemExit as end: assert not end.code\n"
        "print(sorted({'prefect', 'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stdout.count("usage: ") == len([*RESULTS, *LOOKS])


@pytest.mark.parametrize("name", RESULTS)
def test_the_parameters_that_are_read_are_those_that_prefect_has(name: str) -> None:
    flow = getattr(import_module(f"flows.{name}"), name)
    found = read_parameters(name)
    shown = flow.parameters.properties
    assert [one.name for one in found] == [*shown]
    assert {one.name: one.description for one in found} == {
        word: " ".join(about.get("description", "").split()) for word, about in shown.items()
    }
    required = {one.name for one in found if one.help.endswith("Required.")}
    assert required == set(flow.parameters.required or [])


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        read(words)
    assert not caught.value.code
    return capsys.readouterr().out


def test_help_is_short_and_says_where_the_rest_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    short, whole = told(["cycle", "--help"], capsys), told(["cycle", "--help-all"], capsys)
    few, all_ = (set(re.findall(r"^  (--\S+)", text, re.MULTILINE)) for text in (short, whole))

    assert few < all_
    assert len(few) <= 45
    hidden = re.search(r"--help-all +Show all, (\d+) more than --help", short)
    assert hidden
    assert int(hidden[1]) == len(all_ - few)
    wanted = "source.paths text.method.kind start.model exam.paths plan.budget-tokens generator.model recipe profile"
    assert {f"--{name}" for name in wanted.split()} <= few
    assert "--text.method.max-triples" not in few
    assert not re.search(r"^[\w.]+:\n(?!  )", short, re.MULTILINE)  # no heading of a part that shows nothing


def test_what_a_recipe_says_holds_where_the_options_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "source: {kind: files, paths: [a, b], max_chars: 400}\n"
        "exam: {kind: files, paths: [q.jsonl]}\nheldout-fraction: 0\ntext: {seed: 3, max_anchors: 7}\n"
    )
    _, alone = read(["cycle", "--recipe", str(path)])
    assert alone["source"] == Files(paths=["a", "b"], max_chars=400)
    assert (alone["exam"], alone["heldout_fraction"]) == (ExamFiles(paths=["q.jsonl"]), 0)

    words = "--source.paths c --text.seed 4 --exam.kind written --exam.model m"
    _, given = read(["cycle", "--recipe", str(path), *words.split()])
    assert given["source"] == Files(paths=["c"], max_chars=400)
    assert (given["text"].seed, given["text"].max_anchors) == (4, 7)
    assert given["exam"] == WrittenExam(model="m")  # of another kind: it begins anew


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plna: {seeds: 1}", r"plna is not a parameter of the command; known are source, .* Correct it to plan, or re"),
        ("txt: {seed: 1}", r"txt is not a parameter of the command; .* Correct it to text, or remove it\."),
        ("plan:\n  seeds: 1\n   points: 2", r"in line 3; .* Look at how that line and the one before are indented\."),
        ("plan:\n\tseeds: 1", r"in line 2; .* Look at how that line and the one before are indented\. Mend it"),
        ("plan: {seeds: x}", r"--plan\.seeds is 'x'; input should be a valid integer"),
        ("plan: [", r"expected the node content"),
        ("- plan", r"it holds a list"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_one_sentence_that_names_it(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=found) as caught:
        read(["cycle", "--recipe", str(path)])
    assert str(path) in str(caught.value)


def test_a_recipe_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(BadInput) as caught:
        read(["cycle", "--recipe", "smal-model.yaml"])
    there = "examples/served-model.yaml, examples/small-model.yaml"
    assert str(caught.value).endswith(f"settings and their values is allowed. Correct --recipe: there are {there}.")


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_recipes_of_the_examples_are_those_of_a_cycle_and_of_a_preview(path: Path) -> None:
    profile = ["--profile", "vllm"] if "served" in path.stem else []
    _, given = read(["cycle", "--recipe", str(path), "--source.paths", "a", *profile])
    _, few = read(["preview", "--recipe", str(path), "--source.paths", "a"])
    assert few["text"].method == given["text"].method
    assert {"plan", "general"} <= given.keys()
    assert given.get("heldout_fraction") == (None if "served" in path.stem else 0)
    assert not {"plan", "general"} & few.keys()


def documented_commands() -> list[tuple[str, str]]:
    """Return each command that a page shows after a prompt, with the name of its page."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    texts = [(page.name, page.read_text().replace("\\\n", " ")) for page in pages]
    return [(name, line) for name, text in texts for line in re.findall(r"^\$ gainloop (.+)$", text, re.MULTILINE)]


@pytest.mark.parametrize(("page", "line"), documented_commands())
def test_every_command_that_the_documents_show_is_understood(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = re.search(r"```yaml\n(sentences: .*?)```", (ROOT / "docs" / "steering.md").read_text(), re.DOTALL)
    assert entries
    (tmp_path / "recipes.yaml").write_text(entries[1])
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    read(shlex.split(re.split(r" [|&]", line)[0], comments=True))


def test_a_recipe_of_a_cycle_serves_other_commands_which_say_what_they_pass_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("heldout_fraction: 0\nscoring: {share: 0}\nplan: {seeds: 2}\n")
    words = "--exam.paths q --spending.tokens 1000 --recipes rephrase entigraph"
    _, given = read(["improve", "--recipe", str(path), *words.split()])
    assert (given["heldout_fraction"], given["plan"].seeds) == (0, 2)
    assert [one.getMessage() for one in caplog.records] == [
        f"{path} sets scoring too, which `{PROGRAM} improve` has no use for"
    ]
    path.write_text("plna: {seeds: 2}\n")
    with pytest.raises(BadInput, match=r"plna is not a parameter of the command"):
        read(["improve", "--recipe", str(path), *words.split()])


@pytest.mark.parametrize(
    ("words", "name", "expected"),
    [
        (["refresh", "--source.paths", "a"], "source", Files(paths=["a"])),
        (["cycle", "--start.model", "m"], "start", Checkpoint(model="m")),
        (["cycle", "--exam.paths", "q"], "exam", ExamFiles(paths=["q"])),
        (["generate", "--generator.model", "m", "--text.method.styles", "qa"], "generator", Served(model="m")),
    ],
)
def test_an_option_that_one_kind_alone_has_says_the_kind(words: list[str], name: str, expected: Any) -> None:
    _, given = read(words)
    assert given[name] == expected


def test_places_of_other_machines_and_globs_are_left_to_the_run(tmp_path: Path) -> None:
    (tmp_path / "a[1].md").write_text("a")
    for paths in (["s3://bucket/x"], ["zip://*.md::s3://b/x.zip"], [f"{tmp_path}/a[1].md"], [f"{tmp_path}/*.md"]):
        require_there("gainloop refresh", {"source": Files(paths=paths)})
    with pytest.raises(BadInput, match=r"--source\.paths names"):
        require_there("gainloop refresh", {"source": Files(paths=[f"{tmp_path}/*.txt"])})


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["--start.model", "data/models/nope"], "start.model"),
        (["--start", '{"kind": "accepted", "first": "nope.gguf"}'], "start.first"),
        (["--judge.model", "./nope"], "judge.model"),
        (["--exam.kind", "written", "--exam.model", "./nope"], "exam.model"),
        (["--exam.kind", "written", "--exam.model", "a/b", "--exam.guesser", "./nope"], "exam.guesser"),
    ],
)
def test_a_model_that_is_not_there_is_told_with_its_option_and_how_to_make_one(words: list[str], option: str) -> None:
    _, given = read(["cycle", *words])
    with pytest.raises(BadInput, match=rf"nope(\.gguf)?', which --{option} names; .* Correct it, or run `make model` "):
        require_there("gainloop cycle", given)


def test_every_model_of_an_evaluation_must_be_there() -> None:
    _, given = read(["evaluate", "--exam.exam-id", "latest", "--checkpoints", "latest", "./nope"])
    with pytest.raises(BadInput, match=r"nothing found at '\./nope', which --checkpoints names"):
        require_there("gainloop evaluate", given)


def test_a_model_of_servers_may_have_the_name_of_a_path() -> None:
    require_there("gainloop judge", {"judge": Judge(model="/models/nope"), "profile": "vllm"})


# --- preview


def preview(words: list[str]) -> str:
    name, given = read(["preview", *words])
    assert name == "preview"
    return str(import_module("flows.__looking__").preview(**given))


def test_a_preview_shows_five_records_beside_their_anchors_and_stores_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    corpus = write_corpus(tmp_path / "corpus", 8)
    place = ["--profile", str(write_profile(tmp_path))]
    before = sorted(tmp_path.rglob("*"))
    with stub_server(StubOptions(faults={"no_logprobs": 1.0}, latency_seconds=0.01)) as stub:
        said = preview(["--url", stub.url, "--source.paths", str(corpus), *place])
        sent = len(stub.requests)
    shown = capsys.readouterr().out

    assert re.match(r"5 records of [3-5] documents by rephrase, \d+ s; .*Nothing was stored\.$", said)
    assert "No judge has checked the records against their documents: read them, or give the cycle --judge" in said
    assert (shown.count(" anchor "), shown.count(" record ")) >= (5, 5)
    assert any(line.startswith("╭─ anchor") and "record" in line for line in shown.splitlines())  # side by side
    assert sorted(tmp_path.rglob("*")) == before
    assert sent <= 12 * Rephrase().max_requests


def test_a_preview_says_what_was_dropped_when_nothing_could_be_kept(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 3)
    with stub_server(StubOptions(says=lambda _prompt: "")) as stub:
        said = preview(["--url", stub.url, "--source.paths", str(corpus)])
    assert re.match(r"0 records of 0 documents by rephrase, \d+ s; \d+ replies dropped: \d+ empty", said), said


def test_a_preview_that_cannot_be_says_why(tmp_path: Path) -> None:
    corpus = str(write_corpus(tmp_path / "corpus", 3))
    with stub_server(StubOptions(models={"a": "/a", "b": "/b"})) as stub, pytest.raises(BadInput, match="2 models"):
        preview(["--url", stub.url, "--source.paths", corpus])
    with stub_server() as stub, pytest.raises(BadInput, match="sbp tunes a generator"):
        preview(["--url", stub.url, "--source.paths", corpus, "--text.method.kind", "sbp"])
    with stub_server() as stub, pytest.raises(ServerError, match="not served there"):
        preview(["--url", stub.url, "--source.paths", corpus, "--generator.model", "other"])


def test_a_preview_of_an_empty_folder_loads_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code = (
        "import sys, flows.__main__ as m\nname, given = m.read(sys.argv[1:])\n"
        "from flows.__looking__ import preview\ntry: preview(**given)\n"
        "except m.BadInput as error: print(error)\nprint('torch' in sys.modules)"
    )
    words = ["preview", "--source.paths", str(tmp_path / "empty")]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    said, loaded = done.stdout.splitlines()
    assert re.fullmatch(
        r"reading source files: no file is in the folder '.*/empty'; allowed are \.txt \.md \.html \.pdf .*"
        r"Put files there, or correct paths\.",
        said,
    )
    assert loaded == "False"


def test_a_preview_is_of_documents_from_all_over_a_source(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02d}.md").write_text(f"Document {number} says a few things. " * 8)
    found = [int(anchor.text.split()[1]) for anchor in first_anchors(Files(paths=[str(tmp_path)]), 5)]
    assert found == [0, 8, 16, 24, 32]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": f"Row {n} is long. " * 20}) for n in range(9)))
    assert len(first_anchors(Files(paths=[str(tmp_path / "rows.jsonl")]), 5)) == 5
    assert RECORDS_OF_ONE == 2


def test_a_preview_names_and_passes_over_what_cannot_be_read_and_takes_several_sources(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("handbook", "wiki"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.md").write_text(f"The {name} is long. " * 20)
    (tmp_path / "wiki" / "damaged.pdf").write_bytes(b"%PDF-1.7 no more")
    handbook, wiki = ({"kind": "files", "paths": [str(tmp_path / name)]} for name in ("handbook", "wiki"))
    found = first_anchors(Several.model_validate({"sources": [handbook, wiki]}))
    assert sorted(anchor.uri for anchor in found) == ["handbook.md", "wiki.md"]
    assert [one.getMessage().partition(": ")[0] for one in caplog.records] == ["Passed over damaged.pdf"]
    with pytest.raises(BadInput, match=r"damaged\.pdf"):
        first_anchors(Files(paths=[str(tmp_path / "wiki" / "damaged.pdf")]))


# --- list, show, status


REFUSED = {
    "summary": {"records": 10, "kept": 0, "success": False, "reasons": {"duplicate": 7, "too_short": 3}},
    "findings": [{"reason": "no_rows", "held": True}, {"reason": "too_few_kept", "held": False}],
}


def day(number: int) -> datetime:
    return datetime(2026, 11, 20 + number, 12, tzinfo=UTC)


def begun(batch_id: str, at: int) -> dict[str, object]:
    recipe = {"method": {"kind": "rephrase"}, "model": "start", "snapshot_id": "5a"}
    made = {"recipe": json.dumps(recipe), "logprob_semantics": "raw", "created_at": day(at)}
    return {"batch_id": batch_id, "snapshot_id": "5a77"} | made


def completed(batch_id: str, stage: str) -> dict[str, object]:
    return {"batch_id": batch_id, "stage": stage, "key": "", "summary": {"kept": 1}, "completed_at": day(5)}


def fill(store: Store) -> None:
    source = json.dumps({"kind": "files", "paths": ["handbook"]})
    record = {"batch_id": "b1", "anchor_id": "a", "method": "rephrase", "facet": "", "text": "x", "num_bytes": 1}
    record |= {"turns": ""}
    store.insert(
        snapshots=[
            {"snapshot_id": "5a77", "source_id": "s", "source": source, "heldout_fraction": 0.0, "num_anchors": 9}
            | {"num_heldout": 1, "num_bytes": 1234, "created_at": day(1)}
        ],
        batches=[begun("b100", 2), begun("b200", 3)],
        records=[record | {"batch_id": "b200", "record_id": "r", "request_ids": ["q"]}],
        completions=[completed("b200", "generate"), completed("b200", "validate")],
        checkpoints=[
            {"checkpoint_id": "c0ffee", "parent": "", "role": "synthetic", "batch_ids": ["b200"], "plan": {}}
            | {"url": "checkpoints/c0ffee", "metrics": {}, "created_at": day(6)}
        ],
        decisions=[
            {"batch_id": "b200", "decision_id": "d", "measurement_id": "m", "training_id": "", "state": "held"}
            | {"decision": json.dumps({"headline": "held: it repeats itself"}), "decided_at": day(6)}
        ],
    )


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    path = write_profile(tmp_path)
    store = open_store(str(path))
    Path(store.path).parent.mkdir()
    fill(store)
    return ["--profile", str(path)]


def looked(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    name, given = read(words)
    said = find_look(LOOKS[name][0])(**given)
    return capsys.readouterr().out + said


def test_list_names_what_a_store_has_with_verdicts_and_paths(
    place: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    store = open_store(place[1])
    whole = looked(["list", *place], capsys)
    assert [one for one in ("snapshots", "batches", "models", "trainings", "exams") if one not in whole] == []
    assert re.search(r"5a77 +files handbook +9 +1 +1,234 +2026-11-21", whole)
    assert re.search(r"b200 +rephrase +start +5a77 +1 +1 +held +2026-11-23", whole)
    assert whole.index("b200") < whole.index("b100")
    assert f"{store.folder}/checkpoints/c0ffee" in whole
    assert "c0ffee" not in looked(["list", "batches", *place], capsys).replace("checkpoints", "")


def test_the_bare_words_of_a_flow_of_batches_are_their_ids() -> None:
    assert read(["export", "b1", "b2", "--to", "out"]) == ("export", {"batches": ("b1", "b2"), "to": "out"})
    assert read(["report", "b1", "--training-id", "t"]) == ("report", {"batch_id": "b1", "training_id": "t"})
    with pytest.raises(BadInput, match="'b1' stands after no option"):
        read(["refresh", "b1"])


def test_show_says_all_of_one_and_takes_the_beginning_of_an_id(
    place: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    batch, model = looked(["show", *place], capsys), looked(["show", "c0f", *place], capsys)
    assert re.search(r"stages +generate, validate", batch)
    assert re.search(r"says +held: it repeats itself", batch)
    assert not [line for line in batch.splitlines() if line != line.rstrip()], "no line is as long as the longest"
    assert "from_pretrained" not in model, "its weights are not there"
    weights = Path(open_store(place[1]).folder, "checkpoints", "c0ffee")
    weights.mkdir(parents=True)
    assert f"transformers.AutoModelForCausalLM.from_pretrained('{weights}')" in looked(["show", "c0f", *place], capsys)
    with pytest.raises(BadInput, match=r"several ids begin so: b200 \(batches\), b100 \(batches\)"):
        looked(["show", "b", *place], capsys)
    with pytest.raises(BadInput, match="nothing has that id"):
        looked(["show", "zz", *place], capsys)


def test_status_says_how_far_the_newest_batch_is_and_what_comes_next(
    place: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = looked(["status", *place], capsys)
    assert "1 snapshots" not in said
    assert "1 snapshot, 2 batches, 1 model" in said
    assert "newest batch b200: generate, validate complete, verdict held" in " ".join(said.split())
    assert "next: `gainloop score" in said


def test_status_of_the_first_batch_in_the_making_does_not_ask_for_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--profile", str(write_profile(tmp_path))]
    store = open_store(place[1])
    Path(store.folder, "batches", "b1").mkdir(parents=True)
    store.query("select 1")
    assert "no batch yet: run `gainloop cycle`" in looked(["status", *place], capsys)
    with FileLock(Path(store.folder, "batches", "b1", ".lock")):
        assert "no batch is in the store yet; the run above makes the first" in looked(["status", *place], capsys)


def test_status_says_what_ran_since_yesterday_what_it_took_what_is_held_and_what_fills_the_disk(
    place: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(place[1])
    told = {"generate": {"prompt_tokens": 3000, "completion_tokens": 100, "cost": 0.5, "currency": "EUR", "kept": 1}}
    told["train"] = {"tokens": {"start": 9000, "synthetic": 250, "baseline": 250}, "kept": 1}
    store.insert(
        completions=[
            {"batch_id": "b100", "stage": stage, "key": "", "summary": summary, "completed_at": now()}
            for stage, summary in told.items()
        ]
    )
    for name, size in (("batches/b200/replies/part.parquet", 2_340_000), ("checkpoints/c0ffee/model", 5_000_000)):
        Path(store.folder, name).parent.mkdir(parents=True)
        Path(store.folder, name).write_bytes(b"x" * size)
    said = looked(["status", *place], capsys)
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d UTC: batches begun 0; completed: generate 1, train 1\n", said)
    assert "it took 3,100 tokens of prompts and replies, 500 trained on; 0.50 EUR\n" in said
    assert "batch b200 is held: it repeats itself\n" in said
    (disk,) = re.findall(r"disk: (.*); \S+ .B free\n", said)
    assert {"checkpoints 5.0 MB", "replies 2.3 MB"} < set(disk.split(", "))
    assert "running now" not in said
    assert len(said.splitlines()) < 24, "one screen"
    Path(store.folder, "batches/b200/.lock").touch()
    Path(store.folder, "improvements").mkdir()
    Path(store.folder, "improvements/l00p.lock").touch()
    with FileLock(f"{store.folder}/batches/b200/.lock"), FileLock(f"{store.folder}/improvements/l00p.lock"):
        assert "running now: batch b200, loop l00p\n" in looked(["status", *place], capsys)


def test_a_batch_that_validation_refused_is_said_to_be_and_does_not_hide_the_newest_report(
    place: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(place[1])
    store.insert(completions=[completed("b300", "generate")], batches=[begun("b300", 4)])
    for name, content in (
        ("b200/report.html", "<h1>"),
        ("b300/validation/verdict.json", json.dumps(REFUSED)),
    ):
        Path(store.folder, "batches", name).parent.mkdir(parents=True)
        Path(store.folder, "batches", name).write_text(content)
    refused = "refused by validation for too_few_kept: 0 of 10 records pass (7 duplicate, 3 too_short)"
    said = " ".join(looked(["status", *place], capsys).split())
    page = f"{store.folder}/batches/b300/validation/index.html"
    assert "newest batch b300: generate complete" in said
    assert f"newest report, of batch b200, verdict held: {store.folder}/batches/b200/report.html" in said
    assert refused in said
    assert said.endswith(page)
    assert "gainloop validate" not in said
    shown = looked(["show", "b300", *place], capsys)
    assert re.search(rf"says +{re.escape(refused)}", shown)
    assert re.search(rf"page +{re.escape(page)}", shown)
    (found,) = [one for one in measure_overview(read_batches(store), Gate()).unmeasured if one.batch == "b300"]
    assert (found.why, found.page) == (refused, "b300/validation/index.html")


def test_looking_makes_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_profile(tmp_path)
    for name in ("list", "show", "status"):
        with pytest.raises(GainloopError, match="there is none yet"):
            looked([name, "--profile", str(path)], capsys)
    assert not (tmp_path / "data").exists()
    with pytest.raises(SystemExit):
        look("show", {"name": "latest", "profile": str(path)})


def test_the_url_of_a_preview_has_no_password(place: list[str]) -> None:
    with pytest.raises(BadInput, match=r"--url: http://\*\*\*@host/v1 has a password") as refused:
        read(["preview", *place, "--url", "http://me:pass@host/v1"])
    assert "pass@" not in str(refused.value)


def test_a_text_obeys_no_terminal_and_hides_what_is_secret() -> None:
    shown = import_module("flows.__looking__").as_word("a\x1b[2J\x07\u202eb\r ftp://me:pass@host/a")
    assert shown == "a\\x1b[2J\\x07\\u202eb\\r ftp://***@host/a"


def test_a_source_is_named_by_what_it_reads(place: list[str]) -> None:
    store = open_store(place[1])
    assert name_source({"kind": "huggingface", "dataset": "a/b"}) == "huggingface a/b"
    assert find_row(store, "latest")[1]["id"] == list_rows(store, "batches")["id"][0] == "b200"
