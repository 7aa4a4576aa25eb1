"""The dataset card of a build for people: a README with the YAML block of the Hugging Face Hub, and croissant.json beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import langcodes
import yaml

from data_pipeline.croissant import FEW, croissant, few, word
from data_pipeline.language import language_name
from data_pipeline.manifest import RECORDS, Build
from governance_hooks.atomic import atomic_directory
from governance_hooks.vocabulary import WORDS

__all__ = ["CROISSANT", "README", "dataset_readme", "write_card"]

CROISSANT: Final = "croissant.json"
README: Final = "README.md"

_HUB_LICENCES: Final = {"Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC0-1.0", "MIT", "BSD-3-Clause"}
"""Licences the Hub knows under their SPDX identifiers in small letters."""

_SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))


def _front_matter(build: Build, name: str) -> dict[str, Any]:
    manifest = build.manifest
    licences = sorted(manifest["licences"])
    return {
        "pretty_name": word(name),
        "language": sorted(langcodes.standardize_tag(code) for code in manifest["languages"]),
        "license": licences[0].lower() if len(licences) == 1 and licences[0] in _HUB_LICENCES else "other",
        "size_categories": [next((label for limit, label in _SIZES if manifest["records"] < limit), "n>10M")],
        "task_categories": ["text-generation"],
        "tags": ["cooperative", "croissant", "member-consent"],
        "configs": [{"config_name": "default", "data_files": RECORDS}],
    }


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def dataset_readme(build: Build, name: str) -> str:
    """Return the README of a build: languages, what was left out and why, licences, conditions; raise BadInput for a manifest that cannot be shown."""
    manifest = build.manifest
    use, log = manifest["use"], manifest["log"]
    languages = [
        [f"{language_name(code)} ({word(code)})", str(row["train"]), str(row["heldout"]), few(row["members"])] for code, row in manifest["languages"].items()
    ]
    counted = {
        heading: [[f"`{word(key)}`", str(count)] for key, count in manifest.get(field, {}).items()]
        for heading, field in (("Left out, by reason", "excluded"), ("Marks", "marks"), ("Licences", "licences"))
    }
    sections = [f"## {heading}\n\n{_table(['', 'records'], rows)}" for heading, rows in counted.items() if rows]
    words = [WORDS.get(term, word(term)) for term in (*use["processing"], use["purpose"], *use["recipients"])]
    return "\n\n".join(
        [
            f"---\n{yaml.safe_dump(_front_matter(build, name), sort_keys=False, allow_unicode=True)}---",
            f"# {word(name)}",
            f"{manifest['records']} prompts with answers by members of a cooperative, at entry {log['size']} of its log. {manifest['splits']['heldout']} of "
            "them are held out for evaluation. This page is rendered from `manifest.json`; nobody typed it.",
            f"## Languages\n\n{_table(['language', 'train', 'held out', 'contributors'], languages)}\n\n"
            f"Numbers of contributors under {FEW} are not told here. A text with several authors counts for each of them.",
            *sections,
            f"## What members consented to\n\nUse: {'; '.join(words)}. Licence of weights made from it: {word(use['licence'])}.\n\n"
            "Whoever withdraws is not in the next dataset. Copies of this one cannot be recalled.",
            "## How it was made\n\n" + "\n".join(f"- `{word(rule)}`" for rule in manifest["rules"]),
            "## Identity\n\n" + _table(["", ""], [["manifest", f"`{build.digest}`"], ["root", f"`{manifest['root']}`"], ["cooperative", f"`{manifest['coop']}`"]]),
        ]
    ) + "\n"  # fmt: skip


def write_card(build: Build, out: Path, name: str) -> None:
    """Write README.md and croissant.json into a folder of their own, replacing an older card.

    A build folder holds nothing its manifest does not name; whoever publishes the files puts the card beside them.
    """
    pages = {
        README: dataset_readme(build, name),
        CROISSANT: json.dumps(croissant(build, name), ensure_ascii=False, indent=1) + "\n",
    }
    with atomic_directory(out, replace=True) as folder:
        for file, text in pages.items():
            (folder / file).write_text(text, encoding="utf-8")
