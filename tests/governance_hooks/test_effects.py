"""When decisions take effect: in their order, before the operator speaks next, once, and not at all if members object or forget them."""

from collections.abc import Callable
from typing import Any

import pytest

from governance_hooks.bylaws import Rules
from governance_hooks.canonical import sha256
from governance_hooks.fields import Strict
from governance_hooks.motions import Admit, ChangeOperator, HaltUse
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import shift
from tests.village import RULES, Village

Founded = Callable[..., Village]
DAY, WEEK = 86_400, 7 * 86_400
SUBJECT, NEW = sha256(b"a plan"), "m-" + "f" * 16


def refuses(village: Village, why: str, motion: Strict, *signers: Any, by: str | None = None) -> None:
    village.refuses(why, "coop.proposal/v1", village.motion(motion), by or village.members[0], *signers)


def lapses(village: Village, why: str, proposal: str) -> None:
    """A decision that waits for its time never takes effect, and says why."""
    village.stamp(WEEK)
    decided = village.coop.register.proposals[proposal]
    assert decided.enacted is None
    assert why in (decided.lapsed or "")
    assert decided not in village.coop.register.pending


def test_another_operator_takes_over_and_the_old_key_is_worth_nothing_for_ever(village: Village) -> None:
    new, m = generate_key(village.root / "new"), village.members
    refuses(village, "proof of possession", ChangeOperator(operator=new.public.line))
    refuses(village, "enrolled already", ChangeOperator(operator=village.keys[m[1]].public.line), village.keys[m[0]], village.keys[m[1]])
    village.decide(ChangeOperator(operator=new.public.line), village.keys[m[0]], new)
    village.refuses("not signed by the operator's key alone", "coop.time/v1", {}, "operator")
    village.refuses("not signed by the operator's key alone", "coop.time/v1", {}, "operator", village.operator, new)
    refuses(village, "enrolled already", ChangeOperator(operator=village.operator.public.line), village.keys[m[0]], village.operator)
    old, village.operator = village.operator, new
    village.stamp()
    refuses(village, "enrolled already", Admit(member=NEW, key=old.public.line), village.keys[m[0]], old)


def test_a_decision_that_is_due_takes_effect_before_what_the_operator_states_next(village: Village) -> None:
    new, m = generate_key(village.root / "new"), village.members
    run = village.approve("run", SUBJECT)
    village.carry(village.move(ChangeOperator(operator=new.public.line), village.keys[m[0]], new).id)
    village.wait(2 * DAY)
    start = {"run": "r", "plan": SUBJECT, "proposal": run, "start": 1}
    village.refuses("takes effect first", "coop.run-start/v1", start, "operator")
    village.say("coop.time/v1", {}, "operator")
    village.refuses("not signed by the operator's key alone", "coop.run-start/v1", start, "operator")


def test_the_operators_own_tool_states_the_time_where_a_decision_is_due(village: Village) -> None:
    village.carry(village.move(village.amendment(open_proposals=1)).id)
    village.wait(2 * DAY)
    village.coop.operate("coop.build/v1", {"manifest": SUBJECT, "root": SUBJECT, "records": 1})
    assert village.coop.register.bylaws.open_proposals == 1


@pytest.mark.parametrize("kind", ["halt", "operator"])
def test_no_approval_is_used_while_a_vote_that_could_stop_it_waits_for_its_close(founded: Founded, kind: str) -> None:
    village = founded(kinds={name: RULES.model_copy(update={"expiry_s": 30 * DAY}).model_dump() for name in ("run", "release", "payout")})
    run, pay = village.approve("run", SUBJECT), village.approve("payout", SUBJECT)
    new = generate_key(village.root / "new")
    if kind == "halt":
        village.move(HaltUse(proposal=run, until=shift(village.clock, 60 * DAY), ratifies=None))
    else:
        village.move(ChangeOperator(operator=new.public.line), village.keys[village.members[0]], new)
    start = {"run": "r", "plan": SUBJECT, "proposal": run, "start": 1}
    village.wait(8 * DAY)
    village.refuses("has ended and is not closed", "coop.run-start/v1", start, "operator")
    village.refuses("has ended and is not closed", "coop.payout/v1", {"payout": SUBJECT, "proposal": pay}, "operator")


def test_a_payout_is_made_once_however_often_it_is_approved(village: Village) -> None:
    first, again = village.approve("payout", SUBJECT), village.approve("payout", SUBJECT)
    village.refuses("another subject", "coop.payout/v1", {"payout": sha256(b"more"), "proposal": first}, "operator")
    village.refuses("is the operator's", "coop.payout/v1", {"payout": SUBJECT, "proposal": first}, village.members[0])
    village.refuses("about a payout, not a run", "coop.run-start/v1", {"run": "r", "plan": SUBJECT, "proposal": first, "start": 1}, "operator")
    village.say("coop.payout/v1", {"payout": SUBJECT, "proposal": first}, "operator")
    for proposal in (first, again):
        village.refuses("made already", "coop.payout/v1", {"payout": SUBJECT, "proposal": proposal}, "operator")


def test_a_motion_that_members_reject_or_object_to_or_forget_takes_no_effect(founded: Founded) -> None:
    rules = {"run": RULES, "release": RULES, "bylaws": Rules(challenge_s=2 * DAY, expiry_s=WEEK, objections=1, minimum_period_s=60)}
    village = founded(kinds={kind: one.model_dump() for kind, one in rules.items()})
    change, register = village.amendment(open_proposals=1), village.coop.register
    assert register.proposals[village.decide(change, choice="against")].lapsed is None
    contested = village.move(change).id
    village.carry(contested)
    village.say("coop.objection/v1", {"proposal": contested, "reason": None}, village.members[4])
    village.stamp()
    assert "1 members objected" in (register.proposals[contested].lapsed or "")
    forgotten = village.move(change).id
    village.carry(forgotten)
    lapses(village, "had expired", forgotten)
    late = village.move(change).id
    for member in village.members:
        village.ballot(member, late)
    village.wait(6 * DAY)  # closed so late that its challenge window ends after it expired
    village.close(late)
    lapses(village, "had expired", late)
    assert register.bylaws.version == 1
