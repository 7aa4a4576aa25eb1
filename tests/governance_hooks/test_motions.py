"""Motions: each takes effect by itself, is refused where it could not, and lapses where it no longer can."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.bylaws import Bylaws, Rules
from governance_hooks.canonical import sha256
from governance_hooks.errors import Refused
from governance_hooks.fields import Strict
from governance_hooks.motions import Admit, AmendBylaws, ChangeOperator, Consult, Suspend, Waive
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import shift
from governance_hooks.witness.cosigner import ED25519, Cosigner
from tests.village import RULES, Village

Founded = Callable[..., Village]
DAY, WEEK = 86_400, 7 * 86_400
SUBJECT, NEW = sha256(b"a plan"), "m-" + "f" * 16


def until(village: Village, days: int) -> str:
    return shift(village.clock, days * DAY)


def refuses(village: Village, why: str, motion: Strict, *signers: Any, by: str | None = None) -> None:
    village.refuses(why, "coop.proposal/v1", village.motion(motion), by or village.members[0], *signers)


def lapses(village: Village, why: str, proposal: str) -> None:
    """A decision that waits for its time never takes effect, and says why."""
    village.stamp(WEEK)
    decided = village.coop.register.proposals[proposal]
    assert decided.enacted is None
    assert why in (decided.lapsed or "")
    assert decided not in village.coop.register.pending


def both(village: Village, first: tuple[Strict, Any], second: tuple[Strict, Any], why: str) -> str:
    """Approve two motions at once; the first takes effect, the second lapses. Return the first."""
    ids = [village.move(motion, *signers, by=by).id for (motion, signers), by in zip((first, second), village.members, strict=False)]
    village.carry(*ids)
    lapses(village, why, ids[1])
    assert village.coop.register.proposals[ids[0]].enacted is not None
    return ids[0]


def evaluated(village: Village, *, passed: bool) -> str:
    """Run, complete and evaluate `r`; return the digest of the report."""
    proposal = village.approve("run", SUBJECT)
    village.say("coop.run-start/v1", {"run": "r", "plan": SUBJECT, "proposal": proposal, "start": 1}, "operator")
    village.say("coop.run-end/v1", {"run": "r", "status": "completed", "record": SUBJECT, "outputs": SUBJECT}, "operator")
    report = sha256(b"report")
    village.say("coop.evaluation/v1", {"run": "r", "report": report, "results": SUBJECT, "passed": passed}, "operator")
    return report


def test_an_amendment_is_in_force_when_its_challenge_window_is_over_and_not_before(village: Village) -> None:
    proposal = village.move(village.amendment(open_proposals=1)).id
    village.carry(proposal)
    register = village.coop.register
    village.stamp(2 * DAY - 1)
    assert (register.bylaws.version, register.proposals[proposal].enacted) == (1, None)
    village.stamp(1)
    assert (register.bylaws.version, register.bylaws.open_proposals) == (2, 1)
    assert register.proposals[proposal].enacted == register.size - 1
    village.stamp(WEEK)
    assert register.bylaws.version == 2  # once
    village.propose("run", SUBJECT)
    village.refuses("as many proposals open", "coop.proposal/v1", village.proposal("run", SUBJECT), village.members[0])


def test_an_amendment_changes_no_vote_that_is_open(village: Village) -> None:
    strict = RULES.model_copy(update={"quorum_percent": 100}).model_dump()
    proposal = village.propose("run", SUBJECT, closes=until(village, 30)).id
    village.decide(village.amendment(kinds={"run": strict, "release": strict}))
    for member in village.members[:3]:
        village.ballot(member, proposal)
    assert village.close(proposal).payload.outcome == "approved"  # type: ignore[attr-defined]
    assert village.coop.register.bylaws.rules("run").quorum_percent == 100


AMENDMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "the same version": ("has the next version", {"version": 1}),
    "a version too far": ("has the next version", {"version": 3}),
    "a registrar who is nobody": ("no member in good standing", {"registrars": [NEW], "registrars_required": 1}),
    "an overseer who is nobody": ("no member in good standing", {"oversight": [NEW]}),
    "nobody could amend again": ("ever approve a proposal of kind bylaws", {"kinds": {"bylaws": Rules(minimum_for=6)}}),
    "nobody could sponsor an amendment": ("ever approve a proposal of kind bylaws", {"kinds": {"bylaws": Rules(sponsors=6)}}),
    "nobody could hear an appeal": ("ever approve a proposal of kind appeal", {"kinds": {"appeal": Rules(minimum_for=6)}}),
}


@pytest.mark.parametrize("case", AMENDMENTS)
def test_an_amendment_that_cannot_be_is_not_even_proposed(village: Village, case: str) -> None:
    why, changes = AMENDMENTS[case]
    if "kinds" in changes:
        changes = {"kinds": {"run": RULES, "release": RULES} | changes["kinds"]}
    now = village.coop.register.bylaws.model_dump()
    refuses(village, why, AmendBylaws(bylaws=Bylaws.model_validate(now | {"version": 2} | changes)))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kinds": {"release": RULES.model_dump()}}, "rules for run and release"),
        ({"registrars_required": 4}, "more than there are registrars"),
        ({"oversight_required": 3}, "more than the oversight body"),
        ({"halt_max_s": DAY}, "halt would lapse"),
        ({"kinds": {"run": RULES, "release": RULES, "halt": Rules(minimum_period_s=6 * DAY, late_quorum_s=DAY)}}, "halt would lapse"),
        ({"kinds": {"run": RULES, "release": RULES, "consultation": Rules(quorum="rejection")}}, "no rejection quorum"),
        ({"oversight_term_s": 2**53 - 1}, "oversight_term_s"),
        ({"recovery_delay_s": 2**53 - 1}, "recovery_delay_s"),
        ({"halt_max_s": 2**53 - 1}, "halt_max_s"),
    ],
)
def test_bylaws_that_contradict_themselves_are_refused(village: Village, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        village.amendment(**changes)


def test_of_two_amendments_of_one_version_the_first_takes_effect_and_the_other_lapses(village: Village) -> None:
    both(village, (village.amendment(open_proposals=7), ()), (village.amendment(open_proposals=9), ()), "has the next version")
    assert village.coop.register.bylaws.open_proposals == 7


def test_an_amendment_lapses_when_somebody_it_names_has_left(village: Village) -> None:
    proposal = village.move(village.amendment()).id
    village.carry(proposal)
    village.say("coop.leave/v1", {}, village.members[0])
    lapses(village, "no member in good standing", proposal)


def test_the_first_bylaws_are_version_one(founded: Founded) -> None:
    with pytest.raises(Exception, match="the first bylaws are version 1"):
        founded(version=2**53 - 2)


def test_a_waiver_lets_one_failed_evaluation_pass_and_no_other(village: Village) -> None:
    refuses(village, "no such run", Waive(run="r", report=SUBJECT))
    report = evaluated(village, passed=False)
    refuses(village, "evaluation the log knows", Waive(run="r", report=SUBJECT))
    stated = {"run": "r", "release": SUBJECT, "proposal": village.approve("release", SUBJECT)}
    village.refuses("did not pass", "coop.release/v1", stated, "operator")
    waiver = Waive(run="r", report=report)
    proposal = both(village, (waiver, ()), (waiver, ()), "waived already")
    refuses(village, "waived already", waiver)
    village.say("coop.release/v1", stated | {"proposal": village.approve("release", SUBJECT)}, "operator")
    assert village.coop.register.runs["r"].waived_before_release() == proposal


def test_a_passed_evaluation_is_not_waived(village: Village) -> None:
    report = evaluated(village, passed=True)
    refuses(village, "nothing to waive", Waive(run="r", report=report))


def test_a_member_is_admitted_by_vote_with_a_key_of_their_own(village: Village) -> None:
    new, m = generate_key(village.root / "new"), village.members
    motion = Admit(member=NEW, key=new.public.line)
    refuses(village, "proof of possession", motion)
    refuses(village, "not signed by its author", motion, new)
    refuses(village, "id is taken", Admit(member=m[3], key=new.public.line), village.keys[m[0]], new)
    refuses(village, "enrolled already", Admit(member=NEW, key=village.keys[m[1]].public.line), village.keys[m[0]], village.keys[m[1]])
    refuses(village, "enrolled already", Admit(member=NEW, key=village.operator.public.line), village.keys[m[0]], village.operator)
    village.decide(motion, village.keys[m[0]], new)
    village.keys[NEW] = new
    village.ballot(NEW, village.propose("run", SUBJECT, by=NEW).id)


def test_a_key_admitted_twice_or_enrolled_meanwhile_changes_no_hands(village: Village) -> None:
    new, m = generate_key(village.root / "new"), village.members
    other = "m-" + "e" * 16
    one, two = Admit(member=NEW, key=new.public.line), Admit(member=other, key=new.public.line)
    both(village, (one, (village.keys[m[0]], new)), (two, (village.keys[m[1]], new)), "enrolled already")
    village.keys[NEW], register = new, village.coop.register
    assert (register.known_keys[new.public.raw], other in register.members) == (NEW, False)
    third = generate_key(village.root / "third")
    proposal = village.move(Admit(member=other, key=third.public.line), village.keys[m[0]], third).id
    village.say("coop.key/v1", {"action": "add", "key": third.public.line}, m[4], village.keys[m[4]], third)
    village.carry(proposal)
    assert "enrolled already" in (register.proposals[proposal].lapsed or "")
    assert register.known_keys[third.public.raw] == m[4]


def test_a_suspended_member_proposes_nothing_holds_no_office_and_is_on_no_new_roll(village: Village) -> None:
    m = village.members
    open_before = village.propose("run", SUBJECT, closes=until(village, 60)).id
    refuses(village, "a time to come", Suspend(member=m[0], until=shift(village.clock, -DAY)))
    refuses(village, "not a member", Suspend(member=NEW, until=until(village, 30)))
    village.decide(Suspend(member=m[0], until=until(village, 30)))
    village.refuses("this member is suspended", "coop.proposal/v1", village.proposal("run", SUBJECT), m[0])
    village.refuses("this member is suspended", "coop.draft/v1", {"kind": "run", "subject": SUBJECT, "previous": None}, m[0])
    new = generate_key(village.root / "new")
    admission = {"member": NEW, "key": new.public.line}
    village.refuses("no registrar", "coop.admission/v1", admission, NEW, new, village.keys[m[0]], village.keys[m[1]])
    refuses(village, "a key that is no member's", Suspend(member=m[1], until=until(village, 30)), village.keys[m[1]], village.keys[m[0]], by=m[1])
    assert m[0] not in village.coop.register.proposals[village.propose("run", SUBJECT, by=m[1]).id].roll
    village.ballot(m[0], open_before)  # that roll was frozen before: whoever suspends changes no vote that is open
    village.consent(m[0])
    village.stamp(30 * DAY)
    village.propose("run", SUBJECT, by=m[0])


def test_objectors_who_are_suspended_still_object_to_what_was_decided_before(founded: Founded) -> None:
    rested = RULES.model_copy(update={"challenge_s": 6 * DAY, "expiry_s": 20 * DAY, "objections": 1}).model_dump()
    village = founded(kinds={"run": rested, "release": rested})
    suspension = Suspend(member=village.members[0], until=until(village, 90))
    proposal = village.move(suspension, by=village.members[1]).id
    village.wait(3 * DAY - 60)
    for member in village.members:
        village.ballot(member, proposal)
    approval = village.approve("run", SUBJECT)
    village.close(proposal)
    village.stamp(2 * DAY)
    assert village.coop.register.suspended(village.coop.register.members[village.members[0]])
    village.say("coop.objection/v1", {"proposal": approval, "reason": None}, village.members[0])
    assert village.coop.register.proposals[approval].contested()


def test_nobody_is_left_who_could_amend_or_hear_an_appeal(founded: Founded) -> None:
    village = founded(founders=3, oversight=[], oversight_required=1)
    m = village.members
    village.decide(Suspend(member=m[2], until=until(village, 90)))
    refuses(village, "too few members in good standing would be left", Suspend(member=m[1], until=until(village, 90)))


def test_a_suspension_lapses_when_too_few_would_be_left_by_then(founded: Founded) -> None:
    village = founded(founders=3, oversight=[], oversight_required=1)
    one, two = (Suspend(member=member, until=until(village, 90)) for member in village.members[:2])
    both(village, (one, ()), (two, ()), "too few members in good standing")


def test_a_suspended_member_who_has_left_is_suspended_no_more(village: Village) -> None:
    proposal = village.move(Suspend(member=village.members[0], until=until(village, 30))).id
    village.carry(proposal)
    village.say("coop.leave/v1", {}, village.members[0])
    lapses(village, "not a member", proposal)


def test_a_consultation_binds_nobody_and_is_counted_by_everybody(village: Village) -> None:
    question = Consult(question=SUBJECT, options=[sha256(bytes([i])) for i in range(3)], method="ranked")
    asked = village.move(question).id
    answer = {"proposal": asked, "options": [2, 0], "sequence": 1, "reason": None}
    a = village.members[0]
    village.refuses("names options of the question", "coop.preference/v1", answer | {"options": [3]}, a)
    village.refuses("each once", "coop.preference/v1", answer | {"options": [1, 1]}, a)
    village.refuses("asks for options", "coop.ballot/v1", {"proposal": asked, "choice": "for", "sequence": 1, "reason": None}, a)
    vote = village.propose("run", SUBJECT, closes=until(village, 9)).id
    village.refuses("for or against", "coop.preference/v1", answer | {"proposal": vote}, a)
    village.say("coop.preference/v1", answer, a)
    village.say("coop.preference/v1", answer | {"options": [1], "sequence": 2}, a)
    village.say("coop.preference/v1", answer, village.members[1])
    village.say("coop.preference/v1", answer, village.members[2])
    village.wait(DAY)
    result = {"proposal": asked, "cast": 3, "quorate": True, "winners": [2]}
    for wrong in ({"cast": 2}, {"quorate": False}, {"winners": [1]}, {"winners": []}):
        village.refuses("does not match the ballots", "coop.consultation-close/v1", result | wrong, "operator")
    village.say("coop.consultation-close/v1", result, "operator")
    village.refuses("vote is closed", "coop.preference/v1", answer, village.members[3])
    approval = village.move(question.model_copy(update={"method": "approval"})).id
    village.refuses("listed in order", "coop.preference/v1", answer | {"proposal": approval}, a)


def test_neither_an_amendment_nor_a_new_operator_makes_somebody_their_own_witness(village: Village, tmp_path: Path) -> None:
    register = village.coop.register
    itself = Cosigner("elsewhere.example/log", ED25519, register.operator).text
    with pytest.raises(Refused, match="cannot be witnesses of themselves"):
        village.move(AmendBylaws(bylaws=register.bylaws.model_copy(update={"version": 2, "witnesses": [itself]})))
    new = generate_key(tmp_path / "new-operator")
    village.decide(
        AmendBylaws(bylaws=register.bylaws.model_copy(update={"version": 2, "witnesses": [Cosigner("sister.example/w", ED25519, new.public.raw).text]}))
    )
    with pytest.raises(Refused, match="cannot be witnesses of themselves"):
        village.move(ChangeOperator(operator=new.public.line), village.keys[village.members[0]], new)
