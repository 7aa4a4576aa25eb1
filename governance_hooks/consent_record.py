"""Consent records and receipts as ISO/IEC TS 27560:2023 asks for them, in terms of DPV 2.3, as JSON-LD without a network.

Nothing here is stored: what a record says is signed in the consent statement, or follows from the log and the bylaws.
Source: W3C DPVCG, "Consent Records and Receipts as per ISO/IEC TS 27560:2023 using DPV", 15 February 2026.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from governance_hooks.register import Register
from governance_hooks.state.consents import Grant
from governance_hooks.statement import Statement, parse
from governance_hooks.vocabulary import EVERYBODY, OUTSIDE_FORMS, PUBLISHING, WORDS

__all__ = ["CONTEXT", "receipt", "record"]

_PROFILE = "https://w3id.org/dpv/schema/dpv-27560#"

_IRIS = (
    "dct:conformsTo",
    "dct:license",
    "dct:replaces",
    "dct:source",
    "dpv:hasDataController",
    "dpv:hasDataSource",
    "dpv:hasDataSubject",
    "dpv:hasIdentifier",
    "dpv:hasJurisdiction",
    "dpv:hasLegalBasis",
    "dpv:hasPersonalData",
    "dpv:hasProcessing",
    "dpv:hasPurpose",
    "dpv:hasRecipient",
    "dpv:isIndicatedBy",
    "skos:broader",
)
_TYPED = {"dct:created": "xsd:dateTime", "dpv:isIndicatedAtTime": "xsd:dateTime", "coop:entry": "xsd:integer", "coop:occurrencesUsed": "xsd:integer"}

CONTEXT: dict[str, Any] = {
    "ai": "https://w3id.org/dpv/ai#",
    "coop": "urn:commonweights:",
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "loc": "https://w3id.org/dpv/loc#",
    "pd": "https://w3id.org/dpv/pd#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    **{name: {"@type": "@id"} for name in _IRIS},
    **{name: {"@type": kind} for name, kind in _TYPED.items()},
}
"""Every term that stands for a thing is read as an IRI: as a plain string it would be a piece of text to a machine."""

_EEA = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "CY",
        "CZ",
        "DE",
        "DK",
        "EE",
        "ES",
        "FI",
        "FR",
        "GR",
        "HR",
        "HU",
        "IE",
        "IS",
        "IT",
        "LI",
        "LT",
        "LU",
        "LV",
        "MT",
        "NL",
        "NO",
        "PL",
        "PT",
        "RO",
        "SE",
        "SI",
        "SK",
    ]
)
"""Where the GDPR applies: European Economic Area, ISO 3166-1 alpha-2."""


def record(register: Register, grant: Grant, entries: Sequence[bytes], *, at: str) -> dict[str, Any]:
    """Return the consent record of a grant as JSON-LD.

    Args:
        register: the whole log, folded.
        grant: the member's consent.
        entries: the log's entries, from which times and signatures are read.
        at: instant (RFC 3339 UTC) for which expiry is judged.

    The record names the profile it conforms to only if the bylaws state a jurisdiction, without which it does not conform.
    """
    return {"@context": CONTEXT, **_record(register, grant, entries, at=at)}


def receipt(register: Register, grants: Sequence[Grant], entries: Sequence[bytes], *, at: str) -> dict[str, Any]:
    """Return the records of several grants of a member in one consent receipt, as JSON-LD; arguments as in `record`."""
    said = f"coop:receipt:{grants[0].id}:{register.size}"
    records = [_record(register, grant, entries, at=at) for grant in grants]
    made = {"@context": CONTEXT, "@id": said, "@type": "dpv:ConsentReceipt", "dct:created": at, "dct:identifier": said, "dpv:hasIdentifier": said}
    return made | _conforms(register, "receipt") | {"dpv:hasRecordOfActivity": records}


def _conforms(register: Register, profile: str) -> dict[str, Any]:
    return {} if register.bylaws.jurisdiction is None else {"dct:conformsTo": _PROFILE + profile}


def _record(register: Register, grant: Grant, entries: Sequence[bytes], *, at: str) -> dict[str, Any]:
    given, member = parse(entries[grant.given]), f"coop:{register.coop}:{grant.member}"
    renewed = _renewed(register, grant)
    made: dict[str, Any] = {
        "@id": f"coop:{grant.id}",
        "@type": "dpv:ConsentRecord",
        "coop:entry": grant.given,
        "dct:created": given.issued,
        "dct:identifier": grant.id,
        "dpv:hasConsentStatus": _statuses(register, grant, given, entries, renewed=renewed is not None, at=at),
        "dpv:hasDataSubject": {"@id": member, "@type": "dpv:DataSubject", "dct:identifier": grant.member},
        "dpv:hasIdentifier": f"coop:{grant.id}",
        "dpv:hasNotice": [
            {
                "@id": f"coop:{grant.consent.notice}",
                "@type": "dpv:ConsentNotice",
                "dct:identifier": grant.consent.notice,
                "dct:language": grant.consent.notice_language,
            }
        ],
        "dpv:hasProcess": [_process(register, grant)],
    }
    if renewed is not None:
        made["dct:replaces"] = f"coop:{renewed.id}"
    return made | _conforms(register, "record")


def _renewed(register: Register, grant: Grant) -> Grant | None:
    """Return the newest earlier consent of the member to the same things, for however long and under whatever notice."""
    same = {"purposes", "processing", "recipients", "licences", "scope", "outside", "publish"}
    terms = grant.consent.model_dump(include=same)
    earlier = [other for other in register.grants[grant.member] if other.given < grant.given and other.consent.model_dump(include=same) == terms]
    return earlier[-1] if earlier else None


def _durations(grant: Grant) -> list[dict[str, Any]]:
    """Return what ends the consent, whichever comes first."""
    ends: list[dict[str, Any]] = [{"@type": "dpv:UntilEventDuration", "rdf:value": "the member withdraws it or leaves"}]
    if grant.consent.expires is not None:
        ends.append({"@type": "dpv:UntilTimeDuration", "rdf:value": {"@type": "xsd:dateTime", "@value": grant.consent.expires}})
    if grant.consent.occurrences is not None:
        ends.append({"@type": "dpv:FixedOccurrencesDuration", "rdf:value": {"@type": "xsd:integer", "@value": str(grant.consent.occurrences)}})
    return ends


def _statuses(register: Register, grant: Grant, given: Statement, entries: Sequence[bytes], *, renewed: bool, at: str) -> list[dict[str, Any]]:
    """Return the states the consent went through, oldest first."""
    member = f"coop:{register.coop}:{grant.member}"
    by_member = {"dpv:hasIndicationMethod": "OpenSSH signature (SSHSIG) of the member over the statement", "dpv:isIndicatedBy": member}
    state = "dpv:RenewedConsentGiven" if renewed else "dpv:ConsentGiven"
    statuses: list[dict[str, Any]] = [
        {
            "@type": [state, "dpv:ExplicitlyExpressedConsent"],
            "coop:entry": grant.given,
            "dct:source": f"coop:{given.id}",
            "dpv:hasDuration": _durations(grant),
            "dpv:isIndicatedAtTime": given.issued,
        }
        | by_member
    ]
    if grant.withdrawn is not None:
        ended = parse(entries[grant.withdrawn])  # a withdrawal, or the member's leave
        end = {"coop:entry": grant.withdrawn, "dct:source": f"coop:{ended.id}", "dpv:isIndicatedAtTime": ended.issued}
        return [*statuses, {"@type": "dpv:ConsentWithdrawn"} | end | by_member]
    last = _used_up(register, grant)
    if last is not None:
        ended = parse(entries[last])
        end = {"coop:entry": last, "dct:source": f"coop:{ended.id}", "dpv:isIndicatedAtTime": ended.issued}
        statuses.append({"@type": "dpv:ConsentExpired", "dpv:isIndicatedBy": f"coop:{register.coop}"} | end)
    elif grant.consent.expires is not None and at >= grant.consent.expires:
        statuses.append({"@type": "dpv:ConsentExpired", "dpv:isIndicatedAtTime": grant.consent.expires, "dpv:isIndicatedBy": member})
    return statuses


def _used_up(register: Register, grant: Grant) -> int | None:
    """Return the log position at which the last run that a limited consent allows was completed, or None."""
    if grant.consent.occurrences is None or len(grant.used) < grant.consent.occurrences:
        return None
    ends = [run.ended for run in map(register.run, grant.used) if run.status == "completed" and run.ended is not None]
    return max(ends) if len(ends) == len(grant.used) else None


def _process(register: Register, grant: Grant) -> dict[str, Any]:
    """Return what the member allows: purposes, processing, data, who, where, and how to take it back."""
    consent, place = grant.consent, register.bylaws.jurisdiction
    data: dict[str, Any] = {"@type": ["dpv:PersonalData", "ai:TrainingData"], "skos:broader": "pd:Communication"}
    if consent.scope.languages is not None:
        data["dct:language"] = consent.scope.languages
    if consent.scope.batches is not None:
        data["dct:source"] = [f"coop:{batch}" for batch in consent.scope.batches]
    withdraw = f"coop consent withdraw {grant.id}"
    rights = [
        {"@type": ["dpv:DataSubjectRight"], "dct:title": "Withdraw this consent", "dpv:isExercisedAt": withdraw},
        {"@type": ["dpv:DataSubjectRight"], "dct:title": "Have the texts erased", "dpv:isExercisedAt": "ask the cooperative's operator"},
    ]
    if place in _EEA:
        for right, article in zip(rights, ("eu-gdpr:A7-3", "eu-gdpr:A17"), strict=True):
            right["@type"] = [*right["@type"], article]
    made: dict[str, Any] = {
        "@type": "dpv:Process",
        "dct:license": [f"https://spdx.org/licenses/{licence}" for licence in consent.licences],
        "dpv:hasConsentControl": [{"@type": "dpv:WithdrawConsent", "dpv:isExercisedAt": withdraw}],
        "dpv:hasDataController": {"@id": f"coop:{register.coop}", "@type": "dpv:DataController", "dct:identifier": register.coop, "dpv:hasName": register.name},
        "dpv:hasDataSource": "dpv:DataSubjectDataSource",
        "dpv:hasLegalBasis": "dpv:ExplicitlyExpressedConsent",
        "dpv:hasPersonalData": [data],
        "dpv:hasProcessing": [
            *consent.processing,
            *(OUTSIDE_FORMS[form] for form in (consent.outside.forms if consent.outside else [])),
            *([PUBLISHING[consent.publish]] if consent.publish else []),
        ],
        "dpv:hasPurpose": consent.purposes,
        "dpv:hasRecipient": [
            {"@id": name, "@type": "dpv:Recipient", "dct:title": WORDS[name]}
            for name in [
                *consent.recipients,
                *(consent.outside.recipients if consent.outside else []),
                *([EVERYBODY] if consent.publish else []),
            ]
        ],
        "dpv:hasRight": rights,
        "dpv:hasStorageCondition": [
            {"@type": "dpv:StorageDuration", "dpv:hasDuration": [{"@type": "dpv:UntilEventDuration", "rdf:value": "the member asks for erasure"}]}
        ],
    }
    if consent.occurrences is not None:
        made["coop:occurrencesUsed"] = len(grant.used)
    return made if place is None else made | {"dpv:hasJurisdiction": f"loc:{place}"}
