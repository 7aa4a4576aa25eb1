"""A real guard for train.py, over a small real log with signatures, votes and consents; and what its calls cost a step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from governance_hooks.cooperative import Cooperative
from governance_hooks.gate import Request
from governance_hooks.hooks.guard import Guard
from governance_hooks.hooks.lightning import GovernanceCallback
from tests.village import Approved, Village, found

__all__ = ["Timed", "guarded"]


@contextmanager
def guarded(root: Path) -> Iterator[Guard]:
    """Found a cooperative of five, approve and start a run, and yield its guard with the pause it has by default."""
    keys, operator = found(root)
    with Cooperative.open(root) as coop:
        approved = Approved(Village(root, coop, keys, operator))
        village = approved.village
        approved.start()

        def fresh() -> bytes:
            return coop.proof().dumps()

        request = Request(plan=approved.plan_bytes, proof=fresh(), base=approved.base, build=approved.build, now=village.clock, pin=coop.pin, run="run-1")
        yield Guard(request, fresh=fresh, clock=lambda: village.clock)


class Timed(GovernanceCallback):
    """The callback of every run, with a clock around each of its calls during the steps."""

    def __init__(self, guard: Guard) -> None:
        super().__init__(guard)
        self.seconds: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Do what it does, and note how long that took."""
        began = time.perf_counter()
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self.seconds.append(time.perf_counter() - began)

    def result(self, meter: Any) -> dict[str, Any]:
        """Return the hooks' share of the time of all steps, the cost of a look at the log, and of a step without one."""
        steps = meter.steps[-1][0] - meter.steps[0][0]
        looks = [second for second in self.seconds if second > 1e-3]
        rest = [second for second in self.seconds if second <= 1e-3]
        forced: list[float] = []
        for _ in range(5):
            began = time.perf_counter()
            assert self.guard.stop(force=True) is None
            forced.append(time.perf_counter() - began)
        one = sorted(forced)[2]
        return {
            "stopped": None if self.stopped is None else self.stopped.reason,
            "hooks_share_of_step_time": round(sum(self.seconds) / steps, 6),
            "hooks_looks": len(looks),
            "hooks_look_ms": round(one * 1e3, 2),
            "hooks_step_without_look_us": round(sorted(rest)[len(rest) // 2] * 1e6, 1) if rest else None,
            "hooks_share_at_one_look_every_s": round(one / self.guard.every_s, 6),
            "log_proof_bytes": len(self.guard.fresh()),
        }
