"""A real PostgreSQL server for tests and benchmarks: made in a temporary folder, reached by a Unix socket, ended with its maker."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from tests.ports import free_port

BOTH = pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
"""Runs a test that takes a place from `database` on both databases."""
PASSWORD = "correct horse: battery/staple@1"


def programs() -> Path | None:
    """Return the folder of the newest `initdb` on this machine, None if there is none."""
    found = [Path(path).parent for path in (shutil.which("initdb"),) if path]
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return (found + [path.parent for path in reversed(debian)] or [None])[0]


class Server:
    """A running server; the system's own cluster is never touched."""

    def __init__(self) -> None:
        made = programs()
        assert made is not None
        self.programs = made
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has at most 107 bytes
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(self.folder, "nobody")
        self.port = free_port()
        self._run("initdb", "-D", "data", "-U", "coop", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        (self.folder / "data" / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self.start()
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE ROLE guarded LOGIN PASSWORD {}").format(PASSWORD))

    def _run(self, program: str, *arguments: str) -> None:
        user = "nobody" if os.geteuid() == 0 else None
        with (self.folder / "tools.log").open("a") as log:
            done = subprocess.run(
                [self.programs / program, *arguments], cwd=self.folder, user=user, group="nogroup" if user else None, extra_groups=[] if user else None,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, env=os.environ | {"LC_ALL": "C"},
            )  # fmt: skip
        assert done.returncode == 0, (self.folder / "tools.log").read_text()

    def start(self) -> None:
        """Start it, or start it again."""
        options = f"-c unix_socket_directories='{self.folder}' -c listen_addresses=127.0.0.1 -c port={self.port}"
        self._run("pg_ctl", "-D", "data", "-l", "server.log", "-o", options, "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is a crash: nothing is flushed, and the next start recovers."""
        self._run("pg_ctl", "-D", "data", "-m", mode, "-w", "stop")

    def conninfo(self, database: str, schema: str = "public") -> str:
        """What psycopg connects to."""
        return psycopg.conninfo.make_conninfo(host=str(self.folder), port=self.port, user="coop", dbname=database, options=f"-csearch_path={schema}")

    def url(self, database: str, schema: str = "public") -> str:
        """What `Log` opens."""
        return f"postgresql://coop@/{database}?host={self.folder}&port={self.port}&options=-csearch_path%3D{schema}"

    def new_schema(self) -> str:
        """Make an empty schema in the database postgres, which is quicker than a database, and return its name."""
        name = "log_" + secrets.token_hex(6)
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(psycopg.sql.Identifier(name)))
        return name

    def new_database(self) -> str:
        """Make an empty database and return its name."""
        name = "log_" + secrets.token_hex(6)
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return name

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop("immediate")
        shutil.rmtree(self.folder)


class Database:
    """Names of logs in one test -> where they are kept."""

    def __init__(self, folder: Path, server: Server | None) -> None:
        self.folder, self.server = folder, server
        self._made: dict[str, str] = {}

    def _schema(self, name: str) -> str:
        assert self.server
        if name not in self._made:
            self._made[name] = self.server.new_schema()
        return self._made[name]

    def url(self, name: str) -> URL | None:
        """The URL of a log on the server; None on SQLite."""
        return make_url(self.server.url("postgres", self._schema(name))) if self.server else None

    def __call__(self, name: str) -> Path | URL:
        """What `Log.open` takes."""
        return self.url(name) or self.folder / name

    @contextmanager
    def raw(self, name: str) -> Iterator[Any]:
        """A connection past our code, with `execute`; a `?` stands for a value."""
        if self.server is None:
            with closing(sqlite3.connect(self.folder / name, isolation_level=None)) as plain:
                yield plain
            return
        with psycopg.connect(self.server.conninfo("postgres", self._schema(name)), autocommit=True, cursor_factory=_QuestionMarks) as connection:
            yield connection


class _QuestionMarks(psycopg.Cursor[Any]):
    def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        return super().execute(query.replace("?", "%s"), *arguments, **options)
