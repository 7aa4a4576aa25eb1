"""Verdict per language: paired held-out losses of base and tuned weights against the policy the members voted.

Pure Python and exact: losses become whole micro-nats before anything is added, and the resampling uses only
`random.Random(int).random()`, the one sequence Python promises to keep; with `interval: t` nothing is resampled (see `statistics`).
So everybody recomputes the same bytes from `eval/results.jsonl`.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR
from typing import Any

from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput
from governance_hooks.plan import EvaluationPolicy
from governance_hooks.statistics import estimate, rounded

__all__ = ["MINIMUM_CLUSTERS", "interval", "judge"]

MINIMUM_CLUSTERS = 5
"""With fewer contributors than this, items are resampled, or with interval t none is stated: too few clusters give no usable interval."""

DECIMALS = 6
_MICRO = 10**DECIMALS
_FIELDS = ("base", "cluster", "item", "language", "tokens", "tuned")
_LANGUAGE = re.compile(r"[a-z]{3}")

Item = tuple[str, str, int, int, int]
"""Language, cluster, supervised tokens, base and tuned loss in micro-nats."""


def _micro(row: Mapping[str, Any], name: str, where: str) -> int:
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e9 or not math.isfinite(value):
        raise BadInput(f"{where}: {name} is no loss", value=value, allowed="nats, a number from 0 to 1e9")
    micro: int = round(value * _MICRO)
    return micro


def _items(rows: Sequence[Mapping[str, Any]]) -> list[Item]:
    """Return the rows as numbers that add exactly; refuse anything but one well-formed row for each item (BadInput)."""
    items: list[Item] = []
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        where = f"results, line {number}"
        if not isinstance(row, Mapping) or sorted(row) != list(_FIELDS):
            raise BadInput(f"{where}: wrong fields", value=sorted(row) if isinstance(row, Mapping) else row, allowed=", ".join(_FIELDS))
        item, language, cluster, tokens = row["item"], row["language"], row["cluster"], row["tokens"]
        if not isinstance(item, str) or not isinstance(cluster, str) or not isinstance(language, str) or not _LANGUAGE.fullmatch(language):
            raise BadInput(f"{where}: item, language or cluster is not a name", value=[item, language, cluster], allowed="texts; languages as ISO 639-3 codes")
        if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 < tokens < 2**31:
            raise BadInput(f"{where}: tokens is no count", value=tokens, allowed="a whole number above 0")
        if item in seen:
            raise BadInput(f"{where}: item appears twice", value=item)
        seen.add(item)
        items.append((language, cluster, tokens, _micro(row, "base", where), _micro(row, "tuned", where)))
    return items


def _per_token(micro: int, tokens: int) -> float:
    ratio: float = micro / (tokens * _MICRO)
    return round(ratio, DECIMALS)  # int / int is correctly rounded in Python, whatever the machine


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return the linearly interpolated quantile (Hyndman and Fan 1996, type 7: numpy's default)."""
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def interval(pairs: Sequence[tuple[int, int]], *, confidence: float, resamples: int, seed: int) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a ratio of sums, in nats per token (Efron and Tibshirani 1993, chapter 13).

    Args:
        pairs: for each resampled unit, (difference in micro-nats, tokens).
        confidence: for example 0.95; the tails are cut equally.
        resamples: number of bootstrap samples, each of as many units as there are.
        seed: whole number that fixes the resampling.
    """
    draw = random.Random(seed).random  # noqa: S311 - a reproducible statistic, not a secret
    n = len(pairs)
    statistics = []
    for _ in range(resamples):
        micro = tokens = 0
        for _ in range(n):
            d, t = pairs[int(draw() * n)]
            micro += d
            tokens += t
        statistics.append(micro / (tokens * _MICRO))
    statistics.sort()
    tail = (1 - confidence) / 2
    return round(_quantile(statistics, tail), DECIMALS), round(_quantile(statistics, 1 - tail), DECIMALS)


def _seed(policy: EvaluationPolicy, language: str) -> int:
    return int.from_bytes(hashlib.sha256(dumps({"policy": policy.model_dump(mode="json"), "language": language})).digest())


def _judge_group(items: Sequence[Item], policy: EvaluationPolicy, language: str) -> dict[str, Any]:
    """Return the row of one language (or of all, language `*`): means, paired difference, interval, verdict."""
    clusters: dict[str, tuple[int, int]] = {}
    for _, cluster, tokens, base, tuned in items:
        d, t = clusters.get(cluster, (0, 0))
        clusters[cluster] = d + tuned - base, t + tokens
    total = sum(item[2] for item in items)
    base_sum, tuned_sum = sum(item[3] for item in items), sum(item[4] for item in items)
    out: dict[str, Any] = {
        "items": len(items),
        "clusters": len(clusters),
        "tokens": total,
        "base": _per_token(base_sum, total) if items else None,
        "tuned": _per_token(tuned_sum, total) if items else None,
        "difference": _per_token(tuned_sum - base_sum, total) if items else None,
        "low": None,
        "high": None,
        "resampled": None,
        "verdict": "INSUFFICIENT",
        "improved": False,
    }
    if len(items) < policy.minimum_items:
        return out  # no interval is stated: that of two or three items would look like knowledge
    enough = len(clusters) >= MINIMUM_CLUSTERS
    if policy.interval == "t":
        made = estimate(clusters.values()) if enough else None
        if made is None or not made.error:
            return out
        below, above = made.interval(policy.confidence)
        return _against_margin(out | {"resampled": "none"}, rounded(below, toward=ROUND_FLOOR), rounded(above, toward=ROUND_CEILING), policy.margin)
    units = [clusters[name] for name in sorted(clusters)] if enough else sorted((tuned - base, tokens) for _, _, tokens, base, tuned in items)
    low, high = interval(units, confidence=policy.confidence, resamples=policy.resamples, seed=_seed(policy, language))
    return _against_margin(out | {"resampled": "clusters" if enough else "items"}, low, high, policy.margin)


def _against_margin(out: dict[str, Any], low: float, high: float, margin: float) -> dict[str, Any]:
    """Return the row with its interval, and what follows from it."""
    verdict = "FAIL" if low > margin else "PASS" if high <= margin else "INSUFFICIENT"
    return out | {"low": low, "high": high, "improved": high < 0, "verdict": verdict}


def judge(rows: Sequence[Mapping[str, Any]], policy: EvaluationPolicy, *, languages: Iterable[str] = ()) -> dict[str, Any]:
    """Judge per-item losses under a voted policy, language by language and overall.

    Differences are tuned minus base in nats per token of the answers (token-weighted), so below zero is better.
    A verdict is INSUFFICIENT with fewer than `minimum_items` rows or when the interval holds the margin, FAIL when the
    whole interval lies above the margin, else PASS. `improved` means the whole interval lies below zero.

    Args:
        rows: the lines of `eval/results.jsonl` in any order: item, language, cluster, tokens, base and tuned (nats, summed).
        policy: the evaluation policy of the voted plan.
        languages: languages that must appear, with no rows as INSUFFICIENT (those of the plan's build).

    Returns:
        `languages` and `overall` (items, clusters, tokens, base, tuned, difference, low, high, resampled, verdict, improved; `low` and
        `high` are null with too few items), `worse` (languages whose difference is above zero), `unproven` (languages not
        improved) and `passed`: nothing failed, nothing is INSUFFICIENT unless the policy allows it, and a language passes.

    Raises:
        BadInput: a row with other fields, impossible numbers, or an item twice.
    """
    items = sorted(_items(rows))
    names = sorted({item[0] for item in items} | set(languages))
    table = {name: _judge_group([item for item in items if item[0] == name], policy, name) for name in names}
    overall = _judge_group(items, policy, "*")
    verdicts = [row["verdict"] for row in table.values()]
    everywhere = [*verdicts, overall["verdict"]]
    return {
        "languages": table,
        "overall": overall,
        "worse": [name for name in names if (table[name]["difference"] or 0) > 0],
        "unproven": [name for name in names if not table[name]["improved"]],
        "passed": "FAIL" not in everywhere and (policy.allow_insufficient or "INSUFFICIENT" not in everywhere) and "PASS" in verdicts,
    }
