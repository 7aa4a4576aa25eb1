"""The portal for programs: what is signed comes in, what is public comes out, the log can be checked from it alone, and nothing private is in it."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from governance_hooks import merkle
from governance_hooks.canonical import dumps
from governance_hooks.checkpoint import read_body
from governance_hooks.sshsig import PrivateKey, generate_key
from governance_hooks.statement import body, parse, sign
from governance_hooks.tiles import ENTRIES, read_export, tile_path
from portal.api.site import PREFIX
from portal.limits import RATES, Limits
from portal.security import BODY_BYTES
from tests.model_card.attested import STEWARDS
from tests.model_card.conftest import Finished, Release
from tests.portal.conftest import Portal
from tests.portal.test_giving import allow, give
from tests.portal.test_public import WEIGHTS, library
from tests.portal.test_voting import propose, say

NOBODY = "sha256:" + "0" * 64


def client_of(portal: Portal) -> TestClient:
    """A program: no cookies, no headers of a browser."""
    return portal.stranger().client


def get(client: TestClient, path: str) -> Any:
    answer = client.get(PREFIX + path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ballot(portal: Portal, proposal: str, key: PrivateKey, author: str, choice: str = "for", sequence: int = 1, **changes: Any) -> dict[str, Any]:
    payload = {"proposal": proposal, "choice": choice, "sequence": sequence, "reason": None} | changes
    made = body("coop.ballot/v1", payload, coop=portal.service.view.pin, author=author)
    return {"statement": made, "signatures": [sign(made, key)]}


def handed_in(client: TestClient, document: Any) -> Any:
    return client.post(f"{PREFIX}/statements", json=document)


# Handing in


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


# The log


def test_the_tiles_are_a_log_that_an_auditor_checks_from_a_folder(portal: Portal, tmp_path: Path) -> None:
    for _ in range(260):  # a full tile, and one that is not
        say(portal, "coop.time/v1", {}, "operator", portal.operator)
    client = client_of(portal)
    note = client.get(f"{PREFIX}/log/checkpoint").text
    size = read_body(note).size
    assert size > 256
    for level, number, width in [(ENTRIES, 0, 256), (0, 0, 256), (ENTRIES, 1, size - 256), (0, 1, size - 256), (1, 0, 1)]:
        path = tile_path(level, number, width)
        answer = client.get(f"{PREFIX}/log/{path}")
        assert answer.status_code == 200, path
        assert "immutable" in answer.headers["cache-control"]
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(answer.content)
    (tmp_path / "checkpoint").write_text(note)
    assert read_export(tmp_path).verify(portal.service.view.pin).size == size
    good = (tmp_path / tile_path(ENTRIES, 0)).read_bytes()
    (tmp_path / tile_path(ENTRIES, 0)).write_bytes(good.replace(b"coop.time/v1", b"coop.tame/v1", 1))
    with pytest.raises(Exception, match="tile"):
        read_export(tmp_path).verify(portal.service.view.pin)


@pytest.mark.parametrize(
    "path",
    ["0/001", "0/000", "0/000.p/256", "0/000.p/0", "0/000.p/255", "1/000", "63/000.p/1", "0/x000/000.p/1", "entries/x999/x999/x999/x999/x999/999", "0/0"],
)
def test_a_tile_that_is_not_in_the_tree_is_not_there(still: Portal, path: str) -> None:
    assert client_of(still).get(f"{PREFIX}/log/tile/{path}").status_code in (404, 422)


def test_the_log_is_read_page_by_page_and_every_entry_is_proven(portal: Portal) -> None:
    propose(portal)
    client, seen, start = client_of(portal), list[dict[str, Any]](), 0
    while True:
        page = get(client, f"/log/entries?start={start}&limit=2")
        seen += page["entries"]
        if page["next"] is None:
            break
        start = page["next"]
    assert [one["index"] for one in seen] == list(range(page["size"]))
    root = read_body(client.get(f"{PREFIX}/log/checkpoint").text).root
    for one in seen:
        leaf = merkle.leaf_hash(dumps({"body": one["body"], "signatures": one["signatures"]}))
        proof = get(client, f"/log/proofs/inclusion?index={one['index']}")
        assert merkle.verify_inclusion(leaf, one["index"], proof["size"], [base64.b64decode(step) for step in proof["path"]], root)
        assert get(client, f"/log/entries/{one['index']}") == one
        assert get(client, f"/log/statements/{one['statement']}")["entry"] == one
    for old in range(1, page["size"] + 1):
        proof = get(client, f"/log/proofs/consistency?old={old}")
        path, roots = [base64.b64decode(step) for step in proof["path"]], [base64.b64decode(proof[name]) for name in ("old_root", "new_root")]
        assert roots[1] == root
        assert merkle.verify_consistency(old, proof["new"], path, *roots)


# Lists


def test_votes_stand_as_the_log_says(portal: Portal) -> None:
    client = client_of(portal)
    first, second = propose(portal), propose(portal, subject=NOBODY)
    found = get(client, "/proposals")
    assert [one["proposal"] for one in found["proposals"]] == [first, second]
    assert {one["standing"] for one in found["proposals"]} == {"open"}
    for number, choice in enumerate(("for", "for", "against")):
        member = portal.members[number]
        assert handed_in(client, ballot(portal, first, portal.keys[member], member, choice)).status_code == 201
    result = get(client, f"/proposals/{first}")["result"]
    assert (result["votes_for"], result["votes_against"], result["votes_abstain"], result["may_vote"]) == (2, 1, 0, 5)
    assert get(client, "/proposals?closed=true")["total"] == 0
    assert get(client, "/proposals?closed=false&start=1&limit=1")["proposals"][0]["proposal"] == second
    assert client.get(f"{PREFIX}/proposals/{NOBODY}").status_code == 404
    assert client.get(f"{PREFIX}/proposals/{NOBODY}/ballots").status_code == 404


def test_what_was_taken_back_is_listed_at_a_fixed_address(portal: Portal) -> None:
    client, (person, member) = client_of(portal), portal.joined()
    allow(person)
    allow(person, "dpv:PublicBenefit")
    assert get(client, "/withdrawals")["withdrawals"] == []
    with portal.service.view.reading() as register:
        ids = [one.id for one in register.grants[member]]
    person.sign(person.post("/consent/withdraw", consent=ids[0]))
    person.sign(person.post("/mine/leave", sure=member))
    found = get(client, "/withdrawals")
    assert [(one["member"], one["why"], one["consents"]) for one in found["withdrawals"]] == [(member, "withdrawal", ids[:1]), (member, "leave", ids[1:])]
    assert found["size"] == portal.service.view.log.size
    assert get(client, "/withdrawals?start=1&limit=1")["withdrawals"] == found["withdrawals"][1:]
    shown = next(one for one in get(client, "/members?limit=100")["members"] if one["member"] == member)
    assert shown["left"] is not None
    assert shown["keys"] == []


def test_weights_that_were_withdrawn_have_no_address(tmp_path: Path) -> None:
    def withdraw(done: Finished, release: Release) -> None:
        done.publish(release)
        payload = {"release": release.digest, "status": "withdrawn", "by": None, "reason": "safety"}
        done.village.say("coop.release-status/v1", payload, STEWARDS[0], *(done.village.keys[one] for one in STEWARDS))

    with library(tmp_path / "village", withdraw, stewards=STEWARDS, stewards_required=2) as made:
        client = client_of(made.portal)
        found = get(client, f"/releases/{made.release.digest}")
        assert (found["status"]["status"], found["status"]["reason"]) == ("withdrawn", "safety")
        urls = {one["path"]: one["url"] for one in found["files"]}
        assert urls[WEIGHTS] is None
        fetched = client.get(urllib.parse.urlsplit(urls["card.json"]).path)
        assert fetched.status_code == 200


def test_a_release_that_is_not_out_is_not_told_of(tmp_path: Path) -> None:
    with library(tmp_path / "village", lambda done, release: (done.village.propose("release", release.digest), None)[1]) as made:
        client = client_of(made.portal)
        assert get(client, "/releases")["releases"] == []
        assert client.get(f"{PREFIX}/releases/{made.release.digest}").status_code == 404


# Bounds


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/log/entries?start=-1", 422),
        ("/log/entries?limit=0", 422),
        ("/log/entries?limit=101", 422),
        (f"/log/entries?start={2**63}", 422),
        (f"/log/entries?start={2**53 - 1}", 200),
        (f"/log/entries?start={'9' * 5000}", 422),
        ("/log/entries?start=1&start=2", 422),
        ("/log/entries?start=1&limit=1&LIMIT=1", 422),
        ("/log/entries?lang=ar", 422),
        ("/log/entries?start=%00", 422),
        ("/log/entries/-1", 422),
        (f"/log/entries/{2**63}", 422),
        (f"/log/entries/{2**53 - 1}", 404),
        (f"/log/proofs/inclusion?index=0&size={2**53 - 1}", 404),
        ("/log/proofs/inclusion?index=5&size=3", 404),
        ("/log/proofs/inclusion", 422),
        ("/log/proofs/consistency?old=0", 422),
        ("/log/proofs/consistency?old=2&new=1", 404),
        ("/log/tile/0/%2e%2e/%2e%2e/etc/passwd", 422),
        ("/log/tile/..%2f..%2f0/000", 422),
        ("/log/statements/sha256:zz", 422),
        ("/releases/..%2f..%2fetc", 404),
        ("/releases/%2e%2e", 422),
        ("/datasets/..%2f..%2fbuilds%2fone", 404),
        ("/datasets/%2e%2e", 422),
        ("/languages/..%2f", 404),
        ("/languages/SWA", 422),
        ("/languages/%F0%9F%A6%A6", 422),
        ("/nowhere", 404),
        ("//etc/passwd", 404),
    ],
)
def test_what_is_out_of_bounds_is_a_problem(still: Portal, path: str, status: int) -> None:
    answer = client_of(still).get(PREFIX + path, follow_redirects=False)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert "etag" not in answer.headers
        assert "Traceback" not in answer.text


def test_answers_are_kept_for_a_minute_and_asked_for_again_cheaply(portal: Portal) -> None:
    client = client_of(portal)
    for path in (
        "/",
        "/log/entries",
        "/log/entries/0",
        "/log/checkpoint",
        "/proposals",
        "/bylaws",
        "/bylaws/1",
        "/members",
        "/withdrawals",
        "/releases",
        "/datasets",
        "/languages",
    ):
        first = client.get(PREFIX + path)
        assert first.headers["cache-control"].startswith("public, max-age="), path
        assert "set-cookie" not in first.headers
        again = client.get(PREFIX + path, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), path
    before = client.get(f"{PREFIX}/log/entries").headers["etag"]
    say(portal, "coop.time/v1", {}, "operator", portal.operator)
    assert client.get(f"{PREFIX}/log/entries", headers={"if-none-match": before}).status_code == 200


def test_head_says_what_get_would_say_without_the_body(still: Portal) -> None:
    client = client_of(still)
    for path, status in (("/log/checkpoint", 200), ("/members", 200), ("/nowhere", 404), ("/statements", 405)):
        whole, bare = client.get(PREFIX + path), client.head(PREFIX + path)
        assert (bare.status_code, bare.content) == (status, b""), path
        assert {name: value for name, value in bare.headers.items() if name != "date"} == {
            name: value for name, value in whole.headers.items() if name != "date"
        }


def test_who_is_signed_in_gets_the_same_answer_in_the_same_language(portal: Portal) -> None:
    member, stranger = portal.founder(0), client_of(portal)
    member.get("/?lang=ar")
    for path in ("/log/entries", "/proposals", "/members", "/"):
        own = member.client.get(PREFIX + path, headers={"accept-language": "ar"})
        assert own.content == stranger.get(PREFIX + path).content
        assert own.headers["cache-control"].startswith("public")


def test_who_asks_too_often_waits(portal: Portal) -> None:
    slow = Limits({name: type(rate)(100_000, 1) for name, rate in RATES.items()} | {"api": type(RATES["api"])(3, 60)})
    portal.service.limits = slow
    client = client_of(portal)
    answers = [client.get(f"{PREFIX}/log/checkpoint") for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert answers[3].headers["retry-after"] == "60"
    assert answers[3].json()["title"] == "Too Many Requests"


# What is described, and what is never said


def test_the_description_is_whole(still: Portal) -> None:
    document = get(client_of(still), "/openapi.json")
    assert document["servers"] == [{"url": PREFIX}]
    assert all(not path.startswith(("/proposals/{identifier}", "/signin", "/mine")) for path in document["paths"])
    names = set()
    for path, operations in document["paths"].items():
        for method, one in operations.items():
            names.add(one["operationId"])
            assert len(one["description"]) > 40, path
            assert one["tags"], path
            assert all(parameter.get("description") for parameter in one.get("parameters", [])), path
            for status, answer in one["responses"].items():
                assert answer["description"], (path, status)
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
                elif status != "304":
                    assert len(answer["content"]) == 1, (path, status)
            wanted = {"201", "400", "403", "408", "409", "413", "415", "422", "429", "503"} if method == "post" else {"200", "304", "422", "429", "503"}
            assert wanted <= set(one["responses"]), path
    assert len(names) == sum(map(len, document["paths"].values()))
    assert "/signin" not in json.dumps(document)
    page = client_of(still).get("/api/openapi.json")
    assert page.status_code == 404


def _everything(portal: Portal) -> dict[str, str]:
    """Every answer to every question of the description, for every name in the log, page after page."""
    client, found = client_of(portal), dict[str, str]()
    with portal.service.view.reading() as register:
        size = register.size
        here = {
            "index": [str(one) for one in range(size)],
            "statement": [parse(data).id for data in portal.service.view.log.entries()],
            "proposal": list(register.proposals),
            "release": list(register.releases),
            "dataset": list(register.builds),
            "language": sorted({code for given in register.contributions.values() for code in given.languages}),
            "version": ["1"],
            "level": ["0", "entries"],
            "number": [f"000.p/{size}"],
        }
    questions = {"/log/proofs/inclusion": "?index=0", "/log/proofs/consistency": "?old=1"}
    for path, operations in get(client, "/openapi.json")["paths"].items():
        if "get" not in operations:
            continue
        asked = [path]
        for name in re.findall(r"\{([a-z]+)\}", path):
            asked = [one.replace("{" + name + "}", value) for one in asked for value in here[name]]
        for one in asked:
            query: str | None = questions.get(path, "")
            while query is not None:
                answer = client.get(PREFIX + one + query)
                assert answer.status_code in (200, 404), one
                found[one + query] = answer.content.decode("utf-8", "replace") + str(answer.headers)
                after = answer.json().get("next") if answer.headers["content-type"] == "application/json" else None
                query = f"?start={after}" if after is not None else None
    return found


def test_no_answer_holds_anything_private(portal: Portal) -> None:
    """Mail addresses, accounts, sessions, reasons, remarks, texts, salts: each is there, and in no answer."""
    person, member = portal.joined("hidden.person@example.org")
    allow(person)
    give(person, 2)
    proposal = propose(portal)
    person.sign(person.post(f"/proposals/{proposal}/vote", choice="against", reason="Because of my secret reason."))
    person.post(f"/proposals/{proposal}/remarks", text="A remark among members.", stance="against")
    answers = _everything(portal)
    assert len(answers) > 20
    assert any(member in text for text in answers.values())  # the walk sees what is public
    private = ["hidden.person", "example.org", "secret reason", "A remark among", "What is 0?", "It is 1.", str(portal.root), "Set-Cookie", "set-cookie"]
    account = portal.service.private.accounts.find(member=member)
    assert account is not None
    private += [account.account, *(value for value in (one.value for one in person.client.cookies.jar) if value and len(value) > 8)]
    with sqlite3.connect(portal.root / "private" / "portal.sqlite") as connection:
        private += [row[0] for row in connection.execute("SELECT hash FROM portal_sessions")]
        private += [row[0] for row in connection.execute("SELECT id FROM portal_remarks")]
    store = portal.service.house.contributions()
    records = store.records(member=member)
    assert len(records) == 2
    private += [one.salt for one in records]
    assert len(private) > 13
    for path, text in answers.items():
        for secret in private:
            assert secret not in text, (path, secret)


def test_members_cannot_be_found_by_their_mail(portal: Portal) -> None:
    portal.joined("hidden.person@example.org")
    client = client_of(portal)
    for asked in ("hidden.person@example.org", urllib.parse.quote("hidden.person@example.org", safe="")):
        assert client.get(f"{PREFIX}/members/{asked}").status_code == 404
        assert client.get(f"{PREFIX}/members?mail={asked}").status_code == 422
    nobody = client.get(f"{PREFIX}/members/nobody@example.org")
    assert nobody.json() == client.get(f"{PREFIX}/members/hidden.person@example.org").json()


def test_the_signing_site_has_no_api(still: Portal) -> None:
    assert still.stranger().client.get("https://sign.village.example" + PREFIX + "/").status_code == 404


def test_this_machine_is_told_nothing_of(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        from governance_hooks.errors import CoopError

        raise CoopError(f"cannot read {portal.root}/log.sqlite", next=f"look at {portal.root}")

    monkeypatch.setattr(type(portal.service.view), "reading", broken)
    answer = client_of(portal).get(f"{PREFIX}/members")
    assert answer.status_code == 503
    assert str(portal.root) not in answer.text
    assert answer.headers["retry-after"]
