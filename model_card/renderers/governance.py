"""card/governance.md: who decided what about these weights, by which rules, who disagreed, and how the voted policy came out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from governance_hooks.verdict import MINIMUM_CLUSTERS
from governance_hooks.vocabulary import WORDS
from model_card.decisions import COMPARED, WHOLE
from model_card.hostile import code
from model_card.measurements import LOWER_IS_BETTER
from model_card.records import CardRecords
from model_card.renderers.words import WORTH, language_name, number, percent, prose, quote, reason, show, table, value_of, words

__all__ = ["render"]

_VOTE = (
    ("proposal", "Proposal"), ("subject", "What was voted on (digest)"), ("opened", "Opened"), ("closed", "Closed"), ("outcome", "Outcome"), ("for", "For"), ("against", "Against"),
    ("abstain", "Abstained"), ("roll", "On the roll, frozen when it opened"), ("roll_root", "Merkle root of the roll"), ("turnout_percent", "Turnout, %"), ("quorum_percent", "Quorum, %"),
    ("approval_percent", "Approval needed, % of for and against"), ("minimum_for", "Fewest votes for"), ("challenge_s", "Challenge window, s"), ("objections", "Objections in that window"),
)  # fmt: skip


def _vote(vote: Mapping[str, Any]) -> str:
    return (
        table(["What", "Value"], [[label, show(vote[name])] for name, label in _VOTE if name in vote])
        if "for" in vote
        else f"{reason(vote)[0].upper()}{reason(vote)[1:]}."
    )


def _dissent(card: Mapping[str, Any]) -> str:
    found = card["dissent"]
    reasons = value_of(found["reasons"])
    if not isinstance(reasons, list):
        return f"{show(found['reasons'])[0].upper()}{show(found['reasons'])[1:]}."
    against = value_of(card["votes"]["run"].get("against", {}), 0)
    if not reasons:
        return f"Ballots against: {against}. No member gave a reason with theirs."
    parts = [f"Ballots against: {against}; with a reason: {len(reasons)}. Digests of the reasons, as the ballots name them: {show(found['reasons'])}."]
    if "value" in found["published"]:
        parts.append(f"Published by their authors, word for word ({len(found['published']['value'])} of {len(reasons)}):")
        parts += [f"{quote(one['text'])}\n>\n> (member {code(one['author'])}, statement {code(one['statement'])})" for one in found["published"]["value"]]
    else:
        parts.append(f"{reason(found['published'])[0].upper()}{reason(found['published'])[1:]}.")
    return "\n\n".join(parts)


_COMPARED: Final = {"base": "the base", "previous": "the release before"}
_TIERS: Final = {"required": "without it no release", "supporting": "a proven failure blocks the release", "advisory": "shown, and blocks nothing"}


def _task_policy(value: Mapping[str, Any]) -> str:
    kind, tier = (words(value.get(name)) for name in ("kind", "tier"))
    few = f"at least {words(value.get('minimum_items'))} items in a language"
    if value["comparison"] == "threshold":
        most = value.get("kind") in LOWER_IS_BETTER
        asked = f"{'at most' if most else 'at least'} {100 * value['threshold']:g} of 100 in every language"
    else:
        asked = f"no worse than {_COMPARED[value['comparison']]} by more than {100 * value['margin']:g} points of 100 in any language"
    return f"{kind}, {asked}; {few}; {tier}: {_TIERS.get(str(value.get('tier')), '-')}"


def _leak_policy(value: Mapping[str, Any]) -> str:
    """Return the limits members voted for what the weights may give away, in words."""
    told = [
        f"{label} {words(value[name]) if name == 'maximum_epsilon' else percent(value[name])}"
        for name, label in (("maximum_epsilon", "epsilon not shown above"), ("maximum_extraction", "planted lines repeated word for word, at most"), ("maximum_tpr", "recognised at 1 % false alarms, at most"))
        if isinstance(value.get(name), (int, float))
    ]  # fmt: skip
    told += [f"at least {words(value.get('minimum_canaries'))} planted lines"] if value.get("minimum_canaries") else []
    return "; ".join([*told, "if the test cannot tell, " + ("a release is allowed" if value.get("allow_insufficient") else "there is no release")])


def _compared_policy(value: Mapping[str, Any]) -> str:
    """Return what members voted on a comparison with the release before, in words."""
    few = "is no release" if value.get("refuse_small") else "is flagged"
    return (
        f"a line that left may be told from one that never was in for at most {percent(value['maximum_auc'])} of pairs; "
        f"a release before which some, but fewer than {words(value.get('minimum_left'))} members left {few}"
    )


def _policy(name: str, policy: Mapping[str, Any]) -> str:
    """Return what members voted in words, where this version knows the gate; else every setting."""
    value = value_of(policy)
    if name == "run vote" and value is not None:
        return f"at least {words(value)} % of for and against"
    if name == "held-out quality" and isinstance(value, Mapping):
        few = "may be released all the same, and is named" if value.get("allow_insufficient") else "blocks the release"
        who = f", or fewer than {MINIMUM_CLUSTERS} people who gave them," if value.get("interval") == "t" else ""
        return (
            f"no language worse than the base by more than {words(value.get('margin'))} nats per token beyond doubt (at {percent(value['confidence'])}); "
            f"a language with fewer than {words(value.get('minimum_items'))} held-out rows{who} {few}; at least one language passes"
        )
    if name == WHOLE:
        return "held-out quality as above, every required task passed, and no supporting task failed"
    if name == "leak test" and isinstance(value, Mapping):
        return _leak_policy(value)
    if name == COMPARED and isinstance(value, Mapping):
        return _compared_policy(value)
    if isinstance(value, Mapping) and value.get("comparison") in (*_COMPARED, "threshold"):
        return _task_policy(value)
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if key in ("kind", "comparison", "margin", "threshold", "tier", "waiver", "minimum_items")}
        return "; ".join(f"{key.replace('_', ' ')} {words(item)}" for key, item in kept.items() if item is not None) or show(policy)
    return show(policy)


def _outcome(name: str, outcome: Mapping[str, Any]) -> str:
    """Return what came out of a gate; languages by their verdict, the worst first."""
    verdicts = value_of(outcome)
    if name == WHOLE and isinstance(verdicts, bool):
        return "passed" if verdicts else "did not pass"
    if name != "held-out quality" or not isinstance(verdicts, Mapping):
        return show(outcome)
    groups = {verdict: [language_name(language) for language in verdicts if verdicts[language] == verdict] for verdict in ("FAIL", "INSUFFICIENT", "PASS")}
    return "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in groups.items() if names)


def _gates(card: Mapping[str, Any]) -> str:
    marks = {
        "failed": "**failed**",
        "fail": "**failed**",
        "waived": "**not passed, waived by vote**",
        "missing": "**missing**",
        "pass": "passed",
        "insufficient": "**insufficient evidence**",
    }
    rows = []
    first = ("run vote", "held-out quality", *(name for name in card["gates"] if name.startswith("task ")), "leak test", COMPARED, WHOLE)
    for name in [*(name for name in first if name in card["gates"]), *(name for name in card["gates"] if name not in first)]:
        gate = card["gates"][name]
        rows.append(
            [
                code(name) if name.startswith("task ") else name,
                _policy(name, gate["policy"]),
                _outcome(name, gate["outcome"]),
                marks.get(gate["result"], gate["result"]),
            ]
        )
    return table(["Gate", "What members voted", "What came out", "Result"], rows)


def _consent(card: Mapping[str, Any]) -> str:
    consent = card["consent"]
    use, log = value_of(consent["use"], {}), value_of(consent["log"], {})
    rows = [
        ["What is done", ", ".join(WORDS.get(term, code(term)) for term in use.get("processing", []))],
        ["For what", WORDS.get(use.get("purpose"), code(use.get("purpose")))],
        ["For whom", ", ".join(WORDS.get(term, code(term)) for term in use.get("recipients", []))],
        ["Licence of the weights", code(use.get("licence"))],
        ["Judged at entry of the log", f"{words(log.get('size'))} (root {code(log.get('root'))})"],
        ["Consents behind the data", show(consent["named"])],
        ["Withdrawn by the end of the run", show(consent["withdrawn_by_run_end"])],
        ["Withdrawn since", show(consent["withdrawn_since"])],
        ["If somebody withdraws while it trains", {"stop": "the run stops at the next step", "finish-unreleased": "the run ends, and is never released"}.get(value_of(consent["on_withdrawal"]), show(consent["on_withdrawal"]))],
    ]  # fmt: skip
    people = table(["Language", "Members", "Records for training", "Records held out"], [[language_name(language), number(row["members"]), number(row["train"]), number(row["heldout"])] for language, row in card["languages"].items()])  # fmt: skip
    return f"{table(['What', 'Value'], rows)}\n\n{people}\n\nCounts of fewer than five people are not shown, nor totals from which one could be worked out."


_KINDS: Final = {"original": "originals", "edit": "edits of others' texts", "translation": "translations"}


def _guild(name: str) -> str:
    language, dot, kind = name.partition(".")
    if name == "mixed":
        return "guilds of few members, together"
    return language_name(language) + (f", {_KINDS.get(kind, code(kind))}" if dot else "")


def _share(share: Mapping[str, Any]) -> str:
    return f"{share['share_ppm'] / 10_000:.1f} %"


def _shares(card: Mapping[str, Any]) -> str:
    found = card["attribution"]
    if "value" not in found["shares"]:
        return f"{show(found['shares'])[0].upper()}{show(found['shares'])[1:]}."
    shares, others, wide = found["shares"]["value"], value_of(found["alternatives"], {}), value_of(found["interval"], {})
    names, voted = sorted(others), str(value_of(found["utility"]))
    rows = []
    for guild, share in shares.items():
        cells = [_guild(guild), f"**{_share(share)}**", f"{share['low_ppm'] / 10_000:.1f} to {share['high_ppm'] / 10_000:.1f} %"]
        cells += [_share(others[name][guild]) if isinstance(others[name], dict) else "no gain" for name in names]
        player = found.get("players", {}).get(guild)
        told = [f"{value_of(player['record_share_ppm'], 0) / 10_000:.1f} %", number(player["records"]), number(player["members"])] if player else ["-"] * 3
        rows.append([*cells, *told])
    head = ["Guild", "Share, as voted", "Interval", *[f"By {words(name)}" for name in names], "By rows alone", "Rows", "Members"]
    meant = [f"as voted: {WORTH.get(voted, code(voted))}", *[f"by {words(name)}: {WORTH.get(name, code(name))}" for name in names]]
    return (
        f"Coalitions of guilds were trained one by one ({show(found['trainings'])} trainings, Shapley value, {show(found['method'])}), and measured on held-out answers; the guilds were fixed before the vote on the run.\n\n"
        f"{table(head, rows)}\n\n"
        f"{'; '.join(meant)[0].upper()}{'; '.join(meant)[1:]}. Interval at {words(wide.get('confidence_percent'))} %, over {words(wide.get('units'))} "
        f"{'contributors' if wide.get('unit') == 'clusters' else 'answers'}.\n\n"
        "Which of these columns decides is a choice members made with the run; the others show what another choice would have given. None of them is what a guild is worth."
    )


def _runs(card: Mapping[str, Any]) -> str:
    runs = value_of(card["compute"]["other_runs"])
    if not runs:
        return f"Other runs before this one ended: {'none' if runs == {} else show(card['compute']['other_runs'])}."
    same = value_of(card["compute"]["other_runs_of_this_plan"], [])
    rows = [
        [code(name), "yes" if name in same else "no", code(other["starts"]), words(other["ends"]), code(other["device_seconds_at_sites"])]
        for name, other in runs.items()
    ]
    return "Other runs of the cooperative before this one ended, failed ones too:\n\n" + table(
        ["Run", "Same plan", "Starts", "Ends", "Device seconds at sites"], rows
    )


def render(card: Mapping[str, Any], records: CardRecords) -> bytes:
    """Return the governance card."""
    sections = [
        f"# Governance of {code(card['name']['value'])}",
        "Who decided about these weights, by which rules, and who disagreed. Every figure is counted from the cooperative's signed log and stands in `card.json` with its source; `coop verify` counts again.",
        "## The vote on the training run",
        "![How members voted on the run](charts/vote.svg)",
        _vote(card["votes"]["run"]),
        "## The vote on this release",
        f"{show(card['votes']['release'])[0].upper()}{show(card['votes']['release'])[1:]}.",
        "## Dissent",
        _dissent(card),
        "## What members required, and what came out",
        "The policy was part of the plan members voted on, before the run started.",
        _gates(card),
        *(["### The vote that waived a gate", _vote(card["votes"]["waiver"])] if "for" in card["votes"]["waiver"] else []),
        "## Consent",
        _consent(card),
        "### What a withdrawal does",
        prose(card["consent"]["promise"]["value"]),
        "## How the credit is shared among the guilds",
        _shares(card),
        "## Runs",
        _runs(card),
        "## Who runs the cooperative",
        "Members decide, one member one vote. The operator keeps the log and executes what was voted; it holds no member's key and cannot vote. "
        "Rules, members' keys, ballots and consents are in the log inside `proof.jsonl.gz`: `coop audit` replays it.",
        f"Funding: {'stands in README.md, in the words of a member' if 'value' in card['statements']['funding'] else reason(card['statements']['funding'])}.",
    ]  # fmt: skip
    return ("\n\n".join(sections) + "\n").encode()
