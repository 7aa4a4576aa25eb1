"""How likely the answers of all pairs are to the model a preference run starts from: measured once, kept in the run folder.

    pairs the run reads, held-out pairs it measures ──► start of the model ──► reference.safetensors ──► train.objective.Dpo

It is measured before any checkpoint is restored, on the model as it was loaded: so it does not depend on the method, no second model stays
in memory, and a resumed run reads the numbers of its first start. A file that is missing, torn, or of another plan is made again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from data_pipeline.tokens.packing import pack
from data_pipeline.tokens.pairs import Pairs
from data_pipeline.tokens.schedule import packing_of
from data_pipeline.tokens.tokens import Tokens
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import digest, sha256
from governance_hooks.training import Training
from train.data import StepDataset, validation_numbers
from train.layout import batch_units
from train.loss import require_finite
from train.model import AdaptedModel
from train.objective import Dpo, likelihoods
from train.world import World

__all__ = ["HeldoutPairs", "References", "pair_likelihoods", "references"]

Progress = Callable[[str, int, int], None]


@torch.no_grad()
def pair_likelihoods(
    model: AdaptedModel, pairs: Pairs, numbers: Iterable[int], training: Training, *, pad: int, world: World, progress: Progress | None = None
) -> Tensor:
    """Return the log-likelihoods of the answers of some pairs with dropout off, float64 [all pairs, 2]; NaN for the others.

    Every process reads a share of them, and all get all: each of them has to make this call.
    """
    wanted, chunk = sorted(numbers), training.sequences_per_forward
    lengths, room = packing_of(pairs, training)
    sequences = [[(number, pairs[number]) for number in sequence] for sequence in pack(lengths.tolist(), room, wanted)]
    passes = [sequences[first : first + chunk] for first in range(0, len(sequences), chunk)]
    passes += [[[]]] * (-len(passes) % world.size)
    measured_P2 = torch.zeros((len(pairs), 2), dtype=torch.float64)
    was_training = model.training
    model.eval()
    for done, some in enumerate(passes[world.rank :: world.size], start=1):
        forwarded = batch_units(some, pad, prefix_sharing=training.prefix_sharing).to(world.device)
        values_P2 = likelihoods(model(forwarded.ids_BT, forwarded.positions_BT, forwarded.targets_BT), forwarded)
        measured_P2[forwarded.pairs.numbers if forwarded.pairs is not None else []] = values_P2.cpu()
        if progress is not None:
            progress("reference", done, len(passes) // world.size)
    model.train(was_training)
    found_P2 = torch.full_like(measured_P2, math.nan)
    found_P2[wanted] = torch.tensor(world.sum(measured_P2[wanted].flatten().tolist()), dtype=torch.float64).view(-1, 2)
    return found_P2


@dataclass(frozen=True, slots=True)
class HeldoutPairs:
    """Held-out pairs on which a run measures whether the preferred answers become likelier."""

    pairs: Pairs
    numbers: dict[str, list[int]]
    """Of each language, the pairs that are measured."""
    objective: Dpo
    """With the reference of these pairs."""

    def measure(self, model: AdaptedModel, training: Training, *, pad: int, world: World) -> dict[str, dict[str, float]]:
        """Return {language: {"pairs", "loss", "reward_margin", "reward_accuracy"}}: their number, and means over them."""
        everything = [number for some in self.numbers.values() for number in some]
        ratios_P2 = pair_likelihoods(model, self.pairs, everything, training, pad=pad, world=world) - self.objective.reference_P2
        margins_P = self.objective.beta * (ratios_P2[:, 0] - ratios_P2[:, 1])
        return {
            language: {
                "pairs": len(some),
                "loss": float(-torch.nn.functional.logsigmoid(margins_P[some]).mean()),
                Dpo.REWARD_MARGIN: float(margins_P[some].mean()),
                Dpo.REWARD_ACCURACY: float((margins_P[some] > 0).double().mean()),
            }
            for language, some in self.numbers.items()
        }


@dataclass(frozen=True, slots=True)
class References:
    """What a preference run needs of the model it started from."""

    objective: Dpo
    heldout: HeldoutPairs


def references(
    path: Path | None, model: AdaptedModel, tokens: Tokens, dataset: StepDataset, training: Training, *, plan: str, world: World, progress: Progress | None
) -> References:
    """Return the objective of a preference run, with its reference read from `path`, or measured on `model` and written there.

    Args:
        path: the file in the run folder; None in all processes but the first.
        model: as loaded, before a checkpoint is restored or the weights are sharded.
        tokens: with pairs.
        dataset: the steps of the whole run; only pairs it reads are measured.
        training: with the section dpo.
        plan: digest of the plan the file belongs to.
        world: the processes; all of them make this call.
        progress: called as ("reference", forward passes done, in all).

    Raises:
        CoopError: a likelihood is not finite, or the disk refuses.
    """
    assert tokens.train_pairs is not None
    assert tokens.heldout_pairs is not None
    assert training.dpo is not None
    numbers = validation_numbers(tokens.heldout_pairs, training)
    sides = {
        "train": (tokens.train_pairs, {number for step in dataset.schedule.after(0) for sequence in step.sequences for number in sequence}),
        "heldout": (tokens.heldout_pairs, {number for some in numbers.values() for number in some}),
    }
    bound = digest({"plan": plan, "tokens": tokens.digest, "device": world.device.type})
    kept = _read(path, bound) if path is not None else None
    told = world.tell(save(kept) if kept is not None else b"")
    if told:
        found = load(told)
    else:
        found = {
            name: pair_likelihoods(model, pairs, wanted, training, pad=dataset.pad, world=world, progress=progress) for name, (pairs, wanted) in sides.items()
        }
        for name, (_, wanted) in sides.items():
            require_finite(float(found[name][sorted(wanted)].sum()), "reference likelihood", 0)
        with world.together("keeping the reference"):
            if path is not None:
                write_bytes(path, save(found, metadata={"reference": f"{bound} {_content(found)}"}))
    beta = training.dpo.beta
    return References(Dpo(beta, found["train"]), HeldoutPairs(tokens.heldout_pairs, numbers, Dpo(beta, found["heldout"])))


def _content(tensors: dict[str, Tensor]) -> str:
    return sha256(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors)))


def _read(path: Path, bound: str) -> dict[str, Tensor] | None:
    """Return the tensors of a file that is whole and of this plan, tokens and kind of device, else None."""
    try:
        with safe_open(path, framework="pt") as file:
            named = (file.metadata() or {}).get("reference")
            tensors = {name: file.get_tensor(name).clone() for name in ("train", "heldout")}  # a copy: what is checked is what is used
    except (OSError, SafetensorError):
        return None
    return tensors if named == f"{bound} {_content(tensors)}" else None
