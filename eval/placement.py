"""Where the weights of an evaluation lie: whole on one device if they fit, else block by block on devices, in main memory and in the base's own files.

    config.json ──► model without weights ──► what fits where (accelerate) ──► weights read to their places; the rest read again at each use

A block whose weights stay in the files is read, in float32, when it computes, and forgotten after. Numbers do not depend on the place: the
same weights go through the same operations on the same kind of device.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import dispatch_model, infer_auto_device_map, init_empty_weights
from accelerate.utils import get_max_memory, set_module_tensor_to_device
from peft import PeftModel
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM

from governance_hooks.errors import BadInput

__all__ = ["Room", "fits", "load_in_places", "room_on"]

WHOLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
SHARE: Final = 0.8
"""So much of what is free may be weights; the rest is for activations and logits."""
Place = str | int


@dataclass(frozen=True, slots=True)
class Room:
    """How many bytes of weights each place may take; `main` is where inputs go and blocks compute."""

    bytes: Mapping[Place, int]
    main: Place

    def shared_by(self, models: int) -> Room:
        """Return the room of each of several models that lie in memory at once."""
        return Room({place: size // models for place, size in self.bytes.items()}, self.main)


def room_on(device: str, memory: int | None) -> Room:
    """Return the room for weights on a device and behind it: the other GPUs if it is one, then main memory, at most `memory` bytes of it."""
    free: dict[Place, int] = {place: int(size * SHARE) for place, size in get_max_memory().items() if place == "cpu" or device.startswith("cuda")}
    main: Place = "cpu"
    if device.startswith("cuda"):
        main = torch.device(device).index or 0
        if ":" in device:  # one was named, so only that one
            free = {place: size for place, size in free.items() if place in (main, "cpu")}
    if memory is not None:
        free["cpu"] = min(memory, free["cpu"])
    return Room(free, main)


def _files(folder: Path) -> dict[str, Path]:
    """Return the safetensors file of each tensor of a model folder."""
    try:
        if (folder / WHOLE).is_file():
            with safe_open(folder / WHOLE, framework="pt") as file:
                return dict.fromkeys(file.keys(), folder / WHOLE)
        named = json.loads((folder / INDEX).read_bytes())["weight_map"]
        if not all(isinstance(file, str) and file == Path(file).name and file.endswith(".safetensors") for file in named.values()):
            raise BadInput(f"{folder / INDEX} names what is no safetensors file of this folder", allowed='{"weight_map": {tensor: file}}')
        return {name: folder / file for name, file in named.items()}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{folder} holds no readable weights: {error}", allowed=f"{WHOLE}, or {INDEX} and the files it names") from error


def _tensor(path: Path, name: str) -> torch.Tensor:
    with safe_open(path, framework="pt") as file:
        found: torch.Tensor = file.get_tensor(name)
    return found.to(torch.float32, copy=True)


def fits(folder: Path, room: Room) -> bool:
    """Tell whether all weights of a folder, in float32, have room in the main place."""
    needed = 0
    for path in set(_files(folder).values()):
        with safe_open(path, framework="pt") as file:
            needed += sum(4 * prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118  # safe_open is no mapping
    return needed <= room.bytes[room.main]


def load_in_places(folder: Path, adapter: Path | None, room: Room) -> Any:
    """Load a model in float32, with an adapter over it if there is one, so that each place holds no more than its room; blocks without one stay in the files.

    Raises BadInput if the embedding does not fit into the main place, or a weight is not in the folder under transformers' name.
    """
    files = _files(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with init_empty_weights(include_buffers=False):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    _stand_ins(model)
    model.tie_weights()
    blocks = list(model._no_split_modules or [])
    embedding = model.get_input_embeddings()
    of_base = {id(parameter) for parameter in model.parameters()}
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter, is_trainable=False, local_files_only=True)
    model.eval()
    places = infer_auto_device_map(model, max_memory=dict(room.bytes), no_split_module_classes=blocks, dtype=torch.float32)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    where = _place(places, names[id(embedding.weight)])
    if where != room.main:
        raise BadInput(
            "there is too little room for the embedding of the model", value=f"{room.bytes[room.main]:,} bytes on {room.main}",
            allowed=f"more than {4 * embedding.weight.numel():,} bytes", next="give more with --memory",
        )  # fmt: skip
    kept, read_later = {}, {}
    aliases: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(parameter), []).append(_in_folder(name))
    # A list first: setting a tensor replaces it in the module.
    for name, parameter in list(model.named_parameters(remove_duplicate=False)):
        where = _place(places, name)
        if id(parameter) not in of_base:
            if where == "disk":
                kept[name] = parameter.data
            continue
        source = next((known for known in aliases[id(parameter)] if known in files), None)
        if source is None:
            raise BadInput(f"{_in_folder(name)} is not in {folder}", allowed="every weight of the model under the name transformers gives it")
        if where == "disk":
            read_later[name] = {"safetensors_file": str(files[source]), "weight_name": source, "dtype": "float32"}
        elif where == "cpu" and room.main != "cpu":
            kept[name] = _tensor(files[source], source)
        else:
            set_module_tensor_to_device(model, name, where, value=_tensor(files[source], source))
    _causal(model).tie_weights()
    if set(places.values()) == {room.main}:
        return model
    return dispatch_model(
        model, places, main_device=room.main, state_dict=kept, offload_index=read_later, preload_module_classes=blocks, skip_keys="past_key_values"
    )


def _stand_ins(model: Any) -> None:
    """Put zeros that take the memory of one number in the place of weights on the meta device, where PEFT would leave an adapter too."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(torch.zeros((), dtype=torch.float32).expand(parameter.shape), requires_grad=False)


def _in_folder(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


def _causal(model: Any) -> Any:
    return model.get_base_model() if isinstance(model, PeftModel) else model


def _place(places: Mapping[str, Place], name: str) -> Place:
    """Return the place of a parameter: that of the longest module name it begins with."""
    found = max((module for module in places if module == "" or name == module or name.startswith(f"{module}.")), key=len)
    return places[found]
