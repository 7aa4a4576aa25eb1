"""Languages: no catalogue lacks a word, every placeholder is in its place, and pages read from the right where the language does."""

from __future__ import annotations

import re
import string
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from markupsafe import escape

from portal import i18n
from portal.i18n import LANGUAGES, LOCALES
from portal.mail.letters import message_of
from portal.store.outbox import Letter
from tests.portal.conftest import Portal

ROOT = Path(__file__).parents[2]
METHODS = [("portal/**.py", "python"), ("portal/templates/**.html", "jinja2")]
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}
TRANSLATED = [one for one in LANGUAGES if one != "en"]
UNREVIEWED = "Nobody whose first language this is has read these words yet (needs native review). In doubt the English ones count."
PLACEHOLDER = re.compile(r"%\([a-z_]+\)[sd]|%%")


def extracted() -> set[str | tuple[str, ...]]:
    found = extract_from_dir(ROOT, METHODS, keywords=KEYWORDS, directory_filter=lambda path: Path(path).name not in (".git", "tests", "locales"))  # type: ignore[arg-type]
    return {message for _, _, message, _, _ in found if message}


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


@pytest.mark.parametrize("language", TRANSLATED)
def test_placeholders_agree(language: str) -> None:
    """Only a form for one or two of something may leave the number out: languages have words for that."""
    found = catalogue(language)
    for one in found:
        if not one.id:
            continue
        forms = one.string if isinstance(one.string, tuple) else (one.string,)
        wanted = set(PLACEHOLDER.findall(one.id if isinstance(one.id, str) else one.id[1]))
        for number, form in enumerate(forms):
            small = isinstance(one.string, tuple) and number < (3 if language == "ar" else 1)
            have = set(PLACEHOLDER.findall(form))
            assert have == wanted or (small and have | {"%(num)s", "%(num)d"} >= wanted and have <= wanted), (one.id, form)
            assert "%" not in PLACEHOLDER.sub("", form), form
            form % {name[2:-2]: 1 for name in wanted if name != "%%"}
            assert not {"<", ">", "{", "}"} & set(form), form
            assert all(one in string.printable or one.isprintable() for one in form), form


@pytest.mark.parametrize(("count", "words"), [(0, "لا "), (1, "نصًا واحدًا"), (2, "نصين"), (3, "3 نصوص"), (11, "11 نصًا"), (100, "100 نص.")])
def test_arabic_counts_in_six_ways(count: int, words: str) -> None:
    i18n.use("ar")
    try:
        assert words in i18n.ngettext("You give %(num)d text.", "You give %(num)d texts.", count) % {"num": count}
    finally:
        i18n.use("en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_public_page_is_there_in_every_language(portal: Portal, language: str) -> None:
    stranger = portal.stranger()
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
