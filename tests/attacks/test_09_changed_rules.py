"""Threat 9: rules are changed after a vote so that it comes out otherwise (OpenZeppelin GHSA-xrc4-737v-9q75, gittuf CVE-2026-44544).

The attacker holds the operator's key and the log's key, or has a majority later on that they did not have then. Blocked: every proposal
carries a copy of its rules and its frozen roll, and is counted by those for ever; bylaws change by a vote only, by themselves, with the next
version; what is old does not come back.
"""

from pathlib import Path
from typing import Any

import pytest

from governance_hooks.bylaws import Bylaws
from governance_hooks.canonical import digest
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import Refused
from governance_hooks.motions import AmendBylaws, subject_of
from governance_hooks.statement import shift
from governance_hooks.tally import roll_root
from tests.attacks.forge import blocked
from tests.village import RULES, Village, found

SUBJECT, DAY = digest("what was voted down"), 86_400


def amended(village: Village, **run: Any) -> Bylaws:
    """Return the bylaws in force with other rules for runs and the next version."""
    bylaws = village.coop.register.bylaws
    document = bylaws.model_dump()
    document["kinds"]["run"] |= run
    return Bylaws.model_validate(document | {"version": bylaws.version + 1})


def amend(village: Village, **run: Any) -> str:
    """Have everybody agree to other rules for runs and wait until they are in force; return the proposal."""
    return village.decide(AmendBylaws(bylaws=amended(village, **run)))


def opened(village: Village, **changes: Any) -> bytes:
    """Make a proposal by the bylaws in force, but for the changes."""
    roll = village.coop.register.active()
    payload: dict[str, Any] = {
        "kind": "run",
        "subject": SUBJECT,
        "rules": village.coop.register.bylaws.rules("run").model_dump(),
        "roll": {"root": roll_root(roll), "members": len(roll)},
        "closes": shift(village.clock, 60 * DAY),
        "uses": 1,
        "motion": None,
        "draft": None,
    }
    return village.entry("coop.proposal/v1", payload | changes, village.members[0])


def test_a_lower_quorum_does_not_approve_what_had_missed_the_quorum(village: Village) -> None:
    lost = village.propose("run", SUBJECT).id
    for member in village.members[:2]:  # two of five: 40 %
        village.ballot(member, lost)
    village.close(lost)
    amend(village, quorum_percent=1, expiry_s=300 * 86_400)
    proposal = village.coop.register.proposals[lost]
    assert (village.coop.register.bylaws.rules("run").quorum_percent, proposal.rules) == (1, RULES)
    assert proposal.count().why == "quorum missed: 2 of 5 voted, 50% needed"
    start = village.entry("coop.run-start/v1", {"run": "r", "plan": SUBJECT, "proposal": lost, "start": 1}, "operator")
    blocked(village, start, "members did not approve this: quorum missed: 2 of 5 voted, 50% needed")


def test_a_vote_that_is_open_goes_on_under_the_rules_it_opened_with(village: Village) -> None:
    running = village.propose("run", SUBJECT, closes=shift(village.clock, 60 * DAY)).id
    for member in village.members[:2]:
        village.ballot(member, running)
    amend(village, quorum_percent=1)
    proposal = village.coop.register.proposals[running]
    assert not proposal.count().approved
    village.stamp(60 * DAY)
    stated = {"proposal": running, "votes_for": 2, "votes_against": 0, "votes_abstain": 0, "outcome": "approved"}
    blocked(village, village.entry("coop.close/v1", stated, "operator"), "the close does not match the ballots")


def test_a_higher_quorum_does_not_undo_an_approval(village: Village) -> None:
    won = village.propose("run", SUBJECT).id
    for member in village.members[:3]:
        village.ballot(member, won)
    village.close(won)
    amend(village, quorum_percent=100)
    assert village.coop.register.proposals[won].count().approved


@pytest.mark.parametrize("rule", [{"quorum_percent": 1}, {"approval_percent": 1}, {"minimum_for": 1}, {"minimum_period_s": 0}], ids=str)
def test_a_proposal_cannot_bring_rules_of_its_own(village: Village, rule: dict[str, int]) -> None:
    rules = village.coop.register.bylaws.rules("run").model_dump() | rule
    blocked(village, opened(village, rules=rules), "a proposal copies the rules of the bylaws in force")


