"""Threat 1: the operator makes up votes.

The attacker holds the operator's key, the log's key and the database, and runs code of their own; they hold no member's key.
Blocked: a ballot counts only under a key in force of its member, over the choice and the proposal, and every reader of the log
checks and counts again. A ballot the operator never writes cannot be blocked: its voter and everybody who lists the missing see it.
"""

import base64
import json
import re
import struct
from pathlib import Path

import pytest

from governance_hooks.audit import audit
from governance_hooks.canonical import digest, dumps
from governance_hooks.gate import run_gate
from governance_hooks.sshsig import NAMESPACE, armor, generate_key
from governance_hooks.statement import body, entry, parse, sign
from tests.attacks.forge import blocked, broken, forged_proof, history, proof_of, request_for, rewritten
from tests.commonweights.conftest import Coop
from tests.village import Approved, Village

SUBJECT = digest("what is voted on")
NOBODY = "m-00000000000000ff"


def choice(proposal: str, word: str = "for", sequence: int = 1) -> dict[str, object]:
    return {"proposal": proposal, "choice": word, "sequence": sequence, "reason": None}


def test_a_ballot_in_a_members_name_signed_by_the_operator_is_refused(village: Village, tmp_path: Path) -> None:
    proposal, member = village.propose("run", SUBJECT).id, village.members[1]
    forged = village.entry("coop.ballot/v1", choice(proposal), member, village.operator)
    blocked(village, forged, f"coop.ballot/v1 of {member} is signed by operator", tmp_path)


@pytest.mark.parametrize("author", ["operator", NOBODY])
def test_the_operator_and_made_up_members_have_no_vote(village: Village, author: str, tmp_path: Path) -> None:
    proposal, made_up = village.propose("run", SUBJECT).id, generate_key(tmp_path / "made-up")
    signer = village.operator if author == "operator" else made_up
    blocked(village, village.entry("coop.ballot/v1", choice(proposal), author, signer), "not a member of this cooperative")


def test_a_bought_member_cannot_sign_for_another(village: Village) -> None:
    proposal, (bought, other) = village.propose("run", SUBJECT).id, village.members[:2]
    forged = village.entry("coop.ballot/v1", choice(proposal), other, village.keys[bought])
    blocked(village, forged, f"coop.ballot/v1 of {other} is signed by {bought}")


def edited(ballot: bytes, **payload: object) -> bytes:
    """Return a member's signed ballot with another payload under the old signature."""
    value = json.loads(ballot)
    value["body"]["payload"] |= payload
    return dumps(value)


@pytest.mark.parametrize("change", [{"choice": "for"}, {"proposal": SUBJECT}, {"sequence": 2}, {"reason": SUBJECT}], ids=lambda change: next(iter(change)))
def test_an_edited_ballot_does_not_verify_wherever_it_is_edited(village: Village, change: dict[str, object], tmp_path: Path) -> None:
    proposal = village.propose("run", SUBJECT).id
    cast = village.entry("coop.ballot/v1", choice(proposal, "against"), village.members[1])
    words = "signature does not verify: the statement or the signature was changed"
    blocked(village, edited(cast, **change), words)
    village.coop.append(cast)
    entries = history(village)
    stored = rewritten(village, [*entries[:-1], edited(entries[-1], **change)], tmp_path / "edited")  # in the database, and signed over anew
    broken(audit(stored), "entries signed and allowed", f"entry {len(entries) - 1}: {words}")


def test_a_ballot_of_another_cooperative_with_the_same_members_does_not_count_here(village: Village) -> None:
    proposal, member = village.propose("run", SUBJECT).id, village.members[1]
    made = body("coop.ballot/v1", choice(proposal), coop=digest("another cooperative"), author=member, issued=village.clock)
    blocked(village, entry(made, [sign(made, village.keys[member])]), "statement belongs to another cooperative")


def test_a_signature_for_another_purpose_is_no_ballot(village: Village) -> None:
    proposal, member = village.propose("run", SUBJECT).id, village.members[1]
    made = body("coop.ballot/v1", choice(proposal), coop=village.coop.register.coop, author=member, issued=village.clock)
    stolen = village.keys[member].sign(dumps(made))
    raw = base64.b64decode("".join(stolen.splitlines()[1:-1]))
    as_git = armor(raw.replace(wire(NAMESPACE.encode()), wire(b"git")))  # what the member signs every day
    blocked(village, entry(made, [as_git]), "namespace")


