"""Shapley values against brute force over all orders, and the axioms that define them."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance_hooks.stake.shapley import (
    exact_values,
    largest_remainder,
    orders,
    prefixes,
    royalty_shares,
    sampled_values,
    without_truncation,
)

WORTH = st.integers(-(10**9), 10**9)


def solved(game: list[int], players: int) -> list[Fraction]:
    values, divisor = exact_values({mask: [worth] for mask, worth in enumerate(game)}, players)
    return [Fraction(value[0], divisor) for value in values]


def by_all_orders(game: list[int], players: int) -> list[Fraction]:
    sums = [0] * players
    count = 0
    for order in permutations(range(players)):
        count += 1
        for player, (before, after) in zip(order, pairwise(prefixes(order)), strict=True):
            sums[player] += game[after] - game[before]
    return [Fraction(value, count) for value in sums]


@st.composite
def games(draw: st.DrawFn, most: int = 5) -> tuple[list[int], int]:
    players = draw(st.integers(1, most))
    return [0, *draw(st.lists(WORTH, min_size=2**players - 1, max_size=2**players - 1))], players


@given(games())
@settings(max_examples=80, deadline=None)
def test_exact_values_are_the_mean_over_all_orders(case: tuple[list[int], int]) -> None:
    game, players = case
    assert solved(game, players) == by_all_orders(game, players)


@given(games())
@settings(deadline=None)
def test_efficiency_values_add_up_to_what_all_are_worth(case: tuple[list[int], int]) -> None:
    game, players = case
    assert sum(solved(game, players)) == game[-1]


@given(games(), st.data())
@settings(deadline=None)
def test_symmetry_renaming_the_players_renames_the_values(case: tuple[list[int], int], data: st.DataObject) -> None:
    game, players = case
    names = data.draw(st.permutations(range(players)))
    renamed = [0] * len(game)
    for mask, worth in enumerate(game):
        renamed[sum(1 << names[player] for player in range(players) if mask >> player & 1)] = worth
    values, again = solved(game, players), solved(renamed, players)
    assert [again[names[player]] for player in range(players)] == values


@given(games(4))
@settings(deadline=None)
def test_a_player_who_adds_nothing_gets_nothing_and_changes_nobody(case: tuple[list[int], int]) -> None:
    game, players = case
    values = solved(game + game, players + 1)
    assert values == [*solved(game, players), 0]


@given(games(4), st.data())
@settings(deadline=None)
def test_additivity_the_value_of_two_games_is_the_sum(case: tuple[list[int], int], data: st.DataObject) -> None:
    game, players = case
    other = [0, *data.draw(st.lists(WORTH, min_size=len(game) - 1, max_size=len(game) - 1))]
    both = [a + b for a, b in zip(game, other, strict=True)]
    assert solved(both, players) == [a + b for a, b in zip(solved(game, players), solved(other, players), strict=True)]


def test_the_glove_game_has_its_known_values() -> None:
    left, right_one, right_two = 1, 2, 4
    pairs = [int(bool(mask & left) and bool(mask & (right_one | right_two))) for mask in range(8)]
    assert solved(pairs, 3) == [Fraction(2, 3), Fraction(1, 6), Fraction(1, 6)]


@given(games())
@settings(max_examples=40, deadline=None)
def test_sampling_every_order_gives_the_exact_values(case: tuple[list[int], int]) -> None:
    game, players = case
    chains = [prefixes(order) for order in permutations(range(players))]
    values, divisor = sampled_values({mask: [worth] for mask, worth in enumerate(game)}, chains, players)
    assert [Fraction(value[0], divisor) for value in values] == solved(game, players)


@given(games())
@settings(deadline=None)
def test_sampled_orders_are_efficient_too(case: tuple[list[int], int]) -> None:
    game, players = case
    chains = [prefixes(order) for order in orders(players, 6, "any")]
    values, divisor = sampled_values({mask: [worth] for mask, worth in enumerate(game)}, chains, players)
    assert Fraction(sum(value[0] for value in values), divisor) == game[-1]


def test_orders_come_with_their_reverse_and_follow_from_the_seed_alone() -> None:
    made = orders(7, 8, "s")
    assert all(sorted(order) == list(range(7)) for order in made)
    assert all(back == there[::-1] for there, back in zip(made[::2], made[1::2], strict=True))
    assert made == orders(7, 8, "s") != orders(7, 8, "t")
    assert len({order[0] for order in orders(3, 400, "spread")}) == 3


def test_an_order_is_cut_where_the_rest_adds_next_to_nothing_and_names_what_it_lacks() -> None:
    worth = {0: Fraction(0), 7: Fraction(1000), 1: Fraction(500)}
    assert without_truncation(worth, (0, 1, 2), 7, 10) == ([0, 1], 3)
    assert without_truncation(worth | {3: Fraction(995)}, (0, 1, 2), 7, 10) == ([0, 1, 3], None)
    assert without_truncation(worth | {3: Fraction(985)}, (0, 1, 2), 7, 10) == ([0, 1, 3, 7], None)


def test_negative_values_are_clipped_and_where_nothing_is_left_nothing_is_shared() -> None:
    assert royalty_shares([Fraction(-3), Fraction(1), Fraction(3)]) == [0, Fraction(1, 4), Fraction(3, 4)]
    assert royalty_shares([Fraction(-3), Fraction(0)]) is None


WEIGHTS = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(0, 10**6), min_size=1, max_size=8).filter(lambda found: sum(found.values()))


@given(st.integers(0, 10**12), WEIGHTS, st.randoms())
@settings(deadline=None)
def test_parts_add_up_are_within_one_of_their_due_and_do_not_depend_on_order(amount: int, weights: dict[str, int], random: object) -> None:
    parts = largest_remainder(amount, weights)
    assert sum(parts.values()) == amount
    for name, weight in weights.items():
        assert abs(parts[name] - Fraction(amount * weight, sum(weights.values()))) < 1
        assert parts[name] >= 0
    mixed = list(weights.items())
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert largest_remainder(amount, dict(mixed)) == parts


@pytest.mark.parametrize(("amount", "weights"), [(-1, {"a": 1}), (1, {"a": 0}), (1, {"a": 2, "b": -1}), (1, {})])
def test_what_cannot_be_divided_is_refused(amount: int, weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        largest_remainder(amount, weights)
