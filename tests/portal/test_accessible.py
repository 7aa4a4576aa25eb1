"""No page in any language has a violation that axe-core finds, nor anything wider than a small screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from portal.i18n import LANGUAGES
from portal.settings import Settings
from tests.portal.chromium import browser, free_port, serving
from tests.portal.conftest import Portal
from tests.portal.test_voting import propose

AXE = Path.home() / ".cache/commonweights/axe/node_modules/axe-core/axe.min.js"
INSTALL = "npm install --prefix ~/.cache/commonweights/axe axe-core@4.11"
PAGES = (
    "/",
    "/proposals",
    "/proposals/{proposal}",
    "/releases",
    "/log",
    "/log/entries/0",
    "/receipts/{proposal}",
    "/signin",
    "/join",
    "/statements",
    "/nowhere",
)
RUN = """async () => (await axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}))
    .violations.map(one => one.id + ": " + one.nodes.map(node => node.html.slice(0, 200)).join(" | "))"""


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(not AXE.is_file(), reason=f"axe-core is not here: {INSTALL}")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(make_portal: Callable[..., Portal], tmp_path: Path, scheme: str) -> None:
    port = free_port()
    settings = Settings(f"http://127.0.0.1:{port}", f"http://localhost:{port}")
    portal = make_portal(settings)
    proposal = propose(portal)
    paths = [path.format(proposal=proposal) for path in PAGES]
    found = list[str]()
    with serving(portal.app, port), browser(tmp_path / "profile", bypass_csp=True, color_scheme=scheme) as context:
        page = context.new_page()
        for language in LANGUAGES:
            for width in (320, 1280):
                page.set_viewport_size({"width": width, "height": 900})
                for path in paths:
                    page.goto(f"{settings.origin}{path}?lang={language}")
                    page.add_script_tag(path=str(AXE))
                    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
                    found += [f"{language} {width} {path}: {one}" for one in page.evaluate(RUN)]
                    if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                        found.append(f"{language} {width} {path}: wider than the screen")
        page.evaluate("document.querySelector('main').append(document.createElement('button'))")
        assert any("button-name" in one for one in page.evaluate(RUN))  # it would have been found
    assert found == []
