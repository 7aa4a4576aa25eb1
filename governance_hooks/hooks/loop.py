"""The guard in a training loop without a framework.

```python
with governed(guard) as run:
    for batch in loader:
        train_on(batch)  # one optimizer step
        if run.step():
            break
        if due(run.steps):
            save()
            run.checkpoint()
```
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from governance_hooks.errors import Refused
from governance_hooks.hooks.guard import Guard, Stop
from governance_hooks.hooks.watch import Peers, Watch, find_peers

__all__ = ["GovernedRun", "governed"]


class GovernedRun:
    """What a loop asks at each step; `steps` counts its optimizer steps."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.steps = 0

    @property
    def stopped(self) -> Stop | None:
        """Why training must end, or None."""
        return self._watch.stopped

    def step(self) -> Stop | None:
        """Return why training must stop here, or None; call it after every optimizer step, in every process.

        Raises:
            Refused: it was told to stop before, and went on.
        """
        if self.stopped is not None:
            raise Refused(f"this run was told to stop: {self.stopped.reason}", next="leave the loop when step() returns a reason")
        self.steps += 1
        return self._watch.step()

    def checkpoint(self) -> Stop | None:
        """Look at the log after a checkpoint, whatever the clock says; of several processes some may leave it out."""
        return self._watch.look()

    def end(self, error: BaseException | None) -> None:
        """Look once more, with all processes, and hand on how training ended (the first process does)."""
        if error is None:
            self._watch.finish()
            status, reason = ("completed", None) if self.stopped is None else ("halted", self.stopped.reason)
        else:  # the others are told by the broken connection: waiting for them here would hide the error from who started us
            status, reason = ("halted", "interrupted") if isinstance(error, KeyboardInterrupt) else ("failed", type(error).__name__)
        if self._watch.peers.rank == 0:
            guard = self._watch.guard
            guard.end({"status": status, "reason": reason, "steps": self.steps, "unreleasable": guard.unreleasable})


@contextmanager
def governed(guard: Guard, *, peers: Peers | None = None) -> Iterator[GovernedRun]:
    """Gate a block of training code, and watch it: raise in all processes unless the gate passes in each.

    Args:
        peers: the processes of the run; found by itself where torch.distributed is initialised.

    Raises:
        governance_hooks.report.Blocked: the gate does not pass; nothing of the block was run.
    """
    watch = Watch(guard, peers or find_peers())
    watch.start()
    run = GovernedRun(watch)
    try:
        yield run
    except BaseException as error:
        run.end(error)
        raise
    run.end(None)
