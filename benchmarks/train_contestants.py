"""The contestants of train.py, each run in a process of its own: our path, Lightning plain, transformers' Trainer and TRL.

All read the same rows once, about as many tokens in an optimizer step, with the same LoRA. The
rate is so small that the weights hardly move: whatever the order of the rows, the sum of the losses has to be the same for everybody.
"""

from __future__ import annotations

import contextlib
import importlib.util
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from train_rows import example

__all__ = ["CONTESTANTS", "Meter", "contest", "ours", "training_of"]

RATE = 1e-7
TRL = "trl==1.16.0"


@dataclass
class Meter:
    """What a contestant's steps cost; warm-up steps are left out of the rates."""

    warmup: int
    tokens: int = 0
    supervised: int = 0
    computed: int = 0
    """Of the tokens those that our path computes: not a row's last one, nor what another row of the same sequence begins with too."""
    nll: float = 0.0
    steps: list[tuple[float, float, int]] = field(default_factory=list)
    """After each optimizer step: wall and CPU clock, tokens so far."""
    loaded_mib: int = 0

    def begin(self) -> None:
        """Start the clocks, and the kernel's memory of the highest resident size (proc(5), clear_refs)."""
        self.loaded_mib = _status("VmRSS")
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self.step()

    def forward(self, tokens: int, supervised: int, nll: float) -> None:
        """Count one forward pass: real tokens, learned tokens, summed loss in nats."""
        self.tokens += tokens
        self.supervised += supervised
        self.nll += nll

    def step(self) -> None:
        """Note the end of an optimizer step."""
        self.steps.append((time.perf_counter(), time.process_time(), self.tokens))

    def result(self) -> dict[str, Any]:
        """Return rates over the steps after warm-up, peak memory, and what shows that nobody trained on less."""
        first, last = self.steps[min(self.warmup, len(self.steps) - 2)], self.steps[-1]
        tokens, peak = last[2] - first[2], _status("VmHWM")
        return {
            "tokens_per_s": round(tokens / (last[0] - first[0]), 2),
            "tokens_per_cpu_s": round(tokens / (last[1] - first[1]), 2),
            "peak_mib": peak,
            "peak_above_model_mib": peak - self.loaded_mib,
            "steps": len(self.steps) - 1,
            "tokens": self.tokens,
            "supervised": self.supervised,
            **({"computed": self.computed} if self.computed else {}),
            "loss": round(self.nll / self.supervised, 5),
        }


def _status(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(f"{name}:"))


def training_of(given: Namespace, *, prefix_sharing: bool = False) -> Any:
    from governance_hooks.training import Lora, Training

    return Training(
        precision=given.precision,
        attention=given.attention,
        strategy=given.strategy,
        compile=given.compile,
        prefix_sharing=prefix_sharing,
        lora=Lora(rank=16, alpha=32, dropout=0.0),
        sequence_tokens=given.sequence_tokens,
        sequences_per_step=given.sequences_per_step,
        sequences_per_forward=given.sequences_per_forward,
        learning_rate=RATE,
        warmup_fraction=0.0,
        validate_every_steps=10**9,
        checkpoint_every_steps=10**9,
    )


