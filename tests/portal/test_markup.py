"""Every page in every state, members' and signing pages too, is valid HTML."""

from __future__ import annotations

import re

import pytest

from portal import pages
from portal.i18n import LANGUAGES
from tests.portal.people import SIGNING
from tests.portal.sights import sights_of
from tests.portal.stage import Stage
from tests.portal.validity import complaints, needs_html_validate

pytestmark = pytest.mark.browser

NO_PAGE = re.compile(r"\.json|\.js$|\.txt|\.svg|SHA256SUMS|checkpoint|\{name\}|/files/")
"""Files that are handed out."""


def pages_of(stages: dict[str, Stage], first: int = 0) -> dict[str, str]:
    """Every page as its person gets it, each in another language than the one before; the first page in the language of this number."""
    found = dict[str, str]()
    for number, (sight, stage) in enumerate(sights_of(stages), start=first):
        person = stage.people.get(sight.who) or stage.portal.stranger()
        path = sight.path.format_map(stage.paths).replace("sign:", SIGNING)
        path += f"{'&' if '?' in path else '?'}lang={LANGUAGES[number % len(LANGUAGES)]}"
        page = person.get(path) if sight.fields is None else person.post(path, **sight.fields)
        assert page.status == sight.status, (sight, page.words)
        found[f"{sight.name} ({sight.who} {path})"] = page.text
    return found


@needs_html_validate
def test_every_page_in_every_state_is_valid(stages: dict[str, Stage]) -> None:
    found = complaints(pages_of(stages))
    assert not found, "\n".join(found)


@needs_html_validate
@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, len(LANGUAGES)))
def test_every_page_in_every_state_is_valid_in_every_other_language(stages: dict[str, Stage], first: int) -> None:
    found = complaints(pages_of(stages, first))
    assert not found, "\n".join(found)


@needs_html_validate
def test_what_is_wrong_would_be_found() -> None:
    wrong = '<!doctype html><html lang="en"><head><title>x</title></head><body><p><button>a</button><div>b</div></p><img src="x"></body></html>'
    assert any("wcag/h37" in one for one in complaints({"/wrong": wrong}))


def test_no_page_is_left_out_of_the_walk(stages: dict[str, Stage]) -> None:
    """Whoever adds a page adds its line to `sights`."""
    walked = {sight.path.format_map(stage.paths).partition("?")[0] for sight, stage in sights_of(stages)}
    for site, parts in (("", pages.MAIN), ("sign:", pages.SIGNING)):
        for path in [route.path for part in parts for route in part.router.routes if "GET" in route.methods]:
            pattern = re.compile(re.escape(site) + re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path)))
            assert NO_PAGE.search(path) or any(pattern.fullmatch(one) for one in walked), f"{site}{path} is in no line of tests/portal/sights.py"
