"""Threat 6: ballots are stuffed into a vote that is over.

The attacker is the operator with every key of the log, and members who sign late ballots and date them back. Blocked: no ballot counts
after the closing time or the close, whatever its date; a close is recounted by every reader. An operator who writes the history anew,
with the ballot before a new close, makes another log: everybody who saw the first one has both signed checkpoints as evidence. In a
secret poll belenios-tool takes a late ballot, counts only it, and is content: our log and our auditor refuse it.
"""

from pathlib import Path

import pytest

from governance_hooks.bylaws import Rules
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import Refused
from governance_hooks.gate import run_gate
from governance_hooks.memory import Memory
from governance_hooks.proof import read_proof
from governance_hooks.state.proposals import Proposal
from governance_hooks.statement import shift
from governance_hooks.witness.evidence import Evidence
from tests.attacks.forge import blocked, broken, forged_proof, history, proof_of, request_for
from tests.attacks.test_secret_archives import Operator
from tests.governance_hooks.test_secret_auditor import SPARE, anchor, audited, failed, parts
from tests.governance_hooks.test_secret_rules import payload as secret_payload
from tests.secret_poll import open_poll, write
from tests.village import RULES, Approved, Village, found

SUBJECT = digest("what is voted on")


def ballot(village: Village, proposal: str, member: str, *, issued: str | None = None, choice: str = "for", sequence: int = 1) -> bytes:
    payload = {"proposal": proposal, "choice": choice, "sequence": sequence, "reason": None}
    return village.entry("coop.ballot/v1", payload, member, issued=issued)


@pytest.fixture
def lost(village: Village) -> Proposal:
    """A vote that two of five cast against it has lost, and its close is the newest entry."""
    proposal = village.propose("run", SUBJECT).id
    for member in village.members[:2]:
        village.ballot(member, proposal, "against")
    village.close(proposal)
    return village.coop.register.proposals[proposal]


def test_a_ballot_after_the_close_does_not_count(village: Village, lost: Proposal, tmp_path: Path) -> None:
    village.wait(5)
    blocked(village, ballot(village, lost.id, village.members[2]), "this vote is closed", tmp_path)


def test_a_ballot_after_the_close_does_not_count_although_it_is_dated_before(village: Village, lost: Proposal, tmp_path: Path) -> None:
    blocked(village, ballot(village, lost.id, village.members[2], issued=shift(lost.closes, -30)), "this vote is closed", tmp_path)


def test_a_ballot_after_the_closing_time_does_not_count_although_the_vote_is_not_closed_yet(village: Village) -> None:
    proposal = village.propose("run", SUBJECT).id
    village.wait(61)
    blocked(village, ballot(village, proposal, village.members[0]), "this vote is closed")


def test_a_ballot_dated_back_into_a_vote_that_lies_unclosed_is_not_written(village: Village) -> None:
    proposal = village.propose("run", SUBJECT).id
    end = village.coop.register.proposals[proposal].closes
    for member in village.members[:2]:
        village.ballot(member, proposal, "against")
    village.wait(86_400)  # everybody has seen the count, and nobody has closed the vote yet
    for member in village.members[2:]:
        with pytest.raises(Refused, match="this vote is over"):
            village.coop.append(ballot(village, proposal, member, issued=end))
    assert village.close(proposal).payload.outcome == "rejected"  # type: ignore[attr-defined]


def test_a_changed_mind_after_the_close_changes_nothing(village: Village, lost: Proposal) -> None:
    blocked(village, ballot(village, lost.id, village.members[0], sequence=2), "this vote is closed")


@pytest.mark.parametrize("stated", [{"votes_for": 3, "outcome": "approved"}, {"votes_for": 0}], ids=["another count", "the same count"])
def test_a_vote_is_not_closed_a_second_time(village: Village, lost: Proposal, stated: dict[str, object]) -> None:
    village.wait(5)
    payload = {"proposal": lost.id, "votes_for": 0, "votes_against": 2, "votes_abstain": 0, "outcome": "rejected"} | stated
    blocked(village, village.entry("coop.close/v1", payload, "operator"), "this vote is closed already")


def test_a_late_ballot_put_before_the_close_no_longer_fits_the_close(village: Village, lost: Proposal) -> None:
    *before, close = history(village)
    late = [ballot(village, lost.id, member, issued=shift(lost.closes, -1)) for member in village.members[2:]]  # members who help
    stuffed = proof_of(village.coop, [*before, *late, close], at=village.clock)
    with pytest.raises(Refused, match="the close does not match the ballots"):
        read_proof(stuffed).replay(village.coop.pin)


