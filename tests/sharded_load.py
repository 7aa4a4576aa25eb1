"""One of two processes that load a base in shards, and beside it whole: what the test compares is printed as JSON lines, one a case.

    python -m tests.sharded_load FILE    with RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT

FILE is JSON: a list of {"do": "equal" | "equal zero3" | "memory" | "leak" | "torn", "base": folder, "training": plan section}.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from governance_hooks.errors import CoopError
from governance_hooks.training import Training
from train.isolation import prove_gradients, prove_head, prove_isolation
from train.model import DTYPES, AdaptedModel, load_model
from train.prepare import _prove
from train.strategies.fsdp2 import FullyShardedDataParallel2, shard_blocks
from train.strategies.strategy import strategy_of
from train.strategies.zero import Zero
from train.world import World

TOKENS = 280


def local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def step(model: AdaptedModel, rank: int) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of one pass, over other tokens in each process."""
    ids = torch.randint(TOKENS, (2, 24), generator=torch.Generator().manual_seed(rank))
    positions = torch.tensor([[*range(10), *range(14)]]).expand(2, -1)
    loss = model(ids, positions, ids).sum()
    loss.backward()
    return float(loss), {name: local(parameter.grad) for name, parameter in model.trainable().items() if parameter.grad is not None}


def peak() -> int:
    """The highest resident memory of this process since the last call, bytes; the mark is put back to what is resident now."""
    said = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    Path("/proc/self/clear_refs").write_text("5")
    return int(said["VmHWM"].split()[0]) * 1024


def resident() -> int:
    peak()
    return peak()


def equal(base: Path, training: Training, world: World) -> dict[str, Any]:
    ours = FullyShardedDataParallel2(training, world).load(base)
    whole = load_model(base, training)
    shard_blocks(whole, whole.blocks, init_device_mesh("cpu", (world.size,)))
    register_fsdp_forward_method(whole, "states")
    mine, theirs = ({name: local(tensor) for name, tensor in [*one.named_parameters(), *one.named_buffers()]} for one in (ours, whole))
    said: dict[str, Any] = {"same_weights": mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)}
    said["trained_alike"] = list(ours.trainable()) == list(whole.trainable())
    said["share"] = sum(local(p).numel() for p in ours.parameters()) / sum(p.numel() for p in ours.parameters())
    differences = [prove_isolation(model.eval().states, TOKENS, dtype=DTYPES[training.precision]) for model in (ours, whole, load_model(base, training).eval())]
    said["differences"] = differences
    prove_gradients(ours, TOKENS)
    prove_head(ours, TOKENS)
    (loss, gradients), (of_whole, gradients_of_whole) = step(ours.train(), world.rank), step(whole.train(), world.rank)
    said["same_loss"] = loss == of_whole
    said["same_gradients"] = len(gradients) > 0 and all(torch.equal(gradients[name], gradients_of_whole[name]) for name in gradients_of_whole)
    return said


def equal_zero3(base: Path, training: Training, world: World) -> dict[str, Any]:
    """Before the engine exists: weights, proofs and losses, with a layer whole only while it computes; and afterwards, when the hooks are gone."""
    from deepspeed.runtime.zero.partition_parameters import GatheredParameters

    spread = Zero(training, world)
    ours, whole = spread.load(base).eval(), load_model(base, training).eval()
    mine, theirs = (dict(one.named_parameters()) for one in (ours, whole))
    held = [int(parameter.ds_tensor.numel()) for parameter in mine.values()]
    differences = [prove_isolation(model.states, TOKENS, dtype=DTYPES[training.precision]) for model in (ours, whole)]
    prove_gradients(ours, TOKENS)
    prove_head(ours, TOKENS)
    ids = torch.randint(TOKENS, (2, 24), generator=torch.Generator().manual_seed(7))
    positions = torch.tensor([[*range(10), *range(14)]]).expand(2, -1)
    with torch.no_grad():
        losses = [model(ids, positions, ids) for model in (ours, whole)]
    idle = all(parameter.numel() == 0 for parameter in ours.parameters())  # no layer is left whole
    spread.trainer()
    hooks = sum(len(part._forward_pre_hooks) + len(part._forward_hooks) for part in ours.modules())
    same = mine.keys() == theirs.keys()
    for name, parameter in mine.items():
        with GatheredParameters([parameter]):
            same = same and parameter.dtype == theirs[name].dtype and torch.equal(parameter, theirs[name])
    return {
        "same_weights": same,
        "same_buffers": all(torch.equal(one, dict(whole.named_buffers())[name]) for name, one in ours.named_buffers()),
        "trained_alike": list(ours.trainable()) == list(whole.trainable()),
        "share": sum(held) / sum(parameter.numel() for parameter in theirs.values()),
        "differences": differences,
        "same_loss": torch.equal(*losses),
        "idle": idle,
        "hooks": hooks,
    }


def memory(base: Path, training: Training, world: World) -> dict[str, Any]:
    before = resident()
    model: Any = strategy_of(training, world).load(base).eval()
    loaded = peak() - before
    _prove(model, training, world, TOKENS)
    proved = peak() - before
    del model
    gc.collect()
    before = resident()
    model = load_model(base, training).eval()
    whole = peak() - before
    _prove(model, training, world, TOKENS)
    return {"loading": loaded, "proving": proved, "whole": whole, "whole_proving": peak() - before}


def leak(base: Path, training: Training, world: World) -> dict[str, Any]:
    true = AdaptedModel.hidden

    def leaking(self: AdaptedModel, ids: Tensor, positions: Tensor) -> Tensor:
        states = true(self, ids, positions)
        mean = states.mean(dim=1, keepdim=True)
        return states + (mean - mean.detach())  # adds exactly 0 in the forward pass

    model = strategy_of(training, world).load(base).eval()
    AdaptedModel.hidden = leaking  # type: ignore[method-assign]
    try:
        _prove(model, training, world, TOKENS)
    finally:
        AdaptedModel.hidden = true  # type: ignore[method-assign]
    return {}


def torn(base: Path, training: Training, world: World) -> dict[str, Any]:
    """Process 1 finds a base of which a file is missing."""
    with world.together("loading the base weights"):
        strategy_of(training, world).load(base if world.rank == 0 else base.parent / "torn")
    return {}


def main() -> None:
    torch.set_num_threads(1)
    world = World.from_environment()
    world.connect(timeout_s=120)
    for case in json.loads(Path(sys.argv[1]).read_text()):
        do = {"equal": equal, "equal zero3": equal_zero3, "memory": memory, "leak": leak, "torn": torn}[case["do"]]
        try:
            said = do(Path(case["base"]), Training.model_validate(case["training"]), world)
        except CoopError as error:
            said = {"error": f"{type(error).__name__}: {error.what}"}
        print(json.dumps(said), flush=True)
    world.close()


if __name__ == "__main__":
    main()
