from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipeline.candidate import Candidate
from data_pipeline.stages import near_duplicates as near
from data_pipeline.stages.likeness import likeness
from data_pipeline.stages.near_duplicates import BANDS, NearDuplicatesParameters, candidates, families, near_duplicates, resolve, signatures

Row = Callable[..., Candidate]


def sides(row: Candidate) -> tuple[str, str]:
    return near.sides(near.Row.of(row))


WORDS = [
    "the",
    "sea",
    "lies",
    "calm",
    "under",
    "a",
    "grey",
    "sky",
    "while",
    "three",
    "small",
    "boats",
    "wait",
    "for",
    "the",
    "wind",
    "to",
    "turn",
    "before",
    "the",
    "evening",
    "bell",
    "is",
    "rung",
]


def corpus(row: Row, count: int, seed: int = 0) -> list[Candidate]:
    """Rows of drawn words, every third a slight change of an earlier one, by several authors in two languages."""
    draw = random.Random(seed)
    rows: list[Candidate] = []
    for number in range(count):
        if number % 3 == 2:
            base = draw.choice(rows)
            place = draw.randrange(len(base.inputs))
            text, language = base.inputs[:place] + draw.choice("xyz") + base.inputs[place:], base.language
        else:
            text, language = " ".join(draw.sample(WORDS, 16)), draw.choice(["eng", "spa"])
        author = f"member-{draw.randrange(7)}"
        rows.append(row(f"r{number:04d}", text, "It is so.", language=language, authors=(author,), created_at=f"2026-01-{draw.randrange(1, 29):02d}T00:00:00Z"))
    return rows


def outcome(rows: list[Candidate]) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    kept, excluded = near_duplicates(rows, NearDuplicatesParameters())
    return {r.record: r.credited for r in kept}, {e.record: e.detail for e in excluded}


def test_a_near_copy_is_left_out_and_its_author_credited(row: Row) -> None:
    text = "Please explain how the tides of the sea follow the moon."
    rows = [
        row("b", text, "The moon pulls the water.", authors=("ben",), created_at="2026-01-02T00:00:00Z"),
        row("a", text + "!", "The moon pulls the water!", authors=("ana", "eva"), created_at="2026-01-03T00:00:00Z"),
        row("c", text.upper(), "The  moon pulls\nthe water.", authors=("ben",), created_at="2026-01-04T00:00:00Z"),
    ]
    kept, excluded = near_duplicates(rows, NearDuplicatesParameters())
    assert [(r.record, r.credited) for r in kept] == [("b", ("ana", "eva"))]
    assert [(e.record, e.reason, e.detail.split(":")[0]) for e in excluded] == [("a", "near_duplicate", "of b"), ("c", "near_duplicate", "of b")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("What is twelve and three, that is 12 + 3?", "It is fifteen."), ("What is twelve and three, that is 13 + 4?", "It is fifteen.")),
        (("Extract an archive that was packed with gzip", "tar -xzf {{a.tar.gz}}"), ("Extract an archive that was packed with gzip", "tar -czf {{a.tar.gz}}")),
        (("See the documentation of the original command", "tldr hexdump"), ("See the documentation of the original command", "tldr netlify")),
        (("Tell me a joke about cats please", "A cat walks into a bar."), ("Tell me a joke about cats please", "Why do dogs never win at cards?")),
    ],
)
def test_another_number_command_or_answer_is_no_copy(row: Row, one: tuple[str, str], other: tuple[str, str]) -> None:
    assert len(near_duplicates([row("a", *one), row("b", *other)], NearDuplicatesParameters())[0]) == 2


