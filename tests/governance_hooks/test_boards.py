"""The oversight body: its seats, its one halt of each approval, and what members make of it by ratification and appeal."""

from collections.abc import Callable
from typing import Any

import pytest

from governance_hooks.bylaws import Rules
from governance_hooks.canonical import sha256
from governance_hooks.motions import AppealAgainst, Appoint, HaltUse, Suspend
from governance_hooks.statement import shift
from tests.village import RULES, Village

Founded = Callable[..., Village]
DAY, WEEK = 86_400, 7 * 86_400
SUBJECT = sha256(b"a plan")
LASTING = RULES.model_copy(update={"expiry_s": 60 * DAY}).model_dump()


def later(village: Village, days: int) -> str:
    return shift(village.clock, days * DAY)


def refuses(village: Village, why: str, motion: Any, by: str | None = None) -> None:
    village.refuses(why, "coop.proposal/v1", village.motion(motion), by or village.members[0])


def halt(village: Village, proposal: str, seconds: int = WEEK, by: int = 3) -> str:
    return village.say("coop.halt/v1", {"proposal": proposal, "until": shift(village.clock, seconds)}, village.members[by]).id


def start(proposal: str) -> dict[str, Any]:
    return {"run": "r", "plan": SUBJECT, "proposal": proposal, "start": 1}


@pytest.fixture
def seated(founded: Founded) -> Village:
    """A cooperative that has voted its first and fifth member into the oversight body for thirty days."""
    village = founded(oversight_seated="vote", kinds={"run": LASTING, "release": LASTING})
    members = [village.members[0], village.members[4]]
    village.decide(Appoint(members=members, until=later(village, 30), panel=None))
    return village


def test_the_bylaws_list_holds_the_seats_until_a_vote_does(seated: Village) -> None:
    run = seated.approve("run", SUBJECT)
    stated = {"proposal": run, "until": later(seated, 1)}
    seated.refuses("not of the oversight body", "coop.halt/v1", stated, seated.members[3])
    seated.say("coop.halt/v1", stated, seated.members[0])


def test_seats_are_empty_when_the_term_is_over(seated: Village) -> None:
    seated.stamp(30 * DAY)
    run = seated.approve("run", SUBJECT)
    for member in (0, 3):
        seated.refuses("nobody: no seat is held", "coop.halt/v1", {"proposal": run, "until": later(seated, 1)}, seated.members[member])
    seated.decide(Appoint(members=[seated.members[1]], until=later(seated, 60), panel=None))
    assert seated.coop.register.oversight() == (seated.members[1],)


@pytest.mark.parametrize("how", ["suspended", "gone"])
def test_who_is_suspended_or_gone_holds_no_seat(seated: Village, how: str) -> None:
    run, holder = seated.approve("run", SUBJECT), seated.members[4]
    if how == "gone":
        seated.say("coop.leave/v1", {}, holder)
    else:
        seated.decide(Suspend(member=holder, until=later(seated, 20)))
    seated.refuses("not of the oversight body", "coop.halt/v1", {"proposal": run, "until": later(seated, 1)}, holder)


@pytest.mark.parametrize(
    ("seats", "days", "panel", "why"),
    [
        ([1, 0], 30, None, "once each, sorted"),
        ([0, 0], 30, None, "once each, sorted"),
        ([0], 367, None, "a term ends"),
        ([0], -1, None, "a term ends"),
        ([0], 30, SUBJECT, "seated by vote"),
        ([], 30, None, "too_short|at least 1"),
    ],
)
def test_an_appointment_that_cannot_be(seated: Village, seats: list[int], days: int, panel: str | None, why: str) -> None:
    payload = {"kind": "appointment", "members": [seated.members[i] for i in seats], "until": later(seated, days), "panel": panel}
    if not seats:
        with pytest.raises(ValueError, match=why):
            Appoint.model_validate(payload)
        return
    refuses(seated, why, Appoint.model_validate(payload))


