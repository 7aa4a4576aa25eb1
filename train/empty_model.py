"""A model without its weights, and the base read into it: each process its own rows, none of them all.

config.json ──► empty_model ──► adapter drawn, blocks sharded ──► fill: each process reads its rows from the safetensors files
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import init_empty_weights
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from governance_hooks.errors import BadInput
from governance_hooks.training import Training
from train.attention import implementation
from train.base_tensors import BaseTensors
from train.blocks import require_kernels
from train.console import quiet_libraries
from train.model import DTYPES, AdaptedModel, adapt

__all__ = ["adapted_empty_model", "allocate", "empty_model", "fill", "replace_parameters"]


def replace_parameters(module: nn.Module, make: Callable[[nn.Parameter], Tensor]) -> None:
    """Put what `make` returns in the place of each parameter of a module; tied ones stay tied, and what comes back as it was stays."""
    made: dict[int, nn.Parameter] = {}
    old = []  # kept, or an id could come twice
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is None:
                continue
            if id(parameter) not in made:
                fresh = make(parameter)
                made[id(parameter)] = parameter if fresh is parameter else nn.Parameter(fresh, requires_grad=parameter.requires_grad)
                old.append(parameter)
            part._parameters[name] = made[id(parameter)]


def _stand_in(parameter: nn.Parameter) -> Tensor:
    """Return zeros of a parameter's shape that take the memory of one number."""
    return torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)


def empty_model(base: Path, *, dtype: torch.dtype, attention: str) -> PreTrainedModel:
    """Return the model of a base's config.json with buffers, and with stand-ins for weights.

    Not on the meta device, where it is built: PEFT would put a fresh adapter there too, and lose what it drew.
    """
    config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    if getattr(config, "quantization_config", None) is not None:
        raise BadInput("the base is quantized already", value=str(base), allowed="weights in float32, float16 or bfloat16")
    with init_empty_weights(include_buffers=False):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    model.tie_weights()
    replace_parameters(model, _stand_in)
    return model


def adapted_empty_model(base: Path, training: Training) -> AdaptedModel:
    """Return what `train.model.load_model` returns, and refuse what it refuses, with stand-ins for the base's weights."""
    attention = implementation(training)
    require_kernels(training)
    torch.manual_seed(training.seed)
    with quiet_libraries():
        return adapt(empty_model(base, dtype=DTYPES[training.precision], attention=attention), training)


def allocate(module: nn.Module, device: torch.device) -> None:
    """Give the stand-ins of a module memory on a device, not yet written to."""

    def memory(parameter: nn.Parameter) -> Tensor:
        stands_in = parameter.untyped_storage().nbytes() < parameter.numel() * parameter.element_size()
        return torch.empty(parameter.shape, dtype=parameter.dtype, device=device) if stands_in else parameter

    replace_parameters(module, memory)


def _local(parameter: Tensor) -> tuple[Tensor, int]:
    """Return the part of a parameter this process holds, and which row of the whole its first one is (as torch.chunk cuts them)."""
    if not isinstance(parameter, DTensor):
        return parameter, 0
    each = -(-parameter.shape[0] // parameter.device_mesh.size())
    return parameter.to_local(), min(each * parameter.device_mesh.get_local_rank(), parameter.shape[0])


@torch.no_grad()
def fill(model: AdaptedModel, base: Path, *, wanted: Callable[[nn.Parameter], bool] = lambda _: True) -> None:
    """Read into the wanted weights of a model, whole or in shards, what this process holds of them, and DoRA's magnitudes, which follow from them.

    Raises BadInput if a weight is not in the folder under transformers' own name, or has another shape.
    """
    tensors = BaseTensors(base)
    causal = model.causal
    names: dict[int, list[str]] = {}
    for name, parameter in causal.named_parameters(remove_duplicate=False):
        if ".lora_" not in name:
            names.setdefault(id(parameter), []).append(name.replace(".base_layer.", "."))
    sources, missing = {}, []
    for known in names.values():  # a tied weight has two names, and stands in the folder under one or both
        found = next((name for name in known if name in tensors.files), None)
        if found is None:
            missing.append(known[0])
        else:
            sources[known[0]] = found
    if missing:
        raise BadInput(
            f"{len(missing)} weights of the model are not in {base} under the names transformers gives them", value=sorted(missing)[:5],
            next="load and save the base with transformers, and plan again; or set training.strategy: ddp",
        )  # fmt: skip
    for name, parameter in causal.named_parameters():
        if ".lora_" in name or not wanted(parameter):
            continue
        source = sources[name.replace(".base_layer.", ".")]
        if tensors.shape(source) != tuple(parameter.shape):
            raise BadInput(f"{source} of the base has another shape than its config says", value=tensors.shape(source), allowed=str(tuple(parameter.shape)))
        tensors.copy_rows(source, *_local(parameter.detach()))
    for name, layer in causal.named_modules():
        if isinstance(layer, LoraLayer) and len(layer.lora_magnitude_vector):
            _fill_magnitude(layer, tensors, f"{name}.weight")


def _fill_magnitude(layer: LoraLayer, tensors: BaseTensors, source: str) -> None:
    """Set DoRA's magnitude to the norm of each row of the weight (its change is zero at the start), as PEFT does; the weight is here whole for a moment."""
    for magnitude in layer.lora_magnitude_vector.values():
        into, begin = _local(magnitude.weight.detach())
        weight = torch.empty(tensors.shape(source), dtype=into.dtype)
        tensors.copy_rows(source, weight)
        into.copy_(magnitude.get_weight_norm(weight, torch.zeros((), dtype=into.dtype), 1.0)[begin : begin + len(into)])
