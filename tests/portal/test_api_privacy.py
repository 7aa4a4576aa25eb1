"""What the API describes, and what none of its answers ever holds."""

from __future__ import annotations

import json
import re
import sqlite3
import urllib.parse

import pytest

from governance_hooks.statement import parse
from portal.api.site import PREFIX
from tests.portal.conftest import Portal
from tests.portal.program import client_of, get
from tests.portal.test_giving import allow, give
from tests.portal.test_voting import propose


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
