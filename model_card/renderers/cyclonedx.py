"""card/bom.cdx.json: the bill of materials in CycloneDX 1.7 with its model card, its data, how it was made and what is attested.

Written as a document: the CycloneDX library for Python drops modelCard, data and declarations (its tests here only validate).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from model_card.records import CardRecords
from model_card.renderers.words import number, reason, value_of

__all__ = ["bill_of_materials", "dangling", "render"]


def _hash(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]


def _metrics(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one metric a language and measure, with its interval: CycloneDX has a place for both."""
    found = []
    for language, row in card["languages"].items():
        for name in ("tuned", "base", "difference"):
            value = value_of(row[name])
            if value is None:
                continue
            metric: dict[str, Any] = {"type": f"heldout_nll_per_token_{name}", "value": f"{value:.6f}", "slice": f"language={language}"}
            if name == "difference" and value_of(row["low"]) is not None and value_of(row["high"]) is not None:
                metric["confidenceInterval"] = {"lowerBound": number(row["low"], 6), "upperBound": number(row["high"], 6)}
            found.append(metric)
    tasks = card["tasks"] if "not_collected" not in card["tasks"] else {}
    for task, facts in tasks.items():
        for language, row in facts["languages"].items():
            for name in ("tuned", "difference"):
                value, low, high = (value_of(row[key]) for key in ((name, "tuned_low", "tuned_high") if name == "tuned" else (name, "low", "high")))
                if isinstance(value, (int, float)):
                    metric = {"type": f"{task}_{name}", "value": f"{value:.6f}", "slice": f"language={language}"}
                    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
                        metric["confidenceInterval"] = {"lowerBound": f"{low:.6f}", "upperBound": f"{high:.6f}"}
                    found.append(metric)
    return found


def _texts(card: Mapping[str, Any], name: str) -> list[str]:
    field = card["statements"][name]
    return [one["text"] for one in field["value"]] if "value" in field else [reason(field)]


