import pytest

from governance_hooks.gate import Request
from governance_hooks.hooks.guard import Guard
from governance_hooks.proof import Proof
from governance_hooks.report import Blocked
from governance_hooks.statement import shift
from tests.village import Approved


def guard(a: Approved) -> Guard:
    request = Request(
        plan=a.plan_bytes, proof=a.village.coop.proof().dumps(), base=a.base, build=a.build, now=a.village.clock, pin=a.village.coop.pin, run="run-1"
    )
    return Guard(request, fresh=lambda: a.village.coop.proof().dumps(), every_s=0, clock=lambda: a.village.clock)


def test_a_guard_blocks_a_run_nobody_started(approved: Approved) -> None:
    with pytest.raises(Blocked, match="holds no start"):
        guard(approved).start()


def test_a_guard_that_was_never_started_stops_everything(approved: Approved) -> None:
    stop = guard(approved).stop()
    assert stop is not None
    assert stop.kind == "unchecked"


def test_an_undisturbed_run_goes_on(approved: Approved) -> None:
    approved.start()
    watch = guard(approved)
    assert watch.start().passed
    approved.village.wait(5)
    assert watch.stop() is None
    approved.village.consent(approved.village.members[4])  # news that does not concern this run
    assert watch.stop() is None


def test_a_halt_stops_a_run(approved: Approved) -> None:
    approved.start()
    watch = guard(approved)
    watch.start()
    village = approved.village
    village.say("coop.halt/v1", {"proposal": approved.proposal, "until": shift(village.clock, 600)}, village.members[3])
    stop = watch.stop()
    assert stop is not None
    assert (stop.kind, "oversight body" in stop.reason) == ("halted", True)


def test_a_withdrawal_stops_a_run(approved: Approved) -> None:
    approved.start()
    watch = guard(approved)
    watch.start()
    approved.village.say("coop.withdrawal/v1", {"consent": None}, approved.village.members[2])
    stop = watch.stop()
    assert stop is not None
    assert (stop.kind, "3 texts lack a consent" in stop.reason) == ("withdrawn", True)


def test_a_rolled_back_or_unreadable_log_stops_a_run(approved: Approved) -> None:
    approved.start()
    watch = guard(approved)
    watch.start()
    older = Proof(approved.village.coop.log.checkpoint(), approved.village.coop.proof().entries[:-1]).dumps()
    for bad in (older, b"", b"{}"):
        watch.fresh = lambda bad=bad: bad  # type: ignore[misc]
        stop = watch.stop()
        assert stop is not None
        assert stop.kind == "unchecked"

    def unreadable() -> bytes:
        raise OSError("stale file handle")

    watch.fresh = unreadable
    stop = watch.stop()
    assert stop is not None
    assert "stale file handle" in stop.reason


def test_the_log_is_read_no_oftener_than_asked(approved: Approved) -> None:
    approved.start()
    watch = guard(approved)
    watch.start()
    watch.every_s = 3600
    watch.fresh = lambda: pytest.fail("the log was read")
    assert watch.stop() is None
