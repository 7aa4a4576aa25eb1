"""The whole story in a real browser with a virtual authenticator; and that it reads no other site, breaks no policy of its own, and works offline."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from governance_hooks.canonical import dumps, loads
from governance_hooks.sshsig import NAMESPACE, PublicKey
from portal.app import make_app
from portal.settings import Settings
from portal.signing.submitting import submit_signature
from tests.portal.conftest import Portal
from tests.portal.people import MAIN, SIGNING, Person
from tests.portal.test_voting import propose
from tests.ports import free_port

pytestmark = pytest.mark.browser


@dataclass
class Screen:
    """A person in front of a browser, and what the browser had to say."""

    portal: Portal
    page: Any  # playwright is not there on every machine
    authenticator: Any
    heard: list[str] = field(default_factory=list)

    @property
    def main(self) -> str:
        return self.portal.service.settings.origin


@pytest.fixture
def screen(make_portal: Callable[..., Portal], tmp_path: Path) -> Iterator[Screen]:
    from tests.portal.chromium import Authenticator, browser, serving

    port = free_port()
    portal = make_portal(settings=Settings(f"http://127.0.0.1:{port}", f"http://localhost:{port}"))
    with serving(portal.app, port), browser(tmp_path / "profile") as context:
        page = context.new_page()
        found = Screen(portal, page, Authenticator(page))
        page.on("console", lambda message: found.heard.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: found.heard.append(str(error)))
        page.on("request", lambda request: None if f":{port}/" in request.url or request.url.startswith("data:") else found.heard.append(request.url))
        yield found


def sign_in(screen: Screen, mail: str) -> None:
    page, service = screen.page, screen.portal.service
    page.goto(screen.main + "/signin")
    page.get_by_label("Your mail address").fill(mail)
    page.get_by_role("button", name="Send me a link").click()
    page.get_by_text("a link is on its way").wait_for()
    page.goto(next(letter.values["url"] for letter in reversed(service.private.outbox.due(500)) if letter.template == "signin"))
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name=re.compile("^(What needs you|Where you stand)$")).wait_for()


def join(screen: Screen, mail: str = "new@example.org") -> str:
    """Join with a passkey; two founders agree with their keys."""
    page, portal = screen.page, screen.portal
    sign_in(screen, mail)
    page.get_by_role("link", name=re.compile("^Join")).first.click()
    page.get_by_role("button", name="Make a passkey").click()
    page.wait_for_url("http://localhost:*/enrol/**")
    page.get_by_role("button", name="Make a passkey").click()
    page.wait_for_url("http://localhost:*/sign/**")
    page.get_by_role("button", name="Sign with the new key").click()
    page.get_by_text("Signatures so far: 1 of 3").wait_for()
    for member in portal.members[:2]:
        (drafted,) = portal.service.private.drafts.open(kind="coop.admission/v1")
        submit_signature(portal.service, drafted, portal.keys[member].sign(drafted.body))
    account = portal.service.private.accounts.find(mail=mail)
    assert account is not None
    assert account.member is not None
    return account.member


def touch(screen: Screen) -> None:
    screen.page.wait_for_url("http://localhost:*/sign/**")
    screen.page.get_by_role("button", name="Sign with my passkey").click()
    screen.page.wait_for_url("http://127.0.0.1:*/**")


@pytest.mark.openssh
def test_a_member_joins_contributes_consents_votes_and_withdraws_with_a_passkey(screen: Screen, tmp_path: Path) -> None:
    page, portal = screen.page, screen.portal
    member = join(screen)
    assert screen.authenticator.credentials()[0]["rpId"] == "localhost"

    page.goto(screen.main + "/contribute")
    page.get_by_label("A question or a task").fill("Habari ya asubuhi?")
    page.get_by_label("The answer, as you would give it").fill("Nzuri, asante.")
    page.get_by_label(re.compile("^Its language")).fill("swh")
    page.get_by_role("button", name="Put it into the basket").click()
    page.get_by_role("button", name=re.compile("^Give it")).click()
    touch(screen)
    page.get_by_text("Your texts are given, under your signature.").wait_for()

    page.goto(screen.main + "/consent")
    page.get_by_role("switch", name=re.compile("^non-commercial research")).click()
    page.get_by_role("button", name="Go on to sign").click()
    touch(screen)
    assert page.get_by_role("switch", name=re.compile("^non-commercial research")).get_attribute("aria-checked") == "true"

    proposal = propose(portal)
    page.goto(screen.main + "/")
    page.get_by_role("link", name=re.compile("^Read and vote")).click()
    page.get_by_label("Against", exact=True).check()
    page.get_by_role("button", name="Go on to sign").click()
    page.wait_for_url("http://localhost:*/sign/**")
    shown = page.locator("#statement").text_content()
    touch(screen)
    page.get_by_text("In the log, for good").wait_for()

    page.goto(screen.main + "/consent")
    page.get_by_role("button", name="Take everything back").click()
    touch(screen)
    with portal.service.view.reading() as register:
        assert register.proposals[proposal].votes[member].choice == "against"
        assert sum(given.author == member for given in register.contributions.values()) == 1
        assert [grant.withdrawn is not None for grant in register.grants[member]] == [True]
        ballot = register.proposals[proposal].votes[member].ballot
        (key,) = register.members[member].keys

    # What stock OpenSSH says of the ballot as it stands in the log.
    _, statement = portal.service.view.statement(ballot)  # type: ignore[misc]
    entry = loads(statement.entry)
    assert dumps(entry["body"]).decode() == shown
    (tmp_path / "sig").write_text(entry["signatures"][0])
    (tmp_path / "allowed").write_text(f"{member} {PublicKey.from_raw(key).line}\n")
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", member, "-n", NAMESPACE, "-s", "sig"]
    assert subprocess.run(command, cwd=tmp_path, input=dumps(entry["body"]), capture_output=True, check=False).returncode == 0
    assert not screen.heard


def test_a_key_that_does_not_know_its_user_signs_nothing_and_another_site_cannot_ask_it(screen: Screen) -> None:
    page, portal = screen.page, screen.portal
    member = join(screen)
    proposal = propose(portal)
    page.goto(f"{screen.main}/proposals/{proposal}")
    page.get_by_label("For", exact=True).check()
    page.get_by_role("button", name="Go on to sign").click()
    page.wait_for_url("http://localhost:*/sign/**")
    screen.authenticator.recognise(False)
    page.get_by_role("button", name="Sign with my passkey").click()
    page.get_by_text("The key did not sign. Nothing was sent.").wait_for()
    screen.authenticator.recognise(True)

    # A page of the signing site whose text is swapped after the words were read: the touch is for what the page holds.
    page.evaluate("document.getElementById('statement').firstChild.data = document.getElementById('statement').textContent.replace('\"for\"', '\"against\"')")
    page.reload()
    signing = page.url
    page.goto(screen.main + "/")
    said = page.evaluate(
        "navigator.credentials.get({publicKey: {challenge: new Uint8Array(32), rpId: 'localhost', userVerification: 'required', timeout: 2000}}).then(() => 'signed', (error) => error.name)"
    )
    assert said in ("SecurityError", "NotAllowedError")
    with portal.service.view.reading() as register:
        assert member not in register.proposals[proposal].votes
    page.goto(signing)
    touch(screen)
    with portal.service.view.reading() as register:
        assert register.proposals[proposal].votes[member].choice == "for"


def test_what_is_typed_survives_and_what_is_sent_without_a_network_goes_out_later(screen: Screen) -> None:
    page, portal = screen.page, screen.portal
    member = join(screen)
    page.goto(screen.main + "/contribute")
    page.get_by_label("A question or a task").fill("Half a thought")
    page.goto(screen.main + "/")
    page.goto(screen.main + "/contribute")
    assert page.get_by_label("A question or a task").input_value() == "Half a thought"
    page.get_by_label("The answer, as you would give it").fill("<b>and its end</b>")
    page.get_by_label(re.compile("^Its language")).fill("eng")
    page.context.set_offline(True)
    page.get_by_role("button", name="Put it into the basket").click()
    page.get_by_text("You are offline. Texts that wait on this device: 1").wait_for()
    account = portal.service.private.accounts.find(member=member)
    assert account is not None
    assert not portal.service.private.basket.all(account.account)
    page.context.set_offline(False)  # the page itself notices; told a second time, it would have nothing to say
    page.get_by_text("are in your basket").wait_for()
    (kept,) = portal.service.private.basket.all(account.account)
    assert (kept.draft.inputs, kept.draft.targets) == ("Half a thought", "<b>and its end</b>")
    assert page.evaluate("owner => localStorage.getItem('outbox:' + owner)", account.account) == "[]"
    page.goto(screen.main + "/contribute")
    assert page.get_by_label(re.compile("^Its language")).input_value() == "eng"  # of the text before

    # Another member signs in on the same phone, while a text and a draft of the first wait on it.
    page.route("**/contribute", lambda route: route.abort() if route.request.method == "POST" else route.continue_())
    for words in ("Waits", "Only begun"):
        page.get_by_label("A question or a task").fill(words)
        page.get_by_label("The answer, as you would give it").fill(words)
        page.get_by_label(re.compile("^Its language")).fill("eng")
        if words == "Waits":
            page.get_by_role("button", name="Put it into the basket").click()
            page.get_by_text("Texts that wait on this device: 1").wait_for()
    page.goto(screen.main + "/account")
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_role("link", name="Sign in").first.wait_for()
    page.unroute("**/contribute")  # before, any page of the first would send it
    sessions = portal.service.private.sessions
    _, other, _ = sessions.sign_in(sessions.make_link("other@example.org", "en", "/"), None)
    portal.service.private.accounts.bind(other.account, portal.members[0])  # before: a session does not outlive what its account becomes
    sign_in(screen, "other@example.org")
    page.goto(screen.main + "/contribute")
    page.wait_for_timeout(300)
    assert page.get_by_label("A question or a task").input_value() == ""
    assert portal.service.private.basket.all(other.account) == []
    page.get_by_label("A question or a task").fill("Of the other one")

    # And the first is there again.
    sign_in(screen, "new@example.org")
    page.get_by_text("are in your basket").wait_for()  # on whichever page
    page.goto(screen.main + "/contribute")
    assert page.get_by_label("A question or a task").input_value() == "Only begun"
    assert {one.draft.inputs for one in portal.service.private.basket.all(account.account)} == {"Half a thought", "Waits"}

    # Who erases the account leaves nothing on the device.
    page.goto(screen.main + "/account")
    page.get_by_label("To be sure, write your mail address").fill("new@example.org")
    page.get_by_role("button", name="Erase").click()
    page.wait_for_url("**/account/erase")
    assert page.evaluate("localStorage.length") == 0
    assert not [one for one in screen.heard if "ERR_INTERNET_DISCONNECTED" not in one and "ERR_FAILED" not in one]


def test_an_improvement_is_shown_word_by_word_while_it_is_typed(screen: Screen) -> None:
    from tests.portal.test_giving import allow, write

    page, portal = screen.page, screen.portal
    long = " ".join(f"word{number}" for number in range(2000))
    said = ["The river is <i>cold</i> in March.", "น้ำดื่มสะอาดทุกวัน", long]
    author = Person(make_app(replace(portal.service, settings=Settings(MAIN, SIGNING))), portal.service, portal.keys[portal.members[1]])
    portal.service.private.accounts.bind(author.begin("author@example.org"), portal.members[1])
    for number, text in enumerate(said):
        write(author, number, targets=text)
    author.paste(author.post("/contribute/give"))
    allow(author)
    records = {one.targets: one.record for one in portal.service.house.contributions().records()}
    join(screen)
    edits = [
        ("The river was <i>cold</i> in early March.", "The river iswas <i>cold</i> in early March.", ["is"], ["was", " early"]),
        ("น้ำดื่มสะอาดเสมอ", "น้ำดื่มสะอาดทุกวันเสมอ", ["ทุกวัน"], ["เสมอ"]),  # Thai puts no space between words
        (long.replace("word1000", "changed"), None, ["word1000"], ["changed"]),  # what both begin and end with costs nothing
    ]
    for text, (edit, shown, gone, come) in zip(said, edits, strict=True):
        page.goto(f"{screen.main}/improve/{records[text]}")
        live = page.locator("#live")
        assert not live.is_visible()
        field = page.get_by_label("The answer: change what is wrong")
        field.fill(edit)
        assert live.is_visible()
        assert page.get_by_role("heading", name="What you change").is_visible()
        assert (live.locator("del").all_text_contents(), live.locator("ins").all_text_contents()) == (gone, come)
        assert live.locator("i").count() == 0
        assert shown is None or live.text_content() == shown
        field.fill(text)
        assert not live.is_visible()
    assert not screen.heard


@pytest.mark.openssh
def test_without_a_script_the_same_is_done_by_pasted_signatures(make_portal: Callable[..., Portal], tmp_path: Path) -> None:
    from tests.portal.chromium import browser, serving

    port = free_port()
    portal = make_portal(settings=Settings(f"http://127.0.0.1:{port}", f"http://localhost:{port}"))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "id"], check=True)

    def paste() -> None:
        page.wait_for_url("http://localhost:*/sign/**")
        (tmp_path / "statement.json").write_bytes(page.request.get(page.url.partition("?")[0] + "/statement.json").body())
        (tmp_path / "statement.json.sig").unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", "id", "statement.json"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        page.get_by_label("Signature").fill((tmp_path / "statement.json.sig").read_text())
        page.get_by_role("button", name="Hand in").click()

    def home_again() -> None:
        page.wait_for_url("http://127.0.0.1:*/**")  # whoever goes on before sends nothing

    with serving(portal.app, port), browser(tmp_path / "profile", java_script_enabled=False) as context:
        page = context.new_page()
        screen = Screen(portal, page, None)
        sign_in(screen, "plain@example.org")
        page.goto(screen.main + "/join")
        page.get_by_text("Use a key in a file").click()
        page.get_by_label("Your public key, for example").fill((tmp_path / "id.pub").read_text())
        page.get_by_role("button", name="Go on").first.click()
        paste()
        page.get_by_text("Signatures so far: 1 of 3").wait_for()
        for founder in portal.members[:2]:
            (drafted,) = portal.service.private.drafts.open(kind="coop.admission/v1")
            submit_signature(portal.service, drafted, portal.keys[founder].sign(drafted.body))
        account = portal.service.private.accounts.find(mail="plain@example.org")
        assert account is not None
        member = str(account.member)

        page.goto(screen.main + "/contribute")
        page.get_by_label("A question or a task").fill("¿Qué hora es?")
        page.get_by_label("The answer, as you would give it").fill("Las tres.")
        page.get_by_label(re.compile("^Its language")).fill("es")
        page.get_by_role("button", name="Put it into the basket").click()
        page.get_by_role("button", name=re.compile("^Give it")).click()
        paste()
        page.get_by_text("Your texts are given, under your signature.").wait_for()

        page.goto(screen.main + "/consent")
        page.get_by_role("switch", name=re.compile("^non-commercial research")).click()
        page.get_by_role("button", name="Go on to sign").click()
        paste()
        home_again()

        proposal = propose(portal)
        page.goto(f"{screen.main}/proposals/{proposal}")
        page.get_by_label("I abstain").check()
        page.get_by_role("button", name="Go on to sign").click()
        paste()
        page.get_by_text("In the log, for good").wait_for()

        page.goto(screen.main + "/consent")
        page.get_by_role("button", name="Take everything back").click()
        paste()
        home_again()
    with portal.service.view.reading() as register:
        assert register.proposals[proposal].votes[member].choice == "abstain"
        assert register.grants[member][0].withdrawn is not None
        assert [given.records for given in register.contributions.values() if given.author == member] == [1]


@pytest.mark.usefixtures("in_process")
def test_statements_are_answered_with_one_touch_a_draft_survives_and_the_map_shows_where_one_is(make_portal: Callable[..., Portal], tmp_path: Path) -> None:
    from tests.portal.chromium import Authenticator, browser, serving
    from tests.portal.test_opinions import ask, planted
    from tests.portal.test_voting import say

    port = free_port()
    portal = make_portal(settings=Settings(f"http://127.0.0.1:{port}", f"http://localhost:{port}"), founders=23)
    portal.service.maps.patience_s, portal.service.maps.rest = 300, 0
    answers, _ = planted(24, 8, 2)
    with serving(portal.app, port), browser(tmp_path / "profile") as context:
        page = context.new_page()
        screen = Screen(portal, page, Authenticator(page))
        page.on("console", lambda message: screen.heard.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: screen.heard.append(str(error)))
        member = join(screen)
        proposal = ask(portal, [f"Statement number {number}." for number in range(8)])
        for founder, said in zip(portal.members, answers.values(), strict=False):
            say(portal, "coop.opinions/v1", {"proposal": proposal, "answers": said, "sequence": 1, "reason": None}, founder, portal.keys[founder])
        page.goto(f"{screen.main}/proposals/{proposal}")
        assert page.locator(".opinionmap ellipse").count() == 2
        assert page.locator(".opinionmap .here").count() == 0
        mine = list(answers.values())[23]
        first = page.get_by_role("group", name="1. Statement number 0.")
        first.get_by_label("Disagree" if mine[0] == "disagree" else "Agree", exact=True).check()
        page.goto(screen.main + "/")
        page.goto(f"{screen.main}/proposals/{proposal}")  # what was ticked is still there, though nothing was sent
        assert page.locator("input[name=answer-0]:checked").get_attribute("value") == ("disagree" if mine[0] == "disagree" else "agree")
        for number, said in enumerate(mine):
            page.locator(f"input[name=answer-{number}][value={said}]").check()
        page.get_by_role("button", name="Go on to sign").click()
        touch(screen)
        page.goto(f"{screen.main}/proposals/{proposal}")
        page.get_by_text("near the star").wait_for()
        assert page.locator(".opinionmap .here").count() == 1
        page.get_by_text("Answer again", exact=True).click()
        assert [page.locator(f"input[name=answer-{number}]:checked").get_attribute("value") for number in range(8)] == mine
        assert page.evaluate("Object.keys(localStorage)") == ["writer"]  # what was kept here is in the log now; who writes here is still known
        with portal.service.view.reading() as register:
            assert list(register.proposals[proposal].votes[member].answers) == mine
        assert not screen.heard
