"""Every rule of the fold has a test in which it blocks."""

from pathlib import Path

import pytest

from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.payloads.types import PAYLOADS
from governance_hooks.register import _RULES
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import body, entry, shift, sign
from governance_hooks.tally import roll_root
from tests.village import CONSENT, RULES, USE, Village

SUBJECT = sha256(b"a plan")


def refused(village: Village, match: str, kind: str, payload: object, author: str, *signers: object, issued: str | None = None) -> None:
    """The log refuses, says why, and is as before."""
    before = village.coop.log.size, village.coop.log.root(), village.coop.register.size
    with pytest.raises((Refused, BadInput), match=match):
        village.say(kind, payload, author, *signers, issued=issued)  # type: ignore[arg-type]
    assert (village.coop.log.size, village.coop.log.root(), village.coop.register.size) == before


def test_a_ballot_made_with_the_operators_key_is_refused(village: Village) -> None:
    proposal = village.propose("run", SUBJECT).id
    ballot = {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}
    refused(village, "is signed by operator", "coop.ballot/v1", ballot, village.members[0], village.operator)
    refused(village, "not a member", "coop.ballot/v1", ballot, "operator", village.operator)


def test_a_ballot_signed_by_another_member_is_refused(village: Village) -> None:
    proposal = village.propose("run", SUBJECT).id
    ballot = {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}
    refused(village, "is signed by m-", "coop.ballot/v1", ballot, village.members[0], village.keys[village.members[1]])


