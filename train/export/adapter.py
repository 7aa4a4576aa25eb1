"""Reads an adapter as hostile input: settings that change the arithmetic are known or refused, and every tensor fits a weight of the base."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from governance_hooks.errors import BadInput
from governance_hooks.inventory import FileEntry, inventory
from train.base_weights import PICKLES
from train.export.arithmetic import DTYPES, LowRank
from train.export.shards import Weight

__all__ = ["CONFIG", "WEIGHTS", "Adapter", "read_adapter"]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_LONGEST_CONFIG = 1_000_000
_HIGHEST_RANK = 4096
_TENSOR = re.compile(r"base_model\.model\.([A-Za-z0-9_]{1,64}(?:\.[A-Za-z0-9_]{1,64}){0,15})\.(lora_A\.weight|lora_B\.weight|lora_magnitude_vector)")
_MODULE = re.compile(r"[A-Za-z0-9_]{1,64}(\.[A-Za-z0-9_]{1,64}){0,15}")
_WITHOUT_EFFECT = {"megatron_core", "qalora_group_size", "inference_mode", "peft_version", "lora_dropout", "revision"}
"""Settings that have a value in every adapter and none on a finished, linear one."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA or DoRA adapter whose settings were understood and whose tensors fit the base."""

    folder: Path
    files: list[FileEntry]
    rank: int
    alpha: float
    dora: bool
    rslora: bool
    modules: tuple[str, ...]
    """Modules it changes, as the base names them, sorted."""

    @property
    def scale(self) -> float:
        """The factor of the low-rank product: alpha / rank; with rsLoRA alpha / sqrt(rank) (arXiv 2312.03732)."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def load(self, module: str) -> LowRank:
        """Return what the adapter does to one module."""
        prefix = f"base_model.model.{module}"
        with safe_open(self.folder / WEIGHTS, framework="pt") as file:

            def tensor(part: str) -> Tensor:
                found: Tensor = file.get_tensor(f"{prefix}.{part}").to(torch.float64)
                if not torch.isfinite(found).all():
                    raise BadInput(f"{module}.{part} of the adapter holds a number that is not finite", next="do not use this adapter")
                return found

            magnitude = tensor("lora_magnitude_vector") if self.dora else None
            return LowRank(tensor("lora_A.weight"), tensor("lora_B.weight"), self.scale, magnitude)


def _refuse(what: str, *, value: object, allowed: str) -> BadInput:
    return BadInput(f"{CONFIG}: {what}", value=value, allowed=allowed, next="do not merge this adapter, or make it anew with what is allowed")


def _is_one_of(found: object, allowed: Sequence[object]) -> bool:
    """Compare values and types: 1 is not true here."""
    return any(type(found) is type(option) and found == option for option in allowed)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if path.stat().st_size > _LONGEST_CONFIG:
        raise BadInput(f"{path} is too long", value=path.stat().st_size, allowed=f"{_LONGEST_CONFIG} bytes")
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path} is not a JSON object")
    return document


def _number(settings: dict[str, Any], key: str, highest: float) -> float:
    found = settings.pop(key, None)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found <= highest:
        raise _refuse(f"{key} is not a positive number", value=found, allowed=f"above 0, at most {highest:g}")
    return found


def _check_settings(settings: dict[str, Any], base_name: str, *, rslora: bool) -> tuple[int, float, bool, bool, list[str] | None]:
    """Return rank, alpha, whether it is DoRA, whether rsLoRA, and the target modules if they are listed."""
    rank, alpha = _number(settings, "r", _HIGHEST_RANK), _number(settings, "lora_alpha", 1e9)
    if not isinstance(rank, int):
        raise _refuse("r is not a whole number", value=rank, allowed="a whole number")
    for key, allowed in (
        ("peft_type", ("LORA",)),
        ("task_type", ("CAUSAL_LM",)),
        ("base_model_name_or_path", (base_name,)),
        ("bias", ("none", None)),
        # Other starts (pissa, olora, loftq, ...) change the base too, so the file is no whole answer.
        ("init_lora_weights", (True, False, None)),
        ("use_dora", (True, False, None)),
        ("use_rslora", (True, False, None) if rslora else (False, None)),
    ):
        if not _is_one_of(settings.get(key), allowed):
            hint = "; --rslora if you mean it" if key == "use_rslora" else ""
            raise _refuse(f"{key} is another than this merge knows", value=settings.get(key), allowed=" or ".join(map(str, allowed)) + hint)
    dora, scaled = settings.pop("use_dora", None) is True, settings.pop("use_rslora", None) is True
    targets = settings.pop("target_modules", None)
    if isinstance(targets, list):
        odd = [target for target in targets if not isinstance(target, str) or not _MODULE.fullmatch(target)]
        if odd or not 0 < len(targets) <= 10_000:
            raise _refuse("target_modules holds something that is no name of a module", value=odd[:1] or targets, allowed="names such as q_proj")
    elif targets not in (None, "all-linear"):
        raise _refuse("target_modules is a pattern", value=targets, allowed="a list of names, or all-linear")
    for key in ("peft_type", "task_type", "base_model_name_or_path", "bias", "init_lora_weights", *_WITHOUT_EFFECT):
        settings.pop(key, None)
    for key, found in settings.items():
        # PEFT has more settings with every version; one that is off is harmless, whatever it is called.
        if not _is_one_of(found, (None, False, [], {})):
            raise _refuse(f"{key[:80]} is on", value=found, allowed="off: this merge does not know what it does")
    return rank, alpha, dora, scaled, targets if isinstance(targets, list) else None


def _shapes(path: Path) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return {module: {part: shape}} of the adapter's tensors."""
    modules: dict[str, dict[str, tuple[int, ...]]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (no dictionary)
                match = _TENSOR.fullmatch(name)
                if match is None:
                    raise BadInput(f"{path} holds a tensor this merge does not know", value=name[:200], allowed="lora_A, lora_B, lora_magnitude_vector")
                entry = file.get_slice(name)
                if entry.get_dtype() not in DTYPES:
                    raise BadInput(f"{path}: {name[:200]} is of another type than weights are", value=entry.get_dtype(), allowed=", ".join(DTYPES))
                modules.setdefault(match[1], {})[match[2]] = tuple(entry.get_shape())
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is no safetensors file: {error}") from error
    return modules


def read_adapter(folder: Path, weights: dict[str, Weight], *, base_name: str, tied: bool, rslora: bool = False) -> Adapter:
    """Read an adapter that lies over `weights` (by name, as `train.export.shards.layout` gives them); its numbers are read later, one module at a time.

    Raises:
        BadInput: a link or a pickle, a setting whose effect is not known, another base, a tensor too many, too few or of another shape.
    """
    files = inventory(folder) if folder.is_dir() else []
    names = {entry["path"] for entry in files}
    pickles = sorted(name for name in names if name.endswith(PICKLES))
    if pickles:
        raise BadInput(f"{folder / pickles[0]} is a pickle, which runs code when it is loaded", allowed="weights in safetensors")
    if not {CONFIG, WEIGHTS} <= names:
        raise BadInput(f"{folder} is no adapter", allowed=f"a folder with {CONFIG} and {WEIGHTS}")
    rank, alpha, dora, scaled, targets = _check_settings(_settings(folder), base_name, rslora=rslora)
    found = _shapes(folder / WEIGHTS)
    wanted = {name.removesuffix(".weight") for name in weights if targets is not None and _targeted(name.removesuffix(".weight"), targets)}
    for module, parts in sorted(found.items()):
        weight = weights.get(f"{module}.weight")
        if weight is None or len(weight.shape) != 2 or (tied and module == "lm_head"):
            raise BadInput(f"the adapter changes {module}, which is no matrix of the base", next="give the base it was trained on with --base")
        if targets is not None and not _targeted(module, targets):
            raise BadInput(f"the adapter changes {module}, which its settings do not name", value=module, allowed=", ".join(targets[:20]))
        rows, columns = weight.shape
        shapes = {"lora_A.weight": (rank, columns), "lora_B.weight": (rows, rank)} | ({"lora_magnitude_vector": (rows,)} if dora else {})
        if parts != shapes:
            raise BadInput(f"the adapter's tensors for {module} do not fit the base", value=parts, allowed=str(shapes))
    missing = sorted(wanted - set(found))
    if missing or not found:
        raise BadInput("the adapter lacks tensors for modules its settings name", value=missing[:5], allowed="a whole adapter")
    return Adapter(folder, [entry for entry in files if entry["path"] in (CONFIG, WEIGHTS)], rank, alpha, dora, scaled, tuple(sorted(found)))


def _targeted(module: str, targets: list[str]) -> bool:
    """Tell whether a module is one of the targets, as PEFT matches them."""
    return any(module == target or module.endswith(f".{target}") for target in targets)
