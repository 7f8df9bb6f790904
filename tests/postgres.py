"""A PostgreSQL server of the tests' own: in a folder that is deleted, on a socket that nobody else finds."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from patience import LIMIT

ROLE = "relay"
ENGINE = "INFOEXCHANGE_TEST_ENGINE"  # `postgres` runs the tests of whole relays on PostgreSQL


def program(name: str) -> str | None:
    """Return the newest program of that name; Debian keeps them outside the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return shutil.which(name) or (str(found[-1]) if found else None)


def _owner() -> str | None:
    """Return the user under which the server runs: it refuses to be root's."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


@contextlib.contextmanager
def running(*settings: str) -> Iterator[Server]:
    """Run a server until the block ends; skip where there is none on this machine."""
    initdb, control = program("initdb"), program("pg_ctl")
    if not initdb or not control:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short, because a socket's path may have 107 bytes
    try:
        owner = _owner()
        if owner:
            shutil.chown(folder, owner)
        server = Server(folder, control, owner)
        server.run(initdb, "-D", str(server.data), "-U", ROLE, "--auth=trust", "-E", "UTF8", "--no-sync")
        server.start(*settings)
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder)


@functools.cache
def _own() -> Server:
    """Return the server of this test process, which ends with it."""
    running_one = running()
    atexit.register(running_one.__exit__, None, None, None)
    return running_one.__enter__()


def store() -> str:
    """Return where the next relay of a test keeps its store: in a database if that is asked for, else in its file."""
    return _own().address() if os.environ.get(ENGINE) == "postgres" else ""


def copied(store: str) -> str:
    """Return where a copy of a store is, if it is in a database."""
    return _own().copy(store) if store else ""


class Server:
    """One server; it listens on a socket in its folder only."""

    def __init__(self, folder: Path, control: str, owner: str | None) -> None:
        self.folder, self.data = folder, folder / "data"
        self._control, self._owner = control, owner
        self._schemas = 0

    def run(self, *command: str) -> None:
        """Run a program as the server's user."""
        done = subprocess.run(
            command, user=self._owner, cwd=self.folder, capture_output=True, text=True, check=False, timeout=LIMIT
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, *settings: str) -> None:
        """Start the server and wait until it answers."""
        options = ["-k", str(self.folder), "-c", "listen_addresses=", *(f"-c{setting}" for setting in settings)]
        log = str(self.folder / "log")
        # Its output goes to the log: a pipe would be held open by the server for ever.
        self.run(self._control, "start", "-w", "-D", str(self.data), "-l", log, "-o", " ".join(options))

    def stop(self, mode: str) -> None:
        """Stop it: `fast` in order, `immediate` as a crash would."""
        self.run(self._control, "stop", "-w", "-m", mode, "-D", str(self.data))

    def address(self) -> str:
        """Return the address of a schema without tables."""
        import psycopg

        self._schemas += 1
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA s{self._schemas}".encode())
        return f"{self.url()}&options={quote(f'-c search_path=s{self._schemas}')}"

    def copy(self, address: str) -> str:
        """Return the address of a schema with the same tables and rows as another has now."""
        import psycopg

        made = self.address()
        with psycopg.connect(made, autocommit=True) as connection, psycopg.connect(address) as there:
            [schema] = there.execute("SELECT current_schema()").fetchone()
            tables = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
            for (name,) in there.execute(tables).fetchall():
                connection.execute(f"CREATE TABLE {name} (LIKE {schema}.{name} INCLUDING ALL)".encode())
                connection.execute(f"INSERT INTO {name} OVERRIDING SYSTEM VALUE TABLE {schema}.{name}".encode())
        return made

    def url(self) -> str:
        """Return the address of the database."""
        return f"postgresql://{ROLE}@/postgres?host={quote(str(self.folder), safe='')}"
