"""The results in the README: the held-out loss by language, where it is worse or unproven, and the scores of the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance_hooks.verdict import MINIMUM_CLUSTERS
from model_card.hostile import code
from model_card.renderers.words import in_the_way, interval, language_name, language_names, number, show, table, value_of, words

__all__ = ["how_measured", "outcome", "results_by_language", "rows_read", "task_scores", "worse_or_unproven"]


def outcome(card: Mapping[str, Any]) -> str:
    """Return how the evaluation came out, what was in the way, and the vote that let it pass all the same."""
    if "value" not in card["evaluation"]["passed"]:
        return show(card["evaluation"]["passed"])
    if card["evaluation"]["passed"]["value"] is True:
        return "passed"
    waiver = card["votes"]["run"].get("waiver", {}).get("value")
    why = "".join(f": {told}" for told in [", ".join(in_the_way(card))] if told)
    return f"**not passed{why}; members decided by vote {code(waiver)} to release it all the same**" if waiver else f"**not passed{why}**"


def how_measured(policy: Mapping[str, Any]) -> str:
    """Return how the intervals of the held-out loss were made, by the policy members voted."""
    if policy.get("interval", "bootstrap") == "t":
        return f"by leaving out one contributor at a time (Student's t); where fewer than {MINIMUM_CLUSTERS} contributed none is stated, and nothing is shown"
    return f"by resampling contributors, or rows (marked) where fewer than {MINIMUM_CLUSTERS} contributed"


def results_by_language(card: Mapping[str, Any]) -> str:
    """Return the table of the held-out loss by language."""
    # What a reader came for stands first: on a narrow page the table ends at the edge.
    head = [
        "Language",
        "Better than base?",
        "Verdict",
        "Base",
        "Tuned",
        "Difference",
        "Interval",
        "Members",
        "Rows: for training / held out",
        "Tokens trained on",
    ]
    rows = []
    for language, row in card["languages"].items():
        given = [number(row["members"]), f"{number(row['train'])} / {number(row['heldout'])}", number(row["supervised_tokens"])]
        rows.append([language_name(language), *_measured(row), *given])
    rows.append(["All", *_measured(card["evaluation"]["overall"]), "", "", ""])
    return table(head, rows)


def _measured(row: Mapping[str, Any]) -> list[str]:
    better = "yes" if value_of(row["improved"]) is True else "**not shown**"
    losses = [number(row["base"], 3), number(row["tuned"], 3), number(row["difference"], 3, sign=True)]
    return [better, str(value_of(row["verdict"], "-")), *losses, interval(row)]


def rows_read(card: Mapping[str, Any]) -> list[str]:
    """Say it where a run was too short to read all rows it might have."""
    read, there = value_of(card["run"]["trained_records"]), value_of(card["data"]["splits"], {}).get("train")
    return (
        [f"The run read {read:,} of the {there:,} rows for training; the rest were in the build and not learned from."]
        if read is not None and there and read < there
        else []
    )


def worse_or_unproven(card: Mapping[str, Any]) -> str:
    """Return in which languages the weights are worse or not shown to be better, and which tasks were not passed."""
    worse, unproven = value_of(card["evaluation"]["worse"], []), value_of(card["evaluation"]["unproven"], [])
    if "value" not in card["evaluation"]["passed"]:
        return f"Nothing was measured ({show(card['evaluation']['passed'])})."
    parts = []
    if worse:
        parts.append(f"**Measured worse than the base weights:** {language_names(worse)}.")
    if rest := [language for language in unproven if language not in worse]:
        parts.append(
            f"**Not shown to be better than the base weights** (too few held-out rows or contributors, or the interval includes zero): {language_names(rest)}."
        )
    if not parts:
        parts.append("In every language of this release the whole interval lies below zero: the held-out loss fell.")
    tasks = card["tasks"] if "not_collected" not in card["tasks"] else {}
    if open_ := [f"{code(name)} ({words(value_of(task['verdict']))})" for name, task in tasks.items() if value_of(task["verdict"]) not in ("PASS", None)]:
        parts.append(f"**Tasks that were not passed:** {', '.join(open_)}; the table below shows how far.")
    few = [language for language, row in card["languages"].items() if value_of(row["resampled"]) == "items"]
    if few:
        parts.append(
            f"**Of few people:** {language_names(few)}. Fewer than {MINIMUM_CLUSTERS} gave the held-out answers, so rows were resampled: such an interval is too narrow, and says nothing about other people."
        )
    parts.append("A lower loss on members' held-out answers is not proof that the answers are true, useful or safe.")
    return " ".join(parts)


def _points(field: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a score of 0 to 1 as points of 100."""
    value = field.get("value")
    return dict(field) | {"value": 100 * value} if isinstance(value, (int, float)) and not isinstance(value, bool) else field


def task_scores(card: Mapping[str, Any]) -> list[str]:
    """Return the section of the tasks members voted for; none where there are none."""
    tasks = card["tasks"]
    if "not_collected" in tasks:
        return []
    rows = []
    for name, task in tasks.items():
        policy = value_of(card["gates"].get(f"task {name}", {}).get("policy", {}), {})
        level = policy.get("comparison") == "threshold"
        notes = [*([str(policy["tier"])] if policy.get("tier") else []), *(["lower is better"] if task["lower_is_better"] else [])]
        label = code(name) + (f" ({', '.join(notes)})" if notes else "")
        over_all = [("", task["overall"])] if len(task["languages"]) != 1 else []
        for language, row in [*task["languages"].items(), *over_all]:
            if "value" not in row["tuned"] and "value" not in row["verdict"]:
                continue
            points = {key: _points(row[key]) for key in ("base", "tuned", "difference", "low", "high", "tuned_low", "tuned_high")}
            shown = f"{number(points['tuned_low'], 1)} to {number(points['tuned_high'], 1)} (of the score)" if level else interval(points, 1)
            rows.append(
                [label, language_name(language) if language else "all", number(row["items"]), number(row["clusters"]), number(points["base"], 1), number(points["tuned"], 1),
                 number(points["difference"], 1, sign=True), shown, str(value_of(row["verdict"], "-"))]
            )  # fmt: skip
    return ["## Tasks", "Scores of the tasks members voted for, in points of 100, base and tuned, with the interval of the difference, or of the score itself where members voted a threshold. "
            "Required: without PASS no release; supporting: FAIL blocks; advisory: shown only. Translations of one item count once as independent.",
            table(["Task", "Language", "Items", "Independent", "Base", "Tuned", "Difference", "Interval", "Verdict"], rows)]  # fmt: skip