def stuffed_log(village: Village, lost: Proposal) -> bytes:
    """Write the end of the log anew: three late ballots of members who help, and another close over them."""
    *before, _ = history(village)
    late = [ballot(village, lost.id, member, issued=shift(lost.closes, -1)) for member in village.members[2:]]
    counted = {"proposal": lost.id, "votes_for": 3, "votes_against": 2, "votes_abstain": 0, "outcome": "approved"}
    close = village.entry("coop.close/v1", counted, "operator", issued=lost.closes)
    return proof_of(village.coop, [*before, *late, close], at=village.clock)


def test_whoever_saw_the_close_has_the_evidence_against_a_history_with_another_one(village: Village, lost: Proposal, tmp_path: Path) -> None:
    memory, key = Memory(village.coop.pin, tmp_path / "state"), village.coop.register.log_key
    memory.check_proof(village.coop.proof(), key, None)
    forged = read_proof(stuffed_log(village, lost))
    assert forged.replay(village.coop.pin).register.proposals[lost.id].tally.approved  # type: ignore[union-attr] # it holds, read alone
    with pytest.raises(Refused, match=r"the log is a fork: its first .* entries are not those this machine saw before"):
        memory.check_proof(forged, key, memory.load())
    (kept,) = (tmp_path / "state" / "evidence").iterdir()
    verdict = Evidence.read(kept).judge()  # what anybody can check who is given the folder
    assert (verdict.kind, "entries were changed or left out" in verdict.words) == ("fork", True)


def test_a_run_that_was_voted_down_does_not_start_on_a_late_ballot(village: Village) -> None:
    approved = Approved(village)
    document = approved.plan.model_copy(update={"name": "unwanted"})
    approved.plan_bytes = dumps(document.model_dump())
    proposal = village.propose("run", sha256(approved.plan_bytes), uses=2).id
    for member in village.members[:3]:
        village.ballot(member, proposal, "against")
    village.close(proposal)
    late = [ballot(village, proposal, member) for member in village.members[3:]]
    broken(run_gate(request_for(approved)), "ballots recounted", "members did not approve it: 0 of 3 for, 60% needed")
    broken(run_gate(request_for(approved, proof=forged_proof(village.coop, *late, at=village.clock))), "proof is of this log", "this vote is closed")


def test_an_objection_after_the_challenge_window_undoes_nothing(tmp_path: Path) -> None:
    challenged = Rules.model_validate(RULES.model_dump() | {"challenge_s": 600, "objections": 1})
    keys, operator = found(tmp_path / "v", kinds={"run": challenged.model_dump(), "release": RULES.model_dump()})
    with Cooperative.open(tmp_path / "v") as coop:
        village = Village(tmp_path / "v", coop, keys, operator)
        proposal = village.approve("run", SUBJECT)
        village.wait(600)
        blocked(village, village.entry("coop.objection/v1", {"proposal": proposal, "reason": None}, village.members[0]), "the time to object is over")
        village.say("coop.time/v1", {}, "operator")
        early = village.entry("coop.objection/v1", {"proposal": proposal, "reason": None}, village.members[0], issued=shift(village.clock, -1))
        blocked(village, early, "the time to object is over")


# Secret polls: the archive is the operator's, and the tool checks less than one thinks.


def test_the_log_anchors_no_secret_ballot_after_the_end(village10: Village) -> None:
    village = village10
    opened = open_poll(village, secret_payload(village)).id
    ballot = {"poll": opened, "event": "Ballot", "sequence": 1, "digest": digest("late")}
    village.wait(61)
    blocked(village, village.entry("coop.secret-event/v1", ballot, "operator"), "this poll is closed")
    village.say("coop.secret-event/v1", ballot | {"event": "EndBallots"}, "operator")
    blocked(village, village.entry("coop.secret-event/v1", ballot | {"sequence": 2}, "operator"), "came after the end")


def test_the_auditor_finds_a_ballot_after_the_end_in_an_archive_whose_digests_all_fit(village10: Village) -> None:
    made = parts()
    end = next(number for number, part in enumerate(made) if part[0] == "EndBallots")
    late = write([*made[: end + 1], ("Ballot", SPARE["late"], []), *made[end + 1 :]])
    anchor(village10, late)  # past the rules of the log
    assert "a ballot came after the end of the ballots" in failed(audited(village10, late), "order of events")


@pytest.mark.belenios
def test_a_late_secret_ballot_replaces_all_others_and_the_tool_is_content(village10: Village, tmp_path: Path) -> None:
    operator = Operator(village10, tmp_path / "poll")
    late = operator.ceremony.ballot(village10.members[7], "yes")
    operator.add("EndBallots")
    operator.add("Ballot", late)
    assert operator.count() == [1, 0, 0]  # instead of 2, 4, 0
    assert operator.says() == "all checks passed"
    operator.anchored()
    operator.blocked("a ballot came after the end of the ballots")
