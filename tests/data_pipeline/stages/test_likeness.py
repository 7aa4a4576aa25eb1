from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.stages.likeness import Sketches, likeness


def test_the_likeness_of_texts_shorter_than_an_n_gram_is_equality() -> None:
    assert (likeness("ja", "ja"), likeness("ja", "no"), likeness("", "")) == (1, 0, 1)


@settings(max_examples=200, deadline=None)
@given(pairs=st.lists(st.tuples(st.text("ab1", max_size=900), st.text("ab", max_size=9)), min_size=9, max_size=20), least=st.integers(500, 1000))
def test_the_bound_by_sketches_refuses_no_copy(pairs: list[tuple[str, str]], least: int) -> None:
    last, others = len(pairs) - 1, list(range(len(pairs) - 1))
    passed = Sketches(len(pairs), pairs.__getitem__).plausible(last, others, least)
    for other in others:
        exact = min(likeness(*texts) for texts in zip(pairs[last], pairs[other], strict=True))
        assert other in passed or exact * 1000 < least


def test_the_bound_by_sketches_spares_comparisons() -> None:
    texts = [(chr(0x4E00 + place) * 30 + "?", "Yes.") for place in range(20)]
    texts.append(texts[3])
    passed = Sketches(21, texts.__getitem__).plausible(20, list(range(20)), 700)
    assert 3 in passed
    assert len(passed) < 10
