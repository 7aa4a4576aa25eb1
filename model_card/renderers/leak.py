"""What the weights give away, in the README: the leak test, the release before beside it, and the canaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_card.decisions import COMPARED
from model_card.renderers.words import number, percent, show, table, value_of, words

__all__ = ["canary_lines", "what_it_gives_away"]


def what_it_gives_away(card: Mapping[str, Any]) -> str:
    """Return what the leak test measured, beside what members voted, or why it is not known."""
    leak = card["leak"]
    if value_of(leak["epsilon_lower"]) is None:
        return f"{show(leak['verdict'])[0].upper()}{show(leak['verdict'])[1:]}. Whether the weights give away what members wrote is therefore not known."
    tpr, extraction, exposure, areas = (value_of(leak[name], {}) for name in ("tpr", "extraction", "exposure", "auc"))
    policy, apart, whole = value_of(leak["policy"]) or {}, areas.get("calibrated", {}), extraction.get("whole", {})
    rows = [
        [
            "told apart: of a pair of lines, one trained on and one not, which is which",
            f"right for {_share(apart.get('value'))} of pairs ({_share(apart.get('low'))} to {_share(apart.get('high'))}); chance is 50 %",
            "-",
        ],
        [
            "recognised as trained on, at 1 % false alarms",
            f"{words(tpr.get('count'))} of {words(tpr.get('of'))} ({_share(tpr.get('low'))} to {_share(tpr.get('high'))})",
            _at_most(policy.get("maximum_tpr")),
        ],
        [
            "repeated word for word",
            f"{words(whole.get('count'))} of {words(whole.get('of'))} (at most {_share(whole.get('high'))})",
            _at_most(policy.get("maximum_extraction")),
        ],
        [
            "epsilon, lower bound",
            f"{show(leak['epsilon_lower'])} (no audit with so many lines could show more than {show(leak['epsilon_ceiling'])})",
            f"not shown above {words(policy['maximum_epsilon'])}" if "maximum_epsilon" in policy else "-",
        ],
        [
            "exposure, bits: trained on / not",
            f"{_bits(exposure.get('included'))} / {_bits(exposure.get('others'))} of at most {_bits(exposure.get('ceiling'))}",
            "-",
        ],
        ["the same on the base weights alone: epsilon", words(value_of(leak["control"], {}).get("base", {}).get("lower_bound")), "must be 0"],
        ["verdict under the voted policy", show(leak["verdict"]), "-"],
    ]
    parts = [
        f"Measured on {show(leak['made'])} lines of random syllables that no member wrote, of which a secret coin put {show(leak['included'])} into training; never on members' texts.",
        table(["Leak test", "Result", "Voted limit"], rows),
        "The bound is a lower one: the weights give away at least so much. That nothing was extracted is no evidence that nothing can be.",
        *_compared(card),
    ]
    waived = [name for name in ("leak test", COMPARED) if card["gates"].get(name, {}).get("result") == "waived"]
    if waived:
        parts.append(
            f"**Not passed: {' and '.join(waived)}. Members decided by vote {show(card['gates'][waived[0]]['waiver'])} to release these weights all the same.**"
        )
    return "\n\n".join(parts)


def _compared(card: Mapping[str, Any]) -> list[str]:
    """Return what somebody sees who lays these weights beside those of the release before."""
    found = card["leak"]["differential"]
    if "auc" not in found:
        return []
    auc, dealt = value_of(found["auc"], {}), value_of(found["permutation"], {})
    limit = (value_of(card["leak"]["policy"]) or {}).get("differential") or {}
    return [
        f"**Beside the release of run {show(found['previous_run'])}.** Somebody who has both sets of weights, and a line that was trained on before and now is not beside one that never was, "
        f"tells which is which for {_share(auc.get('value'))} of pairs ({_share(auc.get('low'))} to {_share(auc.get('high'))}; chance is 50 %, "
        f"members voted {_at_most(limit.get('maximum_auc')) if limit else 'no limit'}). Coins dealt anew told them apart as well in {words(dealt.get('as_high'))} of {words(dealt.get('of'))} deals. "
        f"Between the two releases {number(found['members_left'])} contributors left and {number(found['members_joined'])} joined. Verdict: {show(found['verdict'])}."
    ]


def _share(value: object) -> str:
    return percent(round(value, 3)) if isinstance(value, (int, float)) else "-"


def _bits(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, (int, float)) else "-"


def _at_most(limit: object) -> str:
    return f"at most {percent(limit)}" if isinstance(limit, (int, float)) else "-"


def canary_lines(card: Mapping[str, Any]) -> list[str]:
    """Return what is told of the canaries; nothing where there are none."""
    found = card["canaries"]
    if "count" not in found:
        return []
    return [
        f"Canaries: {show(found['count'])} lines of random syllables that no member wrote were made, and about half of them, drawn by a secret coin, trained on, so that it can be "
        f"tested how much these weights give away. The weights may repeat them. Commitment to the seed they follow from: {show(found['commitment'])}."
    ]
