"""Releases that are out: superseded by a vote that names them, withdrawn by stewards for a time, by members for good; and who cannot."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from commonweights.voting import describe
from governance_hooks.bylaws import Bylaws
from governance_hooks.canonical import digest, sha256
from governance_hooks.motions import AmendBylaws, AppealAgainst, Recall, subject_of
from governance_hooks.sshsig import generate_key
from governance_hooks.standing import status_of
from governance_hooks.statement import shift
from tests.village import RULES, Village

Founded = Callable[..., Village]
ONE, TWO, THREE = (sha256(name) for name in (b"release one", b"release two", b"release three"))
DAY = 86_400
STEWARDS = [f"m-{i:016x}" for i in (2, 3, 4)]


@pytest.fixture
def coop(founded: Founded) -> Village:
    """A village with three stewards, two of whom act together, and one release that is out."""
    village = founded(stewards=STEWARDS, stewards_required=2)
    subject = sha256(b"a plan")
    village.say("coop.run-start/v1", {"run": "r", "plan": subject, "proposal": village.approve("run", subject), "start": 1}, "operator")
    village.say("coop.run-end/v1", {"run": "r", "status": "completed", "record": subject, "outputs": subject}, "operator")
    village.say("coop.evaluation/v1", {"run": "r", "report": subject, "results": subject, "passed": True}, "operator")
    out(village, ONE)
    return village


def out(village: Village, release: str, *supersedes: str) -> str:
    proposal = village.propose("release", release, supersedes=sorted(supersedes)).id
    village.carry(proposal)
    village.say("coop.release/v1", {"run": "r", "release": release, "proposal": proposal}, "operator")
    return proposal


def status(release: str = ONE, what: str = "withdrawn", by: str | None = None, reason: str = "safety") -> dict[str, Any]:
    return {"release": release, "status": what, "by": by, "reason": reason}


def keys(village: Village, *members: str) -> list[Any]:
    return [village.keys[one] for one in members]


def withdraw(village: Village, **changes: Any) -> Any:
    return village.say("coop.release-status/v1", status(**changes), STEWARDS[0], *keys(village, *STEWARDS[:2]))


def refuses(village: Village, why: str, payload: dict[str, Any], *signers: Any, by: str = STEWARDS[0], **rest: Any) -> None:
    village.refuses(why, "coop.release-status/v1", payload, by, *(signers or keys(village, *STEWARDS[:2])), **rest)


def test_a_release_is_superseded_by_a_vote_that_names_it_and_by_nobody_s_statement_besides(coop: Village) -> None:
    assert status_of(coop.coop.register, ONE).status == "current"
    out(coop, TWO, ONE)
    found = status_of(coop.coop.register, ONE)
    assert (found.status, found.by, found.who, found.reason) == ("superseded", TWO, "the members", None)
    assert status_of(coop.coop.register, TWO).status == "current"
    assert TWO in found.line


def test_a_vote_supersedes_only_releases_that_are_out_and_only_a_release_does(coop: Village) -> None:
    def asks(why: str, kind: str, subject: str, *supersedes: str) -> None:
        coop.refuses(why, "coop.proposal/v1", coop.proposal(kind, subject, supersedes=list(supersedes)), coop.members[0])

    asks("holds no such release", "release", TWO, THREE)
    asks("does not supersede itself", "release", ONE, ONE)
    asks("only a release", "run", TWO, ONE)
    asks("once each, sorted", "release", TWO, ONE, ONE)


def test_an_approved_successor_supersedes_nothing_before_it_is_out(coop: Village) -> None:
    coop.carry(coop.propose("release", TWO, supersedes=[ONE]).id)
    assert status_of(coop.coop.register, ONE).status == "current"


def test_stewards_withdraw_a_release_for_a_time_once(coop: Village) -> None:
    made = withdraw(coop)
    found = status_of(coop.coop.register, ONE)
    assert (found.status, found.who, found.reason, found.mark) == ("withdrawn", "the stewards", "safety", made.id)
    assert found.until == shift(made.issued, 30 * DAY)
    refuses(coop, "have withdrawn this release before", status())
    coop.stamp(30 * DAY)
    assert status_of(coop.coop.register, ONE).status == "current"
    refuses(coop, "have withdrawn this release before", status())


def test_the_log_s_clock_or_a_given_instant_decides_whether_a_withdrawal_has_lapsed(coop: Village) -> None:
    made = withdraw(coop)
    assert status_of(coop.coop.register, ONE, at=shift(made.issued, 30 * DAY - 1)).status == "withdrawn"
    assert status_of(coop.coop.register, ONE, at=shift(made.issued, 30 * DAY)).status == "current"


def test_members_ratify_a_withdrawal_and_then_it_stands(coop: Village) -> None:
    made = withdraw(coop)
    coop.decide(Recall(release=ONE, reason="safety", ratifies=made.id))
    coop.stamp(400 * DAY)
    found = status_of(coop.coop.register, ONE)
    assert (found.status, found.until, found.who) == ("withdrawn", None, "the stewards and the members")


def test_members_withdraw_a_release_without_any_steward(coop: Village) -> None:
    coop.decide(Recall(release=ONE, reason="privacy", ratifies=None))
    assert status_of(coop.coop.register, ONE).who == "the members"


def test_members_who_say_no_leave_a_withdrawal_to_lapse(coop: Village) -> None:
    made = withdraw(coop)
    coop.decide(Recall(release=ONE, reason="safety", ratifies=made.id), choice="against")
    assert status_of(coop.coop.register, ONE).until is not None


def test_an_appeal_ends_a_withdrawal_and_a_ratification_of_it_lapses(coop: Village) -> None:
    made = withdraw(coop)
    recall = coop.move(Recall(release=ONE, reason="safety", ratifies=made.id), closes=shift(coop.clock, 10 * DAY)).id
    coop.decide(AppealAgainst(against=made.id), by=coop.members[1])
    assert status_of(coop.coop.register, ONE).status == "current"
    coop.carry(recall)
    coop.stamp(1)
    assert "an appeal ended it" in (coop.coop.register.proposals[recall].lapsed or "")


def test_an_appeal_against_what_has_lapsed_is_refused(coop: Village) -> None:
    made = withdraw(coop)
    coop.stamp(31 * DAY)
    coop.refuses("nor a status of a release", "coop.proposal/v1", coop.motion(AppealAgainst(against=made.id)), coop.members[0])


def test_the_operator_can_forge_no_status(coop: Village) -> None:
    refuses(coop, "no steward", status(), coop.operator, by="operator")
    refuses(coop, "no steward", status(), coop.operator, by=STEWARDS[0])
    refuses(coop, "no steward", status(), *keys(coop, *STEWARDS[:2]), coop.operator)


def test_one_steward_with_two_keys_is_one_steward(coop: Village) -> None:
    steward = STEWARDS[0]
    second = generate_key(coop.root / "second")
    coop.say("coop.key/v1", {"action": "add", "key": second.public.line}, steward, coop.keys[steward], second)
    refuses(coop, "too few stewards", status(), coop.keys[steward], second)


def test_a_member_who_is_no_steward_cannot_help_to_withdraw(coop: Village) -> None:
    refuses(coop, "no steward", status(), *keys(coop, STEWARDS[0], coop.members[0]))
    refuses(coop, "no steward", status(), *keys(coop, *STEWARDS[:2]), generate_key(coop.root / "stranger"))
    refuses(coop, "too few", status(), *keys(coop, STEWARDS[0]))
    refuses(coop, "author among them", status(), *keys(coop, *STEWARDS[1:]))


def test_a_steward_removed_by_the_members_withdraws_nothing_any_more(coop: Village) -> None:
    coop.decide(coop.amendment(stewards=STEWARDS[1:], stewards_required=2))
    refuses(coop, "no steward", status())
    coop.say("coop.release-status/v1", status(), STEWARDS[1], *keys(coop, *STEWARDS[1:]))
    assert status_of(coop.coop.register, ONE).status == "withdrawn"


def test_without_stewards_only_members_withdraw(founded: Founded) -> None:
    village = founded()
    refuses(village, "no steward", status(), village.keys[village.members[0]], by=village.members[0])


def test_a_withdrawal_is_of_a_release_that_is_out_has_no_successor_and_is_not_backdated(coop: Village) -> None:
    refuses(coop, "holds no such release", status(TWO))
    refuses(coop, "no successor", status(by=ONE))
    refuses(coop, "drafted too long ago", status(), issued=shift(coop.clock, -DAY))
    coop.refuses("holds no such release", "coop.proposal/v1", coop.motion(Recall(release=TWO, reason="defect", ratifies=None)), coop.members[0])
    coop.refuses("made no such withdrawal", "coop.proposal/v1", coop.motion(Recall(release=ONE, reason="defect", ratifies=TWO)), coop.members[0])


def test_a_recall_cannot_ratify_the_withdrawal_of_another_release(coop: Village) -> None:
    out(coop, TWO)
    made = withdraw(coop)
    coop.refuses("made no such withdrawal", "coop.proposal/v1", coop.motion(Recall(release=TWO, reason="safety", ratifies=made.id)), coop.members[0])


def test_stewards_name_a_successor_that_went_out_later_and_no_other(coop: Village) -> None:
    refuses(coop, "went out after it", status(what="superseded", by=None))
    refuses(coop, "went out after it", status(what="superseded", by=TWO))
    refuses(coop, "went out after it", status(what="superseded", by=ONE))
    out(coop, TWO)
    refuses(coop, "went out after it", status(TWO, what="superseded", by=ONE))
    withdraw(coop, what="superseded", by=TWO, reason="improved")
    assert status_of(coop.coop.register, ONE).by == TWO
    refuses(coop, "supersedes this one already", status(what="superseded", by=TWO))


def test_a_withdrawn_release_stays_withdrawn_when_a_successor_comes_and_names_it(coop: Village) -> None:
    withdraw(coop)
    out(coop, TWO, ONE)
    found = status_of(coop.coop.register, ONE)
    assert (found.status, found.by) == ("withdrawn", TWO)


def test_bylaws_voted_before_there_were_stewards_keep_their_digest(coop: Village) -> None:
    fields = coop.coop.register.bylaws.model_dump(mode="json")
    old = {name: value for name, value in fields.items() if name not in ("stewards", "stewards_required")}
    assert "withdrawal_max_s" not in old
    motion = AmendBylaws(bylaws=Bylaws.model_validate(old))
    assert subject_of(motion) == digest({"bylaws": old, "kind": "bylaws"})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"stewards_required": 4}, "more than there are stewards"),
        ({"stewards": [STEWARDS[0]] * 3}, "more than there are stewards"),
        ({"withdrawal_max_s": DAY}, "would lapse before members can ratify"),
        ({"supersede_after_withdrawals": 0}, "greater than or equal to 1"),
    ],
)
def test_bylaws_whose_stewards_could_not_act_are_refused(coop: Village, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        coop.amendment(**changes)


def test_stewards_are_members(founded: Founded, coop: Village) -> None:
    motion = coop.amendment(stewards=[*STEWARDS, "m-" + "f" * 16])
    coop.refuses("no member in good standing", "coop.proposal/v1", coop.motion(motion), coop.members[0])


def test_founders_alone_withdraw_nothing_after_the_exit(coop: Village) -> None:
    newcomer = "m-" + "a" * 16
    coop.join(newcomer)
    coop.decide(coop.amendment(registrars=[*coop.members[:3], newcomer], oversight=[newcomer], stewards=[*STEWARDS, newcomer]))
    coop.say("coop.exit/v1", {}, coop.members[0], *keys(coop, *coop.members))
    refuses(coop, "founders cannot act alone", status())
    coop.say("coop.release-status/v1", status(), STEWARDS[0], *keys(coop, STEWARDS[0], newcomer))
    assert status_of(coop.coop.register, ONE).status == "withdrawn"


def test_the_exit_waits_for_a_steward_who_is_no_founder(coop: Village) -> None:
    newcomer = "m-" + "a" * 16
    coop.join(newcomer)
    coop.decide(coop.amendment(registrars=[*coop.members[:3], newcomer], oversight=[newcomer]))
    coop.refuses("a steward who is no founder", "coop.exit/v1", {}, coop.members[0], *keys(coop, *coop.members))


def test_a_proposal_copies_the_rules_of_recall(coop: Village) -> None:
    coop.refuses(
        "copies the rules", "coop.proposal/v1", coop.motion(Recall(release=ONE, reason="defect", ratifies=None), rules=RULES.model_dump()), coop.members[0]
    )


def test_voters_are_told_what_a_release_would_supersede(coop: Village) -> None:
    proposal = coop.propose("release", TWO, supersedes=[ONE]).id
    assert describe(coop.coop.register.proposal(proposal))["supersedes"] == [ONE]
