"""Keys and ballots that would let somebody speak for a member for ever."""

import base64
import struct

import pytest

from governance_hooks.errors import Refused
from governance_hooks.sshsig import NAMESPACE, armor
from governance_hooks.statement import body, entry, sign
from tests.village import Village

IDENTITY = b"\x01" + bytes(31)
"""An ed25519 public key of order 1: the signature (identity, 0) verifies under it for every message, and no private key is needed."""


def wire(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def test_a_key_that_verifies_everything_is_not_enrolled(village: Village) -> None:
    blob = wire(b"ssh-ed25519") + wire(IDENTITY)
    signature = wire(b"ssh-ed25519") + wire(IDENTITY + bytes(32))
    parts = (blob, NAMESPACE.encode(), b"", b"sha512", signature)
    anybodys = armor(b"SSHSIG" + struct.pack(">I", 1) + b"".join(map(wire, parts)))
    payload = {"member": "m-00000000000000ff", "key": "ssh-ed25519 " + base64.b64encode(blob).decode()}
    size = village.coop.register.size
    made = body("coop.admission/v1", payload, coop=village.coop.register.coop, author=village.members[0], issued=village.clock)
    signed = entry(made, [anybodys, *(sign(made, village.keys[member]) for member in village.members[:2])])
    with pytest.raises(Refused, match="small order"):
        village.coop.append(signed)
    assert village.coop.register.size == size


@pytest.mark.parametrize("sequence", [2, 1000, 2**53 - 1])
def test_a_ballot_of_a_stolen_key_cannot_be_the_last_one_for_ever(village: Village, sequence: int) -> None:
    member = village.members[0]
    proposal = village.propose("run", "sha256:" + "0" * 64, by=village.members[1]).id
    with pytest.raises(Refused, match="ballots of a member are numbered one by one"):
        village.ballot(member, proposal, "for", sequence)
    village.ballot(member, proposal, "for", 1)
    village.ballot(member, proposal, "against", 2)  # the owner has the last word
    assert village.coop.register.proposals[proposal].votes[member].choice == "against"
