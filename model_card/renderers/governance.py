"""card/governance.md: who decided what about these weights, by which rules, who disagreed, and how the voted policy came out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance_hooks.vocabulary import WORDS
from model_card.hostile import code
from model_card.records import CardRecords
from model_card.renderers.words import language_name, number, prose, quote, reason, show, table, value_of, words

__all__ = ["render"]

_VOTE = (
    ("proposal", "Proposal"), ("subject", "What was voted on (digest)"), ("opened", "Opened"), ("closed", "Closed"), ("outcome", "Outcome"), ("for", "For"), ("against", "Against"),
    ("abstain", "Abstained"), ("roll", "On the roll, frozen when it opened"), ("roll_root", "Merkle root of the roll"), ("turnout_percent", "Turnout, %"), ("quorum_percent", "Quorum, %"),
    ("approval_percent", "Approval needed, % of for and against"), ("minimum_for", "Fewest votes for"), ("challenge_s", "Challenge window, s"), ("objections", "Objections in that window"),
)  # fmt: skip


def _vote(vote: Mapping[str, Any]) -> str:
    return (
        table(["", ""], [[label, show(vote[name])] for name, label in _VOTE if name in vote])
        if "for" in vote
        else f"{reason(vote)[0].upper()}{reason(vote)[1:]}."
    )


def _dissent(card: Mapping[str, Any]) -> str:
    found = card["dissent"]
    parts = [f"Reasons against, by digest: {show(found['reasons'])}."]
    if "value" in found["published"]:
        parts.append("Published by their authors, word for word:")
        parts += [f"{quote(one['text'])}\n>\n> (member {code(one['author'])}, statement {code(one['statement'])})" for one in found["published"]["value"]]
    else:
        parts.append(f"{reason(found['published'])[0].upper()}{reason(found['published'])[1:]}.")
    return "\n\n".join(parts)


def _policy(name: str, policy: Mapping[str, Any]) -> str:
    """Return what members voted in words, where this version knows the gate; else every setting."""
    value = value_of(policy)
    if name == "run vote" and value is not None:
        return f"at least {words(value)} % of for and against"
    if name == "held-out quality" and isinstance(value, Mapping):
        few = "may be released all the same, and is named" if value.get("allow_insufficient") else "blocks the release"
        return (
            f"no language worse than the base by more than {words(value.get('margin'))} nats per token beyond doubt ({words(value.get('confidence'))}); "
            f"a language with fewer than {words(value.get('minimum_items'))} held-out rows {few}"
        )
    if name == "leak test" and isinstance(value, Mapping):
        return "; ".join(f"{key.replace('_', ' ')} {words(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if key in ("kind", "comparison", "margin", "threshold", "tier", "waiver", "minimum_items")}
        return "; ".join(f"{key.replace('_', ' ')} {words(item)}" for key, item in kept.items() if item is not None) or show(policy)
    return show(policy)


def _gates(card: Mapping[str, Any]) -> str:
    marks = {
        "failed": "**failed**",
        "fail": "**failed**",
        "waived": "**failed, waived by vote**",
        "missing": "**missing**",
        "pass": "passed",
        "insufficient": "**insufficient evidence**",
    }
    rows = []
    for name, gate in card["gates"].items():
        rows.append(
            [code(name) if name.startswith("task ") else name, _policy(name, gate["policy"]), show(gate["outcome"]), marks.get(gate["result"], gate["result"])]
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
    people = table(["Language", "Members", "Records trained on", "Records held out"], [[language_name(language), number(row["members"]), number(row["train"]), number(row["heldout"])] for language, row in card["languages"].items()])  # fmt: skip
    return f"{table(['', ''], rows)}\n\n{people}\n\nCounts of fewer than five people are not shown, nor totals from which one could be worked out."


def _shares(card: Mapping[str, Any]) -> str:
    found = card["attribution"]
    if "value" not in found["shares"]:
        return f"{show(found['shares'])[0].upper()}{show(found['shares'])[1:]}."
    shares, others = found["shares"]["value"], value_of(found["alternatives"], {})
    names = sorted(others) if isinstance(others, dict) else []
    rows = []
    for guild, share in shares.items() if isinstance(shares, dict) else []:
        cells = [code(guild), f"{share['share_ppm'] / 10_000:.1f} % ({share['low_ppm'] / 10_000:.1f} to {share['high_ppm'] / 10_000:.1f})"]
        cells += [f"{others[name][guild]['share_ppm'] / 10_000:.1f} %" if isinstance(others[name], dict) else "no gain" for name in names]
        player = found.get("players", {}).get(guild)
        rows.append([*cells, f"{value_of(player['record_share_ppm'], 0) / 10_000:.1f} %" if player else "-", number(player["members"]) if player else "-"])
    head = ["Guild", f"Share by {words(value_of(found['utility']))} (voted)", *[f"by {code(name)}" for name in names], "Share of records", "Members"]
    return (
        f"Method: {show(found['method'])}; {show(found['trainings'])} trainings.\n\n{table(head, rows)}\n\n"
        "The utility decides the shares, and members voted it; the other columns show what others would have given. Shares are no objective worth."
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
        "## What each guild's data is worth in it",
        _shares(card),
        "## Runs",
        _runs(card),
        "## Who runs the cooperative",
        "Members decide, one member one vote. The operator keeps the log and executes what was voted; it holds no member's key and cannot vote. "
        "Rules, members' keys, ballots and consents are in the log inside `proof.jsonl.gz`: `coop audit` replays it.",
        f"Funding: {'see README.md' if 'value' in card['statements']['funding'] else show(card['statements']['funding'])}.",
    ]  # fmt: skip
    return ("\n\n".join(sections) + "\n").encode()
