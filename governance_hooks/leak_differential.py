"""Whether two releases, laid side by side, tell what left in between: `privacy/differential.json`, judged from its losses.

Withdrawn texts are never measured: the consent that covered it has ended. The canaries of the release before stand for them. All of them left, for each
plan draws its own; about half had been in, by a coin, and half had never been. Who has both sets of weights ranks them by how much better the
weights before expect them than the new ones let suppose. Told from those that were never in, the ones that left give away what a withdrawn text would.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from governance_hooks.canaries import canaries, commitment
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Slug, Strict
from governance_hooks.leak import DECIMALS, Verdict, verdict_of
from governance_hooks.leak_numbers import area, calibrated, recognised
from governance_hooks.leak_policy import DifferentialPolicy, LeakPolicy
from governance_hooks.ledger import LedgerRow
from governance_hooks.plan import File, Plan, explain_validation, read_plan

__all__ = ["PERMUTATIONS", "DifferentialRecord", "judge_differential", "judge_pairs", "members_between", "read_differential"]

PERMUTATIONS: Final = 1000
_DISTRUST: Final = "do not trust the comparison; measure again: coop leak RUN --previous RUN"
_DEFAULT: Final = LeakPolicy()
Count = Annotated[int, Field(ge=0, lt=2**31)]
Loss = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class _Members(Strict):
    """Contributors of training rows, by the public ledgers of the two builds."""

    previous: Count
    now: Count
    left: Count
    joined: Count


class _Previous(Strict):
    run: Slug
    plan: dict[str, Any]
    """In full: its digest is the one the policy names, and it commits to the seed."""
    weights: Annotated[list[File], Field(min_length=1, max_length=1024)]


class DifferentialRecord(Strict):
    """`privacy/differential.json`."""

    format: Literal["coop.leak-differential/v1"]
    run: Slug
    plan: Digest
    weights: Annotated[list[File], Field(min_length=1, max_length=1024)]
    previous: _Previous
    seed: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Of the canaries of the release before, revealed."""
    losses: Annotated[list[Annotated[list[Loss], Field(min_length=2, max_length=2)]], Field(min_length=1, max_length=100_000)]
    """Of each of those canaries by index: under the weights before, and under the new ones; nats, summed over the answer."""
    members: _Members
    numbers: dict[str, Any]
    criteria: dict[str, Verdict]
    flags: Annotated[list[Literal["few-left"]], Field(max_length=1)]
    verdict: Verdict | None
    passed: bool | None


def _require(condition: bool, what: str, *, value: object = None, allowed: object = None) -> None:
    if not condition:
        raise BadInput(what, value=value, allowed=None if allowed is None else str(allowed), next=_DISTRUST)


def members_between(before: Sequence[LedgerRow], now: Sequence[LedgerRow]) -> dict[str, int]:
    """Return how many authors of training rows there were and are, how many have left and how many have joined."""
    old, new = ({author for row in rows if row.split == "train" for author in row.authors} for rows in (before, now))
    return {"previous": len(old), "now": len(new), "left": len(old - new), "joined": len(new - old)}


def read_differential(data: bytes, *, source: str = "privacy/differential.json") -> DifferentialRecord:
    """Parse the record; raise BadInput for bytes that are not canonical or a field that is not as it must be."""
    loads(data, floats=True, source=source)
    try:
        return DifferentialRecord.model_validate_json(data)
    except ValidationError as error:
        raise explain_validation(error, DifferentialRecord, source) from error


