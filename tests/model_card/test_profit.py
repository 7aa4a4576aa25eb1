"""What a journalist asks: members consented to non-commercial research, and the weights are Apache-2.0; may a company use them?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import digest
from governance_hooks.vocabulary import LICENCES
from model_card.records import CardRecords
from model_card.renderers import readme
from model_card.renderers.profit import FOR_PROFIT, QUESTION, for_profit
from model_card.renderers.summary import english
from model_card.votes import votes_of
from tests.model_card.conftest import RUN


@pytest.fixture
def card(bundle: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((bundle / "card.json").read_bytes())
    return loaded


def asked(card: dict[str, Any], commercial: str | None, **use: Any) -> str:
    """Return the answer of a card with other facts."""
    consent = card["consent"]
    said = {"not_collected": "no log"} if commercial is None else {"value": commercial, "source": "x", "sha256": None}
    return for_profit({"consent": consent | {"commercial": said, "use": consent["use"] | {"value": consent["use"]["value"] | use}}})


@pytest.mark.parametrize(
    ("purposes", "expected"),
    [
        ([["dpv:NonCommercialResearch"], ["dpv:AcademicResearch"]], "none"),
        ([["dpv:NonCommercialResearch"], ["dpv:NonCommercialResearch", "dpv:CommercialPurpose"]], "some"),
        ([["dpv:CommercialResearch"], ["dpv:ResearchAndDevelopment"]], "all"),  # research in general includes commercial research
        ([["dpv:CommercialPurpose"], ["dpv:CommercialPurpose"]], "all"),
        ([["dpv:NonCommercialPurpose"], ["dpv:PublicBenefit"]], "none"),
    ],
)
def test_whether_consents_allow_a_commercial_purpose_is_counted_from_the_log(finished: Any, purposes: list[list[str]], expected: str) -> None:
    village = finished.village
    ids = [village.consent(member, purposes=said).id for member, said in zip(village.members, purposes, strict=False)]
    assert votes_of(village.coop.register, run=RUN, consents=ids)["consents"]["commercial"] == expected
    # Of a consent that this log does not hold nothing is known, so nothing is claimed of all.
    assert votes_of(village.coop.register, run=RUN, consents=[*ids, digest("elsewhere")])["consents"]["commercial"] is None


@pytest.mark.parametrize(
    ("commercial", "words"),
    [
        ("all", "Every one of the consents behind the data also allows a commercial purpose. Each"),
        ("some", "Some of the consents behind the data also allow a commercial purpose, others do not. Yet each"),
        ("none", "None of the consents behind the data allows a commercial purpose. Yet each"),
        (None, "is not recorded here. Yet each"),
    ],
)
def test_an_open_licence_says_yes_and_what_consents_say_beside_it(card: dict[str, Any], commercial: str | None, words: str) -> None:
    said = asked(card, commercial)
    assert said.startswith("Yes, the licence of the weights, `Apache-2.0`, allows it. The cooperative asked for the data for non-commercial research")
    assert words in said
    assert "and the public as who may get them; whoever gets the weights is bound by that licence alone" in said
    assert ("may not do with the texts" in said) == (commercial != "all")


@pytest.mark.parametrize("commercial", ["all", "some", "none", None])
def test_a_licence_without_profit_says_no_whatever_was_consented_to(card: dict[str, Any], commercial: str | None) -> None:
    said = asked(card, commercial, licence="CC-BY-NC-4.0", purpose="dpv:CommercialPurpose")
    assert said.startswith(
        "No, the licence of the weights, `CC-BY-NC-4.0`, allows no use for profit. The cooperative asked for the data for anything done for profit"
    )
    assert "whoever gets" not in said


def test_weights_that_go_to_members_alone_are_not_said_to_go_to_the_public(card: dict[str, Any]) -> None:
    assert "the public" not in asked(card, "none", recipients=["coop:Members"])


def test_every_licence_members_can_agree_to_has_an_answer_and_any_other_points_to_its_text(card: dict[str, Any]) -> None:
    assert set(FOR_PROFIT) == set(LICENCES)
    assert asked(card, "none", licence="own").startswith("What the licence of the weights, `own`, allows stands in its text.")


def test_the_answer_stands_on_the_page_and_in_the_plain_summary(card: dict[str, Any]) -> None:
    assert card["consent"]["commercial"]["value"] == "none"
    for page in (readme.render(card, CardRecords("", "", b"", b"", b"", b"")), english(card)):
        assert QUESTION in page
        assert "None of the consents behind the data allows a commercial purpose" in page
