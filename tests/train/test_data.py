from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.tokens.sample import Sample
from train.data import IGNORE, batch_rows


def sample(length: int, start: int, stop: int, first: int = 10) -> Sample:
    return Sample("r", "spa", "train", np.arange(first, first + length, dtype=np.uint16), start, stop)


def test_positions_restart_and_first_tokens_are_never_labels() -> None:
    row = batch_rows([[sample(3, 1, 3, first=5), sample(4, 2, 3)], [sample(2, 1, 2)]], pad=0)
    assert row.ids_BT.tolist() == [[5, 6, 7, 10, 11, 12, 13], [10, 11, 0, 0, 0, 0, 0]]
    assert row.positions_BT.tolist() == [[0, 1, 2, 0, 1, 2, 3], [0, 1, 0, 1, 2, 3, 4]]
    assert row.labels_BT.tolist() == [[IGNORE, 6, 7, IGNORE, IGNORE, 12, IGNORE], [IGNORE, 11, *[IGNORE] * 5]]


@st.composite
def drawn(draw: st.DrawFn) -> Sample:
    length = draw(st.integers(2, 20))
    start = draw(st.integers(1, length - 1))
    return sample(length, start, draw(st.integers(start + 1, length)), first=draw(st.integers(3, 200)))


@given(sequences=st.lists(st.lists(drawn(), min_size=1, max_size=5), min_size=1, max_size=4))
@settings(max_examples=80, deadline=None)
def test_samples_never_cross_and_each_supervised_token_is_a_label_once(sequences: list[list[Sample]]) -> None:
    laid = batch_rows(sequences, pad=1)
    assert int((laid.labels_BT != IGNORE).sum()) == sum(one.supervised for sequence in sequences for one in sequence)
    for row, sequence in enumerate(sequences):
        begins = (laid.positions_BT[row] == 0).nonzero().flatten().tolist()
        lengths = [len(one.ids) for one in sequence]
        assert begins[: len(sequence)] == [sum(lengths[:n]) for n in range(len(sequence))]
        for one, begin in zip(sequence, begins, strict=False):
            labels = laid.labels_BT[row, begin : begin + len(one.ids)].tolist()
            assert labels[one.start : one.stop] == one.ids[one.start : one.stop].tolist()
            assert set(labels[: one.start] + labels[one.stop :]) <= {IGNORE}
        assert (laid.labels_BT[row, sum(lengths) :] == IGNORE).all()
