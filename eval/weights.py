"""The two sets of weights an evaluation compares: the base, and what the run made of it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as hub_logging

from eval.placement import fits, load_in_places, room_on
from governance_hooks.errors import BadInput

__all__ = ["Weights", "load_weights", "longest"]


@dataclass(frozen=True, slots=True)
class Weights:
    """Trained weights, and the base beside them; with an adapter both are one model."""

    tuned: Any
    base: Any = None
    """A model of its own after training of all weights; None if the base is `tuned` with its adapter switched off."""

    @contextmanager
    def before(self) -> Iterator[Any]:
        """Yield the model that answers as the base does; with an adapter only within the block."""
        if self.base is not None:
            yield self.base
        else:
            # PEFT marks an adapter's weights as trainable when it switches it on again; those read from a file for one pass can be marked in this mode only.
            with torch.inference_mode(), self.tuned.disable_adapter():
                yield self.tuned


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' own bars and their warnings to developers off the user's terminal."""
    shown = hub_logging.is_progress_bar_enabled()
    hub_logging.disable_progress_bar()
    logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)  # it warns of weights left in files, which is what was asked for
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            hub_logging.enable_progress_bar()


def _whole(folder: Path, device: str) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False)
    return model.to(device).eval()


def load_weights(base: Path, trained: Path, output: Literal["adapter", "model"], *, device: str = "cpu", memory: int | None = None) -> tuple[Weights, Any]:
    """Load base weights in float32 and what was trained, an adapter over them or a model of its own; return (Weights, tokenizer).

    Only safetensors files are read and no code of the folders runs: a pickle or a remote module could execute anything. What does not fit
    onto the device, or into `memory` bytes of main memory, is placed elsewhere (`eval.placement`).
    """
    file = "adapter_model.safetensors" if output == "adapter" else "model.safetensors"
    if not (trained / file).is_file():
        raise BadInput(f"{trained} holds no {file}", allowed="weights in safetensors form; pickled weights are never loaded")
    with _quiet():
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
        room = room_on(device, memory)
        if output == "model":
            room = room.shared_by(2)  # both are in memory at once
        if not (fits(base, room) and (output == "adapter" or fits(trained, room))):
            if output == "model":
                return Weights(load_in_places(trained, None, room), load_in_places(base, None, room)), tokenizer
            return Weights(load_in_places(base, trained, room)), tokenizer
        before = _whole(base, device)
        if output == "model":
            return Weights(_whole(trained, device), before), tokenizer
        return Weights(PeftModel.from_pretrained(before, trained, is_trainable=False, local_files_only=True).to(device).eval()), tokenizer


def longest(model: Any) -> int:
    """Return the most tokens a model can read at once."""
    return int(getattr(model.config, "max_position_embeddings", 0) or 2048)
