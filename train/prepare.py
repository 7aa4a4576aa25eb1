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
from governance_hooks.training import Training
from train import checkpoint
from train.console import quiet_libraries
from train.data import StepDataset, check_tokens, schedule_of
from train.isolation import prove_gradients, prove_head, prove_isolation
from train.model import DTYPES, AdaptedModel, require_fit
from train.module import TrainingModule
from train.segment import Segment, check_base
from train.strategies.strategy import Strategy, strategy_of
from train.world import World

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


def _load(spread: Strategy, plan: Plan, base: Path, tokens: int) -> AdaptedModel:
    model = spread.load(base)
    check_base(plan, base)  # once more: files swapped between the check and the load are what was loaded
    require_fit(model, tokens=tokens, sequence_tokens=plan.training.sequence_tokens)
    return model.eval()


def _prove(model: AdaptedModel, training: Training, world: World, tokens: int) -> None:
    """Prove on exactly this model, precision and attention backend that packed samples are isolated and the loss sees the model's own logits.

    Where weights are in shards all processes make every pass together, so no verdict is given before the passes of a proof are over.
    """
    # In sequences as long as the run's, within reason: two and a half samples each.
    length = max(8, min(training.sequence_tokens, 128) * 2 // 5)
    for shared in (0, length // 2) if training.prefix_sharing else (0,):
        with world.together("proving that packed samples do not see each other"):
            prove_isolation(model.states, tokens, dtype=DTYPES[training.precision], device=world.device, length=length, shared=shared)
        with world.together("proving that gradients stay within a sample"):
            prove_gradients(model, tokens, device=world.device, length=length, shared=shared)
    with world.together("proving that the loss sees the model's own logits"):
        prove_head(model, tokens, device=world.device)


def prepare(segment: Segment, plan: Plan, *, base: Path, build: Build, seed: Path | None, progress: Progress | None) -> StepDataset:
    """Open the tokens, load the model and prove what the run relies on; every process makes this call, and all of them go on or none does."""
    training, world = plan.training, segment.world
    # (1) data first: a mistake in it should cost seconds, not a model load
    with world.together("opening the tokens"):
        with quiet_libraries():
            segment.tokens = plan_tokens(plan, base, build, world.device, progress, seed)
            tokenizer = load_tokenizer(base)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
        dataset = StepDataset(schedule_of(segment.tokens.units, plan), pad=pad, world=world)
        spread = strategy_of(training, world)

    # (2) the model, and the proofs on it
    with world.together("loading the base weights"):
        model = _load(spread, plan, base, len(tokenizer))
    _prove(model, training, world, len(tokenizer))

    with world.together("preparing the first step"):
        segment.module = TrainingModule(model.train(), training, dataset.total_steps, world=world, spread=spread).to(world.device)
        if segment.files is not None:
            checkpoint.preflight(segment.checkpoints, segment.module, training.keep_checkpoints)
    return dataset
