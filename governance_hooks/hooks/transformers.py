"""The guard as a Hugging Face `TrainerCallback`."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from governance_hooks.errors import BadInput
from governance_hooks.hooks.guard import Guard, Stop
from governance_hooks.hooks.watch import PEER_TIMEOUT_S, Watch, find_peers

__all__ = ["GovernanceTrainerCallback"]


class GovernanceTrainerCallback(TrainerCallback):
    """Blocks `Trainer.train` unless the gate passes; stops it at a step boundary, in all processes at the same one, when the guard says so.

    `stopped` says why training ended early; the Trainer saves a checkpoint before it stops. Raises
    governance_hooks.report.Blocked from `on_train_begin`.
    """

    def __init__(self, guard: Guard, *, timeout_s: int = PEER_TIMEOUT_S) -> None:
        self.guard, self.timeout_s = guard, timeout_s
        self.stopped: Stop | None = None
        self._watch: Watch | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Run the whole gate before the first step."""
        self._watch = Watch(self.guard, find_peers(args.world_size, timeout_s=self.timeout_s))
        self._watch.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        """Look at the log, and agree, at an optimizer-step boundary."""
        return self._obey(control, self._started().step())

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        """Look at the log at every checkpoint, whatever the clock says."""
        return self._obey(control, self._started().look())

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Look once more, whatever the clock says; the first process hands on how training ended."""
        self._obey(control, self._started().finish())
        status = "completed" if self.stopped is None else "halted"
        if state.is_world_process_zero:
            self.guard.end(
                {"status": status, "reason": self.stopped.reason if self.stopped else None, "steps": state.global_step, "unreleasable": self.guard.unreleasable}
            )

    def _started(self) -> Watch:
        if self._watch is None:
            raise BadInput("the governance callback was not there when training started", next="give it to Trainer(callbacks=[...])")
        return self._watch

    def _obey(self, control: TrainerControl, stop: Stop | None) -> TrainerControl:
        if self.stopped is None and stop is not None:
            self.stopped = stop
            control.should_training_stop = control.should_save = True
        return control
