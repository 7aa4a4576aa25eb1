"""Measure the canaries of somebody else's leak test again: whoever has the weights need not take the operator's word for the losses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from eval.leak.canaries import measure_canaries
from eval.leak.compute import longest, threads_of, where_of
from eval.leak.record import CANARIES, LEAK
from eval.weights import load_weights
from governance_hooks.canaries import canaries
from governance_hooks.canonical import loads
from governance_hooks.errors import BadInput
from governance_hooks.inventory import inventory, inventory_digest
from governance_hooks.leak import judge_leak, read_leak
from governance_hooks.plan import read_plan

__all__ = ["measure_again"]

Progress = Callable[[str, int, int], None]
ABSOLUTE: Final = 0.02
RELATIVE: Final = 1e-3
"""Nats, and share of the loss, by which another machine may differ in float32; bfloat16 weights are read as float32 on all of them."""


def measure_again(folder: Path, *, base: Path, progress: Progress | None = None, threads: int | None = None, device: str | None = None) -> dict[str, Any]:
    """Measure all canaries of a release or run folder and compare: `canaries`, `differing` (their ids), `largest_nats`, `agrees`.

    Args:
        folder: with plan.json, privacy/ and adapter/; full weights lie in model/ or in the folder itself.
        base: folder of the base weights the plan names.
        progress: called with label, done, total.
        threads: compute threads; none means torch's own choice.
        device: torch device; none means the GPU if there is one, else the CPU.

    Raises:
        BadInput: a file is missing, the record does not follow from its lines, or the base is another.
    """
    where = where_of(device)
    data = {}
    for name in ("plan.json", LEAK, CANARIES):
        if not (folder / name).is_file():
            raise BadInput(f"{folder / name} is missing", next="name a run or release folder that holds a leak test")
        data[name] = (folder / name).read_bytes()
    plan, record = read_plan(data["plan.json"]), read_leak(data[LEAK])
    judge_leak(plan, data[LEAK], data[CANARIES])
    if inventory_digest(inventory(base)) != plan.base.digest:
        raise BadInput(f"{base} is not the base the plan names ({plan.base.name})", allowed=plan.base.digest)
    assert plan.canaries is not None  # judged above
    output = plan.training.output
    trained = folder / output if (folder / output).is_dir() or output == "adapter" else folder
    with threads_of(threads):
        weights, tokenizer = load_weights(base, trained, output, device=where)
        sealed = canaries(bytes.fromhex(record.seed), plan.canaries.count)
        found = measure_canaries(weights, tokenizer, sealed, longest=longest(weights.tuned), progress=progress)
    stated = [loads(line, floats=True) for line in data[CANARIES].splitlines()]
    apart = {new["canary"]: [abs(new[name] - old[name]) for name in ("base", "tuned")] for new, old in zip(found, stated, strict=True)}
    allowed = {old["canary"]: [ABSOLUTE + RELATIVE * old[name] for name in ("base", "tuned")] for old in stated}
    differing = [
        new["canary"]
        for new, old in zip(found, stated, strict=True)
        if new["tokens"] != old["tokens"] or any(one > most for one, most in zip(apart[new["canary"]], allowed[new["canary"]], strict=True))
    ]
    return {
        "canaries": len(found),
        "differing": differing,
        "largest_nats": round(max(max(pair) for pair in apart.values()), 6),
        "agrees": not differing,
    }
