"""In a real browser without a network: a text is written, waits, and arrives once, under its author's account."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.portal.phone import KEPT, Phone
from tests.portal.test_offline import waiting


@pytest.mark.browser
def test_a_text_is_written_after_the_network_went_and_arrives_once(phone: Phone) -> None:
    owner, page = phone.begin(1), phone.page
    phone.open("/mine")
    assert phone.kept() == KEPT

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
    phone.wait("!document.querySelector('#waiting button').disabled")  # it has given up, and let go of the texts for the next page
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
    phone.wait_until(lambda: phone.kept() == KEPT)  # though the worker is the one that the first tab had
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
