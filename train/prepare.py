"""Loads what a run needs and proves what it relies on, before the first step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from data_pipeline.manifest import Build
from data_pipeline.tokens.make import make_tokens, recipe_of, tokens_folder
from data_pipeline.tokens.tokenizer import load_tokenizer
from data_pipeline.tokens.tokens import Tokens
from governance_hooks.errors import CoopError
from governance_hooks.plan import Plan
from train import checkpoint
from train.console import quiet_libraries
from train.data import StepDataset, check_tokens, schedule_of
from train.isolation import prove_gradients, prove_head, prove_isolation
from train.model import DTYPES, load_model, require_fit
from train.module import TrainingModule
from train.segment import Segment, check_base
from train.strategies.strategy import strategy_of

__all__ = ["Progress", "plan_tokens", "prepare"]

Progress = Callable[[str, int, int], None]


def plan_tokens(plan: Plan, base: Path, build: Build, device: torch.device, progress: Progress | None, seed: Path | None = None) -> Tokens:
    """Open the tokens the plan names; make them if they are missing, but never while a GPU waits."""
    length = plan.training.sequence_tokens
    gap = plan.training.minimum_rating_gap
    folder = tokens_folder(build, recipe_of(build, base, length, plan.canaries, gap))
    if device.type == "cuda" and not folder.is_dir():
        raise CoopError(f"there are no tokens at {folder}", allowed="tokens made before the GPU is taken", next=f"coop tokens make {plan.name}")
    tokens = make_tokens(
        build,
        base,
        sequence_tokens=length,
        max_too_long=plan.training.max_dropped_fraction,
        canaries=plan.canaries,
        seed=seed,
        minimum_rating_gap=gap,
        expected=plan.tokens.digest,
        progress=progress,
    )
    check_tokens(tokens, plan)
    return tokens


def prepare(segment: Segment, plan: Plan, *, base: Path, build: Build, seed: Path | None, progress: Progress | None) -> StepDataset:
    """Open the tokens, load the model and prove what the run relies on, each process for itself."""
    training, device = plan.training, segment.world.device
    # (1) data first: a mistake in it should cost seconds, not a model load
    with quiet_libraries():
        segment.tokens = plan_tokens(plan, base, build, device, progress, seed)
        tokenizer = load_tokenizer(base)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
    dataset = StepDataset(schedule_of(segment.tokens.units, plan), pad=pad, world=segment.world)

    # (2) the model, and the proofs on exactly this model, precision and attention backend
    spread = strategy_of(training, segment.world)
    model = load_model(base, training).to(device)
    check_base(plan, base)  # once more: files swapped between the check and the load are what was loaded
    require_fit(model, tokens=len(tokenizer), sequence_tokens=training.sequence_tokens)
    model.eval()
    # In sequences as long as the run's, within reason: two and a half samples each.
    length = max(8, min(training.sequence_tokens, 128) * 2 // 5)
    prove_isolation(model.hidden, len(tokenizer), dtype=DTYPES[training.precision], device=device, length=length)
    prove_gradients(model, len(tokenizer), device=device, length=length)
    prove_head(model, len(tokenizer), device=device)
    model.train()
    segment.module = TrainingModule(model, training, dataset.total_steps, world=segment.world, spread=spread).to(device)
    if segment.files is not None:
        checkpoint.preflight(segment.checkpoints, segment.module, training.keep_checkpoints)
    return dataset
