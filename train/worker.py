"""A process of a run other than the first: it follows the first one's order, checks all of it by itself, and writes no log.

It needs no cooperative's folder: plan and proof come from the first process, base and build are hashed here by the gate.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from governance_hooks.canonical import dumps, loads
from governance_hooks.errors import CoopError
from governance_hooks.gate import Request
from governance_hooks.hooks.guard import Guard
from train.world import World

__all__ = ["Order", "follow", "main", "ordering"]


class Order(Protocol):
    """How the first process says what to run."""

    def __call__(self, request: Request, run_dir: Path, *, coop: str, canary_seed: Path | None, threads: int | None) -> None:
        """Tell the others what to run, under which approval, where."""
        ...


def _told(request: Request) -> dict[str, Any]:
    """Return every field of a request as JSON, with the paths made absolute; but for the memory: only the first process looks at the log."""
    said: dict[str, Any] = {}
    for name in (field.name for field in fields(Request) if field.name != "memory"):
        value = getattr(request, name)
        if isinstance(value, bytes):
            said[name] = {"bytes": base64.b64encode(value).decode()}
        elif isinstance(value, Path):
            said[name] = {"path": str(value.resolve())}
        elif isinstance(value, tuple):
            said[name] = {"entries": [base64.b64encode(one).decode() for one in value]}
        else:
            said[name] = value
    return said


def _followed(said: dict[str, Any]) -> Request:
    """Return the request that `_told` made JSON of."""
    kinds: dict[str, Callable[[Any], Any]] = {
        "bytes": base64.b64decode,
        "path": Path,
        "entries": lambda entries: tuple(base64.b64decode(one) for one in entries),
    }

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        ((kind, inner),) = value.items()
        return kinds[kind](inner)

    return Request(**{name: read(value) for name, value in said.items()})


@contextmanager
def ordering(world: World) -> Iterator[Order]:
    """Yield how the first process gives the others their order; a block that ends without one sends them home."""
    given = False

    def give(request: Request, run_dir: Path, *, coop: str, canary_seed: Path | None, threads: int | None) -> None:
        nonlocal given
        given = True
        seed = str(canary_seed.resolve()) if canary_seed is not None else None
        world.tell(dumps({"request": _told(request), "run_dir": str(run_dir.resolve()), "coop": coop, "canary_seed": seed, "threads": threads}))

    try:
        yield give
    finally:
        if not given:
            world.tell()


def follow(world: World) -> dict[str, Any] | None:
    """Wait for the first process's order and do it; return the record as this process saw it, or None if there was none."""
    said = world.tell()
    if not said:
        return None
    asked = loads(said, source="the order of the first process")
    request = _followed(asked["request"])
    from train.run import train

    assert request.run is not None
    return train(
        Path(asked["run_dir"]),
        request.plan,
        base=request.base,
        build=request.build,
        guard=Guard(request, fresh=None),
        run_id=request.run,
        coop=asked["coop"],
        proposal=request.proposal,
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
