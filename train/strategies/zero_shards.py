"""A base in ZeRO-3's shards before DeepSpeed's engine exists: read a block at a time, and gathered a layer at a time for the proofs.

empty model, adapter drawn ──► each block: memory, its rows of the files, a shard of it kept ──► hooks gather a layer when it is called ──► the engine's own hooks
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from governance_hooks.training import Training
from train.console import quiet_libraries
from train.empty_model import adapted_empty_model, allocate, fill
from train.model import DTYPES, AdaptedModel
from train.world import World

__all__ = ["ZeroShards"]


class ZeroShards:
    """A model whose weights are partitioned over the processes; all of them make every call, and call the model equally often.

    Args:
        config: DeepSpeed's, as its engine gets it later.

    Raises:
        BadInput, CoopError: as `train.model.load_model` and `train.empty_model.fill`; in all processes if in one.
    """

    def __init__(self, base: Path, training: Training, config: dict[str, Any], world: World) -> None:
        import deepspeed
        from deepspeed.runtime.zero.parameter_offload import DeepSpeedZeRoOffload
        from deepspeed.utils.timer import NoopTimer

        with world.together("building the model without its weights"):
            self.model: AdaptedModel = adapted_empty_model(base, training)
        with quiet_libraries():
            for unit in (*self.model.blocks, self.model):
                with world.together("reading the base weights"):  # DeepSpeed waits for all when it takes a unit over
                    allocate(unit, world.device)
                    whole = {id(parameter) for parameter in unit.parameters() if not hasattr(parameter, "ds_id")}
                    fill(self.model, base, wanted=lambda parameter, whole=whole: id(parameter) in whole)  # type: ignore[misc]
                deepspeed.zero.Init(module=unit, config_dict_or_path=config, dtype=DTYPES[training.precision])
            # What the engine puts around a model without an optimizer. No layer stays whole after it was used.
            self._hooks: Any = DeepSpeedZeRoOffload(
                module=self.model, timers=NoopTimer(), ds_config=config, overlap_comm=False, prefetch_bucket_size=0, param_persistence_threshold=0
            )

    def give_up(self) -> None:
        """Take the hooks away: the engine brings its own."""
        self._hooks.partition_all_parameters()
        self._hooks.destroy()
