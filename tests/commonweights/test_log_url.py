"""A cooperative whose log is in PostgreSQL, as its operator and members use it."""

import json
from pathlib import Path

import pytest

from governance_hooks.paths import LOG_URL
from tests.postgres import Server


def test_doctor_says_where_the_log_is(coop, home: Path) -> None:
    assert f"1 entries in {home / 'log.sqlite'}" in coop("-C", home, "doctor").out


def test_a_password_on_the_command_line_is_refused_and_not_repeated(coop, keys: dict[str, Path], tmp_path: Path) -> None:
    done = coop("init", tmp_path / "grain", "--name", "grain", "--founder", keys["anna"], "--log-url", "postgresql://me:hunter2@127.0.0.1:1/grain")
    assert done.code == 2
    assert "COOP_LOG_URL" in done.err
    assert "hunter2" not in done.err + done.out
    assert not (tmp_path / "grain").exists()


def test_a_server_that_does_not_answer_is_named_and_nothing_is_founded(coop, keys: dict[str, Path], tmp_path: Path) -> None:
    done = coop("init", tmp_path / "grain", "--name", "grain", "--founder", keys["anna"], "--log-url", "postgresql://me@127.0.0.1:1/grain")
    assert done.code == 1
    assert "cannot open the log postgresql://me@127.0.0.1:1/grain" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "grain" / "cooperative.json").exists()


@pytest.mark.postgres
def test_the_commands_work_on_postgresql_as_on_sqlite(coop, keys: dict[str, Path], tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    home, url = tmp_path / "grain", postgres.url("postgres", postgres.new_schema())
    founders = [argument for name in ("anna", "bela", "caro") for argument in ("--founder", keys[name])]
    assert coop("init", home, "--name", "grain", *founders, "--log-url", url).code == 0
    assert not (home / "log.sqlite").exists()
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"]).code == 0
    assert coop("-C", home, "audit").code == 0
    assert coop("-C", home, "log", "export", tmp_path / "tiles").code == 0
    pin = json.loads((home / "cooperative.json").read_bytes())["coop"]
    assert coop("audit", "--tiles", tmp_path / "tiles", "--pin", pin).code == 0
    doctor = coop("-C", home, "doctor")
    assert doctor.code == 0
    assert "2 entries in postgresql://coop@/postgres" in doctor.out
    monkeypatch.setenv(LOG_URL, postgres.url(postgres.new_database()))
    done = coop("-C", home, "doctor")
    assert done.code == 1
    assert "does not exist" in done.out
    assert coop("-C", home, "status").code == 1
