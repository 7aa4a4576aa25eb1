"""Without a network: what a browser keeps holds nothing of anybody, and a text that waits arrives once, under its author's account."""

from __future__ import annotations

import re
import secrets
from typing import Any

import pytest

from data_pipeline.record import Draft
from governance_hooks.statement import now, shift
from portal import i18n
from portal.store.basket import KEPT_S
from tests.portal.conftest import Portal
from tests.portal.people import MAIN, SIGNING, Person

TEXT = {"inputs": "Habari ya asubuhi?", "targets": "Nzuri, asante.", "language": "swh", "licence": "NOASSERTION"}


def put(person: Person, owner: str, identifier: str = "0" * 32, **changes: str) -> Any:
    """Send a text as the outbox does."""
    headers = {"origin": MAIN, "sec-fetch-site": "same-origin", "accept": "text/plain"}
    return person.client.post(MAIN + "/contribute", data=TEXT | {"id": identifier, "owner": owner} | changes, headers=headers, follow_redirects=False)


def account_of(portal: Portal, number: int) -> str:
    found = portal.service.private.accounts.find(mail=f"founder{number}@village.example")
    assert found is not None
    return found.account


def waiting(portal: Portal, number: int) -> list[str]:
    return [one.draft.inputs for one in portal.service.private.basket.all(account_of(portal, number))]


# What is kept


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_the_page_a_browser_keeps_is_the_same_for_everybody_and_names_nobody(still: Portal, language: str) -> None:
    founder, stranger = still.founder(0), still.stranger()
    page = founder.get(f"/offline/{language}")
    assert page.answer.content == stranger.get(f"/offline/{language}").answer.content
    assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in page.text
    for private in (account_of(still, 0), still.members[0], "founder0", "fo…", "data-owner", "data-worker", "/account", "/mine"):
        assert private not in page.text, private
    assert "data-offline hidden" in page.text


def test_the_worker_keeps_the_page_and_its_files_and_nothing_else(still: Portal) -> None:
    founder = still.founder(0)
    script = founder.get("/offline/sw/worker.js")
    assert script.answer.headers["content-type"].startswith("text/javascript")
    assert script.answer.headers["service-worker-allowed"] == "/"
    assert script.answer.headers["cache-control"] == "no-cache"
    kept = re.search(r'^const KEPT = \{"version": "[0-9a-f]{16}", "page": "/offline/sw", "files": \[(.*?)\]\};$', script.text, re.M)
    assert kept is not None
    files = re.findall(r'"([^"]+)"', kept[1])
    page = founder.get("/offline/sw").text
    assert sorted(files) == sorted(set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page)))  # all it loads, and nothing more
    assert all(founder.get(one).status == 200 for one in files)
    assert script.text.count("cache.put(") == 1
    assert "cache.add" not in script.text


