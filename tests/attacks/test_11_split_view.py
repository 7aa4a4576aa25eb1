"""Threat 11: different people are shown different logs.

The attacker holds the log's key and signs as many histories as they like. Each history holds, read alone. Visible to: a machine that saw
one history and is shown the other; two people who compare their checkpoints. Blocked where the bylaws require k of n witnesses, more than
half of them: an honest witness signs one history, keeps the evidence of the other, and gate, guard, audit and `coop verify` go by none that
fewer than k signed. Liars for a fork: 2k - n witnesses with the operator.
"""

import shutil
from pathlib import Path

import pytest

from governance_hooks.audit import audit
from governance_hooks.canonical import digest
from governance_hooks.checkpoint import NoteKey, read_body, sign_checkpoint, verify_checkpoint
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import Refused
from governance_hooks.gate import run_gate
from governance_hooks.hooks.guard import Guard
from governance_hooks.memory import Memory
from governance_hooks.merkle import leaf_hash, root
from governance_hooks.proof import Proof, read_proof
from governance_hooks.sshsig import PrivateKey
from governance_hooks.witness.evidence import Evidence
from model_card.release import add_proof
from model_card.verify import verify
from tests.attacks.forge import broken, fork, history, only_broken, proof_of, request_for, rewritten
from tests.attacks.story import RUN, Story
from tests.attacks.test_10_rollback import consent, evidence, refused, state
from tests.commonweights.conftest import Coop
from tests.village import Approved, Village, found_witnessed, make_witnesses

__all__ = ["state"]


@pytest.mark.parametrize("entries", [1, 2])
def test_a_fork_is_refused_at_the_same_size_and_beyond(coop: Coop, home: Path, keys: dict[str, Path], state: Path, entries: int) -> None:
    consent(coop, home, keys["anna"])
    shutil.copy(home / "log.sqlite", home / "snapshot")
    consent(coop, home, keys["bela"])
    shutil.copy(home / "snapshot", home / "log.sqlite")
    fork(home, keys["caro"], entries)
    refused(coop, home, "the log is a fork: its first 3 entries")
    assert evidence(state) == (3, 2 + entries)


def two_histories(village: Village) -> tuple[list[bytes], list[bytes]]:
    """Return the log with a withdrawal of a member, and another of the same size in which somebody gave a consent instead."""
    member = village.members[0]
    village.consent(member)
    before = history(village)
    shown_to_all = village.entry("coop.contribution/v1", {"records": 1, "root": digest(1), "languages": {"spa": 1}}, village.members[1])
    withdrawal = village.entry("coop.withdrawal/v1", {"consent": None}, member)
    return [*before, withdrawal], [*before, shown_to_all]


def test_two_logs_of_one_size_both_hold_read_alone_and_differ_in_their_checkpoints(village: Village, tmp_path: Path) -> None:
    honest, other = two_histories(village)
    for number, entries in enumerate((honest, other)):
        assert audit(rewritten(village, entries, tmp_path / str(number))).passed  # why witnesses are needed
    notes = [read_body(read_proof(proof_of(village.coop, entries, at=village.clock)).checkpoint) for entries in (honest, other)]
    assert notes[0].size == notes[1].size
    assert notes[0].root != notes[1].root  # what two people see who compare


def test_who_saw_one_history_is_told_of_the_other_and_has_both_signed(village: Village, tmp_path: Path) -> None:
    honest, other = (read_proof(proof_of(village.coop, entries, at=village.clock)) for entries in two_histories(village))
    memory, key = Memory(village.coop.pin, tmp_path / "state"), village.coop.register.log_key
    memory.check_proof(honest, key, None)
    with pytest.raises(Refused, match="the log is a fork") as told:
        memory.check_proof(other, key, memory.load())
    assert f"over {len(honest.entries)}" in str(told.value.allowed)
    (folder,) = (tmp_path / "state" / "evidence").iterdir()
    kept = Evidence.read(folder)
    assert {kept.remembered, kept.seen} == {honest.checkpoint, other.checkpoint}
    assert kept.judge().words.startswith("FORK: the key of village.example/log signed")  # nobody else can make these two signatures


def test_a_run_that_is_shown_another_history_stops(approved: Approved) -> None:
    village = approved.village
    approved.start()
    honest, other = two_histories(village)
    served = [proof_of(village.coop, other, at=village.clock)]
    guard = Guard(request_for(approved, proof=served[0], run=RUN), fresh=lambda: served[0], every_s=0, clock=lambda: village.clock)
    guard.start()
    served[0] = proof_of(village.coop, honest, at=village.clock)
    stop = guard.stop(force=True)
    assert stop is not None
    assert stop.reason == "the log was rolled back or rewritten since this run last looked"


