"""The guard in a training loop of Hugging Face Accelerate.

```python
with governed(guard, accelerator) as run:
    for batch in loader:
        with accelerator.accumulate(model):
            accelerator.backward(model(**batch).loss)
            optimizer.step()
            optimizer.zero_grad()
        if run.step():  # counts, and agrees, when an optimizer step was made
            break
```
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accelerate import Accelerator

from governance_hooks.hooks.guard import Guard, Stop
from governance_hooks.hooks.loop import GovernedRun
from governance_hooks.hooks.loop import governed as governed_loop
from governance_hooks.hooks.watch import PEER_TIMEOUT_S, find_peers

__all__ = ["AcceleratedRun", "governed"]


class AcceleratedRun:
    """A GovernedRun that knows gradient accumulation."""

    def __init__(self, run: GovernedRun, accelerator: Accelerator) -> None:
        self._run, self._accelerator = run, accelerator

    @property
    def stopped(self) -> Stop | None:
        """Why training must end, or None."""
        return self._run.stopped

    @property
    def steps(self) -> int:
        """Optimizer steps so far."""
        return self._run.steps

    def step(self) -> Stop | None:
        """Return why training must stop here, or None; call it once a batch, in every process: between optimizer steps it does nothing."""
        return self._run.step() if self._accelerator.sync_gradients else None


@contextmanager
def governed(guard: Guard, accelerator: Accelerator, *, timeout_s: int = PEER_TIMEOUT_S) -> Iterator[AcceleratedRun]:
    """Gate and watch a block of training code; every `accelerator.save_state` looks at the log by itself.

    Raises:
        governance_hooks.report.Blocked: the gate does not pass; nothing of the block was run.
    """
    with governed_loop(guard, peers=find_peers(accelerator.num_processes, timeout_s=timeout_s)) as run:

        def look(models: list[Any], weights: list[Any], folder: str) -> None:
            run.checkpoint()

        hook = accelerator.register_save_state_pre_hook(look)
        try:
            yield AcceleratedRun(run, accelerator)
        finally:
            hook.remove()
