"""Sites: a cluster may start what members approved and say what that used, and nothing else; every rule blocks."""

from dataclasses import replace
from typing import Any

import pytest

from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.errors import CoopError
from governance_hooks.gate import Request, run_gate
from governance_hooks.hooks.guard import Guard
from governance_hooks.plan import Limits
from governance_hooks.proof import read_proof
from governance_hooks.report import Blocked
from governance_hooks.site.clearance import Clearance, clearance_of, read_clearance, sign_clearance
from governance_hooks.site.order import Order, order_of, read_order, sign_order
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import shift
from tests.village import Approved, Village

NORTH = {"site": "north", "lender": None, "device": "h100", "device_hours": None}


def used(**changes: Any) -> dict[str, Any]:
    """What a start took."""
    base = {"run": "run-1", "start": 1, "job": 17, "restart": 0, "nodes": 2, "devices": 2, "seconds": 60, "outcome": "preempted"}
    return base | {"energy_wh": None, "energy_from": None} | changes


def request(a: Approved, **changes: Any) -> Request:
    base = Request(
        plan=a.plan_bytes, proof=a.village.coop.proof().dumps(), base=a.base, build=a.build, now=a.village.clock, pin=a.village.coop.pin, site="north"
    )
    return replace(base, **changes)


def voted(a: Approved, **limits: Any) -> None:
    """Have members approve the plan with other limits."""
    a.plan = a.make_plan(name="limited", limits=Limits(max_starts=2, max_devices=2, max_minutes=30, **limits))
    a.plan_bytes = dumps(a.plan.model_dump())
    a.proposal = a.village.approve("run", sha256(a.plan_bytes), uses=2)


def why(report: Any, number: int) -> str:
    assert not report.passed, report.text()
    return str(report.steps[number - 1].why)


def test_a_site_starts_an_approved_run_and_says_what_it_used(approved: Approved) -> None:
    village = approved.village
    key = village.site(lender=village.members[0], device_hours=500)
    village.say("coop.run-start/v1", approved.started(), "s-north", key)
    village.wait(61)
    village.say("coop.run-segment/v1", used(), "s-north", key)
    run = village.coop.register.run("run-1")
    assert run.sites == ["north"]
    assert run.used_seconds() == (60, 120)
    assert village.coop.register.proposal(approved.proposal).used == 1


def test_only_the_operator_names_sites_and_only_members_lend_them(village: Village) -> None:
    key = generate_key(village.root / "k")
    payload = NORTH | {"key": key.public.line}
    village.refuses("is the operator's to state", "coop.site/v1", payload, village.members[0])
    village.refuses("not a member", "coop.site/v1", payload | {"lender": "m-" + "f" * 16}, "operator")
    village.refuses("no such site to retire", "coop.site/v1", NORTH | {"key": None}, "operator")


def test_a_key_of_a_member_the_operator_or_another_site_is_no_site_key(village: Village) -> None:
    key = village.site()
    for line in (village.keys[village.members[0]].public.line, village.operator.public.line):
        village.refuses("enrolled already", "coop.site/v1", NORTH | {"site": "south", "key": line}, "operator")
    village.refuses("enrolled already", "coop.site/v1", NORTH | {"site": "south", "key": key.public.line}, "operator")
    member = village.members[0]
    village.refuses("enrolled already", "coop.key/v1", {"action": "add", "key": key.public.line}, member, village.keys[member], key)
    village.say(
        "coop.site/v1", NORTH | {"key": key.public.line, "device": "b200"}, "operator", issued=shift(village.clock, 60)
    )  # its own key again: other facts
    assert village.coop.register.sites["north"].device == "b200"


def test_a_start_at_a_site_is_refused_without_its_key_without_a_vote_and_when_it_is_retired(approved: Approved) -> None:
    village, start = approved.village, approved.started()
    stranger = generate_key(village.root / "stranger")
    village.refuses("is a site's to state", "coop.run-start/v1", start, "s-north", stranger)
    village.refuses("is the operator's to state", "coop.run-start/v1", start, village.members[0])
    key = village.site()
    village.refuses("not signed by its key alone", "coop.run-start/v1", start, "s-north", stranger)
    village.refuses("not signed by its key alone", "coop.run-start/v1", start, "s-north", key, stranger)
    village.refuses("no such proposal", "coop.run-start/v1", start | {"proposal": sha256(b"none")}, "s-north", key)
    village.refuses("on another subject", "coop.run-start/v1", start | {"plan": sha256(b"mine")}, "s-north", key)
    village.say("coop.site/v1", NORTH | {"key": None}, "operator")
    village.refuses("is retired", "coop.run-start/v1", start, "s-north", key)


