"""What a start used becomes one signed statement: of what SLURM allocated, once, whatever is cut off or forged."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput, CoopError, Refused
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import now, parse, shift
from slurm.controller import _state
from slurm.outbox import read_entries
from slurm.segments import Ended, lost, outcome, read_ended, settle, unsettled, write_off
from tests.slurm.lent import SUBMITTED, Lent
from tests.village import Approved


@pytest.fixture
def lent(approved: Approved, tmp_path: Path) -> Lent:
    return Lent(approved, tmp_path / "site")


def test_a_start_is_dated_after_what_was_stated_while_it_was_checked(lent: Lent) -> None:
    """Two tasks of an array: the end of one is signed between the moment in which the other read its clock and its turn."""
    approved, register = lent.approved, lent.village.coop.register
    earlier = shift(register.sites[lent.name].clock, -1)
    order = SimpleNamespace(kind="train", run="run-1", plan=sha256(approved.plan_bytes), proposal=approved.proposal)
    standing, delivered = SimpleNamespace(register=register, at=earlier), SimpleNamespace(plan=approved.plan_bytes, build=approved.build)
    with lent.outbox.locked():
        stated = _state(standing, lent.outbox, delivered, SimpleNamespace(order=order))  # type: ignore[arg-type]
    assert stated is not None
    assert parse(stated).issued == shift(earlier, 1)


def test_a_start_that_ended_is_stated_with_what_slurm_allocated_and_the_log_takes_it(lent: Lent) -> None:
    lent.clear(7, start=lent.begin())
    lent.village.wait(61)
    lent.end(7, gres="gpu:h100:4", tres="1=16,3=18446744073709551614,4=2,5=16")
    (one,) = settle(lent.folder, lent.outbox)
    assert one.outcome == "completed"
    assert not list((lent.folder / "ended").iterdir())
    assert not list((lent.folder / "clearance").iterdir())
    assert sorted(path.name for path in (lent.folder / "done").iterdir()) == ["7.0.json", "7.0.sig", "7.0.start"]
    for statement in lent.stated():
        lent.village.coop.append(statement.entry)
    segment = lent.village.coop.register.run("run-1").segments[1]
    assert (segment.job, segment.nodes, segment.devices, segment.seconds, segment.outcome) == (7, 2, 4, 60, "completed")


def test_an_evaluation_that_ended_is_settled_and_states_nothing(lent: Lent) -> None:
    lent.clear(7)
    lent.end(7)
    (one,) = settle(lent.folder, lent.outbox)
    assert one.entry is None
    assert lent.stated() == []
    assert settle(lent.folder, lent.outbox) == []


def test_each_start_of_a_requeued_job_is_stated_in_the_order_of_their_ends(lent: Lent) -> None:
    lent.clear(7, 1, lent.begin(start=2), submitted=SUBMITTED + 50)
    lent.clear(7, 0, lent.begin(start=1))
    lent.village.wait(100)
    lent.end(7, 1, submit=SUBMITTED + 50)
    lent.end(7, 0, state=1024, end=SUBMITTED + 60, start=SUBMITTED + 20)
    settle(lent.folder, lent.outbox)
    assert [(one.start, one.restart, one.seconds, one.outcome) for one in lent.segments()] == [(1, 0, 40, "preempted"), (2, 1, 60, "completed")]


class Killed(BaseException):
    """The process is gone."""


def cut_off(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Kill the process at the change of the folder with this number; each change has two, before and after it is made."""
    seen = count()

    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(seen) == at:
                raise Killed
            result = method(*args, **kwargs)
            if next(seen) == at:
                raise Killed
            return result

        return call

    for name in ("replace", "unlink", "mkdir"):
        monkeypatch.setattr(Path, name, wrapped(getattr(Path, name)))