PLAIN = NearDuplicatesParameters(jaccard_only=1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Switch the small lamp on", "It is done."), ("Switch the small lamp off", "It is done.")),
        (("What is twelve and three, that is 12 + 3?", "It is fifteen."), ("What is twelve and three, that is 13 + 3?", "It is fifteen.")),
        (("Extract an archive", "tar -xzf {{path/to/archive.tar.gz}}"), ("Extract an archive", "tar -czf {{path/to/archive.tar.gz}}")),
    ],
)
def test_few_words_another_number_or_command_are_copies_if_likeness_alone_decides(row: Row, one: tuple[str, str], other: tuple[str, str]) -> None:
    rows = [row("a", *one), row("b", *other)]
    assert all(likeness(*pair) >= Fraction(7, 10) for pair in zip(sides(rows[0]), sides(rows[1]), strict=True))
    assert near_duplicates(rows, NearDuplicatesParameters())[1] == []
    ((exclusion),) = near_duplicates(rows, PLAIN)[1]
    assert (exclusion.record, exclusion.reason) == ("b", "near_duplicate")
    assert "alike by its characters alone, 700 allowed" in exclusion.detail


def test_a_short_text_under_the_threshold_is_no_copy_if_likeness_alone_decides(row: Row) -> None:
    """Careful, the two are equal but for punctuation; by characters they are not alike."""
    rows = [row("a", "Yes, no, so.", " ".join(WORDS)), row("b", "yes no so", " ".join(WORDS))]
    assert len(near_duplicates(rows, NearDuplicatesParameters())[1]) == 1
    assert near_duplicates(rows, PLAIN)[1] == []


def test_likeness_alone_and_a_short_side_that_must_be_equal_cannot_both_be_voted() -> None:
    assert PLAIN.short_below == 0
    with pytest.raises(ValueError, match="no side is too short"):
        NearDuplicatesParameters(jaccard_only=1, short_below=30)
    with pytest.raises(ValueError, match="less than or equal to 1"):
        NearDuplicatesParameters(jaccard_only=2)


def test_rows_among_more_like_them_than_are_compared_are_not_surely_compared() -> None:
    """A hundred rows and two alike ones share every bucket. Whether the two meet depends on who came before, which the rows of a build do not say."""
    texts = [near.Row("eng", chr(0x4E00 + number) * 9, "Yes.") for number in range(100)] + [
        near.Row("eng", "the very same question" + mark, "Yes.") for mark in "?!"
    ]
    shared = np.ones((102, BANDS), dtype=np.uint64)
    late, early = (resolve(shared, order, texts.__getitem__, PLAIN) for order in (range(102), [100, 101, *range(100)]))
    assert late == []
    assert [(copy.row, copy.of) for copy in early] == [(101, 100)]
    assert not near.surely_compared(early[0], shared, texts.__getitem__, PLAIN)
    assert near.surely_compared(near.Copy(1, 0, 900), shared[100:], texts[100:].__getitem__, PLAIN)


def test_the_same_text_in_another_language_is_no_copy(row: Row) -> None:
    for parameters in (NearDuplicatesParameters(), PLAIN):
        assert len(near_duplicates([row("a"), row("b", language="nld")], parameters)[0]) == 2


def test_the_threshold_is_voted(row: Row) -> None:
    rows = [row("a", "the sea lies calm under a grey sky today"), row("b", "the sea lies calm under a grey sky tonight")]
    alike = likeness(sides(rows[0])[0], sides(rows[1])[0])
    assert Fraction(700, 1000) < alike < Fraction(900, 1000)
    assert len(near_duplicates(rows, NearDuplicatesParameters(likeness_permille=700))[0]) == 1
    assert len(near_duplicates(rows, NearDuplicatesParameters(likeness_permille=900))[0]) == 2


def test_likeness_does_not_chain(row: Row) -> None:
    """b is like a and c is like b, but c is not like a: c stays, since b is not there to be its copy."""
    words = " ".join(WORDS[:20])
    a, b, c = words, words[14:] + " one two thr", words[28:] + " one two three four five s"
    rows = [row(name, text, "x", created_at=f"2026-01-0{day}T00:00:00Z") for day, (name, text) in enumerate([("a", a), ("b", b), ("c", c)], start=1)]
    assert likeness(a, b) >= Fraction(7, 10)
    assert likeness(b, c) >= Fraction(7, 10)
    assert likeness(a, c) < Fraction(7, 10)
    assert [r.record for r in near_duplicates(rows, NearDuplicatesParameters())[0]] == ["a", "c"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000))
