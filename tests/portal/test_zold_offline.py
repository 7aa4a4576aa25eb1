"""Without a network: what a browser keeps holds nothing of anybody, and a text that waits arrives once, under its author's account."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data_pipeline.record import Draft
from governance_hooks.statement import now, shift
from portal import i18n
from portal.settings import Settings
from portal.store.basket import KEPT_S
from tests.portal.conftest import Portal
from tests.portal.people import MAIN, SIGNING, Person
from tests.ports import free_port

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


# In a real browser


class Phone:
    """A browser in front of a portal, and what it had to say."""

    def __init__(self, portal: Portal, context: Any) -> None:
        self.portal, self.context, self.page, self.heard = portal, context, context.new_page(), list[str]()
        self.main = portal.service.settings.origin
        self.page.on("pageerror", lambda error: self.heard.append(str(error)))
        self.page.on("console", lambda one: self.heard.append(one.text) if one.type == "error" and "ERR_" not in one.text else None)

    def begin(self, number: int) -> str:
        """Sign in as a founder, without the pages for that."""
        sessions, mail = self.portal.service.private.sessions, f"founder{number}@village.example"
        token, account, _ = sessions.sign_in(sessions.make_link(mail, "en", "/"), None)
        if account.member is None:
            self.portal.service.private.accounts.bind(account.account, self.portal.members[number])
        self.context.add_cookies([{"name": "coop-session", "value": token, "url": self.main}])
        return str(account.account)

    def open(self, path: str = "/", *, worker: bool = True) -> None:
        self.page.goto(self.main + path)
        if worker:
            self.wait("navigator.serviceWorker.controller !== null && navigator.serviceWorker.controller.state === 'activated'")

    def wait(self, script: str) -> None:
        """Ask until it is so; Playwright's own way evaluates text in the page, which its policy forbids."""
        self.wait_until(lambda: bool(self.page.evaluate(script)))

    def wait_until(self, so: Callable[[], bool]) -> None:
        until = time.monotonic() + 15
        while not so():
            assert time.monotonic() < until
            self.page.wait_for_timeout(50)

    def sign_out(self) -> None:
        self.page.goto(self.main + "/account")
        self.page.get_by_role("button", name="Sign out", exact=True).click()
        self.page.get_by_role("link", name="Sign in").first.wait_for()

    def write(self, words: str) -> None:
        self.page.get_by_label("A question or a task").fill(words)
        self.page.get_by_label("The answer, as you would give it").fill(f"The answer to {words}")
        self.page.get_by_label(re.compile("^Its language")).fill("eng")
        self.page.get_by_role("button", name="Put it into the basket").click()

    def kept(self) -> list[str]:
        """Every address in every cache."""
        script = "async () => { const found = []; for (const place of await caches.keys()) for (const one of await (await caches.open(place)).keys()) found.push(new URL(one.url).pathname); return found.sort() }"
        return list(self.page.evaluate(script))

    def workers(self) -> int:
        return int(self.page.evaluate("async () => (await navigator.serviceWorker.getRegistrations()).length"))


@pytest.fixture
def phone(make_portal: Callable[..., Portal], tmp_path: Path) -> Iterator[Phone]:
    from tests.portal.chromium import browser, serving

    port = free_port()
    portal = make_portal(settings=Settings(f"http://127.0.0.1:{port}", f"http://localhost:{port}"))
    with serving(portal.app, port), browser(tmp_path / "profile") as context:
        yield Phone(portal, context)


