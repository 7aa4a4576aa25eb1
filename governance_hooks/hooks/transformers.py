"""The guard as a Hugging Face `TrainerCallback`."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from governance_hooks.hooks.guard import Guard, Stop

__all__ = ["GovernanceTrainerCallback"]


class GovernanceTrainerCallback(TrainerCallback):
    """Blocks `Trainer.train` unless the gate passes; stops it at a step boundary when the guard says so.

    `stopped` says why training ended early; the Trainer saves a checkpoint before it stops. Raises
    governance_hooks.report.Blocked from `on_train_begin`.
    """

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.stopped: Stop | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Run the whole gate before the first step."""
        self.guard.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        """Look at the log at an optimizer-step boundary."""
        return self._obey(control, self.guard.stop())

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        """Look at the log at every checkpoint, whatever the clock says."""
        return self._obey(control, self.guard.stop(force=True))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Look once more, whatever the clock says, and hand on how training ended."""
        self._obey(control, self.guard.stop(force=True))
        status = "completed" if self.stopped is None else "halted"
        self.guard.end(
            {"status": status, "reason": self.stopped.reason if self.stopped else None, "steps": state.global_step, "unreleasable": self.guard.unreleasable}
        )

    def _obey(self, control: TrainerControl, stop: Stop | None) -> TrainerControl:
        if self.stopped is None and stop is not None:
            self.stopped = stop
            control.should_training_stop = control.should_save = True
        return control