def test_a_site_can_state_nothing_but_starts_and_segments(approved: Approved) -> None:
    village = approved.village
    key = village.site()
    village.say("coop.run-start/v1", approved.started(), "s-north", key)
    end = {"run": "run-1", "status": "completed", "record": sha256(b"r"), "outputs": digest([])}
    village.refuses("is the operator's to state", "coop.run-end/v1", end, "s-north", key)
    village.refuses("is the operator's to state", "coop.site/v1", NORTH | {"key": key.public.line}, "s-north", key)
    ballot = {"proposal": approved.proposal, "choice": "for", "sequence": 9, "reason": None}
    village.refuses("not a member", "coop.ballot/v1", ballot, "s-north", key)


def test_a_sites_clock_never_goes_back_and_its_word_must_arrive_within_a_week(approved: Approved) -> None:
    village, start = approved.village, approved.started()
    key = village.site()
    village.refuses("clock went back", "coop.run-start/v1", start, "s-north", key, issued=shift(village.clock, -1))
    began = village.clock
    village.stamp(7 * 86_400 + 1)
    village.refuses("under way for too long", "coop.run-start/v1", start, "s-north", key, issued=began)


def test_a_start_at_a_site_is_refused_once_it_is_halted_and_not_if_it_came_before(approved: Approved) -> None:
    village = approved.village
    key = village.site()
    before = village.entry("coop.run-start/v1", approved.started(), "s-north", key)
    village.wait(1)
    village.say("coop.halt/v1", {"proposal": approved.proposal, "until": shift(village.clock, 3600)}, village.members[3])
    village.refuses("is halted", "coop.run-start/v1", approved.started(), "s-north", key)
    village.refuses("is halted", "coop.run-start/v1", approved.started(), "operator", issued=shift(village.clock, -1))  # the operator sees the log
    village.coop.append(before)  # it had started when nobody had halted it
    assert village.coop.register.run("run-1").sites == ["north"]
    assert "is halted" in why(run_gate(request(approved, run="run-1")), 5)


def test_a_segment_is_of_a_start_at_that_site_once_and_not_longer_than_time_has_passed(approved: Approved) -> None:
    village = approved.village
    key, other = village.site(), village.site("south")
    village.refuses("no such run", "coop.run-segment/v1", used(), "s-north", key)
    village.say("coop.run-start/v1", approved.started(), "s-north", key)
    village.wait(60)
    village.refuses("not started so often", "coop.run-segment/v1", used(start=2), "s-north", key)
    village.refuses("was somewhere else", "coop.run-segment/v1", used(), "s-south", other)
    village.refuses("in the future", "coop.run-segment/v1", used(seconds=3600), "s-north", key)
    village.refuses("in the future", "coop.run-segment/v1", used(seconds=2**31 - 1), "s-north", key)
    village.say("coop.run-segment/v1", used(), "s-north", key)
    village.refuses("in the log already", "coop.run-segment/v1", used(job=18), "s-north", key)
    approved.start(start=2)
    village.refuses("a machine of the cooperative", "coop.run-segment/v1", used(start=2), "s-north", key)


@pytest.mark.parametrize("half", [{"energy_wh": 3}, {"energy_from": "measured"}])
def test_energy_is_given_with_its_source(approved: Approved, half: dict[str, Any]) -> None:
    with pytest.raises(CoopError, match="given together"):
        approved.village.entry("coop.run-segment/v1", used(**half), "s-north", approved.village.operator)


def test_the_gate_judges_the_log_with_what_the_site_has_signed(approved: Approved) -> None:
    village = approved.village
    key = village.site()
    before = request(approved)
    assert run_gate(before).passed
    pending = (village.entry("coop.run-start/v1", approved.started(), "s-north", key),)
    assert "no start of run" in why(run_gate(replace(before, run="run-1")), 5)
    waiting = replace(before, run="run-1", pending=pending)
    assert run_gate(waiting).passed
    village.coop.append(pending[0])  # it reached the log: the same request with a fresh proof
    assert run_gate(replace(waiting, proof=village.coop.proof().dumps())).passed


