"""Starts the other processes of a run on this machine: `coop train --devices N`, where no torchrun or srun has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from governance_hooks.errors import CoopError
from train.world import World

__all__ = ["launched"]

PARTING_S: Final = 60
"""So long the first process waits for the others to end by themselves, seconds."""


@contextmanager
def _free_port() -> Iterator[int]:
    """Yield a port that nobody else is given while this lasts; the first process can listen there all the same, since both say SO_REUSEADDR."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def launched(devices: int) -> Iterator[World]:
    """Start `devices` - 1 more processes that follow this one, and yield this one's world, connected; inside torchrun or srun only connect.

    Raises CoopError if the launcher that started this process speaks of another number.
    """
    world = World.from_environment()
    if world.size > 1 and devices not in (1, world.size):
        raise CoopError("the launcher and --devices differ", value=f"{world.size} processes, --devices {devices}", next="leave --devices out")
    followers: list[subprocess.Popen[bytes]] = []
    before = dict(os.environ)
    with ExitStack() as until_connected:
        if world.size == 1 and devices > 1:
            port = until_connected.enter_context(_free_port())
            common = {"WORLD_SIZE": str(devices), "LOCAL_WORLD_SIZE": str(devices), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            os.environ.update(common | {"RANK": "0", "LOCAL_RANK": "0"})
            world = World.from_environment()
            for rank in range(1, devices):
                followers.append(subprocess.Popen([sys.executable, "-m", "train.worker"], env=os.environ | {"RANK": str(rank), "LOCAL_RANK": str(rank)}))
        try:
            world.connect()
            until_connected.close()
            yield world
        finally:
            world.close()
            _part(followers)
            if followers:
                os.environ.clear()
                os.environ.update(before)


def _part(followers: list[subprocess.Popen[bytes]]) -> None:
    """Wait for the others, who end when the run does or when the first process is gone; then end what is left."""
    for follower in followers:
        try:
            follower.wait(PARTING_S)
        except subprocess.TimeoutExpired:
            follower.kill()
            follower.wait()
