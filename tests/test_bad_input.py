"""Bad input gets one sentence that says what to do next, and leaves nothing half-written."""

import asyncio
import inspect
import io
import os
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, get_origin

import duckdb
import httpx
import numpy as np
import polars as pl
import pytest
import torch
from prefect.exceptions import ParameterTypeError
from safetensors.numpy import save_file

from flows.__main__ import RESULTS, from_here, last_words, prefect_settings, read, run, run_flow, say_what_failed
from flows.__parameters__ import read_parameters
from gainloop.filters import FILTERS
from gainloop.filters.judge import Judge as JudgeFilter
from gainloop.filters.novelty import Novelty
from gainloop.methods import METHODS, Making, SmallMaking
from gainloop.methods.backtranslate import Backtranslate
from gainloop.methods.critic import Critic
from gainloop.methods.rephrase import Rephrase
from gainloop.methods.sbp import SBP
from gainloop.serving.opening import served_revision
from gainloop.sources import SOURCES
from gainloop.sources.files import Files
from gainloop.sources.python_docs import PythonDocs
from gainloop.store import Store, open_store
from gainloop.store.catalogue import find_row
from gainloop.store.files import whole_folder
from schemas.errors import BadInput, GainloopError, StoreError
from schemas.options import list_options
from schemas.plan import Checkpoint, FirstOptimiser, NewModel
from schemas.profile import Profile, Servers, load_profile
from schemas.recipe import Judge, Parameters, Served
from tasks.progress import Bar
from tasks.refresh import refresh_snapshot
from tasks.train import make_start
from tests.conftest import ROOT
from tests.serving.stub_server import StubOptions, stub_server
from tests.small_run import SERVED, parameters, write_profile
from tests.whole_run import Ended, Place, start

HOUSE_FORM = re.compile(r"(?P<attempted>[^;]+): (?P<found>.+)(; |: known are )(?P<allowed>.+)\. (?P<next>[A-Z].+)\.")
"""Every message, of whatever error."""

FILTER_KINDS = ", ".join(sorted(FILTERS))
SOURCE_KINDS = ", ".join(sorted(SOURCES))
METHOD_KINDS = ", ".join(sorted(METHODS))
FOR_SERVERS = ", ".join(sorted(kind for kind, made in METHODS.items() if not getattr(made, "tunes_generator", False)))
WITH_DRAWS = " or ".join(kind for kind, made in METHODS.items() if "draws" in made.model_fields)
GOOD = b"A text that is long enough for an anchor. " * 5
DOWN = "http://127.0.0.1:9/v1"


def table(**row: str) -> bytes:
    """Return a Parquet file of one row."""
    file = io.BytesIO()
    pl.DataFrame([row]).write_parquet(file)
    return file.getvalue()


def reading(files: dict[str, bytes]) -> Callable[[Profile, Path], None]:
    """Return a refresh from a folder that holds such files; no file, no folder."""

    def refresh(profile: Profile, folder: Path) -> None:
        for name, content in files.items():
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        refresh_snapshot(open_store(profile), Files(paths=[str(folder)], max_bad_share=0), 0.05)

    return refresh


def asking(model: str, **faults: float) -> Callable[[Profile, Path], None]:
    """Return a look for a model at a server that has ``stub`` and such faults."""

    def ask(profile: Profile, _folder: Path) -> None:
        with stub_server(StubOptions(faults=faults)) as stub:
            asyncio.run(served_revision(profile.model_copy(update={"serving": Servers(urls=[stub.url])}), model))

    return ask


def asking_nobody(profile: Profile, _folder: Path) -> None:
    asyncio.run(served_revision(profile.model_copy(update={"serving": Servers(urls=[DOWN])}), "stub"))


def starting_from(model: str) -> Callable[[Profile, Path], None]:
    def make(profile: Profile, _folder: Path) -> None:
        make_start(open_store(profile), profile.training, "s", Checkpoint(model=model), Bar("start", "steps"))

    return make


def opening_a_text_file(profile: Profile, folder: Path) -> None:
    folder.write_text("no DuckDB file" * 1000)
    Store(str(folder), "").query("select 1")


def looking_up(profile: Profile, _folder: Path) -> None:
    find_row(open_store(profile), "../nothing")


