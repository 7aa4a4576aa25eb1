from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.tokens.prefix import SHORTEST, CommonPrefix, shared_prefix
from data_pipeline.tokens.sample import Sample


def sample(ids: list[int], start: int) -> Sample:
    return Sample("r", "spa", "train", np.array(ids, np.uint16), start, len(ids))


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        (sample([*range(20), 50, 51], 21), sample([*range(20), 60, 61, 62], 21), 20),
        (sample([*range(20)], 12), sample([*range(20)], 15), 11),  # token 11 predicts the first learned one of one of them
        (sample([*range(20)], 19), sample([*range(20)], 19), 18),
        (sample([*range(SHORTEST + 4)], SHORTEST + 1), sample([*range(SHORTEST + 4)], SHORTEST + 1), SHORTEST),
        (sample([*range(SHORTEST + 4)], SHORTEST), sample([*range(SHORTEST + 4)], SHORTEST), 0),
        (sample([1, *range(20)], 15), sample([2, *range(20)], 15), 0),
        (sample([*range(9)], 1), sample([*range(30)], 25), 0),
    ],
)
def test_samples_share_what_stands_before_the_token_that_predicts(one: Sample, other: Sample, found: int) -> None:
    assert shared_prefix(one, other) == shared_prefix(other, one) == found


short = st.lists(st.integers(1, 2), min_size=10, max_size=16).flatmap(lambda ids: st.builds(sample, st.just(ids), st.integers(1, len(ids) - 1)))


@given(samples=st.lists(short, min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_the_prefix_of_all_is_the_least_of_any_two(samples: list[Sample]) -> None:
    common = CommonPrefix()
    assert common.tokens == 0
    for one in samples:
        common.add(one)
    assert common.tokens == min(shared_prefix(one, other) for one in samples for other in samples)
    assert common.tokens < min(one.start for one in samples)