def test_the_order_of_the_rows_decides_nothing(row: Row, seed: int) -> None:
    rows = corpus(row, 60, seed)
    assert outcome(random.Random(seed).sample(rows, len(rows))) == outcome(rows)


@pytest.mark.parametrize("parameters", [NearDuplicatesParameters(), PLAIN])
@pytest.mark.parametrize("shards", [1, 2, 7])
def test_the_number_of_shards_decides_nothing(row: Row, shards: int, parameters: NearDuplicatesParameters) -> None:
    rows = [near.Row.of(r) for r in corpus(row, 120)]
    shared = candidates(signatures(rows))
    whole = resolve(shared, range(120), rows.__getitem__, parameters)
    parts = np.concatenate([signatures(rows[start : start + 120 // shards + 1]) for start in range(0, 120, 120 // shards + 1)])
    assert (candidates(parts) == shared).all()
    family = families(shared)
    dealt = [[place for place in range(120) if family[place] % shards == shard] for shard in range(shards)]
    apart = [copy for places in dealt for copy in resolve(shared, places, rows.__getitem__, parameters)]
    assert len(whole) >= 10
    assert sorted(apart) == sorted(whole)


@given(seed=st.integers(0, 1000))
def test_rows_that_share_a_number_are_of_one_family_and_only_they_and_theirs(seed: int) -> None:
    draw = np.random.default_rng(seed)
    shared = candidates(draw.integers(1, 60, (40, 3)).astype(np.uint64) * np.uint64(2) + np.uint64(1))
    family = families(shared)
    groups = [{place} for place in range(40)]
    for column in shared.T:
        for number in set(column.tolist()) - {0}:
            joined = set(np.flatnonzero(column == number).tolist())
            for group in [group for group in groups if group & joined]:
                groups.remove(group)
                joined |= group
            groups.append(joined)
    assert sorted(map(sorted, groups)) == sorted(np.flatnonzero(family == label).tolist() for label in set(family.tolist()))


def test_every_left_out_row_is_like_the_kept_row_it_names_and_no_kept_rows_are(row: Row, real_rows: list[Candidate]) -> None:
    for rows in (corpus(row, 300), real_rows):
        kept, excluded = near_duplicates(rows, NearDuplicatesParameters())
        by_record = {r.record: r for r in rows}
        assert sorted([*(r.record for r in kept), *(e.record for e in excluded)]) == sorted(by_record)
        names = {r.record for r in kept}
        for exclusion in excluded:
            first = exclusion.detail.split(":")[0].removeprefix("of ")
            assert first in names
            pairs = zip(sides(by_record[exclusion.record]), sides(by_record[first]), strict=True)
            assert all(likeness(one, other) >= Fraction(7, 10) for one, other in pairs)
            assert (by_record[first].source.created_at, first) < (by_record[exclusion.record].source.created_at, exclusion.record)


def test_slight_changes_are_found(row: Row) -> None:
    assert len(near_duplicates(corpus(row, 300), NearDuplicatesParameters())[1]) >= 90  # of 100; a change in a short row can pass the threshold


def test_a_family_from_one_template_costs_its_number_not_its_square(row: Row) -> None:
    """Each row shares most buckets with each other, and none is a copy: buckets and comparisons are bounded."""
    draw = random.Random(1)
    stem = " ".join(draw.sample(WORDS, 20))
    tails = ["".join(draw.choice("abcdefgh ") for _ in range(60)) for _ in range(600)]
    rows = [row(f"r{n:03d}", f"{stem} {tail}", "Yes.") for n, tail in enumerate(tails)]
    assert len(near_duplicates(rows, NearDuplicatesParameters())[0]) == 600


def test_no_rows_are_no_problem() -> None:
    assert signatures([]).shape == (0, BANDS)
    assert near_duplicates([], NearDuplicatesParameters()) == ([], [])