def test_another_page_or_file_makes_another_worker(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    from portal.pages import offline

    def version() -> str:
        found = re.search(r'"version": "(\w+)"', portal.stranger().get("/offline/en/worker.js").text)
        assert found is not None
        return found[1]

    first = version()
    assert version() == first
    assert version() != portal.stranger().get("/offline/fr/worker.js").text.partition('"version": "')[2][:16]
    monkeypatch.setattr(offline, "static_url", lambda name: f"/static/{name}?v=other")
    second = version()
    assert second != first
    monkeypatch.undo()
    monkeypatch.setattr(offline, "LICENCES", ("NOASSERTION",))
    assert version() not in (first, second)


def test_only_members_pages_bring_the_worker_and_the_signing_site_has_none(still: Portal) -> None:
    stranger, founder, guest = still.stranger(), still.founder(0), still.stranger()
    guest.sign_in("guest@example.org")
    assert 'data-worker="/offline/en/worker.js"' in founder.get("/").text
    for person in (stranger, guest):
        assert "data-worker" not in person.get("/").text
        assert "outbox.js" not in person.get("/").text
    assert "worker-src 'self'" in founder.get("/").answer.headers["content-security-policy"]
    policy = founder.get(SIGNING + "/").answer.headers["content-security-policy"]
    assert "worker-src" not in policy
    assert "trusted-types 'none'" in policy
    assert founder.get(SIGNING + "/offline/en").status == 404
    assert founder.get("/offline/xx").status == 404
    assert founder.get("/offline/xx/worker.js").status == 404


# What arrives


def test_a_text_whose_answer_was_lost_is_there_once_also_after_it_was_given_or_thrown_away(portal: Portal) -> None:
    person, number = portal.founder(1), secrets.token_hex(16)
    owner = account_of(portal, 1)
    assert [put(person, owner, number).text for _ in range(3)] == ["kept", "kept", "kept"]
    assert waiting(portal, 1) == [TEXT["inputs"]]
    (kept,) = portal.service.private.basket.all(owner)
    person.post(f"/contribute/{kept.id}/remove")
    assert put(person, owner, number).text == "kept"
    assert waiting(portal, 1) == []
    second = secrets.token_hex(16)
    assert put(person, owner, second, inputs="Second?").text == "kept"
    person.sign(person.post("/contribute/give"))
    assert put(person, owner, second, inputs="Second?").text == "kept"
    assert waiting(portal, 1) == []
    assert len(portal.service.house.contributions().records(member=portal.members[1])) == 1


def test_another_text_from_a_page_somebody_went_back_to_is_not_taken_for_the_first(portal: Portal) -> None:
    person, number = portal.founder(1), secrets.token_hex(16)
    owner = account_of(portal, 1)
    for words in ("First?", "Second?", "First?", "Second?"):
        assert put(person, owner, number, inputs=words).text == "kept"
    assert sorted(waiting(portal, 1)) == ["First?", "Second?"]
    assert put(portal.founder(2), account_of(portal, 2), number).text == "kept"  # nor is somebody else's
    assert waiting(portal, 2) == [TEXT["inputs"]]


def test_it_is_known_for_half_a_year_that_a_text_came_and_no_longer(portal: Portal) -> None:
    basket, owner = portal.service.private.basket, "a-" + "0" * 16
    draft = Draft("q", "a", "eng")
    assert basket.put(owner, "0" * 32, draft)
    basket.remove(owner, "0" * 32)
    basket._clock = lambda: shift(now(), KEPT_S - 60)
    assert not basket.put(owner, "0" * 32, draft)
    basket._clock = lambda: shift(now(), KEPT_S + 60)
    assert basket.put(owner, "0" * 32, draft)


def test_a_text_that_waited_is_refused_under_another_account_with_or_without_a_script(portal: Portal) -> None:
    portal.founder(1)
    second = portal.founder(2)
    answer = put(second, account_of(portal, 1))
    assert answer.status_code == 403
    assert "not signed in now" in answer.text
    page = second.post("/contribute", id="0" * 32, owner=account_of(portal, 1), **TEXT)
    assert page.status == 409
    assert "Sign in as who wrote it" in page.words
    assert waiting(portal, 1) == waiting(portal, 2) == []
    assert put(second, account_of(portal, 2)).text == "kept"


def test_nothing_is_taken_without_a_session_or_from_another_site(portal: Portal) -> None:
    portal.founder(1)
    stranger = portal.stranger()
    answer = put(stranger, account_of(portal, 1))
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin?next=/contribute")
    assert portal.founder(1).post("/contribute", origin="https://evil.example", id="0" * 32, **TEXT).status == 403
    assert waiting(portal, 1) == []


def test_what_is_refused_is_said_in_words_and_not_as_a_page(portal: Portal) -> None:
    person = portal.founder(1)
    for changes in ({"language": "klingonish"}, {"targets": ""}, {"parent": "gone"}):
        answer = put(person, account_of(portal, 1), **changes)
        assert answer.status_code == 422
        assert "<" not in answer.text
        assert answer.headers["content-type"].startswith("text/plain")


def test_who_erases_the_account_leaves_no_word_of_what_came(portal: Portal) -> None:
    person, _ = portal.joined("gone@example.org")
    account = portal.service.private.accounts.find(mail="gone@example.org")
    assert account is not None
    put(person, account.account)
    page = person.post("/account/erase", mail="gone@example.org")
    assert '"storage"' in page.answer.headers["clear-site-data"]
    assert "outbox.js" not in page.text  # which would note again who was here
    from sqlalchemy import func, select

    from portal.store.schema import received

    with portal.service.private.transaction() as connection:
        assert connection.execute(select(func.count()).select_from(received)).scalar() == 0
