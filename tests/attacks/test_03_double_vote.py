"""Threat 3: a member is counted twice, or an old ballot comes back over a newer one.

The attacker holds ballots that were really signed, in any number and order: the operator who withholds and replays them, a member
with several keys, or a thief of one key. Blocked: one ballot a member counts, whichever of their keys signed; ballots are numbered
one by one, so none comes back, none is the last for ever, and a number that is missing is seen by the next ballot's voter.
"""

import json
from pathlib import Path

import pytest

from governance_hooks.audit import audit
from governance_hooks.canonical import digest
from governance_hooks.errors import Refused
from governance_hooks.motions import Consult
from governance_hooks.sshsig import PrivateKey, generate_key
from governance_hooks.statement import entry, sign
from tests.attacks.forge import blocked, broken, history, rewritten
from tests.village import Village

SUBJECT = digest("what is voted on")


@pytest.fixture
def proposal(village: Village) -> str:
    return village.propose("run", SUBJECT).id


def ballot(village: Village, proposal: str, choice: str, sequence: int, key: PrivateKey | None = None) -> bytes:
    """Sign a ballot of the second member and hand it to the operator."""
    member = village.members[1]
    payload = {"proposal": proposal, "choice": choice, "sequence": sequence, "reason": None}
    return village.entry("coop.ballot/v1", payload, member, key or village.keys[member])


def second_key(village: Village, path: Path) -> PrivateKey:
    """Enrol another key of the second member."""
    member, made = village.members[1], generate_key(path)
    village.say("coop.key/v1", {"action": "add", "key": made.public.line}, member, village.keys[member], made)
    return made


def standing(village: Village, proposal: str) -> list[tuple[str, int]]:
    return [(vote.choice, vote.sequence) for vote in village.coop.register.proposals[proposal].votes.values()]


def test_the_same_ballot_twice_counts_once(village: Village, proposal: str, tmp_path: Path) -> None:
    cast = ballot(village, proposal, "for", 1)
    village.coop.append(cast)
    blocked(village, cast, "this statement is in the log already", tmp_path)


def test_an_old_ballot_does_not_come_back_over_a_changed_mind(village: Village, proposal: str) -> None:
    old = ballot(village, proposal, "for", 1)
    village.coop.append(old)
    village.coop.append(ballot(village, proposal, "against", 2))
    blocked(village, old, "this statement is in the log already")
    blocked(village, ballot(village, proposal, "for", 1), "ballots of a member are numbered one by one")  # another of the same number
    assert standing(village, proposal) == [("against", 2)]


def test_the_operator_cannot_change_the_order_in_which_a_member_voted(village: Village, proposal: str, tmp_path: Path) -> None:
    first, second = ballot(village, proposal, "for", 1), ballot(village, proposal, "against", 2)
    blocked(village, second, "ballots of a member are numbered one by one")
    swapped = rewritten(village, [*history(village), second, first], tmp_path / "swapped")
    broken(audit(swapped), "entries signed and allowed", "ballots of a member are numbered one by one")


def test_a_first_ballot_the_operator_holds_back_is_noticed_with_the_second(village: Village, proposal: str) -> None:
    ballot(village, proposal, "for", 1)  # given to the operator, never written
    with pytest.raises(Refused, match="ballots of a member are numbered one by one") as told:
        village.coop.append(ballot(village, proposal, "against", 2))
    assert told.value.allowed == "1: a later ballot of yours may be counted already"


def test_a_member_with_two_keys_has_one_vote(village: Village, proposal: str, tmp_path: Path) -> None:
    second = second_key(village, tmp_path / "second")
    village.coop.append(ballot(village, proposal, "for", 1))
    blocked(village, ballot(village, proposal, "for", 1, second), "ballots of a member are numbered one by one")
    village.coop.append(ballot(village, proposal, "against", 2, second))
    assert standing(village, proposal) == [("against", 2)]


def test_the_same_ballot_under_a_second_signature_is_the_same_ballot(village: Village, proposal: str, tmp_path: Path) -> None:
    second, cast = second_key(village, tmp_path / "second"), ballot(village, proposal, "for", 1)
    village.coop.append(cast)
    made = json.loads(cast)["body"]
    blocked(village, entry(made, [sign(made, second)]), "this statement is in the log already")


