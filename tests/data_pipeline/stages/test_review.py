from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.candidate import Candidate
from data_pipeline.stages.agreement import alpha
from data_pipeline.stages.review import ReviewParameters, agreement, counted, distance_below, review
from data_pipeline.stages.stage import Evidence, Rating
from governance_hooks.errors import BadInput

Row = Callable[..., Candidate]


def rate(record: str, **scores: int) -> list[Rating]:
    return [Rating(record, reviewer, score, "2026-01-02T00:00:00Z") for reviewer, score in scores.items()]


def verdict(row: Candidate, ratings: list[Rating], **parameters: int) -> str:
    kept, excluded = review([row], ReviewParameters(**parameters), Evidence(ratings=tuple(ratings)))
    return excluded[0].reason if excluded else "/".join(("kept", *kept[0].marks))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"ben": 5, "eva": 4}, "kept"),
        ({"ben": 3, "eva": 3}, "kept"),
        ({"ben": 3, "eva": 2}, "rated_low"),
        ({"ben": 1, "eva": 1, "ida": 5}, "rated_low"),
        ({"ben": 5}, "kept/unreviewed"),
        ({}, "kept/unreviewed"),
        ({"ben": 5, "ana": 5}, "kept/unreviewed"),  # ana wrote it
    ],
)
def test_ratings_by_others_decide(row: Row, scores: dict[str, int], expected: str) -> None:
    assert verdict(row("r"), rate("r", **scores)) == expected


def test_whoever_wrote_an_ancestor_does_not_count(row: Row) -> None:
    edit = row("r", authors=("ana", "ben"))
    assert counted("r", edit.source.authors, rate("r", ana=5, ben=5, eva=2)) == {"eva": 2}
    assert verdict(edit, rate("r", ben=5, eva=5), drop_unreviewed=1) == "unreviewed"


def test_the_numbers_are_voted(row: Row) -> None:
    ratings = rate("r", ben=4, eva=4)
    assert verdict(row("r"), ratings, min_reviewers=3) == "kept/unreviewed"
    assert verdict(row("r"), ratings, min_reviewers=3, drop_unreviewed=1) == "unreviewed"
    assert verdict(row("r"), ratings, min_mean_permille=4001) == "rated_low"
    assert verdict(row("r"), ratings, min_mean_permille=4000) == "kept"


def test_a_reviewer_counts_once_with_the_latest_rating(row: Row) -> None:
    early, late = Rating("r", "ben", 5, "2026-01-01T00:00:00Z"), Rating("r", "ben", 1, "2026-01-03T00:00:00Z")
    for ratings in ([early, late], [late, early]):
        assert counted("r", row("r").source.authors, ratings) == {"ben": 1}


def test_of_two_ratings_at_once_the_lower_counts_whatever_the_order(row: Row) -> None:
    high, low = Rating("r", "ben", 5, "2026-01-01T00:00:00Z"), Rating("r", "ben", 2, "2026-01-01T00:00:00Z")
    assert counted("r", row("r").source.authors, [high, low]) == counted("r", row("r").source.authors, [low, high]) == {"ben": 2}


@pytest.mark.parametrize("score", [0, 6, True])
def test_a_score_out_of_range_is_refused(row: Row, score: int) -> None:
    with pytest.raises(BadInput, match="rating of text r"):
        verdict(row("r"), [Rating("r", "ben", score, "2026-01-01T00:00:00Z")])


# Edits


@pytest.mark.parametrize(("text", "stays"), [("What is this", False), ("What was there?", True), ("What is thiss??", False), ("What is this thing?", True)])
def test_an_edit_counts_from_as_many_characters_as_members_voted(row: Row, text: str, stays: bool) -> None:
    parent, edit = row("p"), row("e", text, parents=("p",))
    kept, excluded = review([edit, parent], ReviewParameters(min_edit=5))
    assert ([r.record for r in kept], [(e.record, e.reason) for e in excluded]) == ((["e", "p"], []) if stays else (["p"], [("e", "small_edit")]))


def test_an_edit_stays_if_its_parent_is_not_there(row: Row) -> None:
    assert len(review([row("e", "What is this", parents=("p",))], ReviewParameters())[0]) == 1


def levenshtein(one: str, other: str) -> int:
    previous = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        current = [i]
        for j, b in enumerate(other, start=1):
            current.append(min(previous[j] + 1, current[-1] + 1, previous[j - 1] + (a != b)))
        previous = current
    return previous[-1]


@given(st.text("abc", max_size=12), st.text("abc", max_size=12), st.text("ab", max_size=6), st.text("ab", max_size=6), st.integers(1, 9))
def test_the_bounded_distance_is_levenshteins(a: str, b: str, c: str, d: str, limit: int) -> None:
    assert distance_below([(a, b), (c, d)], limit) == (levenshtein(a, b) + levenshtein(c, d) < limit)


# Agreement


@given(st.lists(st.lists(st.integers(1, 5), max_size=4), max_size=8))
def test_alpha_is_that_of_the_package_krippendorff(units: list[list[int]]) -> None:
    ours = alpha(units)
    pairable = [scores for scores in units if len(scores) > 1]
    if len({score for scores in pairable for score in scores}) < 2:
        assert ours is None
        return
    counts = np.array([[scores.count(value) for value in range(1, 6)] for scores in pairable])
    theirs = krippendorff.alpha(value_counts=counts, value_domain=[1, 2, 3, 4, 5], level_of_measurement="ordinal")
    assert ours is not None
    assert math.isclose(float(ours), theirs, abs_tol=1e-9)


def test_alpha_is_one_where_all_agree_and_about_zero_by_chance() -> None:
    assert alpha([[1, 1], [5, 5], [3, 3, 3]]) == 1
    draw = random.Random(1)
    chance = alpha([[draw.randint(1, 5) for _ in range(3)] for _ in range(2000)])
    assert chance is not None
    assert abs(chance) < Fraction(5, 100)


def test_agreement_is_by_language_and_leaves_authors_out(row: Row) -> None:
    rows = [row("a"), row("b"), row("c", language="spa"), row("d", language="fra")]
    ratings = (*rate("a", ben=5, eva=5, ana=1), *rate("b", ben=1, eva=1), *rate("c", ben=1, eva=5))
    assert agreement(rows, Evidence(ratings=ratings)) == {"eng": Fraction(1), "fra": None, "spa": alpha([[1, 5]])}


def test_by_default_the_smallest_mend_of_a_mistake_stays(row: Row) -> None:
    assert len(review([row("p", "What is tihs?"), row("e", "What is this?", parents=("p",))], ReviewParameters())[0]) == 2
