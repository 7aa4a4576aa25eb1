"""A cooperative whose contributions are in PostgreSQL, as its members and operator use it."""

import json
from pathlib import Path

import pytest

from commonweights.workspace import STORE_URL
from tests.postgres import Server


def give(coop, home: Path, keys: dict[str, Path], tmp_path: Path, name: str = "anna"):
    rows = [{"inputs": f"pregunta {name} {n}", "targets": f"respuesta {n}", "language_code": "es-MX", "licence": "CC-BY-4.0"} for n in range(30)]
    (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return coop("-C", home, "contribute", tmp_path / f"{name}.jsonl", "--key", keys[name])


@pytest.mark.postgres
def test_contributions_in_postgresql_make_a_build_and_the_folder_remembers_where_they_are(
    coop, home: Path, keys: dict[str, Path], tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_URL, postgres.url("postgres", postgres.new_schema()))
    done = give(coop, home, keys, tmp_path)
    assert done.code == 0, done.err
    assert not (home / "contributions.sqlite").exists()
    monkeypatch.delenv(STORE_URL)
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["anna"]).code == 0
    assert coop("-C", home, "--json", "build", "make", "one", "--heldout", "400").json["records"] == 30


def test_a_password_does_not_get_into_the_folder_or_a_message(coop, home: Path, keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORE_URL, "postgresql://me:hunter2@127.0.0.1:1/grain")
    done = give(coop, home, keys, tmp_path)
    assert done.code == 1
    assert "postgresql://me@127.0.0.1:1/grain" in done.err
    assert "hunter2" not in done.err + done.out
    assert (home / "store.url").read_text() == "postgresql://me@127.0.0.1:1/grain\n"
    monkeypatch.delenv(STORE_URL)
    assert "cannot read the contribution store postgresql://me@127.0.0.1:1/grain" in give(coop, home, keys, tmp_path).err
    assert not (home / "contributions.sqlite").exists()


def test_a_second_store_beside_the_first_is_refused(coop, home: Path, keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert give(coop, home, keys, tmp_path).code == 0
    monkeypatch.setenv(STORE_URL, f"sqlite:///{tmp_path}/other.sqlite")
    done = give(coop, home, keys, tmp_path, "bela")
    assert done.code == 2
    assert "names another store than the one this folder has" in done.err
    assert not (tmp_path / "other.sqlite").exists()
