"""A witness: what it answers (C2SP tlog-witness), what it keeps, and that it never signs two roots of one size, killed or not."""

import base64
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance_hooks import merkle
from governance_hooks.checkpoint import NoteKey, read_signed, sign_checkpoint
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.note import signature_line
from governance_hooks.witness.evidence import Evidence
from governance_hooks.witness.protocol import MAX_REQUEST, Answer, Request
from governance_hooks.witness.state import Witness

TIME = 1_800_000_000


class Tree:
    """A log's branch: leaves, and what its key signs over the first n of them."""

    def __init__(self, key: NoteKey, *leaves: str) -> None:
        self.key, self.hashes = key, [merkle.leaf_hash(leaf.encode()) for leaf in leaves]

    def root(self, size: int) -> bytes:
        return merkle.root(self.hashes[:size])

    def note(self, size: int, time: int = TIME) -> str:
        return sign_checkpoint(self.key, size, self.root(size), time)

    def path(self, old: int, size: int) -> tuple[bytes, ...]:
        return tuple(merkle.consistency_proof(old, size, lambda start, stop: merkle.root(self.hashes[start:stop]))) if old else ()

    def request(self, old: int, size: int, time: int = TIME) -> bytes:
        return Request(old, self.path(old, size), self.note(size, time)).dumps()


@pytest.fixture
def log(tmp_path: Path) -> NoteKey:
    return NoteKey.generate("log.example/x", tmp_path / "log.key")


@pytest.fixture
def tree(log: NoteKey) -> Tree:
    return Tree(log, *"abcdefghij")


@pytest.fixture
def fork(log: NoteKey) -> Tree:
    """The same log's key over a history that differs from the third entry on."""
    return Tree(log, *"abXdefghij")


@pytest.fixture
def witness(tmp_path: Path, log: NoteKey) -> Witness:
    made = replace(Witness.create(tmp_path / "witness", "w.example"), clock=lambda: TIME + 5)
    made.trust(log.verifier)
    return made


def evidence(witness: Witness) -> list[str]:
    return sorted(Evidence.read(folder).judge().kind for folder in (witness.root / "evidence").glob("*"))


def test_a_growing_log_is_cosigned_and_the_cosignature_verifies(witness: Witness, tree: Tree) -> None:
    old = 0
    for size in (1, 2, 5, 5, 10):
        answer = witness.add_checkpoint(tree.request(old, size))
        assert answer.status == 200
        checkpoint, _ = read_signed(tree.note(size), tree.key.verifier)
        assert witness.key.cosigner.verify(checkpoint, answer.body.rstrip("\n")) == TIME + 5
        old = size
    assert evidence(witness) == []


def test_the_old_size_must_be_the_one_cosigned_last(witness: Witness, tree: Tree) -> None:
    assert witness.add_checkpoint(tree.request(2, 5)) == Answer(409, "0\n", "text/x.tlog.size")
    witness.add_checkpoint(tree.request(0, 5))
    for old in (0, 3):
        assert witness.add_checkpoint(tree.request(old, 7)) == Answer(409, "5\n", "text/x.tlog.size")
    assert witness.add_checkpoint(Request(8, (), tree.note(7)).dumps()).status == 400
    assert witness.add_checkpoint(tree.request(5, 7)).status == 200


def test_an_unknown_log_and_an_unsigned_checkpoint_are_told_apart(witness: Witness, tree: Tree, tmp_path: Path) -> None:
    stranger = Tree(NoteKey.generate("other.example", tmp_path / "o"), "a")
    thief = Tree(NoteKey.generate("log.example/x", tmp_path / "t"), "a")
    assert witness.add_checkpoint(stranger.request(0, 1)).status == 404
    assert witness.add_checkpoint(thief.request(0, 1)).status == 403
    flipped = tree.request(0, 1).replace(b"\n1\n", b"\n2\n")
    assert witness.add_checkpoint(flipped).status == 403
    assert witness.logs()[0].checkpoint is None