@pytest.mark.browser
def test_a_text_is_written_after_the_network_went_and_arrives_once(phone: Phone) -> None:
    owner, page = phone.begin(1), phone.page
    phone.open("/mine")
    assert phone.kept() == ["/offline/en", "/static/draft.js", "/static/icon.svg", "/static/outbox.js", "/static/portal.css"]

    phone.context.set_offline(True)
    phone.page.goto(phone.main + "/proposals")  # a page that was never opened
    page.get_by_role("heading", name="No network").wait_for()
    assert page.url == phone.main + "/proposals"
    assert page.locator("#name").text_content() == "fo…@village.example"
    assert page.evaluate("getComputedStyle(document.querySelector('button')).fontWeight") == "600"  # its style is there
    phone.write("Written without a network")
    page.get_by_text("You are offline. Texts that wait on this device: 1").wait_for()
    assert page.get_by_label("A question or a task").input_value() == ""
    assert page.get_by_label(re.compile("^Its language")).input_value() == "eng"  # mostly the next one's too
    phone.write("And another one")
    page.get_by_text("Texts that wait on this device: 2").wait_for()
    phone.page.goto(phone.main + "/mine")
    page.get_by_text("Texts that wait on this device: 2").wait_for()

    # The network is back, and an answer is lost on its way: the server has the text, and the browser does not know.
    tried = list[str]()

    def lose(route: Any) -> None:
        if route.request.method != "POST" or len(tried) > 1:
            route.continue_()
        else:
            tried.append("" if tried else route.fetch().text())
            route.abort()

    phone.context.route("**/contribute", lose)
    phone.context.set_offline(False)  # the page itself notices
    phone.wait_until(lambda: tried == ["kept"])
    page.get_by_text("Texts that wait on this device: 2").wait_for()
    assert waiting(phone.portal, 1) == ["Written without a network"]
    page.goto(phone.main + "/releases")  # any page of a member
    phone.wait_until(lambda: tried == ["kept", ""])
    page.get_by_text("Texts that wait on this device: 2").wait_for()
    page.get_by_role("button", name="Send now").click()
    page.get_by_text("The texts that waited on this device are in your basket.").wait_for()
    assert sorted(waiting(phone.portal, 1)) == ["And another one", "Written without a network"]
    assert page.evaluate("owner => localStorage.getItem('outbox:' + owner)", owner) == "[]"
    page.get_by_role("link", name="To the basket").click()
    page.get_by_role("heading", name="2 texts wait").wait_for()
    page.goto(phone.main + "/")
    assert not page.locator("#waiting").is_visible()
    assert len(waiting(phone.portal, 1)) == 2
    assert phone.heard == []


@pytest.mark.browser
def test_two_people_on_one_phone_send_nothing_of_each_other(phone: Phone) -> None:
    first, page = phone.begin(1), phone.page
    phone.open()
    phone.context.set_offline(True)
    page.goto(phone.main + "/")
    phone.write("Of the first")
    page.get_by_text("Texts that wait on this device: 1").wait_for()
    stale = phone.context.new_page()  # a tab of the first that stays open
    phone.context.route("**/contribute", lambda route: route.abort() if route.request.method == "POST" else route.continue_())
    phone.context.set_offline(False)
    stale.goto(phone.main + "/contribute")
    stale.get_by_text("Texts that wait on this device: 1").wait_for()
    phone.sign_out()
    assert page.evaluate("localStorage.getItem('writer')") is None
    assert phone.workers() == 0
    assert phone.kept() == []
    phone.context.unroute("**/contribute")

    second = phone.begin(2)
    phone.open("/contribute")
    assert not page.locator("#waiting").is_visible()
    assert page.get_by_label("A question or a task").input_value() == ""
    stale.evaluate("dispatchEvent(new Event('online'))")  # the tab of the first tries, with the cookie of the second
    stale.get_by_role("button", name="Send now").click()
    stale.wait_for_timeout(500)
    assert waiting(phone.portal, 2) == []
    assert stale.evaluate("owner => JSON.parse(localStorage.getItem('outbox:' + owner)).length", first) == 1
    phone.wait("async () => (await caches.match('/offline/en')) !== undefined")  # though the worker is the one that the first tab had
    phone.context.set_offline(True)
    page.goto(phone.main + "/consent")
    assert page.locator("#name").text_content() == "fo…@village.example"
    phone.write("Of the second")
    page.get_by_text("Texts that wait on this device: 1").wait_for()
    assert page.evaluate("owner => JSON.parse(localStorage.getItem('outbox:' + owner)).length", second) == 1
    phone.context.set_offline(False)  # the page itself notices
    page.get_by_text("are in your basket").wait_for()
    assert (waiting(phone.portal, 1), waiting(phone.portal, 2)) == ([], ["Of the second"])

    phone.sign_out()
    phone.begin(1)
    phone.open()
    page.get_by_text("are in your basket").wait_for()
    assert (waiting(phone.portal, 1), waiting(phone.portal, 2)) == (["Of the first"], ["Of the second"])


