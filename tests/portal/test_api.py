"""The portal for programs: what is signed comes in, what is public comes out, the log can be checked from it alone, and nothing private is in it."""

from __future__ import annotations

import base64
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from governance_hooks import merkle
from governance_hooks.canonical import dumps
from governance_hooks.checkpoint import read_body
from governance_hooks.tiles import ENTRIES, read_export, tile_path
from portal.api.site import PREFIX
from portal.limits import RATES, Limits
from tests.model_card.attested import STEWARDS
from tests.model_card.conftest import Finished, Release
from tests.portal.conftest import Portal
from tests.portal.program import NOBODY, ballot, client_of, get, handed_in
from tests.portal.test_giving import allow
from tests.portal.test_public import WEIGHTS, library
from tests.portal.test_voting import propose, say

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
