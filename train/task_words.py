"""What the tasks of an evaluation policy ask, in words for members, and how fine a difference so many items can show."""

from __future__ import annotations

from typing import Final

from governance_hooks.plan import EvaluationPolicy
from governance_hooks.statistics import t_quantile
from governance_hooks.tasks import LOWER_IS_BETTER, Task
from governance_hooks.verdict import MINIMUM_CLUSTERS

__all__ = ["finest", "task_lines"]

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

_BOOTSTRAP: Final = (
    "How sure that is: less than it says where few people gave the rows kept aside. The plan asks for the bootstrap (evaluation.interval), which at 95% confidence is right in "
    f"81 to 88 of 100 cases with 5 to 8 people, and says nothing about other people with fewer than {MINIMUM_CLUSTERS}."
)


def finest(items: int, confidence: float) -> float:
    """Return the difference that so many items show in four of five cases, each a cluster of its own with SPREAD."""
    if items < 2:
        return 1.0
    found: float = min(1.0, float(t_quantile((1 + confidence) / 2, items - 1) + t_quantile(0.8, items - 1)) * SPREAD / items**0.5)
    return found


def _asks(task: Task) -> str:
    if task.comparison == "threshold":
        return f"{'at most' if task.kind in LOWER_IS_BETTER else 'at least'} {100 * (task.threshold or 0):g} of 100 in each language"
    against = "the base" if task.comparison == "base" else "the earlier release"
    return f"no worse than {against} by more than {100 * task.margin:g} of 100 in any language"


def task_lines(policy: EvaluationPolicy) -> list[str]:
    """Return how far to trust the intervals where that is less than they say, and what else is measured, a line for each task; none if there are no tasks."""
    lines = [_BOOTSTRAP] if policy.interval == "bootstrap" else []
    if not policy.tasks:
        return lines
    lines += ["What else is measured before it may be released:"]
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
