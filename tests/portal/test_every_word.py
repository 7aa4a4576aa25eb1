"""No page says anything in English to who reads another language, but names, commands and what is marked as English, each for a reason."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urlsplit

import pytest
from fastapi.routing import APIRoute

from governance_hooks.canonical import digest, sha256
from governance_hooks.motions import AmendBylaws, Consult, Suspend, subject_of
from governance_hooks.requests import REASONS
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import now, shift
from portal import i18n, pages
from portal.mail.letters import message_of
from portal.rendering import environment
from portal.store.outbox import Letter
from tests.portal.conftest import Published
from tests.portal.people import MAIN, Page
from tests.portal.test_giving import allow, write
from tests.portal.test_public import Library, copied
from tests.portal.test_voting import propose

ACCENTS: Final = str.maketrans(string.ascii_letters, "".join(chr(0xFEE0 + ord(one)) for one in string.ascii_letters))
FIELD: Final = re.compile(r"%\([a-z_]+\)[sd]|\{[a-z_]+(?::[^{}]*)?\}")

NAMES: Final = {
    r"\b[a-z]{3} \([\w' -]+(?:\([\w ]+\))?\)": "codes of languages with their English names, as they are looked up",
    r"sha256:[0-9a-f]*|SHA256:[\w+/]+|\b[0-9a-f]{7,64}\b|\bm-[0-9a-f]{16}|\ba-[0-9a-f]{16}": "digests, fingerprints and pseudonyms",
    r"https?://[\w.:/-]*|[\w.…-]+@[\w.…-]+|[\w~./-]+\.(?:json|jsonl|md|svg|sig|pub|safetensors|txt|example)\b": "addresses and names of files",
    r"village(?:-lm)?|first-run|run-1|example/base|allowed_signers": "names of the cooperative, of a plan, of a run, of models and of a file",
    r"(?:Apache-2\.0|CC-BY(?:-NC|-SA)?-4\.0|CC0-1\.0|NOASSERTION|MIT)": "licences by their SPDX names",
    r"dpv:\w+|coop(?:\.[a-z-]+/v1)?\b|ai:\w+": "terms of a vocabulary, and types of statements",
    r"\b(?:swa|swh|yor|spa|kin|nor|hin|sw|pt-BR|hi-Latn|zh-Hant|en|und)\b": "codes of languages",
    r"\b(?:PASS|FAIL|INSUFFICIENT|UTC|ssh-ed25519|ed25519|kB|MB|AUC|Latn|lotn)\b": "verdicts as the records have them, the time zone, types of keys, units",
}
"""What a value may hold in any language, and why."""

MARKED: Final = {
    r"What you allow The cooperative may train": "the notice whose digest a consent signs: shown beside its translation",
    r"When a member withdraws consent, we stop": "the promise that a release states: shown beside its translation",
    r"In plain words This is a language model": "a summary of the card that members did not translate",
    r"coop [a-z]+": "a command to type, for the operator",
    r"(?:[\w./]+: )*(?:String|Input|Value|Field|field)\b": "a field that only a program sends so, in the words of pydantic and ours",
    r"Waioli$|Swahili \(individual language\)$": "a language that CLDR has no name for in the reader's",
    r"ssh-ed25519 AAAA": "what a key looks like",
    r"[\w, :=-]*(?:, )?(?:ai:|dpv:|harmful|for, against|AVIF|public|https?:|m-0)[\w:, -]*": "a list of terms as they are written",
    r"2027-12-31|name@example\.org|Unicode scalar values": "an example, a term of Unicode",
    r"statement field|payload of|statement type|the statement |not base64|entry ": "a statement made by hand that no rule of form lets in",
}
"""What is marked `lang="en"` on a page in another language, and why it stays so."""

TYPED: Final = (
    r"coop(?: [a-z]+| --draft)?|--[a-z]+|ssh-keygen|\bAAAA\.*",
    r"\b(?:OpenSSH|SSH|JavaScript|JSON|HTML|GGUF|SPDX|ISO|BCP|UTF|RFC|RSA|PIN|LoRA|SPDX|commonweights|am|pm|ES256|RS256|bootstrap)\b",
)
"""What translations keep as it is: what is typed, and names of things that have no other."""

SKIPPED: Final = frozenset({"script", "style", "code", "pre", "textarea", "time", "bdi", "input"})


class Reader(HTMLParser):
    """Reads a page as somebody does who has no English: what is English, and what is marked as English."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[tuple[str, str]] = []
        """Open elements, each with what becomes of its text: read, skipped, or marked."""
        self.plain: list[str] = []
        self.marked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name in ("aria-label", "alt", "title", "placeholder", "data-queued", "data-waits", "data-sent", "data-refused", "data-failed"):
            self._read(given.get(name) or "")
        if tag in ("meta", "link", "input", "br", "img", "rect", "hr"):
            return
        how = self.stack[-1][1] if self.stack else "read"
        if how == "read":
            classes = (given.get("class") or "").split()
            if tag in SKIPPED or given.get("hreflang") or "digest" in classes:
                how = "skipped"
            elif given.get("lang") == "en":
                how = "marked"
                self.marked.append("")
        self.stack.append((tag, how))

    def handle_endtag(self, tag: str) -> None:
        while self.stack and self.stack.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        how = self.stack[-1][1] if self.stack else "read"
        if how == "read":
            self._read(data)
        elif how == "marked":
            self.marked[-1] = " ".join(f"{self.marked[-1]} {data}".split())

    def _read(self, text: str) -> None:
        left = text
        for name in NAMES:
            left = re.sub(name, " ", left)
        if re.search(r"[A-Za-z]{2}", left):
            self.plain.append(" ".join(text.split()))


