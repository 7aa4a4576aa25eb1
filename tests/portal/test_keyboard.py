"""A member does everything with the keyboard alone: nothing but Tab, Shift+Tab, Enter, Space, arrows, and what is typed into a field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from portal.settings import Settings
from portal.signing.submitting import submit_signature
from tests.portal.conftest import Portal
from tests.portal.test_voting import propose
from tests.ports import free_port

pytestmark = pytest.mark.browser

AT = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return "";
  const label = one.labels && one.labels.length ? one.labels[0].innerText : "";
  return (one.tagName + " " + (one.getAttribute("aria-label") || label || one.innerText || one.value || one.name || "")).replace(/\\s+/g, " ").trim();
}"""


class Keyboard:
    """Somebody with a keyboard and no pointer."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def open(self, address: str) -> None:
        """Type an address."""
        self.page.goto(address)

    @property
    def at(self) -> str:
        """What has the focus: the element and its name."""
        return str(self.page.evaluate(AT))

    def to(self, what: str, key: str = "Tab") -> None:
        """Press Tab until something has the focus; each element once, or it is out of reach."""
        passed = list[str]()
        for _ in range(120):
            if re.search(what, self.at):
                return
            self.page.keyboard.press(key)
            passed.append(self.at)
        pytest.fail(f"{what} cannot be reached: {passed}")

    def press(self, what: str, key: str = "Enter", then: str | None = None) -> None:
        """Go to something and press it; wait for the page it leads to."""
        self.to(what)
        if then is None:
            self.page.keyboard.press(key)
        else:
            with self.page.expect_navigation(url=re.compile(then)):
                self.page.keyboard.press(key)

    def write(self, what: str, text: str) -> None:
        """Go to a field and type."""
        self.to(what)
        self.page.keyboard.type(text)


@pytest.fixture
def desk(make_portal: Callable[..., Portal], tmp_path: Path) -> Iterator[tuple[Portal, Keyboard, Any]]:
    from tests.portal.chromium import Authenticator, browser, serving

    port = free_port()
    portal = make_portal(settings=Settings(f"http://127.0.0.1:{port}", f"http://localhost:{port}"))
    with serving(portal.app, port), browser(tmp_path / "profile") as context:
        page = context.new_page()
        yield portal, Keyboard(page), Authenticator(page)


def test_a_member_joins_reads_votes_contributes_consents_and_withdraws_without_a_pointer(desk: tuple[Portal, Keyboard, Any]) -> None:
    portal, keyboard, _ = desk
    page, main = keyboard.page, portal.service.settings.origin

    # The first Tab leads past the head of the page, and Enter goes there.
    keyboard.open(main)
    page.keyboard.press("Tab")
    assert keyboard.at == "A Skip to the content"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.locator("main:focus").wait_for()
    keyboard.to("^A (Join|Sign in)")
    assert page.evaluate("document.activeElement.closest('main') !== null")

    # Sign in by the link of a mail.
    keyboard.press("^A Sign in", then="/signin")
    keyboard.write("^INPUT Your mail address", "keys@example.org")
    keyboard.press("^BUTTON Send me a link", then="/signin")
    keyboard.open(next(letter.values["url"] for letter in portal.service.private.outbox.due(500) if letter.template == "signin"))
    keyboard.press("^BUTTON Sign in", key="Space", then=f"{main}/$")

    # Join with a passkey.
    keyboard.press("^A Join", then="/join")
    keyboard.press("^BUTTON Make a passkey", then="/enrol/")
    keyboard.press("^BUTTON Make a passkey", then="/sign/")
    keyboard.press("^BUTTON Sign with the new key", then="/sign/")
    page.get_by_text("Signatures so far: 1 of 3").wait_for()
    for founder in portal.members[:2]:
        (drafted,) = portal.service.private.drafts.open(kind="coop.admission/v1")
        submit_signature(portal.service, drafted, portal.keys[founder].sign(drafted.body))
    proposal = propose(portal)

    # Read a proposal, choose with the arrows, fold out the reason, vote with one touch.
    keyboard.open(main)
    keyboard.press("^A Read and vote", then="/proposals/sha256")
    keyboard.to("^INPUT For")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("Against", exact=True).is_checked()
    keyboard.press("^SUMMARY Give a reason", key="Space")
    keyboard.write("^TEXTAREA Your reason", "Too soon.")
    keyboard.to("^INPUT Against", key="Shift+Tab")  # and back: no field holds the focus
    keyboard.press("^BUTTON Go on to sign", then="/sign/")
    keyboard.press("^BUTTON Sign with my passkey", then="/receipts/")
    keyboard.press("^SUMMARY Check it yourself")
    assert page.get_by_text("ssh-keygen -Y verify").is_visible()

    # Contribute a text.
    keyboard.press("^A Contribute", then="/contribute$")
    keyboard.write("^TEXTAREA A question or a task", "Which bird sings first?")
    keyboard.write("^TEXTAREA The answer", "The robin.\nBefore the sun.")
    keyboard.write("^INPUT Its language", "eng")
    keyboard.press("^BUTTON Put it into the basket", then="/contribute$")
    keyboard.press("^BUTTON Give it", then="/sign/")
    keyboard.press("^BUTTON Sign with my passkey", then="/contribute/given")

    # Give a consent and take it back.
    keyboard.press("^A Choose what you allow", then="/consent")
    keyboard.press("^BUTTON non-commercial research: Off", key="Space", then="/consent/give")
    keyboard.press("^BUTTON Go on to sign", then="/sign/")
    keyboard.press("^BUTTON Sign with my passkey", then="/consent$")
    keyboard.press("^BUTTON non-commercial research: On", key="Space", then="/sign/")
    keyboard.press("^BUTTON Sign with my passkey", then="/consent$")

    account = portal.service.private.accounts.find(mail="keys@example.org")
    assert account is not None
    assert account.member is not None
    with portal.service.view.reading() as register:
        vote = register.proposals[proposal].votes[account.member]
        assert vote.choice == "against"
        assert portal.service.house.reason(str(vote.reason)) == "Too soon."
        assert [grant.withdrawn is not None for grant in register.grants[account.member]] == [True]
        assert [given.records for given in register.contributions.values() if given.author == account.member] == [1]
