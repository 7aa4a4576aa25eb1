"""`coop site` names the clusters somebody lends, and shows what they were used for."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from commonweights.book_view import book_svg, book_text
from governance_hooks.cooperative import Cooperative
from governance_hooks.sshsig import generate_key
from slurm.book import Book, LentSite, Use, VotedRun
from tests.commonweights.conftest import Coop

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '<script>alert("1")</script>&\'"]]>'


def book(name: str = "north") -> Book:
    used = Use(2, 5400, 1500, 1, True)
    return Book(
        (LentSite(name, "m-" + "1" * 16, "h100", 36_000, False, used), LentSite("south", None, None, None, True, Use())),
        (VotedRun(name, "sha256:" + "a" * 64, "sha256:" + "b" * 64, used, {name: used}, {"completed": 1, "failed": 1}, 1, 1, 7200),),
    )


@pytest.fixture
def home(coop: Coop, keys: dict[str, Path], tmp_path: Path) -> Path:
    assert coop("init", tmp_path / "coop", "--name", "village", "--founder", keys["anna"], "--founder", keys["bela"]).code == 0
    generate_key(tmp_path / "north")
    return tmp_path / "coop"


def test_a_site_is_named_listed_and_retired(coop: Coop, home: Path, tmp_path: Path) -> None:
    with Cooperative.open(home, read_only=True) as opened:
        member = sorted(opened.register.members)[0]
    key = tmp_path / "north.pub"
    added = coop("-C", home, "site", "add", "north", "--key", key, "--lender", member, "--device", "h100", "--device-hours", 5)
    assert added.code == 0, added.err
    assert "write" in added.out
    assert re.search("SHA256:", added.out)
    (row,) = coop("-C", home, "--json", "site", "list").json["sites"]
    assert (row["site"], row["lender"], row["device"], row["device_hours"], row["profile"]) == ("north", member, "h100", 5, False)
    assert coop("-C", home, "site", "retire", "north").code == 0
    assert "retired" in coop("-C", home, "site", "list").out
    again = coop("-C", home, "site", "retire", "north")
    assert again.code == 2
    assert "no such site" in again.err


def test_what_is_no_site_is_refused_with_the_reason(coop: Coop, home: Path, tmp_path: Path, keys: dict[str, Path]) -> None:
    assert "coop site add" in coop("-C", home, "site", "list").out
    for arguments, why in (
        (("North!", "--key", tmp_path / "north.pub"), "site"),
        (("north", "--key", tmp_path / "north.pub", "--lender", "m-" + "f" * 16), "not a member"),
        (("north", "--key", keys["anna"].with_suffix(".pub")), "enrolled already"),
    ):
        done = coop("-C", home, "site", "add", *arguments)
        assert done.code != 0
        assert why in done.err
    assert coop("-C", home, "--json", "site", "list").json == {"sites": []}


def test_collecting_without_a_profile_says_what_to_do(coop: Coop, home: Path) -> None:
    done = coop("-C", home, "collect")
    assert (done.code, "coop site add" in done.err) == (2, True)


def test_the_book_of_a_new_cooperative_is_empty_and_can_be_drawn(coop: Coop, home: Path, tmp_path: Path) -> None:
    assert "coop site add" in coop("-C", home, "site", "book").out
    shown = coop("-C", home, "--json", "site", "book", "--svg", tmp_path / "book.svg").json
    assert (shown["sites"], shown["runs"]) == ([], [])
    assert ElementTree.parse(tmp_path / "book.svg").getroot().tag == f"{SVG}svg"


def test_the_table_says_who_lent_what_was_used_and_what_is_left() -> None:
    lines = book_text(book(), lambda member: "Anna").splitlines()
    assert lines[1].split() == ["north", "Anna", "h100", "10.00", "1.50", "8.50", "2", "~1.50", "kWh", "of", "1/2"]
    assert lines[2].split() == ["south", "(retired)", "-", "-", "-", "0.00", "-", "0", "-"]
    assert lines[5].split()[:6] == ["north", "a" * 12, "2.00", "1.50", "0.50", "2"]
    assert "1 completed, 1 failed, 1 not settled" in lines[5]
    assert "estimated" in lines[7]


def test_the_drawing_runs_nothing_fetches_nothing_and_says_every_number() -> None:
    drawn = book_svg(book(HOSTILE), HOSTILE)
    root = ElementTree.fromstring(drawn)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {"svg", "title", "desc", "style", "rect", "text", "line"}
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import| on[a-z]+=", drawn.replace(HOSTILE, ""))
    said = root.findtext(f"{SVG}desc") or ""
    assert all(number in said for number in ("90 used", "m-1111111111111111"))
    assert root.get("role") == "img"
    for rect in root.iter(f"{SVG}rect"):
        assert 0 <= float(rect.get("width", -1)) <= 760
