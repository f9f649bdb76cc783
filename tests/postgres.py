"""A Postgres of one's own, as a site has it: for Prefect's server, and for catalogues of stores. It can be killed."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

USER = "gain"

SECONDS = 60
"""How long processes may take to end that were killed."""

OPTIONS = "-c listen_addresses=127.0.0.1 -c fsync=off -c lc_messages=C"


@dataclass(frozen=True)
class Postgres:
    """A running Postgres on this machine; its log is ``log`` in ``folder``.

    Attributes:
        programs: Folder of pg_ctl and createdb.
        folder: Folder of its data, which its own user can reach: root's it cannot.
        password: Password that it asks for; empty if it trusts everybody on this machine.
    """

    programs: Path
    folder: Path
    port: int
    password: str = ""
    host: str = "127.0.0.1"
    user: str = USER

    def words(self, database: str = "postgres") -> str:
        """Return where a database is, as libpq and DuckLake take it."""
        return f"host={self.host} port={self.port} user={self.user} dbname={database}"

    def url(self, database: str = "postgres", scheme: str = "postgresql") -> str:
        """Return where a database is, as SQLAlchemy and psycopg take it."""
        return f"{scheme}://{self.user}@{self.host}:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> "psycopg.Connection[Any]":
        import psycopg

        return psycopg.connect(self.words(database), password=self.password or None, autocommit=True)

    def create(self, database: str) -> str:
        """Make a database, and return its name."""
        with self.connect() as session:
            session.execute(f"create database {database}".encode())
        return database

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} {OPTIONS}"
        self._ask("pg_ctl", "-D", f"{self.folder}/db", "-l", f"{self.folder}/log", "-o", options, "-w", "start")

    def stop(self, how: str = "immediate") -> None:
        """Stop it: ``fast`` as a person does, ``immediate`` as a crash does; ``start`` may follow."""
        self._ask("pg_ctl", "-D", f"{self.folder}/db", "-m", how, "-w", "stop")

    def kill(self) -> None:
        """End it at once by SIGKILL, and wait until the processes that it had are gone too."""
        pid = int((self.folder / "db" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + SECONDS
        while any(Path(f"/proc/{one}").exists() for one in (pid, *children)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (self.folder / "db" / "postmaster.pid").unlink()

    def kill_sessions(self) -> int:
        """Send SIGKILL to the processes of all sessions, after which Postgres ends and starts all of its own anew."""
        with self.connect() as session:
            asked = "select pid from pg_stat_activity where backend_type = 'client backend' and pid != pg_backend_pid()"
            found = session.execute(asked).fetchall()
        for (pid,) in found:
            with suppress(ProcessLookupError):  # after the first, Postgres ends the others itself
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def _ask(self, program: str, *words: str) -> None:
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        asked = [*as_user, str(self.programs / program), *words]
        done = subprocess.run(asked, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def find_programs() -> Path | None:
    """Return the folder of the newest Postgres' programs, or None where there is none."""
    on_path = [Path(found).resolve().parent for found in (shutil.which("pg_ctl"),) if found]
    of_debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    return next((one for one in [*on_path, *reversed(of_debian)] if (one / "pg_ctl").exists()), None)


@contextmanager
def postgres(password: str = "") -> Iterator[Postgres]:
    """Keep a Postgres running for the block, whose data lies in a temporary folder.

    Args:
        password: Password that it asks for. Default: it trusts everybody on this machine.
    """
    programs = find_programs()
    assert programs, "no Postgres on this machine: install the package postgresql"
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # its user cannot reach a folder of root's
    words = folder / "password"
    words.write_text(password)
    if os.geteuid() == 0:
        for one in (folder, words):
            shutil.chown(one, "postgres", "postgres")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = Postgres(programs, folder, port, password)
    asked = f"-A scram-sha-256 --pwfile {words}" if password else "-A trust"
    made._ask("pg_ctl", "init", "-D", f"{folder}/db", "-o", f"{asked} -U {USER} -E UTF8 --locale=C")
    made.start()
    try:
        yield made
    finally:
        with suppress(AssertionError):  # a test may have stopped it
            made.stop()
        shutil.rmtree(folder)
