"""Threat 14: a key is lost, stolen or replaced, and somebody else speaks with it.

The attacker holds a member's old key, or registrars who help, or the operator's key. Blocked: each member has a chain of keys in the log, each
new one signed by one in force, or by registrars or guardians and then only after a delay in which any old key cancels; what a key signed after
it was replaced does not count. Another operator comes by a vote. Somebody who holds the only key of a member is that member until
the key is replaced; the key of the log itself cannot be changed.
"""

import shutil
from pathlib import Path

import pytest

from governance_hooks.audit import audit
from governance_hooks.canonical import digest
from governance_hooks.checkpoint import NoteKey, verify_checkpoint
from governance_hooks.cooperative import Paths
from governance_hooks.errors import BadInput, Refused
from governance_hooks.gate import MAX_AGE_S, check_age
from governance_hooks.motions import ChangeOperator
from governance_hooks.proof import read_proof
from governance_hooks.report import StepFailed
from governance_hooks.sshsig import PrivateKey, generate_key
from governance_hooks.statement import shift
from tests.attacks.forge import blocked, forged_proof, history, proof_of
from tests.village import CONSENT, Village

SUBJECT = digest("what is voted on")
WEEK = 7 * 86_400


@pytest.fixture
def new(tmp_path: Path) -> PrivateKey:
    return generate_key(tmp_path / "new")


def rotation(village: Village, member: str, new: PrivateKey, *signers: PrivateKey) -> bytes:
    payload = {"old": village.keys[member].public.line, "new": new.public.line}
    return village.entry("coop.rotation/v1", payload, member, *signers)


def recovery(village: Village, member: str, new: PrivateKey, *helpers: str) -> bytes:
    return village.entry("coop.recovery/v1", {"member": member, "key": new.public.line}, member, new, *(village.keys[one] for one in helpers))


