"""Looking at pages in a real browser, as people see them: each in their own session, in any language, colours and width; and what is wrong with what is seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.portal.axe import AXE
from tests.portal.chromium import ARGUMENTS, PATIENCE_MS, serving
from tests.portal.sights import Sight, sights_of
from tests.portal.stage import Stage

__all__ = ["WRONG", "Eyes", "opened_eyes"]

WRONG = """async ([language, direction]) => {
  const found = [], say = (rule, what) => found.push(rule + ": " + what);
  document.querySelectorAll("details").forEach(one => { one.open = true });
  const seen = await axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], resultTypes: ["violations"], preload: false});
  for (const one of seen.violations) say(one.id, one.nodes.map(node => node.html.slice(0, 200)).join(" | "));
  const root = document.documentElement;
  if (root.lang !== language || root.dir !== direction) say("language", root.lang + " " + root.dir);
  for (const one of ["h1", "main", "body > header", "body > footer"])
    if (document.querySelectorAll(one).length !== 1) say("structure", document.querySelectorAll(one).length + " of " + one);
  if (!/^\\S.* · \\S/.test(document.title)) say("title", document.title);
  if (/%\\(|{{|\\bundefined\\b/.test(document.body.innerText)) say("words", document.body.innerText.match(/.{0,30}(%\\(|{{|undefined).{0,30}/)[0]);
  const tooWide = (when) => {
    if (root.scrollWidth <= root.clientWidth) return;
    const over = [...document.querySelectorAll("body *")].filter(one => { const box = one.getBoundingClientRect(); return box.right > root.clientWidth + 1 || box.left < -1; });
    say("overflow" + when, root.scrollWidth + " px: " + over.slice(-2).map(one => one.outerHTML.slice(0, 120)).join(" | "));
  };
  tooWide("");
  const spaced = new CSSStyleSheet();
  spaced.replaceSync("* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important } p { margin-block-end: 2em !important }");
  document.adoptedStyleSheets = [spaced];
  tooWide(" with spaced text");
  for (const one of document.querySelectorAll("a, button, .button, summary, label, th, td, h1, h2, h3, p, .badge"))
    if (!one.closest(".hidden, .skip") && one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== "inline" && getComputedStyle(one).overflowX !== "visible")
      say("cut", one.outerHTML.slice(0, 120));
  document.adoptedStyleSheets = [];
  return found;
}"""

SEND = """fields => {
  const form = document.createElement("form");
  form.method = "post"; form.action = fields[0];
  for (const [name, value] of Object.entries(fields[1])) {
    const one = document.createElement("textarea");
    one.name = name; one.value = value; form.append(one);
  }
  document.body.append(form);
  HTMLFormElement.prototype.submit.call(form);
}"""


@dataclass
class Eyes:
    """A browser, and a page of it for each person."""

    browser: Browser
    stages: dict[str, Stage]
    script: bool = True
    heard: list[str] = field(default_factory=list)
    _pages: dict[tuple[str, str], Page] = field(default_factory=dict)

    def sights(self) -> list[tuple[Sight, Stage]]:
        """Every page there is to see."""
        return list(sights_of(self.stages))

    def page(self, who: str, stage: Stage) -> Page:
        """The page of a person; the same each time."""
        key = (stage.settings.origin, who)
        if key not in self._pages:
            context = self.browser.new_context(java_script_enabled=self.script, bypass_csp=True, service_workers="block")
            context.set_default_timeout(PATIENCE_MS)
            cookie = stage.cookie(who)
            if cookie is not None:
                context.add_cookies([{"name": "coop-session", "value": cookie, "url": stage.settings.origin}])
            page = context.new_page()
            page.on("pageerror", lambda error: self.heard.append(f"{page.url}: {error}"))
            self._pages[key] = page
        return self._pages[key]

    def without_script(self) -> Eyes:
        """The same villages in a browser that runs no script."""
        return Eyes(self.browser, self.stages, script=False)

    def look(self, sight: Sight, stage: Stage, language: str = "en", *, scheme: Any = "light", width: int = 1280) -> Page:
        """Open a page as somebody sees it."""
        page, address = self.page(sight.who, stage), sight.address(stage, language)
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        if sight.first is not None:
            page.goto(stage.settings.origin + sight.first)
        if sight.fields is None:
            answer = page.goto(address)
        else:
            site = stage.settings.signing_origin if sight.path.startswith("{sign") else stage.settings.origin
            page.goto(f"{site}/nowhere")
            with page.expect_navigation() as waited:
                page.evaluate(SEND, [address, sight.fields])
            answer = waited.value
        assert answer is not None
        assert answer.status == sight.status, (sight, answer.status, page.inner_text("main"))
        return page

    def wrong(self, sight: Sight, stage: Stage, language: str = "en", *, scheme: Any = "light", width: int = 1280) -> list[str]:
        """Return what is wrong with a page, in one language, colours and width."""
        page = self.look(sight, stage, language, scheme=scheme, width=width)
        found = self.asked(page, language)
        return [f"{sight.name} ({sight.path}) {language} {scheme} {width}: {one}" for one in found]

    @staticmethod
    def asked(page: Page, language: str = "en") -> list[str]:
        """Return what is wrong with the page that is open."""
        page.evaluate(_axe())  # only here: it is large, and most visits ask for something else
        return list(page.evaluate(WRONG, [language, "rtl" if language == "ar" else "ltr"]))


@cache
def _axe() -> str:
    return AXE.read_text(encoding="utf-8")


@contextmanager
def opened_eyes(stages: dict[str, Stage]) -> Iterator[Eyes]:
    """Serve villages, and open a browser in front of them."""
    with ExitStack() as stack:
        for stage in stages.values():
            stack.enter_context(serving(stage.local, int(stage.settings.origin.rpartition(":")[2])))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(ARGUMENTS), timeout=PATIENCE_MS)
        stack.callback(browser.close)
        yield Eyes(browser, stages)