def test_signatures_of_others_are_ignored_and_a_bad_one_of_the_log_is_not(witness: Witness, tree: Tree, tmp_path: Path) -> None:
    note, other = tree.note(3), Tree(NoteKey.generate("log.example/x", tmp_path / "o"), "a").note(1).split("\n")[4]
    assert witness.add_checkpoint(Request(0, (), note + other + "\n").dumps()).status == 200
    assert other not in witness.logs()[0].served
    lines = note.split("\n")
    for number in (4, 5):
        name, blob = lines[number].split(" ")[1], base64.b64decode(lines[number].split(" ")[2])
        bad = signature_line(name, blob[:4], blob[4:-1] + bytes([blob[-1] ^ 1])).rstrip("\n")
        for changed in ([*lines[:number], bad, *lines[number + 1 :]], [*lines[:-1], bad, ""]):
            assert witness.add_checkpoint(Request(3, (), "\n".join(changed)).dumps()).status == 403
    only_timed = "\n".join([*lines[:4], lines[5], ""])
    assert witness.add_checkpoint(Request(3, (), only_timed).dumps()).status == 403


def test_a_proof_that_does_not_hold_is_refused(witness: Witness, tree: Tree) -> None:
    assert witness.add_checkpoint(Request(0, (bytes(32),), tree.note(3)).dumps()).status == 422
    witness.add_checkpoint(tree.request(0, 3))
    good = tree.path(3, 8)
    for path in ((), good[:-1], (*good, bytes(32)), (bytes(32), *good[1:]), good[::-1]):
        assert witness.add_checkpoint(Request(3, path, tree.note(8)).dumps()).status == 422
    assert witness.add_checkpoint(Request(3, (bytes(32),), tree.note(3)).dumps()).status == 422
    assert witness.add_checkpoint(tree.request(3, 8)).status == 200


def test_a_fork_of_one_size_is_refused_and_proven(witness: Witness, tree: Tree, fork: Tree) -> None:
    witness.add_checkpoint(tree.request(0, 5))
    assert witness.add_checkpoint(fork.request(5, 5)).status == 422
    assert witness.add_checkpoint(fork.request(0, 5)).status == 409
    assert evidence(witness) == ["fork"]
    assert witness.logs()[0].checkpoint.root == tree.root(5)  # type: ignore[union-attr]


def test_a_larger_fork_is_refused_and_kept(witness: Witness, tree: Tree, fork: Tree) -> None:
    witness.add_checkpoint(tree.request(0, 5))
    assert witness.add_checkpoint(fork.request(5, 8)).status == 422
    (folder,) = (witness.root / "evidence").iterdir()
    assert "NOT PROVEN" in Evidence.read(folder).judge().words


def test_a_rollback_is_refused_and_by_its_own_later_date_proven(witness: Witness, tree: Tree) -> None:
    witness.add_checkpoint(tree.request(0, 5))
    assert witness.add_checkpoint(tree.request(0, 3, TIME - 100)) == Answer(409, "5\n", "text/x.tlog.size")
    assert evidence(witness) == ["none"]  # an old checkpoint somebody still had: worth keeping, no proof
    assert witness.add_checkpoint(tree.request(3, 3, TIME + 1)) == Answer(409, "5\n", "text/x.tlog.size")
    assert evidence(witness) == ["none", "rollback"]


def test_evidence_does_not_fill_the_disk(witness: Witness, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance_hooks.witness.evidence.MAX_KEPT", 3)
    witness.add_checkpoint(tree.request(0, 5))
    for time in range(10):
        witness.add_checkpoint(tree.request(0, 3, TIME + 1 + time))
    assert evidence(witness) == ["rollback"] * 3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"\n",
        lambda data: data[:-1],
        lambda data: data.replace(b"old 0", b"old 00"),
        lambda data: data.replace(b"old 0", b"old -1"),
        lambda data: data.replace(b"old 0", b"old +0"),
        lambda data: data.replace(b"old 0", b"old  0"),
        lambda data: data.replace(b"old 0", b"OLD 0"),
        lambda data: data.replace(b"old 0", b"old 0\r"),
        lambda data: data.replace(b"old 0", "old ٠".encode()),
        lambda data: data.replace(b"old 0", b"old " + b"9" * 5000),
        lambda data: data.replace(b"old 0\n", b"old 0\n" + b"AAAA\n"),
        lambda data: data.replace(b"old 0\n", b"old 0\n" + base64.b64encode(bytes(32)).rstrip(b"=") + b"\n"),
        lambda data: data.replace(b"old 0\n", b"old 0\n" + (base64.b64encode(bytes(32)) + b"\n") * 64),
        lambda data: data.replace(b"\n\n", b"\n", 1),
        lambda data: data.replace(b"\n\n", b"\n\n\n", 1),
        lambda data: data.replace(b"\n3\n", b"\n03\n"),
        lambda data: data.replace(b"\n3\n", b"\n3\n\xff\n"),
        lambda data: data.replace(b"\n3\n", b"\n3\x00\n"),
        lambda data: data.replace(b"log.example/x\n3", b"\n3"),
        lambda data: data + b"x" * MAX_REQUEST,
        lambda data: b"\xff\xfe" * 100,
        lambda data: os.urandom(500),
    ],
)
def test_garbage_is_refused_and_changes_nothing(spoil: Callable[[bytes], bytes], witness: Witness, tree: Tree) -> None:
    answer = witness.add_checkpoint(spoil(tree.request(0, 3)))
    assert answer.status in (400, 403, 404)
    assert "—" not in answer.body
    assert witness.logs()[0].checkpoint is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: ("old 0\n\n" + text).encode()))
