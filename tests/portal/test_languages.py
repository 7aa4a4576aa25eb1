"""Languages: no catalogue lacks a word, every placeholder is in its place, and pages read from the right where the language does."""

from __future__ import annotations

import re
import string
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po
from markupsafe import escape

from governance_hooks.sentence import Sentence
from portal import i18n
from portal.i18n import LANGUAGES, LOCALES
from portal.mail.letters import message_of
from portal.store.outbox import Letter
from tests.portal.conftest import Portal

ROOT = Path(__file__).parents[2]
TRANSLATED = [one for one in LANGUAGES if one != "en"]
UNREVIEWED = "Nobody whose first language this is has read these words yet (needs native review). In doubt the English ones count."
PLACEHOLDER = re.compile(r"%\([a-z_]+\)[sd]|%%")
APART = re.compile("\u2066([ -~]+)\u2069")
"""A command in a sentence from right to left, set apart from its direction: the only invisible characters a catalogue may have, and in pairs."""
FIELD = re.compile(r"\{[a-z_]+(?::[^{}]*)?\}")
OTHER_DIGITS = re.compile("[\u0660-\u0669\u06f0-\u06f9\u0966-\u096f]")


@cache
def extracted() -> frozenset[str | tuple[str, ...]]:
    """What pybabel finds, by the file it is told to use."""
    with (LOCALES / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    found: set[str | tuple[str, ...]] = set()
    for part in ("commonweights", "data_pipeline", "governance_hooks", "model_card", "portal"):
        rules = [(one.removeprefix(part + "/"), how) for one, how in methods if one.startswith(part + "/")]
        asked = {one.removeprefix(part + "/"): value for one, value in options.items()}
        found |= {message for _, _, message, _, _ in extract_from_dir(ROOT / part, rules, asked, keywords=DEFAULT_KEYWORDS) if message}
    return frozenset(found)


@cache
def catalogue(language: str) -> Catalog:
    return read_po(BytesIO((LOCALES / language / "LC_MESSAGES" / "portal.po").read_bytes()), locale=language)


def test_the_languages_the_portal_promises_are_there() -> None:
    assert {"en", "es", "fr", "ar", "sw", "hi"} <= set(LANGUAGES)
    assert i18n.choose("xx", "sw-KE,en;q=0.5") == "sw"


def test_the_list_for_translators_is_what_the_pages_say() -> None:
    listed = {one.id if isinstance(one.id, str) else tuple(one.id) for one in read_po(BytesIO((LOCALES / "portal.pot").read_bytes())) if one.id}
    assert listed == extracted()


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_catalogue_lacks_a_word_or_has_one_too_many(language: str) -> None:
    found = catalogue(language)
    here = {one.id if isinstance(one.id, str) else tuple(one.id): one for one in found if one.id}
    assert set(here) == extracted()
    for key, one in here.items():
        forms = one.string if isinstance(one.string, tuple) else (one.string,)
        assert all(form.strip() for form in forms), key
        assert len(forms) == (1 if isinstance(key, str) else found.num_plurals), key
        assert not one.fuzzy, key
        assert not list(one.check(found)), key


def forms_of(one: Message) -> tuple[str, ...]:
    return tuple(one.string) if isinstance(one.string, tuple | list) else (str(one.string),)


@pytest.mark.parametrize("language", TRANSLATED)
def test_placeholders_agree(language: str) -> None:
    """Only a form for one or two of something may leave the number out: languages have words for that."""
    found = catalogue(language)
    for one in found:
        if not one.id:
            continue
        said = one.id if isinstance(one.id, str) else one.id[1]
        named = PLACEHOLDER if PLACEHOLDER.search(said) else FIELD
        wanted = sorted(named.findall(said))
        for number, form in enumerate(forms_of(one)):
            small = not isinstance(one.id, str) and number < (3 if language == "ar" else 1)
            have = sorted(named.findall(form))
            assert have == wanted or (small and have == [name for name in wanted if name not in ("%(num)s", "%(num)d", "{count}")]), (one.id, form)
            assert not {"<", ">"} & set(form), form
            seen = APART.sub(r"\1", form)
            assert all(one == "\n" or one in string.printable or one.isprintable() for one in seen), form
            if named is PLACEHOLDER and wanted:
                assert "%" not in PLACEHOLDER.sub("", form), form
                form % {name[2:-2]: 1 for name in wanted if name != "%%"}
            else:
                assert not {"{", "}"} & set(FIELD.sub("", form)), form


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_sentence_keeps_its_ends_and_its_lines(language: str) -> None:
    """Parts are put together without looking into them; and the notice is cut into paragraphs by its lines."""
    for one in catalogue(language):
        for form in forms_of(one) if one.id else ():
            said = one.id if isinstance(one.id, str) else one.id[1]
            assert (form[:1] == " ", form[-1:].isspace()) == (said[:1] == " ", said[-1:].isspace()), form
            assert form.count("\n\n") == said.count("\n\n"), form


@pytest.mark.parametrize("language", TRANSLATED)
def test_digits_are_those_babel_writes_in_every_language(language: str) -> None:
    """Numbers and dates come with 0-9 in all six (CLDR's default); a catalogue with others would mix two sets on a page."""
    i18n.use(language)
    try:
        assert not OTHER_DIGITS.search(i18n.number(1234567890) + i18n.when("2026-11-29T13:45:06Z"))
    finally:
        i18n.use("en")
    assert not [form for one in catalogue(language) if one.id for form in forms_of(one) if OTHER_DIGITS.search(form)]


@pytest.mark.parametrize(
    ("language", "colon", "half", "third"),
    [("en", ":", "50%", "33.3%"), ("es", ":", "50\u00a0%", "33,3\u00a0%"), ("fr", "\u00a0:", "50\u00a0%", "33,3\u00a0%")],
)
def test_colons_and_signs_of_percent_stand_as_the_language_sets_them(language: str, colon: str, half: str, third: str) -> None:
    i18n.use(language)
    try:
        assert i18n.gettext("%(what)s:") % {"what": ""} == colon
        assert [i18n.percent(50), i18n.percent(100 / 3)] == [half, third]
    finally:
        i18n.use("en")


def test_no_page_sets_a_colon_or_a_sign_of_percent_by_itself() -> None:
    """Outside of words that are said: French has a space before both, Spanish before one."""
    pages = {path.name: path.read_text(encoding="utf-8") for path in sorted((LOCALES.parent / "templates").glob("*.html"))}
    assert pages
    assert [(name, found[0]) for name, page in pages.items() for found in re.finditer(r"\}\}(?:</[a-z]+>)?:(?=[ <]).*|\}\}%", page)] == []


def test_the_words_of_each_language_for_one_thing_hold() -> None:
    """Terms of the glossary beside the catalogues stand in the entries that are those terms."""
    rows = [line.split("|") for line in (LOCALES / "glossary.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 40
    for row in rows:
        term, *words = (one.strip() for one in row[1:-1])
        assert len(words) == len(TRANSLATED), term
        for language, allowed in zip(("es", "fr", "ar", "sw", "hi"), words, strict=True):
            found = catalogue(language)
            for said in {term, term.capitalize(), f"the {term}", f"A {term}", f"a {term}"}:
                entry = found.get(said)
                if entry is not None and entry.string:
                    shown = forms_of(entry)[0].lower()
                    assert any(one.strip().lower() in shown for one in allowed.split(",")), (language, said, shown)


@pytest.mark.parametrize(("count", "words"), [(0, "لا "), (1, "نصًا واحدًا"), (2, "نصين"), (3, "3 نصوص"), (11, "11 نصًا"), (100, "100 نص.")])
def test_arabic_counts_in_six_ways(count: int, words: str) -> None:
    i18n.use("ar")
    try:
        assert words in i18n.ngettext("You give %(num)d text.", "You give %(num)d texts.", count) % {"num": count}
    finally:
        i18n.use("en")


@pytest.mark.parametrize(
    ("language", "count", "words"),
    [
        ("es", 1, "1 miembro presentó una objeción"),
        ("es", 2, "2 miembros presentaron objeciones"),
        ("es", 1_000_000, "1.000.000 de miembros presentaron"),
        ("fr", 0, "0 membre a fait"),
        ("fr", 1, "1 membre a fait"),
        ("fr", 2, "2 membres ont fait"),
        ("ar", 0, "لم يعترض أحد"),
        ("ar", 1, "اعترض عضو واحد"),
        ("ar", 2, "اعترض عضوان"),
        ("ar", 3, "3 أعضاء"),
        ("ar", 11, "11 عضوًا"),
        ("ar", 100, "100 عضو "),
        ("sw", 1, "mwanachama 1 alipinga"),
        ("sw", 3, "wanachama 3 walipinga"),
        ("hi", 1, "1 सदस्य ने"),
        ("hi", 3, "3 सदस्यों ने"),
    ],
)
def test_a_count_of_another_room_has_the_forms_of_the_language(language: str, count: int, words: str) -> None:
    i18n.use(language)
    try:
        assert words in i18n.told(Sentence("{count} members objected in time", count=count))
    finally:
        i18n.use("en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_public_page_is_there_in_every_language(still: Portal, language: str) -> None:
    stranger = still.stranger()
    for path in ("/", "/proposals", "/releases", "/log", "/log/entries/0", "/signin", "/join", "/statements", "/nowhere"):
        page = stranger.get(f"{path}?lang={language}")
        assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in page.text, path
        assert page.answer.headers["content-language"] == language
        assert (escape(i18n.catalogue(language).gettext(UNREVIEWED)) in page.text) == i18n.unreviewed(language)
        assert re.search(r"%\(|\{\{", page.words) is None, path


@pytest.mark.parametrize("language", TRANSLATED)
def test_letters_are_in_the_readers_language(language: str) -> None:
    values = {"url": "https://village.example/x", "minutes": "15"}
    made = message_of(Letter(1, "e", "a@example.org", language, "signin", values, 0), sender="portal@localhost", name="village", stop=None)
    body = made.get_body(("html",))
    assert made["Content-Language"] == language
    assert body is not None
    assert f'lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}"' in body.get_content()
    assert "Somebody" not in body.get_content()
    assert i18n.current() == "en"


def test_the_first_of_a_month_is_an_ordinal_in_french() -> None:
    i18n.use("fr")
    try:
        first, eleventh = i18n.day("2026-12-01T00:00:00Z"), i18n.day("2026-12-11T00:00:00Z")
        assert i18n.when("2026-12-01T08:30:00Z").startswith(first)
    finally:
        i18n.use("en")
    assert first.replace("\u00a0", " ") == "1er déc. 2026"
    assert eleventh.replace("\u00a0", " ") == "11 déc. 2026"
