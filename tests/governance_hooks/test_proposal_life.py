"""The life of a proposal: draft, sponsors, opening, late quorum, close, challenge, objections, expiry."""

from collections.abc import Callable
from typing import Any

import pytest

from governance_hooks.bylaws import Rules
from governance_hooks.canonical import sha256
from governance_hooks.motions import Consult, HaltUse
from governance_hooks.statement import shift
from governance_hooks.tally import roll_root
from tests.village import RULES, Village

SUBJECT = sha256(b"a plan")
DAY = 86_400
Founded = Callable[..., Village]


def kinds(**changes: Any) -> dict[str, Any]:
    """The bylaws' rules, with changes for runs."""
    return {"run": RULES.model_copy(update=changes).model_dump(), "release": RULES.model_dump()}


def ballot(proposal: str, choice: str = "for", sequence: int = 1) -> dict[str, Any]:
    return {"proposal": proposal, "choice": choice, "sequence": sequence, "reason": None}


def start(proposal: str) -> dict[str, Any]:
    return {"run": "r", "plan": SUBJECT, "proposal": proposal, "start": 1}


OPENING: dict[str, tuple[str, Callable[[Village, dict[str, Any]], dict[str, Any]]]] = {
    "rules of its own": ("copies the rules", lambda v, p: {"rules": p["rules"] | {"quorum_percent": 0}}),
    "a shorter roll": ("roll is that of", lambda v, p: {"roll": {"root": roll_root(v.members[:2]), "members": 2}}),
    "another roll of the same length": ("roll is that of", lambda v, p: {"roll": {"root": roll_root(["m-" + "0" * 16] * 5), "members": 5}}),
    "an empty roll": ("members", lambda v, p: {"roll": {"root": roll_root([]), "members": 0}}),
    "too short": ("minimum period", lambda v, p: {"closes": shift(v.clock, 59)}),
    "kept in the drawer": ("maximum period", lambda v, p: {"closes": shift(v.clock, RULES.maximum_period_s + 1)}),
    "no use at all": ("uses", lambda v, p: {"uses": 0}),
    "two releases": ("used more than once", lambda v, p: {"kind": "release", "uses": 2}),
    "a motion about a file": ("has no motion", lambda v, p: {"motion": HaltUse(proposal=SUBJECT, until=v.clock, ratifies=None).model_dump()}),
    "no motion": ("has a motion of that kind", lambda v, p: {"kind": "halt", "rules": v.coop.register.bylaws.rules("halt").model_dump(), "closes": shift(v.clock, DAY)}),
    "a draft nobody logged": ("draft named is not", lambda v, p: {"draft": SUBJECT}),
}  # fmt: skip


@pytest.mark.parametrize("case", OPENING)
def test_a_proposal_is_not_opened(village: Village, case: str) -> None:
    why, change = OPENING[case]
    payload = village.proposal("run", SUBJECT)
    village.refuses(why, "coop.proposal/v1", payload | change(village, payload), village.members[0])


def test_a_motion_is_of_its_kind_and_is_the_subject(village: Village) -> None:
    question = Consult(question=SUBJECT, options=[sha256(b"a"), sha256(b"b")], method="approval")
    right = village.motion(question)
    village.refuses("motion's digest", "coop.proposal/v1", right | {"subject": SUBJECT}, village.members[0])
    halt = village.coop.register.bylaws.rules("halt").model_dump()
    village.refuses("motion of that kind", "coop.proposal/v1", right | {"kind": "halt", "rules": halt}, village.members[0])
    village.say("coop.proposal/v1", right, village.members[0])


def test_sponsors_are_distinct_members_and_the_author_is_one_of_them(founded: Founded) -> None:
    village = founded(kinds=kinds(sponsors=3))
    a, b, c = (village.keys[one] for one in village.members[:3])
    payload = village.proposal("run", SUBJECT)

    def refuses(why: str, *signers: Any) -> None:
        village.refuses(why, "coop.proposal/v1", payload, village.members[0], *signers)

    refuses("too few members sponsor", a)
    refuses("too few members sponsor", a, b)
    refuses("not signed by its author", b, c)
    refuses("a key that is no member's", a, b, village.operator)
    opened = village.say("coop.proposal/v1", payload, village.members[0], a, b, c)
    assert village.coop.register.proposals[opened.id].sponsors == tuple(village.members[:3])


