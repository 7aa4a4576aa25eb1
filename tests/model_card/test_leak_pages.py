"""What the weights give away stands on the pages people read: the limits, the comparison with the release before, and that members waived it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from governance_hooks.canonical import digest, dumps
from model_card.card import make_card
from model_card.decisions import COMPARED
from model_card.records import CardRecords
from model_card.renderers import render_all
from tests.model_card.cards import compared_of, leak_of, records_of, votes_in

WAIVER = digest("a waiver")
LIMITS = {"maximum_epsilon": 0.5, "maximum_extraction": 0.05, "maximum_tpr": 0.02, "minimum_canaries": 200, "allow_insufficient": False}


def changed(record: bytes, **fields: Any) -> bytes:
    return dumps(json.loads(record) | fields)


def waived(bundle: Path) -> dict[str, Any]:
    votes = votes_in(bundle)
    return votes | {"run": votes["run"] | {"waiver": WAIVER}}


def pages(records: CardRecords) -> tuple[dict[str, Any], dict[str, str]]:
    card = make_card(records)
    found = render_all(card, records)
    return card, {path: found[path].decode() for path in ("README.md", "card/governance.md", "card/summary.eng.md")}


def test_a_waived_leak_test_is_told_at_the_top_of_the_page_and_wherever_it_is_spoken_of(bundle: Path) -> None:
    leak = changed(leak_of(bundle), policy=LIMITS, criteria={"epsilon": "FAIL", "tpr": "FAIL"}, verdict="FAIL", passed=False)
    card, told = pages(records_of(bundle, extra={"privacy/leak.json": leak}, votes=waived(bundle)))
    assert card["gates"]["leak test"]["result"] == "waived"
    assert card["gates"]["leak test"]["waiver"]["value"] == WAIVER
    assert "waiver" not in card["gates"]["evaluation as a whole"], "the evaluation passed, and nobody waived it"
    top = told["README.md"].split("## What is where")[0]
    assert "**Not passed: leak test.**" in top
    assert f"Not passed: leak test. Members decided by vote `{WAIVER}`" in told["README.md"]
    assert "not passed, waived by vote" in told["card/governance.md"]
    assert "decided by a further vote to release it all the same" in told["card/summary.eng.md"]


def test_a_leak_test_that_passed_is_told_with_its_limits_and_no_waiver(bundle: Path) -> None:
    _, told = pages(records_of(bundle, extra={"privacy/leak.json": changed(leak_of(bundle), policy=LIMITS)}))
    assert "| recognised as trained on, at 1 % false alarms | 17 of 105 (9.7 % to 24.7 %) | at most 2 % |" in told["README.md"]
    assert "not shown above 0.5" in told["README.md"]
    assert all("Members decided" not in page and "further vote" not in page and "Not passed" not in page for page in told.values())


def test_the_comparison_with_the_release_before_is_told_and_its_raw_losses_are_not(bundle: Path) -> None:
    extra = {"privacy/leak.json": leak_of(bundle), "privacy/differential.json": compared_of()}
    card, told = pages(records_of(bundle, extra=extra))
    assert not {"losses", "seed", "previous", "numbers"} & set(card["leak"]["differential"])
    assert "a plan in full" not in json.dumps(card)
    assert card["leak"]["differential"]["members_left"]["value"] == 6
    assert "Beside the release of run `run-0`" in told["README.md"]
    assert "tells which is which for 64 % of pairs (56 % to 71 %" in told["README.md"]
    assert COMPARED in told["card/governance.md"]
    assert "in 64 of 100 cases" in told["card/summary.eng.md"]


def test_a_comparison_that_did_not_pass_is_not_called_passed_because_the_leak_test_did(bundle: Path) -> None:
    extra = {"privacy/leak.json": leak_of(bundle), "privacy/differential.json": compared_of(passed=False)}
    card, _ = pages(records_of(bundle, extra=extra))
    assert (card["gates"]["leak test"]["result"], card["gates"][COMPARED]["result"]) == ("pass", "fail")
    card, told = pages(records_of(bundle, extra=extra, votes=waived(bundle)))
    assert (card["gates"]["leak test"]["result"], card["gates"][COMPARED]["result"]) == ("pass", "waived")
    assert f"**Not passed: {COMPARED}.**" in told["README.md"]


def test_few_who_left_are_not_counted_on_the_card(bundle: Path) -> None:
    extra = {"privacy/leak.json": leak_of(bundle), "privacy/differential.json": compared_of(left=3)}
    card, told = pages(records_of(bundle, extra=extra))
    found = card["leak"]["differential"]
    assert "withheld" in found["members_left"]
    assert "withheld" in found["members_now"]
    assert "withheld" in found["members_previous"]
    assert "fewer than 5 contributors left" in told["README.md"]
