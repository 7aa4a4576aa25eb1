"""The change list: worked out from two cards, and only from a card that the release before really had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from model_card.card import make_card
from model_card.records import CardRecords
from model_card.renderers import render_all
from model_card.renderers.changes import differences
from tests.model_card.cards import records_of
from tests.model_card.test_renderers import HOSTILE, markup_of


def before(bundle: Path, change: Any = None, **release: Any) -> dict[str, bytes]:
    """Return the two files of a release before: the bundle's own card, changed."""
    card = make_card(records_of(bundle))
    if change is not None:
        change(card)
    listed = [{"path": "card.json", "size": 1, "sha256": sha256(dumps(card)), "role": "card"}]
    return {"previous/card.json": dumps(card), "previous/release.json": dumps({"coop": records_of(bundle).coop, "name": "older", "files": listed} | release)}


def changes_page(records: CardRecords) -> str:
    return render_all(make_card(records), records)["card/changes.md"].decode()


def test_the_first_release_says_that_it_is_the_first(bundle: Path) -> None:
    assert "There is no release before this one" in changes_page(records_of(bundle))


def test_what_differs_is_listed_with_both_sides(bundle: Path) -> None:
    def older(card: dict[str, Any]) -> None:
        card["languages"]["spa"]["tuned"]["value"] = 3.5
        card["licence"]["value"] = "CC-BY-4.0"
        del card["languages"]["kin"]

    records = records_of(bundle, extra=before(bundle, older))
    page = changes_page(records)
    assert "| `licence` | `CC-BY-4.0` | `Apache-2.0` |" in page
    assert "3.500 -> 2.997" in page
    assert "| `kin` | Kinyarwanda | new |" in page
    row = make_card(records)["languages"]["spa"]["difference_to_previous"]
    assert row["estimated"] == pytest.approx(make_card(records)["languages"]["spa"]["tuned"]["value"] - 3.5)
    assert "no interval" in row["method"]


def test_releases_of_other_builds_are_not_compared(bundle: Path) -> None:
    def other_build(card: dict[str, Any]) -> None:
        card["data"]["manifest"]["value"] = sha256(b"another build")

    card = make_card(records_of(bundle, extra=before(bundle, other_build)))
    assert "other held-out answers" in card["languages"]["spa"]["difference_to_previous"]["not_applicable"]


def test_a_language_left_out_is_told(bundle: Path) -> None:
    def older(card: dict[str, Any]) -> None:
        card["languages"]["eus"] = card["languages"]["spa"]

    assert "| `eus` | Basque | **left out** |" in changes_page(records_of(bundle, extra=before(bundle, older)))


def test_equal_cards_do_not_differ(bundle: Path) -> None:
    card = make_card(records_of(bundle))
    assert differences(card, card) == []


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (lambda made: {"previous/card.json": made["previous/card.json"]}, "or not at all"),
        (lambda made: {"previous/release.json": made["previous/release.json"]}, "or not at all"),
        (lambda made: made | {"previous/card.json": dumps({"format": "coop.card/v2", "data": {}, "languages": {}})}, "does not list this card"),
        (lambda made: made | {"previous/card.json": dumps({"format": "coop.card/v9"})}, "no card this version knows"),
        (lambda made: made | {"previous/card.json": b"[]"}, "no card this version knows"),
        (lambda made: made | {"previous/release.json": dumps(json.loads(made["previous/release.json"]) | {"coop": sha256(b"x")})}, "another cooperative"),
        (lambda made: made | {"previous/release.json": dumps({"files": "none"})}, "does not list this card"),
    ],
)
def test_a_card_that_the_release_before_never_had_is_refused(bundle: Path, files: Any, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        make_card(records_of(bundle, extra=files(before(bundle))))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_card_before_stays_text(bundle: Path, text: str) -> None:
    def hostile(card: dict[str, Any]) -> None:
        card["licence"]["value"] = text
        card[text] = {"value": text}
        card["run"]["device"] = {"not_collected": text}
        card["languages"]["spa"]["verdict"] = {"value": text}
        card["languages"]["spa"]["tuned"] = {"value": text}

    extra = before(bundle, hostile, name=text)
    page = changes_page(records_of(bundle, extra=extra))
    assert {kind for kind, _ in markup_of(page)} <= {
        f"{kind}_{side}" for kind in ("heading", "paragraph", "table", "thead", "tbody", "tr", "th", "td") for side in ("open", "close")
    }
