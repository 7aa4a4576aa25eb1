"""Which answers are preferred over which, and how pairs stand in the tokens; each rule has a case in which it blocks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipeline.build import build as build_of
from data_pipeline.manifest import Build
from data_pipeline.record import Draft
from data_pipeline.reviews import RatingDraft
from data_pipeline.store import ContributionStore
from data_pipeline.tokens.description import PREFERENCES, TOKENS
from data_pipeline.tokens.make import make_tokens, recipe_of
from data_pipeline.tokens.preferences import Found, find_preferences
from data_pipeline.tokens.tokens import Tokens, open_tokens
from data_pipeline.tokens.verify import verify_tokens
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.plan import Canaries, PairCounts
from tests.data_pipeline.tokens.conftest import USE

MakeBuild = Callable[..., Build]
AT = "2026-11-22T13:00:00Z"


def draft(record: str, inputs: str, targets: str, *parents: str, language: str = "eng", history: tuple[tuple[str, str], ...] = ()) -> Draft:
    return Draft(inputs=inputs, targets=targets, language=language, licence="CC-BY-4.0", record_id=record, parents=parents, history=history)


GIVEN = {
    "ana": [
        draft("a-old", "How tall is the tower?", "It is tall."),
        draft("b-old", "Who wrote the song?", "Nobody knows who."),
        draft("c-answer", "Where is the harbour?", "South of the old town."),
        draft("d-alone", "When does the market open?", "At eight o'clock."),
        draft("g-old", "¿Cuánto pesa?", "Pesa dos kilos.", language="spa"),
    ],
    "ben": [
        draft("a-new", "How tall is the tower?", "It is 300 metres tall.", "a-old"),
        draft("b-new", "Who wrote the famous song?", "A singer from Bilbao.", "b-old"),
        draft("c-other", "Where is the harbour?", "Ask somebody else please."),
        draft("g-new", "¿Cuánto pesa?", "Pesa unos dos kilos.", "g-old", language="spa"),
    ],
    "eva": [draft("a-third", "How tall is the tower?", "It is 324 metres tall, antenna included.", "a-new")],
}
RATED = {"caro": {"c-answer": 5, "c-other": 3}, "dora": {"c-answer": 5, "c-other": 3}}  # a mean below 3 would not be in the build


@pytest.fixture
def make(tmp_path: Path) -> MakeBuild:
    """Return a function that builds contributions and ratings without the consent of some members."""
    made = 0

    def build(
        *,
        without: tuple[str, ...] = (),
        given: dict[str, list[Draft]] | None = None,
        rated: dict[str, dict[str, int]] | None = None,
        heldout_permille: int = 0,
    ) -> Build:
        nonlocal made
        made += 1
        with ContributionStore(tmp_path / f"{made}.sqlite") as store:
            for member, drafts in (GIVEN if given is None else given).items():
                store.seal(store.add_batch(member, drafts).batch, digest(member))
            for reviewer, scores in (RATED if rated is None else rated).items():
                review = store.reviews.add(reviewer, [RatingDraft(record, score) for record, score in scores.items()], at=AT)
                store.reviews.seal(review.review, digest(["review", reviewer]))
            return build_of(
                store, tmp_path / f"build-{made}", coop=digest("coop"), log_size=1, log_root=digest("log"), at=AT, use=USE,
                consent_for=lambda member, language, batch: None if member in without else digest(["consent", member]), heldout_permille=heldout_permille,
            )  # fmt: skip

    return build


def pairs(found: Found) -> set[tuple[str, str, str]]:
    return {(one.chosen, one.rejected, one.because) for one in found.preferences}


def test_an_edit_is_preferred_over_what_it_replaced_and_the_better_rated_of_two_answers(make: MakeBuild) -> None:
    found = find_preferences(make(), 1.0)
    assert pairs(found) == {("a-new", "a-old", "edit"), ("a-third", "a-new", "edit"), ("g-new", "g-old", "edit"), ("c-answer", "c-other", "rating")}
    assert found.counts == {
        "eng": PairCounts(edits=2, ratings=1, other_prompt=1, absent=0, rated_lower=0, unpaired=3),
        "spa": PairCounts(edits=1, ratings=0, other_prompt=0, absent=0, rated_lower=0, unpaired=0),
    }
    assert [one.chosen for one in found.preferences] == sorted(one.chosen for one in found.preferences)


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        # Whoever wrote what was replaced takes the edits with them: they rest on it.
        ("ana", set()),
        # Ben's edit goes, and Eva's that rests on it; his answer goes, and with it the pair by ratings.
        ("ben", set()),
        ("eva", {("a-new", "a-old", "edit"), ("g-new", "g-old", "edit"), ("c-answer", "c-other", "rating")}),
    ],
)
def test_a_withdrawal_of_either_author_removes_the_pair(make: MakeBuild, gone: str, left: set[tuple[str, str, str]]) -> None:
    assert pairs(find_preferences(make(without=(gone,)), 1.0)) == left


def test_an_edit_of_a_record_that_is_not_in_the_build_is_no_pair_and_counted(make: MakeBuild) -> None:
    # Rated below what the build's recipe asks, the old answer is left out.
    found = find_preferences(make(rated={reviewer: {"g-old": 1} for reviewer in ("caro", "dora")}), 1.0)
    assert pairs(found) == {("a-new", "a-old", "edit"), ("a-third", "a-new", "edit")}
    assert found.counts["spa"] == PairCounts(edits=0, ratings=0, other_prompt=0, absent=1, rated_lower=0, unpaired=1)


@pytest.mark.parametrize(
    ("changed", "counted"),
    [
        (draft("new", "How tall is the tower now?", "It is 300 metres tall.", "old"), "other_prompt"),
        (draft("new", "How tall is the tower?", "It is 300 metres tall.", "old", history=(("Hello you", "Good day"),)), "other_prompt"),
        (draft("new", "How tall is the tower?", "It is 300 metres tall.", "old", language="spa"), "other_prompt"),
    ],
)
def test_an_edit_that_answers_something_else_is_no_pair(make: MakeBuild, changed: Draft, counted: str) -> None:
    found = find_preferences(make(given={"ana": [draft("old", "How tall is the tower?", "It is tall.")], "ben": [changed]}, rated={}), 1.0)
    assert found.preferences == []
    assert sum(getattr(count, counted) for count in found.counts.values()) == 1


@pytest.mark.parametrize(
    ("rated", "gap", "is_pair"),
    [
        (RATED, 2.0, True),
        (RATED, 2.01, False),
        ({"caro": {"c-answer": 5, "c-other": 3}}, 1.0, False),  # one reviewer; the build's recipe asks for two
        ({"ana": {"c-other": 1}, "caro": {"c-answer": 5, "c-other": 5}, "dora": {"c-answer": 5, "c-other": 5}}, 1.0, False),
        # Ana wrote the one answer: what she thinks of the other does not count in this pair.
        ({"ana": {"c-other": 1}, "caro": {"c-answer": 5, "c-other": 4}, "dora": {"c-answer": 5, "c-other": 4}}, 1.5, False),
        ({"eva": {"c-other": 1}, "caro": {"c-answer": 5, "c-other": 4}, "dora": {"c-answer": 5, "c-other": 4}}, 1.5, True),
    ],
)
def test_two_answers_are_a_pair_from_the_gap_on_by_enough_reviewers_who_wrote_neither(make: MakeBuild, rated: Any, gap: float, is_pair: bool) -> None:
    found = find_preferences(make(rated=rated), gap)
    assert (("c-answer", "c-other", "rating") in pairs(found)) == is_pair


def test_an_edit_that_reviewers_find_clearly_worse_is_not_preferred_but_what_it_replaced_is(make: MakeBuild) -> None:
    rated = {reviewer: {"a-old": 5, "a-new": 3} for reviewer in ("caro", "dora")}
    found = find_preferences(make(rated=rated), 1.0)
    assert pairs(found) == {("a-old", "a-new", "rating"), ("a-third", "a-new", "edit"), ("g-new", "g-old", "edit")}
    assert found.counts["eng"].rated_lower == 1


def test_an_edit_without_an_author_of_what_it_rests_on_is_refused(make: MakeBuild) -> None:
    build = make()
    table = pq.read_table(build.records)
    parents = [["c-answer"] if record == "c-other" else some for record, some in zip(table["record"].to_pylist(), table["parents"].to_pylist(), strict=True)]
    pq.write_table(table.set_column(table.schema.get_field_index("parents"), "parents", pa.array(parents, pa.list_(pa.string()))), build.records)
    with pytest.raises(CoopError, match="text c-other is an edit of c-answer without one of its authors"):
        find_preferences(build, 1.0)


def test_ratings_that_are_not_those_of_the_manifest_are_refused(make: MakeBuild) -> None:
    build = make()
    build.reviews.write_bytes(build.reviews.read_bytes().replace(b'"score":5', b'"score":1'))
    with pytest.raises(CoopError, match="not the file the manifest names"):
        find_preferences(build, 1.0)


def tokens_of(build: Build, base: Path, sequence_tokens: int = 256, **options: Any) -> Tokens:
    return make_tokens(build, base, sequence_tokens=sequence_tokens, minimum_rating_gap=1.0, **options)


def test_a_pair_stands_in_the_tokens_as_its_two_rows_do_and_holds_one_prompt(make: MakeBuild, base: Path) -> None:
    build = make()
    found = tokens_of(build, base)
    assert found.train_pairs is not None
    rows = {one.record: one for one in make_tokens(build, base, sequence_tokens=256).train}
    assert len(found.train_pairs) == 4
    for number, pair in enumerate(found.train_pairs):
        for sample in pair.samples:
            assert sample.leaf() == rows[sample.record].leaf()
        assert pair.chosen.ids[: pair.chosen.start].tolist() == pair.rejected.ids[: pair.rejected.start].tolist()
        assert found.train_pairs.lengths[number] == sum(len(sample.ids) for sample in pair.samples)
        assert found.train_pairs.supervised[number] == sum(sample.supervised for sample in pair.samples)
        assert found.train_pairs.languages[found.train_pairs.codes[number]] == pair.language
    assert {code: (count.rows, count.too_long) for code, count in found.train_counts.items()} == {"eng": (3, 0), "spa": (1, 0)}
    assert found.units is found.train_pairs
    with pytest.raises(IndexError):
        found.train_pairs[4]


def test_both_sides_of_the_split_have_pairs_and_no_pair_reaches_over_it(make: MakeBuild, base: Path) -> None:
    given: dict[str, list[Draft]] = {"ana": [], "ben": []}
    for number in range(40):
        given["ana"].append(draft(f"old-{number:02d}", f"What is at place {number}?", f"A thing of number {number * 7}."))
        given["ben"].append(draft(f"new-{number:02d}", f"What is at place {number}?", f"It holds the thing of number {number * 7}!", f"old-{number:02d}"))
    build = make(given=given, rated={}, heldout_permille=400)
    found = tokens_of(build, base)
    assert found.train_pairs is not None
    assert found.heldout_pairs is not None
    assert len(found.train_pairs) + len(found.heldout_pairs) == 40
    for split, some in (("train", found.train_pairs), ("heldout", found.heldout_pairs)):
        assert len(some) > 5
        assert {sample.split for pair in some for sample in pair.samples} == {split}


def test_the_gap_is_part_of_the_artefact_s_identity(make: MakeBuild, base: Path) -> None:
    build = make()
    recipes = [recipe_of(build, base, 256), recipe_of(build, base, 256, None, 1.0), recipe_of(build, base, 256, None, 2.0)]
    assert len({recipe.digest for recipe in recipes}) == 3
    digests = {make_tokens(build, base, sequence_tokens=256, minimum_rating_gap=gap).digest for gap in (None, 1.0, 2.0)}
    assert len(digests) == 3
    assert tokens_of(build, base, expected=tokens_of(build, base).digest).description.recipe.minimum_rating_gap == 1.0


def test_a_pair_whose_two_answers_do_not_fit_together_is_left_out_counted_and_limited(make: MakeBuild, base: Path) -> None:
    build = make()
    whole = tokens_of(build, base)
    assert whole.train_pairs is not None
    limit = int(whole.train_pairs.lengths.max()) - 1
    short = tokens_of(build, base, limit)
    assert short.train_counts["eng"].too_long == 1
    assert short.train_counts["eng"].rows == 2
    assert short.description.languages["eng"].train.too_long == 0  # each row fits by itself
    with pytest.raises(BadInput, match="1 of 3 training pairs in 'eng' are longer"):
        tokens_of(build, base, limit, max_too_long=0.2)


def test_a_build_without_pairs_is_refused(make: MakeBuild, base: Path) -> None:
    with pytest.raises(BadInput, match="no training pair is left"):
        tokens_of(make(given={"ana": GIVEN["ana"]}, rated={}), base)


def test_canaries_are_refused_beside_pairs(make: MakeBuild, base: Path) -> None:
    with pytest.raises(BadInput, match="a canary has no better or worse answer"):
        tokens_of(make(), base, canaries=Canaries(count=4, commitment=digest("seed")))


def test_verification_finds_the_pairs_of_another_preference(make: MakeBuild, base: Path) -> None:
    build = make()
    found = tokens_of(build, base)
    assert verify_tokens(found, build, base) == 10
    lines = [json.loads(line) for line in (found.folder / PREFERENCES).read_bytes().splitlines()]
    turned = [line | {"chosen": line["rejected"], "rejected": line["chosen"]} if line["because"] == "rating" else line for line in lines]
    rewrite(found.folder, turned)
    forged = open_tokens(found.folder)  # it holds together: the digest is another, and only the build tells
    assert forged.digest != found.digest
    with pytest.raises(CoopError, match="the pairs of the tokens are not those of the dataset"):
        verify_tokens(forged, build, base)


def rewrite(folder: Path, lines: list[dict[str, Any]], **changes: Any) -> None:
    """Put other preferences into an artefact, with digests that are all right."""
    data = b"".join(dumps(line) + b"\n" for line in lines)
    (folder / PREFERENCES).write_bytes(data)
    head = json.loads((folder / TOKENS).read_bytes())
    head["description"]["pairs"] |= {"preferences": sha256(data)} | changes
    head["digest"] = digest(head["description"])
    (folder / TOKENS).write_bytes(dumps(head))


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        (lambda lines: [*lines, lines[-1]], "out of order"),
        (lambda lines: lines[::-1], "out of order"),
        (lambda lines: [lines[0] | {"rejected": lines[0]["chosen"]}, *lines[1:]], "over itself"),
        (lambda lines: lines[1:], "counts other pairs"),
        (lambda lines: [lines[0] | {"because": "rating"}, *lines[1:]], "counts other pairs"),
        (lambda lines: [lines[0] | {"split": "test"}, *lines[1:]], "split"),
        (lambda lines: [lines[0] | {"more": 1}, *lines[1:]], "unknown field"),
        (lambda lines: [lines[0] | {"rejected": "g-old"}, *lines[1:]], "counts other pairs|two sides or languages"),
    ],
)
def test_preferences_that_do_not_hold_together_are_refused(make: MakeBuild, base: Path, attack: Any, why: str) -> None:
    found = tokens_of(make(), base)
    lines = [json.loads(line) for line in (found.folder / PREFERENCES).read_bytes().splitlines()]
    rewrite(found.folder, lines)
    open_tokens(found.folder)
    rewrite(found.folder, attack(lines))
    with pytest.raises(CoopError, match=why):
        open_tokens(found.folder)


def test_a_changed_byte_of_the_preferences_is_found(make: MakeBuild, base: Path) -> None:
    found = tokens_of(make(), base)
    path = found.folder / PREFERENCES
    path.write_bytes(path.read_bytes().replace(b"edit", b"note", 1))
    with pytest.raises(CoopError, match="not the file the description names"):
        open_tokens(found.folder)
    path.unlink()
    with pytest.raises(CoopError, match="not the file the description names"):
        open_tokens(found.folder)
