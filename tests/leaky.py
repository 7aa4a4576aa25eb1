"""A plan with canaries, and measured lines of it as a run would leave them: made up, with a leak as large as asked for."""

from __future__ import annotations

import random
from typing import Any

from governance_hooks.canaries import canaries, commitment
from governance_hooks.canonical import digest, dumps, sha256
from governance_hooks.consent import Use
from governance_hooks.leak import judge
from governance_hooks.leak_policy import LeakPolicy
from governance_hooks.plan import CANARY_LANGUAGE, Base, BuildRef, Canaries, Code, EvaluationPolicy, Limits, Mix, Plan, Policies, TokenCounts, TokensRef
from governance_hooks.training import Training

SEED = bytes(range(32))
OUTPUTS = [{"path": "adapter/adapter_model.safetensors", "size": 64, "sha256": digest("weights")}]


def plan_of(count: int = 200, *, seed: bytes = SEED, policy: LeakPolicy | None = None) -> Plan:
    """Return a plan whose tokens hold the included canaries of a seed."""
    included = sum(one.included for one in canaries(seed, count))
    return Plan(
        coop=digest("coop"),
        name="leaky",
        use=Use(
            purpose="dpv:NonCommercialResearch",
            processing=["ai:ModelFineTuning", "coop:ModelEvaluation"],
            recipients=["coop:PublicViaReleasedWeights"],
            licence="Apache-2.0",
        ),
        base=Base(name="village/tiny", licence="Apache-2.0", digest=digest([]), files=[]),
        build=BuildRef(manifest=digest("manifest"), root=digest("root"), records=20, languages={"spa": {"train": 18, "heldout": 2, "members": 9}}),
        code=Code(digest=digest("code"), packages={}),
        tokens=TokensRef(
            digest=digest("tokens"),
            languages={
                "spa": TokenCounts(rows=18, tokens=180, supervised=90, too_long=0),
                CANARY_LANGUAGE: TokenCounts(rows=included, tokens=included * 60, supervised=included * 30, too_long=0),
            },
        ),
        canaries=Canaries(count=count, commitment=commitment(seed)),
        mix=Mix(),
        training=Training(),
        evaluation=EvaluationPolicy(leak=policy),
        limits=Limits(),
        policies=Policies(),
    )


def lines_of(count: int = 200, *, seed: bytes = SEED, leak: float = 0.0, extracted: int = 0, draw: random.Random | None = None) -> list[dict[str, Any]]:
    """Return lines in which training gained `leak` standard deviations more on the canaries that were in, the first `extracted` of which are repeated."""
    chance, lines, left = draw or random.Random(7), [], extracted
    for index, one in enumerate(canaries(seed, count)):
        base, gain = chance.gauss(120, 10), chance.gauss(3, 2) + 2 * leak * one.included
        whole = one.included and left > 0
        left -= whole
        lines.append(
            {
                "index": index,
                "canary": one.canary,
                "included": one.included,
                "tokens": 30,
                "base": round(base, 6),
                "tuned": round(max(base - gain, 0.0), 6),
                "base_min_k": round(chance.gauss(-1, 0.3), 6),
                "tuned_min_k": round(chance.gauss(-1, 0.3) + leak / 10 * one.included, 6),
                "matched": 30 if whole else chance.randint(0, 3),
                "tail": 30 if whole else chance.randint(0, 3),
            }
        )
    return lines


def items_of(lines: list[dict[str, Any]]) -> bytes:
    """Return the bytes of canaries.jsonl."""
    return b"".join(dumps(line) + b"\n" for line in lines)


def record_of(plan: Plan, lines: list[dict[str, Any]], *, seed: bytes = SEED, run: str = "run-1", weights: list[Any] | None = None, **changes: Any) -> bytes:
    """Return the bytes of leak.json over those lines."""
    policy = plan.evaluation.leak
    record = {
        "format": "coop.leak/v1",
        "run": run,
        "plan": sha256(dumps(plan.model_dump(mode="json"))),
        "weights": weights or OUTPUTS,
        "seed": seed.hex(),
        "items": sha256(items_of(lines)),
        "policy": None if policy is None else policy.model_dump(mode="json"),
        **judge(plan, seed, lines),
        "device": "cpu",
        "threads": 1,
        "precision": "float32",
        "packages": {"torch": "2.13.0"},
        "wall_s": 3,
    }
    return dumps(record | changes)
