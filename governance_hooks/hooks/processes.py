"""The processes of a torch.distributed run, over a group of their own on the CPU: agreeing never waits for an accelerator's queue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist

from governance_hooks.errors import CoopError

__all__ = ["Processes"]


class Processes:
    """All processes of the default group; every one of them makes this at the same point.

    Args:
        timeout_s: how long one waits for the slowest of them, seconds.
    """

    def __init__(self, timeout_s: int) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        try:
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_s))
        except RuntimeError as error:
            raise self._unreachable(error) from error

    def most(self, values: Sequence[int]) -> list[int]:
        """Return the highest of each value over all processes; raise CoopError if one is gone or does not come in time."""
        tensor = torch.tensor(list(values), dtype=torch.int64)
        try:
            dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self._group)
        except RuntimeError as error:
            raise self._unreachable(error) from error
        return [int(value) for value in tensor]

    def close(self) -> None:
        """Give the group back."""
        dist.destroy_process_group(self._group)

    def _unreachable(self, error: RuntimeError) -> CoopError:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        return CoopError(f"the {self.size} processes of this run do not reach each other: {first}", next="start all of them again")