def ours(given: Namespace, tokens: Any, meter: Meter, folder: Path, *, governed: bool, apart: bool = False, around: Any = None) -> dict[str, Any]:
    """Train as `coop train` does: packed steps, our module, and the callbacks that work at every step; no validation and no checkpoint falls into the time.

    A prefix that all rows have is computed once a sequence, as `coop plan` chooses, unless `apart`.
    """
    import pytorch_lightning as pl
    from train_governed import Timed, guarded

    from data_pipeline.tokens.mixture import mixture
    from data_pipeline.tokens.schedule import Schedule
    from governance_hooks.plan import Mix
    from train.callbacks.interruption import Interruption
    from train.callbacks.metrics import Metrics
    from train.callbacks.trace import Trace
    from train.clock import WallClock
    from train.data import StepData, StepDataset
    from train.data_wait import DataWait
    from train.module import TrainingModule
    from train.step_log import StepLog
    from train.strategies.strategy import strategy_of
    from train.world import World

    shares = not apart and given.attention != "flash" and tokens.train.prefix > 0
    training, world = training_of(given, prefix_sharing=shares), World.from_environment()
    world.connect()
    dataset = StepDataset(Schedule(tokens.train, mixture(tokens.train_counts, Mix(), epochs=1), training), pad=_pad(given.base), world=world)
    spread = strategy_of(training, world)
    module = TrainingModule(spread.load(given.base), training, dataset.total_steps, world=world, spread=spread).to(world.device)
    clock, wait = WallClock(), DataWait()

    class Measure(pl.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            meter.begin()
            if around is not None:
                around.start()

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            last = pl_module.last
            meter.forward(last.tokens, last.supervised, last.loss * last.supervised)
            meter.computed += last.computed
            meter.step()
            if around is not None:
                around.step()

    metrics, *others = (StepLog(folder / f"{name}-{world.rank}.jsonl") for name in ("metrics", "trace", "checkpoints"))
    callbacks: list[Any] = [Interruption(clock, 10**6, world), Metrics(metrics, clock, wait), Trace(*others)]
    with guarded(folder / f"village-{world.rank}") if governed else contextlib.nullcontext() as guard:
        timed = Timed(guard) if governed else None
        trainer = pl.Trainer(
            max_epochs=1,
            callbacks=[*([timed] if timed else []), *callbacks, Measure()],
            logger=False,
            profiler=wait,
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **spread.trainer(),
        )
        trainer.fit(module, datamodule=StepData(dataset))
    if around is not None:
        around.stop()
    return meter.result() | (timed.result(meter) if timed else {})


def _pad(base: Path) -> int:
    from data_pipeline.tokens.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(base)
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0


def _adapted(given: Namespace, *, bf16_weights: bool) -> Any:
    """Load the base and add the adapter as the libraries' documentation does; in bfloat16 the adapter is too, or each product would cast."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    dtype = torch.bfloat16 if bf16_weights else torch.float32
    model = AutoModelForCausalLM.from_pretrained(given.base, dtype=dtype, attn_implementation="sdpa", local_files_only=True)
    for tensor in model.parameters():  # off the mapped file, as ours: else its pages do not count as memory
        tensor.data = tensor.data.clone()
    config = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config, autocast_adapter_dtype=not bf16_weights).train()


def lightning(given: Namespace, tokens: Any, meter: Meter, folder: Path, *, bf16_weights: bool, autocast: bool) -> dict[str, Any]:
    """A straightforward LightningModule: padded batches, the model's own loss, automatic optimization."""
    import pytorch_lightning as pl
    import torch
    from torch.utils.data import DataLoader
    from transformers import DataCollatorForSeq2Seq

    from data_pipeline.tokens.tokenizer import load_tokenizer

    class Plain(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = _adapted(given, bf16_weights=bf16_weights)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self.model(**batch).loss
            supervised = int((batch["labels"][:, 1:] != -100).sum())
            meter.forward(int(batch["attention_mask"].sum()), supervised, float(loss.detach()) * supervised)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=RATE, weight_decay=0.0)

        def on_train_start(self) -> None:
            meter.begin()

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if (batch_idx + 1) % given.accumulate == 0 or batch_idx + 1 == self.trainer.num_training_batches:
                meter.step()

    collate = DataCollatorForSeq2Seq(load_tokenizer(given.base))
    loader = DataLoader([example(sample) for sample in tokens.train], batch_size=given.batch, shuffle=True, collate_fn=collate)
    trainer = pl.Trainer(
        max_epochs=1, accumulate_grad_batches=given.accumulate, gradient_clip_val=1.0, precision="bf16-mixed" if autocast else None, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(Plain(), loader)
    return meter.result()


def _measured(trainer_class: Any, meter: Meter) -> Any:
    """Return a trainer class that tells the meter what each forward pass and step held."""
    from transformers import TrainerCallback

    class Steps(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            meter.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            meter.step()

    class Measured(trainer_class):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options, callbacks=[Steps()])

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            real = int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else inputs["input_ids"].numel()
            supervised = int((inputs["labels"][..., 1:] != -100).sum())
            loss = super().compute_loss(model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch)
            value = loss[0] if return_outputs else loss
            meter.forward(real, supervised, float(value.detach()) * float(supervised if num_items_in_batch is None else num_items_in_batch))
            return loss

    return Measured


def _options(given: Namespace, folder: Path, *, autocast: bool) -> dict[str, Any]:
    import torch

    return {
        "output_dir": str(folder / "out"), "per_device_train_batch_size": given.batch, "gradient_accumulation_steps": given.accumulate,
        "num_train_epochs": 1, "learning_rate": RATE, "bf16": autocast, "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_num_workers": 0, "gradient_checkpointing": False, "seed": 0,
    }  # fmt: skip


def hf(given: Namespace, tokens: Any, meter: Meter, folder: Path, *, bf16_weights: bool, autocast: bool, sampling: str = "random") -> dict[str, Any]:
    """transformers' Trainer with its collator for labelled rows, which pads to the longest row of a batch."""
    from datasets import Dataset
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    from data_pipeline.tokens.tokenizer import load_tokenizer

    rows = Dataset.from_list([example(sample) | {"length": len(sample.ids)} for sample in tokens.train])
    arguments = TrainingArguments(**_options(given, folder, autocast=autocast), train_sampling_strategy=sampling)
    model, collate = _adapted(given, bf16_weights=bf16_weights), DataCollatorForSeq2Seq(load_tokenizer(given.base))
    _measured(Trainer, meter)(model=model, args=arguments, train_dataset=rows, data_collator=collate).train()
    return meter.result()


def trl(given: Namespace, tokens: Any, meter: Meter, folder: Path, *, bf16_weights: bool, autocast: bool, **setting: Any) -> dict[str, Any]:
    """TRL's SFTTrainer on the same tokens and labels; packed rows are as long as ours, as many in a step."""
    if importlib.util.find_spec("trl") is None:
        return {"not_installed": f"pip install {TRL}; or, beside a pinned environment, pip install --no-deps --target DIR {TRL}, and PYTHONPATH=DIR"}
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from data_pipeline.tokens.tokenizer import load_tokenizer

    options = _options(given, folder, autocast=autocast) | {"max_length": given.sequence_tokens}
    if setting.get("packing"):
        options |= {"per_device_train_batch_size": given.sequences_per_forward}
        options |= {"gradient_accumulation_steps": max(1, given.sequences_per_step // given.sequences_per_forward)}
    rows = Dataset.from_list([example(sample) for sample in tokens.train])
    arguments = SFTConfig(**(options | setting))
    model, tokenizer = _adapted(given, bf16_weights=bf16_weights), load_tokenizer(given.base)
    _measured(SFTTrainer, meter)(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer).train()
    return meter.result()


Contestant = Callable[[Namespace, Any, Meter, Path], dict[str, Any]]


def _all() -> Iterator[tuple[str, Contestant]]:
    from functools import partial

    yield "ours", partial(ours, governed=True)
    yield "ours_ungoverned", partial(ours, governed=False)
    yield "ours_apart", partial(ours, governed=True, apart=True)
    for name, peer in (
        ("hf", hf),
        ("hf_grouped", partial(hf, sampling="group_by_length")),
        ("trl", trl),
        ("trl_packing", partial(trl, packing=True)),
        ("trl_padding_free", partial(trl, padding_free=True, max_length=None)),
        ("lightning", lightning),
    ):
        yield name, partial(peer, bf16_weights=False, autocast=False)
        yield f"{name}+bf16_autocast", partial(peer, bf16_weights=False, autocast=True)
        yield f"{name}+bf16_true", partial(peer, bf16_weights=True, autocast=False)


CONTESTANTS: dict[str, Contestant] = dict(_all())
"""By name; a peer in bfloat16 comes twice: by autocast over float32 weights (its own `bf16=True`), and with weights in bfloat16."""


def contest(precision: str) -> list[str]:
    """Return the contestants of one precision, ours first."""
    peers = [name for name in CONTESTANTS if not name.startswith("ours")]
    return ["ours", "ours_ungoverned", "ours_apart", *(name for name in peers if ("+" in name) == (precision == "bf16-true"))]
