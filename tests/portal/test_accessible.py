"""No page in any state, language, colour scheme or width has a violation that axe-core finds, nor anything cut or wider than a small screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from portal import reading
from portal.i18n import LANGUAGES
from tests.portal.axe import needs_axe
from tests.portal.sights import Sight

if TYPE_CHECKING:
    from tests.portal.eyes import Eyes
    from tests.portal.stage import Stage

pytestmark = pytest.mark.browser

SCREENS = tuple(product(("light", "dark"), (320, 1280)))


@pytest.fixture(scope="module")
def eyes(stages: dict[str, Stage]) -> Iterator[Eyes]:
    from tests.portal.eyes import opened_eyes

    with opened_eyes(stages) as opened:
        yield opened


def often(eyes: Eyes) -> list[tuple[Sight, Stage]]:
    return [(sight, stage) for sight, stage in eyes.sights() if sight.often]


@needs_axe
def test_every_page_is_sound_in_some_language_and_on_some_screen(eyes: Eyes) -> None:
    found = list[str]()
    for number, (sight, stage) in enumerate(often(eyes)):
        scheme, width = SCREENS[number % len(SCREENS)]
        found += eyes.wrong(sight, stage, LANGUAGES[number % len(LANGUAGES)], scheme=scheme, width=width)
    assert not found, "\n".join(found)
    assert not eyes.heard, eyes.heard


@needs_axe
@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_in_every_state_is_sound_in_every_language(eyes: Eyes, language: str) -> None:
    """Each state meets all four screens in the course of the six languages."""
    found = list[str]()
    for number, (sight, stage) in enumerate(eyes.sights(), start=LANGUAGES.index(language)):
        scheme, width = SCREENS[number % len(SCREENS)]
        found += eyes.wrong(sight, stage, language, scheme=scheme, width=width)
    assert not found, "\n".join(found)


@needs_axe
def test_what_is_wrong_would_be_found(eyes: Eyes) -> None:
    sight, stage = next((sight, stage) for sight, stage in eyes.sights() if sight.name == "join")
    page = eyes.look(sight, stage, width=320)
    page.evaluate(
        """() => {
            const add = (html) => document.querySelector('main').insertAdjacentHTML('beforeend', html);
            document.title = ''; document.documentElement.lang = 'sw';
            add('<button type="button"></button><h1>again</h1><p>%(left)s</p>');
            add('<a href="/a" style="position: absolute; font-size: 8px">a</a><a href="/b" style="position: absolute; margin-left: 8px; font-size: 8px">b</a>');
            add('<p style="color: #ccc">pale</p><p style="overflow: hidden; white-space: nowrap; width: 60px">a word that is cut</p>');
            add('<div style="width: 400px">wide</div>');
        }"""
    )
    rules = {one.partition(":")[0] for one in eyes.asked(page)}
    assert rules >= {"button-name", "structure", "words", "language", "title", "target-size", "color-contrast", "cut", "overflow"}, rules


@needs_axe
def test_a_note_of_what_waits_on_the_device_reads_well(eyes: Eyes) -> None:
    sight, stage = next((sight, stage) for sight, stage in eyes.sights() if sight.name == "mine")
    page = eyes.look(sight, stage, "ar", scheme="dark", width=320)
    account = stage.portal.service.private.accounts.find(mail="member@example.org")
    assert account is not None
    page.route("**/contribute", lambda route: route.abort())
    page.evaluate("owner => localStorage.setItem('outbox:' + owner, JSON.stringify(['id=1&inputs=a', 'id=2&inputs=b']))", account.account)
    try:
        page = eyes.look(sight, stage, "ar", scheme="dark", width=320)
        note = page.locator("#waiting")
        note.wait_for()
        assert note.locator("p").inner_text().endswith("2")
        assert note.get_by_role("button").is_visible()
        assert not note.get_by_role("link").is_visible()
        assert eyes.asked(page, "ar") == []
    finally:
        page.evaluate("owner => localStorage.removeItem('outbox:' + owner)", account.account)
        page.unroute("**/contribute")


def test_without_a_script_every_page_says_the_same_and_can_be_sent(eyes: Eyes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a passkey's touch needs one: there a note leads to the other way. A page that brings no script says the same anyway."""
    from tests.portal.people import SIGNING

    # The text to rate is drawn by lot; here each time by the same one.
    monkeypatch.setattr(reading, "secrets", SimpleNamespace(token_hex=lambda count: "00" * count))
    monkeypatch.setattr(reading, "random", SimpleNamespace(SystemRandom=lambda: Random(1)))

    plain, touches, scripts = eyes.without_script(), 0, 0
    for sight, stage in often(eyes):
        if sight.fields is not None or sight.status != 200:
            continue
        person = stage.people.get(sight.who) or stage.portal.stranger()
        sent = person.get(sight.path.format_map(stage.paths).replace("sign:", SIGNING)).text
        assert not re.search(r"<[^>]*\son[a-z]+=|javascript:", re.sub(r"<(pre|code)\b.*?</\1>", "", sent, flags=re.S)), sight
        if "<script" in sent or "<noscript" in sent:
            scripts += 1
            shown = " ".join(plain.look(sight, stage, "en", width=320).locator("main").inner_text().split())
            if "<noscript>" in sent:
                touches += 1
                assert "A passkey needs JavaScript. Without it," in shown, sight
                assert "Download the statement" in sent or "go back and use a key of ssh-keygen" in shown, sight
            else:
                assert shown == " ".join(eyes.look(sight, stage, "en", width=320).locator("main").inner_text().split()), sight
        for form in re.findall(r"<form(?![^>]*\bhidden\b).*?</form>", sent, re.S):
            assert re.search(r'<button type="submit"', form), (sight, form)
    assert touches >= 4
    assert scripts > touches


