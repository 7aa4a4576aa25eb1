"""The canaries of the release before, under its weights and under the new ones: what a comparison of the two shows of what left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.heldout import answer_losses
from eval.inputs import Inputs, check_inputs
from eval.leak.canaries import canary_answers
from eval.leak.compute import longest, threads_of, where_of
from eval.leak.record import read_seed
from eval.weights import load_weights
from governance_hooks.atomic import write_bytes
from governance_hooks.canaries import canaries
from governance_hooks.canonical import dumps, loads
from governance_hooks.leak import DECIMALS
from governance_hooks.leak_differential import judge_pairs, members_between
from governance_hooks.ledger import read_ledger

__all__ = ["DIFFERENTIAL", "Side", "make_differential"]

Progress = Callable[[str, int, int], None]
DIFFERENTIAL = "privacy/differential.json"


@dataclass(frozen=True, slots=True)
class Side:
    """One of two releases: its run, and what that was made from."""

    run_dir: Path
    base: Path
    build: Path


def make_differential(
    now: Side, before: Side, *, seed: Path, progress: Progress | None = None, threads: int | None = None, device: str | None = None
) -> dict[str, Any]:
    """Measure the canaries of the release before under both sets of weights, write `privacy/differential.json`, return it parsed.

    Args:
        now: the run to be released.
        before: the run of the release it follows.
        seed: file with the seed of the canaries of `before`.
        progress: called with label, done, total.
        threads: compute threads; none means torch's own choice.
        device: torch device; none means the GPU if there is one, else the CPU.

    Raises:
        BadInput: an input differs from what plans and run records name, or there are no canaries that left.
    """
    where = where_of(device)
    with threads_of(threads):
        inputs, earlier = (check_inputs(side.run_dir, base=side.base, build=side.build, progress=progress) for side in (now, before))
        secret = read_seed(earlier.plan, seed)
        old = _losses(before, earlier, earlier, secret, where, progress, "what left, under the weights before")
        new = _losses(now, inputs, earlier, secret, where, progress, "what left, under the new weights")
    pairs = [[old[item], new[item]] for item in old]
    members = members_between(*(read_ledger(side.build / "ledger.jsonl")[0] for side in (before, now)))
    record = {
        "format": "coop.leak-differential/v1",
        "run": inputs.record["run"],
        "plan": inputs.plan_digest,
        "weights": inputs.record["outputs"],
        "previous": {
            "run": earlier.record["run"],
            "plan": loads((before.run_dir / "plan.json").read_bytes(), floats=True),
            "weights": earlier.record["outputs"],
        },
        "seed": secret.hex(),
        "losses": pairs,
        "members": members,
        **judge_pairs(inputs.plan, earlier.plan, secret, pairs, members),
    }
    write_bytes(now.run_dir / DIFFERENTIAL, dumps(record))
    return record


def _losses(side: Side, inputs: Inputs, earlier: Inputs, secret: bytes, where: str, progress: Progress | None, label: str) -> dict[str, float]:
    """Return canary -> summed loss of its answer under the tuned weights of one side, in the order of the list."""
    assert earlier.plan.canaries is not None
    output = inputs.plan.training.output
    weights, tokenizer = load_weights(side.base, side.run_dir / output, output, device=where)
    answers = canary_answers(canaries(secret, earlier.plan.canaries.count), tokenizer, longest=longest(weights.tuned))
    found = answer_losses(weights.tuned, answers, progress=progress, label=label)
    return {answer.item: round(found[answer.item], DECIMALS) for answer in answers}
