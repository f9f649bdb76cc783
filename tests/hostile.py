"""A hostile hour: files, servers, names and settings that attack, and the whole command line among them: a table.

    python -m tests.hostile     # some minutes

Everything is made by this program, the same at every run. First a corpus of hostile files is read, and a cycle is run
with a server that answers every second document in a hostile way, until it has trained and reported; then come
servers that never answer well, and profiles, ids and options that attack. A row says how each command ended, or what
is left: whether the ledger adds up, and whether a secret, a control character or a script got anywhere.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from gainloop.store import Store
from tests.hostile_files import LOADS, OUTSIDE, PLANTED, Hostile, write_files
from tests.hostile_remains import CONTROLS, Check, add_up, look_for, open_all, spellings
from tests.hostile_server import KEY, LASTING, WAYS, HostileServer, hostile_server
from tests.small_run import PLAN, START, command, environment, write_profile
from tests.test_bad_input import HOUSE_FORM
from tests.whole_run import prefect_server

PASSWORD: Final = "pw-hostile/91+Qx%zz"
WITH_PASSWORD: Final = f"http://user:{PASSWORD}@127.0.0.1:9/v1"
SECRETS: Final = spellings(KEY) | spellings(PASSWORD)

RUN_SECONDS: Final = 240
SAID: Final = 110
"""Characters of a last line that a row shows."""

RELEASE: Final = f"to see \x1b[2J {PLANTED[0]} ![a]({LOADS}.png)"
"""The reason of a release, which stands on pages."""

MAKING: Final = {
    "method": {"kind": "rephrase", "unit": "document"},
    "sampling": {"max_tokens": 160},
    "max_anchors": 64,
}


@dataclass(frozen=True)
class Row:
    """One line of the table: what was done, how it ended or what was found, and whether that is as it must be."""

    what: str
    ended: str
    said: str
    is_well: bool

    def __str__(self) -> str:
        said = " ".join(ascii(self.said)[1:-1].replace("|", "/").split())
        shown = said if len(said) <= SAID else f"{said[:SAID]} ..."
        return f"| {self.what} | {self.ended} | {shown} | {'yes' if self.is_well else 'NO'} |"


@dataclass
class Hour:
    """A folder in which commands are run, with a hostile corpus, a Prefect server and a hostile server."""

    folder: Path
    api_url: str
    server: HostileServer
    rows: list[Row] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def store(self) -> Store:
        return Store(str(self.data / "gainloop.duckdb"), str(self.data))

    @property
    def profile(self) -> str:
        """A profile whose servers are the hostile one, and whose gate holds every batch."""
        path = write_profile(
            self.folder,
            serving={"kind": "servers", "urls": [self.server.url]},
            generation={
                "max_in_flight": 16,
                "deadline_seconds": 8,
                "attempts": 2,
                "outage_seconds": 20,
                "shard_anchors": 16,
            },
            gate={"accept_rate": 2},
        )
        return str(path)

    def cycle(self, **changes: Any) -> list[str]:
        """Return the command line of the cycle, as small as one can be."""
        given = {
            "source": {
                "kind": "files",
                "paths": [str(self.folder / "corpus")],
                "max_chars": 1200,
                "max_bad_share": 0.4,
            },
            "text": MAKING,
            "generator": {"kind": "served", "model": "stub"},
            "start": START | {"budget_tokens": 8_192},
            "plan": PLAN | {"budget_tokens": 8_192},
            "profile": self.profile,
        }
        return command("cycle", given | changes)[3:]

    def run(self, what: str, words: list[str], *statuses: int, says: str = "", **more: str) -> str:
        """Run a command line to its end, and add a row; return what it said.

        Args:
            statuses: How it may end. Any but 0 is one sentence in the house's form, as the last line, and no traceback.
            says: Pattern that it must say somewhere.
            more: Variables of its environment.
        """
        given = environment(self.folder, self.api_url) | {"OPENAI_API_KEY": KEY, "COLUMNS": "100"} | more
        done = subprocess.run(
            [sys.executable, "-m", "flows", *words],
            cwd=self.folder,
            env=given,
            capture_output=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        out, err = (one.decode(errors="surrogateescape") for one in (done.stdout, done.stderr))
        last = (err if done.returncode else out).rstrip("\n").rpartition("\n")[2]
        faults = list(find_faults(done.returncode, statuses or (0,), last, f"{out}{err}", says))
        self.rows.append(Row(what, str(done.returncode), "; ".join([*faults, last]), not faults))
        print(self.rows[-1], flush=True)
        if faults:
            print(f"{out}{err}"[-4000:].encode(errors="backslashreplace").decode(), file=sys.stderr, flush=True)
        return f"{out}{err}"

    def note(self, checks: Iterator[Check]) -> None:
        """Add a row for each of some checks."""
        for check in checks:
            self.rows.append(Row(check.what, "", check.found, check.is_well))
            print(self.rows[-1], flush=True)
            if not check.is_well:
                print(f"{check.what}: {check.found!a}", file=sys.stderr, flush=True)


def find_faults(status: int, statuses: tuple[int, ...], last: str, said: str, says: str) -> Iterator[str]:
    """Yield what is wrong with how a command ended."""
    if status not in statuses:
        yield f"ENDED WITH {status}"
    if status and not (last.startswith("error: ") and HOUSE_FORM.fullmatch(last)):
        yield "NOT ONE SENTENCE"
    if "Traceback" in said:
        yield "TRACEBACK"
    if any(secret in said for secret in SECRETS) or KEY.casefold() in said.casefold():
        yield "TELLS A SECRET"
    if odd := CONTROLS.search(said):
        yield f"CONTROL CHARACTER {odd[0]!r} in {said[max(0, odd.start() - 40) : odd.start()]!r}"
    if says and not re.search(says, said):
        yield f"DOES NOT SAY {says}"


def read_corpus(hour: Hour) -> None:
    """Read the corpus, and find in the store what was to be read and nothing else."""
    files = write_files(hour.folder / "corpus", hour.folder / "outside")
    source = ["--source.kind", "files", "--source.paths", "corpus", "--source.max-chars", "1200"]
    refresh = ["refresh", *source, "--profile", hour.profile]
    hour.run("refresh, no bad share", [*refresh, "--source.max-bad-share", "0.02"], 1, says="--source.max-bad-share")
    hour.run("refresh", [*refresh, "--source.max-bad-share", "0.4"], says="left out as unreadable")
    hour.note(count_parts(hour.store, files))
    hour.note(iter([Check("code in front matter", "not run", not (hour.folder / "hostile-ran").exists())]))


def count_parts(store: Store, files: list[Hostile]) -> Iterator[Check]:
    """Yield whether each part that must be read was, and none that must not be, nor what lies outside."""
    read = set(store.query("select distinct part from snapshot_parts")["part"])
    by_folder = {part: part.partition("/")[0] for part in read}
    for family in sorted({os.fsdecode(one.name).partition("/")[0] for one in files}):
        of_family = [one for one in files if os.fsdecode(one.name).partition("/")[0] == family]
        least = sum(one.is_read is True for one in of_family)
        most = least + sum(one.is_read is None for one in of_family)
        num_read = sum(folder == family for folder in by_folder.values())
        yield Check(f"{family}: {len(of_family)} files", f"{num_read} read", least <= num_read <= most)
    links = sorted(part for part, folder in by_folder.items() if folder == "links")
    yield Check("links, a pipe, a hidden file", f"{', '.join(links)} read", links == ["links/good.md"])
    texts = store.query("select text from anchors")["text"]
    yield Check("what lies outside", "not read", not any(OUTSIDE[:40] in text for text in texts))


def run_cycles(hour: Hour) -> None:
    """Run the cycle until the gate holds it, then on by a release, and look at all that it left."""
    hour.run("cycle, held by the gate", hour.cycle(), 1, says="the gate holds it")
    hour.run("cycle, with a release", hour.cycle(release=RELEASE), says="report: ")
    asked = hour.server.num_asked
    hour.run("cycle, the same again", hour.cycle(release=RELEASE), says="report: ")
    again = hour.server.num_asked - asked
    hour.note(iter([Check("requests of the same again", f"{again}", again == 0)]))
    (batch_id,) = hour.store.query("select batch_id from batches")["batch_id"]
    unasked = WAYS.keys() - set(hour.server.ways.values())
    hour.note(iter([Check(f"{len(WAYS)} ways to answer", f"not come up: {', '.join(unasked) or 'none'}", not unasked)]))
    hour.note(add_up(hour.store, batch_id, hour.server.ends))
    for words in (["list"], ["list", "runs"], ["status"], ["show"], ["show", batch_id[:5]], ["report"]):
        hour.run(" ".join(words).replace(batch_id[:5], "ID"), [*words, "--profile", hour.profile])
    url = ["--url", hour.server.url, "--source.paths", "corpus/planted", "--source.kind", "files"]
    hour.run("preview", ["preview", *url], says="Nothing was stored")


def ask_bad_servers(hour: Hour) -> None:
    """Preview with a server that never answers well."""
    for name in LASTING:
        hour.server.lasting = name
        source = ["--source.kind", "files", "--source.paths", "corpus/planted", "--profile", hour.profile]
        hour.run(f"server: {name}", ["preview", *source, "--seconds", "20"], 1)
    hour.server.lasting = ""


def attack_by_profile(hour: Hour) -> None:
    """Look at a store by profiles whose settings, files and names attack."""
    plain = yaml.safe_load(Path(hour.profile).read_text())
    profiles = {
        "password in a server's url": plain | {"serving": {"kind": "servers", "urls": [WITH_PASSWORD]}},
        "password in the store's url": plain | {"store": {"url": f"postgres://user:{PASSWORD}@127.0.0.1/db"}},
        "password in the folder": plain | {"folder": f"s3://user:{PASSWORD}@127.0.0.1/data"},
        "key in a setting": plain | {"store": {"url": f"{hour.data}/{KEY}.duckdb"}},
        "key as a name": plain | {"name": KEY},
    }
    for number, (what, settings) in enumerate(profiles.items()):
        path = hour.folder / f"attack-{number}.yaml"
        path.write_text(yaml.safe_dump(settings))
        hour.run(f"profile: {what}", ["list", "--profile", path.name], 2)
    aliases = "".join(f"x{n}: &x{n} [{','.join([f'*x{n - 1}' if n else 'a'] * 10)}]\n" for n in range(9))
    for name, text in {"aliases": aliases, "itself": "a: &a [*a]\n", "deep": "[" * 5000, "nul": "a: \0"}.items():
        (hour.folder / f"{name}.yaml").write_text(text)
        hour.run(f"profile: {name}", ["list", "--profile", f"{name}.yaml"], 2)
    os.mkfifo(hour.folder / "pipe.yaml")
    for name in ("pipe.yaml", "corpus", "../../../etc/passwd", "/etc/passwd.yaml", "[[[[", f"{WITH_PASSWORD}.yaml"):
        hour.run(f"profile: {name.replace(PASSWORD, '***')}", ["list", "--profile", name], 2)
    for name in ("\x1b[31mred\x07\u202e.yaml", "[[[[ [bold]{x}.yaml", "caf\udce9.yaml", "-.yaml"):
        named = "a \x1b[2J \x07 [red]"
        Path(hour.folder, name).write_text(yaml.safe_dump(plain | {"name": named}))
        for words in (["status"], ["show", "nothing"]):
            shown = f"{words[0]}, profile {name!a}"
            hour.run(shown, [*words, f"--profile={name}"], 2 if "\udce9" in name else 1 if words[1:] else 0)


def attack_by_option(hour: Hour) -> None:
    """Run commands whose ids, sources, files and urls attack."""
    for name in ("caf\udce9", KEY, "../../../etc/passwd", "%s%n[bold]", "\x1b[2J", "-1", "'; drop table batches; --"):
        shown = ascii(name.replace(KEY, "the key"))
        hour.run(f"report, batch id {shown}", ["report", f"--batch-id={name}", "--profile", hour.profile], 1, 2)
        hour.run(f"show {shown}", ["show", f"--name={name}", "--profile", hour.profile], 1, 2)
    source = ["refresh", "--profile", hour.profile, "--source.kind", "files", "--source.paths"]
    hour.run("source: password in a url", [*source, f"ftp://user:{PASSWORD}@127.0.0.1/a"], 2)
    hour.run("source: nothing at a url", [*source, "http://127.0.0.1:9/\x1b[2J"], 1, 2)
    hour.run("source: glob of brackets", [*source, "[[[["], 2)
    hour.run("recipe: a file of the system", ["cycle", "--recipe", "/etc/passwd", "--profile", hour.profile], 2)
    hour.run("preview: password in --url", ["preview", "--url", WITH_PASSWORD, "--profile", hour.profile], 1, 2)
    for what, password in {"a password": "hostile-91+Qx", "no url": PASSWORD}.items():
        api = {"PREFECT_API_URL": f"http://user:{password}@127.0.0.1:9/api"}
        said = hour.run(f"list runs: {what} in PREFECT_API_URL", ["list", "runs", "--profile", hour.profile], 1, **api)
        hour.note(iter([Check("none of that password", "not told", "-hostile" not in said and "hostile-" not in said)]))


def main() -> int:
    """Print the table; return 1 if a line of it is not as it must be."""
    print("| What | Exit | It says | As it must be |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as kept, hostile_server() as server:
        folder = Path(kept)
        with prefect_server(folder) as api_url:
            hour = Hour(folder, api_url, server)
            for part in (read_corpus, run_cycles, ask_bad_servers, attack_by_profile, attack_by_option):
                part(hour)
        hour.note(look_for(SECRETS, hour.store, folder / "prefect"))
        try:
            hour.note(open_all(hour.data))
        except pytest.skip.Exception as missing:
            hour.note(iter([Check("pages", str(missing), True)]))
    num_bad = sum(not row.is_well for row in hour.rows)
    print(f"\n{len(hour.rows)} rows, {num_bad} not as they must be")
    return int(num_bad > 0)


if __name__ == "__main__":
    sys.exit(main())
