"""The preflight of a run: on every node, before a model is loaded, whether devices, disk, clock, network and the others are there.

`python -m slurm.preflight`, once in each task of a job step. Each task looks at its own machine and tells the first one through its store; then all add up
one number over the network the training will use. The first one prints the table, and each task leaves with 1 if anything is wrong: a job with a broken
node ends within about a minute, with that node's name, instead of hanging in its first collective.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Final

from governance_hooks.fields import CLOCK_SKEW_S

__all__ = ["COLUMNS", "Place", "Row", "main", "table"]

TIMEOUT_S: Final = 60
"""So long all tasks together have to meet and to add up, seconds."""
LEAVE: Final = 75
"""Status of a task that was told to save, as of the training: there was nothing to save yet."""
COLUMNS: Final = ("devices", "network", "disk", "clock", "all-reduce")
"""What is checked, in the order of the table."""
_NET: Final = Path("/sys/class/net")
_LEAVING_S: Final = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task is: its rank, its node, and how many of each there are."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    node: str

    @classmethod
    def from_environment(cls) -> Place:
        """Read what srun set; alone if it did not start this."""
        here = os.environ
        size, nodes = int(here.get("SLURM_STEP_NUM_TASKS", 1)), int(here.get("SLURM_STEP_NUM_NODES", 1))
        node = here.get("SLURMD_NODENAME") or platform.node()
        return cls(int(here.get("SLURM_PROCID", 0)), size, int(here.get("SLURM_LOCALID", 0)), max(1, size // nodes), node)


@dataclass(slots=True)
class Row:
    """What one task found: for each column a few words, and what of it is wrong."""

    rank: int
    node: str
    said: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    time: float = 0.0
    """Of this node's clock when the first task asked, seconds since 1970."""

    def check(self, column: str, look: Callable[[], str]) -> None:
        """Note what `look` returns, or why it raised ValueError or OSError."""
        try:
            self.said[column] = look()
        except (ValueError, OSError) as error:
            self.wrong[column] = str(error)


def _devices(place: Place) -> str:
    """Return which devices this task sees; ValueError if the node's tasks would share one, or torch sees none of them."""
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    asked = int(os.environ.get("SLURM_GPUS_ON_NODE") or 0)
    if asked < place.local_size and asked:
        raise ValueError(f"{place.local_size} tasks share {asked} devices")
    if asked and len(names) < asked:
        raise ValueError(f"CUDA_VISIBLE_DEVICES names {len(names)} of {asked} devices")
    import torch

    count = torch.cuda.device_count()
    if not count:
        if Path("/proc/driver/nvidia/version").exists() and asked:
            raise ValueError(f"torch sees none of {asked} devices: a driver is there, so this is a torch without CUDA, or a broken device")
        return f"{len(names)} named, none for torch: CPU" if names else "CPU"
    if count < place.local_size:
        raise ValueError(f"torch sees {count} devices for {place.local_size} tasks")
    torch.ones(1, device=f"cuda:{place.local_rank}").item()  # a device that is listed may still not answer
    return torch.cuda.get_device_name(place.local_rank)


def _network(interface: str | None) -> str:
    """Return the interface and its speed; ValueError if it is not there or down."""
    if interface is None:
        up = sorted(one.name for one in _NET.iterdir() if one.name != "lo" and (one / "operstate").read_text().strip() == "up")
        return ", ".join(up) or "lo only"
    state = _NET / interface / "operstate"
    if not state.exists():
        raise ValueError(f"no interface {interface}; there are {', '.join(sorted(one.name for one in _NET.iterdir()))}")
    if state.read_text().strip() == "down":
        raise ValueError(f"{interface} is down")
    with suppress(OSError, ValueError):
        speed = int((_NET / interface / "speed").read_text())
        if speed > 0:
            return f"{interface} {speed / 1000:g} Gbit/s"
    return interface


def _disk(folder: Path, free_gb: float) -> str:
    """Return the free space where the run writes; ValueError if it is too little, OSError if nothing can be written there."""
    there = next(one for one in (folder, *folder.parents) if one.is_dir())
    with tempfile.NamedTemporaryFile(dir=there, prefix=".tmp-preflight-") as file:
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
    free = shutil.disk_usage(there).free / 1e9
    if free < free_gb:
        raise ValueError(f"{free:.1f} GB free in {there}, {free_gb:g} wanted")
    return f"{free:.0f} GB free"


def _clock(ahead: float) -> str:
    """Return by how much a clock differs from the first task's, both read at one moment; ValueError if by too much: signatures and votes have times."""
    if abs(ahead) > CLOCK_SKEW_S:
        raise ValueError(f"{ahead:+.0f} s from the first task's, {CLOCK_SKEW_S} s allowed")
    return f"{ahead:+.1f} s"


def _all_reduce(place: Place, store: Any, seconds: float) -> str:
    """Add up one number of each task over the training's own network; ValueError if it does not come to the right sum in time."""
    import torch
    import torch.distributed as dist

    on_gpu = torch.cuda.is_available()
    # Without it NCCL's timeout ends the whole process from another thread, and no table would be printed.
    os.environ["TORCH_NCCL_BLOCKING_WAIT"] = "1"
    began = time.monotonic()
    try:
        if on_gpu:
            torch.cuda.set_device(place.local_rank)
        dist.init_process_group("nccl" if on_gpu else "gloo", store=store, rank=place.rank, world_size=place.size, timeout=timedelta(seconds=max(1.0, seconds)))
        one = torch.ones(1 << 18, device=f"cuda:{place.local_rank}" if on_gpu else "cpu")
        dist.all_reduce(one)
        total = int(one[-1].item())
    except RuntimeError as error:
        raise ValueError(f"{' '.join(str(error).split())[:160]}") from error
    if total != place.size:
        raise ValueError(f"came to {total} instead of {place.size}")
    return f"{'nccl' if on_gpu else 'gloo'}, {time.monotonic() - began:.1f} s"


