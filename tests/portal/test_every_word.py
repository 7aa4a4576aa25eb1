"""No page says anything in English to who reads another language, but names, commands and what is marked as English, each for a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from governance_hooks.requests import REASONS
from governance_hooks.statement import now, shift
from portal import i18n, pictures
from portal.mail.letters import message_of
from portal.rendering import environment
from portal.store.outbox import Letter
from tests.portal.conftest import Published
from tests.portal.people import MAIN
from tests.portal.reader import NAMES, TYPED, Pseudo, Reader, read, unexplained
from tests.portal.test_public import Library, copied
from tests.portal.walk import lived, routes, shown


@pytest.fixture(scope="module")
def made(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with copied(published, tmp_path_factory.mktemp("words") / "village") as found:
        yield found


@pytest.fixture(scope="module")
def walk(made: Library) -> dict[str, str]:
    return lived(made)


def test_every_page_is_walked(walk: dict[str, str]) -> None:
    """A page somebody adds has to be shown here too."""
    paths = [urlsplit(one).path for one in walk.values()]
    patterns = {one: re.compile(re.sub(r"\{[^}]+\}", "[^/]+", one) + "$") for one in routes() if "{" in one}
    files = {one for one in patterns if re.search(r"\.(?:json|svg|txt|js)$|SHA256SUMS$|/files/|/\{name\}$", one)}
    assert {one for one, pattern in patterns.items() if not any(pattern.match(path) for path in paths)} <= files


def test_no_page_says_anything_that_is_not_in_the_catalogue(made: Library, walk: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    pseudo = Pseudo()
    monkeypatch.setattr(i18n, "catalogue", lambda _: pseudo)
    monkeypatch.setattr(pictures, "_drawn", pictures._drawn.__wrapped__)  # what is drawn in these words is kept for nobody
    english, unmarked, seen = dict[str, str](), dict[str, str](), 0
    for path, page in shown(made, walk, "ar"):
        assert 'lang="ar" dir="rtl"' in page.text, (path, page.text[:300])
        reader = read(page)
        english |= dict.fromkeys(reader.plain, path)
        unmarked |= dict.fromkeys(unexplained(reader.marked), path)
        seen += 1
    assert seen > 150
    assert english == {}
    assert unmarked == {}


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_every_page_in_every_language_is_whole(made: Library, walk: dict[str, str], language: str) -> None:
    """The language and its direction are said, no placeholder is left, nothing but marked English is English where letters tell."""
    for path, page in shown(made, walk, language):
        assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in page.text, path
        assert re.search(r"%\([a-z]|\{[a-z_]+[:}]|\{\{", re.sub(r"<pre.*?</pre>|<code.*?</code>|<textarea.*?</textarea>", "", page.text, flags=re.S)) is None, (
            path
        )
        assert page.status < 500, path
        if language in ("ar", "hi"):
            reader = read(page)
            left = [one for one in reader.plain if re.search(r"[A-Za-z]{2}", re.sub("|".join((*TYPED, *NAMES)), " ", one))]
            assert left == [], path


def test_the_reader_sees_english() -> None:
    page = (
        '<html lang="ar"><p>ｓａｉｄ <b>Who may vote</b> <span lang="en">Value: no</span> <img alt="A picture of it"> <code>code</code> m-0123456789abcdef</p>'
    )
    reader = Reader()
    reader.feed(page)
    assert reader.plain == ["Who may vote", "A picture of it"]
    assert reader.marked == ["Value: no"]
    assert unexplained(["Nothing known"]) == ["Nothing known"]


def test_pictures_are_drawn_in_the_readers_words(made: Library) -> None:
    client = made.stranger().client
    for name in ("data", "loss", "vote"):
        address = f"{MAIN}{made.path}/charts/{name}.svg"
        plain, local = client.get(address), client.get(f"{address}?in=ar")
        assert plain.content == (made.release.folder / f"card/charts/{name}.svg").read_bytes()
        assert client.get(f"{address}?in=en").content == plain.content == client.get(f"{address}?in=xx").content
        texts = re.findall(r"<(?:text|title|desc)[^>]*>([^<]*)<", local.text)
        assert len(texts) > 5
        assert not [one for one in texts if re.search(r"[A-Za-z]{3}|⟨", one)], texts
        assert local.headers["content-type"] == "image/svg+xml"
        assert "sandbox" in local.headers["content-security-policy"]
        for sheet in ("wide", "narrow"):
            drawn = client.get(f"{address}?in=ar&sheet={sheet}").text
            said = re.findall(r"<(?:text|title|desc)[^>]*>([^<]*)<", drawn)
            assert " ".join(texts[:2]) == " ".join(said[:2])
            assert set(" ".join(texts).split()) == set(" ".join(said).split()) or name != "vote", (
                texts,
                said,
            )  # all words, on more lines; an axis has fewer marks
            width, height = re.findall(r'viewBox="0 0 ([0-9]+) ([0-9]+)"', drawn)[0]
            assert width == {"wide": "720", "narrow": "320"}[sheet]
            assert f'width="{width}" height="{height}"' in client.get(f"{MAIN}{made.path}?lang=ar").text  # no page jumps when it comes
        assert client.get(f"{address}?in=en&sheet=none").content == plain.content
    card = made.release.folder / "card.json"
    card.write_bytes(card.read_bytes() + b"\n")  # not the released one any more: the released picture is shown, once what was drawn of that one is forgotten
    pictures._drawn.cache_clear()
    released = (made.release.folder / "card/charts/vote.svg").read_bytes()
    assert all(client.get(f"{MAIN}{made.path}/charts/vote.svg?in={asked}").content == released for asked in ("ar", "ar&sheet=narrow", "en&sheet=wide"))
    assert "<source" not in client.get(f"{MAIN}{made.path}?lang=en").text
    card.write_bytes(card.read_bytes()[:-1])


@pytest.mark.parametrize("language", [one for one in i18n.LANGUAGES if one in ("ar", "hi")])
def test_letters_have_no_english(language: str) -> None:
    values = {
        "url": "https://x.example",
        "minutes": "15",
        "entry": "7",
        "kind": "coop.ballot/v1",
        "title": "Τι;",
        "closes": shift(now(), 3600),
        "proposal": "x",
    }
    security = [{"kind": kind} for kind in ("coop.key/v1", "coop.recovery/v1", "soon", "recovered")]
    declined = [{"about": about, "reason": reason} for about in ("admission", "recovery") for reason in REASONS]
    plain = [(template, dict[str, str]()) for template in ("signin", "signed", "admitted", "opened", "reminder")]
    for template, more in [*plain, *(("security", one) for one in security), *(("declined", one) for one in declined)]:
        letter = Letter(1, "e", "a@example.org", language, template, values | more, 0)
        sent = message_of(letter, sender="portal@localhost", name="Χωριό", stop="https://x.example/stop")
        for kind in ("plain", "html"):
            body = sent.get_body((kind,))
            assert body is not None
            text = re.sub(r"<[^>]*>|https://\S+|UTC|\b[ap]m\b", " ", body.get_content())  # CLDR writes am and pm in Hindi
            assert not re.search(r"[A-Za-z]{2}", text), text
        assert not re.search(r"[A-Za-z]{2}", str(sent["Subject"])), sent["Subject"]


def test_a_sentence_of_another_room_is_said_or_marked() -> None:
    from governance_hooks.sentence import Sentence

    i18n.use("es")
    try:
        show = environment().filters["say"]
        refusal = Sentence("{count} of {roll} voted for, {share} of the roll needed", count=1234, roll=5678, share=Sentence("{number}%", number=50))
        assert str(refusal) == "1234 of 5678 voted for, 50% of the roll needed"
        assert show(refusal) == "votaron a favor 1.234 de 5.678, hace falta 50\u00a0% del censo"
        assert show(Sentence("open until {closes}", closes="2026-12-24T18:00:00Z")) == "abierta hasta el 24\u00a0dic\u00a02026, 18:00\u00a0UTC"
        assert show("no such thing <b>") == '<span lang="en" dir="ltr">no such thing &lt;b&gt;</span>'
        assert show(i18n.gettext("this is no date")) == "esto no es una fecha"
        assert show(Sentence("{files} is missing", files="<i>\u2069x")) == "falta \u2068&lt;i&gt;x\u2069"
    finally:
        i18n.use("en")
    assert show(refusal) == "1,234 of 5,678 voted for, 50% of the roll needed"
