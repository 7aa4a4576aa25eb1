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
from safetensors.torch import save
from torch import Tensor

from data_pipeline.tokens.packing import pack
from data_pipeline.tokens.pairs import Pairs
from data_pipeline.tokens.tokens import Tokens
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import digest, sha256
from governance_hooks.training import Training
from train.data import StepDataset, batch_units, validation_numbers
from train.loss import require_finite
from train.model import AdaptedModel
from train.objective import Dpo, likelihoods

__all__ = ["HeldoutPairs", "References", "pair_likelihoods", "references"]

Progress = Callable[[str, int, int], None]


@torch.no_grad()
def pair_likelihoods(
    model: AdaptedModel, pairs: Pairs, numbers: Iterable[int], training: Training, *, pad: int, device: torch.device, progress: Progress | None = None
) -> Tensor:
    """Return the log-likelihoods of the answers of some pairs with dropout off, float64 [all pairs, 2]; NaN for the others."""
    found_P2 = torch.full((len(pairs), 2), math.nan, dtype=torch.float64)
    wanted = sorted(numbers)
    sequences = pack(pairs.lengths.tolist(), training.sequence_tokens, wanted)
    was_training, done, chunk = model.training, 0, training.sequences_per_forward
    model.eval()
    for first in range(0, len(sequences), chunk):
        forwarded = batch_units([[(number, pairs[number]) for number in sequence] for sequence in sequences[first : first + chunk]], pad).to(device)
        values_P2 = likelihoods(model(forwarded.ids_BT, forwarded.positions_BT, forwarded.labels_BT), forwarded)
        assert forwarded.pairs is not None
        found_P2[forwarded.pairs.numbers] = values_P2.cpu()
        done += len(forwarded.pairs.numbers)
        if progress is not None:
            progress("reference", done, len(wanted))
    model.train(was_training)
    return found_P2


@dataclass(frozen=True, slots=True)
class HeldoutPairs:
    """Held-out pairs on which a run measures whether the preferred answers become likelier."""

    pairs: Pairs
    numbers: dict[str, list[int]]
    """Of each language, the pairs that are measured."""
    objective: Dpo
    """With the reference of these pairs."""

    def measure(self, model: AdaptedModel, training: Training, *, pad: int, device: torch.device) -> dict[str, dict[str, float]]:
        """Return {language: {"pairs", "loss", "reward_margin", "reward_accuracy"}}: their number, and means over them."""
        everything = [number for some in self.numbers.values() for number in some]
        ratios_P2 = pair_likelihoods(model, self.pairs, everything, training, pad=pad, device=device) - self.objective.reference_P2
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
    path: Path, model: AdaptedModel, tokens: Tokens, dataset: StepDataset, training: Training, *, plan: str, device: torch.device, progress: Progress | None
) -> References:
    """Return the objective of a preference run, with its reference read from `path`, or measured on `model` and written there.

    Args:
        path: the file in the run folder.
        model: as loaded, before a checkpoint is restored.
        tokens: with pairs.
        dataset: the steps of the whole run; only pairs it reads are measured.
        training: with the section dpo.
        plan: digest of the plan the file belongs to.
        device: of the model.
        progress: called as ("reference", done, total).

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
    bound = digest({"plan": plan, "tokens": tokens.digest, "device": device.type})
    found = _read(path, bound)
    if found is None:
        found = {
            name: pair_likelihoods(model, pairs, wanted, training, pad=dataset.pad, device=device, progress=progress) for name, (pairs, wanted) in sides.items()
        }
        for name, (_, wanted) in sides.items():
            require_finite(float(found[name][sorted(wanted)].sum()), "reference likelihood", 0)
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
