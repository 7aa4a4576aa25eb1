"""The exit to community: once, by all founders, and for ever; from then on founders alone decide nothing."""

from collections.abc import Callable

import pytest

from governance_hooks.canonical import sha256
from governance_hooks.motions import Appoint, Suspend
from governance_hooks.sshsig import PrivateKey, generate_key
from governance_hooks.statement import shift
from tests.village import RULES, Village

Founded = Callable[..., Village]
DAY = 86_400
SUBJECT = sha256(b"a plan")
ANN, BEN, NEW = ("m-" + letter * 16 for letter in "abc")


def keys(village: Village, *members: str) -> list[PrivateKey]:
    return [village.keys[one] for one in members]


def leave(village: Village, *members: str) -> None:
    for member in members:
        village.say("coop.leave/v1", {}, member)


@pytest.fixture
def mixed(founded: Founded) -> Village:
    """Five founders, two members who are none; one of these is a registrar and of the oversight body."""
    village = founded(founder_led=["payout"])
    for member in (ANN, BEN):
        village.join(member)
    m = village.members
    village.decide(village.amendment(registrars=[*m[:3], ANN], oversight=[m[3], m[4], ANN]))
    return village


@pytest.fixture
def exited(mixed: Village) -> Village:
    """The same after its exit."""
    mixed.say("coop.exit/v1", {}, mixed.members[0], *keys(mixed, *mixed.members))
    return mixed


def test_only_all_founders_together_exit_and_only_once(mixed: Village) -> None:
    m = mixed.members
    mixed.refuses("signed by every founder", "coop.exit/v1", {}, m[0], *keys(mixed, *m[:4]))
    mixed.refuses("signed by every founder", "coop.exit/v1", {}, m[0], *keys(mixed, *m, ANN))
    mixed.refuses("not signed by its author", "coop.exit/v1", {}, ANN, *keys(mixed, *m))
    mixed.refuses("not a member", "coop.exit/v1", {}, "operator", mixed.operator)
    leave(mixed, m[4])
    mixed.say("coop.exit/v1", {}, m[0], *keys(mixed, *m[:4]))
    mixed.refuses("has taken place", "coop.exit/v1", {}, m[0], *keys(mixed, *m[:4]))


def test_there_is_no_exit_to_nobody(founded: Founded) -> None:
    village = founded()
    everybody = keys(village, *village.members)
    village.refuses("a registrar who is no founder is needed first", "coop.exit/v1", {}, village.members[0], *everybody)
    village.join(ANN)
    village.decide(village.amendment(registrars=[*village.members[:3], ANN]))
    village.refuses("of the oversight body who is no founder is needed", "coop.exit/v1", {}, village.members[0], *everybody)


def test_founders_lead_a_kind_until_the_exit_and_never_after(mixed: Village) -> None:
    before = mixed.propose("payout", SUBJECT).id
    assert sorted(mixed.coop.register.proposals[before].roll) == mixed.members
    mixed.refuses("not on the roll", "coop.ballot/v1", {"proposal": before, "choice": "for", "sequence": 1, "reason": None}, ANN)
    mixed.say("coop.exit/v1", {}, mixed.members[0], *keys(mixed, *mixed.members))
    assert sorted(mixed.coop.register.proposals[mixed.propose("payout", SUBJECT).id].roll) == sorted([*mixed.members, ANN, BEN])


@pytest.mark.parametrize("when", ["before", "after"])
def test_founders_alone_approve_nothing_once_they_have_left_power(mixed: Village, when: str) -> None:
    m = mixed.members
    proposal = mixed.propose("run", SUBJECT).id if when == "before" else ""
    mixed.say("coop.exit/v1", {}, m[0], *keys(mixed, *m))
    proposal = proposal or mixed.propose("run", SUBJECT).id
    for member in m:
        mixed.ballot(member, proposal)
    mixed.ballot(BEN, proposal, "abstain")
    assert mixed.close(proposal).payload.outcome == "rejected"  # type: ignore[attr-defined]
    assert "only founders voted for it" in mixed.coop.register.proposals[proposal].count().why


