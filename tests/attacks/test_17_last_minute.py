"""Threat 17: a vote is decided in its last minute, or before anybody could look.

The attacker is a group that keeps its ballots back, or the operator who closes early. Blocked: a proposal is open for the minimum period; where the
bylaws say so, a quorum first reached late prolongs the vote, once, long enough to answer; nothing is closed before its end. A ballot
may be dated back by an hour, so the window is two hours at least.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from governance_hooks.bylaws import DRAFT_S, Rules
from governance_hooks.canonical import digest
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import Refused
from governance_hooks.proof import read_proof
from governance_hooks.state.proposals import Proposal
from governance_hooks.statement import shift
from governance_hooks.tally import roll_root
from tests.attacks.forge import blocked, history, proof_of
from tests.village import RULES, Village, found

DAY, LATE = 86_400, 7_200
SUBJECT = digest("what is rushed through")
RUN = Rules(quorum_percent=60, approval_percent=60, minimum_for=2, minimum_period_s=DAY, late_quorum_s=LATE, expiry_s=30 * DAY)


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Village]:
    """A village that votes on runs for a day, and two hours longer after a late quorum."""
    keys, operator = found(tmp_path / "patient", kinds={"run": RUN.model_dump(), "release": RULES.model_dump()})
    with Cooperative.open(tmp_path / "patient") as coop:
        yield Village(tmp_path / "patient", coop, keys, operator)


@pytest.fixture
def rushed(patient: Village) -> Proposal:
    """A vote into which three of five put their ballots in its last minute."""
    proposal = patient.propose("run", SUBJECT).id
    patient.wait(DAY - 60)
    for member in patient.members[:3]:
        patient.ballot(member, proposal)
    return patient.coop.register.proposals[proposal]


def close(village: Village, proposal: Proposal, *, issued: str) -> bytes:
    counted = {"proposal": proposal.id, "votes_for": 3, "votes_against": 0, "votes_abstain": 0, "outcome": "approved"}
    return village.entry("coop.close/v1", counted, "operator", issued=issued)


def test_a_quorum_of_the_last_minute_gives_everybody_else_the_time_to_answer(patient: Village, rushed: Proposal) -> None:
    assert (rushed.extended, rushed.closes) == (True, shift(rushed.issued, DAY + LATE))
    patient.wait(60 + LATE - 1)
    for member in patient.members[3:]:
        patient.ballot(member, rushed.id, "against")
    patient.ballot(patient.members[0], rushed.id, "against", 2)
    patient.close(rushed.id)
    assert rushed.tally is not None
    assert not rushed.tally.approved


def test_the_operator_cannot_close_a_prolonged_vote_at_its_first_end(patient: Village, rushed: Proposal) -> None:
    patient.wait(60)
    blocked(patient, close(patient, rushed, issued=patient.clock), "this vote is still open")


def test_leaving_out_the_prolongation_is_no_reading_of_the_same_log(patient: Village, rushed: Proposal) -> None:
    patient.wait(60 + LATE)
    patient.coop.append(close(patient, rushed, issued=patient.clock))
    *before, _ = history(patient)
    hasty = proof_of(patient.coop, [*before, close(patient, rushed, issued=shift(rushed.issued, DAY))], at=patient.clock)
    with pytest.raises(Refused, match="this vote is still open"):
        read_proof(hasty).replay(patient.coop.pin)


def test_a_vote_is_prolonged_once_and_not_for_ever(patient: Village, rushed: Proposal) -> None:
    end = rushed.closes
    patient.wait(LATE)
    patient.ballot(patient.members[0], rushed.id, "against", 2)
    patient.ballot(patient.members[3], rushed.id, "abstain")
    assert rushed.closes == end


def test_a_quorum_reached_in_good_time_prolongs_nothing(patient: Village) -> None:
    proposal = patient.coop.register.proposals[patient.propose("run", SUBJECT).id]
    patient.wait(DAY - LATE)
    for member in patient.members[:3]:
        patient.ballot(member, proposal.id)
    patient.wait(LATE - 60)
    patient.ballot(patient.members[3], proposal.id)
    assert not proposal.extended


def test_dating_the_last_ballot_back_does_not_step_out_of_the_window(patient: Village) -> None:
    proposal = patient.coop.register.proposals[patient.propose("run", SUBJECT).id]
    patient.wait(DAY - 60)
    payload = {"proposal": proposal.id, "choice": "for", "sequence": 1, "reason": None}
    with pytest.raises(Refused, match="this statement was drafted too long ago"):
        patient.say("coop.ballot/v1", payload, patient.members[0], issued=shift(proposal.closes, -LATE))
    for member in patient.members[:3]:
        patient.say("coop.ballot/v1", payload, member, issued=shift(patient.clock, -DRAFT_S))  # as far back as the writer lets them
    assert proposal.extended


@pytest.mark.parametrize("late_quorum_s", [1, 600, DRAFT_S, 2 * DRAFT_S - 1])
def test_bylaws_know_no_window_that_a_backdated_ballot_steps_out_of(late_quorum_s: int) -> None:
    with pytest.raises(ValidationError, match=f"late_quorum_s is 0, or {2 * DRAFT_S} or more"):
        Rules.model_validate(RULES.model_dump() | {"late_quorum_s": late_quorum_s})


def proposal_of(village: Village, *, closes: str, issued: str | None = None) -> bytes:
    roll = village.coop.register.active()
    payload = {
        "kind": "run",
        "subject": SUBJECT,
        "rules": RUN.model_dump(),
        "roll": {"root": roll_root(roll), "members": len(roll)},
        "closes": closes,
        "uses": 1,
        "motion": None,
        "draft": None,
    }
    return village.entry("coop.proposal/v1", payload, village.members[0], issued=issued)


@pytest.mark.parametrize("open_for_s", [0, 60, DAY - 1, -DAY])
def test_a_vote_is_open_for_the_minimum_period(patient: Village, open_for_s: int) -> None:
    blocked(patient, proposal_of(patient, closes=shift(patient.clock, open_for_s)), "a proposal stays open for the minimum period")


def test_a_proposal_kept_in_a_drawer_is_not_open_since_it_was_signed(patient: Village) -> None:
    kept = proposal_of(patient, closes=shift(patient.clock, DAY))
    patient.wait(DAY - 60)  # a minute before the end the proposers chose
    with pytest.raises(Refused, match="this statement was drafted too long ago"):
        patient.coop.append(kept)
    patient.say("coop.time/v1", {}, "operator")
    with pytest.raises(Refused, match="this statement is backdated"):  # and once the operator has stated the time, no reader accepts it either
        read_proof(proof_of(patient.coop, [*history(patient), kept], at=patient.clock)).replay(patient.coop.pin)


def test_the_operator_closes_no_vote_before_its_end(patient: Village) -> None:
    proposal = patient.coop.register.proposals[patient.propose("run", SUBJECT).id]
    for member in patient.members[:3]:
        patient.ballot(member, proposal.id)
    blocked(patient, close(patient, proposal, issued=patient.clock), "this vote is still open")
    ahead = close(patient, proposal, issued=proposal.closes)
    with pytest.raises(Refused, match="this statement is dated in the future"):
        patient.coop.append(ahead)
    with pytest.raises(Refused, match="it is dated after the checkpoint that covers it"):
        read_proof(proof_of(patient.coop, [*history(patient), ahead], at=patient.clock)).replay(patient.coop.pin)


def test_who_was_outvoted_in_the_last_minute_still_has_the_challenge_window(tmp_path: Path) -> None:
    rules = Rules.model_validate(RULES.model_dump() | {"challenge_s": 3600, "objections": 2})
    keys, operator = found(tmp_path / "v", kinds={"run": rules.model_dump(), "release": RULES.model_dump()})
    with Cooperative.open(tmp_path / "v") as coop:
        village = Village(tmp_path / "v", coop, keys, operator)
        proposal = village.approve("run", SUBJECT)
        start = {"run": "r", "plan": SUBJECT, "proposal": proposal, "start": 1, "counted": []}
        blocked(village, village.entry("coop.run-start/v1", start, "operator"), "members can still object to this approval")
        for member in village.members[3:]:
            village.say("coop.objection/v1", {"proposal": proposal, "reason": None}, member)
        village.wait(3600)
        blocked(village, village.entry("coop.run-start/v1", start, "operator"), "2 members objected in time: the approval is undone")
