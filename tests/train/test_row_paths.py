from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.row_paths import RowPaths, row_paths, visible


def places(found: RowPaths) -> list[list[int]]:
    """Where the tokens of each sample lie in the row, by its pieces."""
    begins = [sum(found.pieces[:number]) for number in range(len(found.pieces))]
    return [[begins[piece] + step for piece in one.pieces for step in range(found.pieces[piece])] for one in found.samples]


ROW = [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 4, 5, 0, 1, 2, 0, 1]


def test_the_row_of_the_drawing() -> None:
    found = row_paths(ROW)
    assert found.pieces == [4, 3, 3, 2, 3, 2]
    assert [(one.own, one.pieces) for one in found.samples] == [(7, (0, 1)), (3, (0, 2)), (2, (0, 3)), (3, (4,)), (2, (5,))]
    assert places(found)[1] == [0, 1, 2, 3, 7, 8, 9]


def test_branches_of_branches() -> None:
    found = row_paths([0, 1, 2, 3, 2, 3, 4, 3, 1])
    assert places(found) == [[0, 1, 2, 3], [0, 1, 4, 5, 6], [0, 1, 4, 7], [0, 8]]


def test_a_sample_that_begins_behind_the_one_before_is_refused() -> None:
    with pytest.raises(ValueError, match="begins at position 5"):
        row_paths([0, 1, 2, 5, 6])
    with pytest.raises(ValueError, match="begins at position 3"):
        row_paths([3, 4])


@st.composite
def rows(draw: st.DrawFn) -> list[int]:
    row = list(range(draw(st.integers(1, 6))))
    for _ in range(draw(st.integers(0, 5))):
        begin = draw(st.integers(0, row[-1]))
        row += range(begin, begin + draw(st.integers(1, 5)))
    return row


@given(row=rows())
@settings(max_examples=200, deadline=None)
def test_what_is_visible_is_each_token_s_way_to_the_root(row: list[int]) -> None:
    seen = visible(torch.tensor([row, list(range(len(row)))]))
    assert seen.shape == (2, 1, len(row), len(row))
    assert torch.equal(seen[1, 0], torch.ones(len(row), len(row), dtype=torch.bool).tril())
    for place, position in enumerate(row):
        # The way back, step by step: the token before in a sample is the latest one with the position before.
        way, at = {place}, place
        for wanted in range(position - 1, -1, -1):
            at = max(other for other in range(at) if row[other] == wanted)
            way.add(at)
        assert set(seen[0, 0, place].nonzero().flatten().tolist()) == way
    found, end = row_paths(row), 0
    assert sum(found.pieces) == len(row)
    for sample, laid in zip(found.samples, places(found), strict=True):
        # Whole pieces make up the sample, whose own tokens are the next in the row and whose positions are 0, 1, 2 ...
        assert [row[place] for place in laid] == list(range(len(laid)))
        assert laid[-sample.own :] == list(range(end, end + sample.own))
        assert set(laid) == set(seen[0, 0, laid[-1]].nonzero().flatten().tolist())
        end += sample.own
    assert end == len(row)
