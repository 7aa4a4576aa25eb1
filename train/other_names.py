"""What other trainers call the settings of a config, for those who come from there: axolotl, TRL and transformers, LLaMA-Factory, torchtune."""

from __future__ import annotations

from typing import Final

__all__ = ["OTHER_NAMES", "here"]

_ALWAYS: Final = "no setting here: "

OTHER_NAMES: Final = {
    "adapter": "training.method",
    "attn_implementation": "training.attention",
    "base_model": "base",
    "base_model_name_or_path": "base",
    "batch_size": "training.sequences_per_step",
    "beta": "training.dpo.beta",
    "bf16": "training.precision: bf16-true",
    "cutoff_len": "training.sequence_tokens",
    "dataset": "build: the dataset, texts that members gave and consented to (coop build make)",
    "datasets": "build: the dataset, texts that members gave and consented to (coop build make)",
    "deepspeed": "training.strategy: zero2 or zero3",
    "dtype": "training.precision",
    "eval_steps": "training.validate_every_steps",
    "finetuning_type": "training.method",
    "flash_attention": "training.attention: flash",
    "fp16": "training.precision",
    "fsdp": "training.strategy: fsdp2",
    "fsdp_config": "training.strategy: fsdp2",
    "global_batch_size": "training.sequences_per_step",
    "gradient_accumulation_steps": "training.sequences_per_step: of a whole optimizer step, over all passes and processes",
    "learning_rate_scheduler": _ALWAYS + "a linear warm-up (training.warmup_fraction), then a cosine to zero",
    "load_in_4bit": "training.method: qlora",
    "lora_alpha": "training.lora.alpha",
    "lora_dropout": "training.lora.dropout",
    "lora_r": "training.lora.rank",
    "lora_rank": "training.lora.rank",
    "lora_target_linear": "training.lora.target_modules",
    "lora_target_modules": "training.lora.target_modules",
    "lr": "training.learning_rate",
    "lr_scheduler": _ALWAYS + "a linear warm-up (training.warmup_fraction), then a cosine to zero",
    "lr_scheduler_type": _ALWAYS + "a linear warm-up (training.warmup_fraction), then a cosine to zero",
    "max_length": "training.sequence_tokens",
    "max_seq_len": "training.sequence_tokens",
    "max_seq_length": "training.sequence_tokens",
    "micro_batch_size": "training.sequences_per_forward: packed sequences in one pass of a process",
    "model": "base",
    "model_name_or_path": "base",
    "num_epochs": "training.epochs",
    "num_train_epochs": "training.epochs",
    "optim": _ALWAYS + "AdamW over float32 masters",
    "optimizer": _ALWAYS + "AdamW over float32 masters",
    "output_dir": _ALWAYS + "a run lies in the cooperative's folder, runs/NAME",
    "packing": _ALWAYS + "samples are always packed, and proved not to see each other",
    "per_device_train_batch_size": "training.sequences_per_forward: packed sequences in one pass of a process",
    "r": "training.lora.rank",
    "report_to": _ALWAYS + "`coop train --wandb`",
    "resume_from_checkpoint": _ALWAYS + "`coop train` goes on from the last checkpoint by itself",
    "rl": "training.objective: dpo",
    "roles_to_train": _ALWAYS + "the last answer of a row is learned, with its end; the rest is read",
    "sample_packing": _ALWAYS + "samples are always packed, and proved not to see each other",
    "save_steps": "training.checkpoint_every_steps",
    "save_total_limit": "training.keep_checkpoints",
    "sequence_len": "training.sequence_tokens",
    "target_modules": "training.lora.target_modules",
    "torch_compile": "training.compile",
    "train_on_inputs": _ALWAYS + "the last answer of a row is learned, with its end; the rest is read",
    "use_liger_kernel": "training.kernels: liger",
    "val_set_size": _ALWAYS + "`coop build make --heldout` keeps rows aside",
    "wandb_project": _ALWAYS + "`coop train --wandb`",
    "warmup_ratio": "training.warmup_fraction",
    "warmup_steps": "training.warmup_fraction",
}
"""Their name -> ours, by its whole path, with a value or a word about it; or what is so whatever one sets."""


def here(name: str) -> str | None:
    """Return what another trainer's name is in our configs, or None if it is not one."""
    return OTHER_NAMES.get(name)
