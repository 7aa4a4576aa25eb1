"""The lint: each rule is seen to bite, and a whole card gets the mark it is to get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput
from model_card.card import make_card
from model_card.lint import RULES, lint, lint_pages
from model_card.records import CardRecords
from model_card.renderers import render_all
from tests.model_card.cards import leak_of, records_of, statements, votes_in, with_tasks

HUMAN = ("intended_use", "out_of_scope_use", "limits", "bias_and_risks", "contact", "legal_measures")


def whole(bundle: Path) -> CardRecords:
    files, log = statements(*({"field": field, "text": "Said by a member."} for field in HUMAN))
    report = with_tasks((bundle / "eval/report.json").read_bytes())
    return records_of(bundle, extra=files | {"privacy/leak.json": leak_of(bundle)}, votes=votes_in(bundle, statements=log), report_bytes=report)


def both(records: CardRecords) -> tuple[dict[str, Any], dict[str, bytes]]:
    card = make_card(records)
    return card, render_all(card, records)


def test_a_whole_card_gets_an_a_and_its_gaps_are_named(bundle: Path) -> None:
    report = lint(*both(whole(bundle)))
    assert report.grade in ("A", "A+"), report.text()
    assert [one.rule.asks for one in report.results if one.met < 1] == ["an interval for every difference"]
    assert report.failed == []
    assert "kin" in report.text()


def test_a_card_without_members_words_does_not(bundle: Path) -> None:
    report = lint(*both(records_of(bundle)))
    assert report.grade not in ("A", "A+", "B")
    assert {one.rule.asks for one in report.failed} >= {"limits, in a person's words", "somebody can be asked"}
    assert "coop card statement limits" in report.text()


def test_an_honest_gap_counts_half_and_a_blank_nothing(bundle: Path) -> None:
    card, pages = both(whole(bundle))
    rule = next(rule for rule in RULES if rule.asks.startswith("energy"))
    assert rule.judge(card | {"energy": {"kwh": {"not_collected": "no meter"}}}, pages) == (0.5, "no meter")
    assert rule.judge(card | {"energy": {}}, pages)[0] == 0


PAGES = {
    "card/eu_public_summary.md": "section by section",
    "data/croissant.json": "machine can read the dataset",
    "card/governance.md": "governance that people can read",
    "card/changes.md": "change list",
    "card/summary.eng.md": "plain words",
    "card/mof.yaml": "openness",
    "card/bom.cdx.json": "bill of materials",
    "README.md": "metadata the Hub",
}


@pytest.mark.parametrize("path", PAGES)
def test_a_missing_page_is_seen(bundle: Path, path: str) -> None:
    card, pages = both(whole(bundle))
    report = lint(card, {name: page for name, page in pages.items() if name != path})
    assert any(PAGES[path] in one.rule.asks for one in report.failed)


@pytest.mark.parametrize(
    ("section", "asks"),
    [
        ("base", "named, by digest"), ("licence", "licence of the weights"), ("coop", "who provides"), ("data", "size of the data"), ("votes", "the vote"), ("dissent", "reasons of those"),
        ("gates", "policy voted"), ("leak", "leak test"), ("safety", "safety both ways"), ("contamination", "overlap"), ("compute", "compute, with"), ("energy", "energy"), ("consent", "what members consented"),
    ],
)  # fmt: skip
def test_a_missing_section_is_seen(bundle: Path, section: str, asks: str) -> None:
    card, pages = both(whole(bundle))
    assert any(asks in one.rule.asks for one in lint(card | {section: {}}, pages).failed)


def test_a_number_without_a_source_and_a_blank_are_seen(bundle: Path) -> None:
    card, pages = both(whole(bundle))
    for broken, asks in (
        ({"value": "Apache-2.0", "source": "", "sha256": None}, "points to its record"),
        ({"value": None, "source": "plan.json#/x", "sha256": "sha256:"}, "nothing is blank"),
    ):
        assert any(asks in one.rule.asks for one in lint(card | {"licence": broken}, pages).failed)


def test_metadata_and_references_that_others_would_misread_are_seen(bundle: Path) -> None:
    card, pages = both(whole(bundle))
    changed = pages | {
        "README.md": pages["README.md"].replace(b"license: apache-2.0", b"license: nonsense"),
        "card/bom.cdx.json": pages["card/bom.cdx.json"].replace(b'"bom-ref": "dataset"', b'"bom-ref": "elsewhere"'),
    }
    assert {one.rule.asks for one in lint(card, changed).failed} == {
        "metadata the Hub reads rightly",
        "a bill of materials in which every reference leads somewhere",
    }


def test_something_that_is_no_card_is_refused(bundle: Path) -> None:
    for pages in ({}, {"card.json": dumps({"format": "coop.card/v1"})}, {"card.json": dumps({"format": "coop.card/v2"})}, {"card.json": b"[]"}):
        with pytest.raises(BadInput, match=r"card\.json"):
            lint_pages(pages)
