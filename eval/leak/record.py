"""From a finished run and the seed of its canaries to `privacy/canaries.jsonl` and `privacy/leak.json`: measure, judge, write."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval.inputs import check_inputs
from eval.leak.canaries import measure_canaries
from eval.leak.compute import device_name, longest, packages, threads_of, where_of
from eval.weights import load_weights
from governance_hooks.atomic import write_bytes
from governance_hooks.canaries import canaries, commitment
from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput
from governance_hooks.leak import judge
from governance_hooks.plan import Plan

__all__ = ["CANARIES", "LEAK", "make_leak_test", "read_seed"]

Progress = Callable[[str, int, int], None]
LEAK = "privacy/leak.json"
CANARIES = "privacy/canaries.jsonl"


def read_seed(plan: Plan, path: Path) -> bytes:
    """Return the secret seed of a plan's canaries; raise BadInput if the plan has none, or the file is missing or holds another."""
    if plan.canaries is None:
        raise BadInput("the plan has no canaries, so how much the weights leak cannot be tested this way", next="plan the next run with canaries: 200 or more")
    try:
        with path.open("rb") as file:
            seed = file.read(33)
    except OSError as error:
        raise BadInput(
            f"the seed of the plan's canaries is not at {path}: {error.strerror}", next="run this where the plan was made, or restore the file"
        ) from error
    if len(seed) != 32 or commitment(seed) != plan.canaries.commitment:
        raise BadInput(f"{path} is not the seed the plan commits to", allowed=plan.canaries.commitment, next="restore the plan's seed")
    return seed


def make_leak_test(
    run_dir: Path, *, base: Path, build: Path, seed: Path, progress: Progress | None = None, threads: int | None = None, device: str | None = None
) -> dict[str, Any]:
    """Measure all canaries of the run in `run_dir` before and after training, write both records, return the parsed `leak.json`.

    The record reveals the seed: make it when training is over, never before.

    Args:
        run_dir: run folder with plan.json, run.json and the trained weights.
        base: folder of the base weights the plan names.
        build: folder of the dataset build the plan names.
        seed: file with the secret seed of the plan's canaries.
        progress: called with label, done, total.
        threads: compute threads; none means torch's own choice.
        device: torch device; none means the GPU if there is one, else the CPU.

    Raises:
        BadInput: the plan has no canaries, the seed is not theirs, an input differs, or the run is not completed.
    """
    started = time.monotonic()
    where = where_of(device)
    with threads_of(threads) as used:
        inputs = check_inputs(run_dir, base=base, build=build, progress=progress)
        plan = inputs.plan
        secret = read_seed(plan, seed)
        assert plan.canaries is not None
        weights, tokenizer = load_weights(base, run_dir / plan.training.output, plan.training.output, device=where)
        sealed = canaries(secret, plan.canaries.count)
        lines = measure_canaries(weights, tokenizer, sealed, longest=longest(weights.tuned), progress=progress)
    items = b"".join(dumps(line) + b"\n" for line in lines)
    policy = plan.evaluation.leak
    record = {
        "format": "coop.leak/v1",
        "run": inputs.record["run"],
        "plan": inputs.plan_digest,
        "weights": inputs.record["outputs"],
        "seed": secret.hex(),
        "items": sha256(items),
        "policy": None if policy is None else policy.model_dump(mode="json"),
        **judge(plan, secret, lines),
        "device": device_name(where),
        "threads": used,
        "precision": "float32",
        "packages": packages(),
        "wall_s": round(time.monotonic() - started),
    }
    write_bytes(run_dir / CANARIES, items)
    write_bytes(run_dir / LEAK, dumps(record))  # last: it names the other by digest
    return record
