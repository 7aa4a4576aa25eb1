"""What the tasks of an evaluation policy ask, in words for members, and how fine a difference so many items can show."""

from __future__ import annotations

from typing import Final

from governance_hooks.plan import EvaluationPolicy
from governance_hooks.statistics import t_quantile
from governance_hooks.tasks import LOWER_IS_BETTER, Task
from governance_hooks.verdict import MINIMUM_CLUSTERS

__all__ = ["finest", "interval_words", "task_lines"]

SPREAD: Final = 0.5
"""Assumed standard deviation of paired differences of right and wrong; it is at most 1, and seldom above this."""
WORDS: Final = {
    "heldout_chrf": "answers to prompts kept aside, compared with the members' own (chrF)",
    "multiple_choice": "questions with choices",
    "exact_match": "questions with one right answer",
    "open": "answers to open prompts",
    "preference": "members choose blindly between the answers before and after",
    "unsafe_compliance": "harmful requests it does not refuse",
    "over_refusal": "harmless requests it refuses",
}
TIERS: Final = {"required": "without it no release", "supporting": "a proven failure blocks the release", "advisory": "blocks nothing"}
WAIVERS: Final = {"vote": "members may waive any outcome", "insufficient": "members may waive only too little evidence", "never": "nobody may waive it"}


def finest(items: int, confidence: float) -> float:
    """Return the difference that so many items show in four of five cases, each a cluster of its own with SPREAD."""
    if items < 2:
        return 1.0
    found: float = min(1.0, float(t_quantile((1 + confidence) / 2, items - 1) + t_quantile(0.8, items - 1)) * SPREAD / items**0.5)
    return found


def interval_words(policy: EvaluationPolicy) -> str:
    """Return what the policy asks before a language counts as measured, and how far to trust it with few people."""
    rows = f"{policy.minimum_items} rows kept aside"
    if policy.interval == "t":
        return f"Before a language counts as measured: {rows}, from {MINIMUM_CLUSTERS} people or more. With fewer the result is INSUFFICIENT, however good it looks."
    return (
        f"Before a language counts as measured: {rows}. The plan asks for the bootstrap, which is surer of itself than it should be where few people gave "
        f"them: at 95% it is right in 81 to 88 of 100 cases with 5 to 8 people, and with fewer than {MINIMUM_CLUSTERS} it says nothing about other people."
    )


def _asks(task: Task) -> str:
    if task.comparison == "threshold":
        return f"{'at most' if task.kind in LOWER_IS_BETTER else 'at least'} {100 * (task.threshold or 0):g} of 100 in each language"
    against = "the base" if task.comparison == "base" else "the earlier release"
    return f"no worse than {against} by more than {100 * task.margin:g} of 100 in any language"


def task_lines(policy: EvaluationPolicy) -> list[str]:
    """Return what else is measured, a line for each task; none if there are no tasks."""
    if not policy.tasks:
        return []
    lines = ["What else is measured before it may be released:"]
    for task in policy.tasks:
        waiver = f"; {WAIVERS[task.waiver]}" if task.tier != "advisory" else ""
        lines.append(f"  {task.name}: {WORDS[task.kind]}, {_asks(task)}; {task.tier} ({TIERS[task.tier]}{waiver}).")
        if task.data is not None and task.comparison != "threshold":
            fewest = min(task.data.items.values())
            lines.append(f"    With {fewest} items in a language it shows differences of about {100 * finest(fewest, policy.confidence):.0f} of 100, no finer.")
    rules = policy.between_languages
    if rules.minimum is not None:
        lines.append(f"  No language may score below {100 * rules.minimum:g} of 100 in a required task.")
    if rules.maximum_gap is not None:
        lines.append(f"  Between the best and the worst language there may be no more than {100 * rules.maximum_gap:g} of 100 in a required task.")
    return lines
