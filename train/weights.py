"""What a run leaves: the adapter, or a whole model folder; the same bytes for the same weights on any machine.

lora, dora, qlora ──► adapter_model.safetensors · adapter_config.json
full ──► model.safetensors · config.json · tokenizer, chat template and generation config of the base
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from governance_hooks.canonical import dumps
from governance_hooks.plan import Plan
from train.model import AdaptedModel

__all__ = ["save_weights"]

COPIED = (
    "LICENSE",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""Files of the base that training does not change; a folder of full weights holds those the base has, byte for byte."""
METADATA = {"format": "pt"}
"""safetensors writes several metadata keys in random order; one is stable."""


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}, path, metadata=METADATA)


def _save_adapter(model: AdaptedModel, trained: Mapping[str, Tensor], folder: Path, base_name: str) -> None:
    assert model.peft is not None
    _save_tensors(get_peft_model_state_dict(model.peft, state_dict=dict(trained), save_embedding_layers=False), folder / "adapter_model.safetensors")
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in model.peft.peft_config["default"].to_dict().items()}
    config.update({"base_model_name_or_path": base_name, "inference_mode": True, "revision": None})
    # Through json once: enumerations become their strings.
    (folder / "adapter_config.json").write_bytes(dumps(json.loads(json.dumps(config, default=str))))


def _save_model(model: AdaptedModel, trained: Mapping[str, Tensor], folder: Path, base: Path) -> None:
    # Tied weights are one parameter, so they stand in `trained` once; buffers of a decoder follow from its config.
    _save_tensors(trained, folder / "model.safetensors")
    config = json.loads((base / "config.json").read_bytes())
    for key in ("_name_or_path", "torch_dtype"):  # a path of whoever made the base; the old name of `dtype`
        config.pop(key, None)
    config["dtype"] = str(next(iter(trained.values())).dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for name in COPIED:
        if (base / name).is_file():
            (folder / name).write_bytes((base / name).read_bytes())


@torch.no_grad()
def save_weights(model: AdaptedModel, folder: Path, *, base: Path, plan: Plan, trained: Mapping[str, Tensor] | None = None) -> None:
    """Write what the plan's method trained into `folder`.

    Args:
        model: the trained model.
        folder: an empty folder.
        base: folder of the base weights, whose tokenizer goes with full weights.
        plan: names the method and the base.
        trained: whole tensors by the names of `model.trainable()`, where the model itself holds shards of them only.
    """
    tensors = model.trainable() if trained is None else trained
    if plan.training.method == "full":
        _save_model(model, tensors, folder, base)
    else:
        _save_adapter(model, tensors, folder, plan.base.name)