def test_a_member_has_so_many_proposals_open_and_no_more(founded: Founded) -> None:
    village = founded(open_proposals=2)
    first = village.propose("run", SUBJECT).id
    village.propose("run", SUBJECT)
    village.refuses("as many proposals open", "coop.proposal/v1", village.proposal("run", SUBJECT), village.members[0])
    village.propose("run", SUBJECT, by=village.members[1])
    village.close(first)
    village.propose("run", SUBJECT)


def test_drafts_follow_drafts_of_their_kind_and_a_proposal_names_the_version_it_is(village: Village) -> None:
    draft = {"kind": "run", "subject": sha256(b"first"), "previous": None}
    a, b = village.members[:2]
    village.refuses("follows a logged draft", "coop.draft/v1", draft | {"previous": SUBJECT}, a)
    first = village.say("coop.draft/v1", draft, a).id
    village.refuses("of the same kind", "coop.draft/v1", draft | {"kind": "release", "previous": first}, a)
    last = village.say("coop.draft/v1", {"kind": "run", "subject": SUBJECT, "previous": first}, b).id
    village.refuses("not of what is proposed", "coop.proposal/v1", village.proposal("run", SUBJECT, draft=first), a)
    assert village.coop.register.proposals[village.propose("run", SUBJECT, draft=last).id].draft == last


F, A, N = "for", "against", "abstain"
QUORUMS: list[tuple[dict[str, Any], list[str], bool]] = [
    ({"quorum_percent": 60}, [F, F], False),
    ({"quorum_percent": 60}, [F, F, N], True),  # who abstains is present
    ({"quorum_percent": 60, "abstain": "nothing"}, [F, F, N], False),
    ({"quorum_percent": 60, "abstain": "nothing"}, [F, F, A], True),
    ({"abstain": "against"}, [F, F, N, N], False),
    ({"abstain": "quorum"}, [F, F, N, N], True),
    ({"quorum": "minimum-yes", "quorum_percent": 60}, [F, F, A, N, N], False),
    ({"quorum": "minimum-yes", "quorum_percent": 60}, [F, F, F, A, A], True),
    ({"quorum": "minimum-yes", "quorum_percent": 20}, [F, F, A, A], False),  # the share is asked for too
    ({"quorum": "rejection", "quorum_percent": 40}, [F, F], True),  # silence agrees
    ({"quorum": "rejection", "quorum_percent": 40}, [F, F, A], True),
    ({"quorum": "rejection", "quorum_percent": 40}, [F, F, F, A, A], False),
    ({"quorum": "rejection", "quorum_percent": 40}, [F, F, F, A, N], True),
    ({"quorum": "rejection", "quorum_percent": 40, "abstain": "against"}, [F, F, F, A, N], False),
    ({"quorum": "rejection", "quorum_percent": 40}, [], False),  # silence alone decides nothing
    ({"minimum_for": 3}, [F, F], False),
    ({"quorum_percent": 0, "approval_percent": 0}, [], False),
]


@pytest.mark.parametrize(("rules", "choices", "approved"), QUORUMS)
def test_each_quorum_kind_decides_a_vote(founded: Founded, rules: dict[str, Any], choices: list[str], approved: bool) -> None:
    village = founded(kinds=kinds(**rules))
    proposal = village.propose("run", SUBJECT).id
    for member, choice in zip(village.members, choices, strict=False):
        village.ballot(member, proposal, choice)
    village.close(proposal)
    tally = village.coop.register.proposals[proposal].tally
    assert tally is not None
    assert tally.approved is approved, tally.why
    if not approved:
        village.refuses("members did not approve this", "coop.run-start/v1", start(proposal), "operator")


def late(founded: Founded, **changes: Any) -> tuple[Village, str, str]:
    """A vote of two days whose last day is late, its proposal and its first end."""
    village = founded(kinds=kinds(**{"quorum_percent": 60, "minimum_period_s": 2 * DAY, "late_quorum_s": DAY} | changes))
    proposal = village.propose("run", SUBJECT)
    return village, proposal.id, shift(village.clock, 2 * DAY)


