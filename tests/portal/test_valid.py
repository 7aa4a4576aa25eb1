"""Every public page, in every language, is valid HTML."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.i18n import LANGUAGES
from tests.model_card.conftest import Finished
from tests.portal.conftest import Portal
from tests.portal.test_public import library
from tests.portal.test_voting import propose
from tests.portal.validity import complaints, needs_html_validate

PUBLIC = (
    "/",
    "/proposals",
    "/proposals/{proposal}",
    "/proposals/{proposal}/changes",
    "/releases",
    "/datasets",
    "/api",
    "/log",
    "/log?before=2",
    "/log/entries/0",
    "/log/entries/2",
    "/log/find?what=nothing",
    "/receipts/{proposal}",
    "/signin",
    "/join",
    "/languages",
    "/statements",
    "/nowhere",
)


@pytest.mark.browser
@needs_html_validate
def test_what_is_wrong_is_found() -> None:
    wrong = '<!doctype html><html lang="en"><head><title>x</title></head><body><p><button>a</button><div>b</div></p><img src="x"></body></html>'
    assert any("wcag/h37" in one for one in complaints({"/wrong": wrong}))


@pytest.mark.browser
@needs_html_validate
def test_public_pages_are_valid(portal: Portal) -> None:
    proposal, stranger = propose(portal), portal.stranger()
    paths = [path.format(proposal=proposal) for path in PUBLIC]
    pages = dict[str, str]()
    for language in LANGUAGES:
        for path in paths:
            joint = "&" if "?" in path else "?"
            pages[f"{path} {language}"] = stranger.get(f"{path}{joint}lang={language}").text
    found = complaints(pages)
    assert not found, "\n".join(found)


@pytest.mark.browser
@needs_html_validate
def test_a_releases_pages_are_valid(tmp_path: Path) -> None:
    with library(tmp_path / "village", Finished.publish) as made:
        stranger = made.stranger()
        with made.portal.service.view.reading() as register:
            (build,) = register.builds
        paths = ("/releases", made.path, f"/datasets/{build}", "/datasets")
        found = complaints({f"{path} {language}": stranger.get(f"{path}?lang={language}").text for language in LANGUAGES for path in paths})
    assert not found, "\n".join(found)