@pytest.mark.parametrize(
    ("attempt", "found"),
    [
        (looking_up, "looking up '../nothing' in .*: nothing has that id; .*"),
        (reading({}), "nothing found at .*corpus"),
        (reading({"a.md": GOOD, "b.md": "cafés là".encode() + b"\xe9"}), "corpus/b.md: byte 10 is not UTF-8"),
        (reading({"a.md": GOOD, "b.jsonl": b'{"text": ""}\n!'}), "b.jsonl, line 2: Expecting value at column 1"),
        (reading({"a.md": GOOD, "b.csv": b"text\n1,2\n"}), "b.csv, line 2: 2 cells under 1 names"),
        (reading({"a.md": GOOD, "b.parquet": b"PAR1"}), "b.parquet: "),
        (reading({"a.md": GOOD, "b.txt.gz": b"no gzip"}), "b.txt.gz: "),
        (reading({"a.md": GOOD, "b.parquet": table(body="a")}), "field 'text' not found; fields there are body"),
        (reading({"a.doc": b"%DOC"}), r"1 found at .*corpus', none that is read: not \.txt"),
        (reading({"a.md": b""}), "none of 1 documents has 100 characters"),
        (asking_nobody, "asking http://127.0.0.1:9/v1 for its models: no connection"),
        (asking("another"), "'another' at .* is not served there; served are stub"),
        (asking("stub", no_logprobs=1.0), "the reply has no log-probability per token"),
        (asking("stub", overloaded=1.0), "it is overloaded"),
        (starting_from("/nowhere"), "loading checkpoint '/nowhere'"),
        (opening_a_text_file, "not a valid DuckDB database file"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    profile: Profile, tmp_path: Path, attempt: Callable[[Profile, Path], None], found: str
) -> None:
    with pytest.raises(GainloopError, match=found) as caught:
        attempt(profile, tmp_path / "corpus")

    assert HOUSE_FORM.fullmatch(str(caught.value)), caught.value
    filled = open_store(profile).query("select table_name from duckdb_tables() where estimated_size > 0")
    # That a file was read whole stays a fact, whatever came of others.
    assert set(filled["table_name"]) <= {"parts", "schema_version"}
    assert [path.name for path in Path(profile.folder).rglob("*")] == ["gainloop.duckdb"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, "No such file or directory"),
        ("store: {lock_secs: 3}", "store.lock_secs is not a setting"),
        ("store: {lock_seconds: -1}", "store.lock_seconds is -1; input should be greater than 0"),
        ("serving: {kind: magic}", "serving.kind 'magic' not found in schemas/profile.py: known are embedded, servers"),
        ("serving: {kind: servers}", "serving 'servers': urls is not set"),
        ("folder: [x", r"expected ',' or '\]', but got '<stream end>' in line 1"),
        ("hello", "it holds a str"),
        ('folder: "a\\0b"', r"'a\\x00b' holds \\x00, which can stand in no name"),
        ('serving: {kind: servers, urls: ["\\uD800"]}', r".*; '\\ud800' holds \\ud800, which can stand in no name"),
    ],
)
def test_a_profile_that_cannot_be_read_is_one_sentence(tmp_path: Path, text: str | None, found: str) -> None:
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(GainloopError, match=f"reading profile {path}: {found}") as caught:
        load_profile(str(path))
    assert HOUSE_FORM.fullmatch(str(caught.value)), caught.value


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "refresh --source.kind dream",
            f"source.kind 'dream' not found in gainloop/sources/: known are {SOURCE_KINDS}. "
            "Set source.kind to one of them.",
        ),
        (
            "generate --text.method.kind magic",
            f"text.method.kind 'magic' not found in gainloop/methods/: known are {METHOD_KINDS}. "
            "Set text.method.kind to one of them.",
        ),
        (
            "generate --text.method.kind rephrase --text.method.draws 2",
            "text.method 'rephrase': 'draws' is not a parameter; its parameters are chunk_tokens, kind, "
            "max_chunks, max_sentences, prompts, sentence_styles, styles, unit. "
            f"Set one of them, or text.method.kind to {WITH_DRAWS}.",
        ),
        (
            "generate --text.method.kind sbp --text.method.draws 0",
            "text.method 'sbp': draws is '0'; input should be greater than or equal to 1. Change it.",
        ),
        (
            "generate --generator.kind own --generator.model x",
            "generator 'own': 'model' is not a parameter; its parameters are kind. "
            "Set one of them, or generator.kind to served.",
        ),
        (
            "generate --generator.kind served",
            "generator 'served': model is not set; it is required. Set it.",
        ),
        ("judge --judge.sample 3", "--judge.model is not set; it is required. Set it."),
        (
            "evaluate --checkpoints a",
            "--exam is not set; it is required. Set --exam.kind, or an option that one kind has: "
            "`python -m flows evaluate --help-all` lists them.",
        ),
        (
            "improve --exam.paths q --recipes rephrase",
            "--spending.tokens is not set; it is required. Set it.",
        ),
        ("export --form jsonl", "--to is not set; it is required. Set it."),
        ("assess --exercises.paths README.md", "--models is not set; it is required. Set it."),
        (
            "refresh --depth 3",
            "--depth is not one of them; known are --source, --profile, --heldout-fraction. Correct it.",
        ),
        ("generate --method.draws 2", "--method.draws is not one of them; known are --text.method.draws. Correct it."),
        (
            "generate --text.sampling.top_k=2",
            "--text.sampling.top_k=2 is not one of them; known are --text.sampling.top-p, "
            "--text.sampling.temperature, --text.sampling.max-tokens. Correct it.",
        ),
        ("cycle --help-al", "--help-al is not one of them; known are --help-all, --help. Correct it."),
        (
            "refresh latest",
            "'latest' stands after no option; `python -m flows refresh --help-all` lists them. Write --NAME before it.",
        ),
        (
            "generate --text.method.max-pair 2",
            "--text.method.max-pair is not one of them; known are --text.method.max-pairs, --text.method.max-partners, "
            "--text.method.max-words. Correct it.",
        ),
        (
            "generate --text.filters.kind novelty",
            "--text.filters.kind is not one of them; known are --text.filters. Correct it.",
        ),
        ("refresh --heldout-fraction 1", "--heldout-fraction is '1'; input should be less than 1. Change it."),
        (
            "train --plan.optimiser.learning-rate 0",
            "--plan.optimiser.learning-rate is '0'; input should be greater than 0. Change it.",
        ),
        (
            "train --plan.mixture.synthetic 1",
            "mixture adds up to 1.5; synthetic, anchors and replay together must add up to 1. Change it.",
        ),
        (
            "generate --text.seed x",
            "--text.seed is 'x'; input should be a valid integer, unable to parse string as an integer. Change it.",
        ),
        (
            "generate --text.seed",
            "--text.seed: expected one argument; `python -m flows generate --help-all` says what is allowed. "
            "Correct it.",
        ),
        (
            "cycle --text.critic harsh",
            "--text.critic is 'harsh', which is not JSON: Expecting value: line 1 column 1 (char 0); "
            "JSON of its parameters is allowed. Correct it.",
        ),
        (
            "report --batch-id caf\udce9",
            "--batch-id: 'caf\\udce9' holds \\udce9, which can stand in no name; any other character is allowed. "
            "Change it.",
        ),
    ],
)
def test_a_command_line_that_cannot_be_read_is_one_sentence(words: str, expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(words.split())
    attempt = f"reading the options of `python -m flows {words.split()[0]}`"
    assert str(caught.value) == f"{attempt}: {expected}"


@pytest.mark.parametrize("value", ["[" * 100_000, f"[{'9' * 5000}]"], ids=["deep", "long"])
def test_json_that_cannot_be_followed_is_one_sentence(value: str) -> None:
    with pytest.raises(
        BadInput, match=r"which is not JSON: .*; the name of a kind, or JSON of its parameters, is allowed"
    ):
        read(["generate", "--text.filters", value])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("generate --text.method.draws 2", {"text": Making(method=SBP(draws=2))}),
        (
            "generate --text.method.kind backtranslate --text.method.draws 2",
            {"text": Making(method=Backtranslate(draws=2))},
        ),
        ("refresh --source.max-chars 400", {"source": PythonDocs(max_chars=400)}),
        (
            "train --start.optimiser.batch-tokens 512",
            {"start": NewModel(optimiser=FirstOptimiser(learning_rate=6e-3, batch_tokens=512))},
        ),
        ("cycle --text.seed -1", {"text": SmallMaking(seed=-1)}),
    ],
)
def test_options_without_a_kind_change_the_default_one_and_leave_its_other_values(
    words: str, expected: dict[str, Any]
) -> None:
    assert read(words.split())[1] == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "refresh --source.kind files --source.paths a '{b,c}/*.md' --source.paths '[d]' 1,2",
            {"source": Files(paths=["a", "{b,c}/*.md", "[d]", "1,2"])},
        ),
        ("""refresh --source '{"kind": "files", "paths": ["a"]}'""", {"source": Files(paths=["a"])}),
        (
            """refresh --source '{"kind": "files", "paths": ["a"]}' --source.max-chars 400 --source.one-per-line""",
            {"source": Files(paths=["a"], max_chars=400, one_per_line=True)},
        ),
        ("refresh --source.kind files --source.paths a --source.one-per-line false", {"source": Files(paths=["a"])}),
        (
            "generate --text.method rephrase --text.method.styles qa hard",
            {"text": Making(method=Rephrase(styles=("qa", "hard")))},
        ),
        ("cycle --text.max-anchors none", {"text": SmallMaking(max_anchors=None)}),
        (
            "generate --generator.kind served --generator.model a/b --text.method.kind rephrase --dry-run",
            {"generator": Served(model="a/b"), "text": Making(method=Rephrase()), "dry_run": True},
        ),
        ("judge --judge.model m --judge.anchors 0", {"judge": Judge(model="m", anchors=0)}),
        ("cycle --judge none", {"judge": None}),
    ],
)
def test_an_option_takes_several_values_negative_numbers_json_none_and_the_name_of_a_kind(
    words: str, expected: dict[str, Any]
) -> None:
    assert read(shlex.split(words))[1] == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("novelty", (Novelty(),)),
        ("judge novelty", (JudgeFilter(), Novelty())),
        ("""'[{"kind": "judge", "least": 4}, {"kind": "novelty"}]'""", (JudgeFilter(least=4), Novelty())),
        ("""'{"kind": "judge", "least": 4}' --text.filters novelty""", (JudgeFilter(least=4), Novelty())),
    ],
)
def test_filters_are_given_by_name_or_as_json_in_their_order(words: str, expected: tuple[Any, ...]) -> None:
    _, given = read(["generate", "--text.method.kind", "rephrase", "--text.filters", *shlex.split(words)])
    assert given["text"].filters == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "jugde",
            rf"text.filters.kind 'jugde' not found in gainloop/filters/: known are {FILTER_KINDS}\. Set",
        ),
        ('{"least": 4}', rf"text.filters {{'least': 4}}: it has no kind; known are {FILTER_KINDS}\."),
        (
            '{"kind": "judge", "laest": 4}',
            "text.filters 'judge': 'laest' is not a parameter; its parameters are kind, least, ",
        ),
        (
            '{"kind": "judge", "least": 9}',
            "text.filters 'judge': least is 9; input should be less than or equal to 5. Change",
        ),
        (
            '{"kind": "judge"',
            '--text.filters is \'{"kind": "judge"\', which is not JSON: .*; the name of a kind, or JSON of its par',
        ),
    ],
)
def test_a_filter_that_cannot_be_is_one_sentence_that_says_which_can(words: str, expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(["cycle", "--text.filters", words])
    said = str(caught.value)
    assert re.match(f"reading the options of `python -m flows cycle`: {expected}", said), said
    assert HOUSE_FORM.fullmatch(said), said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--text.critic.max-turns 3", Critic(max_turns=3)),
        ("--text.critic '{}'", Critic()),
        ("""--text.critic '{"enough": 5}' --text.critic.max-turns 3""", Critic(enough=5, max_turns=3)),
        ("--text.critic none", None),
    ],
)
def test_a_critic_is_given_by_what_differs_from_its_defaults(words: str, expected: Critic | None) -> None:
    _, given = read(["generate", "--text.method.kind", "rephrase", *shlex.split(words)])
    assert given["text"].critic == expected