def test_a_quorum_of_the_last_day_prolongs_the_vote_once(founded: Founded) -> None:
    village, proposal, end = late(founded)
    vote = village.coop.register.proposals[proposal]
    village.wait(DAY + 1)
    for member in village.members[:2]:
        village.ballot(member, proposal)
    assert vote.closes == end
    village.ballot(village.members[2], proposal)
    assert (vote.closes, vote.extended) == (shift(end, DAY), True)
    village.clock = end
    right = {"proposal": proposal, "votes_for": 3, "votes_against": 0, "votes_abstain": 0, "outcome": "approved"}
    village.refuses("still open", "coop.close/v1", right, "operator")
    village.wait(DAY)
    for member in village.members[3:]:
        village.ballot(member, proposal, "against")
    assert vote.closes == shift(end, DAY)  # not again
    village.say("coop.close/v1", right | {"votes_against": 2}, "operator")


def test_a_quorum_reached_in_time_or_never_prolongs_nothing(founded: Founded) -> None:
    village, proposal, end = late(founded)
    village.wait(DAY)
    for member in village.members[:3]:
        village.ballot(member, proposal)
    village.wait(DAY)
    village.ballot(village.members[3], proposal, "against")
    village.ballot(village.members[0], proposal, "against", sequence=2)
    assert village.coop.register.proposals[proposal].closes == end


def test_a_quorum_given_up_and_reached_again_late_prolongs_the_vote(founded: Founded) -> None:
    village, proposal, end = late(founded, quorum="minimum-yes")
    for member in village.members[:3]:
        village.ballot(member, proposal)
    village.ballot(village.members[0], proposal, "against", sequence=2)
    village.wait(2 * DAY)
    village.ballot(village.members[0], proposal, "for", sequence=3)
    assert village.coop.register.proposals[proposal].closes == shift(end, DAY)


def test_a_consultation_whose_quorum_is_late_is_prolonged_too(founded: Founded) -> None:
    asked = Rules(quorum="minimum-yes", quorum_percent=40, approval_percent=0, minimum_period_s=2 * DAY, late_quorum_s=DAY).model_dump()
    village = founded(kinds=kinds() | {"consultation": asked})
    proposal = village.move(Consult(question=SUBJECT, options=[sha256(b"a"), sha256(b"b")], method="approval"))
    village.wait(DAY + 1)
    for member in village.members[:2]:
        village.say("coop.preference/v1", {"proposal": proposal.id, "options": [0], "sequence": 1, "reason": None}, member)
    assert village.coop.register.proposals[proposal.id].extended


def test_a_ballot_dated_back_as_far_as_it_may_leaves_time_to_answer_a_late_quorum(founded: Founded) -> None:
    village, proposal, end = late(founded, late_quorum_s=7200)
    village.clock = shift(end, -3600)  # the last moment at which a ballot can be dated back out of the window
    for member in village.members[:2]:
        village.ballot(member, proposal)
    village.say("coop.ballot/v1", ballot(proposal), village.members[2], issued=shift(end, -7200))
    assert not village.coop.register.proposals[proposal].extended
    village.wait(1)
    village.refuses("drafted too long ago", "coop.ballot/v1", ballot(proposal), village.members[3], issued=shift(end, -7200))
    village.ballot(village.members[3], proposal, "against")  # and others still answer


def test_an_approval_rests_in_its_challenge_window_and_enough_objections_undo_it(founded: Founded) -> None:
    village = founded(kinds=kinds(challenge_s=DAY, expiry_s=3 * DAY, objections=2))
    proposal = village.approve("run", SUBJECT)
    a, b = village.members[:2]
    objection = {"proposal": proposal, "reason": None}
    village.refuses("members can still object to this approval", "coop.run-start/v1", start(proposal), "operator")
    village.say("coop.objection/v1", objection, a)
    village.refuses("objected already", "coop.objection/v1", objection, a)
    village.wait(DAY - 1)
    village.say("coop.objection/v1", objection, b)
    village.wait(1)
    village.refuses("2 members objected", "coop.run-start/v1", start(proposal), "operator")


def test_one_objection_too_few_undoes_nothing(founded: Founded) -> None:
    village = founded(kinds=kinds(challenge_s=DAY, expiry_s=3 * DAY, objections=2))
    proposal = village.approve("run", SUBJECT)
    village.say("coop.objection/v1", {"proposal": proposal, "reason": SUBJECT}, village.members[0])
    village.wait(DAY)
    village.say("coop.run-start/v1", start(proposal), "operator")


