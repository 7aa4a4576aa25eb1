"""The bounds of a comparison block what is beyond them, and ask of few predictions no share that few cannot show."""

from __future__ import annotations

from typing import Any

import pytest

from governance_hooks.errors import CoopError
from train.export.parity import BF16, EXACT, require


def found(tokens: int, parted: int, **changes: Any) -> dict[str, Any]:
    return {"tokens": tokens, "top1": round(1 - parted / tokens, 6), "max_logit": 1e-4, "mean_kl": 1e-9, "languages": {"eng": {"difference": 0.0}}} | changes


@pytest.mark.parametrize(("tokens", "parted"), [(29, 0), (29, 1), (512, 16), (1000, 30)])
def test_as_many_may_part_as_the_bound_says_and_one_of_few(tokens: int, parted: int) -> None:
    require(found(tokens, parted), BF16, "merged")


@pytest.mark.parametrize(("tokens", "parted"), [(29, 2), (512, 17), (1000, 31)])
def test_one_more_is_refused(tokens: int, parted: int) -> None:
    with pytest.raises(CoopError, match="the models differ too much"):
        require(found(tokens, parted), BF16, "merged")


@pytest.mark.parametrize("changes", [{"max_logit": 2e-3}, {"mean_kl": 1e-7}, {"languages": {"eng": {"difference": -1e-4}}}])
def test_the_other_bounds_hold_whatever_the_number(changes: dict[str, Any]) -> None:
    with pytest.raises(CoopError, match="the models differ too much"):
        require(found(29, 0, **changes), EXACT, "merged")
