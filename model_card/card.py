"""The card: one JSON document in which every value points to the record it came from.

A field is `{"value", "source", "sha256"}`, or says why there is no value: `not_collected`, `not_applicable`, `withheld`
(and `estimated` with its `method`). Nothing is blank and nothing is typed by hand, so a verifier renders it again from the
bundle and compares bytes.
"""

from __future__ import annotations

from typing import Any

from governance_hooks.canonical import is_digest
from governance_hooks.errors import BadInput
from model_card.records import CardRecords, Field, Source, not_applicable, not_collected, withheld
from model_card.renderer import renderer_digest

__all__ = ["FORMAT", "SUPPRESS_BELOW", "make_card"]

FORMAT = "coop.card/v1"
SUPPRESS_BELOW = 5
"""Counts of people below this are withheld: two members of one language are easy to tell apart."""

_RUN = (
    "run", "status", "started", "ended", "wall_s", "starts", "steps", "total_steps", "trained_records", "trained_root", "dropped", "loss", "device", "threads",
    "packages", "trainable_parameters", "parameters", "outputs", "hardware", "environment", "segments",
)  # fmt: skip
_OUTCOME = ("items", "tokens", "base", "tuned", "difference", "low", "high", "resampled", "verdict", "improved")
_HUMAN = "no signed statement of a person is part of this release"
_TOO_FEW = "too few held-out rows to state it"


def _people(source: Source, *keys: str) -> Field:
    count = source.get(*keys)
    if isinstance(count, int) and not isinstance(count, bool) and 0 < count < SUPPRESS_BELOW:
        return withheld(f"fewer than {SUPPRESS_BELOW}")
    return source.field(*keys)


def _language(records: CardRecords, language: str) -> dict[str, Field]:
    """Return the row of one language: people, rows, tokens, losses, interval, verdict."""
    manifest, run, report = records.manifest, records.run, records.report
    row = {"members": _people(manifest, "languages", language, "members")}
    for split in ("train", "heldout"):
        row[split] = manifest.field("languages", language, split)
    for kind in ("input", "supervised"):
        row[f"{kind}_tokens"] = run.field("tokens", language, kind, missing="the run trained on no record of this language")
    row["contributors_heldout"] = _people(report, "languages", language, "clusters")
    for name in _OUTCOME:
        row[f"heldout_{name}" if name in ("items", "tokens") else name] = report.field("languages", language, name, missing=_TOO_FEW)
    return row


def _evaluation(report: Source, plan: Source) -> dict[str, Any]:
    overall: dict[str, Field] = {"contributors_heldout": _people(report, "overall", "clusters")}
    overall |= {name: report.field("overall", name, missing=_TOO_FEW) for name in _OUTCOME}
    facts = ("passed", "worse", "unproven", "skipped", "languages_without_prompt", "precision", "device", "threads", "packages", "wall_s")
    return {"policy": plan.field("evaluation"), "overall": overall} | {name: report.field(name) for name in facts}


def _check(records: CardRecords) -> None:
    if not is_digest(records.coop):
        raise BadInput("the cooperative is named by the digest of its founding statement", value=records.coop, allowed="sha256:<64 hex>")
    plan, build = records.plan_source.sha256, records.manifest.sha256
    for path, what, found, expected in (
        ("plan.json", "coop", records.plan.coop, records.coop),
        ("plan.json", "build", records.plan.build.manifest, build),
        ("data/manifest.json", "languages", records.manifest.get("languages"), records.plan.build.languages),
        ("run.json", "plan", records.run.get("plan"), plan),
        ("eval/report.json", "plan", records.report.get("plan"), plan),
        ("eval/report.json", "build", records.report.get("build"), build),
    ):
        if found != expected:
            raise BadInput(f"{path} belongs to other records: field {what}", value=found, allowed=str(expected))


def make_card(records: CardRecords) -> dict[str, Any]:
    """Render the card ("coop.card/v1") from the release's own records; the same records give the same bytes.

    Raises:
        BadInput: a record is not canonical, has another format, or belongs to another plan, build or cooperative.
    """
    _check(records)
    plan, run, manifest, report, log = records.plan_source, records.run, records.manifest, records.report, records.log
    vote = {name: log.field("run", name) for name in log.get("run") or {} if name != "dissent"}
    return {
        "format": FORMAT,
        "renderer": renderer_digest(),
        "name": {"value": records.name, "source": "release.json#/name", "sha256": None},  # release.json names the card, not the reverse
        "coop": plan.field("coop"),
        "licence": plan.field("use", "licence"),
        "base": {name: plan.field("base", name) for name in ("name", "licence", "digest")},
        "plan": {"value": plan.sha256, "source": "plan.json#", "sha256": plan.sha256},
        "languages": {language: _language(records, language) for language in sorted(records.plan.build.languages)},
        "training": {
            name: plan.field("training", name)
            if plan.get("training", name) is not None
            else not_applicable("no limit was voted" if name == "max_steps" else "not part of the method members voted for")
            for name in sorted(plan.get("training"))
            if name != "lora"
        }
        | {f"lora_{name}": plan.field("training", "lora", name) for name in sorted(plan.get("training", "lora") or {})},
        "canaries": not_applicable("the plan has none")
        if records.plan.canaries is None
        else {name: plan.field("canaries", name) for name in ("count", "commitment")},
        "run": {name: run.field(name) for name in _RUN},
        "energy": run.field("energy", missing="nothing measured it; device and wall time are stated instead"),
        "data": {name: manifest.field(name) for name in ("at", "records", "root", "splits", "licences", "excluded", "rules", "parameters", "log")}
        | {"manifest": {"value": manifest.sha256, "source": "data/manifest.json#", "sha256": manifest.sha256}},
        "consent": {"use": manifest.field("use")} | {name: log.field("consents", name) for name in ("named", "in_log", "withdrawn_by_run_end")},
        "votes": {
            "run": vote or not_collected("no vote was given to the card"),
            "release": not_applicable("members vote on these very bytes, so their vote comes after them; coop verify shows it"),
        },
        "dissent": log.field("run", "dissent"),
        "evaluation": _evaluation(report, plan),
        "generations": report.field("generations"),
        "privacy_audit": not_collected("no leak test was run on these weights"),
        "safety_evaluation": not_collected("no safety test was run on these weights"),
        "intended_use": not_collected(_HUMAN),
        "out_of_scope_use": not_collected(_HUMAN),
        "limits": not_collected(_HUMAN),
        "bias_and_risks": not_collected(_HUMAN),
        "contact": not_collected(_HUMAN),
    }
