"""data/croissant.json: the public part of the dataset for machines, in Croissant 1.1 with its RAI fields and the conditions of use in ODRL.

It describes the ledger and the manifest, which are in this folder. Members' texts are not, and `coop build card` describes them where they lie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from governance_hooks.canonical import sha256
from governance_hooks.vocabulary import WORDS
from model_card import iso639
from model_card.records import CardRecords
from model_card.renderers.words import reason, value_of

__all__ = ["render"]

_CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{term: f"cr:{term}" for term in (
        "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format",
        "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace",
        "samplingRate", "separator", "source", "subField", "transform",
    )},
    "conformsTo": "dct:conformsTo",
    "coop": "urn:commonweights:",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "dpv": "https://w3id.org/dpv#",
    "ai": "https://w3id.org/dpv/ai#",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "odrl": "http://www.w3.org/ns/odrl/2/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}  # fmt: skip
_COLUMNS: Final = ("record", "commitment", "content", "batch", "language", "split")
_FILES: Final = {
    "data/ledger.jsonl": "One line a record: its name, commitment, pseudonymous authors and their consents; no text.",
    "data/manifest.json": "What the build was made from, and the digest of every file.",
}


def _members(text: Mapping[str, Any]) -> list[str]:
    return [one["text"] for one in text["value"]] if "value" in text else [reason(text)]


def _conditions(identity: str, use: Mapping[str, Any]) -> dict[str, Any]:
    terms = [("odrl:purpose", use["purpose"]), *(("odrl:recipient", term) for term in use["recipients"])]
    return {
        "@type": ["CreativeWork", "odrl:Offer"],
        "@id": f"{identity}#use",
        "odrl:permission": {
            "@type": "odrl:Permission",
            "odrl:action": [{"@id": term} for term in use["processing"]],
            "odrl:constraint": [
                {"@type": "odrl:Constraint", "odrl:leftOperand": {"@id": left}, "odrl:operator": {"@id": "odrl:isA"}, "odrl:rightOperand": {"@id": right}}
                for left, right in terms
            ],
        },
    }


def _files(records: CardRecords) -> list[dict[str, Any]]:
    found = []
    contents = {"data/manifest.json": records.manifest_bytes} | {path: records.files[path] for path in _FILES if path in records.files}
    for path, data in sorted(contents.items()):
        name = path.removeprefix("data/")
        found.append({
            "@type": "cr:FileObject", "@id": name, "name": name, "description": _FILES[path], "contentUrl": name, "contentSize": f"{len(data)} B",
            "encodingFormat": "application/jsonlines" if name.endswith(".jsonl") else "application/json", "sha256": sha256(data).removeprefix("sha256:"),
        })  # fmt: skip
    return found


def _rows() -> list[dict[str, Any]]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"ledger/{column}",
            "name": f"ledger/{column}",
            "dataType": "sc:Text",
            "source": {"fileObject": {"@id": "ledger.jsonl"}, "extract": {"column": column}},
        }
        for column in _COLUMNS
    ]
    return [{"@type": "cr:RecordSet", "@id": "ledger", "name": "ledger", "key": {"@id": "ledger/record"}, "field": fields}]


def render(card: Mapping[str, Any], records: CardRecords) -> bytes:
    """Return the JSON-LD of the build's public part; files are named relative to the folder `data`."""
    data, use = card["data"], records.plan.use.model_dump()
    manifest, log = records.manifest.sha256, value_of(data["log"])
    identity = f"urn:commonweights:build:{manifest}"
    uneven = "; ".join(
        f"{iso639.name(language)} {value_of(row['train'], 0)} + {value_of(row['heldout'], 0)} records" for language, row in card["languages"].items()
    )
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "@id": identity,
        "name": f"build-{manifest[7:19]}",
        "description": (
            f"The public ledger of {value_of(data['records'])} prompts with answers in {len(card['languages'])} languages, written by members of a cooperative. Every author of every record "
            f"consented to this use at entry {log['size']} of the cooperative's log. The texts are not public; the identity of the dataset is the root of its records."
        ),
        "url": identity,
        "version": f"{log['size']}.0.0",
        "datePublished": value_of(data["at"]),
        "license": [f"https://spdx.org/licenses/{licence}" for licence in sorted(value_of(data["licences"], {}))] or ["https://spdx.org/licenses/NOASSERTION"],
        "inLanguage": list(card["languages"]),
        "keywords": ["cooperative", "member-consent", "instruction-tuning"],
        "creator": {"@type": "sc:Organization", "name": "Members of the cooperative", "url": f"urn:commonweights:coop:{records.coop}"},
        "citeAs": f"Members of the cooperative {records.coop}: dataset build {manifest}, root {value_of(data['root'])}.",
        "usageInfo": _conditions(identity, use),
        "coop:build": {
            "coop:manifest": manifest,
            "coop:root": value_of(data["root"]),
            "coop:founding": records.coop,
            "coop:logSize": log["size"],
            "coop:logRoot": log["root"],
        },
        "distribution": _files(records),
        "rai:dataCollection": "Members write prompts and answers, or edit those of others, and hand them in under their own signature.",
        "rai:dataCollectionType": ["Manual Human Curation"],
        "rai:dataPreprocessingProtocol": [
            f"rules in this order: {', '.join(map(str, value_of(data['rules'], []) or [])) or 'none named'}",
            f"records left out, by reason: {', '.join(f'{key} {count}' for key, count in (value_of(data['excluded'], {}) or {}).items()) or 'none'}",
        ],
        "rai:personalSensitiveInformation": [
            "Texts are members' own words and are not in this folder.",
            "The public ledger holds member ids that are pseudonyms.",
        ],
        "rai:dataReleaseMaintenancePlan": "A build never changes. Records of members who withdraw are not in the next build; copies of this one cannot be recalled.",
        "rai:dataUseCases": [f"{' and '.join(WORDS.get(term, term) for term in use['processing'])}, for {WORDS.get(use['purpose'], use['purpose'])}"],
        "rai:dataBiases": [f"Languages are uneven: {uneven}.", *_members(card["statements"]["bias_and_risks"])],
        "rai:dataLimitations": [
            "A record's licence is what its contributor states.",
            "Contributors are members of one cooperative, and stand for nobody else.",
        ],
        "rai:dataSocialImpact": "Members decide by vote what the records are used for, and may withdraw them.",
    }
    if "data/ledger.jsonl" in records.files:
        document["recordSet"] = _rows()
    return (json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
