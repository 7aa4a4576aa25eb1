"""Verdict per task and language from per-item results, under the policy members voted: PASS, FAIL or INSUFFICIENT.

Pure Python and exact, like `verdict`: everybody recomputes the same bytes. A claim over several languages holds only if it holds in each
of them (intersection-union: no correction is needed, Berger 1982); that single languages improved is corrected for their number (Holm).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR
from typing import Any, Final

from governance_hooks.canonical import dumps
from governance_hooks.errors import BadInput
from governance_hooks.plan import EvaluationPolicy
from governance_hooks.statistics import DECIMALS, MICRO, Estimate, detectable, estimate, holm, korn_graubard, rounded, sign_flip
from governance_hooks.task_items import ItemRow, read_items
from governance_hooks.tasks import LOWER_IS_BETTER, PROPORTIONS, LanguageRules, Task
from governance_hooks.verdict import MINIMUM_CLUSTERS, judge

__all__ = ["judge_evaluation", "judge_tasks"]

_WORSE: Final = ("PASS", "INSUFFICIENT", "FAIL")
"""Verdicts from good to bad."""

Outcome = dict[str, Any]


def _worst(*verdicts: str) -> str:
    return max(verdicts, key=_WORSE.index)


def _mean(values: Sequence[int]) -> float:
    return round(sum(values) / (len(values) * MICRO), DECIMALS)  # int / int is correctly rounded


def _clusters(rows: Sequence[ItemRow], values: Sequence[int]) -> list[tuple[int, int]]:
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row, value in zip(rows, values, strict=True):
        found[row.cluster][0] += value
        found[row.cluster][1] += 1
    return [(total, size) for total, size in found.values()]


def _level(rows: Sequence[ItemRow], values: Sequence[int], task: Task, confidence: float) -> tuple[float, float, str] | None:
    """Return the interval of a mean score and its name; None where items that do not differ allow none."""
    made = estimate(_clusters(rows, values))
    if task.kind in PROPORTIONS:
        name = "clopper-pearson" if made.clusters == len(rows) else "korn-graubard"
        return *korn_graubard(sum(value == MICRO for value in values), len(rows), made, confidence), name
    if not made.error:
        return None
    low, high = made.interval(confidence)
    return max(0.0, rounded(low, toward=ROUND_FLOOR)), min(1.0, rounded(high, toward=ROUND_CEILING)), "jackknife-t"


def _difference(rows: Sequence[ItemRow], before: Sequence[int], task: Task) -> tuple[Estimate, str] | None:
    """Return what the interval of the paired difference comes from, and the interval's name; None where items do not differ.

    Right or wrong: one cluster that wins and one that loses are added (Bonett and Price, J. Educ. Behav. Stat. 2012, with a cluster for an
    item), so that items on which both weights agree do not look like certainty.
    """
    clusters = _clusters(rows, [row.tuned - other for row, other in zip(rows, before, strict=True) if row.tuned is not None])
    if task.kind in PROPORTIONS:
        size = -(-len(rows) // len(clusters))
        return estimate([*clusters, (size * MICRO, size), (-size * MICRO, size)]), "bonett-price-jackknife-t"
    made = estimate(clusters)
    return (made, "jackknife-t") if made.error else None


def _empty(task: Task) -> Outcome:
    previous = {"previous": None} if task.comparison == "previous" else {}
    return {
        "items": 0, "clusters": 0, "unjudged": 0, "base": None, "tuned": None, "tuned_low": None, "tuned_high": None, "difference": None, "low": None,
        "high": None, "method": None, "detectable": None, "p": None, "p_corrected": None, "verdict": "INSUFFICIENT", "reason": "no_items", "improved": False,
    } | previous  # fmt: skip


def _judge_rows(every: Sequence[ItemRow], task: Task, policy: EvaluationPolicy, language: str) -> Outcome:
    """Judge some items as one group."""
    rows = [row for row in every if row.tuned is not None]
    out = _empty(task) | {"items": len(rows), "unjudged": len(every) - len(rows)}
    if not rows:
        return out | ({"reason": "unjudged"} if every else {})
    tuned, base = [row.tuned or 0 for row in rows], [row.base or 0 for row in rows]
    before = [row.previous or 0 for row in rows] if task.comparison == "previous" else base
    out |= {"clusters": len({row.cluster for row in rows}), "base": _mean(base), "tuned": _mean(tuned)}
    out["difference"] = _mean([after - other for after, other in zip(tuned, before, strict=True)])
    if task.comparison == "previous":
        out["previous"] = _mean(before)
    if len(rows) < task.minimum_items:
        return out | {"reason": "few_items"}
    if out["clusters"] < MINIMUM_CLUSTERS:
        return out | {"reason": "few_clusters"}
    level, paired = _level(rows, tuned, task, policy.confidence), _difference(rows, before, task)
    if level is not None:
        out |= {"tuned_low": level[0], "tuned_high": level[1]}
    if paired is not None:
        smoothed, out["method"] = paired
        low, high = smoothed.interval(policy.confidence)
        out |= {"low": rounded(low, toward=ROUND_FLOOR), "high": rounded(high, toward=ROUND_CEILING)}
        seed = dumps({"policy": policy.model_dump(mode="json"), "task": task.name, "language": language})
        sums = [part for part, _ in _clusters(rows, [after - other for after, other in zip(tuned, before, strict=True)])]
        out |= {
            "detectable": rounded(detectable(smoothed, policy.confidence), toward=ROUND_CEILING),
            "p": sign_flip(sums, resamples=policy.resamples, seed=seed),
        }
    verdict, reason = _compare(out, task)
    if out["unjudged"] and verdict == "PASS":
        verdict, reason = "INSUFFICIENT", "unjudged"
    if task.comparison == "threshold":
        out["method"] = level[2] if level is not None else None
    return out | {"verdict": verdict, "reason": reason}


def _compare(out: Outcome, task: Task) -> tuple[str, str]:
    """Return the verdict of an interval against what the task asks: all of it on the good side, all on the bad, or neither."""
    low, high = (out["tuned_low"], out["tuned_high"]) if task.comparison == "threshold" else (out["low"], out["high"])
    if low is None:
        return "INSUFFICIENT", "no_variation"
    limit = (task.threshold or 0.0) if task.comparison == "threshold" else -task.margin
    if task.kind in LOWER_IS_BETTER:
        low, high, limit = -high, -low, (-limit if task.comparison == "threshold" else limit)
    if low >= limit:
        return "PASS", "shown"
    return ("FAIL", "shown") if high < limit else ("INSUFFICIENT", "unclear")


def _judge_language(rows: Sequence[ItemRow], task: Task, policy: EvaluationPolicy, language: str) -> Outcome:
    """Judge one language, with and without the items training may have shown; the worse verdict counts."""
    out = _judge_rows(rows, task, policy, language)
    clean = [row for row in rows if not row.contaminated]
    out["contaminated"] = len(rows) - len(clean)
    out["clean"] = None
    if out["contaminated"]:
        without = _judge_rows(clean, task, policy, language)
        out["clean"] = {
            name: without[name] for name in ("items", "clusters", "base", "tuned", "tuned_low", "tuned_high", "difference", "low", "high", "verdict", "reason")
        }
        if _worst(out["verdict"], without["verdict"]) != out["verdict"]:
            out |= {"verdict": without["verdict"], "reason": "contaminated"}
    return out


def _between(table: Mapping[str, Outcome], task: Task, rules: LanguageRules) -> Outcome:
    """Judge what the policy asks of all languages together: the floor of the lowest, and the gap."""
    out: Outcome = {"lowest": None, "highest": None, "minimum": None, "gap": None}
    if task.kind in LOWER_IS_BETTER or task.tier != "required" or any(row["tuned"] is None for row in table.values()):
        return out
    order = sorted(table, key=lambda name: (table[name]["tuned"], name))
    out |= {"lowest": order[0], "highest": order[-1]}
    known = all(row["tuned_low"] is not None for row in table.values())
    lows, highs = ([row[name] for row in table.values()] for name in ("tuned_low", "tuned_high"))
    if rules.minimum is not None:
        out["minimum"] = "INSUFFICIENT" if not known else "FAIL" if min(highs) < rules.minimum else "PASS" if min(lows) >= rules.minimum else "INSUFFICIENT"
    if rules.maximum_gap is not None:
        # The widest and the narrowest gap that the intervals of two different languages leave possible.
        widest = max((table[a]["tuned_high"] - table[b]["tuned_low"] for a in table for b in table if a != b), default=0.0) if known else None
        narrowest = max(lows) - min(highs) if known else None
        out["gap"] = (
            "INSUFFICIENT" if widest is None or narrowest is None
            else "FAIL" if round(narrowest, DECIMALS) > rules.maximum_gap else "PASS" if round(widest, DECIMALS) <= rules.maximum_gap else "INSUFFICIENT"
        )  # fmt: skip
    return out


def _judge_task(rows: Sequence[ItemRow], task: Task, policy: EvaluationPolicy) -> Outcome:
    table = {language: _judge_language([row for row in rows if row.language == language], task, policy, language) for language in task.languages}
    claims = {language: row["p"] for language, row in table.items() if row["p"] is not None}
    corrected = holm(claims) if policy.correction == "holm" else claims
    sign = -1 if task.kind in LOWER_IS_BETTER else 1
    for language, p in corrected.items():
        better = sign * table[language]["difference"] > 0
        table[language] |= {"p_corrected": p, "improved": better and p <= round(1 - policy.confidence, DECIMALS)}
    between = _between(table, task, policy.between_languages)
    asked = [verdict for verdict in (between["minimum"], between["gap"]) if verdict is not None]
    return {
        "kind": task.kind,
        "tier": task.tier,
        "languages": table,
        "overall": _judge_language(rows, task, policy, "*"),
        "between_languages": between,
        "improved_everywhere": all(row["improved"] for row in table.values()),
        "verdict": _worst(*(row["verdict"] for row in table.values()), *asked),
        "missing": False,
    }


def _missing(task: Task) -> Outcome:
    """Return the outcome of a task nobody measured."""
    table = {language: _empty(task) | {"contaminated": 0, "clean": None} for language in task.languages}
    none: Outcome = {"lowest": None, "highest": None, "minimum": None, "gap": None}
    return {
        "kind": task.kind, "tier": task.tier, "languages": table, "overall": _empty(task) | {"contaminated": 0, "clean": None}, "between_languages": none,
        "improved_everywhere": False, "verdict": "INSUFFICIENT", "missing": True,
    }  # fmt: skip


def _blocks(task: Task, outcome: Outcome) -> Outcome | None:
    """Return why a task's outcome blocks a release, and whether members may waive that; None if it does not."""
    verdict, missing = outcome["verdict"], outcome["missing"]
    if task.tier == "advisory" or verdict == "PASS" or (task.tier == "supporting" and verdict != "FAIL"):
        return None
    waivable = not missing and (task.waiver == "vote" or (task.waiver == "insufficient" and verdict == "INSUFFICIENT"))
    return {"task": task.name, "verdict": "MISSING" if missing else verdict, "waivable": waivable}


