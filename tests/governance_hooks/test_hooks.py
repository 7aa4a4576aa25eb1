"""The hooks in the real training loops of Lightning and transformers."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerControl, TrainerState, TrainingArguments

from governance_hooks.errors import BadInput
from governance_hooks.gate import Request
from governance_hooks.hooks.guard import Guard
from governance_hooks.hooks.lightning import GovernanceCallback
from governance_hooks.hooks.transformers import GovernanceTrainerCallback
from governance_hooks.report import Blocked
from governance_hooks.statement import shift
from tests.village import Approved

STEPS = 8


class Rows(Dataset):  # type: ignore[type-arg]
    def __init__(self, on_row: dict[int, object]) -> None:
        self.on_row = on_row

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        act = self.on_row.pop(index, None)
        if act is not None:
            act()  # type: ignore[operator]
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


def guard(a: Approved, ended: list[dict[str, object]]) -> Guard:
    request = Request(
        plan=a.plan_bytes, proof=a.village.coop.proof().dumps(), base=a.base, build=a.build, now=a.village.clock, pin=a.village.coop.pin, run="run-1"
    )
    return Guard(request, fresh=lambda: a.village.coop.proof().dumps(), every_s=0, clock=lambda: a.village.clock, on_end=ended.append)


def fit_lightning(a: Approved, rows: Rows, folder: Path) -> tuple[int, GovernanceCallback]:
    hook = GovernanceCallback(guard(a, []))
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[hook],
    )
    trainer.fit(Tiny(), DataLoader(rows, batch_size=1))
    return trainer.global_step, hook


def fit_transformers(a: Approved, rows: Rows, folder: Path, ended: list[dict[str, object]]) -> tuple[int, GovernanceTrainerCallback]:
    config = LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1)
    hook = GovernanceTrainerCallback(guard(a, ended))
    args = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=1,
        num_train_epochs=1,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        dataloader_num_workers=0,
    )
    trainer = Trainer(model=LlamaForCausalLM(config), args=args, train_dataset=rows, callbacks=[hook])
    trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(rows)  # type: ignore[method-assign]
    trainer.train()
    return trainer.state.global_step, hook


def withdraw(a: Approved) -> object:
    return lambda: a.village.say("coop.withdrawal/v1", {"consent": None}, a.village.members[1])


def halt(a: Approved) -> object:
    return lambda: a.village.say("coop.halt/v1", {"proposal": a.proposal, "until": shift(a.village.clock, 600)}, a.village.members[4])


def test_lightning_never_takes_a_step_without_a_logged_start(approved: Approved, tmp_path: Path) -> None:
    seen: list[int] = []
    with pytest.raises(Blocked, match="holds no start"):
        fit_lightning(approved, Rows({0: lambda: seen.append(0)}), tmp_path)
    assert seen == []


def test_transformers_never_takes_a_step_without_a_logged_start(approved: Approved, tmp_path: Path) -> None:
    seen: list[int] = []
    with pytest.raises(Blocked, match="holds no start"):
        fit_transformers(approved, Rows({0: lambda: seen.append(0)}), tmp_path, [])
    assert seen == []


@pytest.mark.parametrize(("act", "kind"), [(withdraw, "withdrawn"), (halt, "halted")])
def test_lightning_stops_at_the_next_step_boundary(approved: Approved, tmp_path: Path, act, kind: str) -> None:
    approved.start()
    steps, hook = fit_lightning(approved, Rows({3: act(approved)}), tmp_path)
    assert hook.stopped is not None
    assert hook.stopped.kind == kind
    assert steps < STEPS


@pytest.mark.parametrize(("act", "kind"), [(withdraw, "withdrawn"), (halt, "halted")])
def test_transformers_stops_at_the_next_step_boundary_and_hands_on_the_end(approved: Approved, tmp_path: Path, act, kind: str) -> None:
    approved.start()
    ended: list[dict[str, object]] = []
    steps, hook = fit_transformers(approved, Rows({3: act(approved)}), tmp_path, ended)
    assert hook.stopped is not None
    assert hook.stopped.kind == kind
    assert steps < STEPS
    assert ended == [{"status": "halted", "reason": hook.stopped.reason, "steps": steps, "unreleasable": None}]


def test_lightning_is_refused_a_minimum_before_which_it_obeys_nobody(approved: Approved, tmp_path: Path) -> None:
    approved.start()
    for minimum in ({"min_steps": 5}, {"min_epochs": 1}):
        hook = GovernanceCallback(guard(approved, []))
        trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=[hook], **minimum)
        with pytest.raises(BadInput, match="obeys no stop before its minimum"):
            trainer.fit(Tiny(), DataLoader(Rows({}), batch_size=1))
        assert trainer.global_step == 0


def test_a_callback_that_saw_no_start_lets_nothing_pass(approved: Approved) -> None:
    with pytest.raises(BadInput, match="was not there when training started"):
        GovernanceCallback(guard(approved, [])).look(pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False))
    with pytest.raises(BadInput, match="was not there when training started"):
        GovernanceTrainerCallback(guard(approved, [])).on_step_end(TrainingArguments(), TrainerState(), TrainerControl())


def test_an_undisturbed_run_ends_in_both_loops(approved: Approved, tmp_path: Path) -> None:
    approved.start()
    ended: list[dict[str, object]] = []
    assert fit_lightning(approved, Rows({}), tmp_path / "a")[0] == STEPS
    assert fit_transformers(approved, Rows({}), tmp_path / "b", ended)[0] == STEPS
    assert ended[0]["status"] == "completed"


def test_finish_unreleased_goes_on_but_marks_the_run(approved: Approved, tmp_path: Path) -> None:
    from governance_hooks.canonical import dumps, sha256
    from governance_hooks.plan import Policies

    plan = approved.make_plan(name="stubborn", policies=Policies(on_withdrawal="finish-unreleased"))
    approved.plan_bytes = dumps(plan.model_dump())
    approved.proposal = approved.village.approve("run", sha256(approved.plan_bytes), uses=2)
    approved.start()
    steps, hook = fit_lightning(approved, Rows({3: withdraw(approved)}), tmp_path)
    assert (steps, hook.stopped) == (STEPS, None)
    assert "lack a consent" in (hook.guard.unreleasable or "")