class Pseudo:
    """A language in which every sentence of the catalogue has strange letters, so that what is not in the catalogue is seen."""

    def gettext(self, said: str) -> str:
        return self._strange(said) if said in i18n.sentences("ar") else said

    def ngettext(self, one: str, many: str, count: int) -> str:
        return self._strange(one if count == 1 else many) if one in i18n.sentences("ar") else one

    @staticmethod
    def _strange(said: str) -> str:
        kept = FIELD.findall(said)
        return "".join(part.translate(ACCENTS) + name for part, name in zip(FIELD.split(said), [*kept, ""], strict=True))


@pytest.fixture(scope="module")
def made(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with copied(published, tmp_path_factory.mktemp("words") / "village") as found:
        yield found


@pytest.fixture(scope="module")
def walk(made: Library) -> dict[str, str]:
    """Live a while on the portal; return paths that show something of everything, by what they show."""
    portal = made.portal
    person = portal.founder(0)
    allow(person, "dpv:PublicBenefit", languages="sw, yor", once="true", expires="2099-01-01")
    for number in range(2):
        write(person, number, inputs="Τι;", targets="Ναι.")
    person.sign(person.post("/contribute/give"))
    write(person, 7, inputs="Τι;", targets="Ναι.")
    texts = ["Τι πρώτα;", "Το ένα", "Το άλλο"]
    for text in texts:
        portal.service.house.keep_text(text.encode())
    motion = Consult(question=sha256(texts[0].encode()), options=[sha256(one.encode()) for one in texts[1:]], method="ranked")
    asked = propose(portal, "consultation", subject_of(motion), motion=motion.model_dump(mode="json"))
    person.paste(person.post(f"/proposals/{asked}/answer", **{"option-0": "1", "option-1": "2"}))
    with portal.service.view.reading() as register:
        new = register.bylaws.model_copy(update={"version": 2, "halt_max_s": 36 * 3600 + 7 * 86_400, "jurisdiction": "KE", "oversight_seated": "lot"})
    amendment = AmendBylaws(bylaws=new)
    propose(portal, "bylaws", subject_of(amendment), motion=amendment.model_dump(mode="json"))
    halted = propose(portal)
    person.paste(person.post(f"/proposals/{halted}/vote", choice="against", reason="Όχι."))
    person.post(f"/proposals/{halted}/remarks", text="Γιατί;", stance="question")
    with portal.service.view.reading() as register:
        run, release = (next(one.id for one in register.proposals.values() if one.kind == kind) for kind in ("run", "release"))
        mine = [portal.service.view.entry(at).id for at in portal.service.view.made[portal.members[0]]]
        size = register.size
    drafted = [
        person.post(f"/proposals/{halted}/vote", choice="for", reason="Ναι."),
        person.post("/consent/give", purpose="dpv:ResearchAndDevelopment", licences=["Apache-2.0", "CC-BY-4.0"]),
        person.post("/consent/withdraw", consent="all"),
        person.post("/keys/add", line=generate_key(portal.root / "second").public.line),
        person.post("/keys/guardians", guardians=" ".join(portal.members[1:4])),
        person.post("/recover/key", line=generate_key(portal.root / "third").public.line),
        person.post("/stewards/halts", proposal=run, hours="24"),
        person.post("/mine/leave", sure=portal.members[0]),
        person.post("/propose/question", question="Τι;", options="α\nβ", method="approval", reasons="# Γιατί"),
        person.post("/contribute/give"),
    ]
    assert all(page.path.startswith("/sign/") for page in drafted), [page.words for page in drafted if not page.path.startswith("/sign/")]
    stranger = portal.stranger()
    stranger.sign_in("new@village.example")
    stranger.key = generate_key(portal.root / "fourth")
    drafted.append(stranger.post("/join/key", line=stranger.key.public.line))
    stranger.paste(drafted[-1])
    (request,) = portal.service.private.drafts.open(kind="coop.admission/v1")
    decline = f"/stewards/admissions/{request.id}/decline"
    drafted.append(person.post(decline, reason="not-known"))
    person.paste(drafted[-1])
    asking = portal.stranger()
    asking.sign_in("asking@village.example")
    asking.key = generate_key(portal.root / "fifth")
    asking.paste(asking.post("/join/key", line=asking.key.public.line))
    motion = Suspend(member=portal.members[3], until=shift(now(), 60 * 86_400))
    suspending = propose(portal, "suspension", subject_of(motion), motion=motion.model_dump(mode="json"))
    for template, code in (("signin", "550 5.1.1"), ("opened", "451 4.2.2"), ("reminder", "451"), ("declined", "554 5.7.1"), ("security", "unwritten")):
        portal.service.private.outbox.put(f"{template}:{halted}", f"{template}@village.example", "en", template, {})
        portal.service.private.outbox.failed(portal.service.private.outbox.due(500)[-1].number, code)
    portal.service.post.working = True
    enrol = urlsplit(person.post("/keys/passkey").url).path
    link = portal.service.private.sessions.make_link("new@village.example", "en", "/")
    found = {
        **{f"signing {number}": page.url.replace("&lang=en", "") for number, page in enumerate(drafted)},
        **{f"mine {number}": f"/receipts/{one}" for number, one in enumerate(mine)},
        **{f"entry {number}": f"/log/entries/{number}" for number in range(min(size, 40))},
        "signing site": f"{portal.service.settings.signing_origin}/",
        "enrolling": f"{portal.service.settings.signing_origin}{enrol}",
        "consultation": f"/proposals/{asked}",
        "suspension": f"/proposals/{suspending}",
        "bylaws of a number": "/bylaws/1",
        "decline": f"/log/entries/{portal.service.view.register.size - 2}",
        "open vote": f"/proposals/{halted}",
        "run": f"/proposals/{run}",
        "release vote": f"/proposals/{release}",
        "roll call": f"/proposals/{halted}/ballots",
        "dataset": made.portal.stranger().get("/datasets").links("/datasets/sha256:")[0],
        "language of data": "/languages/spa",
        "why a run": f"/proposals/{run}/why",
        "why a release": f"/proposals/{release}/why",
        "why none": f"/proposals/{halted}/why",
        "changes": f"/proposals/{run}/changes",
        "release": made.path,
        "link": f"/signin/{link}",
        "old link": "/signin/abc",
        "stop": f"/unsubscribe/{portal.service.tokens.dumps('a-0123456789abcdef')}",
        "no link": "/unsubscribe/abc",
        "give": "/consent/give?purpose=dpv:PublicBenefit",
        "improve": "/improve/none",
        "language": "/languages?q=swahili",
        "no network": "/offline/en",
        "entry of a digest": "/log/find?what=99999",
    }
    return found


def routes() -> Iterator[str]:
    """Every page there is, by its path."""
    for part in (*pages.MAIN, *pages.SIGNING):
        for route in part.router.routes:
            if isinstance(route, APIRoute) and "GET" in route.methods and not route.path.startswith("/api"):
                yield route.path


def shown(made: Library, walk: dict[str, str], language: str) -> Iterator[tuple[str, Page]]:
    """Yield every page, and what comes of doing something wrong."""
    portal = made.portal
    person, stranger = portal.founder(0), portal.stranger()
    for one in (person, stranger):
        one.client.cookies.set("lang", language, domain="village.example")
        one.client.headers["accept-language"] = language
    for path in [*(one for one in routes() if "{" not in one), *walk.values()]:
        path = f"/offline/{language}" if path.startswith("/offline/") else path  # a page that says in its address which language it has
        page = person.get(path)
        if page.answer.headers.get("content-type", "").startswith("text/html"):  # the others are for programs
            yield path, page
    for path in ("/", "/join", "/proposals", "/signin", "/nowhere", walk["open vote"], made.path, "/log"):
        yield f"a stranger at {path}", stranger.get(path)
    open_vote, run = walk["open vote"], walk["run"].removeprefix("/proposals/")
    for path, fields in (
        ("/consent/give", {"purpose": "dpv:Nothing", "licences": "MIT"}),
        ("/consent/give", {"purpose": "dpv:PublicBenefit", "licences": "Apache-2.0", "expires": "soon"}),
        ("/consent/give", {"purpose": "dpv:PublicBenefit", "licences": "Apache-2.0", "expires": "2001-01-01"}),
        ("/consent/give", {"purpose": "dpv:PublicBenefit", "licences": "Apache-2.0", "languages": "qqqq"}),
        ("/consent/withdraw", {"consent": "sha256:" + "0" * 64}),
        ("/contribute", {"id": "0123456789abcdef", "inputs": "", "targets": "", "language": "sw"}),
        ("/contribute", {"id": "0123456789abcdef", "inputs": "α\x07", "targets": "β", "language": "sw"}),
        ("/contribute", {"id": "0123456789abcdef", "inputs": "α\u202e", "targets": "β", "language": "sw"}),
        ("/contribute", {"id": "0123456789abcdef", "inputs": "α" * 60_000, "targets": "β", "language": "sw"}),
        ("/contribute", {"id": "0123456789abcdef", "inputs": "α", "targets": "β", "language": "swahilish"}),
        ("/contribute", {"id": "0123456789abcdef", "inputs": "α", "targets": "β", "language": "hi-Lotn"}),
        ("/contribute", {"id": "0123456789abcdef", "inputs": "α", "targets": "β", "language": "sw", "licence": "?"}),
        ("/contribute", {}),
        ("/keys/add", {"line": "nothing"}),
        ("/keys/add", {"line": "a\nb"}),
        ("/keys/add", {"line": portal.keys[portal.members[1]].public.line}),
        ("/keys/revoke", {"line": portal.keys[portal.members[0]].public.line}),
        ("/keys/guardians", {"guardians": portal.members[0]}),
        ("/keys/guardians", {"guardians": "m-0000000000000000"}),
        ("/keys/cancel", {}),
        ("/join/prove", {"line": portal.keys[portal.members[0]].public.line}),
        ("/mine/leave", {"sure": "no"}),
        ("/mine/erase", {"records": "none"}),
        ("/account/erase", {"mail": "other@village.example"}),
        ("/signin", {"mail": "no address"}),
        (f"{open_vote}/objection", {}),
        (f"{open_vote}/remarks", {"text": "", "stance": "for"}),
        (f"{open_vote}/remarks", {"text": "α", "stance": "loud"}),
        (f"{open_vote}/answer", {"option-0": "1"}),
        (f"{open_vote}/vote", {"choice": "for", "reason": "\u202e"}),
        (f"{walk['consultation']}/answer", {"option-0": "1", "option-1": "1"}),
        (f"{walk['consultation']}/answer", {"option-0": "α"}),
        (f"{walk['run']}/vote", {"choice": "for"}),
        ("/propose/file", {"subject": digest("nothing")}),
        ("/propose/question", {"question": "α", "options": "β", "method": "ranked"}),
        ("/propose/question", {"question": "α", "options": "β\nγ", "method": "ranked", "reasons": "# Γιατί", "act": "preview"}),
        *(
            ("/propose/question", {"question": "α", "options": "β\nγ", "method": "ranked", "reasons": why})
            for why in ("> " * 30 + "α", "α\n" * 1001 + "α", "[" * 999, "|" * 99, "|α" * 7 + "|\n" + "|-" * 7 + "|\n", "\u202e")
        ),
        ("/contribute", {"id": "0123456789abcdef", "inputs": "α", "targets": "β", "language": "sw", "owner": "a-0000000000000000"}),
        (f"{open_vote}/reasons/erase", {}),
        ("/statements", {"statement": "{", "signatures": ""}),
        ("/statements", {"statement": "{}", "signatures": ""}),
        (f"/stewards/admissions/{'0' * 32}/decline", {}),
        (f"/stewards/admissions/{portal.service.private.drafts.open(kind='coop.admission/v1')[-1].id}/decline", {"reason": "rude"}),
        ("/stewards/letters", {}),
        ("/review/none", {"score": "5"}),
        (walk["signing 0"], {"signature": "nothing"}),
        (walk["signing 0"], {"assertion": "{}"}),
        (walk["signing 6"], {"signature": portal.keys[portal.members[0]].sign(b"{}")}),
    ):
        yield f"POST {path} {str(fields)[:80]}", person.post(path, **fields)
    del run


def read(page: Page) -> Reader:
    reader = Reader()
    reader.feed(page.text)
    return reader


def unexplained(marked: list[str]) -> list[str]:
    return [one for one in marked if one and not any(re.match(reason, one) for reason in MARKED)]


def test_every_page_is_walked(walk: dict[str, str]) -> None:
    """A page somebody adds has to be shown here too."""
    paths = [urlsplit(one).path for one in walk.values()]
    patterns = {one: re.compile(re.sub(r"\{[^}]+\}", "[^/]+", one) + "$") for one in routes() if "{" in one}
    files = {one for one in patterns if re.search(r"\.(?:json|svg|txt|js)$|SHA256SUMS$|/files/|/\{name\}$", one)}
    assert {one for one, pattern in patterns.items() if not any(pattern.match(path) for path in paths)} <= files


def test_no_page_says_anything_that_is_not_in_the_catalogue(made: Library, walk: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    pseudo = Pseudo()
    monkeypatch.setattr(i18n, "catalogue", lambda _: pseudo)
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
    card.write_bytes(card.read_bytes() + b"\n")  # not the released one any more: the released picture is shown
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