@pytest.mark.browser
def test_who_is_not_signed_in_writes_nothing_and_a_new_language_or_version_takes_the_old_ones_place(phone: Phone) -> None:
    page = phone.page
    phone.begin(1)
    phone.open()
    page.goto(phone.main + "/?lang=ar")
    phone.wait("async () => (await caches.keys()).length === 1 && (await caches.match('/offline/ar')) !== undefined")
    phone.context.set_offline(True)
    page.goto(phone.main + "/mine")
    assert page.evaluate("document.documentElement.dir") == "rtl"
    assert page.locator("#somebody").is_visible()
    page.evaluate("localStorage.removeItem('writer')")  # as signing out does
    page.goto(phone.main + "/mine")
    assert page.locator("#nobody").is_visible()
    assert not page.locator("form").is_visible()
    phone.context.set_offline(False)
    page.goto(phone.main + "/mine")
    assert page.get_by_role("heading").first.is_visible()
    assert not page.locator("#nobody").count()


@pytest.mark.browser
def test_a_refused_text_comes_back_onto_its_form_and_the_others_go_on(phone: Phone) -> None:
    page = phone.page
    phone.begin(1)
    phone.open("/contribute")
    phone.context.set_offline(True)
    page.get_by_label("A question or a task").fill("Bad")
    page.get_by_label("The answer, as you would give it").fill("language")
    page.get_by_label(re.compile("^Its language")).fill("klingonish")
    page.get_by_role("button", name="Put it into the basket").click()
    page.get_by_text("Texts that wait on this device: 1").wait_for()
    phone.write("Good")
    page.get_by_text("Texts that wait on this device: 2").wait_for()
    phone.context.set_offline(False)
    page.get_by_text("A text that waited on this device was refused:").wait_for()
    assert waiting(phone.portal, 1) == ["Good"]
    assert page.get_by_label("A question or a task").input_value() == "Bad"  # the form was open, and empty
    page.goto(phone.main + "/mine")  # who had left that page meanwhile reads it on the next
    page.get_by_text("A text that waited on this device was refused:").wait_for()
    page.get_by_role("link", name="To the basket").click()
    page.get_by_text("A text that waited on this device was refused:").wait_for()
    assert page.get_by_label("A question or a task").input_value() == "Bad"
    assert page.get_by_label(re.compile("^Its language")).input_value() == "klingonish"


# A device that keeps nothing

FILL = """() => {
  for (let size = 4 << 20, count = 0; size >= 1;) {
    try { localStorage.setItem("filler" + count, "x".repeat(size)); count += 1; } catch (error) { if (error.name !== "QuotaExceededError") throw error; size >>= 1; }
  }
}"""
EMPTY = "() => { for (const one of Object.keys(localStorage)) if (one.startsWith('filler')) localStorage.removeItem(one); }"
UNKEPT = "This device could not keep what you wrote"


@pytest.mark.browser
def test_who_writes_on_a_full_device_reads_that_it_keeps_nothing_and_the_text_stays_on_its_form(phone: Phone) -> None:
    owner, page = phone.begin(1), phone.page
    phone.open("/contribute")
    field, warning = page.get_by_label("A question or a task"), page.get_by_role("alert").filter(has_text=UNKEPT)
    field.fill("Kept")
    assert not warning.is_visible()
    page.evaluate(FILL)
    field.fill("Too much " * 50)
    warning.wait_for()
    assert page.evaluate("document.querySelector('[data-unkept]').previousElementSibling.id") == "inputs"  # beside what was typed
    page.get_by_label("The answer, as you would give it").fill("No room")
    page.get_by_label(re.compile("^Its language")).fill("eng")
    phone.context.set_offline(True)
    page.get_by_role("button", name="Put it into the basket").click()
    phone.wait("!document.querySelector('form[data-draft] button').disabled")
    assert warning.is_visible()
    assert field.input_value() == "Too much " * 50
    assert page.evaluate("owner => localStorage.getItem('outbox:' + owner)", owner) is None
    page.evaluate(EMPTY)  # somebody made room
    page.get_by_role("button", name="Put it into the basket").click()
    page.get_by_text("Texts that wait on this device: 1").wait_for()
    assert not warning.is_visible()
    assert field.input_value() == ""
    page.evaluate(FILL)
    field.fill("And again " * 50)
    warning.wait_for()
    phone.context.set_offline(False)
    page.get_by_text("are in your basket").wait_for()  # what waited goes out of a full device too
    page.get_by_label("The answer, as you would give it").fill("No room")
    page.get_by_role("button", name="Put it into the basket").click()  # and with a network nothing has to be kept
    page.get_by_role("heading", name="2 texts wait").wait_for()
    assert field.input_value() == ""
    assert sorted(waiting(phone.portal, 1)) == [("And again " * 50).strip(), ("Too much " * 50).strip()]
    assert phone.heard == []


