"""Threat 5: dates are written, and clocks set, so that a vote, a delay or a halt ends when it suits somebody.

The attacker writes `issued` as they like, sets the writer's clock, and signs checkpoints with the log's key. Blocked: the operator's
clock never goes back, what has a deadline may not be dated back past it, nothing is dated after the checkpoint that covers it, and a
checkpoint of the future or too old a one starts nothing. Where the bylaws require witnesses, their clocks count; without them the
time is the operator's word, and every table says so.
"""

from datetime import datetime
from pathlib import Path

import pytest

from governance_hooks.canonical import digest
from governance_hooks.checkpoint import verify_checkpoint
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import Refused
from governance_hooks.gate import run_gate
from governance_hooks.proof import Proof, read_proof
from governance_hooks.statement import shift
from governance_hooks.tally import roll_root
from model_card.release import add_proof
from model_card.verification import Verification
from model_card.verify import verify
from tests.attacks.forge import broken, forged_proof, history, proof_of, request_for
from tests.attacks.story import Story
from tests.attacks.test_11_split_view import Witnessed
from tests.village import Approved, Village


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


# With witnesses the time is not the operator's word.


def stamped(village: Village, entries: list[bytes], *, at: str) -> bytes:
    """Return a proof under a checkpoint that the operator dates `at` and two witnesses cosign by their own clocks."""
    proof = read_proof(proof_of(village.coop, entries, at=at))
    checkpoint = verify_checkpoint(proof.checkpoint, village.coop.register.log_key)
    today = int(datetime.fromisoformat(village.clock).timestamp())
    lines = {name: village.witnesses[name].key.cosign(checkpoint, today) for name in sorted(village.witnesses)[:2]}
    return Proof(village.coop.register.bylaws.policy.attach(proof.checkpoint, lines), proof.entries).dumps()


def test_an_operator_who_dates_the_log_ahead_to_close_a_vote_is_told_by_the_witnesses_clocks(witnessed: Village) -> None:
    approved = Approved(witnessed)
    honest = run_gate(request_for(approved, proof=stamped(witnessed, history(witnessed), at=witnessed.clock)))
    assert honest.passed, honest.text()
    end = shift(witnessed.clock, 86_400)
    proposal = witnessed.propose("run", digest("x"), closes=end).id
    for member in witnessed.members[:3]:
        witnessed.ballot(member, proposal)
    counted = {"proposal": proposal, "votes_for": 3, "votes_against": 0, "votes_abstain": 0, "outcome": "approved"}
    early = witnessed.entry("coop.close/v1", counted, "operator", issued=end)
    report = run_gate(request_for(approved, proof=stamped(witnessed, [*history(witnessed), early], at=end), now=end))  # asked when its own clock fits
    broken(report, "checkpoint signed and recent", "the log's clock is 86400 s ahead of its witnesses'")


def test_an_old_log_dated_anew_is_as_old_as_the_witnesses_say(witnessed: Village) -> None:
    approved = Approved(witnessed)
    old = stamped(witnessed, history(witnessed), at=witnessed.clock)
    later = shift(witnessed.clock, 8 * 86_400)
    report = run_gate(request_for(approved, proof=old, now=later))
    broken(report, "checkpoint signed and recent", "old, 604800 s allowed: halts and withdrawals since would go unseen")


def test_who_asks_about_now_is_shown_no_frozen_log(tmp_path: Path) -> None:
    """Freeze: a bundle from before a halt. A proof that is not fresh by the witnesses' clocks cannot say that there was none since."""
    story = Witnessed(tmp_path)
    assert story.play().passed
    now = shift(story.village.clock, 8 * 86_400)

    def ask() -> Verification:
        return verify(story.release.folder, pin=story.village.coop.pin, now=now)

    frozen = ask()
    assert (frozen.exit_code, frozen.verdict, [step.name for step in frozen.blocking]) == (4, "stale", ["status and freshness"])
    assert "old, 604800 s allowed: halts and withdrawals since would go unseen" in frozen.blocking[0].why
    with Cooperative.open(story.root) as coop:  # the same log, seen again eight days later to be still the newest
        village = Village(story.root, coop, story.keys, story.operator, story.witnesses)
        village.clock = now
        village.cosign(*sorted(village.witnesses)[:2])
        add_proof(story.release.folder, coop.proof().dumps())
    assert ask().passed, ask().text()
