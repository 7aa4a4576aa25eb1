"""Consent records in the terms of ISO/IEC TS 27560 and DPV 2.3: every term exists, and none is a mere string to a machine."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyld import jsonld

from governance_hooks import consent_record
from governance_hooks.bylaws import Bylaws
from governance_hooks.canonical import digest, dumps, loads
from governance_hooks.consent import Consent
from governance_hooks.consent_record import CONTEXT, receipt, record
from governance_hooks.register import Register
from governance_hooks.state.consents import Grant
from governance_hooks.statement import shift
from tests.governance_hooks.test_vocabulary import DPV
from tests.village import CONSENT, Approved, Village, found

MANDATORY = [
    "dct:conformsTo",
    "dct:identifier",
    "dpv:hasIdentifier",
    "dpv:hasDataSubject",
    "dpv:hasNotice",
    "dct:language",
    "dpv:hasProcess",
    "dpv:hasPurpose",
    "dpv:hasPersonalData",
    "dpv:hasStorageCondition",
    "dpv:hasDataController",
    "dpv:hasRecipient",
    "dpv:hasConsentControl",
    "dpv:hasJurisdiction",
    "dpv:hasRight",
    "dpv:hasLegalBasis",
    "dpv:hasConsentStatus",
    "dpv:isIndicatedAtTime",
    "dpv:hasDuration",
    "dpv:isIndicatedBy",
]
"""What the guide of W3C DPVCG (15 February 2026) says MUST be there, sections 8.1 to 8.5; its entity fields (name, address, contact) are not ours to know."""


def no_network(url: str, options: dict[str, Any]) -> dict[str, Any]:
    raise AssertionError(f"the record asks the network for {url}")


OFFLINE = {"documentLoader": no_network}


def short(iri: str) -> str:
    """Return an IRI with its prefix, the longest that fits."""
    prefixes = {name: value for name, value in CONTEXT.items() if isinstance(value, str)}
    fitting = [name for name, value in prefixes.items() if iri.startswith(value)]
    best = max(fitting, key=lambda name: len(prefixes[name]), default=None)
    return iri if best is None else f"{best}:{iri.removeprefix(prefixes[best])}"


def quads(document: dict[str, Any]) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = jsonld.to_rdf(document, OFFLINE)["@default"]
    return statements


def dated(village: Village, member: str, **terms: Any) -> Grant:
    village.consent(member, **terms)
    return village.coop.register.grants[member][-1]


def record_of(village: Village, grant: Grant, *, at: str | None = None) -> dict[str, Any]:
    return record(village.coop.register, grant, village.coop.proof().entries, at=at or village.clock)


def states(made: dict[str, Any]) -> list[str]:
    return [status["@type"][0] if isinstance(status["@type"], list) else status["@type"] for status in made["dpv:hasConsentStatus"]]


def settle(village: Village, place: str | None) -> None:
    village.coop.register.bylaws = village.coop.register.bylaws.model_copy(update={"jurisdiction": place})


@pytest.fixture
def records(village: Village) -> list[dict[str, Any]]:
    """Records of every kind: plain, renewed, limited, scoped, withdrawn, expired; in a country with and without the GDPR."""
    settle(village, "NG")
    one, two = village.members[:2]
    batch = village.contribute(one).id
    grants = [
        dated(village, one),
        dated(village, one, occurrences=3, notice_language="yor"),
        dated(village, one, scope={"languages": ["yor", "ibo"], "batches": [batch]}, purposes=["dpv:ScientificResearch", "dpv:PublicBenefit"]),
        dated(village, two, expires=shift(village.clock, 100)),
        dated(village, two, outside={"recipients": ["dpv:GovernmentalOrganisation", "dpv:NonProfitOrganisation"], "forms": ["aggregate", "extract"]}),
    ]
    made = [record_of(village, grant) for grant in grants]
    village.say("coop.withdrawal/v1", {"consent": None}, one)
    settle(village, "ES")
    made += [record_of(village, grants[0]), record_of(village, grants[3], at=shift(village.clock, 100))]
    return [*made, receipt(village.coop.register, grants[:2], village.coop.proof().entries, at=village.clock)]


def test_every_term_of_dpv_in_a_record_exists_in_dpv_2_3(records: list[dict[str, Any]]) -> None:
    used: dict[str, set[str]] = {"class": set(), "property": set()}
    for made in records:
        for quad in quads(made):
            used["property"].add(short(quad["predicate"]["value"]))
            if quad["object"]["type"] == "IRI":
                used["class"].add(short(quad["object"]["value"]))
    for kind, terms in used.items():
        ours = {term for term in terms if term.split(":")[0] in ("dpv", "ai", "pd", "eu-gdpr", "loc")} - {"dpv:schema/dpv-27560#record"}
        unknown = {term for term in ours if DPV.get(term, {}).get("kind") != kind and not term.startswith("https://w3id.org/dpv/schema/")}
        assert unknown == set()
        assert len(ours) > 20
    assert {"dpv:RenewedConsentGiven", "dpv:ConsentWithdrawn", "dpv:ConsentExpired", "dpv:FixedOccurrencesDuration", "eu-gdpr:A7-3"} <= used["class"]
    assert {"dpv:Share", "dpv:Analyse", "dpv:NonProfitOrganisation"} <= used["class"]


def test_no_term_is_left_as_a_string(records: list[dict[str, Any]]) -> None:
    for made in records:
        literals = [quad["object"]["value"] for quad in quads(made) if quad["object"]["type"] == "literal"]
        prefixes = tuple(f"{name}:" for name, value in CONTEXT.items() if isinstance(value, str))
        assert [value for value in literals if value.startswith((*prefixes, "http"))] == [value for value in literals if value.startswith("coop:receipt:")]
        predicates = {quad["predicate"]["value"] for quad in quads(made)}
        assert all(predicate.startswith(("http", "urn:commonweights:")) for predicate in predicates)


def test_nothing_of_a_record_is_lost_to_a_machine(records: list[dict[str, Any]]) -> None:
    """JSON-LD drops what its context does not explain without a word; here every key comes out as a predicate."""

    def keys(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(keys, value))
        if isinstance(value, dict) and "@value" not in value:
            return {key for key in value if not key.startswith("@")}.union(*(keys(inner) for key, inner in value.items() if key != "@context"))
        return set()

    for made in records:
        assert {short(quad["predicate"]["value"]) for quad in quads(made)} - {"rdf:type"} == keys(made)


def test_a_record_says_all_that_the_profile_asks_for(records: list[dict[str, Any]]) -> None:
    for made in records:
        said = {short(quad["predicate"]["value"]) for quad in quads(made)}
        assert set(MANDATORY) <= said
    assert records[0]["dct:conformsTo"] == "https://w3id.org/dpv/schema/dpv-27560#record"
    assert records[-1]["dct:conformsTo"] == "https://w3id.org/dpv/schema/dpv-27560#receipt"


def test_without_a_jurisdiction_it_claims_no_profile(village: Village) -> None:
    made = record_of(village, dated(village, village.members[0]))
    assert "dct:conformsTo" not in made
    assert "dpv:hasJurisdiction" not in made["dpv:hasProcess"][0]


def test_rights_of_the_gdpr_are_named_where_it_applies_only(village: Village) -> None:
    grant = dated(village, village.members[0])
    for place, expected in (("ES", True), ("NG", False), (None, False)):
        settle(village, place)
        rights = record_of(village, grant)["dpv:hasProcess"][0]["dpv:hasRight"]
        assert [right["@type"][1:] for right in rights] == ([["eu-gdpr:A7-3"], ["eu-gdpr:A17"]] if expected else [[], []])


def test_a_record_is_canonical_json_and_comes_back_unchanged(records: list[dict[str, Any]]) -> None:
    for made in records:
        assert loads(dumps(made)) == made  # loads refuses a key that stands twice


def test_states_follow_the_log(village: Village) -> None:
    one, two = village.members[:2]
    first = dated(village, one, expires=shift(village.clock, 50))
    assert states(record_of(village, first)) == ["dpv:ConsentGiven"]
    assert states(record_of(village, first, at=shift(village.clock, 50))) == ["dpv:ConsentGiven", "dpv:ConsentExpired"]
    again = dated(village, one)
    assert states(record_of(village, again)) == ["dpv:RenewedConsentGiven"]
    assert record_of(village, again)["dct:replaces"] == f"coop:{first.id}"
    other = dated(village, one, licences=["CC-BY-4.0"])
    assert states(record_of(village, other)) == ["dpv:ConsentGiven"]  # to something else
    village.wait(7)
    ended = village.say("coop.withdrawal/v1", {"consent": again.id}, one)
    withdrawn = record_of(village, again)["dpv:hasConsentStatus"][-1]
    assert (withdrawn["@type"], withdrawn["dct:source"], withdrawn["dpv:isIndicatedAtTime"]) == ("dpv:ConsentWithdrawn", f"coop:{ended.id}", village.clock)
    last = dated(village, two)
    village.say("coop.leave/v1", {}, two)  # leaving is the member's own act too
    assert states(record_of(village, last)) == ["dpv:ConsentGiven", "dpv:ConsentWithdrawn"]


def test_a_consent_for_one_run_is_over_when_that_run_is_completed(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    give = village.consent
    monkeypatch.setattr(village, "consent", lambda member, **changes: give(member, occurrences=1, **changes))
    approved = Approved(village)
    grant = village.coop.register.grants[village.members[0]][0]
    assert record_of(village, grant)["dpv:hasProcess"][0]["coop:occurrencesUsed"] == 0
    approved.start()
    assert states(record_of(village, grant)) == ["dpv:ConsentGiven"]
    assert record_of(village, grant)["dpv:hasProcess"][0]["coop:occurrencesUsed"] == 1
    village.say("coop.run-end/v1", {"run": "run-1", "status": "completed", "record": digest("x"), "outputs": digest([])}, "operator")
    assert states(record_of(village, grant)) == ["dpv:ConsentGiven", "dpv:ConsentExpired"]


def test_one_record_quad_by_quad(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of a fixed consent, as the RDF a machine reads; blank nodes named by RDF Dataset Canonicalization."""
    member, zero = "m-0000000000000001", "sha256:" + "0" * 64
    register = Register()
    register.coop, register.name, register.size = "sha256:" + "c" * 64, "grain", 6
    register.bylaws = Bylaws.model_validate(
        {"registrars": [member], "registrars_required": 1, "oversight": [], "kinds": {"run": {}, "release": {}}, "jurisdiction": "ES"}
    )
    terms = {"expires": "2027-12-31T00:00:00Z", "occurrences": 1, "scope": {"languages": ["yor"], "batches": None}, "notice": zero}
    grant = Grant("sha256:" + "a" * 64, member, Consent.model_validate(CONSENT | terms), given=5)
    register.grants = {member: [grant]}
    monkeypatch.setattr(consent_record, "parse", lambda data: SimpleNamespace(id=grant.id, issued="2026-11-22T13:00:00Z"))
    made = record(register, grant, [b""] * 6, at="2026-11-23T00:00:00Z")
    canonical = jsonld.normalize(made, OFFLINE | {"algorithm": "URDNA2015", "format": "application/n-quads"})
    assert canonical == (Path(__file__).parent / "consent-record.nq").read_text()


def test_bylaws_state_a_country_or_none(tmp_path: Path) -> None:
    found(tmp_path / "a", jurisdiction="NG")
    with pytest.raises(Exception, match="jurisdiction"):
        found(tmp_path / "b", jurisdiction="Nigeria")
