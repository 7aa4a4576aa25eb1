from hypothesis import given
from hypothesis import strategies as st

from governance_hooks.bylaws import Rules
from governance_hooks.tally import count, roll_root

RULES = Rules(quorum_percent=50, approval_percent=60, minimum_for=2)


def votes(yes: int, no: int, abstain: int) -> list[str]:
    return ["for"] * yes + ["against"] * no + ["abstain"] * abstain


def test_exactly_the_threshold_is_enough_and_one_less_is_not() -> None:
    assert count(votes(3, 2, 0), 10, RULES).approved
    assert not count(votes(5, 4, 0), 10, RULES).approved
    assert not count(votes(4, 0, 0), 10, RULES).approved
    assert count(votes(5, 0, 0), 10, RULES).approved


def test_a_miss_says_what_was_missing() -> None:
    assert "quorum missed: 4 of 10" in count(votes(4, 0, 0), 10, RULES).why
    assert "only 1 voted for" in count(votes(1, 0, 4), 10, RULES).why
    assert "5 of 9 for, 60% needed" in count(votes(5, 4, 0), 10, RULES).why


def test_abstentions_count_for_the_quorum_but_not_for_the_share() -> None:
    assert count(votes(2, 1, 2), 10, RULES).approved


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 100), st.integers(0, 100), st.integers(1, 5), st.integers(0, 50))
def test_another_yes_never_turns_approval_into_rejection(yes: int, no: int, abstain: int, quorum: int, share: int, least: int, silent: int) -> None:
    rules = Rules(quorum_percent=quorum, approval_percent=share, minimum_for=least)
    roll = yes + no + abstain + silent + 1
    if count(votes(yes, no, abstain), roll, rules).approved:
        assert count(votes(yes + 1, no, abstain), roll, rules).approved


def test_the_roll_root_binds_who_is_on_it_but_not_the_order() -> None:
    assert roll_root(["m-1", "m-2"]) == roll_root(["m-2", "m-1"]) != roll_root(["m-1", "m-3"])