@pytest.mark.parametrize("kind", ["coop.key/v1", "coop.rotation/v1", "coop.recovery/v1", "coop.admission/v1"])
def test_the_operator_cannot_give_anybody_a_key_to_vote_with(village: Village, kind: str, tmp_path: Path) -> None:
    member, new = village.members[1], generate_key(tmp_path / "new")
    payload, words = {
        "coop.key/v1": ({"action": "add", "key": new.public.line}, "adding a key needs the signature of a key in force and of the new key"),
        "coop.rotation/v1": ({"old": village.keys[member].public.line, "new": new.public.line}, "rotating a key needs the signature of a key in force"),
        "coop.recovery/v1": ({"member": member, "key": new.public.line}, "a recovery is signed by registrars alone or by guardians"),
        "coop.admission/v1": ({"member": NOBODY, "key": new.public.line}, "an admission is signed by somebody who is no registrar"),
    }[kind]
    blocked(village, village.entry(kind, payload, member, village.operator, new), words)


def wire(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def test_a_key_that_verifies_everything_is_not_enrolled(village: Village) -> None:
    identity = b"\x01" + bytes(31)  # of order 1: the signature (identity, 0) verifies under it for every message, and no private key is needed
    blob = wire(b"ssh-ed25519") + wire(identity)
    parts = (blob, NAMESPACE.encode(), b"", b"sha512", wire(b"ssh-ed25519") + wire(identity + bytes(32)))
    anybodys = armor(b"SSHSIG" + struct.pack(">I", 1) + b"".join(map(wire, parts)))
    payload = {"member": NOBODY, "key": "ssh-ed25519 " + base64.b64encode(blob).decode()}
    made = body("coop.admission/v1", payload, coop=village.coop.register.coop, author=village.members[0], issued=village.clock)
    blocked(village, entry(made, [anybodys, *(sign(made, village.keys[member]) for member in village.members[:2])]), "small order")


@pytest.mark.parametrize(
    "stated", [{"votes_for": 5}, {"votes_against": 0}, {"votes_abstain": 1}, {"outcome": "approved"}], ids=lambda stated: next(iter(stated))
)
def test_a_count_of_votes_nobody_cast_is_refused(village: Village, stated: dict[str, object], tmp_path: Path) -> None:
    proposal = village.propose("run", SUBJECT).id
    for member in village.members[:3]:
        village.ballot(member, proposal, "against")
    village.wait(60)
    right = {"proposal": proposal, "votes_for": 0, "votes_against": 3, "votes_abstain": 0, "outcome": "rejected"}
    blocked(village, village.entry("coop.close/v1", right | stated, "operator"), "the close does not match the ballots", tmp_path)


def test_the_gate_believes_no_count_of_the_operator(approved: Approved) -> None:
    village = approved.village
    entries = [one for one in history(village) if parse(one).type != "coop.ballot/v1"]  # an approval without a voter behind it
    report = run_gate(request_for(approved, proof=proof_of(village.coop, entries, at=village.clock)))
    broken(report, "proof is of this log", "the close does not match the ballots")
    assert not run_gate(request_for(approved, proof=forged_proof(village.coop, b"{}", at=village.clock))).passed


def test_a_ballot_the_operator_withholds_is_missed_by_its_voter_and_by_everybody_who_lists_the_missing(
    coop: Coop, home: Path, keys: dict[str, Path], tmp_path: Path
) -> None:
    (home / "release.json").write_bytes(b"{}")
    proposal = coop("-C", home, "--json", "propose", "release", home, "--period", "3600", "--key", keys["anna"]).json["proposal"]
    ballot = tmp_path / "ballot.json"
    assert coop("-C", home, "vote", proposal, "against", "--key", f"{keys['bela']}.pub", "--draft", ballot).code == 0
    assert coop("-C", home, "sign", ballot, "--yes", "--key", keys["bela"]).code == 0  # handed to the operator, who never appends it
    asked = coop("-C", home, "roll", proposal, "--key", keys["bela"])
    assert "you have not voted" in asked.out
    member = re.match(r"m-[0-9a-f]{16}", asked.out)
    assert member is not None
    assert member[0] in coop("-C", home, "roll", proposal, "--missing", "--key", keys["caro"]).out.split()  # any member sees it
    assert coop("-C", home, "append", ballot).code == 0  # whoever reaches any writer of the log in time still votes
    assert re.search("your ballot [0-9a-f]{12} is number 1", coop("-C", home, "roll", proposal, "--key", keys["bela"]).out)
