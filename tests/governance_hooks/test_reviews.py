"""Ratings their reviewers signed for, as a stranger with the log and the file of reviews checks them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from governance_hooks.batches import batch_root
from governance_hooks.errors import BadInput, Refused
from governance_hooks.report import StepFailed
from governance_hooks.reviews import HiddenRating, ReviewLine, ShownRating, check_reviews, line_bytes, rating_commitment, read_reviews
from tests.village import Village

AT = "2026-11-22T13:00:00Z"


def rating(reviewer: str, record: str, score: int = 4, flags: tuple[str, ...] = ()) -> dict[str, object]:
    return {"record": record, "reviewer": reviewer, "score": score, "flags": list(flags), "at": AT, "salt": record.encode().hex().ljust(32, "0")}


def signed(village: Village, reviewer: str, *ratings: dict[str, object]) -> list[ReviewLine]:
    commitments = [rating_commitment(**one) for one in ratings]  # type: ignore[arg-type] # the fields of a rating
    made = village.say("coop.review/v1", {"ratings": len(ratings), "root": batch_root(commitments)}, reviewer)
    return [ShownRating.model_validate({**one, "statement": made.id}) for one in ratings]


@pytest.fixture
def lines(village: Village) -> list[ReviewLine]:
    anna, bela = village.members[:2]
    reviews = [
        signed(village, anna, rating(anna, "r1"), rating(anna, "r2", 1, ("spam", "wrong_language")), rating(anna, "r3", 5)),
        signed(village, bela, rating(bela, "r1", 2)),
    ]
    return [line for review in sorted(reviews, key=lambda review: review[0].statement) for line in review]


def hide(line: ReviewLine) -> HiddenRating:
    assert isinstance(line, ShownRating)
    return HiddenRating(commitment=line.commitment(), statement=line.statement)


def test_what_was_signed_is_read_back_and_checks(village: Village, lines: list[ReviewLine], tmp_path: Path) -> None:
    (tmp_path / "reviews.jsonl").write_bytes(b"".join(map(line_bytes, lines)))
    assert list(read_reviews(tmp_path / "reviews.jsonl")) == lines
    assert list(check_reviews(village.coop.register, read_reviews(tmp_path / "reviews.jsonl"))) == lines
    assert list(check_reviews(village.coop.register, [])) == []


def test_an_erased_rating_leaves_the_others_provable(village: Village, lines: list[ReviewLine]) -> None:
    for gone in range(len(lines)):
        found = list(check_reviews(village.coop.register, [hide(line) if n == gone else line for n, line in enumerate(lines)]))
        assert found == lines[:gone] + lines[gone + 1 :]


def change(**values: object) -> Callable[[list[ReviewLine]], list[ReviewLine]]:
    return lambda lines: [lines[0].model_copy(update=values), *lines[1:]]


def one_of_several(lines: list[ReviewLine]) -> ReviewLine:
    """A rating its reviewer signed together with others: a whole review may stay away, which the log shows."""
    return next(line for line in lines if sum(line.statement == other.statement for other in lines) > 1)


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        (change(score=3), "do not make the root"),
        (change(record="r9"), "do not make the root"),
        (change(at="2026-11-22T13:00:01Z"), "do not make the root"),
        (change(salt="f" * 32), "do not make the root"),
        (change(flags=["harmful"]), "do not make the root"),
        (change(reviewer="m-0000000000000000"), "stands under m-0000000000000000"),
        (lambda lines: [line for line in lines if line is not one_of_several(lines)], "do not make the root"),
        (lambda lines: [lines[0], *lines], "more ratings|do not make the root"),
        (lambda lines: [*lines, lines[0]], "not stand together"),
        (lambda lines: [*lines, lines[-1]], "more ratings"),
        (lambda lines: list(reversed(lines)), "not stand together|do not make the root"),
        (lambda lines: [*lines, lines[0].model_copy(update={"statement": "sha256:" + "f" * 64})], "a review the log does not know"),
        (lambda lines: [HiddenRating(commitment="sha256:" + "0" * 64, statement=lines[0].statement), *lines[1:]], "do not make the root"),
    ],
)
def test_a_rating_invented_changed_moved_left_out_or_doubled_is_found(
    village: Village, lines: list[ReviewLine], attack: Callable[[list[ReviewLine]], list[ReviewLine]], why: str
) -> None:
    with pytest.raises(StepFailed, match=why):
        list(check_reviews(village.coop.register, attack(lines)))


def test_a_file_longer_than_what_was_signed_is_not_kept_in_memory(village: Village, lines: list[ReviewLine]) -> None:
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield hide(lines[0])

    with pytest.raises(StepFailed, match="more ratings"):
        list(check_reviews(village.coop.register, endless()))
    assert asked < 10


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"commitment":"sha256:' + b"0" * 64 + b'","statement":"sha256:' + b"0" * 64 + b'"}', "line 1: the line is cut off"),
        (b"{}\n", "line 1: .*required"),
        (b"{ }\n", "canonical"),
        (b"x" * 5000 + b"\n", "longer than"),
        (b'{"at":1}\n', "line 1"),
        (b"\xff\n", "line 1"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "reviews.jsonl").write_bytes(data)
    with pytest.raises(BadInput, match=f"(?si){why}"):
        list(read_reviews(tmp_path / "reviews.jsonl"))


@pytest.mark.parametrize(
    "changes", [{"score": 0}, {"score": 6}, {"score": "4"}, {"flags": ["spam", "harmful"]}, {"flags": ["rude"]}, {"salt": "short"}, {"record": "a b"}]
)
def test_a_value_no_rating_has_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    from governance_hooks.canonical import dumps

    good = {**rating("m-0123456789abcdef", "r1"), "statement": "sha256:" + "0" * 64}
    (tmp_path / "good.jsonl").write_bytes(dumps(good) + b"\n")
    assert len(list(read_reviews(tmp_path / "good.jsonl"))) == 1
    (tmp_path / "bad.jsonl").write_bytes(dumps(good | changes) + b"\n")
    with pytest.raises(BadInput, match=r"bad\.jsonl, line 1"):
        list(read_reviews(tmp_path / "bad.jsonl"))


def test_only_the_reviewer_alone_a_member_in_good_standing_signs_a_review(village: Village) -> None:
    anna, bela, caro = village.members[:3]
    payload = {"ratings": 1, "root": "sha256:" + "0" * 64}
    with pytest.raises(Refused, match="is signed by"):
        village.say("coop.review/v1", payload, anna, village.keys[bela])
    with pytest.raises(Refused, match="operator"):
        village.say("coop.review/v1", payload, "operator")
    village.coop.register.members[caro].suspended_until = "2099-01-01T00:00:00Z"
    with pytest.raises(Refused, match="suspended"):
        village.say("coop.review/v1", payload, caro)
    village.say("coop.leave/v1", {}, bela)
    with pytest.raises(Refused, match="not a member"):
        village.say("coop.review/v1", payload, bela)
    assert village.coop.register.reviews == {}