def test_pending_entries_use_up_the_approval_and_only_sites_make_them(approved: Approved) -> None:
    village = approved.village
    key = village.site()
    asked = request(approved)
    starts = tuple(village.entry("coop.run-start/v1", approved.started(start=number), "s-north", key) for number in (1, 2, 3))
    assert "used up" in why(run_gate(replace(asked, pending=starts[:2])), 5)
    assert "will not take what this site has signed" in why(run_gate(replace(asked, pending=starts)), 2)
    assert "only what a site states" in why(run_gate(replace(asked, pending=(village.entry("coop.run-start/v1", approved.started(), "operator"),))), 2)
    forged = village.entry("coop.run-start/v1", approved.started(), "s-north", generate_key(village.root / "thief"))
    assert "not signed by its key alone" in why(run_gate(replace(asked, pending=(forged,))), 2)


def test_the_gate_blocks_a_place_members_did_not_vote_for(approved: Approved) -> None:
    assert "north is no site of this cooperative" in why(run_gate(request(approved)), 9)
    approved.village.site()
    assert run_gate(request(approved)).passed
    voted(approved, sites=["south"])
    assert "members voted for south" in why(run_gate(request(approved)), 9)
    assert "on a machine of the cooperative" in why(run_gate(request(approved, site=None)), 9)
    voted(approved, sites=["south", "north"])
    assert run_gate(request(approved)).passed
    approved.village.say("coop.site/v1", NORTH | {"key": None}, "operator")
    assert "no site of this cooperative" in why(run_gate(request(approved)), 9)


def test_the_gate_counts_the_minutes_segments_have_used(approved: Approved) -> None:
    village = approved.village
    key = village.site()
    village.say("coop.run-start/v1", approved.started(), "s-north", key)
    village.wait(20 * 60)
    village.say("coop.run-segment/v1", used(seconds=20 * 60), "s-north", key)
    assert run_gate(request(approved, minutes=10)).passed
    assert "11 minutes asked, 30 voted, 20 of them used" in why(run_gate(request(approved, minutes=11)), 9)


def test_the_gate_keeps_to_the_device_minutes_voted(approved: Approved) -> None:
    village = approved.village
    key = village.site()
    voted(approved, max_device_minutes=30)
    assert run_gate(request(approved, devices=1, minutes=30)).passed
    assert run_gate(request(approved, devices=2, minutes=15)).passed
    assert "32 device-minutes asked, 30 voted" in why(run_gate(request(approved, devices=2, minutes=16)), 9)
    village.say("coop.run-start/v1", approved.started(), "s-north", key)
    village.wait(14 * 60)
    village.say("coop.run-segment/v1", used(seconds=14 * 60), "s-north", key)
    assert run_gate(request(approved, devices=2)).passed
    assert "4 device-minutes asked, 30 voted, 28 of them used" in why(run_gate(request(approved, devices=2, minutes=2)), 9)


def test_a_controller_leaves_the_large_files_to_the_process_that_reads_them(approved: Approved) -> None:
    approved.village.site()
    (approved.base / "model.safetensors").unlink()
    (approved.build / "records.parquet").unlink()
    assert "model.safetensors" in why(run_gate(request(approved)), 6)
    report = run_gate(request(approved, inputs=False))
    assert report.passed
    assert "checked by the process" in report.steps[5].checked
    ledger = approved.build / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().split(b"\n", 1)[1])
    assert "Merkle root" in why(run_gate(request(approved, inputs=False)), 6)


def test_what_follows_the_training_needs_a_start_and_no_halt_but_no_start_left(approved: Approved) -> None:
    village = approved.village
    village.site()
    asked = request(approved, run="run-1", after=True, devices=1)
    assert "no start of run run-1" in why(run_gate(asked), 5)
    approved.start()
    approved.start(start=2)
    fresh = replace(asked, proof=village.coop.proof().dumps())
    assert run_gate(fresh).passed
    village.say("coop.halt/v1", {"proposal": approved.proposal, "until": shift(village.clock, 3600)}, village.members[3])
    assert "halted" in why(run_gate(replace(fresh, proof=village.coop.proof().dumps())), 5)


def test_a_guard_watches_a_run_whose_start_is_still_on_its_way(approved: Approved) -> None:
    village = approved.village
    key = village.site()
    pending = (village.entry("coop.run-start/v1", approved.started(), "s-north", key),)
    asked = request(approved, run="run-1", pending=pending)
    guard = Guard(asked, fresh=lambda: village.coop.proof().dumps(), clock=lambda: village.clock)
    guard.start()
    assert guard.stop(force=True) is None
    village.coop.append(pending[0])
    assert guard.stop(force=True) is None
    village.say("coop.withdrawal/v1", {"consent": None}, village.members[0])
    stop = guard.stop(force=True)
    assert stop is not None
    assert stop.kind == "withdrawn"


