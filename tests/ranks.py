"""One process of a small training run with real loops, for tests of what several of them do together.

    python -m tests.ranks ADAPTER SCENARIO...    with RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, and RANKS_PLAN: a JSON file

Each process prints one JSON line a scenario: the optimizer steps it made, and why it stopped or did not start.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from governance_hooks.errors import CoopError
from governance_hooks.gate import Request
from governance_hooks.hooks.guard import Guard, Stop

RANK, PLAN = int(os.environ["RANK"]), json.loads(Path(os.environ["RANKS_PLAN"]).read_text())
STEPS, EVENT_AT, TIMEOUT_S = 12, 4, 240


class Made:
    """What a scenario did in this process."""

    def __init__(self) -> None:
        self.steps = 0
        self.ended: list[dict[str, Any]] = []


def guard_of(scenario: str, made: Made) -> Guard:
    """Return this process's guard: the event of the scenario comes into the sight of process 1 only."""
    start, halted = Path(PLAN["proof"]), Path(PLAN["halted"])

    def fresh() -> bytes:
        if RANK == 1 and made.steps >= EVENT_AT:
            if scenario == "unreadable":
                return Path(PLAN["proof"] + ".gone").read_bytes()
            if scenario in ("halted", "late"):
                return halted.read_bytes()
            if scenario == "withdrawn":
                return Path(PLAN["withdrawn"]).read_bytes()
        return start.read_bytes()

    run = "nobody-started-it" if scenario == "refused" and RANK == 1 else "run-1"
    request = Request(
        plan=Path(PLAN["plan"]).read_bytes(),
        proof=start.read_bytes(),
        base=Path(PLAN["base"]),
        build=Path(PLAN["build"]),
        now=PLAN["now"],
        pin=PLAN["pin"],
        run=run,
    )
    # Every process has a clock of its own: one looks at each step, the others never by themselves.
    every_s = 0.0 if RANK == 1 and scenario != "late" else 1e9
    return Guard(request, fresh=fresh, every_s=every_s, clock=lambda: PLAN["now"], on_end=made.ended.append)


class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return STEPS * dist.get_world_size()

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.arange(6) + index % 3
        return {"input_ids": ids, "labels": ids}


def plain(scenario: str, guard: Guard, made: Made, folder: Path) -> Stop | None:
    from governance_hooks.hooks.loop import governed

    lengths = (STEPS, STEPS + 5) if scenario == "uneven" else (STEPS, STEPS)
    with governed(guard) as run:
        for _ in range(lengths[RANK % 2]):
            made.steps += 1
            if scenario == "dies" and RANK == 1 and made.steps == EVENT_AT:
                os._exit(0)
            if run.step():
                break
            if RANK == 0 and run.steps % 3 == 0:
                run.checkpoint()  # as most loops do it, in the first process only
    return run.stopped


def accelerate(scenario: str, guard: Guard, made: Made, folder: Path) -> Stop | None:
    from accelerate import Accelerator

    from governance_hooks.hooks.accelerate import governed

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = torch.nn.Linear(6, 1)
    model, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.utils.data.DataLoader(Rows()))
    with governed(guard, accelerator, timeout_s=TIMEOUT_S) as run:
        for _ in range(2):
            for batch in loader:
                with accelerator.accumulate(model):
                    accelerator.backward(model(batch["input_ids"].float()).mean())
                    optimizer.step()
                    optimizer.zero_grad()
                made.steps = run.steps + int(accelerator.sync_gradients)
                if run.step():
                    break
                if scenario == "late" and accelerator.sync_gradients and run.steps == EVENT_AT + 2:
                    accelerator.save_state(str(folder))
            if run.stopped:
                break
    return run.stopped


def lightning(scenario: str, guard: Guard, made: Made, folder: Path) -> Stop | None:
    import pytorch_lightning as pl

    from governance_hooks.hooks.lightning import GovernanceCallback

    class Tiny(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Linear(6, 1)

        def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
            made.steps += 1
            loss: torch.Tensor = self.weight(batch["input_ids"].float()).mean()
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    hook = GovernanceCallback(guard, timeout_s=TIMEOUT_S)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        strategy="ddp",
        devices=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[hook],
    )
    trainer.fit(Tiny(), torch.utils.data.DataLoader(Rows(), batch_size=1))
    return hook.stopped


def transformers(scenario: str, guard: Guard, made: Made, folder: Path) -> Stop | None:
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    from governance_hooks.hooks.transformers import GovernanceTrainerCallback

    class Count(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            made.steps += 1

    config = LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1)
    hook = GovernanceTrainerCallback(guard, timeout_s=TIMEOUT_S)
    args = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=1,
        num_train_epochs=1,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
    )
    Trainer(model=LlamaForCausalLM(config), args=args, train_dataset=Rows(), callbacks=[Count(), hook]).train()
    return hook.stopped


ADAPTERS: dict[str, Callable[[str, Guard, Made, Path], Stop | None]] = {
    "accelerate": accelerate,
    "lightning": lightning,
    "plain": plain,
    "transformers": transformers,
}


def main() -> None:
    adapter, *scenarios = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=TIMEOUT_S))
    for scenario in scenarios:
        made, stop, error = Made(), None, None
        folder = Path(PLAN["folder"]) / f"{adapter}-{scenario}"
        try:
            guard = guard_of(scenario, made)
            stop = ADAPTERS[adapter](scenario, guard, made, folder)
        except CoopError as refused:
            error = f"{type(refused).__name__}: {refused.what}"
        said = {"kind": stop.kind, "reason": stop.reason} if stop else None
        print(
            json.dumps(
                {"scenario": scenario, "rank": RANK, "steps": made.steps, "stop": said, "error": error, "ended": made.ended, "unreleasable": guard.unreleasable}
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
