"""Pictures of every page of the portal in every state, language, colour scheme and width, for people who want to look.

    python tests/portal/gallery.py DIR [--languages en,ar] [--schemes light] [--widths 320] [--only vote] [--unfolded]

DIR/index.html shows them side by side; DIR/sheets has them a dozen to a picture.
"""

from __future__ import annotations

import argparse
import html
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from portal.i18n import LANGUAGES
from tests.portal.eyes import Eyes, opened_eyes
from tests.portal.showcase import villages

SHEET = """<!doctype html><meta charset="utf-8"><title>{title}</title><style>body {{ margin: 8px; font: 14px sans-serif; background: #888 }}
main {{ display: flex; flex-wrap: wrap; gap: 8px; align-items: start }} figure {{ margin: 0 }} img {{ display: block; width: {width}px; max-height: {height}px; object-fit: cover; object-position: top }}
figcaption {{ background: #fff }}</style><main>{figures}</main>"""
ALL_PICTURES = "() => Promise.all([...document.images].map(one => { one.loading = 'eager'; return one.decode().catch(() => null); }))"
"""Pictures that load when they are scrolled to are in no screenshot of a whole page."""
FIGURE = '<figure><figcaption>{name}</figcaption><a href="{path}"><img src="{path}" alt="{name}"></a></figure>'


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--languages", default=",".join(LANGUAGES))
    parser.add_argument("--schemes", default="light,dark")
    parser.add_argument("--widths", default="320,1280")
    parser.add_argument("--only", default="", help="only pages whose name holds one of these texts, separated by |")
    parser.add_argument("--unfolded", action="store_true", help="open what is folded on the page")
    asked = parser.parse_args()
    shown = list[tuple[str, str]]()
    for language in asked.languages.split(","):  # a village each: some of its links end after ten minutes
        with tempfile.TemporaryDirectory() as scratch, villages(Path(scratch)) as stages, opened_eyes(stages) as eyes:
            for scheme in asked.schemes.split(","):
                for width in map(int, asked.widths.split(",")):
                    shown += _pictures(eyes, asked.folder, asked.only, language, scheme, width, asked.unfolded)
    (asked.folder / "index.html").write_text(_sheet("pages", shown, 320, 800))
    print(f"{len(shown)} pictures: {asked.folder / 'index.html'}")


def _pictures(eyes: Eyes, folder: Path, only: str, language: str, scheme: Any, width: int, unfolded: bool) -> list[tuple[str, str]]:
    """Take the pictures of one language, scheme and width, and sheets of a dozen of them; return (name, path) of each."""
    here, found = f"{language}-{scheme}-{width}", list[tuple[str, str]]()
    (folder / here).mkdir(parents=True, exist_ok=True)
    for number, (sight, stage) in enumerate(eyes.sights()):
        if any(one in sight.name for one in only.split("|")):
            page = eyes.look(sight, stage, language, scheme=scheme, width=width)
            if unfolded:
                page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
            page.evaluate(ALL_PICTURES)
            path = f"{here}/{number:03d} {sight.name.replace(':', '').replace(',', '')}.png"
            page.screenshot(path=folder / path, full_page=True)
            found.append((f"{sight.name} {here}", path))
    (folder / "sheets").mkdir(exist_ok=True)
    board = eyes.browser.new_page(viewport={"width": 1920, "height": 900})
    many = 12 if width < 600 else 6
    for start in range(0, len(found), many):
        sheet = folder / f"sheet-{here}.html"
        sheet.write_text(_sheet(here, found[start : start + many], *((304, 1400) if width < 600 else (620, 1100))))
        board.goto(sheet.resolve().as_uri())
        board.screenshot(path=folder / "sheets" / f"{here}-{start // many:02d}.png", full_page=True)
        sheet.unlink()
    board.close()
    return found


def _sheet(title: str, shown: list[tuple[str, str]], width: int, height: int) -> str:
    figures = "".join(FIGURE.format(name=html.escape(name), path=html.escape(path)) for name, path in shown)
    return SHEET.format(title=title, figures=figures, width=width, height=height)


if __name__ == "__main__":
    main()
