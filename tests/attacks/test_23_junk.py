"""Threat 23: junk keeps a vote from being counted, or the machine from answering.

The attacker is anybody who can hand in bytes, or a member with time. Blocked: what is refused changes nothing, and nothing
of it is written; a member has so many proposals open at most, and as many sponsors sign as the bylaws say; a proposal's id is the digest of what its
author signed, so that nobody takes it first; sizes are limited before anything is parsed. The operator can always stop the log: everybody sees that it
stands still. A member can change a vote as often as they sign: each is an entry, and how many a portal takes in an hour is the portal's to say.
"""

import json
import secrets
from pathlib import Path

import pytest

from governance_hooks import proof as proofs
from governance_hooks.audit import audit
from governance_hooks.bylaws import Rules
from governance_hooks.canonical import digest, dumps
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import CoopError, Refused
from governance_hooks.gate import run_gate
from governance_hooks.proof import read_proof
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import MAX_ENTRY, entry, parse, shift, sign
from governance_hooks.tally import roll_root
from tests.attacks.forge import blocked, broken, forged_proof, history, request_for, rewritten
from tests.village import CONSENT, RULES, Approved, Village, found

SUBJECT = digest("what is voted on")


def proposal_of(village: Village, author: str, subject: str = SUBJECT, **changes: object) -> bytes:
    roll = village.coop.register.active()
    payload = {
        "kind": "run",
        "subject": subject,
        "rules": village.coop.register.bylaws.rules("run").model_dump(),
        "roll": {"root": roll_root(roll), "members": len(roll)},
        "closes": shift(village.clock, 86_400),
        "uses": 1,
        "motion": None,
        "draft": None,
    }
    return village.entry("coop.proposal/v1", payload | changes, author)