def judge_differential(plan: Plan, data: bytes, *, plan_digest: str, weights: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `numbers`, `criteria`, `flags`, `verdict` and `passed`, all recomputed; they must be those the record states.

    Args:
        plan: the voted plan of the new release.
        data: privacy/differential.json.
        plan_digest: of plan.json.
        weights: outputs of its run.json.

    Raises:
        BadInput: another plan, weights or release before than was voted, a seed that is not that release's, losses that are missing or no numbers,
            or numbers that do not follow.
    """
    record = read_differential(data)
    found = [entry.model_dump(mode="json") for entry in record.weights]
    _require(record.plan == plan_digest and found == list(weights), "the comparison is of another run's weights", value=record.plan, allowed=plan_digest)
    stated = loads(data, floats=True)
    policy = plan.evaluation.leak
    judged = judge_pairs(
        plan, read_plan(dumps(stated["previous"]["plan"]), source="the plan before"), bytes.fromhex(record.seed), record.losses, record.members.model_dump()
    )
    if policy is not None and policy.differential is not None:
        before = sha256(dumps(stated["previous"]["plan"]))
        _require(
            before == policy.differential.previous, "the comparison is with another release than was voted", value=before, allowed=policy.differential.previous
        )
    judged = dict(loads(dumps(judged), floats=True))
    differing = sorted(key for key, value in judged.items() if stated[key] != value)
    _require(not differing, "what differential.json states does not follow from the losses", value=differing)
    return judged


def judge_pairs(plan: Plan, before: Plan, seed: bytes, losses: Sequence[Sequence[float]], members: Mapping[str, int]) -> dict[str, Any]:
    """Return what the losses of the canaries of `before` under both sets of weights say; BadInput as `judge_differential`."""
    wanted = before.canaries
    if wanted is None:
        raise BadInput("the plan of the release before has no canaries, so nothing in it can stand for what left", next="compare from the next release on")
    _require(commitment(seed) == wanted.commitment, "the seed is not the one the plan before commits to", value=commitment(seed), allowed=wanted.commitment)
    _require(
        plan.canaries is None or plan.canaries.commitment != wanted.commitment,
        "both releases were trained on the same canaries, so none of them left",
        allowed="a plan of its own name, which has canaries of its own",
    )
    _require(len(losses) == wanted.count, "the losses are not those of every canary once", value=len(losses), allowed=wanted.count)
    _require(all(math.isfinite(loss) for pair in losses for loss in pair), "a loss is no number")
    _require(
        members["left"] <= members["previous"] and members["previous"] - members["left"] + members["joined"] == members["now"], "the members do not add up"
    )
    left = [one.included for one in canaries(seed, wanted.count)]
    _require(0 < sum(left) < len(left), "all canaries are on one side, so there is nothing to compare")
    earlier, after = ([round(pair[side] * 10**DECIMALS) for pair in losses] for side in (0, 1))
    scores = calibrated(after, earlier)  # low under the weights before, for what the new ones make of it
    policy = plan.evaluation.leak
    told = policy or _DEFAULT
    numbers = {
        "left": sum(left),
        "never": len(left) - sum(left),
        "confidence": told.confidence,
        "auc": area(scores, left, confidence=told.confidence),
        "difference": area([now - before for before, now in zip(earlier, after, strict=True)], left, confidence=told.confidence),
        "tpr": recognised(scores, left, Decimal(repr(told.confidence))),
        "permutation": _permutation(scores, left, seed),
    }
    limits = policy.differential if policy is not None else None
    few = limits is not None and 0 < members["left"] < limits.minimum_left
    criteria = _criteria(numbers, limits, few)
    verdict = verdict_of(criteria) if limits is not None else None
    passed = None if policy is None or limits is None else verdict == "PASS" or (verdict == "INSUFFICIENT" and policy.allow_insufficient)
    return {"numbers": numbers, "criteria": criteria, "flags": ["few-left"] if few else [], "verdict": verdict, "passed": passed}


def _criteria(numbers: Mapping[str, Any], limits: DifferentialPolicy | None, few: bool) -> dict[str, Verdict]:
    if limits is None:
        return {}
    auc = numbers["auc"]
    return {
        "left_told_apart": "FAIL" if auc["low"] > limits.maximum_auc else "PASS" if auc["high"] <= limits.maximum_auc else "INSUFFICIENT",
        "members_left": "FAIL" if few and limits.refuse_small else "PASS",
    }


def _permutation(scores: Sequence[int], left: Sequence[bool], salt: bytes) -> dict[str, Any]:
    """Return how often dealing the coins anew ranks the canaries that left as high as they are: the coins were fair, so this is an exact null."""
    ordered = sorted(scores)
    twice_rank: dict[int, tuple[int, int]] = {}
    for position, score in enumerate(ordered):
        first, last = twice_rank.get(score, (position, position))
        twice_rank[score] = (min(first, position), max(last, position))
    ranks = [sum(twice_rank[score]) for score in scores]
    observed = sum(rank for rank, gone in zip(ranks, left, strict=True) if gone)
    draw = random.Random(int.from_bytes(hashlib.sha256(b"coop.leak-differential/v1\0" + salt).digest())).random  # noqa: S311 - a reproducible statistic
    count, reached = sum(left), 0
    for _ in range(PERMUTATIONS):
        for place in range(count):  # the first `count` of a partial shuffle
            other = place + int(draw() * (len(ranks) - place))
            ranks[place], ranks[other] = ranks[other], ranks[place]
        reached += sum(ranks[:count]) >= observed
    return {"of": PERMUTATIONS, "as_high": reached, "p": round((reached + 1) / (PERMUTATIONS + 1), 4)}
