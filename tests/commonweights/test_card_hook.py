"""Every loop that the hooks watch leaves a card when it ends, well or badly: Lightning, transformers, Accelerate, and no framework at all."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from commonweights.end_of_run import card_hook
from governance_hooks.gate import Request
from governance_hooks.hooks import accelerate as accelerate_hook
from governance_hooks.hooks.guard import Guard
from governance_hooks.hooks.lightning import GovernanceCallback
from governance_hooks.hooks.loop import governed
from governance_hooks.hooks.transformers import GovernanceTrainerCallback
from governance_hooks.statement import shift
from tests.village import Approved

STEPS = 4
RUN = "run-1"
Act = Callable[[int], None]


class Rows(Dataset):  # type: ignore[type-arg]
    def __init__(self, act: Act) -> None:
        self.act = act

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        self.act(index + 1)
        ids = torch.arange(6) + index % 3
        return {"input_ids": ids, "labels": ids}


class Tiny(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Linear(6, 1)

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        return self.weight(batch["input_ids"].float()).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def lightning(guard: Guard, act: Act, folder: Path) -> None:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder, callbacks=[GovernanceCallback(guard, hands_on=True)], **quiet)  # type: ignore[arg-type]
    trainer.fit(Tiny(), DataLoader(Rows(act), batch_size=1))


def transformers(guard: Guard, act: Act, folder: Path) -> None:
    config = LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1)
    args = TrainingArguments(
        output_dir=str(folder / "out"), per_device_train_batch_size=1, num_train_epochs=1, use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no"
    )
    Trainer(model=LlamaForCausalLM(config), args=args, train_dataset=Rows(act), callbacks=[GovernanceTrainerCallback(guard)]).train()


def accelerate(guard: Guard, act: Act, folder: Path) -> None:
    accelerator = Accelerator(cpu=True)
    with accelerate_hook.governed(guard, accelerator) as run:
        for number in range(1, STEPS + 1):
            act(number)
            if run.step():
                break


def plain(guard: Guard, act: Act, folder: Path) -> None:
    with governed(guard) as run:
        for number in range(1, STEPS + 1):
            act(number)
            if run.step():
                break


LOOPS = [lightning, transformers, accelerate, plain]


def card_after(a: Approved, loop: Callable[[Guard, Act, Path], None], act: Act, tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "runs" / RUN
    folder.mkdir(parents=True)
    (folder / "plan.json").write_bytes(a.plan_bytes)
    a.start(RUN)
    coop = a.village.coop
    request = Request(plan=a.plan_bytes, proof=coop.proof().dumps(), base=a.base, build=a.build, now=a.village.clock, pin=coop.pin, run=RUN)
    hook = card_hook(lambda: coop.register, RUN, folder, a.build)
    guard = Guard(request, fresh=lambda: coop.proof().dumps(), every_s=0, clock=lambda: a.village.clock, on_end=hook)
    with contextlib.suppress(ArithmeticError):
        loop(guard, act, tmp_path)
    assert (folder / "card/card/governance.md").is_file()
    assert "the run was not evaluated" in (folder / "card/README.md").read_text(encoding="utf-8")
    card: dict[str, Any] = json.loads((folder / "card/card.json").read_bytes())
    assert card["votes"]["run"]["for"]["value"] == 5
    assert card["energy"]["kwh"].keys() == {"not_collected"}
    return card


@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_that_ends_well_leaves_its_card(approved: Approved, loop: Any, tmp_path: Path) -> None:
    card = card_after(approved, loop, lambda step: None, tmp_path)
    assert (card["run"]["status"]["value"], card["run"]["steps"]["value"]) == ("completed", STEPS)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_that_members_halt_leaves_a_card_that_says_so(approved: Approved, loop: Any, tmp_path: Path) -> None:
    village = approved.village
    until = shift(village.clock, 600)

    def halt(step: int) -> None:
        if step == 2:
            village.say("coop.halt/v1", {"proposal": approved.proposal, "until": until}, village.members[4])

    card = card_after(approved, loop, halt, tmp_path)
    assert card["run"]["status"]["value"] == "halted"
    assert "halted this approval" in card["run"]["reason"]["value"]


@pytest.mark.parametrize("loop", [lightning, accelerate, plain])
def test_a_run_that_breaks_leaves_a_card_that_says_so(approved: Approved, loop: Any, tmp_path: Path) -> None:
    def fail(step: int) -> None:
        if step == 3:
            raise ArithmeticError("loss is not a number")

    card = card_after(approved, loop, fail, tmp_path)
    assert (card["run"]["status"]["value"], card["run"]["reason"]["value"]) == ("failed", "ArithmeticError")


def test_a_record_of_the_loops_own_is_not_replaced(approved: Approved, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / RUN
    folder.mkdir(parents=True)
    (folder / "plan.json").write_bytes(approved.plan_bytes)
    (folder / "run.json").write_bytes(b'{"format":"coop.run/v9"}')
    approved.start(RUN)
    with pytest.raises(Exception, match="format"):
        card_hook(lambda: approved.village.coop.register, RUN, folder, approved.build)(
            {"status": "completed", "reason": None, "steps": 1, "unreleasable": None}
        )
    assert (folder / "run.json").read_bytes() == b'{"format":"coop.run/v9"}'
    assert not (folder / "card").exists()
