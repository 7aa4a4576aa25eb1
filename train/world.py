"""The processes of one run: who they are, and the few words they exchange over the CPU."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist

from governance_hooks.errors import BadInput, CoopError

__all__ = ["TIMEOUT_S", "World"]

TIMEOUT_S: Final = 1800
"""So long a process waits for the slowest of the others (hashing a large base, a validation), seconds."""


@dataclass(frozen=True, slots=True)
class World:
    """This process's place among those of the run, as torchrun names it; by default it is alone."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def from_environment(cls) -> World:
        """Read what torchrun, srun or `train.launch` left in the environment; make srun's variables torchrun's.

        Raises BadInput for numbers that do not fit together.
        """
        if "SLURM_STEP_NUM_TASKS" in os.environ and "WORLD_SIZE" not in os.environ and int(os.environ["SLURM_STEP_NUM_TASKS"]) > 1:
            _adopt_srun()
        size = int(os.environ.get("WORLD_SIZE") or 1)
        if size == 1:
            return cls()
        try:
            found = cls(int(os.environ["RANK"]), size, int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
        except (KeyError, ValueError) as error:
            raise BadInput(
                f"$WORLD_SIZE speaks of {size} processes, but not which one this is", value=str(error), allowed="$RANK, $LOCAL_RANK, $LOCAL_WORLD_SIZE",
                next="start with torchrun, srun, or coop train --devices",
            ) from error  # fmt: skip
        if size % found.local_size:
            raise BadInput("nodes with unlike numbers of processes", value=f"{size} in all, {found.local_size} here", allowed="the same number on each node")
        return found

    @property
    def nodes(self) -> int:
        """Machines of the run."""
        return self.size // self.local_size

    @property
    def device(self) -> torch.device:
        """The device of this process: a GPU of its own where there are any, else the CPU."""
        return torch.device("cuda", self.local_rank) if torch.cuda.is_available() else torch.device("cpu")

    def connect(self, *, timeout_s: int = TIMEOUT_S) -> None:
        """Meet the other processes; raise CoopError if they do not all come."""
        if self.size == 1 or dist.is_initialized():
            return
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo", timeout=timedelta(seconds=timeout_s))
        except (RuntimeError, ValueError) as error:
            raise self._unreachable(error) from error

    def close(self) -> None:
        """Part from the others."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each value over all processes, in float64."""
        return [float(value) for value in self._reduce(torch.tensor(list(values), dtype=torch.float64), dist.ReduceOp.SUM)]

    def most(self, values: Sequence[int]) -> list[int]:
        """Return the highest of each value over all processes."""
        return [int(value) for value in self._reduce(torch.tensor(list(values), dtype=torch.int64), dist.ReduceOp.MAX)]

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.most([0])

    def tell(self, message: bytes | None = None) -> bytes:
        """Return in every process what the first one says; the others' argument is not looked at."""
        if self.size == 1:
            return message or b""
        said = message or b"" if self.rank == 0 else b""
        length = torch.tensor([len(said)], dtype=torch.int64)
        try:
            dist.broadcast(length, src=0)
            data = torch.frombuffer(bytearray(said), dtype=torch.uint8) if said else torch.empty(int(length), dtype=torch.uint8)
            if int(length):
                dist.broadcast(data, src=0)
        except RuntimeError as error:
            raise self._unreachable(error) from error
        return data.numpy().tobytes()

    @contextmanager
    def together(self, doing: str) -> Iterator[None]:
        """Leave the block in all processes or in none: raise CoopError here if it failed in another.

        No process may wait for others inside it, unless all do before anything there can fail in one of them alone.
        """
        failed = True
        try:
            yield
            failed = False
        finally:
            elsewhere = self.most([int(failed)])[0] if self.size > 1 else 0
        if elsewhere:
            raise CoopError(f"another process of this run failed while {doing}", next="read the error of that process")

    def _reduce(self, tensor: torch.Tensor, op: dist.ReduceOp.RedOpType) -> torch.Tensor:
        if self.size > 1:
            try:
                dist.all_reduce(tensor, op=op)
            except RuntimeError as error:
                raise self._unreachable(error) from error
        return tensor

    def _unreachable(self, error: BaseException) -> CoopError:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        return CoopError(
            f"the {self.size} processes of this run do not reach each other: {first}", next="start all of them again; the last checkpoint is intact"
        )


def _adopt_srun() -> None:
    """Set torchrun's variables from those of an srun step."""
    here = os.environ
    nodes = int(here.get("SLURM_STEP_NUM_NODES") or here.get("SLURM_NNODES") or 1)
    here["WORLD_SIZE"], here["RANK"] = here["SLURM_STEP_NUM_TASKS"], here["SLURM_PROCID"]
    here["LOCAL_RANK"], here["LOCAL_WORLD_SIZE"] = here["SLURM_LOCALID"], str(int(here["WORLD_SIZE"]) // nodes)
    if "MASTER_ADDR" not in here:
        listed = here.get("SLURM_STEP_NODELIST") or here.get("SLURM_JOB_NODELIST") or "127.0.0.1"
        if "[" in listed or "," in listed:
            listed = subprocess.run(["scontrol", "show", "hostnames", listed], capture_output=True, text=True, check=True).stdout.split()[0]
        here["MASTER_ADDR"] = listed
    # The same in all tasks of a step, and another for the next step and job of this node.
    here.setdefault("MASTER_PORT", str(20000 + (int(here.get("SLURM_JOB_ID") or 0) * 7 + int(here.get("SLURM_STEP_ID") or 0)) % 20000))