@pytest.mark.parametrize("name", ["generate", "cycle"])
def test_a_deployments_form_takes_the_same_filters_and_critic_and_refuses_the_same(name: str) -> None:
    flow = getattr(import_module(f"flows.{name}"), name)
    defaults = {option.name: option.default for option in inspect.signature(flow.fn).parameters.values()}
    form = {"filters": [{"kind": "judge", "least": 4}, {"kind": "novelty"}], "critic": {"max_turns": 3}}
    text = flow.validate_parameters(defaults | {"text": form})["text"]

    assert (text.filters, text.critic) == ((JudgeFilter(least=4), Novelty()), Critic(max_turns=3))
    # What a form leaves out stays as it is.
    assert text.max_anchors == flow.validate_parameters(defaults)["text"].max_anchors
    fields = flow.parameters.definitions[type(text).__name__]["properties"]
    assert set(fields["filters"]["items"]["discriminator"]["mapping"]) == FILTERS.keys()
    for wrong, found in (
        ({"filters": [{"kind": "jugde"}]}, f"known are {FILTER_KINDS}"),
        ({"critic": {"turns": 1}}, "turns"),
    ):
        with pytest.raises(ParameterTypeError, match=found):
            flow.validate_parameters(defaults | {"text": wrong})


@pytest.mark.parametrize("name", RESULTS)
def test_help_says_what_a_flow_does_its_default_kinds_and_which_kind_an_option_belongs_to(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit) as caught:
        read([name, "--help-all"])
    told = capsys.readouterr().out
    assert not caught.value.code
    assert told.startswith(f"usage: python -m flows {name} [OPTIONS]")
    assert "Return the" not in told
    if "--text.method.kind" in told:
        assert re.search(r"--text.method.kind KIND +Kind of method. One of sbp, .* Default: sbp\.", told)
        assert re.search(
            r"--text.method.max-triples INTEGER +Texts on three entities.* Default: 4\. \[entigraph\]", told
        )
        assert re.search(
            r"--text.method.draws INTEGER +Documents .* Default: 1\. \[sbp\] .*Tasks .*\[backtranslate\] Lists", told
        )
        assert re.search(rf"--text.filters KIND.JSON .*Filters that a record must pass.* One of {FILTER_KINDS}\.", told)
        assert "--text.max-anchors INTEGER|none  " in told
    # A sentence an option, which begins with the noun that it holds.
    said = re.findall(r"^  --\S+(?: \S+| \[[^\]]+\]| \S+ \[\S+ \.\.\.\])? {2,}(.*)$", told, re.MULTILINE)
    assert len(said) >= 3
    assert not [line for line in said if not re.match(r"[A-Z.].*[.\]]$", line)]


