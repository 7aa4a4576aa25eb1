"""What people decided and said: consent, votes, dissent, human statements, and how the voted policy came out, gate by gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from governance_hooks.card_statement import FIELDS, REQUIRED
from model_card.people import Crowd
from model_card.promise import PROMISE
from model_card.records import CardRecords, Field, Source, estimated, not_applicable, not_collected, withheld
from model_card.statements import read_statements

__all__ = ["LABELS", "consent_of", "dissent_of", "gates_of", "is_left_open", "statements_of_card", "translations_of", "votes_section"]

LABELS: Final[dict[str, str]] = {
    "intended_use": "Intended use",
    "out_of_scope_use": "Out of scope",
    "limits": "Limits",
    "bias_and_risks": "Bias and risks",
    "recommendations": "Recommendations",
    "contact": "Contact",
    "provider": "Who provides it",
    "funding": "Funding",
    "legal_measures": "Measures against unlawful content",
    "summary": "Summary",
    "dissent": "Dissent",
}
WHOLE: Final = "evaluation as a whole"
"""Held-out loss and tasks together."""
COMPARED: Final = "comparison with the release before"
NOBODY: Final = "no signed statement of a member is part of this release"
_ABSENT: Final = {"not-known": "not known", "not-discussed": "not discussed yet", "declined": "they decline to say"}


def _said(records: CardRecords) -> list[dict[str, Any]]:
    """Return all statements of this release, what the log says of each beside its text, in the order they were signed."""
    log = records.log.get("statements") or {}
    files = read_statements(records.files)
    known = [
        {"statement": identifier} | log[identifier] | {"text": file.text, "digest": log[identifier]["text"]}
        for identifier, file in files.items()
        if identifier in log
    ]
    return sorted(known, key=lambda one: (one["issued"], one["statement"]))  # fmt: skip


def _field(records: CardRecords, said: list[dict[str, Any]]) -> Field:
    return {"value": said, "source": f"{records.log.path}#/statements", "sha256": records.log.sha256}


def statements_of_card(records: CardRecords) -> dict[str, Field]:
    """Return the members' own words by field; where there are none, whether a member signed why, or nobody said anything."""
    said = _said(records)
    found: dict[str, Field] = {}
    for name in FIELDS:
        if name in ("summary", "dissent"):
            continue
        here = [one for one in said if one["field"] == name]
        texts = [one for one in here if one["text"] is not None]
        if texts:
            found[name] = _field(records, texts)
        elif here:
            why = ", ".join(sorted({_ABSENT[one["absent"]] for one in here}))
            found[name] = {"not_collected": f"members say: {why}", "signed": [one["statement"] for one in here]}
        else:
            found[name] = not_collected(NOBODY)
    return found


def is_left_open(card: Mapping[str, Any]) -> list[str]:
    """Return the required human fields for which nobody signed anything."""
    return [name for name in REQUIRED if "value" not in card["statements"][name] and "signed" not in card["statements"][name]]


def dissent_of(records: CardRecords) -> dict[str, Field]:
    """Return the digests of the reasons against the run, and the texts of those whose authors published them, word for word."""
    log = records.log
    said = [one for one in _said(records) if one["field"] == "dissent" and one["text"] is not None]
    digests = log.get("run", "dissent")
    if digests is None:
        nothing = not_collected("no vote was given to the card")
        return {"reasons": nothing, "published": nothing}
    if said:
        published = _field(records, said)
    elif digests:
        published = withheld("the members who gave a reason have not published it", "each of them: it is theirs to publish (coop card dissent)")
    else:
        published = not_applicable("no member who voted against gave a reason")
    return {"reasons": log.field("run", "dissent"), "published": published}


def votes_section(records: CardRecords) -> dict[str, Any]:
    """Return the run's vote, the waiver's where there is one, and why the release's own vote cannot stand here."""
    log = records.log
    vote = {name: log.field("run", name) for name in log.get("run") or {} if name != "dissent"}
    if vote and log.get("run", "waiver") is None:
        vote["waiver"] = not_applicable("no waiver was asked for or none was approved")
    waiver = {name: log.field("waiver", name) for name in log.get("waiver") or {}}
    return {
        "run": vote or not_collected("no vote was given to the card"),
        "waiver": waiver or not_applicable("members waived nothing"),
        "release": not_applicable("members vote on these very bytes, so their vote comes after them; coop verify shows it"),
    }


def consent_of(records: CardRecords, crowd: Crowd) -> dict[str, Any]:
    """Return the consent section: the use asked for, how many consents stand behind the data, withdrawals, and what a withdrawal does."""
    manifest, log = records.manifest, records.log
    counts = {name: crowd.total(log, "consents", name, missing="no log was given to the card") for name in ("named", "in_log", "withdrawn_by_run_end")}
    return {
        "use": manifest.field("use"),
        "at": manifest.field("at"),
        "log": manifest.field("log"),
        **counts,
        "commercial": log.field("consents", "commercial", missing="the log given to the card does not hold every consent"),
        "withdrawn_since": not_applicable("withdrawals after the run ended come after this card; coop verify counts them from the newest proof"),
        "on_withdrawal": records.plan_source.field("policies", "on_withdrawal"),
        "promise": {"value": PROMISE, "source": "card.json#/renderer", "sha256": None},
    }


