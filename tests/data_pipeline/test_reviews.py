from __future__ import annotations

from pathlib import Path

import pytest

from data_pipeline.record import Draft
from data_pipeline.reviews import RatingDraft
from data_pipeline.store import ContributionStore
from governance_hooks.batches import batch_root
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.reviews import HiddenRating, ShownRating
from tests.postgres import BOTH

AT = "2026-11-22T13:00:00Z"
SEAL = sha256(b"review")


@pytest.fixture
def rated(store: ContributionStore) -> ContributionStore:
    """Three records of ana, one an edit by ben."""
    store.add_batch("ana", [Draft(f"q{n}", f"a{n}", "eng", record_id=f"r{n}") for n in range(3)])
    store.add_batch("ben", [Draft("q0", "better", "eng", record_id="edit", parents=("r0",))])
    return store


@BOTH
def test_sealed_ratings_come_back_with_what_proves_them(rated: ContributionStore) -> None:
    review = rated.reviews.add("caro", [RatingDraft("r2", 5), RatingDraft("r0", 2, ("wrong_language", "spam")), RatingDraft("edit", 4)], at=AT)
    assert review.payload() == {"ratings": 3, "root": review.root}
    assert list(rated.reviews.ratings()) == []
    assert [one.review for one in rated.reviews.unsealed()] == [review.review]
    rated.reviews.seal(review.review, SEAL)
    rated.reviews.seal(review.review, SEAL)
    found = list(rated.reviews.ratings())
    assert [(one.record, one.reviewer, one.score, one.flags, one.at, one.statement) for one in found] == [
        ("edit", "caro", 4, (), AT, SEAL),
        ("r0", "caro", 2, ("spam", "wrong_language"), AT, SEAL),
        ("r2", "caro", 5, (), AT, SEAL),
    ]
    assert [one.record for one in rated.reviews.ratings("f", "r1")] == ["r0"]
    lines = list(rated.reviews.lines(lambda record: True))
    assert batch_root([line.commitment() for line in lines if isinstance(line, ShownRating)]) == review.root
    assert {one.commitment for one in found} == {line.commitment() for line in lines if isinstance(line, ShownRating)}


@BOTH
def test_only_asked_for_ratings_are_shown_and_a_review_without_any_is_left_out(rated: ContributionStore) -> None:
    for reviewer, records in (("caro", ["r0", "r1"]), ("dora", ["r1"])):
        rated.reviews.seal(rated.reviews.add(reviewer, [RatingDraft(record, 3) for record in records], at=AT).review, sha256(reviewer.encode()))
    lines = list(rated.reviews.lines(lambda record: record == "r0"))
    assert [type(line) for line in lines] == [ShownRating, HiddenRating]


@BOTH
def test_an_erased_rating_is_only_a_commitment_and_counts_nowhere(rated: ContributionStore) -> None:
    review = rated.reviews.add("caro", [RatingDraft("r0", 1), RatingDraft("r1", 3)], at=AT)
    rated.reviews.seal(review.review, SEAL)
    before = [line.commitment() for line in rated.reviews.lines(lambda record: True) if isinstance(line, ShownRating)]
    assert rated.reviews.erase("ben", ["r0"], at=AT) == 0
    assert rated.reviews.erase("caro", ["r0"], at=AT) == 1
    assert rated.reviews.erase("caro", ["r0"], at=AT) == 0
    assert [one.record for one in rated.reviews.ratings()] == ["r1"]
    hidden, shown = rated.reviews.lines(lambda record: True)
    assert isinstance(hidden, HiddenRating)
    assert isinstance(shown, ShownRating)
    assert batch_root([hidden.commitment, shown.commitment()]) == review.root
    assert [hidden.commitment, shown.commitment()] == before


def test_an_erased_salt_is_in_no_file_of_the_store(rated: ContributionStore, tmp_path: Path) -> None:
    rated.reviews.seal(rated.reviews.add("caro", [RatingDraft("r0", 1)], at=AT).review, SEAL)
    [rating] = rated.reviews.ratings()
    rated.reviews.erase("caro", ["r0"], at=AT)
    assert rating.salt.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


@BOTH
def test_the_same_ratings_again_before_the_seal_are_one_review_and_after_it_another(rated: ContributionStore) -> None:
    first = rated.reviews.add("caro", [RatingDraft("r0", 1)], at=AT)
    assert rated.reviews.add("caro", [RatingDraft("r0", 1)], at="2026-11-22T14:00:00Z") == first
    rated.reviews.seal(first.review, SEAL)
    second = rated.reviews.add("caro", [RatingDraft("r0", 1)], at=AT)
    assert second != first
    with pytest.raises(CoopError, match="seals another review"):
        rated.reviews.seal(second.review, SEAL)
    with pytest.raises(CoopError, match="sealed by another"):
        rated.reviews.seal(first.review, sha256(b"other"))
    with pytest.raises(BadInput, match="no such review"):
        rated.reviews.seal("nobody", sha256(b"other"))
    with pytest.raises(BadInput, match="not the digest"):
        rated.reviews.seal(second.review, "x")


@BOTH
@pytest.mark.parametrize(
    ("reviewer", "drafts", "why"),
    [
        ("caro", [], "without ratings"),
        ("caro", [RatingDraft("r0", 0)], "not a score"),
        ("caro", [RatingDraft("r0", True)], "not a score"),
        ("caro", [RatingDraft("r0", 3), RatingDraft("r1", 6, line=9)], "line 9: not a score"),
        ("caro", [RatingDraft("r0", 3, ("rude",))], "unknown flag"),
        ("caro", [RatingDraft("r0", 3, ("spam", "spam"))], "a flag stands twice"),
        ("caro", [RatingDraft("r0", 3), RatingDraft("r0", 4)], "rating 2: this text is rated twice"),
        ("caro", [RatingDraft("r0", 3), RatingDraft("nobody", 3)], "rating 2: no such text"),
        ("ana", [RatingDraft("r0", 5)], "you are an author"),
        ("ana", [RatingDraft("edit", 5)], "you are an author"),
        ("caro@example.org", [RatingDraft("r0", 5)], "not a member id"),
    ],
)
def test_what_is_no_rating_of_another_members_record_is_refused_and_nothing_is_stored(
    rated: ContributionStore, reviewer: str, drafts: list[RatingDraft], why: str
) -> None:
    with pytest.raises(BadInput, match=why):
        rated.reviews.add(reviewer, drafts, at=AT)
    assert rated.reviews.unsealed() == []


@BOTH
def test_an_erased_record_cannot_be_rated(rated: ContributionStore) -> None:
    rated.erase(["r1"])
    with pytest.raises(BadInput, match="was erased"):
        rated.reviews.add("caro", [RatingDraft("r1", 3)], at=AT)
