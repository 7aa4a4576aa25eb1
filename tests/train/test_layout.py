from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.tokens.sample import Sample
from train.layout import IGNORE, batch_rows


def sample(length: int, start: int, stop: int, first: int = 10) -> Sample:
    return Sample("r", "spa", "train", np.arange(first, first + length, dtype=np.uint16), start, stop)


def test_positions_restart_and_what_is_predicted_last_is_not_read() -> None:
    row = batch_rows([[sample(3, 1, 3, first=5), sample(5, 2, 4)], [sample(2, 1, 2)]], pad=0)
    assert row.ids_BT.tolist() == [[5, 6, 10, 11, 12], [10, 0, 0, 0, 0]]
    assert row.positions_BT.tolist() == [[0, 1, 0, 1, 2], [0, 0, 1, 2, 3]]
    assert row.targets_BT.tolist() == [[6, 7, IGNORE, 12, 13], [11, *[IGNORE] * 4]]


@st.composite
def drawn(draw: st.DrawFn) -> Sample:
    length = draw(st.integers(2, 20))
    start = draw(st.integers(1, length - 1))
    return sample(length, start, draw(st.integers(start + 1, length)), first=draw(st.integers(3, 200)))


@given(sequences=st.lists(st.lists(drawn(), min_size=1, max_size=5), min_size=1, max_size=4))
@settings(max_examples=80, deadline=None)
def test_samples_never_cross_and_each_supervised_token_is_a_target_once(sequences: list[list[Sample]]) -> None:
    laid = batch_rows(sequences, pad=1)
    assert int((laid.targets_BT != IGNORE).sum()) == sum(one.supervised for sequence in sequences for one in sequence)
    for row, sequence in enumerate(sequences):
        begins = (laid.positions_BT[row] == 0).nonzero().flatten().tolist()
        inputs = [one.stop - 1 for one in sequence]
        assert begins[: len(sequence)] == [sum(inputs[:n]) for n in range(len(sequence))]
        for one, begin in zip(sequence, begins, strict=False):
            assert laid.ids_BT[row, begin : begin + one.inputs].tolist() == one.ids[: one.stop - 1].tolist()
            targets = laid.targets_BT[row, begin : begin + one.inputs].tolist()
            assert targets[one.start - 1 :] == one.ids[one.start : one.stop].tolist()
            assert set(targets[: one.start - 1]) <= {IGNORE}
        assert (laid.targets_BT[row, sum(inputs) :] == IGNORE).all()