def order(village: Village, **changes: Any) -> Order:
    base = {
        "site": "north",
        "kind": "train",
        "run": "run-1",
        "plan": sha256(b"plan"),
        "proposal": sha256(b"vote"),
        "script": sha256(b"#!/bin/bash -p\n"),
        "user": 1000,
        "nodes": 2,
        "devices": 4,
        "minutes": 30,
        "array": None,
        "expires": shift(village.clock, 3600),
    }
    return Order.model_validate(base | changes)


def test_an_order_is_the_operators_for_a_site_of_the_log_and_expires(village: Village) -> None:
    coop, register = village.coop.register.coop, village.coop.register
    data = sign_order(order(village), coop=coop, key=village.operator)
    with pytest.raises(CoopError, match="no site of the cooperative"):
        read_order(data, register, at=village.clock)
    village.site()
    assert order_of(read_order(data, register, at=village.clock)).devices == 4
    with pytest.raises(CoopError, match="has expired"):
        read_order(data, register, at=shift(village.clock, 3600))
    member = sign_order(order(village), coop=coop, key=village.keys[village.members[0]])
    with pytest.raises(CoopError, match="not signed by the operator's key alone"):
        read_order(member, register, at=village.clock)
    with pytest.raises(CoopError, match="another cooperative"):
        read_order(sign_order(order(village), coop=sha256(b"other"), key=village.operator), register, at=village.clock)
    with pytest.raises(CoopError):
        read_order(data.replace(b'"devices":4', b'"devices":8'), register, at=village.clock)


def test_a_build_needs_no_vote_and_a_training_does(village: Village) -> None:
    assert order(village, kind="build", plan=None, proposal=None, devices=0).plan is None
    for wrong in ({"kind": "build"}, {"plan": None, "proposal": None}, {"proposal": None}, {"array": "1-3"}):
        with pytest.raises(ValueError, match=r"name a plan|pattern"):
            order(village, **wrong)


def test_a_chain_is_no_array_of_a_build_and_its_tasks_no_chain(village: Village) -> None:
    build = {"kind": "build", "plan": None, "proposal": None, "devices": 0}
    assert [order(village, **build, array=array).array for array in ("0-0", "0-999%8")] == ["0-0", "0-999%8"]
    assert order(village, array="1-3%1").array == "1-3%1"
    for wrong in ({"array": "0-3"}, {**build, "array": "1-3%1"}):
        with pytest.raises(ValueError, match="an array is a chain"):
            order(village, **wrong)


def test_an_order_is_no_entry_of_the_log(village: Village) -> None:
    with pytest.raises(CoopError, match="type is unknown"):
        village.coop.append(sign_order(order(village), coop=village.coop.register.coop, key=village.operator))


def test_a_clearance_is_of_one_site_and_expires(village: Village) -> None:
    key, coop = village.site(), village.coop.register.coop
    raw = key.public.raw
    given = Clearance(
        order=sha256(b"o"), job=7, restart=0, user=1000, submitted=1, nodes=2, devices=4, minutes=30, expires=shift(village.clock, 600), start=None
    )
    data = sign_clearance(given, coop=coop, site="north", key=key)
    assert clearance_of(read_clearance(data, coop=coop, site="north", key=raw, at=village.clock)) == given
    for changes, words in (
        ({"site": "south"}, "another cooperative or site"),
        ({"coop": sha256(b"c")}, "another cooperative or site"),
        ({"key": village.operator.public.raw}, "not signed by the key of site"),
        ({"at": shift(village.clock, 600)}, "has expired"),
    ):
        with pytest.raises(CoopError, match=words):
            read_clearance(data, **({"coop": coop, "site": "north", "key": raw, "at": village.clock} | changes))  # type: ignore[arg-type]


def test_a_gate_at_a_site_blocks_a_proof_that_has_not_seen_the_vote(approved: Approved) -> None:
    approved.village.site()
    proof = read_proof(approved.village.coop.proof().dumps())
    assert len(proof.entries) == approved.village.coop.register.size
    with pytest.raises(Blocked):
        run_gate(request(approved, plan=dumps(approved.make_plan(name="unvoted").model_dump()))).require()