def test_bodies_are_seated_in_the_way_the_bylaws_say(founded: Founded, seated: Village) -> None:
    register = seated.coop.register
    refuses(seated, "not a member", Appoint(members=["m-" + "f" * 16], until=later(seated, 30), panel=None))
    seated.say("coop.leave/v1", {}, seated.members[3])  # else the amendment would name somebody who has left
    seated.decide(seated.amendment(oversight=[], oversight_seated="lot", oversight_required=2))
    refuses(seated, "too few to ever act", Appoint(members=[seated.members[0]], until=later(seated, 30), panel=SUBJECT))
    two = seated.members[:2]
    refuses(seated, "seated by lot", Appoint(members=two, until=later(seated, 30), panel=None))
    refuses(seated, "those drawn by lot", Appoint(members=two, until=later(seated, 30), panel=SUBJECT))
    seated.decide(seated.amendment(oversight_seated="bylaws"))
    refuses(seated, "bylaws name the oversight body themselves", Appoint(members=two, until=later(seated, 30), panel=None))
    assert register.oversight() == ()


def test_an_appointment_lapses_when_one_of_its_members_leaves_before_it(founded: Founded) -> None:
    rested = Rules(minimum_period_s=60, challenge_s=DAY)
    village = founded(oversight_seated="vote", kinds={kind: rested.model_dump() for kind in ("run", "release", "appointment")})
    proposal = village.move(Appoint(members=village.members[:2], until=later(village, 30), panel=None)).id
    village.carry(proposal)
    village.say("coop.leave/v1", {}, village.members[1])
    village.stamp(DAY)
    assert "not a member" in (village.coop.register.proposals[proposal].lapsed or "")
    assert village.coop.register.seats is None


def test_the_oversight_body_halts_an_approval_once_and_only_that_of_a_run_release_or_access(founded: Founded) -> None:
    village = founded(kinds={"run": LASTING, "release": LASTING, "payout": LASTING})
    run, pay = village.approve("run", SUBJECT), village.approve("payout", SUBJECT)
    motion = village.move(HaltUse(proposal=run, until=later(village, 9), ratifies=None)).id
    for about in (pay, motion):
        village.refuses("approval of a run, a release or an access", "coop.halt/v1", {"proposal": about, "until": later(village, 1)}, village.members[3])
    refuses(village, "approval of a run, a release or an access", HaltUse(proposal=pay, until=later(village, 9), ratifies=None))
    refuses(village, "no such proposal", HaltUse(proposal=SUBJECT, until=later(village, 9), ratifies=None))
    refuses(village, "a time to come", HaltUse(proposal=run, until=later(village, -1), ratifies=None))
    halt(village, run, DAY)
    village.wait(DAY)
    village.refuses("only members can prolong or renew", "coop.halt/v1", {"proposal": run, "until": later(village, 1)}, village.members[4])


@pytest.mark.parametrize("who", ["the oversight body", "the members", "the oversight body and the members"])
def test_whoever_meets_a_halt_is_told_who_halted(founded: Founded, who: str) -> None:
    village = founded(kinds={"run": LASTING, "release": LASTING})
    run = village.approve("run", SUBJECT)
    village.say("coop.run-start/v1", start(run), "operator")
    stopped = halt(village, run) if who.startswith("the oversight body") else None
    if who.endswith("the members"):
        village.decide(HaltUse(proposal=run, until=later(village, 30), ratifies=stopped))
    village.refuses(f"this approval is halted by {who}\n", "coop.run-start/v1", start(run) | {"start": 2}, "operator")
    ended = {"run": "r", "status": "completed", "record": SUBJECT, "outputs": SUBJECT}
    village.refuses(f"this run is halted by {who} and cannot be completed", "coop.run-end/v1", ended, "operator")


def test_enough_of_the_body_sign_a_halt_and_its_author_is_one_of_them(founded: Founded) -> None:
    village = founded(oversight_required=2, kinds={"run": LASTING, "release": LASTING})
    run, m = village.approve("run", SUBJECT), village.members
    stated = {"proposal": run, "until": later(village, 1)}
    three, four = village.keys[m[3]], village.keys[m[4]]
    village.refuses("too few of the oversight body", "coop.halt/v1", stated, m[3], three)
    village.refuses("too few of the oversight body", "coop.halt/v1", stated, m[0], three, four)
    village.refuses("not of the oversight body", "coop.halt/v1", stated, m[3], three, village.keys[m[0]])
    village.say("coop.halt/v1", stated, m[3], three, four)