def _gate(policy: Field, outcome: Field, result: str) -> dict[str, Any]:
    return {"policy": policy, "outcome": outcome, "result": result}


def _heldout(records: CardRecords) -> dict[str, Any]:
    """Return the gate of the held-out loss alone: the report's `passed` is about all tasks together."""
    plan, report = records.plan_source, records.report
    rows = report.get("languages")
    if not isinstance(rows, dict) or not rows:
        return _gate(plan.field("evaluation"), not_collected("the run was not evaluated"), "not run")
    verdicts = {language: str(row["verdict"]) for language, row in sorted(rows.items())}
    found = set(verdicts.values())
    failed = "FAIL" in found or "PASS" not in found or ("INSUFFICIENT" in found and not plan.get("evaluation", "allow_insufficient"))
    outcome = estimated(verdicts, "the verdict of each language", report.field("languages"))
    return _gate(plan.field("evaluation"), outcome, "failed" if failed and report.get("passed") is not True else "passed")


def _privacy(policy: Field, record: Source | None, waiver: object) -> dict[str, Any]:
    """Return the gate of a leak test, or of a comparison of releases."""
    if record is None:
        return _gate(policy, not_collected("no leak test was run on these weights"), "not run")
    verdict = record.get("verdict")
    result = "no policy voted" if verdict is None else "waived" if record.get("passed") is False and waiver else str(verdict).lower()
    return _gate(policy, record.field("verdict", missing="no leak policy was voted"), result)


def gates_of(records: CardRecords, leak: Source | None, differential: Source | None) -> dict[str, dict[str, Any]]:
    """Return each gate of the voted policy with what came of it: passed, failed, waived, or not run, and why."""
    plan, report, log = records.plan_source, records.report, records.log
    passed, waiver = report.get("passed"), log.get("run", "waiver")
    whole = "not run" if passed is None else "passed" if passed else "waived" if waiver else "failed"
    voted_on, decided = log.get("run", "outcome"), "no vote was given to the card"
    gates = {
        "run vote": _gate(
            log.field("run", "approval_percent", missing=decided),
            log.field("run", "outcome", missing=decided),
            "passed" if voted_on == "approved" else "failed" if voted_on else "not run",
        ),
        "held-out quality": _heldout(records),
        WHOLE: _gate(plan.field("evaluation", "metric"), report.field("passed", missing="the run was not evaluated"), whole),
    }
    if gates["held-out quality"]["result"] == "failed" and waiver:
        gates["held-out quality"]["result"] = "waived"
    voted = plan.get("evaluation", "tasks")
    for number, task in enumerate(voted if isinstance(voted, list) else []):
        name = str(task["name"])
        verdict = report.get("tasks", name, "verdict")
        blocks = any(isinstance(one, dict) and one.get("task") == name for one in report.get("blocking") or [])
        result = "missing" if report.get("tasks", name, "missing") else "waived" if blocks and waiver else str(verdict or "not run").lower()
        gates[f"task {name}"] = _gate(
            plan.field("evaluation", "tasks", str(number)), report.field("tasks", name, "verdict", missing="the report gives no verdict"), result
        )
    asked = plan.field("evaluation", "leak", missing="the voted plan asks for none")
    gates["leak test"] = _privacy(asked, leak, waiver)
    if differential is not None or plan.get("evaluation", "leak", "differential") is not None:
        limits = plan.field("evaluation", "leak", "differential", missing="the voted plan asks for none")
        gates[COMPARED] = _privacy(limits, differential, waiver)
    for gate in gates.values():
        if gate["result"] == "waived":
            gate["waiver"] = log.field("run", "waiver")
    return gates


def translations_of(records: CardRecords, english: str) -> dict[str, Field]:
    """Return the translations of the English summary by language: shown if members chose one or a second member signed it, and it is of this summary.

    Args:
        english: digest of the English summary as it is rendered for these records.
    """
    found: dict[str, Field] = {}
    for one in _said(records):
        if one["field"] != "summary" or one["text"] is None:
            continue
        if one["approved"] is None and not one["reviewers"]:
            found.setdefault(
                one["language"], withheld("one member translated it and nobody else has signed or chosen it yet", "the rule of this card for translations")
            )
        elif one["translates"] != english:
            found.setdefault(
                one["language"], withheld("it translates another version of the English summary, with other numbers", "the rule of this card for translations")
            )
        else:
            found[one["language"]] = _field(records, [one])
    return dict(sorted(found.items()))