def test_a_proposal_cannot_copy_the_kinder_rules_of_earlier_bylaws(village: Village) -> None:
    kind = village.coop.register.bylaws.rules("run").model_dump()
    amend(village, quorum_percent=90)
    blocked(village, opened(village, rules=kind), "a proposal copies the rules of the bylaws in force")


def test_a_proposal_cannot_be_of_a_kind_with_kinder_rules(village: Village) -> None:
    bylaws = AmendBylaws(bylaws=amended(village, quorum_percent=1))
    as_run = opened(village, subject=subject_of(bylaws), motion=bylaws.model_dump(mode="json"))
    blocked(village, as_run, "a proposal of kind run has no motion")
    payload = {"kind": "bylaws", "rules": village.coop.register.bylaws.rules("bylaws").model_dump(), "subject": subject_of(bylaws), "motion": None}
    blocked(village, opened(village, **payload), "a proposal of kind bylaws has a motion of that kind")


def test_the_text_members_agree_to_is_the_text_that_takes_effect(village: Village) -> None:
    harmless, other = AmendBylaws(bylaws=amended(village, quorum_percent=60)), AmendBylaws(bylaws=amended(village, quorum_percent=1))
    rules = village.coop.register.bylaws.rules("bylaws").model_dump()
    two_faced = opened(village, kind="bylaws", rules=rules, subject=subject_of(harmless), motion=other.model_dump(mode="json"))
    blocked(village, two_faced, "a proposal with a motion is about that motion's digest")


def test_earlier_bylaws_do_not_come_back(village: Village) -> None:
    old = village.coop.register.bylaws
    amend(village, quorum_percent=90)
    with pytest.raises(Refused, match="an amendment is of the bylaws in force, and has the next version"):
        village.move(AmendBylaws(bylaws=old))


def test_of_two_amendments_of_one_version_the_second_never_takes_effect(village: Village) -> None:
    stricter, kinder = AmendBylaws(bylaws=amended(village, quorum_percent=90)), AmendBylaws(bylaws=amended(village, quorum_percent=1))
    first, second = village.move(stricter).id, village.move(kinder, by=village.members[1]).id
    for proposal in (first, second):
        for member in village.members:
            village.ballot(member, proposal)
    for proposal in (first, second):
        village.close(proposal)
    village.wait(3 * 86_400)
    village.say("coop.time/v1", {}, "operator")
    assert village.coop.register.bylaws.rules("run").quorum_percent == 90
    assert "has the next version" in str(village.coop.register.proposals[second].lapsed)


def test_an_amendment_is_in_force_although_the_operator_never_says_so(village: Village) -> None:
    motion = AmendBylaws(bylaws=amended(village, quorum_percent=90))
    proposal = village.move(motion).id
    for member in village.members:
        village.ballot(member, proposal)
    village.close(proposal)
    village.wait(village.coop.register.proposals[proposal].rules.challenge_s + 1)
    village.say("coop.build/v1", {"manifest": digest("any"), "root": digest("any"), "records": 1}, "operator")  # any statement of theirs
    assert village.coop.register.bylaws.rules("run").quorum_percent == 90


def test_the_operator_cannot_amend(village: Village) -> None:
    bylaws = AmendBylaws(bylaws=amended(village, quorum_percent=1))
    roll, rules = village.coop.register.active(), village.coop.register.bylaws.rules("bylaws").model_dump()
    payload = {
        "kind": "bylaws",
        "subject": subject_of(bylaws),
        "rules": rules,
        "roll": {"root": roll_root(roll), "members": len(roll)},
        "closes": shift(village.clock, 60 * DAY),
        "uses": 1,
        "motion": bylaws.model_dump(mode="json"),
        "draft": None,
    }
    blocked(village, village.entry("coop.proposal/v1", payload, "operator"), "not a member of this cooperative")
    by_vote_of_none = village.move(bylaws).id
    village.wait(7 * 86_400)
    stated = {"proposal": by_vote_of_none, "votes_for": 0, "votes_against": 0, "votes_abstain": 0, "outcome": "approved"}
    blocked(village, village.entry("coop.close/v1", stated, "operator"), "the close does not match the ballots")


def test_a_second_founding_with_other_bylaws_is_no_amendment(village: Village, tmp_path: Path) -> None:
    found(tmp_path / "other", founders=3)
    with Cooperative.open(tmp_path / "other", read_only=True) as other:
        blocked(village, other.proof().entries[0], "statement belongs to another cooperative")
