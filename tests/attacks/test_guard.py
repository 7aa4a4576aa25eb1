"""Ways to keep a training run going after it may not: a guard that looks nowhere, at old news, or not at the end."""

import sqlite3
import threading
from types import SimpleNamespace

import pytest

from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput
from governance_hooks.gate import run_gate
from governance_hooks.hooks.guard import Guard, Stop
from governance_hooks.statement import shift
from tests.attacks.forge import only_broken, request_for
from tests.attacks.story import RUN
from tests.village import Approved, Village


def guard_of(approved: Approved, **changes: object) -> Guard:
    village = approved.village
    fields: dict[str, object] = {"fresh": lambda: village.coop.proof().dumps(), "clock": lambda: village.clock} | changes
    return Guard(request_for(approved, run=RUN), **fields)  # type: ignore[arg-type]


def stopped(guard: Guard) -> Stop:
    stop = guard.stop(force=True)
    assert stop is not None
    return stop


def test_a_guard_of_no_run_does_not_start(approved: Approved) -> None:
    guard = Guard(request_for(approved), fresh=lambda: approved.village.coop.proof().dumps(), clock=lambda: approved.village.clock)
    with pytest.raises(BadInput, match="a guard watches one run"):
        guard.start()
    assert stopped(guard).reason == "the guard was never started"


def test_a_proof_that_gets_no_fresher_stops_the_run(approved: Approved) -> None:
    village = approved.village
    approved.start()
    old, clock = village.coop.proof().dumps(), [village.clock]
    guard = guard_of(approved, fresh=lambda: old, clock=lambda: clock[0])
    guard.start()
    village.say("coop.withdrawal/v1", {"consent": None}, village.members[0])  # never reaches the node
    clock[0] = shift(village.clock, 6 * 86_400)
    assert guard.stop(force=True) is None
    clock[0] = shift(village.clock, 60 * 86_400)
    stop = stopped(guard)
    assert stop.kind == "unchecked"
    assert "5184000 s old, 604800 s allowed: halts and withdrawals since would go unseen" in stop.reason


def test_a_proof_of_the_future_stops_the_run(approved: Approved) -> None:
    approved.start()
    clock = [approved.village.clock]
    guard = guard_of(approved, clock=lambda: clock[0])
    guard.start()
    clock[0] = shift(approved.village.clock, -3600)
    assert "checkpoint is 3600 s in the future: one of the clocks is wrong" in stopped(guard).reason


def test_a_broken_database_stops_the_run_with_its_checkpoint(approved: Approved) -> None:
    approved.start()
    guard = guard_of(approved)
    guard.start()
    with sqlite3.connect(approved.village.root / "log.sqlite") as raw:
        raw.execute("ALTER TABLE entry RENAME TO gone")
    stop = stopped(guard)  # returned, not raised: the loop saves its checkpoint first
    assert (stop.kind, stop.reason.startswith("the log could not be checked: ")) == ("unchecked", True)


@pytest.mark.parametrize("error", [RuntimeError("driver gone"), MemoryError(), KeyError("size")])
def test_whatever_breaks_the_look_stops_the_run(approved: Approved, error: Exception) -> None:
    approved.start()

    def fresh() -> bytes:
        raise error

    guard = guard_of(approved, fresh=fresh)
    guard.start()
    assert stopped(guard).reason == f"the log could not be checked: {error}"


@pytest.mark.parametrize(("part", "read"), [("entries", "refresh"), ("checkpoint", "checkpoint")])
def test_an_append_between_the_two_reads_of_a_proof_stops_nothing(approved: Approved, monkeypatch: pytest.MonkeyPatch, part: str, read: str) -> None:
    village = approved.village
    approved.start()
    guard = guard_of(approved)
    guard.start()
    owner = village.coop if part == "entries" else village.coop.log
    with Cooperative.open(village.root) as coop:
        other = Village(village.root, coop, village.keys, village.operator)
        other.clock = village.clock
        real, appended = getattr(owner, read), []

        def slow() -> object:
            found = real()
            if not appended:
                appended.append(other.consent(other.members[4]))  # another terminal, just then
            return found

        monkeypatch.setattr(owner, read, slow)
        assert guard.stop(force=True) is None
    assert len(appended) == 1


def test_members_who_consent_while_a_run_is_on_do_not_stop_it(approved: Approved) -> None:
    village = approved.village
    approved.start()
    guard = guard_of(approved)
    guard.start()
    enough, appended, failed = threading.Event(), [], []

    def write() -> None:
        try:
            with Cooperative.open(village.root) as coop:
                other = Village(village.root, coop, village.keys, village.operator)
                other.clock = village.clock
                while not enough.is_set() and len(appended) < 40:
                    appended.append(other.consent(other.members[4]).id)
        except Exception as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        stops = [guard.stop(force=True) for _ in range(25)]
    finally:
        enough.set()
        writer.join()
    assert (failed, [stop for stop in stops if stop]) == ([], [])
    assert appended


def test_an_approval_of_other_weights_does_not_start_on_a_swapped_base(approved: Approved) -> None:
    approved.start()
    (approved.base / "model.safetensors").write_bytes(b"another model")
    only_broken(run_gate(request_for(approved, run=RUN)), "base, dataset and code match", "base weights are not the voted ones: model.safetensors")


def test_lightning_looks_once_more_at_the_end(approved: Approved) -> None:
    hooks = pytest.importorskip("governance_hooks.hooks.lightning")
    village = approved.village
    approved.start()
    callback = hooks.GovernanceCallback(guard_of(approved, every_s=1e9))
    trainer = SimpleNamespace(should_stop=False, accumulate_grad_batches=1, min_steps=None, min_epochs=None, world_size=1)
    callback.on_fit_start(trainer, None)
    village.say("coop.halt/v1", {"proposal": approved.proposal, "until": shift(village.clock, 600)}, village.members[3])
    for index in range(5):
        callback.on_train_batch_end(trainer, None, None, None, index)
    assert callback.stopped is None  # it has not looked since the start
    callback.on_train_end(trainer, None)
    assert (callback.stopped.kind, trainer.should_stop) == ("halted", True)
    assert "the oversight body halted this approval until" in callback.stopped.reason