def _hosts(place: Place) -> Callable[[int], str]:
    """Return what names the node of a rank that has not been heard of: SLURM fills one node after the other."""
    listed = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST") or place.node
    names = listed.split(",")
    if "[" in listed:
        with suppress(OSError, subprocess.SubprocessError):
            names = subprocess.run(["scontrol", "show", "hostnames", listed], capture_output=True, text=True, check=True, timeout=10).stdout.split()
    return lambda rank: names[rank // place.local_size] if rank // place.local_size < len(names) else f"the node of task {rank}"


def table(rows: Sequence[Row]) -> str:
    """Return one line a task, and below what is wrong, with the node's name."""
    cells = [["rank", "node", *COLUMNS]]
    for row in rows:
        cells.append([str(row.rank), row.node, *("FAIL" if name in row.wrong else row.said.get(name, "-") for name in COLUMNS)])
    widths = [max(len(line[index]) for line in cells) for index in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    faults = [f"preflight FAILED on {row.node} (rank {row.rank}): {name}: {why}" for row in rows for name, why in row.wrong.items()]
    return "\n".join([*lines, *faults] if faults else [*lines, f"preflight: {len(rows)} tasks on {len({row.node for row in rows})} nodes are ready"])


def _together(place: Place, mine: Row, seconds: float) -> list[Row]:
    """Meet the other tasks and add up with them; return all rows in the first task, this one's in another, none if the first is not to be reached.

    row/N: what task N found ──► go: all are here and well ──► sum/N: its clock then, and the sum ──► good: the verdict ──► left/N
    """
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # torch names no exports there

    end = time.monotonic() + seconds
    address, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", "29500"))

    def hear(key: str, more: float = 0.0) -> bytes | None:
        """Return what somebody says under a key, None if nobody does in time; by looking again and again, for a signal reaches Python between two looks."""
        try:
            while not store.check([key]):
                if time.monotonic() > end + more:
                    return None
                time.sleep(0.02)
            said: bytes = store.get(key)
            return said
        except RuntimeError:  # the first task is gone
            return None

    try:
        store = TCPStore(address, port, place.size, place.rank == 0, timeout=timedelta(seconds=seconds), wait_for_workers=False)
    except (RuntimeError, ValueError) as error:
        mine.wrong["network"] = f"the first task at {address}:{port} is not to be reached: {' '.join(str(error).split())[:120]}"
        return []
    rows, node_of = [mine], _hosts(place)
    store.set(f"row/{place.rank}", json.dumps(asdict(mine)))
    if place.rank == 0:
        for rank in range(1, place.size):
            told = hear(f"row/{rank}")
            rows.append(Row(**json.loads(told)) if told else Row(rank, node_of(rank), wrong={"network": f"nothing heard within {seconds:g} s"}))
        store.set("go", "0" if any(row.wrong for row in rows) else "1")
    go = hear("go", _LEAVING_S)  # all add up or none: one that waits for a task that is not there would only say so a minute later
    mine.time = time.time()
    if go == b"1":
        mine.check("all-reduce", lambda: _all_reduce(place, PrefixStore("sum", store), end - time.monotonic()))
    store.set(f"sum/{place.rank}", json.dumps(asdict(mine)))
    if place.rank > 0:
        if hear("good", 2 * _LEAVING_S) != b"1":
            mine.wrong.setdefault("all-reduce", "the first task does not say that all are ready")
        store.set(f"left/{place.rank}", "1")
        return rows
    mine.said["clock"] = "the reference"
    there = [row for row in rows[1:] if row.said]
    for row in there:
        told = hear(f"sum/{row.rank}", _LEAVING_S)
        if told is None:
            row.wrong["all-reduce"] = "nothing heard any more"
            continue
        found = Row(**json.loads(told))
        row.said, row.wrong, row.time = found.said, found.wrong, found.time
        row.check("clock", lambda row=row: _clock(row.time - mine.time))  # type: ignore[misc]  # mypy does not infer a lambda's default
    store.set("good", "0" if any(row.wrong for row in rows) else "1")
    for row in there:  # the store ends with this process
        hear(f"left/{row.rank}", 2 * _LEAVING_S)
    return rows


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(LEAVE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check this task's machine and the way to the others; 0 if all are ready, 1 if not, 75 if told to leave."""
    parser = argparse.ArgumentParser(prog="python -m slurm.preflight", description="Check nodes before a training; run it once in each task of a job.")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the run writes")
    parser.add_argument("--free-gb", type=float, default=1.0, help="so much free space is wanted there")
    parser.add_argument("--interface", help="the network interface the training talks over")
    parser.add_argument("--seconds", type=float, default=TIMEOUT_S, help="so long the tasks have to meet and to add up")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    asked = parser.parse_args(arguments)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # before torch is loaded: the table says it in one line, without frames of C++
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, _leave)
    place = Place.from_environment()
    mine = Row(place.rank, place.node)
    mine.check("devices", lambda: _devices(place))
    mine.check("network", lambda: _network(asked.interface))
    mine.check("disk", lambda: _disk(asked.folder.absolute(), asked.free_gb))
    rows = _together(place, mine, asked.seconds)
    bad = any(row.wrong for row in (*rows, mine))
    if place.rank == 0 and asked.json:
        print(json.dumps({"passed": not bad, "rows": [asdict(row) for row in rows or [mine]]}, sort_keys=True))
    elif place.rank == 0:
        print(table(rows or [mine]), flush=True)
    elif not rows:  # nobody else can say it
        print(table([mine]).splitlines()[-1], file=sys.stderr, flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
