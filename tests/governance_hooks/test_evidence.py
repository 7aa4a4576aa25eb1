"""What two signed notes of one log prove, in plain words; and what they do not."""

from pathlib import Path

import pytest

from governance_hooks import merkle
from governance_hooks.checkpoint import NoteKey, sign_checkpoint
from governance_hooks.errors import CoopError, Refused
from governance_hooks.memory import Memory, roots_at
from governance_hooks.witness.evidence import Evidence, prefix_proof

ENTRIES = [b"%d" % i for i in range(12)]
FORKED = [*ENTRIES[:4], b"another", *ENTRIES[5:]]
TIME = 1_800_000_000


@pytest.fixture
def key(tmp_path: Path) -> NoteKey:
    return NoteKey.generate("log.example/x", tmp_path / "key")


def note(key: NoteKey, entries: list[bytes], size: int, time: int = TIME) -> str:
    return sign_checkpoint(key, size, merkle.root([merkle.leaf_hash(entry) for entry in entries[:size]]), time)


def test_two_roots_of_one_size_are_a_fork(key: NoteKey) -> None:
    found = Evidence(key.verifier, note(key, ENTRIES, 8), note(key, FORKED, 8)).judge()
    assert (found.kind, found.proven) == ("fork", True)
    assert "the key of log.example/x signed 8 entries with root" in found.words


@pytest.mark.parametrize(("old", "new"), [(5, 6), (5, 12), (8, 9), (11, 12)])
def test_a_larger_log_with_another_beginning_is_a_fork_where_the_path_shows_it(old: int, new: int, key: NoteKey) -> None:
    shown = prefix_proof(FORKED, old, new)
    pair = note(key, ENTRIES, old), note(key, FORKED, new)
    assert Evidence(key.verifier, *pair, shown).judge().kind == "fork"
    assert Evidence(key.verifier, *pair[::-1], shown).judge().kind == "fork"
    assert Evidence(key.verifier, *pair).judge().words.startswith("NOT PROVEN")
    for bad in (shown[:-1], (*shown, bytes(32)), (bytes(32), *shown[1:]), prefix_proof(ENTRIES, old, new)):
        assert Evidence(key.verifier, *pair, bad).judge().kind == "none"


def test_an_honest_log_cannot_be_accused(key: NoteKey) -> None:
    """Whatever sizes and times it signed as it grew, and whatever path is put beside them."""
    for old, new in ((1, 2), (4, 8), (5, 11), (12, 12)):
        for shown in ((), prefix_proof(ENTRIES, old, new), prefix_proof(FORKED, old, new), (bytes(32),) * 5):
            pair = note(key, ENTRIES, old, TIME), note(key, ENTRIES, new, TIME + 9)
            for evidence in (Evidence(key.verifier, *pair, shown), Evidence(key.verifier, *pair[::-1], shown)):
                assert not evidence.judge().proven


def test_fewer_entries_at_a_later_time_are_a_rollback(key: NoteKey) -> None:
    found = Evidence(key.verifier, note(key, ENTRIES, 8, TIME), note(key, ENTRIES, 3, TIME + 1)).judge()
    assert found.kind == "rollback"
    assert "5 were taken back" in found.words
    assert Evidence(key.verifier, note(key, ENTRIES, 8, TIME), note(key, ENTRIES, 3, TIME)).judge().kind == "none"


def test_notes_the_log_did_not_sign_are_evidence_of_nothing(key: NoteKey, tmp_path: Path) -> None:
    other = NoteKey.generate("log.example/x", tmp_path / "other")
    good = note(key, ENTRIES, 8)
    for bad in (note(other, FORKED, 8), good.replace("\n8\n", "\n9\n"), "", "nonsense"):
        with pytest.raises(Refused):
            Evidence(key.verifier, good, bad).judge()
        with pytest.raises(Refused):
            Evidence(key.verifier, bad, good).judge()


def test_evidence_is_read_back_and_damaged_files_are_refused(key: NoteKey, tmp_path: Path) -> None:
    made = Evidence(key.verifier, note(key, ENTRIES, 5), note(key, FORKED, 9), prefix_proof(FORKED, 5, 9))
    folder = made.keep(tmp_path / "kept")
    assert folder is not None
    assert made.keep(tmp_path / "kept") == folder
    assert Evidence.read(folder) == made
    for name, bad in (
        ("log.vkey", b"x"),
        ("seen.checkpoint", b"\xff"),
        ("seen.checkpoint", b"x" * 70_000),
        ("consistency", b"AAAA\n" * 100),
        ("consistency", b"?\n"),
    ):
        good = (folder / name).read_bytes()
        (folder / name).write_bytes(bad)
        with pytest.raises(CoopError):
            Evidence.read(folder).judge()
        (folder / name).write_bytes(good)
    (folder / "seen.checkpoint").unlink()
    with pytest.raises(CoopError, match="cannot read the evidence"):
        Evidence.read(folder)


@pytest.mark.parametrize(
    ("entries", "size", "time", "kind"), [(FORKED, 11, TIME + 1, "fork"), (FORKED, 8, TIME + 1, "fork"), (ENTRIES, 5, TIME + 1, "rollback")]
)
def test_what_the_memory_keeps_verifies_as_evidence(entries: list[bytes], size: int, time: int, kind: str, key: NoteKey, tmp_path: Path) -> None:
    memory, known, seen = Memory("sha256:" + "a" * 64, tmp_path), note(key, ENTRIES, 8), note(key, entries, size, time)
    root_at = roots_at(entries[:size], [8, size]).get
    with pytest.raises(Refused, match="coop witness evidence"):
        memory.check(known, seen, key.verifier, root_at, entries=lambda: entries)
    (folder,) = (tmp_path / "evidence").iterdir()
    assert Evidence.read(folder).judge().kind == kind
