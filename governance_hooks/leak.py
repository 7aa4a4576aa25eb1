"""The leak test of a run, judged from its records: `privacy/leak.json` and `privacy/canaries.jsonl`, under the policy members voted.

The seed is revealed in the record. It must be the one the plan commits to; then which canaries there are, and which of them the coin put in,
follows from it, and from the measured losses follows every number and the verdict. So strangers recompute all but the losses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from governance_hooks.canaries import canaries, commitment
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Slug, Strict
from governance_hooks.leak_numbers import Measured, leak_numbers
from governance_hooks.leak_policy import LeakPolicy
from governance_hooks.plan import CANARY_LANGUAGE, File, Plan, explain_validation

__all__ = ["FIELDS", "LeakRecord", "Verdict", "criteria_of", "judge", "judge_leak", "read_leak", "verdict_of"]

DECIMALS: Final = 6
MAX_BYTES: Final = 64 << 20
"""Of canaries.jsonl: 100,000 lines take half of it."""
FIELDS: Final = ("base", "base_min_k", "canary", "included", "index", "matched", "tail", "tokens", "tuned", "tuned_min_k")
_DISTRUST: Final = "do not trust the leak test; measure again: coop leak RUN"
_DEFAULT: Final = LeakPolicy()
"""Confidence and delta of the numbers where no policy was voted."""
_ODD_DEALS: Final = 22
"""Of 200 deals of coins; more are above zero with a probability below 0.0003, if 5% of them are."""

Verdict = Literal["PASS", "FAIL", "INSUFFICIENT"]
_Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ()._+,/-]{0,127}$")]


class LeakRecord(Strict):
    """`privacy/leak.json`."""

    format: Literal["coop.leak/v1"]
    run: Slug
    plan: Digest
    weights: Annotated[list[File], Field(min_length=1, max_length=1024)]
    """What was measured: the outputs of run.json."""
    seed: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """The secret of the coins, revealed."""
    items: Digest
    """Of privacy/canaries.jsonl."""
    policy: LeakPolicy | None
    """As voted; null if none was."""
    numbers: dict[str, Any]
    criteria: dict[str, Verdict]
    """By what was limited; empty without a policy."""
    verdict: Verdict | None
    passed: bool | None
    device: _Word
    threads: Annotated[int, Field(ge=1, le=4096)]
    precision: Literal["float32"]
    packages: Annotated[dict[_Word, _Word], Field(max_length=32)]
    wall_s: Annotated[int, Field(ge=0, lt=2**31)]


def _require(condition: bool, what: str, *, value: object = None, allowed: object = None) -> None:
    if not condition:
        raise BadInput(what, value=value, allowed=None if allowed is None else str(allowed), next=_DISTRUST)


def judge_leak(plan: Plan, leak: bytes, items: bytes) -> dict[str, Any]:
    """Return `numbers`, `criteria`, `verdict` and `passed`, all recomputed; they must be those the record states.

    Args:
        plan: the voted plan.
        leak: privacy/leak.json.
        items: privacy/canaries.jsonl.

    Raises:
        BadInput: another seed than the plan commits to; canaries that are missing, doubled, out of order or with another coin; losses that are no
            numbers; another policy than was voted; or numbers and verdicts that do not follow.
    """
    record = read_leak(leak)
    _require(record.items == sha256(items), "canaries.jsonl is not the file leak.json names", value=sha256(items), allowed=record.items)
    _require(
        record.policy == plan.evaluation.leak, "the leak test used another policy than the voted plan's", value=record.policy, allowed=plan.evaluation.leak
    )
    judged: dict[str, Any] = loads(dumps(judge(plan, bytes.fromhex(record.seed), _lines(items))), floats=True)
    stated = loads(leak, floats=True)
    differing = sorted(key for key, value in judged.items() if stated[key] != value)
    _require(not differing, "what leak.json states does not follow from the canaries", value=differing)
    return judged


def read_leak(data: bytes, *, source: str = "privacy/leak.json") -> LeakRecord:
    """Parse the record; raise BadInput for bytes that are not canonical or a field that is not as it must be."""
    loads(data, floats=True, source=source)
    try:
        return LeakRecord.model_validate_json(data)
    except ValidationError as error:
        raise explain_validation(error, LeakRecord, source) from error


def judge(plan: Plan, seed: bytes, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the measured lines say under the plan's policy: `numbers`, `criteria`, `verdict`, `passed`; BadInput as `judge_leak`."""
    measured = _measured(plan, seed, rows)
    policy = plan.evaluation.leak
    told = policy or _DEFAULT
    numbers = leak_numbers(measured, confidence=told.confidence, delta=told.delta, salt=seed)
    found = criteria_of(numbers, policy) if policy is not None else {}
    verdict = verdict_of(found) if policy is not None else None
    passed = None if policy is None else verdict == "PASS" or (verdict == "INSUFFICIENT" and policy.allow_insufficient)
    return {"numbers": numbers, "criteria": found, "verdict": verdict, "passed": passed}