def test_the_whole_help_and_the_version_need_neither_prefect_nor_torch() -> None:
    for word, found in (("--help", "cycle +The main job"), ("--version", r"^\d+\.\d+\.\d+$")):
        code = (
            f"import sys, flows.__main__ as m; sys.argv = ['x', '{word}']\ntry: m.run(['{word}'])\nexcept SystemExit: "
        )
        code += "print(sorted({'prefect', 'torch', 'polars', 'numpy'} & sys.modules.keys()))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        *told, heavy = done.stdout.splitlines()
        assert re.search(found, "\n".join(told), re.MULTILINE)
        assert heavy == "[]"


def test_the_help_of_a_flow_needs_nothing_that_only_a_run_does() -> None:
    heavy = {"torch", "transformers", "scipy.stats", "sklearn", "matplotlib", "great_expectations", "pandas", "openai"}
    code = f"import sys, flows.cycle; print(sorted({heavy!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_path_within_the_working_folder_is_said_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert from_here(f"{ROOT}/data/report.html") == "data/report.html"
    assert (from_here("/srv/report.html"), from_here("9a7e3105f4d850e1")) == ("/srv/report.html", "9a7e3105f4d850e1")


def test_prefect_has_the_projects_settings_from_any_folder(tmp_path: Path) -> None:
    code = "from prefect.settings import get_current_settings; print(get_current_settings().model_dump_json())"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(tmp_path)}

    def settings(folder: Path, **more: str) -> str:
        asked = [sys.executable, "-c", code]
        return subprocess.run(asked, cwd=folder, env=environment | more, capture_output=True, text=True).stdout

    assert settings(tmp_path, **prefect_settings()) == settings(ROOT) != settings(tmp_path)


