"""Pages of dropped records: drawn fairly, shown safely."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from data_pipeline.manifest import Build
from data_pipeline.record import Draft
from data_pipeline.store import Batch, ContributionStore
from data_pipeline.views.page import MAX_SHOWN, difference, page, visible
from data_pipeline.views.sample import Dropped, sample
from governance_hooks.errors import BadInput

Give = Callable[..., Batch]
MakeBuild = Callable[..., Build]


@pytest.fixture
def copies(give: Give, make_build: MakeBuild) -> Build:
    """Thirty originals and a copy of each, two echoes, one record without consent."""
    give("ana", *[Draft(f"question {n}", f"answer {n}", "eng", record_id=f"a{n:02}") for n in range(30)])
    give("ben", *[Draft(f"QUESTION {n}", f"answer {n}", "eng", record_id=f"b{n:02}") for n in range(30)], at="2026-02-01T00:00:00Z")
    give("cleo", *[Draft(f"you are immature {word}", f"you are immature {word}", "eng", record_id=f"c{word}") for word in ("today", "again")])
    give("dora", Draft("secret", "secret words", "eng", record_id="d1"))
    return make_build(without=("dora",))


def test_the_sample_is_the_same_for_everybody_and_stands_beside_the_kept_row(copies: Build, store: ContributionStore) -> None:
    one, two = (sample(copies, store, count=10) for _ in range(2))
    assert one == two
    assert {reason: len(some) for reason, some in one.items()} == {"duplicate": 10, "echo": 2}
    for dropped in one["duplicate"]:
        assert (dropped.kept, dropped.kept_texts) == (f"a{dropped.record[1:]}", (dropped.texts[0].lower(), dropped.texts[1]))
    assert all(dropped.kept is None for dropped in one["echo"])
    assert [dropped.record for dropped in one["duplicate"]] != sorted(dropped.record for dropped in one["duplicate"])
    assert sample(copies, store, "duplicate", count=10, seed="other")["duplicate"] != one["duplicate"]
    assert sample(copies, store, "duplicate", count=20)["duplicate"][:10] == one["duplicate"]


def test_records_nobody_may_read_are_not_drawn(copies: Build, store: ContributionStore) -> None:
    with pytest.raises(BadInput, match="not to be read"):
        sample(copies, store, "no_consent")
    with pytest.raises(BadInput, match="left nothing out for this reason"):
        sample(copies, store, "near_duplicate")
    with pytest.raises(BadInput, match="count"):
        sample(copies, store, count=0)
    store.erase([f"b{n:02}" for n in range(28)])
    assert {one.record for one in sample(copies, store)["duplicate"]} == {"b28", "b29"}


def test_texts_that_may_no_longer_be_shown_make_room_for_the_next(copies: Build, store: ContributionStore) -> None:
    drawn = sample(copies, store, "duplicate", count=5, shown=lambda record: record.member != "ana" and record.record < "b20")["duplicate"]
    assert len(drawn) == 5
    assert all(one.record < "b20" and one.kept and one.kept_texts is None for one in drawn)
    assert "may not be shown" in page("t", {"duplicate": drawn})


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</p></td></table><iframe src=https://evil.example>",
    "\u202eevil\u202c \u2066x\u2069 \u200f",
    "\x1b[31m\x07\x7f\x9b",
    "&lt;b&gt;",
    "<!-- --><style>*{display:none}</style>",
    "\u2028\u2029\ufeff\u00ad",
    "javascript:alert(1) {{7*7}} ${x}",
]


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words += data


OURS = {*["html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "ul", "li", "a", "table", "thead", "tbody", "tr", "th", "td", "span", "bdi", "b"]}


def test_hostile_texts_stay_texts() -> None:
    rows = [Dropped(text, "near_duplicate", text, (text, text + "!"), text, "k", (text, "<i>" + text)) for text in HOSTILE]
    made = page(HOSTILE[0], {"near_duplicate": rows, HOSTILE[1]: rows[:1]})
    seen = Tags(made)
    assert seen.found <= OURS
    assert seen.attributes <= {"lang", "charset", "http-equiv", "content", "name", "id", "class", "href", "dir", "scope"}
    assert "alert(1)" in seen.words
    assert set(re.findall(r'href="([^"]*)"', made)) == {"#r0", "#r1"}
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f\u2028\u2029\ufeff]", made)
    assert "default-src 'none'; style-src 'unsafe-inline'" in made
    assert made.count('dir="auto"') == 4 * len(rows) + 4


@for_all(st.text())
def test_no_text_makes_a_tag_of_its_own(text: str) -> None:
    assert Tags(visible(text)).found <= {"span"}
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", visible(text))


def test_scripts_that_need_joiners_keep_them_and_long_texts_are_cut() -> None:
    assert visible("ربات\u200cها क्\u200dष") == "ربات\u200cها क्\u200dष"
    assert visible("x" * (MAX_SHOWN + 7)).endswith("… 7 more characters</span>")


@for_all(st.text("ab\u0301 "), st.text("ab\u0301 "))
def test_what_lies_outside_the_difference_is_the_same(one: str, other: str) -> None:
    (begin, end), (start, stop) = difference(one, other)
    assert (one[:begin], one[end:]) == (other[:start], other[stop:])
    assert 0 <= begin <= end <= len(one)
    assert start <= stop <= len(other)
    if one == other:
        assert begin == end == start == stop == 0
