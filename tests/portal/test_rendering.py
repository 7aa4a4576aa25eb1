"""What templates do to texts: escaped always, pseudonyms in one piece, the part of the site one is in marked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest
from markupsafe import Markup

from governance_hooks.motions import Reason
from portal import i18n
from portal.motion_words import reason_in_words
from portal.rendering import begin, breaks, brief, guild, here, ids, tables

MEMBER = "m-0123456789abcdef"


@pytest.fixture(autouse=True)
def _english_again() -> Iterator[None]:
    yield
    i18n.use("en")


def test_pseudonyms_are_set_apart_and_everything_else_is_escaped() -> None:
    assert ids(f"<b>{MEMBER}</b> & co") == f'&lt;b&gt;<code dir="ltr" class="word">{MEMBER}</code>&lt;/b&gt; &amp; co'
    assert ids(Markup(f"<em>{MEMBER}</em>")) == f'<em><code dir="ltr" class="word">{MEMBER}</code></em>'
    assert ids(f"{MEMBER}0 x{MEMBER}") == f"{MEMBER}0 x{MEMBER}"


def test_the_link_to_where_one_is_says_so() -> None:
    links = Markup('<a href="/log">a</a><a href="/mine">b</a>')
    assert here(links, "/mine") == '<a href="/log">a</a><a href="/mine" aria-current="page">b</a>'
    assert here(links, "/mine/stake") == '<a href="/log">a</a><a href="/mine" aria-current="true">b</a>'
    assert here(links, "/minefield") == links


def test_a_sentence_begins_with_a_large_letter_where_there_is_one() -> None:
    assert (begin("open until"), begin("مفتوح"), begin("")) == ("Open until", "مفتوح", "")


def test_digests_in_a_sentence_are_short_and_what_was_escaped_stays_so() -> None:
    digest = "sha256:" + "0123456789abcdef" * 4
    assert brief(f"not closed (got '{digest}')") == "not closed (got sha256:0123456789ab)"
    assert brief(Markup(f'<span lang="en">{digest} &lt;b&gt;</span>')) == '<span lang="en">sha256:0123456789ab &lt;b&gt;</span>'
    assert brief(f"<b>{digest}0 {digest[:-1]}") == f"&lt;b&gt;{digest}0 {digest[:-1]}"


def test_a_path_breaks_after_its_parts_only() -> None:
    assert breaks("card/charts/<b>.svg") == "card/<wbr>charts/<wbr>&lt;b&gt;.<wbr>svg"


def test_each_table_of_a_cleaned_text_stands_in_a_named_place_to_push_it_and_nothing_else_changes() -> None:
    head = '<div class="scroll"{} tabindex="0" role="group" aria-label="{}"><table>'
    text = Markup('<p>&lt;table&gt;</p><table dir="auto"><tr><td>a</td></tr></table><blockquote><table><tr></tr></table></blockquote>')
    assert tables(text) == (
        f"<p>&lt;table&gt;</p>{head.format(chr(32) + 'dir=' + chr(34) + 'auto' + chr(34), 'Table 1 of 2')}<tr><td>a</td></tr></table></div>"
        f"<blockquote>{head.format('', 'Table 2 of 2')}<tr></tr></table></div></blockquote>"
    )
    i18n.use("hi")
    assert "2 में से तालिका 1" in tables(text)
    assert tables("<table></table>") == "&lt;table&gt;&lt;/table&gt;"  # what was not cleaned is no markup


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_codes_that_members_meet_are_words_in_every_language(language: str) -> None:
    i18n.use(language)
    assert guild("swa") == i18n.language_name("swa") != "swa"
    assert all(kind not in guild(f"spa.{kind}") for kind in ("original", "edit"))
    assert guild("spa.other").endswith(": other")
    for reason in get_args(Reason):
        words = reason_in_words(reason)
        assert words != reason
        assert language == "en" or words in {str(i18n.gettext(one)) for one in i18n.sentences(language)}


def test_what_a_template_puts_between_and_after_is_the_languages() -> None:
    said = {}
    for language in i18n.LANGUAGES:
        i18n.use(language)
        said[language] = i18n.comma() + i18n.full_stop()
    assert said == {"en": ",.", "es": ",.", "fr": ",.", "sw": ",.", "ar": "\u060c.", "hi": ",\u0964"}


def test_a_sign_stays_before_its_number_from_right_to_left() -> None:
    i18n.use("ar")
    assert f"{i18n._Amount(-3)}" == "\u2068-3\u2069"
    assert f"{i18n._Amount(-0.5):+.3f}" == "\u2068-0.500\u2069"
    assert f"{i18n._Amount(3)}" == "3"
    i18n.use("en")
    assert f"{i18n._Amount(-3)}" == "-3"
