"""What templates do to texts: escaped always, pseudonyms in one piece, the part of the site one is in marked."""

from __future__ import annotations

from markupsafe import Markup

from portal.rendering import begin, here, ids

MEMBER = "m-0123456789abcdef"


def test_pseudonyms_are_set_apart_and_everything_else_is_escaped() -> None:
    assert ids(f"<b>{MEMBER}</b> & co") == f'&lt;b&gt;<code dir="ltr">{MEMBER}</code>&lt;/b&gt; &amp; co'
    assert ids(Markup(f"<em>{MEMBER}</em>")) == f'<em><code dir="ltr">{MEMBER}</code></em>'
    assert ids(f"{MEMBER}0 x{MEMBER}") == f"{MEMBER}0 x{MEMBER}"


def test_the_link_to_where_one_is_says_so() -> None:
    links = Markup('<a href="/log">a</a><a href="/mine">b</a>')
    assert here(links, "/mine") == '<a href="/log">a</a><a href="/mine" aria-current="page">b</a>'
    assert here(links, "/mine/stake") == '<a href="/log">a</a><a href="/mine" aria-current="true">b</a>'
    assert here(links, "/minefield") == links


def test_a_sentence_begins_with_a_large_letter_where_there_is_one() -> None:
    assert (begin("open until"), begin("مفتوح"), begin("")) == ("Open until", "مفتوح", "")
