"""Writes checkpoints while training goes on: a copy in main memory, then the disk, then the name that makes it one.

start (at a step boundary) ──► each process writes its shard ──► poll (at later boundaries): all done? ──► the first one hashes and publishes
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from governance_hooks.atomic import PREFIX, write_bytes
from governance_hooks.canonical import dumps
from governance_hooks.errors import CoopError
from governance_hooks.inventory import inventory
from train.checkpoint import COMPLETE, CheckpointState, folder_name, folders, shard_name, state_of
from train.module import TrainingModule
from train.world import World

__all__ = ["CheckpointWriter"]

_DONE, _PENDING, _FAILED = 0, 1, 2


class CheckpointWriter:
    """The checkpoints of one run, written by all its processes together; each of them makes the same calls.

    Args:
        root: folder on a disk all processes see.
        keep: so many stay.
    """

    def __init__(self, root: Path, world: World, *, plan: str, keep: int) -> None:
        self.root, self.world, self.plan, self.keep = root, world, plan, keep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._state: CheckpointState | None = None
        self._shard: Future[None] | None = None
        self._publishing: Future[None] | None = None

    def start(self, module: TrainingModule) -> None:
        """Take a checkpoint of the module's last step; it counts once it is published. Waits for the one before."""
        self.finish()
        state = state_of(module, self.plan)
        tensors = module.weights.state()
        folder = self.root / f"{PREFIX}{folder_name(state.step)}"
        with self.world.together("making room for a checkpoint"):
            if self.world.rank == 0:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
        self._state = state
        self._shard = self._thread.submit(_write_shard, tensors, folder / shard_name(self.world.rank))

    def poll(self) -> None:
        """Publish a checkpoint whose shards are all on the disk; raise CoopError if one could not be written."""
        if self._publishing is not None and self._publishing.done():
            self._published()
        if self._shard is None:
            return
        found = _PENDING if not self._shard.done() else _DONE if self._shard.exception() is None else _FAILED
        found = self.world.most([found])[0]
        if found == _FAILED:
            error = self._shard.exception() if self._shard.done() else None
            self._shard = self._state = None
            raise CoopError(
                f"a checkpoint could not be written: {error or 'see another process'}", next="free space, then run the same command again"
            ) from error
        if found == _DONE:
            self._publish()

    def finish(self) -> None:
        """Wait until what was started is published."""
        if self._shard is not None:
            self._shard.exception()  # waits; `poll` says it if there is one
            while self._shard is not None:
                self.poll()
        if self._publishing is not None:
            self._published()
        self.world.barrier()

    def _publish(self) -> None:
        assert self._state is not None
        if self.world.rank == 0:
            self._publishing = self._thread.submit(_publish, self.root, self._state, self.keep)
        self._shard = self._state = None

    def _published(self) -> None:
        assert self._publishing is not None
        publishing, self._publishing = self._publishing, None
        publishing.result()


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_shard(tensors: dict[str, Tensor], path: Path) -> None:
    if tensors:
        save_file(tensors, path)
        _sync(path)


def _publish(root: Path, state: CheckpointState, keep: int) -> None:
    """Hash the shards, write the marker, and give the folder its name; remove all but the newest `keep`."""
    folder = root / f"{PREFIX}{folder_name(state.step)}"
    write_bytes(folder / "state.json", dumps(asdict(state)))
    write_bytes(folder / COMPLETE, dumps({"format": "coop.checkpoint/v1", "files": inventory(folder)}))
    folder.replace(root / folder_name(state.step))
    _sync(root)
    for _, old in folders(root)[:-keep]:
        # The marker goes first: a half-deleted folder is not a checkpoint.
        (old / COMPLETE).unlink()
        shutil.rmtree(old)
