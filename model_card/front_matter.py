"""The YAML block of a Hugging Face card, and our own check of it: the Hub's validator exists only online."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from governance_hooks.errors import BadInput
from model_card import iso639
from model_card.hostile import neutral

__all__ = ["HUB_LICENCES", "check", "dumps", "front_matter"]

HUB_LICENCES = {"Apache-2.0": "apache-2.0", "CC-BY-4.0": "cc-by-4.0", "CC-BY-SA-4.0": "cc-by-sa-4.0", "CC-BY-NC-4.0": "cc-by-nc-4.0"}
"""SPDX identifier -> the Hub's identifier, for every licence members can agree to."""

_REQUIRED = ("language", "license", "library_name", "pipeline_tag", "tags", "model-index")
_ALLOWED = {*_REQUIRED, "base_model", "base_model_relation", "datasets", "metrics", "co2_eq_emissions"}
_RELATIONS = ("adapter", "finetune", "merge", "quantized")
_METRIC = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_DATASET = re.compile(r"coop-build-[0-9a-f]{12}")
_EMISSIONS = {"emissions", "source", "training_type", "geographical_location", "hardware_used"}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_TAG = re.compile(r"[a-z0-9][a-z0-9._:-]{0,63}")


def _whole(card: Mapping[str, Any]) -> bool:
    """Tell whether the folder holds whole weights, not an adapter alone."""
    return card["training"]["method"]["value"] == "full" or "derived/merge.json" in card["weights"]["derived"]


def _metric(kind: str, label: str, value: float, row: Mapping[str, Any], confidence: float, *, interval: tuple[str, str] | None = None) -> dict[str, Any]:
    """Return one result; the model index has no place for an interval but its name and arguments."""
    found: dict[str, Any] = {"type": kind, "name": label, "value": value}
    arguments = {key: row[key]["value"] for key in ("items", "heldout_items") if "value" in row.get(key, {})}
    if interval is not None and all("value" in row[key] for key in interval):
        low, high = (row[key]["value"] for key in interval)
        found["name"] = f"{label}, {confidence:.0%} interval {low:+.4f} to {high:+.4f}"
        arguments |= {"low": low, "high": high, "confidence": confidence}
    return found | ({"args": arguments} if arguments else {})


def _heldout(card: Mapping[str, Any], language: str, row: Mapping[str, Any], confidence: float) -> dict[str, Any] | None:
    if "value" not in row["tuned"]:
        return None
    metrics = [
        _metric(
            "heldout_nll_per_token_tuned", "Loss of held-out answers, tuned weights (nats per token, lower is better)", row["tuned"]["value"], row, confidence
        ),
        _metric("heldout_nll_per_token_base", "The same, base weights", row["base"]["value"], row, confidence),
        _metric("heldout_nll_per_token_difference", "Tuned minus base", row["difference"]["value"], row, confidence, interval=("low", "high")),
    ]
    return {
        "task": {"type": "text-generation", "name": "Text generation"},
        "dataset": {
            "type": "cooperative-heldout",
            "name": f"Held-out answers of members, {iso639.name(language)}",
            "config": language,
            "split": "heldout",
            "revision": card["data"]["manifest"]["value"],
        },
        "metrics": metrics,
    }


def _task_results(card: Mapping[str, Any], confidence: float) -> list[dict[str, Any]]:
    found = []
    for task, facts in card["tasks"].items() if "not_collected" not in card["tasks"] else ():
        kind = str(facts["kind"].get("value"))
        for language, row in facts["languages"].items():
            if isinstance(row["tuned"].get("value"), (int, float)):
                found.append(
                    {
                        "task": {"type": "text-generation", "name": "Text generation"},
                        "dataset": {"type": task, "name": f"{task}, {iso639.name(language)}", "config": language, "split": "test"},
                        "metrics": [
                            _metric(kind, f"{kind}, tuned weights, 0 to 1", row["tuned"]["value"], row, confidence, interval=("tuned_low", "tuned_high"))
                        ],
                    }
                )
    return found


def _emissions(card: Mapping[str, Any]) -> dict[str, Any] | None:
    carbon = card["energy"]["co2e_kg"]
    if "estimated" not in carbon:
        return None
    total = card["energy"]["total"]["value"]
    country = total.get("country")
    place = ", ".join(map(str, country)) if isinstance(country, list) else str(country or "not stated")
    method = "".join(c if c.isprintable() else " " for c in str(carbon["method"]))
    found = {"emissions": 1000 * carbon["estimated"], "source": f"estimated: {method}", "training_type": "fine-tuning", "geographical_location": place}
    return {
        key: neutral(item, inline=True) if isinstance(item, str) else item
        for key, item in (found | {"hardware_used": str(card["run"]["device"].get("value", "not stated"))}).items()
    }