def test_no_bytes_at_all_break_the_reader(data: bytes) -> None:
    try:
        Request.loads(data).claim()
    except Refused:
        return
    assert Request.loads(data).dumps() == data


def test_an_empty_tree_has_the_root_of_nothing(witness: Witness, tree: Tree) -> None:
    wrong = sign_checkpoint(tree.key, 0, bytes(32), TIME)
    assert witness.add_checkpoint(Request(0, (), wrong).dumps()).status == 422
    assert witness.add_checkpoint(tree.request(0, 0)).status == 200
    assert witness.add_checkpoint(tree.request(0, 2)).status == 200


def test_one_origin_has_one_key(witness: Witness, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="another key here"):
        witness.trust(NoteKey.generate("log.example/x", tmp_path / "t").verifier)
    with pytest.raises(Refused, match="cannot watch itself"):
        witness.trust(NoteKey.generate("w.example", tmp_path / "u").verifier)
    with pytest.raises(BadInput, match="witness already"):
        Witness.create(witness.root, "again.example")


def test_two_logs_do_not_mix(witness: Witness, tree: Tree, tmp_path: Path) -> None:
    other = Tree(NoteKey.generate("log.example/y", tmp_path / "y"), *"123")
    witness.trust(other.key.verifier)
    assert witness.add_checkpoint(tree.request(0, 5)).status == 200
    assert witness.add_checkpoint(other.request(0, 2)).status == 200
    assert [known.checkpoint.size for known in witness.logs() if known.checkpoint] == [5, 2]


def test_monitors_get_the_newest_cosigned_note(witness: Witness, tree: Tree) -> None:
    name = hashlib.sha256(b"log.example/x").hexdigest()
    assert witness.served(name) is None
    answer = witness.add_checkpoint(tree.request(0, 4))
    assert witness.served(name) == tree.note(4) + answer.body
    assert witness.served("../logs/" + name) is None
    assert witness.served("0" * 64) is None


def test_a_restarted_witness_goes_on_where_it_was(witness: Witness, tree: Tree, fork: Tree) -> None:
    witness.add_checkpoint(tree.request(0, 5))
    again = replace(Witness.open(witness.root), clock=witness.clock)
    assert again.add_checkpoint(fork.request(5, 5)).status == 422
    assert again.add_checkpoint(tree.request(5, 9)).status == 200


def test_a_clock_that_went_back_signs_nothing(witness: Witness, tree: Tree) -> None:
    witness.add_checkpoint(tree.request(0, 5))
    with pytest.raises(CoopError, match="clock went back"):
        replace(witness, clock=lambda: TIME + 4).add_checkpoint(tree.request(5, 6))
    assert witness.logs()[0].checkpoint.size == 5  # type: ignore[union-attr]


def test_a_damaged_state_signs_nothing(witness: Witness, tree: Tree) -> None:
    witness.add_checkpoint(tree.request(0, 5))
    (path,) = (witness.root / "logs").glob("*/checkpoint")
    good = path.read_text()
    for bad in ("", good.replace("\n5\n", "\n4\n"), tree.note(5), good[:-3], "\x00"):
        path.write_text(bad)
        for request in (tree.request(0, 5), tree.request(5, 6)):
            with pytest.raises(CoopError, match="does not hold"):
                witness.add_checkpoint(request)