def test_two_keys_on_one_ballot_are_not_two_votes(village: Village, proposal: str, tmp_path: Path) -> None:
    second, made = second_key(village, tmp_path / "second"), json.loads(ballot(village, proposal, "for", 1))["body"]
    twice = entry(made, [sign(made, village.keys[village.members[1]]), sign(made, second)])
    blocked(village, twice, f"coop.ballot/v1 of {village.members[1]} is signed by")


@pytest.mark.parametrize("sequence", [2, 1000, 2**53 - 1])
def test_a_ballot_of_a_stolen_key_cannot_be_the_last_one_for_ever(village: Village, proposal: str, sequence: int) -> None:
    blocked(village, ballot(village, proposal, "for", sequence), "ballots of a member are numbered one by one")
    village.coop.append(ballot(village, proposal, "for", 1))
    village.coop.append(ballot(village, proposal, "against", 2))  # the owner has the last word
    assert standing(village, proposal) == [("against", 2)]


def test_a_close_that_counts_a_member_twice_is_refused(village: Village, proposal: str, tmp_path: Path) -> None:
    village.coop.append(ballot(village, proposal, "against", 1))
    village.coop.append(ballot(village, proposal, "for", 2))
    for member in village.members[2:4]:
        village.ballot(member, proposal)
    village.wait(60)
    twice = {"proposal": proposal, "votes_for": 3, "votes_against": 1, "votes_abstain": 0, "outcome": "approved"}
    blocked(village, village.entry("coop.close/v1", twice, "operator"), "the close does not match the ballots", tmp_path)
    village.close(proposal)
    assert village.coop.register.proposals[proposal].tally.cast == 3  # type: ignore[union-attr]


def test_a_consultation_is_answered_in_one_way_only(village: Village) -> None:
    asked = village.move(Consult(question=digest("?"), options=[digest("a"), digest("b")], method="approval")).id
    answer = {"proposal": asked, "options": [0, 1], "sequence": 1, "reason": None}
    village.say("coop.preference/v1", answer, village.members[1])
    blocked(village, ballot(village, asked, "for", 2), "a consultation asks for options, not for or against")
    blocked(village, village.entry("coop.preference/v1", answer, village.members[1]), "ballots of a member are numbered one by one")
    blocked(village, village.entry("coop.preference/v1", answer | {"options": [1, 1]}, village.members[2]), "options of the question, each once")


def test_statements_are_answered_once_and_by_who_is_on_the_roll_and_in_time(village: Village, tmp_path: Path) -> None:
    asked = village.move(Consult(question=digest("?"), options=[digest("a"), digest("b")], method="opinions")).id
    said = {"proposal": asked, "answers": ["agree", "pass"], "sequence": 1, "reason": None}
    village.say("coop.opinions/v1", said, village.members[1])
    blocked(village, village.entry("coop.opinions/v1", said, village.members[1]), "ballots of a member are numbered one by one")
    blocked(village, village.entry("coop.opinions/v1", said | {"sequence": 9}, village.members[1]), "ballots of a member are numbered one by one")
    blocked(village, village.entry("coop.opinions/v1", said | {"answers": ["agree"] * 3}, village.members[2]), "one answer for each statement")
    blocked(village, village.entry("coop.opinions/v1", said, village.members[2], village.keys[village.members[1]]), "is signed by")
    village.join(late := "m-" + "9" * 16)
    blocked(village, village.entry("coop.opinions/v1", said, late), "not on the roll of this proposal")
    village.wait(86_400)
    stuffed = {"proposal": asked, "cast": 1, "quorate": True, "winners": [], "opinions": [{"agree": 2, "disagree": 0, "passed": 0}] * 2}
    blocked(village, village.entry("coop.consultation-close/v1", stuffed, "operator"), "the close does not match the ballots", tmp_path)
    honest = [{"agree": 1, "disagree": 0, "passed": 0}, {"agree": 0, "disagree": 0, "passed": 1}]
    village.say("coop.consultation-close/v1", stuffed | {"opinions": honest}, "operator")
    blocked(village, village.entry("coop.opinions/v1", said, village.members[3]), "this vote is")
