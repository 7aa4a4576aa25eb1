"""Where a log may be kept, what is said when it cannot be reached, and who waits for whom."""

import os
import threading
import time
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy.engine import make_url

from governance_hooks import database as rules
from governance_hooks.cooperative import Cooperative
from governance_hooks.database import parse_url
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.log import Log
from governance_hooks.paths import LOG_URL, Paths
from tests.postgres import BOTH, PASSWORD, Database, Server
from tests.village import Village, found


def note(size: int, root: bytes) -> str:
    return f"{size} {root.hex()}"


def guarded(server: Server, database: str, password: str, port: int | None = None) -> str:
    return f"postgresql://guarded:{quote(password, safe='')}@127.0.0.1:{port or server.port}/{database}"


@pytest.mark.parametrize("url", ["mysql://me@host/db", "postgresql+asyncpg://me@host:x/db", "log.sqlite", "", "postgresql://me@host/db?password=secret"])
def test_what_is_no_database_of_a_log_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        parse_url(url)


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@host:hunter2/db", "postgresql://me:hunter2/x@host:port/db", "mysql://me:hunter2@h/d", "x:hunter2"])
def test_an_address_that_cannot_be_read_shows_no_password(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        Log(url)
    assert "hunter2" not in str(caught.value) + repr(caught.value.as_dict())
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.postgres
def test_the_password_opens_the_log_and_is_shown_nowhere(postgres: Server) -> None:
    name = postgres.new_database()
    with psycopg.connect(postgres.conninfo(name), autocommit=True) as owner:
        owner.execute("GRANT CREATE ON SCHEMA public TO guarded")
    with Log.open(make_url(guarded(postgres, name, PASSWORD))) as log:
        log.append([b"one"], expected_size=0, note=note)
        assert log.place == f"postgresql://guarded@127.0.0.1:{postgres.port}/{name}"
    for url, what in (
        (guarded(postgres, name, "wrong-" + PASSWORD), "password authentication failed"),
        (guarded(postgres, name, PASSWORD, port=1), "cannot open the log"),
        (guarded(postgres, "nowhere", PASSWORD), "does not exist"),
        (guarded(postgres, name, PASSWORD) + "?no_such_option=1", "invalid"),
    ):
        with pytest.raises(CoopError, match=what) as caught:
            Log(url)
        assert PASSWORD not in str(caught.value)
        assert "next:" in str(caught.value)


@pytest.mark.postgres
def test_a_reader_who_may_only_select_reads_and_cannot_append(postgres: Server) -> None:
    name = postgres.new_database()
    with Log(postgres.url(name)) as log:
        log.append([b"one"], expected_size=0, note=note)
    with psycopg.connect(postgres.conninfo(name), autocommit=True) as owner:
        owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guarded")
    with Log(guarded(postgres, name, PASSWORD), read_only=True) as reader:
        assert list(reader.entries()) == [b"one"]
        with pytest.raises(CoopError, match="cannot write the log"):
            reader.append([b"two"], expected_size=1, note=note)
    with Log(guarded(postgres, name, PASSWORD)) as writer, pytest.raises(CoopError, match="permission denied"):
        writer.append([b"two"], expected_size=1, note=note)


@pytest.mark.postgres
def test_a_writer_needs_no_right_to_change_or_remove_an_entry(postgres: Server) -> None:
    name = postgres.new_database()
    Log(postgres.url(name)).close()
    with psycopg.connect(postgres.conninfo(name), autocommit=True) as owner:
        owner.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO guarded")
        owner.execute("GRANT UPDATE ON tile TO guarded")
    with Log(guarded(postgres, name, PASSWORD)) as log:
        for size in (0, 300, 600):
            log.append([b"%d" % i for i in range(300)], expected_size=size, note=note)
        assert log.size == 900
    with psycopg.connect(guarded(postgres, name, PASSWORD), autocommit=True) as writer:
        for sql in ("DROP TRIGGER entry_append_only ON entry", "DELETE FROM entry", "UPDATE entry SET note = ''", "TRUNCATE entry"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                writer.execute(sql)


@pytest.mark.postgres
def test_a_server_that_acknowledges_before_it_writes_is_refused(postgres: Server) -> None:
    name = postgres.new_database()
    with psycopg.connect(postgres.conninfo(name), autocommit=True) as owner:
        try:
            for value in ("off", "on"):
                owner.execute(f"ALTER SYSTEM SET fsync = {value}")
                owner.execute("SELECT pg_reload_conf()")
                while owner.execute("SHOW fsync").fetchone() != (value,):
                    time.sleep(0.01)
                if value == "off":
                    with pytest.raises(CoopError, match="has not written to disk"):
                        Log(postgres.url(name))
        finally:
            owner.execute("ALTER SYSTEM RESET fsync")
            owner.execute("SELECT pg_reload_conf()")
    Log(postgres.url(name)).close()


@pytest.mark.postgres
def test_commits_are_durable_where_the_server_says_they_need_not_be(postgres: Server) -> None:
    name, seen = postgres.new_database(), []
    with psycopg.connect(postgres.conninfo(name), autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with Log(postgres.url(name)) as log, log._database.writing() as cursor:
        seen = cursor.execute("SHOW synchronous_commit").fetchone()
    assert seen == ("on",)


@BOTH
def test_positions_have_64_bits(database: Database) -> None:
    with Log.open(database("log")) as log, database.raw("log") as raw:
        raw.execute("INSERT INTO entry VALUES (?, ?, ?)", (2**40, "far", b"far"))
        raw.execute("INSERT INTO tile VALUES (?, ?, ?)", (1, 2**40, b"far" * 32))
        assert log.size == 2**40 + 1
        assert list(log.entries(2**40)) == [b"far"]
        assert list(log.checkpoints(2**40)) == [(2**40 + 1, "far")]
        assert log.tile(1, 2**40, 3) == b"far" * 32


@BOTH
def test_a_slow_reader_sees_what_there_was_and_holds_up_nobody(database: Database) -> None:
    with Log.open(database("log")) as log, Log.open(database("log"), read_only=True) as reader:
        log.append([b"%d" % i for i in range(1000)], expected_size=0, note=note)
        slow = reader.entries()
        assert next(slow) == b"0"
        log.append([b"late"], expected_size=1000, note=note)
        assert list(slow) == [b"%d" % i for i in range(1, 1000)]
        assert list(reader.entries(998)) == [b"998", b"999", b"late"]
        assert list(reader.entries(5, 7)) == [b"5", b"6"]
        assert list(reader.entries(2000)) == []


@BOTH
def test_a_writer_waits_for_another_one_and_then_says_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "WAIT_S", 1)
    with Log.open(database("log")) as first, Log.open(database("log")) as second:
        with first.exclusive(), pytest.raises(CoopError, match="another process has been writing to the log for 1 s: nothing was appended"):
            second.append([b"two"], expected_size=0, note=note)
        done: list[str] = []
        with first.exclusive():
            waiting = threading.Thread(target=lambda: done.append(second.append([b"two"], expected_size=1, note=note)))
            waiting.start()
            first.append([b"one"], expected_size=0, note=note)
            assert not done
        waiting.join()
        assert done
        assert list(first.entries()) == [b"one", b"two"]


@BOTH
def test_threads_of_one_log_take_turns(database: Database) -> None:
    with Log.open(database("log")) as log:

        def work(name: str) -> None:
            for i in range(20):
                with log.exclusive():
                    log.append([f"{name} {i}".encode()], expected_size=log.size, note=note)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        entries = list(log.entries())
        assert sorted(entries) == sorted(f"{name} {i}".encode() for name in "abcd" for i in range(20))
        for name in (b"a", b"b", b"c", b"d"):
            assert [e for e in entries if e.startswith(name)] == [b"%s %d" % (name, i) for i in range(20)]


@BOTH
def test_of_a_turn_with_a_failed_append_nothing_is_kept(database: Database) -> None:
    def broken(size: int, root: bytes) -> str:
        raise CoopError("no key")

    with Log.open(database("log")) as log:
        with pytest.raises(CoopError, match="nothing of it is kept"), log.exclusive(), pytest.raises(CoopError, match="no key"):
            log.append([b"one"], expected_size=0, note=broken)
        assert log.size == 0
        log.append([b"one"], expected_size=0, note=note)


@pytest.mark.postgres
def test_a_writer_that_stalls_loses_the_write_lock(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_STALLED_S", 1)
    name = postgres.new_database()
    with Log(postgres.url(name)) as first, Log(postgres.url(name)) as second:

        def stalled() -> None:
            with first.exclusive():
                second.append([b"other"], expected_size=0, note=note)  # waits until the server has ended the stalled one
                first.append([b"mine"], expected_size=0, note=note)

        with pytest.raises(CoopError, match="cannot write the log"):
            stalled()
        first.append([b"mine"], expected_size=1, note=note)
        assert list(second.entries()) == [b"other", b"mine"]


@pytest.mark.postgres
def test_an_open_log_outlives_a_restart_of_the_server(postgres: Server) -> None:
    with Log(postgres.url(postgres.new_database())) as log:
        log.append([b"one"], expected_size=0, note=note)
        postgres.stop("immediate")
        try:
            for _ in range(2):
                with pytest.raises(CoopError, match="the log"):
                    log.append([b"two"], expected_size=1, note=note)
        finally:
            postgres.start()
        log.append([b"two"], expected_size=1, note=note)
        assert list(log.entries()) == [b"one", b"two"]


def lose_the_answer(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next commit of this log be one whose answer is lost on the way."""
    commit = psycopg.Connection.commit

    def lost(connection: psycopg.Connection) -> None:
        commit(connection)
        if log._database._writer is not None:
            monkeypatch.setattr(psycopg.Connection, "commit", commit)
            connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(psycopg.Connection, "commit", lost)


POSTGRES = pytest.mark.parametrize("database", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)


@POSTGRES
def test_a_log_that_lost_the_answer_to_a_commit_does_not_say_nothing_was_appended(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with Log.open(database("log")) as log:
        lose_the_answer(log, monkeypatch)
        with pytest.raises(CoopError, match="lost during a commit") as caught:
            log.append([b"one"], expected_size=0, note=note)
        assert "nothing was appended" not in str(caught.value)
        assert list(log.entries()) == [b"one"]
        log.append([b"two"], expected_size=1, note=note)
        assert log.checkpoint() == note(2, log.root())


@POSTGRES
def test_a_cooperative_that_lost_the_answer_to_a_commit_looks_whether_the_entry_is_there(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_the_answer(village.coop.log, monkeypatch)
    assert village.consent(village.members[0]).author == village.members[0]
    village.consent(village.members[1])
    assert village.coop.register.size == village.coop.log.size == 3
    village.coop.proof().replay(village.coop.pin)


@POSTGRES
def test_a_connection_lost_before_the_commit_appends_nothing_and_the_next_append_goes_on(village: Village) -> None:
    def cut(size: int, root: bytes) -> str:
        village.coop.log._database._held.connection.close()
        return note(size, root)

    with pytest.raises(CoopError, match="nothing was appended"):
        village.coop.log.append([b"lost"], expected_size=1, note=cut)
    village.consent(village.members[0])
    assert village.coop.log.size == 2


@BOTH
def test_a_folder_finds_its_log_where_it_was_founded(village: Village, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(village.root)
    assert paths.log == (database.url("village") and parse_url(database("village"))) or village.root / "log.sqlite"
    assert (village.root / "log.sqlite").exists() == (database.server is None)
    monkeypatch.setenv(LOG_URL, "sqlite:///" + str(village.root / "elsewhere"))
    with pytest.raises(CoopError, match="elsewhere is empty"), Cooperative.open(village.root):
        pass
    monkeypatch.setenv(LOG_URL, "")
    with Cooperative.open(village.root, read_only=True) as coop:
        assert coop.register.size == 1


@pytest.mark.postgres
def test_the_password_of_the_environment_is_not_kept_in_the_folder(postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = postgres.new_database()
    with psycopg.connect(postgres.conninfo(name), autocommit=True) as owner:
        owner.execute("GRANT CREATE ON SCHEMA public TO guarded")
    monkeypatch.setenv(LOG_URL, guarded(postgres, name, PASSWORD))
    found(tmp_path / "village")
    for path in (tmp_path / "village").rglob("*"):
        assert not path.is_file() or (b"correct" not in path.read_bytes() and quote(PASSWORD, safe="").encode() not in path.read_bytes())
    with Cooperative.open(tmp_path / "village") as coop:
        assert coop.register.size == 1
    monkeypatch.delenv(LOG_URL)
    with pytest.raises(CoopError, match="no password supplied"), Cooperative.open(tmp_path / "village"):
        pass


@BOTH
def test_a_database_with_a_log_takes_no_second_cooperative(village: Village, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = database.url("village") or make_url("sqlite:///" + str(village.root / "log.sqlite"))
    with pytest.raises(BadInput, match="log of another cooperative"):
        found(tmp_path / "second", log=url)
    assert not (tmp_path / "second" / "cooperative.json").exists()
    assert village.coop.log.size == 1


def test_of_a_folder_nobody_may_write_it_is_said_that_reading_needs_that_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for writable, told in ((True, "free space or mend the disk"), (False, f"copy {tmp_path} to where you may write, which SQLite needs even to read")):
        monkeypatch.setattr(os, "access", lambda folder, mode, writable=writable: writable)
        with pytest.raises(CoopError, match=told), rules.Database(f"sqlite:///{tmp_path}/log.sqlite", read_only=True).reading():
            pass
