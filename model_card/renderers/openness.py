"""card/mof.yaml: what of this model is open, component by component, and which class that makes it (Model Openness Framework 1.0; OSAID 1.0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from model_card.hostile import neutral
from model_card.records import CardRecords

__all__ = ["openness", "render"]

OPEN: Final = frozenset({"Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC"})
CODE: Final = "Apache-2.0"
"""Licence of this software, which is the preprocessing, training, evaluation and inference code."""


@dataclass(frozen=True, slots=True)
class Component:
    """One component of the framework: where it is, under which licence, and why not if it is not there."""

    name: str
    least: int
    """The class that needs it: 3 (open model), 2 (open tooling), 1 (open science)."""
    path: str | None
    licence: str | None
    why: str


def _components(card: Mapping[str, Any], records: CardRecords) -> list[Component]:
    weights = str(card["licence"]["value"])
    evaluated = "value" in card["evaluation"]["passed"]
    samples = bool(card["generations"].get("value"))
    return [
        Component("model_architecture", 3, "config.json", str(card["base"]["licence"]["value"]), "the base's own, as a configuration of transformers"),
        Component("final_model_parameters", 3, "the weights in this folder", weights, "the licence every contributor consented to"),
        Component("technical_report", 3, "README.md", weights, "the card tells what a report would: data, training, results, limits"),
        Component(
            "evaluation_results",
            3,
            "eval/report.json" if evaluated else None,
            weights if evaluated else None,
            "with per-item results" if evaluated else "the run was not evaluated",
        ),
        Component("model_card", 3, "README.md", weights, "and card.json"),
        Component("data_card", 3, "data/croissant.json", weights, "and data/manifest.json"),
        Component(
            "sample_model_outputs",
            3,
            "README.md" if samples else None,
            weights if samples else None,
            "sample answers, right or wrong" if samples else "none were made",
        ),
        Component("training_code", 2, "commonweights: train", CODE, "its digest is in plan.json#/code"),
        Component("inference_code", 2, "transformers", CODE, "no code of ours is needed"),
        Component("evaluation_code", 2, "commonweights: eval", CODE, "every verdict is recomputed by coop verify"),
        Component(
            "evaluation_data",
            2,
            None,
            None,
            "held-out answers are members' texts, given for this use and not for publication; their losses are public, one by one",
        ),
        Component("supporting_libraries", 2, "run.json#/packages", CODE, "with versions; each bears its own licence"),
        Component("research_paper", 1, None, None, "none was written"),
        Component("datasets", 1, None, None, "members consented to training, not to publication of their texts; the ledger and the manifest are public"),
        Component("data_preprocessing_code", 1, "commonweights: data_pipeline", CODE, "rules and parameters are in data/manifest.json"),
        Component("intermediate_model_parameters", 1, None, None, "checkpoints are not part of a release"),
        Component("model_metadata", 1, "card.json", weights, "every value with its source"),
    ]


def _base_open(card: Mapping[str, Any]) -> bool:
    return str(card["base"]["licence"]["value"]) in OPEN and str(card["licence"]["value"]) in OPEN


def openness(card: Mapping[str, Any], records: CardRecords) -> dict[str, Any]:
    """Return components, class and OSAID conformity, each with the reason it is not higher."""
    components = _components(card, records)
    missing = {level: [one.name for one in components if one.least == level and (one.path is None or one.licence not in OPEN)] for level in (3, 2, 1)}
    reached = None
    for level in (3, 2, 1):
        if missing[level]:
            break
        reached = level
    classes = {3: "Class III, open model", 2: "Class II, open tooling", 1: "Class I, open science", None: "none"}
    blocking = next((missing[level] for level in (3, 2, 1) if missing[level]), [])
    osaid = _base_open(card)
    return {
        "framework": {"name": "Model Openness Framework", "version": "1.0"},
        "release": {"name": str(card["name"]["value"]), "type": "language model", "base": neutral(str(card["base"]["name"]["value"]), inline=True)},
        "class": classes[reached],
        "why_not_higher": [f"{one.name}: {one.why}" for one in components if one.name in blocking] or ["it is the highest"],
        "osaid": {
            "version": "1.0",
            "conforms": osaid,
            "data_information": "data/manifest.json, data/ledger.jsonl, data/croissant.json: provenance, scope, selection and how to obtain the like; the texts themselves are not shareable",
            "code": f"{CODE}, all of it",
            "parameters": str(card["licence"]["value"]),
            "why": "code and weights are under licences that allow every use, and the data is described well enough to build the like"
            if osaid
            else f"the weights ({card['licence']['value']}) or the base ({neutral(str(card['base']['licence']['value']), inline=True)}) are under a licence that does not allow every use",
        },
        "components": [
            {
                "name": one.name,
                "class": one.least,
                "path": one.path or "not included",
                "licence": neutral(one.licence, inline=True) if one.licence else "none",
                "reason": one.why,
            }
            for one in components
        ],
    }


def render(card: Mapping[str, Any], records: CardRecords) -> bytes:
    """Return mof.yaml."""
    return yaml.safe_dump(openness(card, records), sort_keys=False, allow_unicode=True, width=1000, default_flow_style=False).encode()