def test_cut_off_anywhere_it_goes_on_and_states_everything_once(lent: Lent) -> None:
    starts = [lent.begin(start=1), lent.begin(start=2)]
    for at in range(200):
        for job, start in enumerate(starts, 1):
            lent.clear(job, start=start)
            lent.end(job)
        for path in (*read_entries(lent.outbox.folder),)[2:]:
            path.path.unlink()
        with pytest.MonkeyPatch.context() as patch:
            cut_off(patch, at)
            try:
                settle(lent.folder, lent.outbox)
                break
            except Killed:
                pass
        settle(lent.folder, lent.outbox)
        assert [one.start for one in lent.segments()] == [1, 2], at
        assert not [*(lent.folder / "ended").iterdir(), *(lent.folder / "clearance").iterdir()], at
    assert 20 < at < 199


def test_a_file_of_another_job_with_the_same_number_is_refused(lent: Lent) -> None:
    lent.clear(7, start=lent.begin())
    lent.end(7, submit=SUBMITTED + 1)
    with pytest.raises(Refused, match="another job of this number"):
        settle(lent.folder, lent.outbox)
    assert lent.segments() == []


def test_a_number_that_comes_again_is_settled_again(lent: Lent) -> None:
    for start in (1, 2):
        lent.clear(7, start=lent.begin(start=start))
        lent.end(7)
        settle(lent.folder, lent.outbox)
    assert [one.start for one in lent.segments()] == [1, 2]


def test_a_clearance_somebody_else_signed_or_moved_is_refused(lent: Lent, tmp_path: Path) -> None:
    start = lent.begin()
    lent.clear(7, start=start)
    own, lent.key = lent.key, generate_key(tmp_path / "stranger")
    lent.clear(8, start=start)
    lent.key = own
    for suffix in ("json", "sig", "start"):
        (lent.folder / "clearance" / f"9.0.{suffix}").write_bytes((lent.folder / "clearance" / f"7.0.{suffix}").read_bytes())
    for job in (8, 9):
        lent.end(job)
    reasons: list[CoopError] = []
    assert settle(lent.folder, lent.outbox, refused=reasons) == []
    assert [reason.what.rpartition(" of ")[0].split()[-1] for reason in reasons] == ["key", "is"], reasons
    assert lent.segments() == []


def test_a_start_that_is_not_the_one_cleared_is_refused(lent: Lent) -> None:
    lent.clear(7, start=lent.begin(start=1))
    (lent.folder / "clearance" / "7.0.start").write_bytes(lent.begin(start=2).data)
    lent.end(7)
    with pytest.raises(Refused, match="not the start that was cleared"):
        settle(lent.folder, lent.outbox)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"end":1}', dumps({"end": 1}) + b"\n", b'{"end":1,"end":2}', b"\xff" * 100, b"[" * 70_000],
    ids=["empty", "cut off", "no object", "fields missing", "two lines", "twice", "no text", "too long"],
)
def test_what_jobcomp_did_not_write_settles_nothing_and_holds_up_nobody(lent: Lent, data: bytes) -> None:
    lent.clear(7, start=lent.begin(start=1))
    (lent.folder / "ended" / "7.0.json").write_bytes(data)
    lent.clear(8, start=lent.begin(start=2))
    lent.end(8)
    reasons: list[CoopError] = []
    assert [one.name for one in settle(lent.folder, lent.outbox, refused=reasons)] == ["8.0"]
    assert len(reasons) == 1
    with pytest.raises(BadInput):
        settle(lent.folder, lent.outbox)


def test_links_and_pipes_are_not_read(lent: Lent, tmp_path: Path) -> None:
    secret = lent.end(7)
    moved = secret.rename(tmp_path / "elsewhere")
    secret.symlink_to(moved)
    os.mkfifo(lent.folder / "ended" / "8.0.json")
    reasons: list[CoopError] = []
    assert settle(lent.folder, lent.outbox, refused=reasons) == []
    assert len(reasons) == 2


@given(st.integers(0, 2**32))
def test_any_state_of_slurm_has_an_outcome_by_its_low_byte(state: int) -> None:
    assert outcome(state) == outcome(state & 0xFF)
    assert outcome(state | 0x8000) == outcome(state)  # JOB_COMPLETING


