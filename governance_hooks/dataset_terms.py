"""Words that every description of a dataset for machines shares: Croissant's JSON-LD context, and the use members consented to as an ODRL offer.

Source: MLCommons Croissant 1.1; ODRL 2.2; DPV 2.3 for the terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["CONTEXT", "offer"]

CONTEXT: Final[dict[str, Any]] = {
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


def offer(identity: str, use: Mapping[str, Any]) -> dict[str, Any]:
    """Return the use members consented to as an ODRL offer about the dataset of this identity."""
    constraints = [("odrl:purpose", use["purpose"]), *(("odrl:recipient", term) for term in use["recipients"])]
    return {
        "@type": ["CreativeWork", "odrl:Offer"],
        "@id": f"{identity}#use",
        "odrl:permission": {
            "@type": "odrl:Permission",
            "odrl:action": [{"@id": term} for term in use["processing"]],
            "odrl:constraint": [
                {"@type": "odrl:Constraint", "odrl:leftOperand": {"@id": left}, "odrl:operator": {"@id": "odrl:isA"}, "odrl:rightOperand": {"@id": right}}
                for left, right in constraints
            ],
        },
    }
