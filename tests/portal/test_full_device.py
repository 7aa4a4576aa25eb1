"""A device that keeps nothing, full or forbidden to: whoever writes reads so, and what they wrote stays or arrives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portal.settings import Settings
from tests.portal.conftest import Portal
from tests.portal.phone import Phone
from tests.portal.test_offline import waiting

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
    from tests.ports import free_port

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