def test_motion_forced_colours_and_paper(eyes: Eyes) -> None:
    by_name = {sight.name: (sight, stage) for sight, stage in eyes.sights()}
    page = eyes.look(*by_name["receipt"])
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    assert page.evaluate("document.getAnimations().length") == 0
    page.emulate_media(media="print")
    assert not page.locator("header nav").is_visible()
    assert not page.locator("footer").is_visible()
    assert page.get_by_text("ssh-keygen -Y verify").is_visible()  # what is folded on the screen is on paper
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.emulate_media(media="screen", reduced_motion=None, forced_colors="active")

    def style(selector: str, name: str) -> str:
        return str(page.evaluate("([one, name]) => getComputedStyle(document.querySelector(one))[name]", [selector, name]))

    for name, selectors in {"vote": ["button.big", "fieldset", "textarea"], "consent": ["button.switch", "button.danger"]}.items():
        page = eyes.look(*by_name[name])
        page.emulate_media(forced_colors="active")
        for selector in selectors:
            assert (style(selector, "borderTopStyle"), float(style(selector, "borderTopWidth")[:-2]) >= 1) == ("solid", True), selector
    page = eyes.look(*by_name["contribute, an edit waits"])
    page.emulate_media(forced_colors="active")
    assert "underline" in style("ins", "textDecorationLine")
    assert "line-through" in style("del", "textDecorationLine")
    page.emulate_media(forced_colors="none")


FOCUS = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const box = one.getBoundingClientRect(), style = getComputedStyle(one);
  const x = Math.min(Math.max(box.left + box.width / 2, 1), innerWidth - 1), y = Math.min(Math.max(box.top + Math.min(box.height / 2, 20), 1), innerHeight - 1);
  const top = document.elementFromPoint(x, y);
  return {
    what: one.outerHTML.slice(0, 160), outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth, free: top === one || one.contains(top) || (top !== null && top.contains(one)),
    at: [Math.round(box.top + scrollY), Math.round(box.left)], key: [...document.querySelectorAll("*")].indexOf(one),
  };
}"""


@pytest.mark.parametrize(
    "name", ["home", "home, member", "vote", "consent", "contribute", "keys", "log", "sign a ballot", "release in force", "join, newcomer"]
)
def test_tab_reaches_everything_in_order_visibly_and_leaves_again(eyes: Eyes, name: str) -> None:
    sight, stage = next((sight, stage) for sight, stage in eyes.sights() if sight.name == name)
    page = eyes.look(sight, stage, width=320)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    seen = list[int]()
    for _ in range(150):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUS)
        if at is None or at["key"] in seen:
            break
        assert at["outline"], at
        assert at["seen"], at
        assert at["free"], at
        seen.append(at["key"])
    else:
        pytest.fail("Tab never came to the end of the page")
    assert seen == sorted(seen)  # the order of the page is the order of the focus
    wanted = page.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")]
            .filter(one => !one.disabled && one.checkVisibility({visibilityProperty: true})).map(one => one.type === "radio" ? one.form.action + one.name : one)
            .filter((one, at, all) => all.indexOf(one) === at).length"""
    )
    assert len(seen) == wanted