@pytest.mark.parametrize("name", RESULTS)
def test_an_option_takes_as_many_values_of_one_kind_as_of_another(name: str) -> None:
    for option in list_options(read_parameters(name)):
        is_list = {get_origin(one.annotation) in (list, tuple) for one in option.own.values()}
        assert len(is_list) == 1, option.name


def test_no_default_of_a_flow_differs_from_its_parts_own() -> None:
    """What a form or a command line leaves out of a part is filled in by the part, not by the flow."""
    for name in RESULTS:
        flow = getattr(import_module(f"flows.{name}"), name)
        for option in inspect.signature(flow.fn).parameters.values():
            if isinstance(option.default, Parameters):
                assert option.default == type(option.default)(), (name, option.name)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (
            "generate --generator.kind served --generator.model x",
            rf"generating by sbp with the served model 'x': .* are {FOR_SERVERS}\.",
        ),
        ("cycle --profile vllm", rf"generating on profile 'vllm': .* write for: {FOR_SERVERS}\."),
        (
            "generate --text.critic.max-turns 1 --text.filters judge novelty",
            r"generating by sbp with critic, judge: .*",
        ),
        (
            "generate --text.method.kind backtranslate --text.critic.max-turns 1",
            r"generating by backtranslate with critic: the records of backtranslate hold the anchor as it is",
        ),
        (
            "generate --text.method.kind self_instruct --text.critic.max-turns 1",
            r"generating by self_instruct with critic: the records of self_instruct are conversations",
        ),
        (
            "cycle --plan.objective conversation --text.method.kind rephrase",
            r"training on what rephrase makes with plan.objective conversation: its records are texts",
        ),
        (
            "improve --recipes rephrase self_instruct --exam.kind files --exam.paths README.md --spending.tokens 10000",
            r"training on what rephrase makes with plan.objective none, for text and conversations: its records are",
        ),
        ("report --profile nowhere", r"profile 'nowhere' not found in profiles/"),
        ("refresh --depth 3", r"reading the options of `python -m flows refresh`: --depth is not one of them"),
        ("dream", r'reading the options of `python -m flows`: unknown command "dream"; known are cycle, improve, .*'),
        ("--dream", r'reading the options of `python -m flows`: unknown command "--dream"; known are cycle, .*'),
    ],
)
def test_what_is_wrong_or_cannot_go_together_is_refused_before_anything_starts(words: str, found: str) -> None:
    with pytest.raises(SystemExit) as caught:
        run(words.split())
    style, said = last_words.pop()
    assert (caught.value.code, style) == (2, "red")
    assert re.match(f"error: {found}", said), said
    assert HOUSE_FORM.fullmatch(said), said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("a"), r"running cycle: KeyError \('a'\); .* a fault of gainloop"),
        (MemoryError(), "running cycle: memory ran out; "),
        (RuntimeError("can't start new thread"), "running cycle: can't start new thread; a run needs some dozens"),
        (httpx.InvalidURL("Invalid port: 'pass'"), r"running cycle: PREFECT_API_URL is no url; (?!.*pass)"),
        (httpx.ReadTimeout("no answer"), r"running cycle: ReadTimeout \(no answer\); the Prefect server must answer"),
        (BadInput("a: b; c. Do it."), "a: b; c. Do it."),
    ],
)
def test_whatever_ends_a_run_is_one_sentence_and_no_bare_traceback(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    fail.name = "cycle"  # type: ignore[attr-defined]
    for step in ("quieten", "start_server"):
        monkeypatch.setattr(f"flows.__main__.{step}", lambda: None)
    with pytest.raises(SystemExit) as ended:
        run_flow(fail, {})  # type: ignore[arg-type]
    style, last = last_words.pop()
    assert (ended.value.code, style, last) == (1, "red", f"error: {say_what_failed('running cycle', error)}")
    assert re.match(f"error: {said}", last), last
    assert HOUSE_FORM.fullmatch(last), last


def test_a_limit_under_which_nothing_can_be_loaded_is_named_at_once() -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, resource.RLIM_INFINITY))

    asked = [sys.executable, "-m", "flows", "refresh", "--source.kind", "files", "--source.paths", "docs"]
    ended = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, preexec_fn=limit, check=False)
    last = ended.stderr.splitlines()[-1]
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.match(r"error: starting gainloop: a limit \(ulimit -v\) allows 1\.4 GiB of addresses; ", last), last
    assert HOUSE_FORM.fullmatch(last), last


