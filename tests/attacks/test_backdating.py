"""Dates that do not fit the clocks: too old, too new, too long, or none at all."""

from pathlib import Path

import pytest

from governance_hooks.canonical import digest
from governance_hooks.errors import CoopError, Refused
from governance_hooks.gate import run_gate
from governance_hooks.proof import read_proof
from governance_hooks.statement import entry, parse, shift, sign
from governance_hooks.tally import roll_root
from tests.attacks.forge import Story, broken, forged_proof, request_for
from tests.village import CONSENT, Approved, Village


def proposal_of_the_past(village: Village, age_s: int) -> bytes:
    """Return a proposal dated so long ago that its minimum period seems to be over."""
    roll, past = village.coop.register.active(), shift(village.clock, -age_s)
    payload = {
        "kind": "run",
        "subject": digest("plan"),
        "rules": village.coop.register.bylaws.rules("run").model_dump(),
        "roll": {"root": roll_root(roll), "members": len(roll)},
        "closes": shift(past, 60),
        "uses": 1,
        "motion": None,
        "draft": None,
    }
    return village.entry("coop.proposal/v1", payload, village.members[0], issued=past)


def ballot(proposal: str, choice: str = "for") -> dict[str, object]:
    return {"proposal": proposal, "choice": choice, "sequence": 1, "reason": None}


@pytest.mark.parametrize("age_s", [3601, 86_400])
def test_a_backdated_proposal_does_not_shorten_its_vote(village: Village, age_s: int) -> None:
    village.wait(86_400)
    with pytest.raises(Refused, match="this statement was drafted too long ago"):
        village.coop.append(proposal_of_the_past(village, age_s))
    assert village.coop.register.proposals == {}


def test_a_backdated_proposal_is_refused_by_every_reader_of_the_log_too(village: Village) -> None:
    with pytest.raises(Refused, match="this statement is backdated"):  # the rule itself, without the writer's clock
        village.coop.register.apply(proposal_of_the_past(village, 3600))
    proof = forged_proof(village.coop, proposal_of_the_past(village, 3600), at=village.clock)
    with pytest.raises(Refused, match="entry 1 of the log is not allowed: this statement is backdated"):
        read_proof(proof).replay(village.coop.pin)


def test_a_ballot_after_the_end_of_a_vote_is_refused_although_it_is_dated_before(village: Village) -> None:
    proposal = village.propose("run", digest("x")).id
    end = village.coop.register.proposals[proposal].closes
    for member in village.members[:2]:
        village.ballot(member, proposal, "against")
    village.wait(86_400)  # everybody has seen the count, and nobody has closed the vote yet
    for member in village.members[2:]:
        with pytest.raises(Refused, match="this vote is over"):
            village.say("coop.ballot/v1", ballot(proposal), member, issued=end)
    assert village.close(proposal).payload.outcome == "rejected"  # type: ignore[attr-defined]


def test_a_ballot_dated_before_what_the_operator_has_stated_is_refused_by_every_reader(village: Village) -> None:
    first = village.propose("run", digest("x"), closes=shift(village.clock, 86_400)).id
    second = village.propose("run", digest("y")).id
    village.wait(3600)
    village.close(second)  # moves the operator's clock
    with pytest.raises(Refused, match="this statement is backdated"):
        village.say("coop.ballot/v1", ballot(first), village.members[0], issued=shift(village.clock, -3600))


def test_a_statement_of_the_future_is_refused_by_the_writer(village: Village) -> None:
    with pytest.raises(Refused, match="this statement is dated in the future"):
        village.say("coop.contribution/v1", {"records": 1, "root": digest(1), "languages": {"spa": 1}}, village.members[0], issued=shift(village.clock, 3600))


def test_one_of_the_oversight_body_cannot_halt_for_years(approved: Approved) -> None:
    village = approved.village
    proposal = village.coop.register.proposals[approved.proposal]
    years = {"proposal": approved.proposal, "until": "2097-01-01T00:00:00Z"}
    with pytest.raises(Refused, match="a halt lasts for a limited time"):
        village.say("coop.halt/v1", years, village.members[3])
    with pytest.raises(Refused, match="this statement is dated in the future"):
        village.say("coop.halt/v1", years, village.members[3], issued="2096-12-31T00:00:00Z")
    assert proposal.halted(village.clock) is None


def test_a_halt_dated_far_ahead_in_a_forged_log_blocks_the_log_and_not_the_members(approved: Approved) -> None:
    village = approved.village
    halt = village.entry("coop.halt/v1", {"proposal": approved.proposal, "until": "2097-01-01T00:00:00Z"}, village.members[3], issued="2096-12-31T00:00:00Z")
    report = run_gate(request_for(approved, proof=forged_proof(village.coop, halt, at=village.clock)))
    broken(report, "proof is of this log", f"entry {village.coop.register.size} of the log is not allowed: it is dated after the checkpoint that covers it")


