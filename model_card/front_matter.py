"""The YAML block of a Hugging Face card, and our own check of it: the Hub's validator exists only online."""

from __future__ import annotations

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
_ALLOWED = {*_REQUIRED, "base_model", "base_model_relation"}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_TAG = re.compile(r"[a-z0-9][a-z0-9._:-]{0,63}")


def front_matter(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata the Hub reads, from a card: languages, licence, base model, and results by language."""
    base = card["base"]["name"]["value"]
    out: dict[str, Any] = {
        "language": [iso639.code(language) for language in card["languages"]],
        "license": HUB_LICENCES.get(card["licence"]["value"], "other"),
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["lora", "cooperative", "member-consent", "commonweights"],
    }
    if _REPOSITORY.fullmatch(base):  # a base that is no Hub repository cannot be linked there; the body names it
        out |= {"base_model": base, "base_model_relation": "adapter"}
    results = []
    for language, row in card["languages"].items():
        if "value" not in row["tuned"]:
            continue
        metrics = [
            ("tuned", "Loss of held-out answers, tuned weights (nats per token, lower is better)"),
            ("base", "The same, base weights"),
            ("difference", "Tuned minus base"),
        ]
        results.append(
            {
                "task": {"type": "text-generation", "name": "Text generation"},
                "dataset": {
                    "type": "cooperative-heldout",
                    "name": f"Held-out answers of members, {iso639.name(language)}",
                    "config": language,
                    "split": "heldout",
                    "revision": card["data"]["manifest"]["value"],
                },
                "metrics": [{"type": f"heldout_nll_per_token_{key}", "name": label, "value": row[key]["value"]} for key, label in metrics],
            }
        )
    out["model-index"] = [{"name": card["name"]["value"], "results": results}]
    check(out)
    return out


def _refuse(where: str, value: object, allowed: str) -> None:
    raise BadInput(f"card metadata: {where}", value=value, allowed=allowed)


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
    if not all(isinstance(tag, str) and _TAG.fullmatch(tag) for tag in metadata["tags"]):
        _refuse("tags", metadata["tags"], _TAG.pattern)
    for model in metadata["model-index"]:
        for result in model["results"]:
            for metric in result["metrics"]:
                if isinstance(metric["value"], bool) or not isinstance(metric["value"], (int, float)):
                    _refuse("metric value", metric["value"], "a number")
    for text in _strings(metadata):
        if neutral(text, inline=True) != text:
            _refuse("text with control, direction or line characters", text, "one line of visible text")


def dumps(metadata: Mapping[str, Any]) -> str:
    """Return the checked metadata as a YAML block between `---` lines (safe dumper: `no` stays Norwegian)."""
    check(metadata)
    body = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=1000, default_flow_style=False)
    return f"---\n{body}---\n"
