"""The hierarchy of purposes: DPV 2.3's own, and consent to a broader purpose covers the narrower ones, never the reverse.

`dpv-2.3.csv` is cut from the CSV files of DPV 2.3 (github.com/w3c/dpv, folder 2.3, commit f01a55c3c0983e35cdfdf80593ece3353faba7b8).
"""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance_hooks.consent import Consent, Scope, Use, permits
from governance_hooks.errors import BadInput
from governance_hooks.vocabulary import EVERYBODY, LICENCES, OUTSIDE_FORMS, OUTSIDERS, PROCESSING, PUBLISHING, PURPOSES, RECIPIENTS, WORDS, covers, narrower
from tests.village import Village

with (Path(__file__).parent / "dpv-2.3.csv").open(newline="") as file:
    DPV = {row["term"]: row for row in csv.DictReader(file)}

purposes = st.sampled_from(sorted(PURPOSES))


def allows(allowed: list[str], purpose: str) -> bool:
    consent = Consent(
        purposes=allowed,
        processing=list(PROCESSING),
        recipients=list(RECIPIENTS),
        licences=["Apache-2.0"],
        scope=Scope(),
        expires=None,
        notice="sha256:" + "0" * 64,
    )  # type: ignore[arg-type]
    use = Use(purpose=purpose, processing=list(PROCESSING), recipients=["coop:Members"], licence="Apache-2.0")  # type: ignore[arg-type]
    return permits(consent, use, language="spa", batch="sha256:" + "1" * 64, at="2026-01-01T00:00:00Z")


def test_every_purpose_stands_under_the_purposes_dpv_puts_it_under() -> None:
    assert {name: sorted(set(DPV[name]["broader"].split(";")) - {"dpv:Purpose"}) for name in PURPOSES} == {
        name: sorted(broader) for name, broader in PURPOSES.items()
    }


def test_every_outsider_is_an_organisation_of_dpv_and_every_form_a_processing() -> None:
    assert {DPV[name]["broader"] for name in OUTSIDERS} == {"dpv:Organisation"}
    assert {name: DPV[name]["broader"] for name in OUTSIDE_FORMS.values()} == {"dpv:Analyse": "dpv:Use", "dpv:Share": "dpv:Disclose"}
    assert {name: DPV[name]["broader"] for name in PUBLISHING.values()} == {"dpv:MakeAvailable": "dpv:Disclose"}


def test_every_word_of_consent_has_plain_words_and_no_other_has() -> None:
    assert set(WORDS) == {*PURPOSES, *PROCESSING, *RECIPIENTS, *OUTSIDERS, *OUTSIDE_FORMS.values(), *PUBLISHING.values(), EVERYBODY}
    assert len(set(WORDS.values())) == len(WORDS)
    assert set(LICENCES).isdisjoint(WORDS)


@given(purposes)
def test_a_purpose_covers_itself(one: str) -> None:
    assert allows([one], one)


@given(purposes, purposes, purposes)
def test_what_a_narrower_purpose_covers_its_broader_one_covers_too(one: str, two: str, three: str) -> None:
    if covers(one, two) and covers(two, three):
        assert allows([one], three)


@given(purposes, purposes)
def test_a_narrower_purpose_never_covers_a_broader_one(one: str, two: str) -> None:
    if covers(one, two) and one != two:
        assert not allows([two], one)
        assert two in narrower(one)


@given(st.lists(purposes, min_size=1, max_size=4), purposes)
def test_several_purposes_cover_what_each_covers_and_no_more(allowed: list[str], purpose: str) -> None:
    assert allows(allowed, purpose) == any(allows([one], purpose) for one in allowed)


@pytest.mark.parametrize(
    ("allowed", "purpose", "expected"),
    [
        ("dpv:NonCommercialPurpose", "dpv:NonCommercialResearch", True),
        ("dpv:ResearchAndDevelopment", "dpv:NonCommercialResearch", True),
        ("dpv:ScientificResearch", "dpv:AcademicResearch", False),
        ("dpv:NonCommercialResearch", "dpv:CommercialResearch", False),
        ("dpv:NonCommercialPurpose", "dpv:CommercialResearch", False),
        ("dpv:ServiceManagement", "dpv:ImproveExistingProductsAndServices", True),
        ("dpv:ServiceProvision", "dpv:ImproveExistingProductsAndServices", False),
    ],
)
def test_purposes_a_member_may_mistake_for_each_other(allowed: str, purpose: str, expected: bool) -> None:
    assert allows([allowed], purpose) is expected


def test_a_purpose_nobody_knows_is_refused(village: Village) -> None:
    for odd in ("dpv:Purpose", "dpv:Marketing", "NonCommercialResearch"):
        with pytest.raises(BadInput, match="no purpose of ours, known: dpv:CommercialPurpose"):
            village.consent(village.members[0], purposes=[odd])