def test_a_full_disk_releases_no_cosignature(witness: Witness, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    witness.add_checkpoint(tree.request(0, 5))

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(CoopError, match="No space left"):
            witness.add_checkpoint(tree.request(5, 6))
    assert witness.logs()[0].checkpoint.size == 5  # type: ignore[union-attr]


# Never two roots of one size.

KILLED = """
import os, signal, sys
from pathlib import Path
from governance_hooks.witness.state import Witness
when, real = sys.argv[2], Witness._persist
def persist(self, place, served):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, place, served)
    os.kill(os.getpid(), signal.SIGKILL)
Witness._persist = persist
sys.stdout.buffer.write(Witness.open(Path(sys.argv[1])).add_checkpoint(sys.stdin.buffer.read()).body.encode())
"""


@pytest.mark.parametrize(("when", "size"), [("before", 0), ("between", 5)])
def test_killed_around_the_moment_it_persists_a_witness_never_signs_two_roots(when: str, size: int, witness: Witness, tree: Tree, fork: Tree) -> None:
    """kill -9 before the state is on disk, and between that and the answer: no cosignature left, and the other branch gets none that conflicts."""
    command = [sys.executable, "-c", KILLED, str(witness.root), when]
    done = subprocess.run(command, input=tree.request(0, 5), stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")
    again = replace(Witness.open(witness.root), clock=lambda: 4_000_000_000)
    known = again.logs()[0].checkpoint
    assert (0 if known is None else known.size) == size
    if size:
        assert again.add_checkpoint(fork.request(5, 5)).status == 422
        assert again.add_checkpoint(tree.request(0, 5)) == Answer(409, "5\n", "text/x.tlog.size")
        assert again.add_checkpoint(tree.request(5, 5)).status == 200
    else:
        assert again.add_checkpoint(fork.request(0, 5)).status == 200
        assert again.add_checkpoint(tree.request(5, 5)).status == 422


def test_requests_at_once_are_answered_one_after_the_other(witness: Witness, tree: Tree, fork: Tree) -> None:
    """Two histories race for the same witness, from threads that each open it anew: one of them wins."""
    released: list[tuple[str, int]] = []

    def send(name: str, branch: Tree) -> None:
        mine = replace(Witness.open(witness.root), clock=lambda: TIME + 5)
        old = 0
        for size in range(1, 11):
            for _ in range(3):
                answer = mine.add_checkpoint(branch.request(old, size) if old <= size else b"")
                if answer.status == 200:
                    released.append((name, size))
                    old = size
                    break
                old = min(answer.size if answer.size is not None else old, size)

    threads = [threading.Thread(target=send, args=pair) for pair in (("tree", tree), ("fork", fork)) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one_history(released, {"tree": tree, "fork": fork})
    assert ("tree", 10) in released or ("fork", 10) in released


def one_history(released: list[tuple[str, int]], branches: dict[str, Tree]) -> bool:
    """Whether all cosigned (branch, size) are prefixes of one log."""
    _, longest = max((size, name) for name, size in released)
    return all(branches[name].root(size) == branches[longest].root(size) for name, size in released)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_whatever_it_is_sent_all_it_ever_signs_is_one_history(tmp_path: Path, log: NoteKey, data: st.DataObject) -> None:
    branches = {"a": Tree(log, *"abcdefg"), "b": Tree(log, *"abXdefg"), "c": Tree(log, *"abcdeYg")}
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    witness = replace(Witness.create(root, "w.example"), clock=lambda: TIME)
    witness.trust(log.verifier)
    released: list[tuple[str, int]] = []
    for _ in range(data.draw(st.integers(1, 12))):
        name, size = data.draw(st.sampled_from(sorted(branches))), data.draw(st.integers(1, 7))
        old = data.draw(st.integers(0, size))
        path = branches[data.draw(st.sampled_from(sorted(branches)))].path(old, size)
        if witness.add_checkpoint(Request(old, path, branches[name].note(size)).dumps()).status == 200:
            released.append((name, size))
        if data.draw(st.booleans()):
            witness = replace(Witness.open(root), clock=lambda: TIME)
    assert not released or one_history(released, branches)
    assert [size for _, size in released] == sorted(size for _, size in released)