def junk_of(village: Village, proposal: str, outsider: Path) -> dict[str, bytes]:
    """Return ballots of every kind that does not count."""
    member, stranger = village.members[4], generate_key(outsider)
    good = village.entry("coop.ballot/v1", {"proposal": proposal, "choice": "against", "sequence": 1, "reason": None}, member)
    value = json.loads(good)
    return {
        "nothing": b"",
        "no JSON": b"\x00" * 1000,
        "half an entry": good[: len(good) // 2],
        "brackets without end": b"[" * 60_000,
        "an entry too long": good[:-1] + b" " * MAX_ENTRY + b"}",
        "unsigned": dumps(value | {"signatures": []}),
        "signed by a stranger": entry(value["body"], [sign(value["body"], stranger)]),
        "a thousand signatures": dumps(value | {"signatures": [value["signatures"][0]] * 100}),
        "a choice nobody knows": entry(bad := value["body"] | {"payload": value["body"]["payload"] | {"choice": "maybe"}}, [sign(bad, village.keys[member])]),
        "of a vote nobody opened": village.entry("coop.ballot/v1", {"proposal": SUBJECT, "choice": "for", "sequence": 1, "reason": None}, member),
        "number 7": village.entry("coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 7, "reason": None}, member),
    }


def test_junk_ballots_neither_block_nor_change_the_count(village: Village, tmp_path: Path) -> None:
    proposal = village.propose("run", SUBJECT).id
    for number, (name, junk) in enumerate(junk_of(village, proposal, tmp_path / "stranger").items()):
        with pytest.raises(CoopError):
            village.coop.append(junk)
        if number < 3:
            village.ballot(village.members[number], proposal)  # others vote in between
        assert len(village.coop.register.proposals[proposal].votes) == min(number + 1, 3), name
    village.close(proposal)
    counted = village.coop.register.proposals[proposal].tally
    assert counted is not None
    assert (counted.votes_for, counted.votes_against, counted.approved) == (3, 0, True)
    assert audit(village.root).passed


def test_of_a_batch_with_junk_in_it_nothing_is_written_and_the_rest_can_be_handed_in_again(village: Village) -> None:
    proposal, size = village.propose("run", SUBJECT).id, village.coop.register.size
    good = [village.entry("coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}, one) for one in village.members[:2]]
    with pytest.raises(CoopError, match="entry 2 of the 3 to append"):
        village.coop.append_all(
            [good[0], village.entry("coop.ballot/v1", {"proposal": SUBJECT, "choice": "for", "sequence": 1, "reason": None}, village.members[2]), good[1]]
        )
    assert village.coop.log.size == village.coop.register.size == size
    village.coop.append_all(good)
    assert len(village.coop.register.proposals[proposal].votes) == 2


def test_an_entry_is_measured_before_it_is_read(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a gigabyte was parsed")

    monkeypatch.setattr("governance_hooks.statement.loads", never)
    with pytest.raises(Refused, match="is too long"):
        village.coop.append(b"[" * (MAX_ENTRY + 1))


def test_a_member_floods_the_cooperative_with_no_more_proposals_than_the_bylaws_allow(village: Village) -> None:
    author = village.members[4]
    for number in range(village.coop.register.bylaws.open_proposals):
        village.coop.append(proposal_of(village, author, digest(number)))
    blocked(village, proposal_of(village, author, digest("one more")), "you have as many proposals open as one member may have")
    village.coop.append(proposal_of(village, village.members[0]))  # others still propose


def test_a_proposal_needs_the_sponsors_of_the_bylaws(tmp_path: Path) -> None:
    rules = Rules.model_validate(RULES.model_dump() | {"sponsors": 3})
    keys, operator = found(tmp_path / "v", kinds={"run": rules.model_dump(), "release": RULES.model_dump()})
    with Cooperative.open(tmp_path / "v") as coop:
        village = Village(tmp_path / "v", coop, keys, operator)
        blocked(village, proposal_of(village, village.members[0]), "too few members sponsor this proposal")
        village.propose("run", SUBJECT, *(village.keys[one] for one in village.members[:3]))


def test_who_copies_a_proposal_does_not_take_its_place(village: Village) -> None:
    mine = proposal_of(village, village.members[0])
    front_runner = proposal_of(village, village.members[4])  # saw it on its way, and was first
    body = json.loads(mine)["body"]
    with pytest.raises(CoopError, match="is not signed by its author"):
        village.coop.append(entry(body, [sign(body, village.keys[village.members[4]])]))
    village.coop.append(front_runner)
    village.coop.append(mine)
    ids = {parse(one).id: village.coop.register.proposals[parse(one).id].proposer for one in (mine, front_runner)}
    assert ids == {parse(mine).id: village.members[0], parse(front_runner).id: village.members[4]}
    for member in village.members[:3]:
        village.ballot(member, parse(mine).id)
    assert village.coop.register.proposals[parse(mine).id].count().approved


def test_nobody_takes_back_the_proposal_of_another(village: Village) -> None:
    proposal = village.propose("run", SUBJECT).id
    close = {"proposal": proposal, "votes_for": 0, "votes_against": 0, "votes_abstain": 0, "outcome": "rejected"}
    for author in (village.members[0], village.members[4]):
        blocked(village, village.entry("coop.close/v1", close, author), "coop.close/v1 is the operator's to state")
    blocked(village, village.entry("coop.close/v1", close, "operator"), "this vote is still open")


def test_a_million_consents_of_one_member_leave_the_others_theirs(village: Village) -> None:
    for number in range(30):
        village.consent(village.members[0], notice=digest(number))
    village.consent(village.members[1])
    assert len(village.coop.register.grants[village.members[1]]) == 1
    too_much = CONSENT | {"scope": {"languages": None, "batches": [digest(secrets.token_hex(4)) for _ in range(1000)]}}
    entry = village.entry("coop.consent/v1", too_much, village.members[0])
    with pytest.raises(Refused, match="is too long"):
        village.coop.append(entry)
    with pytest.raises(Refused, match="this proof has a line that is longer than an entry"):
        read_proof(forged_proof(village.coop, entry, at=village.clock))


def test_junk_the_operator_writes_into_the_log_is_named_with_its_place_and_starts_nothing(approved: Approved, tmp_path: Path) -> None:
    village = approved.village
    entries = history(village)
    for number, junk in enumerate((b"", b"junk", b"{}")):
        report = audit(rewritten(village, [*entries, junk], tmp_path / str(number)))
        broken(report, "entries signed and allowed", f"entry {len(entries)}: ")


@pytest.mark.parametrize(
    "proof", [b"", b"{", b"[" * 100_000, proofs._gzip(b'{"checkpoint":"","format":"coop.proof/v2"}\n'), proofs._gzip(b"0" * (2 << 20))], ids=range(5)
)
def test_a_proof_that_is_junk_is_answered_in_words(approved: Approved, proof: bytes) -> None:
    with pytest.raises(CoopError):
        read_proof(proof).replay(approved.village.coop.pin)
    report = run_gate(request_for(approved, proof=proof))
    assert report.exit_code == 1
    assert not any("the check itself broke" in step.why for step in report.steps)