class EarlyClose(Story):
    """A week to vote, closed at once by a close dated a week ahead, written past the writer's checks."""

    def publish(self, village: Village, payload: dict[str, str]) -> bytes:
        coop, end = village.coop, shift(village.clock, 7 * 86_400)
        proposal = village.propose("release", payload["release"], closes=end).id
        for member in village.members[:3]:
            village.ballot(member, proposal)
        counted = {"proposal": proposal, "votes_for": 3, "votes_against": 0, "votes_abstain": 0, "outcome": "approved"}
        with pytest.raises(Refused, match="this statement is dated in the future"):
            village.say("coop.close/v1", counted, "operator", issued=end)
        close = village.entry("coop.close/v1", counted, "operator", issued=end)
        release = village.entry("coop.release/v1", payload | {"proposal": proposal}, "operator", issued=end)
        return forged_proof(coop, close, release, at=village.clock)


def test_a_vote_closed_days_early_is_later_than_its_own_checkpoint(tmp_path: Path) -> None:
    broken(EarlyClose(tmp_path).play(), "signatures and rules", "is not allowed: it is dated after the checkpoint that covers it")


def test_a_release_during_a_halt_is_later_than_its_own_checkpoint(tmp_path: Path) -> None:
    class Impatient(Story):
        def publish(self, village: Village, payload: dict[str, str]) -> bytes:
            until = shift(village.clock, 20 * 3600)
            village.say("coop.halt/v1", {"proposal": payload["proposal"], "until": until}, village.members[3])
            with pytest.raises(Refused, match="this statement is dated in the future"):
                village.say("coop.release/v1", payload, "operator", issued=until)
            return forged_proof(village.coop, village.entry("coop.release/v1", payload, "operator", issued=until), at=village.clock)

    broken(Impatient(tmp_path).play(), "signatures and rules", "is not allowed: it is dated after the checkpoint that covers it")


def test_any_statement_later_than_the_checkpoint_is_refused(approved: Approved) -> None:
    village = approved.village
    unrelated = village.entry(
        "coop.build/v1", {"manifest": digest("f"), "root": digest("f"), "records": 1}, "operator", issued=shift(village.clock, 365 * 86_400)
    )
    report = run_gate(request_for(approved, proof=forged_proof(village.coop, unrelated, at=village.clock)))
    broken(report, "proof is of this log", "it is dated after the checkpoint that covers it")


NO_DATES = {
    "no such day": "2026-02-31T00:00:00Z",
    "no such hour": "2026-01-01T99:00:00Z",
    "99": "2026-99-99T99:99:99Z",
    "the last second of all": "9999-12-31T23:59:59Z",
    "year nought": "0000-01-01T00:00:00Z",
    "Arabic-Indic digits": "\u0662\u0660\u0662\u0666-\u0661\u0662-\u0663\u0661T00:00:00Z",
    "fullwidth digits": "\uff12\uff10\uff12\uff16-12-31T00:00:00Z",
    "a line more": "2026-12-31T00:00:00Z\n",
}


def raw_entry(village: Village, author: str, kind: str, payload: dict[str, object], *, issued: str) -> bytes:
    """Sign a body that our own tools would not make."""
    made = {"type": kind, "coop": village.coop.register.coop, "author": author, "issued": issued, "nonce": "0" * 32, "payload": payload}
    return entry(made, [sign(made, village.keys[author])])


@pytest.mark.parametrize("date", NO_DATES.values(), ids=NO_DATES)
def test_what_is_no_date_is_refused_in_words_wherever_it_stands(village: Village, date: str) -> None:
    member, size = village.members[3], village.coop.register.size
    proposal = village.propose("run", digest("x")).id
    entries = {
        "issued": raw_entry(village, member, "coop.withdrawal/v1", {"consent": None}, issued=date),
        "expires": raw_entry(village, member, "coop.consent/v1", CONSENT | {"expires": date}, issued=village.clock),
        "until": raw_entry(village, member, "coop.halt/v1", {"proposal": proposal, "until": date}, issued=village.clock),
    }
    for field, data in entries.items():
        with pytest.raises(Refused, match=field):  # never another exception: an audit would end in UNKNOWN
            parse(data)
        with pytest.raises(Refused, match=field):
            village.coop.append(data)
    with pytest.raises(CoopError, match="closes"):
        village.propose("run", digest("y"), closes=date)
    assert village.coop.register.size == size + 1


def test_the_last_second_that_is_allowed_does_not_overflow(approved: Approved) -> None:
    village, last = approved.village, "2099-12-31T23:59:59Z"
    village.consent(village.members[0], expires=last)
    halt = village.entry("coop.halt/v1", {"proposal": approved.proposal, "until": last}, village.members[3], issued=last)
    with pytest.raises(Refused, match="a halt lasts for a limited time"):
        village.coop.register.apply(halt)
