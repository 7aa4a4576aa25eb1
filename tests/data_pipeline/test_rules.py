"""The rules a build applies, each with a case in which it blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.admit import clean, consented
from data_pipeline.candidate import Candidate
from data_pipeline.deduplicate import deduplicate
from data_pipeline.normalise import normalise
from data_pipeline.record import Record
from data_pipeline.split import split_of
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput, CoopError

COOP = sha256(b"founding")


def record(name: str, inputs: str = "What?", targets: str = "That.", **changes: object) -> Record:
    plain = Record(
        record=name,
        inputs=inputs,
        targets=targets,
        language="eng",
        annotation_type="original-annotations",
        user_id=None,
        parents=(),
        licence="CC-BY-4.0",
        written_at=None,
        line=1,
        batch="b",
        position=0,
        statement=sha256(b"statement"),
        member="ana",
        authors=("ana",),
        salt="0" * 32,
        commitment=sha256(b"c"),
        created_at="2026-01-01T00:00:00Z",
        erased_at=None,
    )
    return replace(plain, **changes)  # type: ignore[arg-type] # a test changes any field


def candidate(name: str, inputs: str = "What?", targets: str = "That.", **changes: object) -> Candidate:
    source = record(name, inputs, targets, **changes)
    return Candidate(source, (sha256(b"consent"),), source.inputs, source.targets)


# Consent


def test_consent_of_every_author_admits_a_record() -> None:
    kept, excluded = consented([record("r", authors=("ana", "ben"))], lambda member, _l, _b: sha256(member.encode()))
    assert kept[0].consents == (sha256(b"ana"), sha256(b"ben"))
    assert excluded == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"authors": ("ana", "ben")}, "no_consent"), ({"statement": None}, "unsealed"), ({"erased_at": "2026-01-02T00:00:00Z"}, "erased")],
)
def test_a_record_without_every_consent_or_seal_or_text_is_left_out_with_its_reason(changes: dict[str, object], reason: str) -> None:
    kept, excluded = consented([record("r", **changes)], lambda member, _l, _b: None if member == "ben" else sha256(b"x"))
    assert kept == []
    assert [exclusion.reason for exclusion in excluded] == [reason]


def test_a_missing_consent_is_named_by_its_author() -> None:
    _, excluded = consented([record("r", authors=("ana", "ben", "cleo"))], lambda member, _l, _b: sha256(b"x") if member == "ana" else None)
    assert excluded[0].detail == "of ben, cleo"


def test_a_consent_that_is_no_digest_stops_the_build() -> None:
    with pytest.raises(CoopError, match="no digest"):
        consented([record("r")], lambda _m, _l, _b: "yes")


def test_each_author_language_and_batch_is_looked_up_once() -> None:
    asked: list[tuple[str, str, str]] = []

    def lookup(member: str, language: str, batch: str) -> str:
        asked.append((member, language, batch))
        return sha256(b"x")

    consented([record("1"), record("2"), record("3", language="spa"), record("4", statement=sha256(b"other"))], lookup)
    assert len(asked) == len(set(asked)) == 3


# Normalisation


@pytest.mark.parametrize(
    "text",
    [
        "हिन्दी में क्या है?",
        "کتاب‌ها را می‌خوانم",
        "السَّلامُ عَلَيْكُمْ",
        "你好，世界！（全角）１２３",
        "ΑΒΓ ﬁne x² ½",
        "👩‍👩‍👧 ok",
        "def f():\n    return 1",
        "a  b",
        "prix : 5 €",
    ],
)
def test_text_in_any_script_is_left_as_it_is(text: str) -> None:
    assert normalise(text) == text


def test_composition_line_ends_and_outer_white_space_are_made_one() -> None:
    assert normalise("\u3000  cafe\u0301 \t\r\n  x\r\ry \n") == "café\n  x\n\ny"


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


# Length and emptiness


@pytest.mark.parametrize(("inputs", "targets", "reason"), [(" \u200b ", "x", "empty"), ("x", "\u2060", "empty"), ("x" * 51, "y" * 50, "too_long")])
def test_what_shows_nothing_or_is_too_long_is_left_out(inputs: str, targets: str, reason: str) -> None:
    kept, excluded = clean([candidate("r", inputs, targets)], max_characters=100)
    assert (kept, [exclusion.reason for exclusion in excluded]) == ([], [reason])


def test_the_longest_allowed_row_stays() -> None:
    assert len(clean([candidate("r", "x" * 50, "y" * 50)], max_characters=100)[0]) == 1


# Duplicates


def test_of_copies_the_earliest_stays_whatever_the_input_order() -> None:
    copies = [
        candidate("c", "What?", "That.", created_at="2026-01-01T00:00:00Z"),
        candidate("a", "WHAT?", "Ｔhat.", created_at="2026-01-02T00:00:00Z"),
        candidate("b", "what?", "that.", created_at="2026-01-01T00:00:00Z"),
    ]
    for order in (copies, copies[::-1]):
        kept, excluded = deduplicate(order)
        assert [row.record for row in kept] == ["b"]
        assert {(exclusion.record, exclusion.reason, exclusion.detail) for exclusion in excluded} == {("a", "duplicate", "of b"), ("c", "duplicate", "of b")}


def test_the_kept_text_is_not_folded() -> None:
    assert deduplicate([candidate("a", "WHAT？", "Ｔhat.")])[0][0].inputs == "WHAT？"


def test_the_same_words_in_another_language_or_with_another_answer_are_no_duplicates() -> None:
    rows = [candidate("a"), candidate("b", language="spa"), candidate("c", targets="This."), candidate("d", "What?That.", "")]
    assert len(deduplicate(rows)[0]) == 4


def test_a_number_or_a_vowel_sign_makes_a_difference() -> None:
    assert len(deduplicate([candidate("a", "12+3"), candidate("b", "13+4"), candidate("c", "में"), candidate("d", "म")])[0]) == 4


# Split


@given(st.text(), st.integers(0, 1000))
def test_a_prompt_stands_on_one_side_however_it_is_spelt(prompt: str, permille: int) -> None:
    side = split_of(prompt, coop=COOP, heldout_permille=permille)
    assert split_of(prompt.casefold(), coop=COOP, heldout_permille=permille) == side


def test_the_fraction_is_about_the_one_asked_for_and_nested() -> None:
    few = {n for n in range(4000) if split_of(str(n), coop=COOP, heldout_permille=100) == "heldout"}
    more = {n for n in range(4000) if split_of(str(n), coop=COOP, heldout_permille=200) == "heldout"}
    assert few < more
    assert 320 < len(few) < 480
    assert {split_of(str(n), coop=COOP, heldout_permille=0) for n in range(100)} == {"train"}
    assert {split_of(str(n), coop=COOP, heldout_permille=1000) for n in range(100)} == {"heldout"}


def test_another_cooperative_holds_out_other_prompts() -> None:
    other = sha256(b"another founding")
    assert any(split_of(str(n), coop=COOP, heldout_permille=500) != split_of(str(n), coop=other, heldout_permille=500) for n in range(64))


@pytest.mark.parametrize("permille", [-1, 1001])
def test_a_fraction_out_of_range_is_refused(permille: int) -> None:
    with pytest.raises(BadInput, match="heldout_permille"):
        split_of("x", coop=COOP, heldout_permille=permille)
