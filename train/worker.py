"""A process of a run other than the first: it follows the first one's order, checks all of it by itself, and writes no log.

It needs no cooperative's folder: plan and proof come from the first process, base and build are hashed here by the gate.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import CoopError
from governance_hooks.gate import Request
from governance_hooks.hooks.guard import Guard
from train.world import World

__all__ = ["follow", "main", "order"]


def order(request: Request, run_dir: Path, *, coop: str, canary_seed: Path | None, threads: int | None) -> bytes:
    """Return what the first process tells the others: what to run, under which approval, where."""
    return dumps(
        {
            "plan": base64.b64encode(request.plan).decode(),
            "proof": base64.b64encode(request.proof).decode(),
            "base": str(request.base.resolve()),
            "build": str(request.build.resolve()),
            "run_dir": str(run_dir.resolve()),
            "now": request.now,
            "pin": request.pin,
            "run": request.run,
            "proposal": request.proposal,
            "devices": request.devices,
            "minutes": request.minutes,
            "max_age_s": request.max_age_s,
            "coop": coop,
            "canary_seed": str(canary_seed.resolve()) if canary_seed is not None else None,
            "threads": threads,
        }
    )


def follow(world: World) -> dict[str, Any] | None:
    """Wait for the first process's order and do it; return the record as this process saw it, or None if there was none."""
    said = world.tell()
    if not said:
        return None
    asked = loads(said, source="the order of the first process")
    request = Request(
        plan=base64.b64decode(asked["plan"]),
        proof=base64.b64decode(asked["proof"]),
        base=Path(asked["base"]),
        build=Path(asked["build"]),
        now=asked["now"],
        pin=asked["pin"],
        run=asked["run"],
        proposal=asked["proposal"],
        devices=asked["devices"],
        minutes=asked["minutes"],
        max_age_s=asked["max_age_s"],
    )
    from train.run import train

    return train(
        Path(asked["run_dir"]),
        request.plan,
        base=request.base,
        build=request.build,
        guard=Guard(request, fresh=None),
        run_id=asked["run"],
        coop=asked["coop"],
        proposal=asked["proposal"],
        canary_seed=Path(asked["canary_seed"]) if asked["canary_seed"] is not None else None,
        threads=asked["threads"],
        world=world,
    )


def main() -> int:
    """Follow, and say in words what went wrong here."""
    world = World.from_environment()
    try:
        world.connect()
        follow(world)
    except CoopError as error:
        print(f"process {world.rank} of {world.size}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
