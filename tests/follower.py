"""One process of a real training run, for tests of what several of them do together.

    python -m tests.follower FILE    with RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT

FILE is JSON: base, build, run_dir, plan (a file), coop, and `signals`: [[rank, step, signal], ...] that processes send themselves once the step is done.
The first process prints the run record; whoever fails prints the error to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from governance_hooks.errors import CoopError
from governance_hooks.hooks.guard import Stop
from train.run import train
from train.world import World


class Passing:
    """A guard that lets everything through."""

    unreleasable: str | None = None

    def start(self) -> None: ...

    def stop(self, *, force: bool = False) -> Stop | None: ...

    def end(self, record: dict[str, Any]) -> None: ...


def main() -> int:
    asked = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    world = World.from_environment()
    due = {step: number for rank, step, number in asked["signals"] if rank == world.rank}

    def progress(label: str, done: int, total: int) -> None:
        if label == "training" and done in due:
            os.kill(os.getpid(), due[done])

    world.connect(timeout_s=120)
    try:
        record = train(
            Path(asked["run_dir"]), Path(asked["plan"]).read_bytes(), base=Path(asked["base"]), build=Path(asked["build"]), guard=Passing(),
            run_id="run", coop=asked["coop"], proposal=None, progress=progress, threads=1, world=world,
        )  # fmt: skip
    except CoopError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    finally:
        world.close()
    if world.rank == 0:
        print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
