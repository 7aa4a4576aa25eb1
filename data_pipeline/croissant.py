"""The dataset card of a build for machines: Croissant 1.1 in JSON-LD with its RAI fields, rendered from the manifest, typed by nobody.

Croissant has no words for consent by member or for a Merkle root: `coop:build` points to the manifest, which has them.
Source: MLCommons Croissant 1.1 and Croissant RAI 1.0; ODRL 2.2 for the conditions of use.
"""

from __future__ import annotations

import re
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline.language import language_name
from data_pipeline.manifest import MANIFEST, RECORDS, Build
from governance_hooks.dataset_terms import CONTEXT, offer
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.vocabulary import WORDS

__all__ = ["FEW", "croissant", "few", "word"]

FEW: Final = 5
"""Smaller numbers of contributors are not told on cards: who knows one of them could tell who the others are."""

_FILES: Final = {
    ".parquet": ("application/x-parquet", "Private: texts and salts, one row a record."),
    ".jsonl": ("application/jsonlines", "One canonical JSON document a line."),
    ".json": ("application/json", "What the build was made from, and the digest of every file."),
}

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:/_-]{0,99}", re.ASCII)


def word(text: str) -> str:
    """Return a name out of a manifest that can stand in Markdown and YAML as it is; raise BadInput for any other."""
    if not _WORD.fullmatch(text):
        raise BadInput("the manifest holds a name that is no plain word", value=text, allowed="letters, digits and . + : / _ -", next="coop build verify")
    return text


def few(count: int) -> str:
    """Return a number of contributors, or that it is small."""
    return str(count) if count >= FEW else f"fewer than {FEW}"


def croissant(build: Build, name: str) -> dict[str, Any]:
    """Return the JSON-LD of a build; files are named relative to its folder, beside which the card is to lie.

    Raises:
        BadInput: the manifest holds a name that cannot stand on a card.
        CoopError: the Parquet file cannot be read.
    """
    manifest = build.manifest
    use, languages = manifest["use"], manifest["languages"]
    uneven = "; ".join(f"{language_name(code)} {row['train'] + row['heldout']} records, {few(row['members'])} contributors" for code, row in languages.items())
    identity = f"urn:commonweights:build:{build.digest}"
    for term in (*use["processing"], use["purpose"], *use["recipients"]):
        word(term)
    excluded = ", ".join(f"{word(reason)} {count}" for reason, count in manifest["excluded"].items()) or "none"
    parameters = ", ".join(f"{word(key)} {value}" for key, value in manifest["parameters"].items())
    stages = "; ".join(f"{word(stage)} ({_settings(settings)})" for stage, settings in manifest["stages"].items()) or "none"
    suites = ", ".join(word(suite) for suite in manifest["suites"]) or "none"
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "@id": identity,
        "name": word(name),
        "description": (
            f"{manifest['records']} prompts with answers in {len(languages)} languages, written by members of a cooperative. Every author of every record "
            f"consented to this use at entry {manifest['log']['size']} of the cooperative's log. The identity of the dataset is the root of its records."
        ),
        "url": identity,
        "version": f"{manifest['log']['size']}.0.0",
        "datePublished": manifest["at"],
        "license": [f"https://spdx.org/licenses/{word(licence)}" for licence in manifest["licences"]],
        "inLanguage": list(languages),
        "keywords": ["cooperative", "member-consent", "instruction-tuning"],
        "creator": {"@type": "sc:Organization", "name": "Members of the cooperative", "url": f"urn:commonweights:coop:{manifest['coop']}"},
        "citeAs": f"Members of the cooperative {manifest['coop']}: dataset build {build.digest}, root {manifest['root']}.",
        "usageInfo": offer(identity, use),
        "coop:build": {
            "coop:manifest": build.digest,
            "coop:root": manifest["root"],
            "coop:founding": manifest["coop"],
            "coop:logSize": manifest["log"]["size"],
            "coop:logRoot": manifest["log"]["root"],
        },
        "distribution": _distribution(build),
        "recordSet": [_record_set(build)],
        "rai:dataCollection": "Members write prompts and answers, or edit those of others, and hand them in under their own signature.",
        "rai:dataCollectionType": ["Manual Human Curation"],
        "rai:dataAnnotationProtocol": [
            "An edit names the record it is made from; its author and all authors before count as authors of it. The manifest's rules say whether reviews were asked for."
        ],
        "rai:annotationsPerItem": "1",
        "rai:dataPreprocessingProtocol": [f"rules in this order: {', '.join(word(rule) for rule in manifest['rules'])}", f"parameters: {parameters}",
            f"quality stages: {stages}",
            f"kept clear of the evaluation suites: {suites}", f"records left out, by reason: {excluded}"],
        "rai:personalSensitiveInformation": [
            "Texts are members' own words. Which patterns were replaced follows from the rules; names and postal addresses are not searched for.",
            "The public ledger holds member ids that are pseudonyms.",
        ],
        "rai:dataReleaseMaintenancePlan": "A build never changes. Records of members who withdraw are not in the next build; copies of this one cannot be recalled.",
        "rai:dataUseCases": [f"{' and '.join(WORDS.get(term, term) for term in use['processing'])}, for {WORDS.get(use['purpose'], use['purpose'])}"],
        "rai:dataBiases": [f"Languages are uneven: {uneven}."],
        "rai:dataLimitations": ["A record's licence is what its contributor states.", "Contributors are members of one cooperative, and stand for nobody else."],
        "rai:dataSocialImpact": "Members decide by vote what the records are used for, and may withdraw them.",
    }  # fmt: skip


def _settings(settings: dict[str, int]) -> str:
    return ", ".join(f"{word(key)} {value}" for key, value in settings.items())


def _distribution(build: Build) -> list[dict[str, Any]]:
    own = {"path": MANIFEST, "size": (build.folder / MANIFEST).stat().st_size, "sha256": build.digest}
    found = []
    for entry in [own, *build.manifest["files"]]:
        kind, words = next(value for suffix, value in _FILES.items() if entry["path"].endswith(suffix))
        found.append(
            {
                "@type": "cr:FileObject",
                "@id": word(entry["path"]),
                "name": entry["path"],
                "description": words,
                "contentUrl": entry["path"],
                "contentSize": f"{entry['size']} B",
                "encodingFormat": kind,
                "sha256": entry["sha256"].removeprefix("sha256:"),
            }
        )
    return found


def _record_set(build: Build) -> dict[str, Any]:
    """The columns of the Parquet file that are plain values or lists of them."""
    try:
        schema = pq.read_schema(build.records)
    except (pa.ArrowException, OSError) as error:
        raise CoopError(f"{build.records} cannot be read as Parquet: {error}", next="coop build verify") from error
    fields = []
    for column in schema:
        repeated = pa.types.is_list(column.type)
        kind = column.type.value_type if repeated else column.type
        told = "sc:Text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else "sc:Integer" if pa.types.is_integer(kind) else None
        if told is None:
            continue
        field = {
            "@type": "cr:Field",
            "@id": f"records/{column.name}",
            "name": f"records/{column.name}",
            "dataType": told,
            "source": {"fileObject": {"@id": RECORDS}, "extract": {"column": column.name}},
        }
        fields.append(field | ({"isArray": True, "arrayShape": "-1"} if repeated else {}))
    return {"@type": "cr:RecordSet", "@id": "records", "name": "records", "key": {"@id": "records/record"}, "field": fields}