@pytest.mark.browser
def test_who_answers_statements_on_a_full_device_reads_it_beside_the_statement(phone: Phone) -> None:
    from tests.portal.test_opinions import ask

    proposal, page = ask(phone.portal, ["We meet on Fridays.", "We meet by the river."]), phone.page
    phone.begin(1)
    phone.open(f"/proposals/{proposal}", worker=False)
    second = page.get_by_role("group", name="2. We meet by the river.")
    page.evaluate(FILL)
    second.get_by_label("Disagree", exact=True).check()
    page.get_by_role("alert").filter(has_text=UNKEPT).wait_for()
    assert page.evaluate("document.querySelector('[data-unkept]').previousElementSibling.textContent").startswith("2. We meet by the river.")
    assert page.locator("input[name=answer-1]:checked").get_attribute("value") == "disagree"
    page.evaluate(EMPTY)
    second.get_by_label("Agree", exact=True).check()
    assert not page.get_by_text(UNKEPT).is_visible()
    assert phone.heard == []


@pytest.mark.browser
def test_a_full_device_does_not_take_one_person_for_another(phone: Phone) -> None:
    page = phone.page
    first = phone.begin(1)
    phone.open()
    page.evaluate("owner => localStorage.setItem('writer', JSON.stringify({ owner, name: 'f' }))", first)
    page.evaluate(FILL)
    phone.begin(2)
    page.goto(phone.main + "/mine")  # whose name is longer than the room there is
    assert page.evaluate("localStorage.getItem('writer')") is None
    phone.context.set_offline(True)
    page.goto(phone.main + "/mine")
    assert page.locator("#nobody").is_visible()


@pytest.fixture
def forbidden(make_portal: Callable[..., Portal], tmp_path: Path) -> Iterator[Phone]:
    """A browser whose settings let no site keep anything, which refuses with a SecurityError; the session goes with each request all the same."""
    import json

    from tests.portal.chromium import browser, serving

    port = free_port()
    portal = make_portal(settings=Settings(f"http://127.0.0.1:{port}", f"http://localhost:{port}"))
    (tmp_path / "profile/Default").mkdir(parents=True)
    (tmp_path / "profile/Default/Preferences").write_text(json.dumps({"profile": {"default_content_setting_values": {"cookies": 2}}}))
    with serving(portal.app, port), browser(tmp_path / "profile") as context:
        yield Phone(portal, context)


@pytest.mark.browser
def test_who_writes_where_nothing_may_be_kept_reads_so_and_their_text_arrives(forbidden: Phone) -> None:
    sessions, page = forbidden.portal.service.private.sessions, forbidden.page
    token, account, _ = sessions.sign_in(sessions.make_link("founder1@village.example", "en", "/"), None)
    forbidden.portal.service.private.accounts.bind(account.account, forbidden.portal.members[1])
    forbidden.context.set_extra_http_headers({"cookie": f"coop-session={token}"})
    page.goto(forbidden.main + "/contribute")
    assert page.evaluate("() => { try { return typeof localStorage.length } catch (error) { return error.name } }") == "SecurityError"
    warning = page.get_by_role("alert").filter(has_text=UNKEPT)
    assert not warning.is_visible()
    page.get_by_label("A question or a task").fill("Kept nowhere")
    warning.wait_for()
    forbidden.write("Kept nowhere")
    page.get_by_role("heading", name="1 text waits").wait_for()
    assert waiting(forbidden.portal, 1) == ["Kept nowhere"]
    assert forbidden.heard == []