def front_matter(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata the Hub reads, from a card: languages, licence, base model, dataset, emissions, and results by language with their intervals."""
    base, whole = card["base"]["name"]["value"], _whole(card)
    confidence = card["evaluation"]["policy"]["value"]["confidence"]
    method = card["training"]["method"]["value"]
    out: dict[str, Any] = {
        "language": [iso639.code(language) for language in card["languages"]],
        "license": HUB_LICENCES.get(card["licence"]["value"], "other"),
        "library_name": "transformers" if whole else "peft",
        "pipeline_tag": "text-generation",
        "tags": [*([] if method == "full" else ["lora"]), "cooperative", "member-consent", "commonweights", "text-generation"],
        "datasets": [f"coop-build-{card['data']['manifest']['value'][7:19]}"],
    }
    if _REPOSITORY.fullmatch(base):  # a base that is no Hub repository cannot be linked there; the body names it
        out |= {"base_model": base, "base_model_relation": "finetune" if whole else "adapter"}
    if (emissions := _emissions(card)) is not None:
        out["co2_eq_emissions"] = emissions
    results = [found for language, row in card["languages"].items() if (found := _heldout(card, language, row, confidence)) is not None]
    results += _task_results(card, confidence)
    if metrics := sorted({metric["type"] for result in results for metric in result["metrics"]}):
        out["metrics"] = metrics
    out["model-index"] = [{"name": card["name"]["value"], "results": results}]
    check(out)
    return out


def _refuse(where: str, value: object, allowed: str) -> None:
    raise BadInput(f"card metadata: {where}", value=value, allowed=allowed)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for key, item in value.items() for text in (*_strings(key), *_strings(item))]
    return [text for item in value for text in _strings(item)] if isinstance(value, list) else []


def check(metadata: Mapping[str, Any]) -> None:
    """Refuse metadata the Hub would misread: missing or unknown keys, licences, language codes, names, control characters (BadInput)."""
    if missing := [key for key in _REQUIRED if key not in metadata]:
        _refuse("missing key", missing, ", ".join(_REQUIRED))
    if unknown := sorted(set(metadata) - _ALLOWED):
        _refuse("unknown key", unknown, ", ".join(sorted(_ALLOWED)))
    if metadata["license"] not in {*HUB_LICENCES.values(), "other"}:
        _refuse("license", metadata["license"], ", ".join(sorted(HUB_LICENCES.values())))
    two = set(iso639.TWO_LETTER.values())
    languages = metadata["language"]
    if not isinstance(languages, list) or not languages:
        _refuse("language", languages, "a list of at least one code")
    for language in languages:
        if not isinstance(language, str) or not (language in two or (re.fullmatch("[a-z]{3}", language) and language not in iso639.TWO_LETTER)):
            _refuse("language", language, "ISO 639-1, or ISO 639-3 where there is no two-letter code")
    if len(set(languages)) != len(languages):
        _refuse("language twice", languages, "each language once")
    if ("base_model" in metadata) != ("base_model_relation" in metadata) or not _REPOSITORY.fullmatch(metadata.get("base_model", "a/b")):
        _refuse("base_model", metadata.get("base_model"), "owner/name together with base_model_relation")
    if metadata.get("base_model_relation", "adapter") not in _RELATIONS:
        _refuse("base_model_relation", metadata.get("base_model_relation"), ", ".join(_RELATIONS))
    for key, pattern in (("datasets", _DATASET), ("metrics", _METRIC)):
        listed = metadata.get(key, [])
        if not isinstance(listed, list) or not all(isinstance(one, str) and pattern.fullmatch(one) for one in listed):
            _refuse(key, listed, pattern.pattern)
    emissions = metadata.get("co2_eq_emissions", {})
    if not isinstance(emissions, Mapping) or set(emissions) - _EMISSIONS or ("co2_eq_emissions" in metadata and not _is_number(emissions.get("emissions"))):
        _refuse("co2_eq_emissions", emissions, "emissions in grams, with source, training_type, geographical_location and hardware_used")
    if not all(isinstance(tag, str) and _TAG.fullmatch(tag) for tag in metadata["tags"]):
        _refuse("tags", metadata["tags"], _TAG.pattern)
    for model in metadata["model-index"]:
        for result in model["results"]:
            for metric in result["metrics"]:
                if not _is_number(metric["value"]):
                    _refuse("metric value", metric["value"], "a number")
    for text in _strings(metadata):
        if neutral(text, inline=True) != text:
            _refuse("text with control, direction or line characters", text, "one line of visible text")


def dumps(metadata: Mapping[str, Any]) -> str:
    """Return the checked metadata as a YAML block between `---` lines (safe dumper: `no` stays Norwegian)."""
    check(metadata)
    body = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=1000, default_flow_style=False)
    return f"---\n{body}---\n"