def ballot(village: Village, member: str, proposal: str, key: PrivateKey, **when: str) -> bytes:
    return village.entry("coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}, member, key, **when)


def test_a_stolen_key_is_worth_nothing_once_it_is_replaced(village: Village, new: PrivateKey, tmp_path: Path) -> None:
    member, proposal = village.members[3], village.propose("run", SUBJECT).id
    stolen = village.keys[member]
    village.coop.append(rotation(village, member, new, new, stolen))
    words = f"of {member} is signed by {member}"  # an old key of theirs: still theirs, no longer in force
    blocked(village, ballot(village, member, proposal, stolen), words, tmp_path)
    blocked(village, ballot(village, member, proposal, stolen, issued=shift(village.clock, -600)), words)  # dated back to when it was
    blocked(village, village.entry("coop.consent/v1", CONSENT, member, stolen), words)
    blocked(village, village.entry("coop.leave/v1", {}, member, stolen), words)
    village.coop.append(ballot(village, member, proposal, new))


def test_a_stolen_key_neither_comes_back_nor_brings_another(village: Village, new: PrivateKey, tmp_path: Path) -> None:
    member, thief = village.members[3], generate_key(tmp_path / "thief")
    stolen = village.keys[member]
    village.coop.append(rotation(village, member, new, new, stolen))
    again = village.entry("coop.key/v1", {"action": "add", "key": stolen.public.line}, member, new, stolen)
    blocked(village, again, "this key is enrolled already")
    added = village.entry("coop.key/v1", {"action": "add", "key": thief.public.line}, member, stolen, thief)
    blocked(village, added, "adding a key needs the signature of a key in force and of the new key")
    blocked(village, rotation(village, member, thief, thief, stolen), "rotating a key needs the signature of a key in force")


def test_a_stolen_registrars_key_admits_nobody_once_it_is_replaced(village: Village, new: PrivateKey, tmp_path: Path) -> None:
    registrar, second, puppet = village.members[0], village.members[1], generate_key(tmp_path / "puppet")
    stolen = village.keys[registrar]
    village.coop.append(rotation(village, registrar, new, new, stolen))
    payload = {"member": "m-00000000000000aa", "key": puppet.public.line}
    blocked(village, village.entry("coop.admission/v1", payload, second, puppet, stolen, village.keys[second]), "signed by somebody who is no registrar")


def test_nobody_replaces_the_key_of_another(village: Village, new: PrivateKey) -> None:
    member, other = village.members[3], village.members[4]
    for signer in (village.operator, village.keys[other]):
        blocked(village, rotation(village, member, new, new, signer), "rotating a key needs the signature of a key in force")
    blocked(village, rotation(village, member, new, new), "rotating a key needs the signature of a key in force")


def test_a_key_is_not_enrolled_for_a_member_without_whoever_holds_it(village: Village, new: PrivateKey) -> None:
    member = village.members[3]
    add = village.entry("coop.key/v1", {"action": "add", "key": new.public.line}, member, village.keys[member])
    blocked(village, add, "adding a key needs the signature of a key in force and of the new key")


def test_registrars_who_take_over_a_member_wait_and_any_old_key_cancels(village: Village, new: PrivateKey) -> None:
    member, helpers = village.members[3], village.members[:2]
    opened = village.coop.append(recovery(village, member, new, *helpers))
    village.stamp()
    village.stamp(WEEK - 60)  # a minute before the delay is over
    proposal = village.propose("run", SUBJECT).id
    blocked(village, ballot(village, member, proposal, new), f"of {member} is signed by {member}")  # the taken-over key has no power yet
    village.say("coop.recovery-cancel/v1", {"recovery": opened.id}, member)
    village.say("coop.time/v1", {}, "operator")
    village.wait(2 * WEEK)
    village.say("coop.time/v1", {}, "operator")
    assert village.coop.register.members[member].keys == {village.keys[member].public.raw}


def test_an_operator_who_helps_does_not_shorten_the_delay(village: Village, new: PrivateKey) -> None:
    member, helpers = village.members[3], village.members[:2]
    village.coop.append(recovery(village, member, new, *helpers))
    village.say("coop.time/v1", {}, "operator")
    ahead = village.entry("coop.time/v1", {}, "operator", issued=shift(village.clock, WEEK + 1))
    with pytest.raises(Refused, match="this statement is dated in the future"):
        village.coop.append(ahead)
    with pytest.raises(Refused, match="it is dated after the checkpoint that covers it"):
        read_proof(forged_proof(village.coop, ahead, at=village.clock)).replay(village.coop.pin)
    clock_ahead = read_proof(forged_proof(village.coop, ahead, at=shift(village.clock, WEEK + 1)))  # so the checkpoint is dated ahead too
    with pytest.raises(StepFailed, match="in the future: one of the clocks is wrong"):
        check_age(verify_checkpoint(clock_ahead.checkpoint, village.coop.register.log_key), village.clock, MAX_AGE_S)


@pytest.mark.parametrize("who", ["one registrar", "the operator", "strangers", "one of each", "nobody"])
def test_too_few_or_others_take_over_nobody(village: Village, new: PrivateKey, who: str) -> None:
    member = village.members[3]
    signers, words = {
        "one registrar": ([village.keys[village.members[0]]], "too few signed this recovery"),
        "the operator": ([village.operator], "signed by registrars alone or by guardians of the member alone"),
        "strangers": ([village.keys[village.members[4]]], "signed by registrars alone or by guardians of the member alone"),
        "one of each": ([village.keys[village.members[0]], village.operator], "signed by registrars alone or by guardians of the member alone"),
        "nobody": ([], "too few signed this recovery"),
    }[who]
    blocked(village, village.entry("coop.recovery/v1", {"member": member, "key": new.public.line}, member, new, *signers), words)


def test_a_thief_names_no_guardians_who_outlive_the_recovery(village: Village, new: PrivateKey, tmp_path: Path) -> None:
    member, helpers = village.members[3], village.members[:2]
    village.say("coop.guardians/v1", {"guardians": [village.members[2], village.members[4]]}, member)  # with the stolen key
    village.coop.append(recovery(village, member, new, *helpers))
    village.say("coop.time/v1", {}, "operator")
    village.wait(WEEK + 1)
    village.say("coop.time/v1", {}, "operator")
    assert village.coop.register.members[member].keys == {new.public.raw}
    back = recovery(village, member, generate_key(tmp_path / "thief"), village.members[2], village.members[4])
    blocked(village, back, "signed by registrars alone or by guardians of the member alone")


def test_the_operators_key_changes_by_a_vote_only_and_the_old_one_says_nothing_more(village: Village, new: PrivateKey) -> None:
    old = village.operator
    for signer in (old, new):
        mine = village.entry("coop.rotation/v1", {"old": old.public.line, "new": new.public.line}, village.members[0], signer, new if signer is old else old)
        blocked(village, mine, "rotating a key needs the signature of a key in force")
    village.decide(ChangeOperator(operator=new.public.line), village.keys[village.members[0]], new)
    village.wait(1)
    build = {"manifest": digest("m"), "root": digest("r"), "records": 1}
    words = "speaks for the operator but is not signed by the operator's key alone"
    blocked(village, village.entry("coop.build/v1", build, "operator", old), words)
    blocked(village, village.entry("coop.build/v1", build, "operator", old, new), words)
    village.coop.append(village.entry("coop.build/v1", build, "operator", new))


def test_a_proposed_operator_proves_that_they_hold_the_key(village: Village, new: PrivateKey) -> None:
    with pytest.raises(Refused, match=r"signed by that key too \(proof of possession\)"):
        village.move(ChangeOperator(operator=new.public.line))


def test_a_checkpoint_of_another_log_key_proves_nothing(village: Village, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(village.root / "keys", other / "keys")
    Paths(other).log_key.unlink()
    NoteKey.generate("village.example/log", Paths(other).log_key)
    forger = type("Forger", (), {"paths": Paths(other), "coop": None})()
    with pytest.raises(Refused, match="checkpoint is not signed by the log's key"):
        read_proof(proof_of(forger, history(village), at=village.clock)).replay(village.coop.pin)  # type: ignore[arg-type]


def test_a_wrong_log_key_is_refused_before_anything_is_written(village: Village) -> None:
    paths, right, size = Paths(village.root), village.root / "right.key", village.coop.log.size
    shutil.move(paths.log_key, right)
    NoteKey.generate("village.example/log", paths.log_key)
    with pytest.raises(BadInput, match="this is not the key of this log; a checkpoint it signed could never be verified"):
        village.consent(village.members[0])
    assert village.coop.log.size == size
    shutil.copy(right, paths.log_key)  # the mistake is undone, and nothing came of it
    village.consent(village.members[1])
    assert audit(village.root).exit_code == 0