def test_a_vote_of_founders_that_is_open_at_the_exit_approves_nothing(mixed: Village) -> None:
    proposal = mixed.propose("payout", SUBJECT).id
    for member in mixed.members:
        mixed.ballot(member, proposal)
    mixed.say("coop.exit/v1", {}, mixed.members[0], *keys(mixed, *mixed.members))
    assert mixed.close(proposal).payload.outcome == "rejected"  # type: ignore[attr-defined]


def test_one_yes_of_the_community_is_enough(exited: Village) -> None:
    assert exited.close(exited.propose("run", SUBJECT).id).payload.outcome == "rejected"  # type: ignore[attr-defined]
    proposal = exited.propose("run", SUBJECT).id
    for member in (*exited.members[:3], BEN):
        exited.ballot(member, proposal)
    assert exited.close(proposal).payload.outcome == "approved"  # type: ignore[attr-defined]


def test_founders_alone_hold_no_office_after_the_exit(exited: Village) -> None:
    m, new = exited.members, generate_key(exited.root / "new")
    admission = {"member": NEW, "key": new.public.line}
    alone = "founders cannot act alone"
    exited.refuses(alone, "coop.admission/v1", admission, NEW, new, *keys(exited, *m[:2]))
    run = exited.approve("run", SUBJECT)
    halt = {"proposal": run, "until": shift(exited.clock, 60)}
    exited.refuses(alone, "coop.halt/v1", halt, m[3])
    lost = generate_key(exited.root / "lost")
    recovery = {"member": BEN, "key": lost.public.line}
    exited.refuses(alone, "coop.recovery/v1", recovery, BEN, lost, *keys(exited, *m[:2]))
    exited.say("coop.halt/v1", halt, ANN)
    exited.decide(exited.amendment(oversight_seated="vote", founder_led=[]))
    seats = Appoint(members=m[:2], until=shift(exited.clock, 30 * DAY), panel=None)
    exited.refuses(alone, "coop.proposal/v1", exited.motion(seats), m[0])
    exited.say("coop.admission/v1", admission, NEW, new, *keys(exited, m[0], ANN))
    exited.say("coop.recovery/v1", recovery, BEN, lost, *keys(exited, m[0], ANN))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"founder_led": ["run"]}, "no kind of proposal is the founders'"),
        ({"registrars": 3}, "a registrar who is no founder"),
        ({"oversight": 3}, "oversight body who is no founder"),
    ],
)
def test_no_amendment_gives_founders_back_what_they_gave_up(exited: Village, changes: dict[str, object], why: str) -> None:
    named = {name: exited.members[:value] if isinstance(value, int) else value for name, value in changes.items()}
    motion = exited.amendment(**({"founder_led": []} | named))
    exited.refuses(why, "coop.proposal/v1", exited.motion(motion), exited.members[0])


def test_the_community_is_not_suspended_to_the_last(exited: Village) -> None:
    m, until = exited.members, shift(exited.clock, 90 * DAY)
    exited.decide(Suspend(member=BEN, until=until))
    exited.refuses("founders cannot act alone", "coop.proposal/v1", exited.motion(Suspend(member=ANN, until=until)), m[0])


def test_founders_who_are_gone_hold_up_nothing(founded: Founded) -> None:
    village = founded(founder_led=["bylaws", "run"])
    for member in (ANN, BEN, NEW):
        village.join(member)
    m, register = village.members, village.coop.register
    leave(village, *m[:3])
    assert register.roll("bylaws") == m[3:]  # two can still decide
    leave(village, m[3])
    assert register.roll("bylaws") == sorted([m[4], ANN, BEN, NEW])
    village.members = [ANN, BEN]
    village.decide(village.amendment(registrars=[ANN, BEN], oversight=[], founder_led=[]))
    assert register.bylaws.version == 2


def test_suspended_founders_are_not_gone(founded: Founded) -> None:
    village = founded(founders=3, oversight=[], founder_led=["run"], kinds={"run": RULES.model_dump() | {"minimum_for": 3}, "release": RULES.model_dump()})
    village.join(ANN)
    village.decide(Suspend(member=village.members[0], until=shift(village.clock, 90 * DAY)))
    assert village.coop.register.roll("run") == village.members[1:]
