"""On a phone pictures are drawn narrow with every word inside, and tables keep their words whole and their cells apart, in every language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from portal.i18n import LANGUAGES
from tests.portal.people import MAIN

if TYPE_CHECKING:
    from tests.portal.eyes import Eyes
    from tests.portal.stage import Stage

pytestmark = pytest.mark.browser

NAMES = ("release in force", "stake", "roll call", "dataset, described", "language", "proposal", "vote with reasons", "options to rank", "opinion map")

OUTSIDE = """svg => {
  document.body.insertAdjacentHTML("beforeend", svg);
  const drawn = document.body.lastElementChild, box = drawn.viewBox.baseVal, found = [];
  const parts = [...drawn.querySelectorAll("text, circle, rect:not(.back)")].map(one => [one, one.getBBox()]);
  for (const [one, at] of parts)
    if (at.x < -1 || at.y < 0 || at.x + at.width > box.width + 1 || at.y + at.height > box.height) found.push(one.outerHTML);
  const words = parts.filter(([one]) => one.tagName === "text");
  for (const [one, a] of words) for (const [other, b] of words)
    if (one !== other && a.x < b.x + b.width - 1 && b.x < a.x + a.width - 1 && a.y + 4 < b.y + b.height - 4 && b.y + 4 < a.y + a.height - 4) found.push(one.outerHTML + " on " + other.outerHTML);
  const size = parseFloat(getComputedStyle(words[0][0]).fontSize);
  drawn.remove();
  return [found, size];
}"""

TORN = """() => {
  document.querySelectorAll("details").forEach(one => { one.open = true });
  const found = [], cells = [...document.querySelectorAll("th, td")].filter(one => one.innerText.trim() && !one.closest("[hidden]"));
  const range = document.createRange(), boxes = new Map();
  for (const cell of cells) {
    const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    let union = null;
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      if (node.parentElement.closest(".hidden")) continue;
      for (const word of node.data.matchAll(/[\\p{L}\\p{M}\\p{N}]+/gu)) {
        range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
        const lines = new Set([...range.getClientRects()].filter(one => one.width > 0).map(one => Math.round(one.top)));
        if (lines.size > 1 && word[0].length < 19) found.push("torn: " + word[0] + " in " + cell.innerText);
        for (const one of range.getClientRects()) union = union === null ? [one.left, one.right, one.top, one.bottom] :
          [Math.min(union[0], one.left), Math.max(union[1], one.right), Math.min(union[2], one.top), Math.max(union[3], one.bottom)];
      }
    }
    if (union) boxes.set(cell, union);
  }
  for (const [one, a] of boxes) for (const [other, b] of boxes)
    if (one !== other && one.parentElement === other.parentElement && a[2] < b[3] - 2 && b[2] < a[3] - 2 && a[0] < b[1] + 8 && b[0] < a[1] + 8)
      found.push("near: " + one.innerText + " | " + other.innerText);
  return found;
}"""


@pytest.fixture(scope="module")
def eyes(stages: dict[str, Stage]) -> Iterator[Eyes]:
    from tests.portal.eyes import opened_eyes

    with opened_eyes(stages) as opened:
        yield opened


@pytest.mark.parametrize("language", LANGUAGES)
def test_narrow_pictures_are_whole_and_large_enough_to_read(eyes: Eyes, language: str) -> None:
    sight, stage = next((sight, stage) for sight, stage in eyes.sights() if sight.name == "release in force")
    client = stage.portal.stranger().client
    page = eyes.look(sight, stage, language, width=320)
    shown = page.locator(".drawn img")
    assert shown.count() == 3
    for at in range(3):
        one = shown.nth(at)
        one.scroll_into_view_if_needed()
        source = one.evaluate("one => one.decode().then(() => one.currentSrc)")
        assert "sheet=narrow" in source
        width = one.evaluate("one => one.getBoundingClientRect().width")
        found, size = page.evaluate(OUTSIDE, client.get(MAIN + re.sub("^https?://[^/]+", "", source)).text)
        assert found == []
        assert size * width / 320 >= 12
        assert one.evaluate(
            "one => { const box = one.getBoundingClientRect(); return Math.abs(box.height / box.width - one.naturalHeight / one.naturalWidth) < .01 }"
        )
    assert page.evaluate("document.querySelectorAll('main .scroll').length") == 0  # nothing is to be pushed sideways
    page.set_viewport_size({"width": 1280, "height": 800})
    # A browser chooses again some time after its window grew: the first picture is waited for, and no other way passes.
    page.wait_for_function("document.querySelector('.drawn img').currentSrc.includes('sheet=wide')")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_table_tears_a_word_or_runs_its_cells_together(eyes: Eyes, language: str) -> None:
    found, seen = list[str](), set[str]()
    for sight, stage in eyes.sights():
        if sight.name in NAMES:
            page = eyes.look(sight, stage, language, width=320)
            seen.add(sight.name)
            found += [f"{sight.name}: {one}" for one in page.evaluate(TORN)]
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), sight
    assert seen == set(NAMES)
    assert found == []


def test_a_torn_word_and_cells_without_room_would_be_found(eyes: Eyes) -> None:
    sight, stage = next((sight, stage) for sight, stage in eyes.sights() if sight.name == "join")
    page = eyes.look(sight, stage, width=320)
    page.evaluate(
        """() => document.querySelector("main").innerHTML = '<div><div class="row"><table><tr><td style="display: block; width: 2rem; overflow-wrap: anywhere">cooperative</td></tr></table>'
            + '<table style="width: auto"><tr><td style="padding: 0">one</td><td style="padding: 0">two</td></tr></table>'"""
    )
    assert [one.partition(":")[0] for one in page.evaluate(TORN)] == ["torn", "near", "near"]


def test_what_is_wider_than_the_screen_can_be_pushed_by_keys_and_has_a_name(eyes: Eyes) -> None:
    sight, stage = next((sight, stage) for sight, stage in eyes.sights() if sight.name == "vote with reasons")
    page = eyes.look(sight, stage, "ar", width=320)
    regions = page.locator(".reasons .scroll")
    assert regions.count() >= 1
    assert all(one.get_attribute("tabindex") == "0" and one.get_attribute("aria-label") for one in regions.all())
    regions.first.evaluate(
        "one => { one.querySelector('td').innerText = 'a'.repeat(30) + ' ' + 'b'.repeat(30); one.querySelectorAll('td').forEach(cell => cell.style.minWidth = '12rem') }"
    )
    regions.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert regions.first.evaluate("one => one.scrollWidth > one.clientWidth && getComputedStyle(one).backgroundImage.split('linear-gradient').length === 5")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_table_drawn_in_blocks_is_a_table_to_who_hears_it(eyes: Eyes) -> None:
    sight, stage = next((sight, stage) for sight, stage in eyes.sights() if sight.name == "dataset, described")
    page = eyes.look(sight, stage, width=320)
    table = page.locator("table.rows").first
    assert table.evaluate("one => getComputedStyle(one).display") == "grid"
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = [one["role"]["value"] for one in nodes if not one["ignored"]]
    assert roles.count("table") == page.locator("table").count()
    assert roles.count("columnheader") == page.locator("thead th").count()
    assert roles.count("rowheader") == page.locator("tbody th").count()
    assert roles.count("row") == page.locator("tr").count()