def by_hand(file: Path) -> None:
    file.write_bytes(bytes(8_000_000))


def by_safetensors(file: Path) -> None:
    save_file({"weights": np.zeros(1_000_000)}, file)


def by_torch(file: Path) -> None:
    torch.save(torch.zeros(2_000_000), file)


@pytest.mark.parametrize("write", [by_hand, by_safetensors, by_torch])
def test_a_checkpoint_that_does_not_fit_the_disk_is_one_sentence(
    small_disk: Path, write: Callable[[Path], None]
) -> None:
    with pytest.raises(StoreError, match="No space left on device") as caught, whole_folder(f"{small_disk}/a") as made:
        write(Path(made, "weights"))
    assert HOUSE_FORM.fullmatch(str(caught.value)), caught.value
    assert not Path(f"{small_disk}/a").exists()


# The ring: what a person sees.


def require_one_error(ended: Ended, status: int, found: str) -> None:
    """Say that a run ended with one error, as its last line, that was said once and without a traceback."""
    last = ended.err.splitlines()[-1]
    assert (ended.status, ended.out) == (status, "")
    assert "Traceback" not in ended.err
    assert re.match(rf"error: {found}", last), last
    assert HOUSE_FORM.fullmatch(last), last
    assert ended.err.count(last[len("error: ") : 60]) == 1