@pytest.mark.parametrize(
    ("state", "words"),
    [(32771, "completed"), (4, "cancelled"), (32773, "failed"), (32774, "timeout"), (7, "node-failure"), (8, "preempted"), (1024, "preempted"), (11, "failed")],
)
def test_the_states_slurm_gave_in_trials_have_these_outcomes(state: int, words: str) -> None:
    assert outcome(state) == words


@pytest.mark.parametrize(
    ("gres", "devices"),
    [
        ("gpu:h100:4", 4),
        ("gpu:4", 4),
        ("gpu:a100:2,gpu:h100:3", 5),
        ("gpu:h100:4(IDX:0-3,5)", 4),
        ("nic:3,gpu:(null):1", 1),
        ("xgpu:7", 2),
        (None, 2),
        ("gpu:x", 2),
    ],
)
def test_gpus_are_counted_as_they_were_held(lent: Lent, gres: str | None, devices: int) -> None:
    clearance = lent.clear(7)
    ended = Ended(end=20, gres=gres, job=7, restart=0, start=10, state=3, submit=5, tres=None)
    assert ended.devices(clearance) == devices


def test_a_job_on_processors_counts_its_nodes_and_one_without_a_start_no_time(lent: Lent) -> None:
    clearance = lent.clear(7, devices=0, nodes=3)
    ended = Ended(end=20, gres=None, job=7, restart=0, start=0, state=4, submit=5, tres="1=4,4=2")
    assert (ended.devices(clearance), ended.nodes(clearance), ended.seconds) == (2, 2, 0)
    assert Ended(end=4_294_967_294, gres=None, job=7, restart=0, start=10, state=4, submit=5, tres=None).seconds == 0


@given(
    st.dictionaries(
        st.sampled_from(["end", "gres", "job", "restart", "start", "state", "submit", "tres", "x"]),
        st.integers() | st.sampled_from(["", "gpu:2", "4=1", None, True]),
    )
)
def test_whatever_stands_in_the_file_is_read_or_refused(value: dict[str, Any]) -> None:
    try:
        data = dumps(value)
    except CoopError:
        return
    with suppress(BadInput):
        assert read_ended(data, source="a file").seconds >= 0


def test_a_cleared_start_that_left_no_trace_is_found(lent: Lent) -> None:
    for job in (7, 8, 9):
        lent.clear(job)
    lent.end(8)
    assert lost(lent.folder, {"9.0"}) == ["7.0"]


def test_a_run_whose_last_start_is_not_settled_is_told_from_others(lent: Lent) -> None:
    lent.clear(7, start=lent.begin())
    lent.clear(8, start=lent.begin("run-2"))
    lent.clear(9)  # an evaluation uses no start
    assert unsettled(lent.folder, "run-1") == ["7.0"]
    lent.end(7)
    settle(lent.folder, lent.outbox)
    assert unsettled(lent.folder, "run-1") == []


def test_a_start_nobody_wrote_down_is_written_off_with_all_it_was_cleared_for_and_no_more_than_has_passed(lent: Lent) -> None:
    lent.village.clock = shift(now(), -3600)
    lent.clear(7, start=lent.begin(), minutes=30, devices=4, nodes=2)
    began = now()
    lent.village.clock = shift(began, -60)
    lent.clear(8, start=lent.begin(start=2), minutes=30)
    for name in ("7.0", "8.0"):
        (one,) = write_off(lent.folder, lent.outbox, name)
        assert one.name == name
    first, second = lent.segments()
    assert (first.seconds, first.devices, first.nodes, first.outcome) == (1800, 4, 2, "failed")
    assert 60 <= second.seconds <= 60 + (datetime.fromisoformat(now()) - datetime.fromisoformat(began)).total_seconds()
    for name in ("7.0", "9.0", "../clearance/8.0", ""):
        with pytest.raises(BadInput):
            write_off(lent.folder, lent.outbox, name)
