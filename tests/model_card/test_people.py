"""No count of fewer than five people can be read from a card, nor worked out from its totals."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance_hooks.canonical import dumps
from model_card.card import make_card
from model_card.people import SUPPRESS_BELOW, Crowd, is_few
from model_card.records import Source
from model_card.renderers import render_all
from tests.model_card.cards import fields_of, records_of, shares_of, with_tasks

TOTALS = ("/evaluation/overall/contributors_heldout", "/consent/named", "/consent/in_log", "/tasks/own-words/overall/clusters")


def numbers_of_people(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every field of a card that is a number of people."""
    ends = ("/members", "/contributors_heldout", "/consent/named", "/consent/in_log", "/consent/withdrawn_by_run_end", "/clusters")
    return {where: field for where, field in fields_of(card) if where.endswith(ends) and not where.startswith(("/tasks/mgsm", "/tasks/refusals"))}


def test_no_small_count_is_on_the_card(bundle: Path) -> None:
    records = records_of(
        bundle,
        extra={"stake/shares.json": shares_of(bundle, members=(3, 9))},
        report_bytes=with_tasks((bundle / "eval/report.json").read_bytes(), clusters={"spa": 6, "nor": 2}),
    )
    card = make_card(records)
    found = numbers_of_people(card)
    assert len(found) > 10
    assert not any(is_few(field.get("value")) for field in found.values())
    for where in (
        "/languages/kin/members",
        "/languages/kin/contributors_heldout",
        "/attribution/players/nor/members",
        "/tasks/own-words/languages/nor/clusters",
    ):
        assert found[where]["withheld"].startswith("fewer"), where


@pytest.mark.parametrize("total", TOTALS)
def test_a_total_beside_a_withheld_part_is_withheld_too(bundle: Path, total: str) -> None:
    report = with_tasks((bundle / "eval/report.json").read_bytes(), clusters={"spa": 6, "nor": 2})
    assert "withheld" in numbers_of_people(make_card(records_of(bundle, report_bytes=report)))[total]


def test_totals_are_shown_where_nothing_is_withheld(bundle: Path) -> None:
    plan, manifest, report = (json.loads((bundle / name).read_bytes()) for name in ("plan.json", "data/manifest.json", "eval/report.json"))
    manifest["languages"]["kin"]["members"] = plan["build"]["languages"]["kin"]["members"] = 6
    report["languages"]["kin"]["clusters"] = 6
    from governance_hooks.canonical import digest, sha256

    plan["build"]["manifest"] = report["build"] = digest(manifest)
    report["plan"] = digest(plan)
    run = json.loads((bundle / "run.json").read_bytes()) | {"plan": digest(plan)}
    assert digest(plan) == sha256(dumps(plan))
    card = make_card(records_of(bundle, plan_bytes=dumps(plan), manifest_bytes=dumps(manifest), report_bytes=dumps(report), run_bytes=dumps(run)))
    assert card["consent"]["named"]["value"] == 6
    assert card["evaluation"]["overall"]["contributors_heldout"]["value"] == 6


def test_no_page_tells_what_the_card_withholds(bundle: Path) -> None:
    """Change the number behind a withheld count: no rendered byte may change, but for digests of the records themselves."""
    report = json.loads((bundle / "eval/report.json").read_bytes())
    pages = []
    for count in (1, 3):
        report["languages"]["kin"]["clusters"] = count
        records = records_of(bundle, report_bytes=dumps(report))
        pages.append({path: page for path, page in render_all(make_card(records), records).items() if path not in ("card.json", "card/bom.cdx.json")})
    assert pages[0] == pages[1]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6))
def test_withheld_counts_cannot_be_worked_out(counts: list[int]) -> None:
    """Whatever is shown fits more than one set of withheld counts, as long as those are counts at all."""
    source = Source("r", "d", {"parts": {str(place): count for place, count in enumerate(counts)}, "total": sum(counts)})
    crowd = Crowd(list(counts))
    shown = [crowd.part(source, "parts", str(place)) for place in range(len(counts))]
    total = crowd.total(source, "total")
    hidden = [place for place, field in enumerate(shown) if "withheld" in field]
    if not hidden:
        return
    known = sum(field["value"] for field in shown if "value" in field)
    fitting = [guess for guess in product(range(1, SUPPRESS_BELOW), repeat=len(hidden)) if "value" not in total or known + sum(guess) == total["value"]]
    for place in range(len(hidden)):
        assert {guess[place] for guess in fitting} == set(range(1, SUPPRESS_BELOW))
