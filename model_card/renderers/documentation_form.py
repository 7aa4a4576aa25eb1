"""card/model_documentation_form.json: the model documentation form of the EU code of practice (AI Act, annexes XI and XII), field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from model_card.records import CardRecords

__all__ = ["plain", "render"]


def plain(field: Mapping[str, Any]) -> Any:
    """Return a field for other formats: its value, or why there is none, without the pointers (card.json has them)."""
    if "value" in field:
        return field["value"]
    if "estimated" in field:
        return {"estimated": field["estimated"], "method": field["method"]}
    return {key: field[key] for key in ("not_collected", "not_applicable", "withheld", "by") if key in field}


def _texts(field: Mapping[str, Any]) -> Any:
    return (
        [{"text": one["text"], "language": one["language"], "author": one["author"], "signed": one["issued"]} for one in field["value"]]
        if "value" in field
        else plain(field)
    )


def render(card: Mapping[str, Any], records: CardRecords) -> bytes:
    """Return the form as JSON, sorted by the form's own sections."""
    run, data, training, words = card["run"], card["data"], card["training"], card["statements"]
    form = {
        "form": "Model Documentation Form, General-Purpose AI Code of Practice, transparency chapter (10 July 2025)",
        "note": "Filled from the records of this release by machine; published voluntarily, and no legal advice.",
        "general_information": {
            "legal_name_of_provider": _texts(words["provider"])
            if "value" in words["provider"]
            else {"cooperative": plain(card["coop"]), "name": plain(words["provider"])},
            "model_name": plain(card["name"]),
            "model_authenticity": "release.json lists every file with its SHA-256; members voted on its digest; coop verify checks both",
            "release_date": plain(card["release"]["id"]),
            "union_market_release_date": plain(card["release"]["id"]),
            "model_dependencies": {name: plain(card["base"][name]) for name in ("name", "licence", "digest")},
        },
        "model_properties": {
            "architecture": "a decoder-only transformer, that of the base weights (config.json)",
            "design_specifications": {
                "method": plain(training["method"]),
                "objective": plain(training["objective"]),
                "trained_parameters": plain(run["trainable_parameters"]),
            },
            "input_modalities": {"text": {"maximum_size": "the context length in config.json"}},
            "output_modalities": {"text": {"maximum_size": "the context length in config.json"}},
            "total_parameters": plain(run["parameters"]),
        },
        "distribution_and_licences": {
            "distribution_channels": "the cooperative's download site, and whoever copies this folder: it is whole, and verifies anywhere",
            "licence": plain(card["licence"]),
            "licence_of_base": plain(card["base"]["licence"]),
        },
        "use": {
            "acceptable_use_policy": _texts(words["out_of_scope_use"]),
            "intended_uses": _texts(words["intended_use"]),
            "types_of_systems": "whatever loads transformers, PEFT or GGUF weights",
            "technical_means_for_integration": "README.md, How to load",
            "required_hardware": "the weights' size in memory; a CPU is enough for small ones",
            "required_software": plain(run["packages"]),
        },
        "training_process": {
            "design_specifications": {name: plain(field) for name, field in training.items()},
            "decision_rationale": "members voted on exactly this plan: " + str(plain(card["plan"])),
            "known_limits": _texts(words["limits"]),
        },
        "data": {
            "type_and_modality": "text",
            "provenance": "contributions of members, each under their signature and consent (data/ledger.jsonl)",
            "how_obtained_and_selected": {"rules": plain(data["rules"]), "stages": plain(data["stages"]), "left_out": plain(data["excluded"])},
            "number_of_data_points": plain(data["splits"]),
            "scope_and_characteristics": {
                language: {"train": plain(row["train"]), "heldout": plain(row["heldout"])} for language, row in card["languages"].items()
            },
            "measures_to_detect_unsuitability": {"rules": plain(data["rules"]), "members": _texts(words["legal_measures"])},
            "measures_to_detect_bias": _texts(words["bias_and_risks"]),
        },
        "computational_resources": {
            "training_time": {"wall_seconds": plain(run["wall_s"]), "starts": plain(run["starts"])},
            "amount_of_computation": plain(card["compute"]["flop"]),
            "amount_with_failed_starts": plain(card["compute"]["flop_with_failed_starts"]),
            "share_of_one_third_threshold": plain(card["compute"]["eu_one_third_ratio"]),
            "hardware": plain(run["hardware"]),
        },
        "energy": {
            "kwh": plain(card["energy"]["kwh"]),
            "co2e_kg": plain(card["energy"]["co2e_kg"]),
            "inference": {"not_collected": "it depends on who runs it, and where"},
        },
    }
    return (json.dumps(form, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
