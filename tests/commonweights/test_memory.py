"""What this machine remembers: a log may only grow, and whoever rolls it back or forks it is told so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from governance_hooks.errors import Refused
from governance_hooks.memory import Memory, roots_at, state_folder
from governance_hooks.merkle import leaf_hash, root
from tests.attacks.forge import fork, truncate
from tests.state import PREFIX, own_folder


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "commonweights"


def pin(home: Path) -> str:
    return str(json.loads((home / "cooperative.json").read_text())["coop"])


def consent(coop, home: Path, key: Path) -> None:  # type: ignore[no-untyped-def]
    done = coop("-C", home, "consent", "give", "--yes", "--key", key)
    assert done.code == 0, done.err


def test_the_first_look_remembers_and_each_append_moves_it_on(coop, home: Path, keys: dict[str, Path], state: Path) -> None:
    memory = Memory(pin(home))
    assert memory.load() is None
    coop("-C", home, "status")
    assert memory.load() == (state / f"{pin(home)[7:]}.checkpoint").read_text()
    consent(coop, home, keys["anna"])
    note = memory.load()
    assert note is not None
    assert note.split("\n")[1] == "2"


def test_watch_reports_what_is_new(coop, home: Path, keys: dict[str, Path], state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: fork(home, keys["anna"], 2))
    done = coop("-C", home, "log", "watch", "--every", "3", "--times", "2")
    assert done.code == 0, done.err
    first, second = done.out.rstrip().split("\n")
    assert "1 entries" in first
    assert "nothing new" in first
    assert "3 entries" in second
    assert "2 consent" in second


def test_watch_stops_at_a_rollback(coop, home: Path, keys: dict[str, Path], state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    consent(coop, home, keys["anna"])
    monkeypatch.setattr("time.sleep", lambda seconds: truncate(home, 1))
    done = coop("-C", home, "log", "watch", "--times", "2")
    assert done.code == 1
    assert "rolled back" in done.err


def test_another_machine_knows_nothing_and_remembers_from_its_first_look(coop, home: Path, keys: dict[str, Path], state: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    consent(coop, home, keys["anna"])
    truncate(home, 1)
    monkeypatch.setenv("XDG_STATE_HOME", str(state.parent.parent / "elsewhere"))
    assert coop("-C", home, "status").code == 0


def test_a_damaged_memory_is_refused_and_named(coop, home: Path, keys: dict[str, Path], state: Path) -> None:
    coop("-C", home, "status")
    path = Memory(pin(home)).path
    path.write_text(path.read_text().replace("\n1\n", "\n2\n"))
    done = coop("-C", home, "status")
    assert done.code == 1
    assert str(path) in done.err
    path.write_bytes(b"\xff")
    assert str(path) in coop("-C", home, "status").err


def test_a_shorter_checkpoint_never_takes_the_place_of_a_longer(coop, home: Path, keys: dict[str, Path], state: Path) -> None:
    coop("-C", home, "status")
    memory = Memory(pin(home))
    short = memory.load()
    assert short is not None
    consent(coop, home, keys["anna"])
    long = memory.load()
    memory.remember(short)
    assert memory.load() == long != short


def test_a_proof_of_an_older_log_is_let_through_only_where_that_is_said(village) -> None:  # type: ignore[no-untyped-def]
    memory, key = Memory(village.coop.pin), village.coop.register.log_key
    old = village.coop.proof()
    village.consent(village.members[0])
    assert "first seen here, at 2" in memory.check_proof(village.coop.proof(), key, memory.load())
    assert "not compared" in memory.check_proof(old, key, memory.load(), older=True)
    with pytest.raises(Refused, match="rolled back"):
        memory.check_proof(old, key, memory.load())


def test_the_state_folder_is_the_one_of_the_standard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/path"):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert state_folder() == tmp_path / ".local" / "state" / "commonweights"


def test_roots_are_those_of_the_prefixes() -> None:
    entries = [b"%d" % i for i in range(40)]
    assert roots_at(entries, [0, 1, 7, 40, 41]) == {size: root([leaf_hash(entry) for entry in entries[:size]]) for size in (0, 1, 7, 40)}


def test_no_test_remembers_in_the_real_home() -> None:
    assert state_folder().parts[-2].startswith(PREFIX)


def test_what_a_killed_test_process_remembered_goes_with_the_next_one_and_what_a_living_one_remembers_stays(tmp_path: Path) -> None:
    code = "import sys, pathlib; from tests.state import own_folder; print(own_folder(pathlib.Path(sys.argv[1])), flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        (folder / "known").write_text("a checkpoint")
        (tmp_path / f"{PREFIX}link").symlink_to(folder)
        first = own_folder(tmp_path)
        assert (folder / "known").is_file()
        other.kill()
    assert folder.is_dir()
    second = own_folder(tmp_path)
    assert (folder.exists(), first.is_dir(), second.is_dir()) == (False, True, True)
