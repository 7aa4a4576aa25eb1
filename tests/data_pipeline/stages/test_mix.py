from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.stages.mix import UNIFORM, mix
from governance_hooks.errors import BadInput

SIZES = st.dictionaries(st.sampled_from(["eng", "spa", "hin", "yor", "lao", "tam", "quy"]), st.integers(1, 5000), min_size=1)
TEMPERATURES = st.sampled_from([UNIFORM, 10, 14, 33, 50, 200])


@given(SIZES, st.integers(1, 40_000), st.integers(1, 6), TEMPERATURES)
def test_the_budget_is_spent_and_no_cap_is_passed(sizes: dict[str, int], budget: int, max_epochs: int, temperature: int) -> None:
    shares = mix(sizes, budget, max_epochs=max_epochs, temperature_tenths=temperature)
    assert [share.language for share in shares] == sorted(sizes)
    assert sum(share.budget for share in shares) == min(budget, sum(sizes.values()) * max_epochs)
    assert sum(share.weight for share in shares) == 1
    assert all(share.epochs <= max_epochs and share.epochs == Fraction(share.budget, share.size) for share in shares)


@given(SIZES, st.integers(1, 40_000), st.integers(1, 6))
def test_languages_below_their_cap_get_equal_parts_and_no_smaller_language_gets_more(sizes: dict[str, int], budget: int, max_epochs: int) -> None:
    shares = mix(sizes, budget, max_epochs=max_epochs)
    free = [share.budget for share in shares if share.budget < share.size * max_epochs]
    assert not free or max(free) - min(free) <= 1
    assert all(share.budget <= min(free, default=share.budget) + 1 for share in shares if share.budget == share.size * max_epochs)


@given(SIZES, st.integers(1, 40_000), TEMPERATURES, st.randoms())
def test_the_order_of_the_languages_decides_nothing(sizes: dict[str, int], budget: int, temperature: int, draw: object) -> None:
    items = list(sizes.items())
    draw.shuffle(items)  # type: ignore[attr-defined]
    assert mix(dict(items), budget, temperature_tenths=temperature) == mix(sizes, budget, temperature_tenths=temperature)


def unimax(sizes: dict[str, int], budget: int, max_epochs: int) -> dict[str, Fraction]:
    """Algorithm 1 of arXiv 2304.09151, line by line."""
    left, result = Fraction(budget), {}
    for place, language in enumerate(sorted(sizes, key=lambda name: sizes[name])):
        part = left / (len(sizes) - place)
        result[language] = min(part, Fraction(sizes[language] * max_epochs))
        left -= result[language]
    return result


@given(SIZES, st.integers(1, 40_000), st.integers(1, 6))
def test_the_parts_are_those_of_the_paper_up_to_rounding(sizes: dict[str, int], budget: int, max_epochs: int) -> None:
    paper = unimax(sizes, budget, max_epochs)
    assert all(abs(share.budget - paper[share.language]) < 1 for share in mix(sizes, budget, max_epochs=max_epochs))


def test_a_temperature_of_one_is_in_proportion_and_a_high_one_nears_the_uniform_mix() -> None:
    sizes = {"eng": 8000, "spa": 4000, "lao": 1000}
    assert [share.budget for share in mix(sizes, 1300, temperature_tenths=10)] == [800, 100, 400]
    assert [share.budget for share in mix(sizes, 900)] == [300, 300, 300]
    spread = [max(s.budget for s in mix(sizes, 900, temperature_tenths=t)) for t in (10, 20, 50, 200, UNIFORM)]
    assert spread == sorted(spread, reverse=True)


def test_a_small_language_stops_at_its_cap() -> None:
    shares = {share.language: share for share in mix({"eng": 1000, "lao": 10}, 500, max_epochs=4)}
    assert (shares["lao"].budget, shares["lao"].epochs, shares["eng"].budget) == (40, 4, 460)


@pytest.mark.parametrize("arguments", [({}, 10), ({"eng": 0}, 10), ({"eng": 5}, 0)])
def test_nothing_to_mix_is_refused(arguments: tuple[dict[str, int], int]) -> None:
    with pytest.raises(BadInput):
        mix(*arguments)


@pytest.mark.parametrize("options", [{"max_epochs": 0}, {"temperature_tenths": 9}, {"temperature_tenths": 201}])
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(BadInput):
        mix({"eng": 5}, 5, **options)
