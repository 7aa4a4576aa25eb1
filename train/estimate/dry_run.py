"""One optimizer step of N processes that do not exist: fake tensors have shapes and no numbers, a fake process group answers at once.

    python -m train.estimate.dry_run < {"base", "devices", "training"}      > one JSON object

It runs as a process of its own, so that planning loads no torch. The model is the one transformers builds from the base's config.json,
sharded as the plan's strategy shards it; what breaks on shapes breaks here, before a queue and before a GPU. Speed, numbers and
DeepSpeed, which has no such mode, are not tried.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from governance_hooks.errors import CoopError
from governance_hooks.training import Training

__all__ = ["dry_run"]

TIMEOUT_S = 900


def dry_run(base: Path, training: Training, devices: int) -> dict[str, Any]:
    """Run one step of `devices` processes on fake tensors in a process without a GPU, and return what each of them holds and reads.

    Returns `ran` (whether a step ran; DeepSpeed's strategies only share out sequences), `why` if not, `shares` (sequences of a step by
    process), `passes`, and where it ran `parameter_bytes` and `trained_bytes` by process and `activation_bytes` of one forward pass.

    Raises CoopError with the last line of what went wrong.
    """
    shares = [len(range(rank, training.sequences_per_step, devices)) for rank in range(devices)]
    told: dict[str, Any] = {"devices": devices, "shares": shares, "passes": [-(-share // training.sequences_per_forward) for share in shares]}
    if not all(shares):
        return told | {"ran": False, "why": f"{shares.count(0)} of {devices} processes would have nothing to read: raise training.sequences_per_step"}
    if training.strategy == "single" and devices > 1:
        return told | {"ran": False, "why": "strategy single is one process: choose ddp or fsdp2"}
    if training.strategy in ("zero2", "zero3"):
        return told | {"ran": False, "why": "DeepSpeed cannot run on fake tensors; only the shares of a step were checked"}
    if training.method == "qlora" or training.kernels == "liger" or training.attention in ("flash", "flex"):
        return told | {"ran": False, "why": "4-bit weights, Liger's kernels, flash and flex attention need a GPU; only the shares of a step were checked"}
    asked = {"base": str(base.resolve()), "devices": devices, "training": training.model_dump(mode="json")}
    command = [sys.executable, "-m", "train.estimate.dry_run"]
    try:
        done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise CoopError(f"the dry run was not over after {TIMEOUT_S} s", next="plan without --dry-run") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise CoopError(f"the dry run of {devices} processes failed: {said[-1][:300]}", next="plan without --dry-run, or change the strategy")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told | {"ran": True, "why": None} | found


def _model(base: Path, training: Training) -> Any:
    """Build the model with stand-ins for weights, as a run in shards does, and with its adapter; the blocks stay transformers' own."""
    from train.empty_model import empty_model
    from train.model import DTYPES, add_adapter

    model: Any = empty_model(base, dtype=DTYPES[training.precision], attention=training.attention)
    if training.lora is not None:
        model = add_adapter(model, training)
    if training.gradient_checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model.train()


def _local_bytes(parameters: list[Any], devices: int) -> list[int]:
    """Return the bytes each process holds of these parameters; a shard is a slice of rows, as `torch.chunk` cuts them."""
    from torch.distributed.tensor import DTensor

    bytes_by_rank = [0] * devices
    for parameter in parameters:
        rows, row = parameter.shape[0], parameter[0:1].numel() * parameter.element_size()
        each = -(-rows // devices) if isinstance(parameter, DTensor) else rows
        for rank in range(devices):
            bytes_by_rank[rank] += row * (max(0, min(each, rows - rank * each)) if isinstance(parameter, DTensor) else rows)
    return bytes_by_rank


def _step(asked: dict[str, Any]) -> dict[str, Any]:
    """Shard, run a forward and backward pass over full sequences, and step AdamW."""
    import torch
    import torch.distributed as dist
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from train.empty_model import replace_parameters
    from train.strategies.fsdp2 import shard_blocks

    training, devices = Training.model_validate(asked["training"]), int(asked["devices"])
    model = _model(Path(asked["base"]), training)
    dist.init_process_group("fake", rank=0, world_size=devices, store=FakeStore())
    mesh = init_device_mesh("cpu", (devices,))
    with FakeTensorMode(allow_non_fake_inputs=True):
        replace_parameters(model, lambda parameter: torch.empty(parameter.shape, dtype=parameter.dtype))
        causal = model.get_base_model() if training.lora is not None else model
        decoder = getattr(causal, causal.base_model_prefix)
        if training.strategy == "fsdp2" and devices > 1:
            shard_blocks(model, decoder.layers, mesh)
        parameters = list(model.parameters())
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        told: dict[str, Any] = {"parameter_bytes": _local_bytes(parameters, devices), "trained_bytes": _local_bytes(trained, devices)}
        shape = (min(training.sequences_per_forward, -(-training.sequences_per_step // devices)), training.sequence_tokens)
        ids, positions = torch.zeros(shape, dtype=torch.long), torch.arange(shape[1]).expand(shape).contiguous()
        kept = _Kept(parameters + list(model.buffers()))
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
            # The whole model is called, as hooks of `fully_shard` hang on it; one position of logits stands for the chunked loss.
            output = model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=1)
        told["activation_bytes"] = kept.bytes()
        output.logits.float().sum().backward()
        if any(parameter.grad is None for parameter in trained):
            raise RuntimeError("a trained weight got no gradient")
        torch.optim.AdamW(trained).step()
    dist.destroy_process_group()
    return told


class _Kept:
    """Counts the bytes that autograd holds for the backward pass, each storage once, without holding them itself."""

    def __init__(self, besides: list[Any]) -> None:
        import weakref

        self.besides = {self._key(tensor) for tensor in besides}
        self.held: Any = weakref.WeakSet()

    @staticmethod
    def _key(tensor: Any) -> int:
        return int(tensor.untyped_storage()._cdata)

    def pack(self, tensor: Any) -> Any:
        held = _Held(tensor)
        self.held.add(held)
        return held

    @staticmethod
    def unpack(held: Any) -> Any:
        return held.tensor

    def bytes(self) -> int:
        """Return the bytes held now."""
        storages = {self._key(held.tensor): held.tensor.untyped_storage().nbytes() for held in self.held}
        return sum(size for key, size in storages.items() if key not in self.besides)


class _Held:
    """One saved tensor; gone when autograd lets it go."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_step(json.load(sys.stdin))) + "\n")
