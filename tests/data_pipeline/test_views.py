"""What members, stewards and everybody see of a build."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

import data_pipeline
from data_pipeline.manifest import Build
from data_pipeline.recipe import Recipe
from data_pipeline.record import Draft
from data_pipeline.reviews import RatingDraft
from data_pipeline.store import Batch, ContributionStore
from data_pipeline.views.chart import Bar, Section, bars
from data_pipeline.views.given import given
from data_pipeline.views.insights import FEW, insights
from data_pipeline.views.place import own_records, place
from data_pipeline.views.reasons import MARKS, REASONS, in_words, mark_in_words, row_named
from data_pipeline.views.withdrawal import Loss, estimate, withdrawal
from governance_hooks.canonical import sha256

Give = Callable[..., Batch]
MakeBuild = Callable[..., Build]


def everybody(member: str, _language: str, _batch: str) -> str:
    return sha256(member.encode())


def rate(store: ContributionStore, reviewer: str, *scores: tuple[str, int], at: str = "2026-02-01T00:00:00Z") -> None:
    review = store.reviews.add(reviewer, [RatingDraft(record, score) for record, score in scores], at=at)
    store.reviews.seal(review.review, sha256(review.review.encode()))


@pytest.fixture
def filled(give: Give, store: ContributionStore) -> ContributionStore:
    give("ana", Draft("one", "1", "eng", record_id="a1"), Draft("dos", "2", "spa", record_id="a2"))
    give("ben", Draft("dos, mejor", "2, claro que sí", "spa", record_id="b2", parents=("a2",)), Draft("own", "x", "eng", record_id="b3"))
    give("cleo", Draft("ONE", "1", "eng", record_id="c1"), at="2026-05-01T00:00:00Z")
    return store


# What did I give


def test_a_member_sees_what_they_gave(filled: ContributionStore, give: Give) -> None:
    give("ana", Draft("later", "l", "eng", record_id="a3"), seal=False)
    filled.erase(["a1"])
    rate(filled, "ana", ("b3", 4), ("c1", 2))
    seen = given(filled, "ana")
    assert (seen.records, seen.edits, seen.erased, seen.unsealed, seen.languages, seen.ratings) == (2, 0, 1, 1, {"eng": 1, "spa": 1}, 2)
    assert [(batch.records, batch.erased, batch.statement is None) for batch in seen.batches] == [(2, 1, False), (1, 0, True)]
    assert given(filled, "ben").edits == 1
    assert given(filled, "zoe").records == 0


def test_ratings_received_never_tell_what_one_reviewer_thinks(filled: ContributionStore) -> None:
    rate(filled, "ana", ("b3", 5))
    assert (given(filled, "ben").rated, given(filled, "ben").mean_permille) == (1, None)
    rate(filled, "cleo", ("b3", 2))
    rate(filled, "cleo", ("b3", 4), at="2026-03-01T00:00:00Z")  # the latest counts
    seen = given(filled, "ben")
    assert (seen.rated, seen.ratings_received, seen.mean_permille) == (1, 2, 4500)


# Where did it go


def test_a_member_sees_where_each_record_went_and_names_of_nobody_else(filled: ContributionStore, make_build: MakeBuild) -> None:
    build = make_build()
    mine, theirs = place(build, "ana", own_records(filled, "ana")), place(build, "cleo", own_records(filled, "cleo"))
    assert (mine.rows, mine.own, mine.languages, mine.left, mine.credited) == (3, 2, {"eng": (1, 2), "spa": (2, 2)}, (), 0)
    assert mine.marks is not None
    assert mine.marks["unreviewed"] == 3
    assert (theirs.rows, theirs.credited) == (0, 1)
    assert theirs.left is not None
    assert [(left.record, left.reason, left.words) for left in theirs.left] == [
        ("c1", "duplicate", "it says the same as a text that came earlier, whose row now thanks its authors (text a1)")
    ]
    without = place(make_build(without=("ana",)), "ben", own_records(filled, "ben"))
    assert without.left is not None
    assert "ana" not in without.left[0].words


def test_with_the_public_files_alone_a_member_still_sees_their_rows(filled: ContributionStore, make_build: MakeBuild) -> None:
    build = make_build()
    for private in ("excluded.jsonl", "records.parquet"):
        (build.folder / private).unlink()
    seen = place(build, "ana")
    assert (seen.rows, seen.own, seen.left, seen.credited, seen.marks) == (3, None, None, None, None)


def test_every_reason_and_mark_the_pipeline_gives_has_words() -> None:
    """Read off the source: the second argument of each Exclusion, and what `marked` is given."""
    reasons, marks = set[str](), set[str]()
    for path in Path(data_pipeline.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Exclusion" and len(node.args) == 3:
                reasons |= {node.args[1].value} if isinstance(node.args[1], ast.Constant) else set()
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "marked":
                marks |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    assert {"no_consent", "small_edit", "near_duplicate"} - {"near_duplicate"} <= reasons
    assert {str(reason) for reason in reasons} <= REASONS.keys()
    assert {str(mark) for mark in marks} <= MARKS.keys()


def test_a_reason_nobody_wrote_words_for_is_shown_as_it_is() -> None:
    assert in_words("brand_new", "of x") == "brand_new: of x"
    assert mark_in_words("pii:email") == "personal data in it was replaced (email)"
    assert mark_in_words("new:mark") == "new:mark"
    assert [row_named(*given) for given in [("near_duplicate", "of a:b.c: 700 of 1000"), ("duplicate", "of a1"), ("no_consent", "of ana")]] == [
        "a:b.c",
        "a1",
        None,
    ]


# What if I withdraw


def test_a_withdrawal_counts_own_rows_those_built_on_them_and_freed_copies(filled: ContributionStore) -> None:
    found = withdrawal(filled, "ana", everybody)
    assert (found.method, found.rows_now, found.own, found.built_on, found.losers, found.freed, found.displaced) == ("rules", 4, 2, 1, 1, 1, 0)
    assert found.languages == {"eng": Loss(1, 0, 1, 0), "spa": Loss(1, 1, 0, 0)}


def test_the_ledger_gives_the_same_numbers_where_no_copy_of_a_copy_is_freed(filled: ContributionStore, make_build: MakeBuild) -> None:
    exact = withdrawal(filled, "ana", everybody)
    read = estimate(make_build(), "ana", own_records(filled, "ana"))
    assert read.method == "ledger"
    assert (read.rows_now, read.own, read.built_on, read.losers, read.freed, read.languages) == (4, 2, 1, 1, 1, exact.languages)


def test_a_withdrawal_asks_for_consent_seal_and_rules_as_the_build_does(filled: ContributionStore, give: Give) -> None:
    give("ana", Draft("unsealed", "u", "eng", record_id="a9"), seal=False)
    give("ana", Draft("you are so very immature", "you are so very immature", "eng", record_id="a8"))
    assert withdrawal(filled, "ana", everybody).own == 2
    nobody = withdrawal(filled, "ana", lambda *_claim: None)
    assert (nobody.rows_now, nobody.own, nobody.languages) == (0, 0, {})
    assert withdrawal(filled, "ana", everybody, recipe=Recipe.parse({})).own == 3
    assert withdrawal(filled, "ana", everybody, signed=frozenset()).rows_now == 0


def test_a_withdrawal_of_one_consent_loses_what_no_other_one_carries(filled: ContributionStore) -> None:
    found = withdrawal(filled, "ana", everybody, consent_then=lambda one, language, _batch: None if (one, language) == ("ana", "spa") else "sha256:" + "c" * 64)
    assert (found.rows_now, found.languages) == (4, {"spa": Loss(1, 1, 0, 0)})
    assert withdrawal(filled, "ana", everybody, consent_then=everybody).languages == {}
    all_of_it = withdrawal(filled, "ana", everybody, consent_then=lambda *claim: None if claim[0] == "ana" else everybody(*claim))
    assert all_of_it == withdrawal(filled, "ana", everybody)


def test_looking_leaves_no_text_behind(filled: ContributionStore, tmp_path: Path) -> None:
    scratch, seen = tmp_path / "scratch", list[int]()
    scratch.mkdir()
    withdrawal(filled, "ana", everybody, scratch=scratch, progress=lambda *_step: seen.extend(path.stat().st_mode & 0o077 for path in scratch.iterdir()))
    assert seen
    assert not any(seen)
    assert not list(scratch.iterdir())


def test_looking_changes_nothing_and_the_only_member_may_leave(give: Give, store: ContributionStore) -> None:
    give("ana", Draft("one", "1", "eng", record_id="a1"))
    before = store.records()
    assert withdrawal(store, "ana", everybody).own == 1
    assert withdrawal(store, "zoe", everybody).own == 0
    assert store.records() == before


def test_erased_rows_are_lost_already(filled: ContributionStore) -> None:
    filled.erase(["a1", "b2"])
    found = withdrawal(filled, "ana", everybody)
    assert (found.own, found.built_on, found.freed) == (1, 0, 0)


# Insights


def test_numbers_few_members_stand_behind_are_not_told(give: Give, make_build: MakeBuild, store: ContributionStore) -> None:
    for n in range(FEW):
        give(f"m{n}", Draft(f"the sea lies calm {n}", f"answer number {n}", "eng", record_id=f"e{n}"), Draft(f"same {n}", "copy", "eng", record_id=f"f{n}"))
    give("m0", Draft("SAME 1", "copy", "eng", record_id="z1"), Draft("el mar está en calma", "sí", "spa", record_id="s1"))
    give("m1", Draft("write to me@mail.org soon", "yes", "eng", record_id="z2"))
    eng, spa = insights(make_build(), store)
    assert (eng.language, eng.rows, eng.members, eng.largest_permille, spa.rows, spa.members, spa.largest_permille, spa.median_characters) == (
        *("eng", 11, FEW, 272),
        *(1, None, None, None),
    )
    assert eng.median_characters == 24
    assert (eng.marks["unreviewed"], eng.marks["pii"], eng.left_out) == (11, None, {"duplicate": None})
    assert all(count is None for count in spa.marks.values())


def test_agreement_is_told_from_five_reviewers_on(give: Give, make_build: MakeBuild, store: ContributionStore) -> None:
    for n in range(FEW):
        give(f"m{n}", Draft(f"the sea lies calm {n}", f"answer number {n}", "eng", record_id=f"e{n}"))
    for n in range(FEW - 1):
        rate(store, f"r{n}", ("e0", 5), ("e1", 4), ("e2", 3))
    build = make_build()
    assert insights(build, store)[0].alpha_permille is None
    rate(store, "r9", ("e0", 5), ("e1", 4), ("e2", 3))
    assert insights(build, store)[0].alpha_permille == 1000
    rate(store, "m0", ("e1", 5), ("e2", 5))
    assert insights(build, store)[0].alpha_permille in range(300, 900)


def test_a_chart_is_safe_and_can_be_read_without_eyes() -> None:
    text = bars("<b>&", "words & more", [Section("Rows", [Bar("eng", 10, 3, "5 <members>"), Bar("x", 1, 1), Bar("none", 0)], ("learn", "held"))])
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "title desc")
    assert [root.findtext(f"{space}{name}") for name in ("title", "desc")] == ["<b>&", "words & more"]
    assert "5 <members>" in "".join(root.itertext())
    assert {element.tag.removeprefix(space) for element in root.iter()} == {"svg", "title", "desc", "style", "rect", "text", "line"}
    assert "prefers-color-scheme:dark" in text
    assert "href" not in text


@pytest.mark.parametrize("seed", range(3))
def test_bars_are_as_long_as_their_numbers(seed: int) -> None:
    draw = random.Random(seed)
    some = [Bar(str(n), value, draw.randrange(value + 1)) for n, value in enumerate(draw.sample(range(1, 10_000), 8))]
    root = ElementTree.fromstring(bars("t", "d", [Section("s", some, ("a", "b"))]))
    lengths: dict[str, int] = {}
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        if rect.get("height") == "14":
            lengths[str(rect.get("y"))] = lengths.get(str(rect.get("y")), 0) + int(str(rect.get("width")))
    longest = max(bar.value for bar in some)
    assert list(lengths.values()) == [max(1, round(max(lengths.values()) * bar.value / longest)) for bar in some]
