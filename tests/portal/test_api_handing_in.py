"""The API takes a signed statement, and refuses what the rules do not allow or what is no statement."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from governance_hooks import merkle
from governance_hooks.canonical import dumps
from governance_hooks.checkpoint import read_body
from governance_hooks.sshsig import generate_key
from portal.api.site import PREFIX
from portal.security import BODY_BYTES
from tests.portal.conftest import Portal
from tests.portal.program import NOBODY, ballot, client_of, get, handed_in
from tests.portal.test_voting import propose


def test_a_signed_ballot_is_taken_and_its_receipt_proves_itself(portal: Portal) -> None:
    client, proposal, voter = client_of(portal), propose(portal), portal.members[1]
    answer = handed_in(client, ballot(portal, proposal, portal.keys[voter], voter))
    assert answer.status_code == 201, answer.text
    receipt = answer.json()
    entry, proof = receipt["entry"], receipt["inclusion"]
    leaf = merkle.leaf_hash(dumps({"body": entry["body"], "signatures": entry["signatures"]}))
    root = read_body(receipt["checkpoint"]).root
    assert merkle.verify_inclusion(leaf, proof["index"], proof["size"], [base64.b64decode(one) for one in proof["path"]], root)
    assert base64.b64decode(proof["leaf"]) == leaf
    assert base64.b64decode(proof["root"]) == root
    where = urllib.parse.urlsplit(answer.headers["location"]).path
    assert client.get(where).json()["entry"] == entry
    with portal.service.view.reading() as register:
        assert register.proposals[proposal].votes[voter].choice == "for"
    assert get(client, f"/proposals/{proposal}/ballots")["ballots"] == [
        {"member": voter, "choice": "for", "options": [], "answers": [], "ballot": entry["statement"]}
    ]


def test_what_the_rules_do_not_allow_is_refused_in_four_words_and_nothing_is_appended(portal: Portal, tmp_path: Path) -> None:
    client, proposal, voter = client_of(portal), propose(portal), portal.members[1]
    stranger = generate_key(tmp_path / "stranger")
    good = ballot(portal, proposal, portal.keys[voter], voter)
    size = portal.service.view.log.size
    for document, status, said in [
        (ballot(portal, proposal, stranger, voter), 409, "nobody enrolled"),
        (ballot(portal, proposal, stranger, "m-00000000000000ff"), 409, "not a member"),
        (ballot(portal, proposal, portal.keys[voter], voter, sequence=7), 409, "numbered one by one"),
        (ballot(portal, NOBODY, portal.keys[voter], voter), 409, "no such proposal"),
        (good | {"statement": good["statement"] | {"payload": good["statement"]["payload"] | {"choice": "against"}}}, 409, "signature"),
        (good | {"signatures": ["-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----"]}, 409, ""),
        (good | {"signatures": ["nothing"]}, 422, "signatures"),
        (good | {"statement": good["statement"] | {"payload": {"surplus": 1}}}, 409, "payload"),
        (good | {"statement": good["statement"] | {"type": "coop.unheard-of/v1"}}, 409, "type"),
        (good | {"extra": 1}, 422, "extra"),
        ([good], 422, "body"),
    ]:
        answer = handed_in(client, document)
        assert answer.status_code == status, (said, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        told = answer.json()
        assert told["status"] == status
        assert said in json.dumps(told), told
        assert set(told) <= {"type", "title", "status", "detail", "value", "allowed", "next"}
    assert portal.service.view.log.size == size
    assert handed_in(client, good).status_code == 201
    again = handed_in(client, good)
    assert again.status_code == 409
    assert "in the log already" in again.json()["detail"]
    assert portal.service.view.log.size == size + 1


@pytest.mark.parametrize(
    ("sent", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"statement": NaN, "signatures": []}', "application/json", 422),
        (b"", "application/json", 422),
        (b"{}", "text/plain", 415),
        (b"statement=1&signatures=2", "application/x-www-form-urlencoded", 415),
        (b"{}", "application/xml", 415),
        (b"x" * (BODY_BYTES + 1), "application/json", 413),
    ],
)
def test_a_body_that_is_no_statement_is_a_problem_and_no_error(still: Portal, sent: bytes, kind: str, status: int) -> None:
    answer = client_of(still).post(f"{PREFIX}/statements", content=sent, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_a_body_without_a_length_is_bounded_as_well(still: Portal) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b" " * 8192

    answer = client_of(still).post(f"{PREFIX}/statements", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["detail"] == f"a request may have {BODY_BYTES} bytes"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"sequence": 1', '"sequence": 1, "sequence": 1', "twice"),
        ('"sequence": 1', '"sequence": 1.0', "not an integer"),
        ('"sequence": 1', '"sequence": 9007199254740992', "2^53"),
        ('"sequence": 1', '"sequence": 1e400', "not an integer"),
    ],
)
def test_a_document_with_two_readings_is_refused(portal: Portal, old: str, new: str, said: str) -> None:
    voter = portal.members[1]
    text = json.dumps(ballot(portal, propose(portal), portal.keys[voter], voter))
    assert old in text
    answer = client_of(portal).post(f"{PREFIX}/statements", content=text.replace(old, new), headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_a_page_of_another_site_reads_everything_and_hands_in_nothing(portal: Portal) -> None:
    client, voter = client_of(portal), portal.members[1]
    foreign = {"origin": "https://elsewhere.example", "sec-fetch-site": "cross-site"}
    read = client.get(f"{PREFIX}/log/checkpoint", headers=foreign)
    assert read.headers["access-control-allow-origin"] == "*"
    assert read.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "access-control-allow-credentials" not in read.headers
    assert client.get(f"{PREFIX}/log/entries/{10**9}", headers=foreign).headers["access-control-allow-origin"] == "*"
    document = ballot(portal, propose(portal), portal.keys[voter], voter)
    refused = client.post(f"{PREFIX}/statements", json=document, headers=foreign)
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert "access-control-allow-origin" not in refused.headers
    assert client.options(f"{PREFIX}/statements", headers=foreign | {"access-control-request-method": "POST"}).status_code == 405