def test_a_changed_ballot_does_not_verify(village: Village) -> None:
    proposal = village.propose("run", SUBJECT).id
    honest = loads(village.entry("coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}, village.members[0]))
    honest["body"]["payload"]["choice"] = "against"
    with pytest.raises(Refused, match="does not verify"):
        village.coop.append(dumps(honest))


def test_only_the_roll_votes_and_it_is_frozen_at_opening(village: Village, tmp_path: Path) -> None:
    proposal = village.propose("run", SUBJECT).id
    late = generate_key(tmp_path / "late")
    registrars = [village.keys[m] for m in village.members[:2]]
    village.say("coop.admission/v1", {"member": "m-" + "f" * 16, "key": late.public.line}, village.members[0], late, *registrars)
    refused(village, "not on the roll", "coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}, "m-" + "f" * 16, late)


def test_an_older_ballot_cannot_be_replayed_over_a_newer_one(village: Village) -> None:
    proposal = village.propose("run", SUBJECT).id
    first = village.entry("coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}, village.members[0])
    village.coop.append(first)
    village.ballot(village.members[0], proposal, "against", sequence=2)
    with pytest.raises(Refused, match="in the log already"):
        village.coop.append(first)
    refused(village, "later ballot", "coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 2, "reason": None}, village.members[0])
    assert village.coop.register.proposals[proposal].votes[village.members[0]].choice == "against"


def test_ballots_after_the_closing_time_or_the_close_are_refused(village: Village) -> None:
    proposal = village.propose("run", SUBJECT).id
    for member in village.members[:3]:
        village.ballot(member, proposal)
    ballot = {"proposal": proposal, "choice": "against", "sequence": 1, "reason": None}
    refused(village, "closed", "coop.ballot/v1", ballot, village.members[3], issued=shift(village.clock, 61))
    village.close(proposal)
    refused(village, "closed", "coop.ballot/v1", ballot, village.members[3], issued=shift(village.clock, -61))


def test_a_close_that_miscounts_is_too_early_or_is_not_the_operators_is_refused(village: Village) -> None:
    proposal = village.propose("run", SUBJECT).id
    for member in village.members[:3]:
        village.ballot(member, proposal)
    right = {"proposal": proposal, "votes_for": 3, "votes_against": 0, "votes_abstain": 0, "outcome": "approved"}
    refused(village, "still open", "coop.close/v1", right, "operator")
    village.wait(60)
    refused(village, "does not match the ballots", "coop.close/v1", right | {"votes_for": 5}, "operator")
    refused(village, "does not match the ballots", "coop.close/v1", right | {"outcome": "rejected"}, "operator")
    refused(village, "is the operator's", "coop.close/v1", right, village.members[0])
    refused(village, "not signed by the operator", "coop.close/v1", right, "operator", village.keys[village.members[0]])
    village.say("coop.close/v1", right, "operator")
    refused(village, "closed already", "coop.close/v1", right, "operator", issued=shift(village.clock, 1))


def test_a_proposal_cannot_bring_its_own_rules_roll_or_haste(village: Village) -> None:
    roll = village.coop.register.active()
    good = {
        "kind": "run",
        "subject": SUBJECT,
        "rules": RULES.model_dump(),
        "roll": {"root": roll_root(roll), "members": 5},
        "closes": shift(village.clock, 60),
        "uses": 1,
        "motion": None,
        "draft": None,
    }
    member = village.members[0]
    refused(village, "copies the rules", "coop.proposal/v1", good | {"rules": RULES.model_dump() | {"quorum_percent": 0}}, member)
    refused(village, "roll is that", "coop.proposal/v1", good | {"roll": {"root": roll_root(roll[:2]), "members": 2}}, member)
    refused(village, "minimum period", "coop.proposal/v1", good | {"closes": shift(village.clock, 59)}, member)
    refused(village, "not a member", "coop.proposal/v1", good, "operator", village.operator)


def test_an_admission_needs_registrars_and_the_new_members_own_key(village: Village, tmp_path: Path) -> None:
    new = generate_key(tmp_path / "new")
    m, keys = village.members, village.keys
    payload = {"member": "m-" + "a" * 16, "key": new.public.line}
    refused(village, "too few registrars", "coop.admission/v1", payload, m[0], new, keys[m[0]])
    refused(village, "no registrar", "coop.admission/v1", payload, m[0], new, keys[m[0]], keys[m[4]])
    refused(village, "proof of possession", "coop.admission/v1", payload, m[0], keys[m[0]], keys[m[1]])
    refused(village, "distinct keys", "coop.admission/v1", payload, m[0], new, keys[m[0]], keys[m[0]])
    refused(village, "enrolled already", "coop.admission/v1", payload | {"key": keys[m[3]].public.line}, m[0], keys[m[3]], keys[m[0]], keys[m[1]])
    refused(village, "id is taken", "coop.admission/v1", payload | {"member": m[3]}, m[0], new, keys[m[0]], keys[m[1]])
    refused(village, "stated by one of the registrars who signed", "coop.admission/v1", payload, m[2], new, keys[m[0]], keys[m[1]])
    village.say("coop.admission/v1", payload, m[0], new, keys[m[0]], keys[m[1]])
    assert "m-" + "a" * 16 in village.coop.register.active()


def test_two_keys_of_one_registrar_count_once(village: Village, tmp_path: Path) -> None:
    second, new = generate_key(tmp_path / "second"), generate_key(tmp_path / "new")
    registrar = village.members[0]
    village.say("coop.key/v1", {"action": "add", "key": second.public.line}, registrar, village.keys[registrar], second)
    payload = {"member": "m-" + "a" * 16, "key": new.public.line}
    refused(village, "too few registrars", "coop.admission/v1", payload, registrar, new, village.keys[registrar], second)


def test_keys_are_added_by_both_keys_and_revoked_but_never_the_last(village: Village, tmp_path: Path) -> None:
    member, new = village.members[0], generate_key(tmp_path / "new")
    add = {"action": "add", "key": new.public.line}
    refused(village, "signature of a key in force and of the new key", "coop.key/v1", add, member, village.keys[member])
    refused(village, "signature of a key in force and of the new key", "coop.key/v1", add, member, village.keys[village.members[1]], new)
    refused(village, "last key", "coop.key/v1", {"action": "revoke", "key": village.keys[member].public.line}, member)
    village.say("coop.key/v1", add, member, village.keys[member], new)
    village.say("coop.key/v1", {"action": "revoke", "key": village.keys[member].public.line}, member, new)
    refused(village, "is signed by", "coop.consent/v1", CONSENT, member)  # the stolen old key
    village.say("coop.consent/v1", CONSENT, member, new)
    refused(village, "no key of yours", "coop.key/v1", {"action": "revoke", "key": village.keys[member].public.line}, member, new)


def test_consent_is_the_members_own_and_ends_with_withdrawal_or_leaving(village: Village) -> None:
    a, b = village.members[:2]
    refused(village, "is signed by", "coop.consent/v1", CONSENT, a, village.keys[b])
    given = village.consent(a).id
    village.consent(b)
    register = village.coop.register
    args = {"language": "spa", "batch": SUBJECT, "at": village.clock}
    assert register.consent_for(a, USE, **args) == given
    refused(village, "no consent of yours", "coop.withdrawal/v1", {"consent": given}, b)
    before = register.size
    village.say("coop.withdrawal/v1", {"consent": given}, a)
    village.say("coop.leave/v1", {}, b)
    assert register.consent_for(a, USE, **args) is None
    assert register.consent_for(b, USE, **args) is None
    assert register.consent_for(a, USE, **args, position=before) == given
    refused(village, "no consent of yours", "coop.withdrawal/v1", {"consent": None}, a)
    refused(village, "not a member", "coop.consent/v1", CONSENT, b)


@pytest.mark.parametrize(
    ("changes", "use"),
    [
        ({"purposes": ["dpv:ServiceProvision"]}, {}),
        ({"purposes": ["dpv:AcademicResearch"]}, {"purpose": "dpv:ResearchAndDevelopment"}),  # broader than what was allowed
        ({"processing": ["coop:ModelEvaluation"]}, {}),
        ({"recipients": ["coop:Members"]}, {}),
        ({"licences": ["CC-BY-NC-4.0"]}, {}),
        ({"expires": "2020-01-01T00:00:00Z"}, {}),
        ({"scope": {"languages": ["hin"], "batches": None}}, {}),
        ({"scope": {"languages": None, "batches": [sha256(b"other")]}}, {}),
    ],
)
def test_consent_covers_only_what_it_names(village: Village, changes: dict[str, object], use: dict[str, object]) -> None:
    member = village.members[0]
    village.consent(member, **changes)
    wanted = USE.model_copy(update=use)
    assert village.coop.register.consent_for(member, wanted, language="spa", batch=SUBJECT, at=village.clock) is None
    given = village.consent(member, purposes=[wanted.purpose]).id
    assert village.coop.register.consent_for(member, wanted, language="spa", batch=SUBJECT, at=village.clock) == given


def test_consent_to_a_broader_purpose_covers_a_narrower_one(village: Village) -> None:
    given = village.consent(village.members[0], purposes=["dpv:ResearchAndDevelopment"]).id
    assert village.coop.register.consent_for(village.members[0], USE, language="spa", batch=SUBJECT, at=village.clock) == given


def test_a_halt_needs_the_oversight_body_and_lapses(village: Village) -> None:
    proposal = village.approve("run", SUBJECT)
    overseer = village.members[4]
    until = shift(village.clock, 3600)
    refused(village, "not of the oversight body", "coop.halt/v1", {"proposal": proposal, "until": until}, village.members[0])
    refused(village, "limited time", "coop.halt/v1", {"proposal": proposal, "until": shift(village.clock, 8 * 86_400)}, overseer)
    village.say("coop.halt/v1", {"proposal": proposal, "until": until}, overseer)
    start = {"run": "r", "plan": SUBJECT, "proposal": proposal, "start": 1}
    refused(village, "is halted", "coop.run-start/v1", start, "operator")
    village.wait(3600)
    village.say("coop.run-start/v1", start, "operator")


def test_a_run_starts_only_on_its_own_approval_and_within_its_count(village: Village) -> None:
    start = {"run": "r", "plan": SUBJECT, "start": 1}
    rejected = village.propose("run", SUBJECT).id
    refused(village, "not closed yet", "coop.run-start/v1", start | {"proposal": rejected}, "operator")
    village.close(rejected)
    refused(village, "did not approve", "coop.run-start/v1", start | {"proposal": rejected}, "operator")
    release = village.approve("release", SUBJECT)
    refused(village, "is about a release, not a run", "coop.run-start/v1", start | {"proposal": release}, "operator")
    proposal = village.approve("run", SUBJECT, uses=2)
    refused(village, "no such proposal", "coop.run-start/v1", start | {"proposal": SUBJECT}, "operator")
    refused(village, "another subject", "coop.run-start/v1", start | {"proposal": proposal, "plan": sha256(b"other")}, "operator")
    refused(village, "counted one by one", "coop.run-start/v1", start | {"proposal": proposal, "start": 2}, "operator")
    refused(village, "is the operator's", "coop.run-start/v1", start | {"proposal": proposal}, village.members[0])
    village.say("coop.run-start/v1", start | {"proposal": proposal}, "operator")
    refused(village, "used by another run", "coop.run-start/v1", start | {"proposal": proposal, "run": "s"}, "operator")
    village.say("coop.run-start/v1", start | {"proposal": proposal, "start": 2}, "operator")
    refused(village, "used up", "coop.run-start/v1", start | {"proposal": proposal, "start": 3}, "operator")


def test_an_approval_expires(village: Village) -> None:
    proposal = village.approve("run", SUBJECT)
    village.wait(86_400)
    refused(village, "expired", "coop.run-start/v1", {"run": "r", "plan": SUBJECT, "proposal": proposal, "start": 1}, "operator")


def run_to_end(village: Village, status: str = "completed") -> str:
    proposal = village.approve("run", SUBJECT, uses=2)
    village.say("coop.run-start/v1", {"run": "r", "plan": SUBJECT, "proposal": proposal, "start": 1}, "operator")
    village.say("coop.run-end/v1", {"run": "r", "status": status, "record": sha256(b"record"), "outputs": sha256(b"out")}, "operator")
    return proposal


def test_a_release_needs_a_passed_evaluation_and_its_own_vote(village: Village) -> None:
    run_to_end(village)
    digest = sha256(b"release.json")
    proposal = village.approve("release", digest)
    released = {"run": "r", "release": digest, "proposal": proposal}
    refused(village, "evaluation is missing", "coop.release/v1", released, "operator")
    evaluation = {"run": "r", "report": sha256(b"rep"), "results": sha256(b"res"), "passed": False}
    village.say("coop.evaluation/v1", evaluation, "operator")
    refused(village, "did not pass", "coop.release/v1", released, "operator")
    refused(village, "picking the better result", "coop.evaluation/v1", evaluation | {"passed": True}, "operator")


def test_a_release_goes_out_once_and_names_exactly_the_voted_digest(village: Village) -> None:
    run_proposal = run_to_end(village)
    village.say("coop.evaluation/v1", {"run": "r", "report": sha256(b"rep"), "results": sha256(b"res"), "passed": True}, "operator")
    digest = sha256(b"release.json")
    proposal = village.approve("release", digest)
    refused(village, "another subject", "coop.release/v1", {"run": "r", "release": sha256(b"other"), "proposal": proposal}, "operator")
    refused(village, "about a run, not a release", "coop.release/v1", {"run": "r", "release": SUBJECT, "proposal": run_proposal}, "operator")
    village.say("coop.release/v1", {"run": "r", "release": digest, "proposal": proposal}, "operator")
    refused(village, "used up", "coop.release/v1", {"run": "r", "release": digest, "proposal": proposal}, "operator", issued=shift(village.clock, 1))


def test_only_a_completed_run_is_evaluated_and_a_completed_one_never_restarts(village: Village) -> None:
    proposal = run_to_end(village, "halted")
    evaluation = {"run": "r", "report": sha256(b"rep"), "results": sha256(b"res"), "passed": True}
    refused(village, "only a completed run", "coop.evaluation/v1", evaluation, "operator")
    village.say("coop.run-start/v1", {"run": "r", "plan": SUBJECT, "proposal": proposal, "start": 2}, "operator")
    village.say("coop.run-end/v1", {"run": "r", "status": "completed", "record": sha256(b"rec2"), "outputs": sha256(b"out")}, "operator")
    refused(village, "completed already", "coop.run-end/v1", {"run": "r", "status": "failed", "record": SUBJECT, "outputs": SUBJECT}, "operator")


def test_the_operators_clock_never_goes_back(village: Village) -> None:
    village.wait(100)
    village.say("coop.build/v1", {"manifest": SUBJECT, "root": SUBJECT, "records": 1}, "operator")
    refused(village, "clock went back", "coop.build/v1", {"manifest": sha256(b"2"), "root": SUBJECT, "records": 1}, "operator", issued=shift(village.clock, -1))


def test_statements_of_another_cooperative_or_a_second_founding_are_refused(village: Village) -> None:
    made = body("coop.leave/v1", {}, coop=SUBJECT, author=village.members[0])
    with pytest.raises(Refused, match="another cooperative"):
        village.coop.append(entry(made, [sign(made, village.keys[village.members[0]])]))
    founding = next(village.coop.log.entries(0, 1))
    with pytest.raises(Refused, match="in the log already"):
        village.coop.append(founding)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"type": "coop.unknown/v1"}, "type is unknown"),
        ({"author": "Amina"}, "author is malformed"),
        ({"issued": "2026-13-01T00:00:00Z"}, "no date"),
        ({"issued": "yesterday"}, "issued is malformed"),
        ({"nonce": "1"}, "nonce is malformed"),
        ({"coop": "self"}, "not the digest"),
        ({"extra": 1}, "exactly the fields"),
        ({"payload": {"consent": None, "note": "free text"}}, "payload"),
        ({"payload": {"consent": "Amina Njoroge"}}, "payload"),
        ({"payload": []}, "payload"),
    ],
)
def test_malformed_statements_are_refused(village: Village, change: dict[str, object], why: str) -> None:
    member = village.members[0]
    made = body("coop.withdrawal/v1", {"consent": None}, coop=village.coop.register.coop, author=member) | change
    with pytest.raises(Refused, match=why):
        village.coop.append(entry(made, [sign(made, village.keys[member])]))


def test_an_entry_over_the_size_limit_is_refused(village: Village) -> None:
    member = village.members[0]
    made = body("coop.consent/v1", CONSENT | {"scope": {"languages": None, "batches": [SUBJECT] * 1000}}, coop=village.coop.register.coop, author=member)
    with pytest.raises(Refused, match="too long"):
        village.coop.append(entry(made, [sign(made, village.keys[member])]))


def test_every_statement_type_has_a_rule() -> None:
    assert set(_RULES) == set(PAYLOADS)


@pytest.mark.parametrize("bad", [b"{}", b"no json", b"\xff", b"[]"])
def test_a_malformed_entry_in_a_batch_takes_the_whole_batch_with_it(village: Village, bad: bytes) -> None:
    good, size = village.entry("coop.consent/v1", CONSENT, village.members[0]), village.coop.log.size
    with pytest.raises(CoopError, match="entry 2 of the 2 to append"):
        village.coop.append_all([good, bad])
    assert village.coop.register.size == village.coop.log.size == size
    village.coop.append(good)


def test_an_unsigned_entry_is_refused(village: Village) -> None:
    made = body("coop.leave/v1", {}, coop=village.coop.register.coop, author=village.members[0])
    with pytest.raises(Refused, match="distinct keys"):
        village.coop.append(entry(made, []))
