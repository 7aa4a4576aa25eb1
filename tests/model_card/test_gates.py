"""Policy versus outcome: what failed, what was waived and by which vote, what was not run, and what the compute comes to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from model_card.card import make_card
from model_card.compute import EU_THRESHOLD_FLOP
from model_card.decisions import WHOLE
from model_card.records import CardRecords
from model_card.renderers import render_all
from tests.model_card.cards import leak_of, records_of, votes_in, with_tasks


def governance(records: CardRecords) -> str:
    return render_all(make_card(records), records)["card/governance.md"].decode()


def test_what_passed_and_what_nobody_asked_for_are_told_apart(bundle: Path) -> None:
    gates = make_card(records_of(bundle))["gates"]
    assert {name: gate["result"] for name, gate in gates.items()} == {
        "run vote": "passed",
        "held-out quality": "passed",
        WHOLE: "passed",
        "leak test": "not run",
    }
    assert gates["leak test"]["policy"] == {"not_collected": "the voted plan asks for none"}


def test_a_failed_gate_is_shown_as_failed_and_a_waived_one_with_its_vote(bundle: Path) -> None:
    report = dumps(json.loads((bundle / "eval/report.json").read_bytes()) | {"passed": False})
    records = records_of(bundle, report_bytes=report)
    assert make_card(records)["gates"][WHOLE]["result"] == "failed"
    assert "| **failed** |" in governance(records)
    votes, waiver = votes_in(bundle), sha256(b"the waiver's vote")
    votes |= {"run": votes["run"] | {"waiver": waiver}, "waiver": votes["run"] | {"proposal": waiver, "for": 4, "against": 2}}
    waived = records_of(bundle, report_bytes=report, votes=votes)
    gate = make_card(waived)["gates"][WHOLE]
    assert (gate["result"], gate["waiver"]["value"]) == ("waived", waiver)
    page = governance(waived)
    assert "**not passed, waived by vote**" in page
    assert "### The vote that waived a gate" in page
    assert "not passed; members decided by vote" in render_all(make_card(waived), waived)["README.md"].decode()


def test_a_blocked_task_does_not_make_the_held_out_loss_fail_nor_hide_that_it_did(bundle: Path) -> None:
    report = json.loads((bundle / "eval/report.json").read_bytes()) | {"passed": False, "blocking": [{"task": "mgsm", "verdict": "FAIL", "waivable": True}]}
    gates = make_card(records_of(bundle, report_bytes=dumps(report)))["gates"]
    assert (gates["held-out quality"]["result"], gates[WHOLE]["result"]) == ("passed", "failed")
    report["languages"]["nor"]["verdict"] = "FAIL"
    gates = make_card(records_of(bundle, report_bytes=dumps(report)))["gates"]
    assert (gates["held-out quality"]["result"], gates[WHOLE]["result"]) == ("failed", "failed")
    assert gates["held-out quality"]["outcome"]["estimated"]["nor"] == "FAIL"


def test_tasks_of_the_voted_policy_are_gates_and_a_missing_one_is_named(bundle: Path) -> None:
    plan, report = (json.loads((bundle / name).read_bytes()) for name in ("plan.json", "eval/report.json"))
    tasks = [{"name": name, "kind": "exact_match", "tier": "required", "margin": 0.02} for name in ("mgsm", "gone")]
    report = json.loads(with_tasks(dumps(report)))
    report["tasks"]["gone"] = {
        "kind": "exact_match",
        "verdict": "INSUFFICIENT",
        "missing": True,
        "languages": {},
        "overall": {},
        "items": None,
        "tier": "required",
    }
    records = records_of(bundle, report_bytes=dumps(report))
    document: dict[str, Any] = {**records.plan_source.document, "evaluation": plan["evaluation"] | {"tasks": tasks}}
    records.__dict__["plan_source"] = type(records.plan_source)("plan.json", records.plan_source.sha256, document)
    gates = make_card(records)["gates"]
    assert (gates["task mgsm"]["result"], gates["task gone"]["result"]) == ("pass", "missing")
    assert gates["task mgsm"]["policy"]["source"] == "plan.json#/evaluation/tasks/0"
    assert "**missing**" in governance(records)


@pytest.mark.parametrize(
    ("verdict", "passed", "result"), [("PASS", True, "pass"), ("FAIL", False, "fail"), ("INSUFFICIENT", False, "insufficient"), (None, None, "no policy voted")]
)
def test_the_leak_test_is_a_gate_with_its_numbers(bundle: Path, verdict: str | None, passed: bool | None, result: str) -> None:
    leak = dumps(json.loads(leak_of(bundle)) | {"verdict": verdict, "passed": passed})
    card = make_card(records_of(bundle, extra={"privacy/leak.json": leak}))
    assert card["gates"]["leak test"]["result"] == result
    assert card["leak"]["epsilon_lower"] == {"value": 1.35, "source": "privacy/leak.json#/numbers/epsilon/lower_bound", "sha256": sha256(leak)}


@pytest.mark.parametrize("path", ["privacy/leak.json", "stake/shares.json"])
def test_a_record_of_another_run_or_format_makes_no_card(bundle: Path, path: str) -> None:
    for change, why in (({"run": "run-2"}, "other records"), ({"plan": sha256(b"x")}, "other records"), ({"format": "coop.other/v1"}, "format")):
        record = json.loads(leak_of(bundle)) | {"format": "coop.leak/v1" if "leak" in path else "coop.shares/v1"} | change
        with pytest.raises(Exception, match=why):
            make_card(records_of(bundle, extra={path: dumps(record)}))


def test_compute_is_estimated_with_failed_starts_and_as_a_share_of_the_threshold(bundle: Path) -> None:
    run = json.loads((bundle / "run.json").read_bytes())
    run["segments"] = [run["segments"][0] | {"status": "failed", "seconds": 30.0}, run["segments"][0] | {"start": 2, "status": "completed", "seconds": 60.0}]
    compute = make_card(records_of(bundle, run_bytes=dumps(run | {"starts": 2})))["compute"]
    tokens = sum(row["input"] for row in run["tokens"].values())
    assert compute["flop"]["estimated"] == 4 * run["parameters"] * tokens
    assert compute["flop_with_failed_starts"]["estimated"] == pytest.approx(1.5 * compute["flop"]["estimated"])
    assert compute["eu_one_third_ratio"]["estimated"] == pytest.approx(compute["flop"]["estimated"] * 3 / EU_THRESHOLD_FLOP)
    assert "not legal advice" in compute["eu_one_third_ratio"]["method"]
    assert {one["source"] for one in compute["flop"]["from"]} == {"run.json#/tokens", "run.json#/parameters"}


def test_other_runs_and_their_failures_are_told(finished: Any) -> None:
    from model_card.votes import votes_of
    from tests.model_card.conftest import RUN

    village = finished.village
    assert votes_of(village.coop.register, run=RUN, consents=[])["runs"] == {}
    plan = sha256(b"another plan")
    proposal = village.approve("run", plan, uses=3)
    for start in (1, 2):
        village.say("coop.run-start/v1", {"run": "second", "plan": plan, "proposal": proposal, "start": start}, "operator")
        status = ("failed", "completed")[start - 1]
        village.say("coop.run-end/v1", {"run": "second", "status": status, "record": sha256(b"r"), "outputs": sha256(b"o")}, "operator")
    # Seen from the first run's end, the second had not begun; seen from the second's, the first was complete.
    assert votes_of(village.coop.register, run=RUN, consents=[])["runs"] == {}
    other = votes_of(village.coop.register, run="second", consents=[])["runs"][RUN]
    assert (other["starts"], other["ends"]) == (1, {"completed": 1})


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("privacy/leak.json", {"numbers": {"epsilon": {"lower_bound": 1}, "tpr": [1], "extraction": "none"}}),
        ("stake/shares.json", {"shares": {"spa": {"share_ppm": "most"}}, "alternatives": {}}),
        ("stake/shares.json", {"shares": {"spa": 1}, "alternatives": {"tokens": {}}}),
    ],
)
def test_a_record_of_odd_shape_is_refused_in_plain_words(bundle: Path, path: str, change: dict[str, Any]) -> None:
    made = json.loads(leak_of(bundle)) | {"format": "coop.leak/v1" if "leak" in path else "coop.shares/v1"} | change
    records = records_of(bundle, extra={path: dumps(made)})
    with pytest.raises(BadInput, match="malformed"):
        render_all(make_card(records), records)