def _model_card(card: Mapping[str, Any]) -> dict[str, Any]:
    leak, kwh, carbon = card["leak"], value_of(card["energy"]["kwh"]), value_of(card["energy"]["co2e_kg"])
    bound = value_of(leak["epsilon_lower"])
    considerations: dict[str, Any] = {
        "users": ["anybody: the weights are released to the public"],
        "useCases": _texts(card, "intended_use"),
        "technicalLimitations": _texts(card, "limits"),
        "ethicalConsiderations": [
            {
                "name": "memorisation of members' texts",
                "mitigationStrategy": f"one-run canary audit, epsilon at least {bound}" if bound is not None else reason(leak["verdict"]),
            },
            {"name": "withdrawal after release", "mitigationStrategy": card["consent"]["promise"]["value"]},
            *({"name": "stated by members", "mitigationStrategy": text} for text in _texts(card, "bias_and_risks")),
        ],
        "fairnessAssessments": [
            {
                "groupAtRisk": f"speakers of {language}",
                "harms": "measured worse than the base weights" if value_of(row["verdict"]) == "FAIL" else "not shown to be better than the base weights",
            }
            for language, row in card["languages"].items()
            if value_of(row["improved"]) is not True
        ],
    }
    if not considerations["fairnessAssessments"]:
        del considerations["fairnessAssessments"]
    if isinstance(kwh, (int, float)):
        consumed: dict[str, Any] = {
            "activity": "training",
            "energyProviders": [{"organization": {"name": "not collected"}, "energySource": "unknown", "energyProvided": {"value": kwh, "unit": "kWh"}}],
            "activityEnergyCost": {"value": kwh, "unit": "kWh"},
            "properties": [{"name": "coop:estimated", "value": card["energy"]["kwh"]["method"]}],
        }
        if isinstance(carbon, (int, float)):
            consumed["co2CostEquivalent"] = {"value": carbon / 1000, "unit": "tCO2eq"}
        considerations["environmentalConsiderations"] = {"energyConsumptions": [consumed]}
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "text-generation",
            "architectureFamily": "transformer",
            "datasets": [{"ref": "dataset"}],
            "inputs": [{"format": "text/plain"}],
            "outputs": [{"format": "text/plain"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": _metrics(card)},
        "considerations": considerations,
        "properties": [
            {"name": "coop:founding", "value": card["coop"]["value"]},
            {"name": "coop:plan", "value": card["plan"]["value"]},
            {"name": "coop:run", "value": str(value_of(card["run"]["run"]))},
        ],
    }


def _dataset(card: Mapping[str, Any], records: CardRecords) -> dict[str, Any]:
    counts = [
        {"name": f"coop:{language}:{split}", "value": str(value_of(row[split], 0))}
        for language, row in card["languages"].items()
        for split in ("train", "heldout")
    ]
    return {
        "type": "data",
        "bom-ref": "dataset",
        "name": f"build-{records.manifest.sha256[7:19]}",
        "version": str(value_of(card["data"]["log"])["size"]),
        "hashes": _hash(records.manifest.sha256),
        "data": [
            {
                "type": "dataset",
                "name": "members' contributions",
                "classification": "texts private to the cooperative; ledger public",
                "sensitiveData": ["members' own words"],
                "description": "Prompts with answers by members, each under a signed consent; described in data/croissant.json.",
                "contents": {"url": "data/manifest.json", "properties": counts},
                "governance": {
                    "custodians": [{"organization": {"name": "the cooperative's operator"}}],
                    "stewards": [{"organization": {"name": "the members, by vote"}}],
                    "owners": [{"organization": {"name": "the contributing members"}}],
                },
            }
        ],
    }


def _declarations(card: Mapping[str, Any]) -> dict[str, Any]:
    vote, gates = card["votes"]["run"], card["gates"]
    claims = [
        (
            "vote",
            "Members approved this training run before it started",
            "run vote",
            f"{value_of(vote['for'])} for, {value_of(vote['against'])} against" if "for" in vote else "no vote was given to the card",
        ),
        ("quality", "The weights passed the evaluation members voted before the run", "held-out quality", f"result: {gates['held-out quality']['result']}"),
        ("leak", "The weights passed the leak test members voted before the run", "leak test", f"result: {gates['leak test']['result']}"),
    ]
    return {
        "assessors": [{"bom-ref": "members", "thirdParty": False, "organization": {"name": "the members of the cooperative"}}],
        "claims": [{"bom-ref": f"claim-{name}", "target": "model", "predicate": words, "evidence": [f"evidence-{name}"]} for name, words, _, _ in claims],
        "evidence": [{"bom-ref": f"evidence-{name}", "propertyName": gate, "description": told} for name, _, gate, told in claims],
        "attestations": [
            {
                "summary": "What members required, and what came out",
                "assessor": "members",
                "map": [
                    {
                        "requirement": f"requirement-{name}",
                        "claims": [f"claim-{name}"],
                        "conformance": {"score": 1 if gates[gate]["result"] in ("passed", "pass") else 0, "rationale": told},
                    }
                    for name, _, gate, told in claims
                ],
            }
        ],
    }


def bill_of_materials(card: Mapping[str, Any], records: CardRecords) -> dict[str, Any]:
    """Return the document; its serial number follows from the records, so the same release has the same one."""
    base, run = card["base"], card["run"]
    outputs = value_of(run["outputs"], [])
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:commonweights:{records.name}:{records.plan_source.sha256}:{records.run.sha256}:{records.report.sha256}")
    trained: dict[str, Any] = {"bom-ref": "training", "uid": str(value_of(run["run"])), "taskTypes": ["build"], "inputs": [{"resource": {"ref": "dataset"}}, {"resource": {"ref": "base"}}],
                               "outputs": [{"type": "artifact", "resource": {"ref": "model"}}], "timeEnd": value_of(run["ended"])}  # fmt: skip
    if value_of(run["started"]) is not None:
        trained["timeStart"] = value_of(run["started"])
    model: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": str(card["name"]["value"]),
        "version": records.run.sha256[7:19],
        "licenses": [{"license": {"id": card["licence"]["value"]}}],
        "externalReferences": [{"type": "model-card", "url": "README.md"}, {"type": "evidence", "url": "card/governance.md"}, {"type": "attestation", "url": "attestations/"}],
        "pedigree": {"ancestors": [{"type": "machine-learning-model", "name": str(base["name"]["value"]), "hashes": _hash(base["digest"]["value"])}],
                     "notes": f"{card['training']['method']['value']}, {card['training']['objective']['value']}"},
        "modelCard": _model_card(card),
    }  # fmt: skip
    parts = [
        {"type": "file", "bom-ref": f"file:{entry['path']}", "name": entry["path"], "hashes": _hash(entry["sha256"])}
        for entry in outputs
        if isinstance(entry, Mapping)
    ]
    packages = [
        {"type": "library", "bom-ref": f"package:{name}", "name": name, "version": str(version)}
        for name, version in sorted((value_of(run["packages"], {}) or {}).items())
    ]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{identity}",
        "version": 1,
        "metadata": {"timestamp": value_of(run["ended"]), "lifecycles": [{"phase": "build"}], "component": model},
        "components": [
            _dataset(card, records),
            {"type": "machine-learning-model", "bom-ref": "base", "name": str(base["name"]["value"]), "hashes": _hash(base["digest"]["value"])},
            *parts,
            *packages,
        ],
        "formulation": [{"bom-ref": "formula", "workflows": [trained]}],
        "dependencies": [
            {"ref": "model", "dependsOn": ["base", "dataset", *(part["bom-ref"] for part in packages)]},
            {"ref": "base"},
            {"ref": "dataset"},
        ],
        "declarations": _declarations(card),
        "definitions": {
            "standards": [
                {
                    "bom-ref": "policy",
                    "name": "The policy members voted with the plan",
                    "version": card["plan"]["value"],
                    "requirements": [
                        {"bom-ref": f"requirement-{name}", "identifier": f"R-{place}", "title": title, "text": text}
                        for place, (name, title, text) in enumerate((
                            ("vote", "approved run", "A run starts only if members approved exactly its plan."),
                            ("quality", "no language is worse", "No language is worse than the base weights beyond the voted margin."),
                            ("leak", "little is given away", "The leak test's figures stay under the voted bounds."),
                        ), 1)
                    ],
                }
            ]
        },
    }  # fmt: skip


def _refs(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("bom-ref"), str):
            yield value["bom-ref"]
        for item in value.values():
            yield from _refs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _refs(item)


def _cited(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("ref", "target", "assessor", "requirement") and isinstance(item, str):
                yield item
            elif key in ("dependsOn", "claims", "evidence") and isinstance(item, list) and all(isinstance(one, str) for one in item):
                yield from item
            else:
                yield from _cited(item)
    elif isinstance(value, list):
        for item in value:
            yield from _cited(item)


def dangling(document: Mapping[str, Any]) -> list[str]:
    """Return references to nothing in the document, and names given twice: the schema allows both."""
    names = list(_refs(document))
    return sorted((set(_cited(document)) - set(names)) | {name for name in names if names.count(name) > 1})


def render(card: Mapping[str, Any], records: CardRecords) -> bytes:
    """Return bom.cdx.json."""
    return (json.dumps(bill_of_materials(card, records), ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