def judge_tasks(items: Mapping[str, bytes], policy: EvaluationPolicy) -> dict[str, Any]:
    """Judge the tasks of a policy from the bytes of their results.

    Args:
        items: task name -> eval/items/NAME.jsonl; a task that is absent was not measured.
        policy: the evaluation policy of the voted plan.

    Returns:
        `tasks` (name -> kind, tier, languages, overall, between_languages, improved_everywhere, verdict, missing) and `blocking` (task, verdict,
        waivable) in the policy's order.

    Raises:
        BadInput: results of a task the policy does not have, or that `read_items` refuses.
    """
    strangers = sorted(items.keys() - {task.name for task in policy.tasks})
    if strangers:
        raise BadInput("results of a task the policy does not name", value=strangers, allowed=", ".join(task.name for task in policy.tasks) or "no task")
    outcomes = {task.name: _judge_task(read_items(items[task.name], task), task, policy) if task.name in items else _missing(task) for task in policy.tasks}
    found = [_blocks(task, outcomes[task.name]) for task in policy.tasks]
    return {"tasks": outcomes, "blocking": [one for one in found if one is not None]}


def judge_evaluation(
    results: Sequence[Mapping[str, Any]], items: Mapping[str, bytes], policy: EvaluationPolicy, *, languages: Sequence[str] | Mapping[str, Any] = ()
) -> dict[str, Any]:
    """Judge a whole evaluation, held-out loss and tasks; without tasks in the policy the outcome is that of `verdict.judge`, unchanged.

    `passed`: the held-out loss passes and no task blocks. `waivable`: members may release it all the same, by a vote of kind waiver.
    """
    judged = judge(results, policy, languages=languages)
    if not policy.tasks and not items:
        return judged
    tasks = judge_tasks(items, policy)
    return judged | tasks | {"passed": judged["passed"] and not tasks["blocking"], "waivable": all(one["waivable"] for one in tasks["blocking"])}
