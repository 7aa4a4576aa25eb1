"""Threat 10: the log is rolled back or cut, so that a vote, a halt or a withdrawal never was.

The attacker holds the database, the log's key and older copies of everything. Blocked for whoever looked before: each machine remembers the
last checkpoint it verified, every command refuses a shorter log, and both checkpoints are kept as evidence. A machine that never looked
goes by the age of the checkpoint: an older one than a week starts nothing.
"""

import json
import shutil
from pathlib import Path

import pytest

from governance_hooks.canonical import digest
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import CoopError, Refused
from governance_hooks.gate import MAX_AGE_S, run_gate
from governance_hooks.hooks.guard import Guard
from governance_hooks.memory import Memory
from governance_hooks.proof import Proof, read_proof
from governance_hooks.sshsig import load_private_key
from governance_hooks.statement import shift
from model_card.bundle import PROOF
from model_card.verify import verify
from tests.attacks.forge import broken, history, only_broken, proof_of, request_for, truncate
from tests.attacks.story import RUN, Story
from tests.commonweights.conftest import Coop
from tests.village import CONSENT, Approved, Village


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine remembers."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "commonweights"


def consent(coop: Coop, home: Path, key: Path) -> None:
    done = coop("-C", home, "consent", "give", "--yes", "--key", key)
    assert done.code == 0, done.err


def refused(coop: Coop, home: Path, *words: str) -> None:
    """Every way in says no, in these words."""
    for command in (["status"], ["log"], ["log", "watch", "--times", "1"], ["proof", home / "p.json"], ["log", "export", home / "out"]):
        done = coop("-C", home, *command)
        assert done.code == 1, command
        for word in words:
            assert word in done.err, command
    audit = coop("-C", home, "audit")
    assert audit.code == 1
    for word in words:
        assert word in audit.out
    assert not (home / "p.json").exists()


def evidence(state: Path) -> tuple[int, int]:
    (folder,) = (state / "evidence").iterdir()
    return tuple(int((folder / f"{name}.checkpoint").read_text().split("\n")[1]) for name in ("remembered", "seen"))  # type: ignore[return-value]


def test_a_truncated_database_is_refused(coop: Coop, home: Path, keys: dict[str, Path], state: Path) -> None:
    for name in ("anna", "bela"):
        consent(coop, home, keys[name])
    truncate(home, 2)
    refused(coop, home, "rolled back: it has 2 entries, and had 3")
    assert evidence(state) == (3, 2)


def test_an_older_snapshot_is_refused_and_takes_no_new_entry(coop: Coop, home: Path, keys: dict[str, Path], state: Path) -> None:
    consent(coop, home, keys["anna"])
    shutil.copy(home / "log.sqlite", home / "snapshot")
    consent(coop, home, keys["bela"])
    shutil.copy(home / "snapshot", home / "log.sqlite")
    refused(coop, home, "rolled back: it has 2 entries, and had 3")
    assert coop("-C", home, "consent", "give", "--yes", "--key", keys["caro"]).code == 1
    with Cooperative.open(home, read_only=True) as other:
        assert other.register.size == 2
    assert evidence(state) == (3, 2)


def test_a_log_rolled_back_while_it_is_open_takes_no_entry(coop: Coop, home: Path, keys: dict[str, Path], state: Path) -> None:
    consent(coop, home, keys["anna"])
    signer = load_private_key(keys["bela"])
    with Cooperative.open(home) as open_before:
        truncate(home, 1)
        with pytest.raises(CoopError, match="rolled back while it was open"):
            open_before.state("coop.consent/v1", CONSENT, key=signer, author=open_before.register.known_keys[signer.public.raw])
    refused(coop, home, "rolled back: it has 1 entries, and had 2")


def test_an_export_that_was_rolled_back_is_refused(coop: Coop, home: Path, keys: dict[str, Path], state: Path, tmp_path: Path) -> None:
    consent(coop, home, keys["anna"])
    assert coop("-C", home, "log", "export", tmp_path / "old").code == 0
    consent(coop, home, keys["bela"])
    assert coop("-C", home, "log", "export", tmp_path / "new").code == 0
    new = coop("audit", "--tiles", tmp_path / "new", "--pin", json.loads((home / "cooperative.json").read_text())["coop"])
    assert new.code == 0
    assert "extends the 3 entries remembered here by 0" in new.out
    old = coop("audit", "--tiles", tmp_path / "old", "--pin", json.loads((home / "cooperative.json").read_text())["coop"])
    assert old.code == 1
    assert "rolled back" in old.out