@pytest.mark.crash
@pytest.mark.parametrize(
    ("flow", "given", "status", "found"),
    [
        (
            "generate",
            {"text": {"method": {"kind": "magic"}}},
            2,
            "reading the options of .*: text.method.kind 'magic' not",
        ),
        ("report", {"profile": "nowhere"}, 2, "profile 'nowhere' not found in profiles/: known are cluster, embedded"),
        ("validate", {}, 1, "finding batch 'latest': it is not in the store .*; known are none"),
        (
            "refresh",
            {"source": {"kind": "files", "paths": "/nowhere"}},
            2,
            "reading the options of .*: nothing found at '/nowhere', which --source.paths names",
        ),
        (
            "cycle",
            {"start": {"kind": "checkpoint", "model": "./nowhere"}},
            2,
            "reading the options of .*nothing found at './nowhere', which --start.model names",
        ),
    ],
)
def test_a_person_sees_one_error(
    tmp_path: Path, api_url: str, flow: str, given: dict[str, Any], status: int, found: str
) -> None:
    given = {"profile": write_profile(tmp_path)} | given
    require_one_error(start(flow, given, tmp_path, api_url).wait(), status, found)


@pytest.mark.crash
def test_a_server_without_logprobs_gets_no_batch(tmp_path: Path, corpus: Path, api_url: str) -> None:
    with stub_server(StubOptions(faults={"no_logprobs": 1.0})) as stub:
        profile = write_profile(tmp_path, serving={"kind": "servers", "urls": [stub.url]})
        given = parameters(corpus, profile, {"method": {"kind": "rephrase"}}, generator=SERVED)
        ended = start("cycle", given, tmp_path, api_url).wait()
    require_one_error(ended, 1, f"asking {stub.url} for a token of 'stub': the reply has no log-probability")
    assert Place(tmp_path).rows()["batches"].is_empty()
    assert Place(tmp_path).files() == {}


@pytest.mark.crash
def test_a_store_that_another_process_holds_is_waited_for_and_then_an_error_that_names_it(
    tmp_path: Path, corpus: Path, api_url: str
) -> None:
    path = tmp_path / "held.duckdb"
    given = parameters(corpus, write_profile(tmp_path, store={"url": str(path), "lock_seconds": 1}))
    with duckdb.connect(path):
        ended = start("cycle", given, tmp_path, api_url).wait()
    require_one_error(
        ended, 1, rf"opening the store {path}: another process held it for 1 s \(held in .*\(PID \d+\)\);"
    )


@pytest.mark.crash
def test_a_prefect_server_that_is_down_is_an_error_that_says_how_to_do_without(tmp_path: Path) -> None:
    ended = start("report", {"profile": write_profile(tmp_path)}, tmp_path, "http://127.0.0.1:9/api").wait()
    require_one_error(ended, 1, "running report: Failed to reach API at http://127.0.0.1:9/api/; the Prefect server")