def test_a_halt_lapses_unless_members_ratify_it(founded: Founded) -> None:
    village = founded(kinds={"run": LASTING, "release": LASTING})
    run, other = village.approve("run", SUBJECT), village.approve("release", SUBJECT)
    stopped = halt(village, run)
    halted = village.coop.register.halts[stopped]
    refuses(village, "made no such halt", HaltUse(proposal=other, until=later(village, 30), ratifies=stopped))
    refuses(village, "made no such halt", HaltUse(proposal=run, until=later(village, 30), ratifies=SUBJECT))
    village.decide(HaltUse(proposal=run, until=later(village, 30), ratifies=stopped))
    assert (halted.ratified, len(village.coop.register.proposals[run].halts)) == (True, 1)
    village.wait(WEEK)
    village.refuses("is halted", "coop.run-start/v1", start(run), "operator")
    village.wait(30 * DAY)
    village.say("coop.run-start/v1", start(run), "operator")


def test_members_halt_an_approval_themselves_and_an_appeal_ends_it(founded: Founded) -> None:
    village = founded(kinds={"run": LASTING, "release": LASTING})
    run = village.approve("run", SUBJECT)
    stopped = village.decide(HaltUse(proposal=run, until=later(village, 50), ratifies=None))
    village.refuses("is halted", "coop.run-start/v1", start(run), "operator")
    refuses(village, "made no such halt", HaltUse(proposal=run, until=later(village, 55), ratifies=stopped))
    village.decide(AppealAgainst(against=stopped))
    refuses(village, "no halt or suspension in force", AppealAgainst(against=stopped))
    village.say("coop.run-start/v1", start(run), "operator")


@pytest.mark.parametrize("order", [0, 1])
def test_an_appeal_ends_a_halt_whichever_way_the_votes_on_appeal_and_ratification_are_ordered(founded: Founded, order: int) -> None:
    village = founded(kinds={"run": LASTING, "release": LASTING})
    run = village.approve("run", SUBJECT)
    stopped = halt(village, run)
    motions = [AppealAgainst(against=stopped), HaltUse(proposal=run, until=later(village, 30), ratifies=stopped)]
    ids = [village.move(motions[i]).id for i in (order, 1 - order)]
    village.carry(*ids)
    village.stamp()
    assert not village.coop.register.halts[stopped].stands(village.clock)
    village.say("coop.run-start/v1", start(run), "operator")


def test_an_appeal_against_what_has_lapsed_lapses(founded: Founded) -> None:
    village = founded(kinds={"run": LASTING, "release": LASTING})
    stopped = halt(village, village.approve("run", SUBJECT), DAY - 60)
    assert "no halt or suspension in force" in (village.coop.register.proposals[village.decide(AppealAgainst(against=stopped))].lapsed or "")
    refuses(village, "no halt or suspension in force", AppealAgainst(against=SUBJECT))


def test_a_suspended_member_appeals_for_themselves_and_proposes_nothing_else(founded: Founded) -> None:
    sponsored = Rules(minimum_period_s=60, sponsors=2).model_dump()
    village = founded(kinds={"run": LASTING, "release": LASTING, "appeal": sponsored})
    m, stopped = village.members, halt(village, village.approve("run", SUBJECT), by=4)
    suspension = village.decide(Suspend(member=m[0], until=later(village, 90)))
    keys = [village.keys[one] for one in m[:3]]
    appeal = village.motion(AppealAgainst(against=suspension))
    village.refuses("too few members sponsor", "coop.proposal/v1", appeal, m[0])
    village.refuses("not signed by its author", "coop.proposal/v1", appeal, m[0], *keys[1:])
    village.refuses("member is suspended", "coop.proposal/v1", village.motion(AppealAgainst(against=stopped)), m[0], *keys[:2])
    village.refuses("a key that is no member's", "coop.proposal/v1", appeal, m[1], *keys[:2])  # as a sponsor they do not count
    proposal = village.say("coop.proposal/v1", appeal, m[0], *keys[:2]).id
    assert village.coop.register.proposals[proposal].sponsors == tuple(m[:2])
    village.refuses("not on the roll", "coop.ballot/v1", {"proposal": proposal, "choice": "for", "sequence": 1, "reason": None}, m[0])
    village.carry(proposal)
    village.propose("run", SUBJECT, by=m[0])
    assert village.coop.register.active() == m