def test_a_proof_that_gets_shorter_stops_a_run(approved: Approved) -> None:
    village = approved.village
    approved.start()
    before = village.coop.proof().dumps()
    guard = Guard(request_for(approved, run=RUN), fresh=lambda: served[0], every_s=0, clock=lambda: village.clock)
    served = [before]
    guard.start()
    village.say("coop.contribution/v1", {"records": 1, "root": digest(1), "languages": {"spa": 1}}, village.members[4])
    served[0] = village.coop.proof().dumps()
    assert guard.stop(force=True) is None
    served[0] = before
    stop = guard.stop(force=True)
    assert stop is not None
    assert (stop.kind, stop.reason) == ("unchecked", "the log was rolled back or rewritten since this run last looked")


def test_a_halt_is_not_cut_off_the_log_for_a_machine_that_knew_it(approved: Approved, tmp_path: Path) -> None:
    village = approved.village
    without = village.coop.proof()
    village.say("coop.halt/v1", {"proposal": approved.proposal, "until": shift(village.clock, 86_400)}, village.members[3])
    broken(run_gate(request_for(approved)), "approval usable", "this approval is halted by the oversight body")
    memory, key = Memory(village.coop.pin, tmp_path / "state"), village.coop.register.log_key
    memory.check_proof(village.coop.proof(), key, None)
    resigned = read_proof(proof_of(village.coop, without.entries, at=village.clock))  # shorter, and freshly signed
    for old in (without, resigned):
        with pytest.raises(Refused, match=r"the log was rolled back: it has .* entries, and had"):
            memory.check_proof(old, key, memory.load())


def test_a_machine_that_never_looked_starts_nothing_on_an_old_checkpoint(approved: Approved) -> None:
    old = approved.village.coop.proof().dumps()
    approved.village.say("coop.withdrawal/v1", {"consent": None}, approved.village.members[0])
    broken(run_gate(request_for(approved)), "consent in force", "3 texts lack a consent in force of 1 member(s)")
    now = shift(approved.village.clock, MAX_AGE_S + 1)
    late = run_gate(request_for(approved, proof=old, now=now))
    broken(late, "checkpoint signed and recent", f"{MAX_AGE_S} s allowed: halts and withdrawals since would go unseen")


def test_entries_cut_off_a_proof_do_not_fit_its_checkpoint(approved: Approved) -> None:
    proof = approved.village.coop.proof()
    cut = Proof(proof.checkpoint, proof.entries[:-1]).dumps()
    broken(run_gate(request_for(approved, proof=cut)), "proof is of this log", "another number of entries than its checkpoint covers")
    left_out = Proof(proof.checkpoint, (*proof.entries[:5], *proof.entries[6:], proof.entries[5])).dumps()
    broken(run_gate(request_for(approved, proof=left_out)), "proof is of this log", "do not hash to the checkpoint's root")


def test_a_withdrawal_cut_off_the_log_before_a_release_is_missed_by_whoever_saw_it(tmp_path: Path) -> None:
    class Cutting(Story):
        def before_release(self, village: Village) -> None:
            self.kept = history(village)
            village.say("coop.withdrawal/v1", {"consent": None}, village.members[4])
            self.memory = Memory(village.coop.pin, tmp_path / "state")
            self.memory.check_proof(village.coop.proof(), village.coop.register.log_key, None)  # the member looks at the log

        def publish(self, village: Village, payload: dict[str, str]) -> bytes:
            whole = read_proof(super().publish(village, payload)).entries
            return proof_of(village.coop, [*self.kept, *whole[len(self.kept) + 1 :]], at=village.clock)

    story = Cutting(tmp_path)
    report = story.play()
    assert report.passed, report.text()  # a stranger sees nothing: the log they are shown holds
    proof = read_proof((story.release.folder / PROOF).read_bytes())
    with pytest.raises(Refused, match="the log is a fork"):
        story.memory.check_proof(proof, proof.fold(1).log_key, story.memory.load(), older=True)


def test_the_proof_from_before_the_release_does_not_verify_a_release(tmp_path: Path) -> None:
    class Early(Story):
        def after_release_vote(self, village: Village, proposal: str) -> None:
            self.early = village.coop.proof().dumps()

    story = Early(tmp_path)
    assert story.play().passed
    (story.release.folder / PROOF).write_bytes(story.early)
    only_broken(verify(story.release.folder), "release vote", "the log holds no release of it for this run")
