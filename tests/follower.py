"""One process of a real training run, for tests of what several of them do together.

    python -m tests.follower FILE    with RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT

FILE is JSON: base, build, coop, and `runs`: [{run_dir, plan (a file), signals}, ...], made one after the other;
`signals`: [[rank, step, signal], ...], which processes send themselves once a step of that run is done.
The first process prints the run records; whoever fails prints the error to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from governance_hooks.errors import CoopError
from tests.passing import Passing
from train.run import train
from train.world import World


def main() -> int:
    asked = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    world = World.from_environment()
    due: dict[int, int] = {}

    def progress(label: str, done: int, total: int) -> None:
        if label == "training" and done in due:
            os.kill(os.getpid(), due[done])

    world.connect(timeout_s=120)
    try:
        for one in asked["runs"]:
            due.clear()
            due.update({step: number for rank, step, number in one["signals"] if rank == world.rank})
            record = train(
                Path(one["run_dir"]), Path(one["plan"]).read_bytes(), base=Path(asked["base"]), build=Path(asked["build"]), guard=Passing(),
                run_id="run", coop=asked["coop"], proposal=None, progress=progress, threads=1, world=world,
            )  # fmt: skip
            if world.rank == 0:
                print(json.dumps(record))
    except CoopError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
