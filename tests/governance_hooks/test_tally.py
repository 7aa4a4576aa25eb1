"""The count, beside one that is worked out with fractions from the words of the bylaws."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance_hooks import merkle
from governance_hooks.bylaws import Rules
from governance_hooks.tally import count, roll_path, roll_root

RULES = Rules(quorum_percent=50, approval_percent=60, minimum_for=2)


def votes(yes: int, no: int, abstain: int) -> list[str]:
    return ["for"] * yes + ["against"] * no + ["abstain"] * abstain


def by_the_words(yes: int, no: int, abstain: int, roll: int, rules: Rules) -> bool:
    """Decide as `Rules` says it in words, with exact fractions."""
    present = yes + no + (abstain if rules.abstain != "nothing" else 0)
    against = no + (abstain if rules.abstain == "against" else 0)
    quorum, approval = Fraction(rules.quorum_percent, 100), Fraction(rules.approval_percent, 100)
    if yes < rules.minimum_for:
        return False
    if rules.quorum == "rejection":
        return Fraction(against, roll) < quorum
    reached = Fraction(yes if rules.quorum == "minimum-yes" else present, roll) >= quorum
    return reached and Fraction(yes, yes + against) >= approval


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Draw ballots for, against, abstentions, and a roll that has room for one more."""
    yes, no, abstain = (draw(st.integers(0, 30)) for _ in range(3))
    return yes, no, abstain, yes + no + abstain + draw(st.integers(1, 50))


all_rules = st.builds(
    Rules,
    quorum=st.sampled_from(["participation", "minimum-yes", "rejection"]),
    quorum_percent=st.integers(1, 100),
    approval_percent=st.integers(0, 100),
    abstain=st.sampled_from(["quorum", "nothing", "against"]),
    minimum_for=st.integers(1, 5),
)


@given(counts(), all_rules)
def test_the_count_is_what_the_words_of_the_rules_say(ballots: tuple[int, int, int, int], rules: Rules) -> None:
    yes, no, abstain, roll = ballots
    tally = count(votes(yes, no, abstain), roll, rules)
    assert tally.approved is by_the_words(yes, no, abstain, roll, rules), tally.why
    assert (tally.votes_for, tally.votes_against, tally.votes_abstain, tally.cast, tally.roll) == (yes, no, abstain, yes + no + abstain, roll)
    assert tally.outcome == ("approved" if tally.approved else "rejected")


@given(counts(), all_rules)
def test_another_yes_never_turns_approval_into_rejection(ballots: tuple[int, int, int, int], rules: Rules) -> None:
    yes, no, abstain, roll = ballots
    if count(votes(yes, no, abstain), roll, rules).approved:
        assert count(votes(yes + 1, no, abstain), roll, rules).approved


@given(counts(), all_rules)
def test_a_change_from_yes_to_no_never_turns_rejection_into_approval(ballots: tuple[int, int, int, int], rules: Rules) -> None:
    yes, no, abstain, roll = ballots
    if yes and not count(votes(yes, no, abstain), roll, rules).approved:
        assert not count(votes(yes - 1, no + 1, abstain), roll, rules).approved


def test_exactly_the_threshold_is_enough_and_one_less_is_not() -> None:
    assert count(votes(3, 2, 0), 10, RULES).approved
    assert not count(votes(5, 4, 0), 10, RULES).approved
    assert not count(votes(4, 0, 0), 10, RULES).approved
    assert count(votes(5, 0, 0), 10, RULES).approved


@pytest.mark.parametrize(
    ("rules", "ballots", "why"),
    [
        (RULES, (4, 0, 0), "quorum missed: 4 of 10 voted, 50% needed"),
        (RULES, (1, 0, 4), "only 1 voted for, 2 needed"),
        (RULES, (5, 4, 0), "5 of 9 for, 60% needed"),
        (Rules(quorum="minimum-yes", quorum_percent=30), (2, 0, 0), "quorum missed: 2 of 10 voted for, 30% of the roll needed"),
        (Rules(quorum="rejection", quorum_percent=30), (4, 3, 0), "defeated: 3 of 10 voted against, 30% of the roll defeat it"),
        (Rules(quorum="rejection", quorum_percent=30, abstain="against"), (4, 1, 2), "defeated: 3 of 10 voted against"),
        (Rules(quorum="rejection", quorum_percent=30), (0, 0, 0), "only 0 voted for"),
        (RULES, (3, 1, 2), "3 for, 1 against, 2 abstained, of 10 on the roll"),
    ],
)
def test_a_count_says_in_words_what_decided_it(rules: Rules, ballots: tuple[int, int, int], why: str) -> None:
    assert why in count(votes(*ballots), 10, rules).why


def test_the_roll_root_binds_who_is_on_it_but_not_the_order() -> None:
    assert roll_root(["m-1", "m-2"]) == roll_root(["m-2", "m-1"]) != roll_root(["m-1", "m-3"])


@given(st.sets(st.integers(0, 99), min_size=1), st.data())
def test_everybody_on_a_roll_can_show_it(numbers: set[int], data: st.DataObject) -> None:
    members = [f"m-{number:016x}" for number in numbers]
    member = data.draw(st.sampled_from(members))
    index, path = roll_path(members, member)
    root = bytes.fromhex(roll_root(members).removeprefix("sha256:"))
    assert merkle.verify_inclusion(merkle.leaf_hash(member.encode()), index, len(members), path, root)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"m-another"), index, len(members), path, root)
