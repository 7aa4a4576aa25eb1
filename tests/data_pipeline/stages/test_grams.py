from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.stages.grams import gram_hashes, many_gram_hashes

MASK = (1 << 64) - 1
PINNED = ["1fbdb0bcfce8d0a8", "909b1b5d7ae00e48", "0aefb11bdfa24938", "052dc0cafe4f65fa"]


def slowly(text: str, size: int) -> list[int]:
    """The definition again, one character and one Python number at a time."""
    points = [ord(character) for character in text]
    size = min(size, len(points))
    hashes = []
    for start in range(len(points) - size + 1 if size else 0):
        value = size
        for point in points[start : start + size]:
            value = (value * 0x9E3779B97F4A7C15 + point) & MASK
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
        hashes.append(value ^ (value >> 31))
    return hashes


@given(st.text(max_size=60), st.integers(1, 16))
def test_hashes_are_those_of_the_definition(text: str, size: int) -> None:
    assert gram_hashes(text, size).tolist() == slowly(text, size)


def test_hashes_are_pinned_so_that_another_machine_makes_the_same_build() -> None:
    assert [f"{value:016x}" for value in gram_hashes("में क्या", 5).tolist()] == PINNED


@given(st.text(min_size=3, max_size=40))
def test_equal_runs_have_equal_hashes_wherever_they_stand(text: str) -> None:
    assert np.array_equal(gram_hashes("x" + text, 3)[1:], gram_hashes(text, 3))


@given(texts=st.lists(st.text(max_size=12), max_size=8), size=st.integers(1, 6))
def test_many_texts_at_once_give_what_each_gives_alone(texts: list[str], size: int) -> None:
    found, starts = many_gram_hashes(texts, size)
    ends = [*starts.tolist()[1:], len(found)]
    assert [found[start:end].tolist() for start, end in zip(starts.tolist(), ends, strict=False)] == [gram_hashes(text, size).tolist() for text in texts]