def criteria_of(numbers: Mapping[str, Any], policy: LeakPolicy) -> dict[str, Verdict]:
    """Return the verdict on each limit: FAIL beyond doubt above it, PASS beyond doubt within it, else INSUFFICIENT.

    An audit bounds epsilon from below only. So it is INSUFFICIENT where even right guesses alone could not have shown more than is allowed; and the
    base weights alone, which never saw a canary, must show nothing: else the test itself is broken, and that FAILs it.
    """
    control, epsilon = numbers["control"], numbers["epsilon"]
    return {
        "canaries": "PASS" if numbers["made"] >= policy.minimum_canaries else "INSUFFICIENT",
        "control": "PASS" if control["base"]["lower_bound"] == 0 and control["shuffled"]["above_zero"] <= _ODD_DEALS else "FAIL",
        "epsilon": "FAIL" if epsilon["lower_bound"] > policy.maximum_epsilon else "PASS" if epsilon["ceiling"] > policy.maximum_epsilon else "INSUFFICIENT",
        "extraction": _within(numbers["extraction"]["whole"], policy.maximum_extraction),
        "tpr": _within(numbers["tpr"], policy.maximum_tpr),
    }


def _within(share: Mapping[str, Any], limit: float) -> Verdict:
    return "FAIL" if share["low"] > limit else "PASS" if share["high"] <= limit else "INSUFFICIENT"


def verdict_of(criteria: Mapping[str, Verdict]) -> Verdict:
    """Return the worst of them."""
    found = set(criteria.values())
    return "FAIL" if "FAIL" in found else "INSUFFICIENT" if "INSUFFICIENT" in found else "PASS"


def _lines(items: bytes) -> list[Any]:
    _require(len(items) <= MAX_BYTES, "canaries.jsonl is too large", value=len(items), allowed=f"{MAX_BYTES} bytes")
    _require(items.endswith(b"\n"), "canaries.jsonl is empty or cut off")
    return [loads(line, floats=True, source=f"canaries.jsonl, line {number}") for number, line in enumerate(items[:-1].split(b"\n"), 1)]


def _measured(plan: Plan, seed: bytes, rows: Sequence[Mapping[str, Any]]) -> list[Measured]:
    """Return the lines as numbers, once they are seen to be exactly the canaries of the plan with the coins of its seed."""
    wanted = plan.canaries
    if wanted is None:
        raise BadInput("the plan has no canaries, so no leak test of this kind can be made", next="plan with canaries: 200 or more")
    _require(commitment(seed) == wanted.commitment, "the seed is not the one the plan commits to", value=commitment(seed), allowed=wanted.commitment)
    _require(len(rows) == wanted.count, "canaries.jsonl does not hold every canary once", value=len(rows), allowed=f"{wanted.count} lines")
    sealed = canaries(seed, wanted.count)
    trained = plan.tokens.languages.get(CANARY_LANGUAGE)
    included = sum(one.included for one in sealed)
    _require(included == (trained.rows if trained else 0), "the seed puts another number of canaries in than the plan's tokens hold", value=included)
    out = []
    for index, (row, one) in enumerate(zip(rows, sealed, strict=True)):
        where = f"canaries.jsonl, line {index + 1}"
        _require(isinstance(row, Mapping) and sorted(row) == list(FIELDS), f"{where}: wrong fields", allowed=", ".join(FIELDS))
        _require(type(row["index"]) is int and row["index"] == index, f"{where}: is not the canary of this place", value=row["index"], allowed=index)
        _require(row["canary"] == one.canary, f"{where}: is another canary than the seed's", value=row["canary"], allowed=one.canary)
        _require(row["included"] is one.included, f"{where}: the coin of the seed fell otherwise", value=row["included"], allowed=one.included)
        tokens = _count(row, "tokens", where, at_least=1)
        matched, tail = (_count(row, name, where, at_most=tokens) for name in ("matched", "tail"))
        _require((matched == tokens) == (tail == tokens), f"{where}: matched and tail contradict each other", value=[matched, tail])
        base, tuned = (_micro(row, name, where, lowest=0.0) for name in ("base", "tuned"))
        base_min_k, tuned_min_k = (_micro(row, name, where, lowest=-1e9) for name in ("base_min_k", "tuned_min_k"))
        out.append(Measured(one.included, tokens, base, tuned, base_min_k, tuned_min_k, matched, tail))
    return out


def _count(row: Mapping[str, Any], name: str, where: str, *, at_least: int = 0, at_most: int = 2**20) -> int:
    value = row[name]
    _require(type(value) is int and at_least <= value <= at_most, f"{where}: {name} is no count", value=value, allowed=f"{at_least} to {at_most}")
    return int(value)


def _micro(row: Mapping[str, Any], name: str, where: str, *, lowest: float) -> int:
    value = row[name]
    _require(
        type(value) in (int, float) and math.isfinite(value) and lowest <= value <= 1e9,
        f"{where}: {name} is no loss",
        value=value,
        allowed=f"{lowest:g} to 1e9",
    )
    micro: int = round(value * 10**DECIMALS)
    return micro
