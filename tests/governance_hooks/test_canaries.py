from __future__ import annotations

import pytest

from governance_hooks.canaries import canaries, commitment
from governance_hooks.canonical import is_digest
from governance_hooks.errors import BadInput

SEED = bytes(range(32))


def test_the_same_seed_makes_the_same_list_and_a_longer_one_begins_with_it() -> None:
    assert canaries(SEED, 50) == canaries(SEED, 80)[:50]
    assert {c.inputs for c in canaries(SEED, 50)}.isdisjoint(c.inputs for c in canaries(bytes(32), 50))


def test_the_coin_is_fair_and_independent_of_the_text() -> None:
    sealed = canaries(SEED, 4000)
    heads = sum(canary.included for canary in sealed)
    assert 1850 < heads < 2150
    early = sum(canary.included for canary in sealed if canary.targets[0] < "m")
    assert abs(2 * early - sum(canary.targets[0] < "m" for canary in sealed)) < 200


def test_no_two_are_alike_and_each_says_what_it_is() -> None:
    sealed = canaries(SEED, 4000)
    assert len({c.targets for c in sealed}) == len({c.canary for c in sealed}) == 4000
    assert all(c.inputs.startswith(f"{c.canary} ") and c.canary.startswith("canary-") for c in sealed)


def test_the_commitment_binds_the_seed_and_does_not_show_it() -> None:
    assert is_digest(commitment(SEED))
    assert commitment(SEED) != commitment(bytes(32))
    assert SEED.hex() not in commitment(SEED)


def test_a_canary_shown_by_mistake_does_not_show_its_coin_or_text() -> None:
    canary = canaries(SEED, 1)[0]
    assert "included" not in repr(canary)
    assert canary.targets not in repr(canary)


@pytest.mark.parametrize(("seed", "count"), [(b"short", 10), (SEED, 0), (SEED, 100_001)])
def test_a_weak_seed_or_a_wild_count_is_refused(seed: bytes, count: int) -> None:
    with pytest.raises(BadInput):
        canaries(seed, count)