def test_objections_that_do_not_count(founded: Founded) -> None:
    rested = RULES.model_copy(update={"challenge_s": DAY, "expiry_s": 3 * DAY}).model_dump()
    village = founded(kinds={"run": rested | {"objections": 1}, "release": rested})
    rejected = village.propose("run", SUBJECT).id
    objection = {"proposal": rejected, "reason": None}
    a = village.members[0]
    village.refuses("nothing was approved", "coop.objection/v1", objection, a)  # not yet
    village.close(rejected)
    village.refuses("nothing was approved", "coop.objection/v1", objection, a)
    no_such_rule = village.approve("release", SUBJECT)
    village.refuses("know no objections", "coop.objection/v1", {"proposal": no_such_rule, "reason": None}, a)
    proposal = village.approve("run", SUBJECT)
    village.join("m-" + "e" * 16)
    village.refuses("not on the roll", "coop.objection/v1", {"proposal": proposal, "reason": None}, "m-" + "e" * 16)
    village.refuses("not a member", "coop.objection/v1", {"proposal": proposal, "reason": None}, "operator")
    village.wait(DAY)
    village.refuses("the time to object is over", "coop.objection/v1", {"proposal": proposal, "reason": None}, a)
    village.refuses("the time to object is over", "coop.objection/v1", {"proposal": proposal, "reason": None}, a, issued=shift(village.clock, -60))


def test_an_approval_expires_by_the_end_of_the_vote_however_late_it_is_closed(village: Village) -> None:
    proposal = village.propose("run", SUBJECT).id
    for member in village.members:
        village.ballot(member, proposal)
    village.wait(60 + RULES.expiry_s)
    village.close(proposal)
    village.refuses("has expired", "coop.run-start/v1", start(proposal), "operator")


def test_votes_are_closed_in_the_order_they_ended(village: Village) -> None:
    later = village.propose("run", SUBJECT, closes=shift(village.clock, 90)).id
    first, twin = (village.propose("run", SUBJECT, by=one).id for one in village.members[1:3])
    village.wait(90)
    nobody = {"votes_for": 0, "votes_against": 0, "votes_abstain": 0, "outcome": "rejected"}
    for other in (later, twin):
        village.refuses("closed in the order they ended", "coop.close/v1", nobody | {"proposal": other}, "operator")
    for one in (first, twin, later):
        village.say("coop.close/v1", nobody | {"proposal": one}, "operator")


def test_only_a_count_closes_a_vote_and_only_winners_a_consultation(village: Village) -> None:
    question = Consult(question=SUBJECT, options=[sha256(b"a"), sha256(b"b")], method="ranked")
    asked = village.move(question).id
    village.wait(DAY)
    counted = {"proposal": asked, "votes_for": 0, "votes_against": 0, "votes_abstain": 0, "outcome": "rejected"}
    answered = {"proposal": asked, "cast": 0, "quorate": True, "winners": []}
    village.refuses("closed with its winners", "coop.close/v1", counted, "operator")
    village.refuses("is the operator's", "coop.consultation-close/v1", answered, village.members[0])
    village.say("coop.consultation-close/v1", answered, "operator")
    village.refuses("closed already", "coop.consultation-close/v1", answered, "operator")
    vote = village.propose("run", SUBJECT).id
    village.wait(60)
    village.refuses("no consultation", "coop.consultation-close/v1", answered | {"proposal": vote}, "operator")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"expiry_s": 60, "challenge_s": 60}, "no approval could ever be used"),
        ({"objections": 1}, "challenge window"),
        ({"late_quorum_s": 7199}, "late_quorum_s is 0, or 7200 or more"),
        ({"quorum": "rejection", "quorum_percent": 0}, "defeats everything"),
        ({"minimum_period_s": 60, "maximum_period_s": 59}, "no proposal could ever be opened"),
        ({"minimum_for": 0}, "minimum_for"),
        ({"sponsors": 0}, "sponsors"),
        ({"approval_percent": 101}, "approval_percent"),
        *(({name: 2**53 - 1}, name) for name in ("minimum_period_s", "maximum_period_s", "late_quorum_s", "challenge_s", "expiry_s")),
    ],
)
def test_rules_that_contradict_themselves_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Rules(**changes)