# With witnesses: k of n other parties who sign one history of a log only.

ONE, TWO, THREE = (f"sister{i}.example/witness" for i in (1, 2, 3))
LINK = "signatures and rules"


class Witnessed(Story):
    """The honest release of a cooperative whose bylaws require two of three witnesses."""

    asked: tuple[str, ...] = (ONE, THREE)

    def found(self) -> tuple[dict[str, PrivateKey], PrivateKey]:
        self.witnesses = make_witnesses(self.folder)
        return found_witnessed(self.root, self.witnesses, 2)

    def after_publication(self, village: Village) -> None:
        if self.asked:
            village.cosign(*self.asked)


def test_a_release_that_two_of_three_witnesses_saw_verifies_and_says_so(tmp_path: Path) -> None:
    report = Witnessed(tmp_path).play()
    assert report.passed, report.text()
    (line,) = (step.checked for step in report.steps if step.name == LINK)
    assert f"by 2 of 3 witnesses ({ONE}, {THREE}), 2 required" in line


def test_a_release_too_few_witnesses_saw_does_not_verify(tmp_path: Path) -> None:
    class Alone(Witnessed):
        asked = (TWO,)

    only_broken(Alone(tmp_path).play(), LINK, f"1 of 3 witnesses cosigned this checkpoint, 2 must; missing: {ONE}, {THREE}")


def test_a_log_without_a_members_withdrawal_finds_no_witnesses(tmp_path: Path) -> None:
    """Split view: the operator leaves the newest entry out for the public, under a checkpoint of its real key, with the witnesses' lines moved over."""
    story = Witnessed(tmp_path)
    assert story.play().passed
    with_withdrawal = later(story)
    good = verify_checkpoint(with_withdrawal.checkpoint, NoteKey.load(story.root / "keys/log.key").verifier)
    entries = with_withdrawal.entries[:-1] + story.hidden  # type: ignore[attr-defined]
    forged = sign_checkpoint(NoteKey.load(story.root / "keys/log.key"), len(entries), root([leaf_hash(entry) for entry in entries]), good.time)
    for note, words in ((forged, "0 of 3 witnesses"), (forged + "".join(line + "\n" for line in good.cosignatures), "does not verify")):
        add_proof(story.release.folder, Proof(note, entries).dumps())
        report = verify(story.release.folder)
        (step,) = (step for step in report.steps if step.name == LINK)
        assert words in step.why, report.text()
        assert report.exit_code == 1


def later(story: Witnessed) -> Proof:
    """A member withdraws after the release, and witnesses see it; the operator has another entry ready for that place."""
    with Cooperative.open(story.root) as coop:
        village = Village(story.root, coop, story.keys, story.operator, story.witnesses)
        village.clock = story.village.clock
        story.hidden = (village.entry("coop.time/v1", {}, "operator", story.operator),)  # type: ignore[attr-defined]
        village.say("coop.withdrawal/v1", {"consent": None}, village.members[0])
        village.cosign()
        return coop.proof()


def test_a_story_without_witnesses_says_whose_word_its_time_is(bundle: Path) -> None:
    (line,) = (step.checked for step in verify(bundle).steps if step.name == LINK)
    assert "time by the operator's word, no independent witness" in line


def test_honest_witnesses_cosign_no_second_history_and_keep_the_evidence(witnessed: Village, tmp_path: Path) -> None:
    honest, other = two_histories(witnessed)
    witnessed.coop.append(honest[-1])
    assert all(outcome.time is not None for outcome in witnessed.cosign().values())
    forked = rewritten(witnessed, other, tmp_path / "forked")
    with Cooperative.open(forked) as coop:
        operator = Village(forked, coop, witnessed.keys, witnessed.operator, tuple(witnessed.witnesses.values()))
        outcomes = operator.cosign()
        assert {outcome.time for outcome in outcomes.values()} == {None}, outcomes
        report = audit(forked)
    assert report.exit_code != 0, report.text()
    for number in (1, 2, 3):
        verdicts = [Evidence.read(folder).judge().kind for folder in (tmp_path / f"witness-{number}" / "evidence").iterdir()]
        assert verdicts == ["fork"]


def test_a_gate_goes_by_no_history_that_too_few_witnesses_signed(witnessed: Village) -> None:
    approved = Approved(witnessed)
    broken(run_gate(request_for(approved)), "checkpoint signed and recent", "0 of 3 witnesses cosigned this checkpoint, 2 must")
    witnessed.cosign(ONE)  # the one that is in league with the operator
    broken(run_gate(request_for(approved)), "checkpoint signed and recent", "1 of 3 witnesses cosigned this checkpoint, 2 must")
    witnessed.cosign(TWO)
    assert run_gate(request_for(approved)).passed
