"""Two real processes of a training run, which talk over gloo: what one of them sees stops both, at the same optimizer step.

Process 1 alone sees the halt, or loses sight of the log; process 0 never looks by itself.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.plan import Policies
from governance_hooks.statement import shift
from tests.ports import free_port
from tests.village import Approved, Village, found

STEPS, EVENT_AT = 12, 4
ADAPTERS = ["plain", "accelerate", "lightning", "transformers"]
SCENARIOS = ["halted", "unreadable", "refused", "undisturbed"]
MORE = {"plain": ["uneven", "late"], "accelerate": ["late"]}
"""What one adapter plays beside: in the same two processes, since most of their time goes into the import of torch."""

Said = dict[tuple[str, int], dict[str, Any]]


def scene(village: Village, folder: Path, **policies: Any) -> Path:
    """Write what the processes read: a started run, the log after a halt, and the log after a withdrawal."""
    approved = Approved(village)
    if policies:
        approved.plan_bytes = dumps(approved.make_plan(name="stubborn", policies=Policies(**policies)).model_dump())
        approved.proposal = village.approve("run", sha256(approved.plan_bytes), uses=2)
    approved.start()
    (folder / "plan").write_bytes(approved.plan_bytes)
    (folder / "proof").write_bytes(village.coop.proof().dumps())
    village.say("coop.withdrawal/v1", {"consent": None}, village.members[1])
    (folder / "withdrawn").write_bytes(village.coop.proof().dumps())
    village.say("coop.halt/v1", {"proposal": approved.proposal, "until": shift(village.clock, 600)}, village.members[4])
    (folder / "halted").write_bytes(village.coop.proof().dumps())
    paths = {name: str(folder / name) for name in ("plan", "proof", "withdrawn", "halted")}
    plan = folder / "ranks.json"
    more = {"base": str(approved.base), "build": str(approved.build), "now": village.clock, "pin": village.coop.pin, "folder": str(folder)}
    plan.write_text(json.dumps(paths | more))
    return plan


def run_ranks(plan: Path, adapter: str, *scenarios: str) -> Said:
    """Run two processes through the scenarios; return what each said."""
    common = os.environ | {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "RANKS_PLAN": str(plan),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }
    command = [sys.executable, "-m", "tests.ranks", adapter, *scenarios]
    ranks = [
        subprocess.Popen(
            command, env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    said: Said = {}
    try:
        for number, rank in enumerate(ranks):
            out, err = rank.communicate(timeout=600)
            assert rank.returncode == 0, err[-3000:]
            for line in out.splitlines():
                if line.startswith('{"scenario"'):
                    one = json.loads(line)
                    said[one["scenario"], number] = one
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    return said


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Said]]:
    """Return what an adapter's two processes said of all their scenarios; they run when first asked about."""
    folder = tmp_path_factory.mktemp("ranks")
    keys, operator = found(folder / "village")
    with Cooperative.open(folder / "village") as coop:
        plan = scene(Village(folder / "village", coop, keys, operator), folder)

        @cache
        def play(adapter: str) -> Said:
            return run_ranks(plan, adapter, *SCENARIOS, *MORE.get(adapter, []))

        yield play


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_what_one_process_sees_stops_both_at_the_same_step(played: Callable[[str], Said], adapter: str) -> None:
    said = played(adapter)

    # (1) One process reads the halt: both stop where it read it, and neither trains on.
    zero, one = said["halted", 0], said["halted", 1]
    assert zero["steps"] == one["steps"] == EVENT_AT
    assert (zero["stop"]["kind"], one["stop"]["kind"]) == ("halted", "halted")
    assert "the oversight body halted this approval until" in one["stop"]["reason"]
    assert "another process of this run was stopped" in zero["stop"]["reason"]

    # (2) One process cannot read the log: both stop.
    zero, one = said["unreadable", 0], said["unreadable", 1]
    assert zero["steps"] == one["steps"] == EVENT_AT
    assert (zero["stop"]["kind"], one["stop"]["kind"]) == ("unchecked", "unchecked")
    assert "the log could not be checked" in one["stop"]["reason"]

    # (3) The gate refuses one process: neither makes a step, and neither waits for the other.
    zero, one = said["refused", 0], said["refused", 1]
    assert (zero["steps"], one["steps"]) == (0, 0)
    assert zero["error"] == "Refused: the gate of another process of this run does not pass"
    assert one["error"].startswith("Blocked: ")

    # (4) Nothing happens: both end, and only the first hands on the end of the run.
    zero, one = said["undisturbed", 0], said["undisturbed", 1]
    assert zero["steps"] == one["steps"] == STEPS
    assert (zero["stop"], one["stop"], zero["error"], one["error"]) == (None, None, None, None)
    assert one["ended"] == []
    if adapter != "lightning":  # whose loop's owner writes the record
        assert [record["status"] for record in zero["ended"]] == ["completed"]


def test_a_process_with_fewer_steps_stays_until_all_are_done(played: Callable[[str], Said]) -> None:
    said = played("plain")
    assert [said["uneven", rank]["steps"] for rank in (0, 1)] == [STEPS, STEPS + 5]
    assert [said["uneven", rank]["stop"] for rank in (0, 1)] == [None, None]


def test_a_look_at_the_end_counts_for_all(played: Callable[[str], Said]) -> None:
    ended = played("plain")  # process 1 looks at the end only
    assert [ended["late", rank]["stop"]["kind"] for rank in (0, 1)] == ["halted", "halted"]
    assert [ended["late", rank]["steps"] for rank in (0, 1)] == [STEPS, STEPS]


def test_a_look_at_a_saved_state_counts_for_all(played: Callable[[str], Said]) -> None:
    saved = played("accelerate")  # process 1 looks when it saves the state, after step 6
    assert [saved["late", rank]["stop"]["kind"] for rank in (0, 1)] == ["halted", "halted"]
    assert [saved["late", rank]["steps"] for rank in (0, 1)] == [EVENT_AT + 3, EVENT_AT + 3]


def test_a_process_that_dies_stops_the_others_at_once(village: Village, tmp_path: Path) -> None:
    said = run_ranks(scene(village, tmp_path), "plain", "dies")
    assert ("dies", 1) not in said
    assert said["dies", 0]["steps"] == EVENT_AT
    assert said["dies", 0]["stop"]["kind"] == "unchecked"
    assert "the 2 processes of this run do not reach each other" in said["dies", 0]["stop"]["reason"]


def test_what_may_not_be_released_is_known_to_the_process_that_writes_the_record(village: Village, tmp_path: Path) -> None:
    said = run_ranks(scene(village, tmp_path, on_withdrawal="finish-unreleased"), "plain", "withdrawn")
    assert [said["withdrawn", rank]["steps"] for rank in (0, 1)] == [STEPS, STEPS]
    assert said["withdrawn", 0]["ended"] == [
        {"status": "completed", "reason": None, "steps": STEPS, "unreleasable": "another process of this run saw that a consent was withdrawn"}
    ]
