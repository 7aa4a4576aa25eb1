"""A walk over the portal: a while lived on it, every page there is, and what comes of doing something wrong."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from fastapi.routing import APIRoute

from governance_hooks.canonical import digest, sha256
from governance_hooks.motions import AmendBylaws, Consult, Suspend, subject_of
from governance_hooks.sshsig import generate_key
from governance_hooks.statement import now, shift
from portal import pages
from tests.portal.people import Page
from tests.portal.test_giving import allow, write
from tests.portal.test_public import Library
from tests.portal.test_voting import propose


def lived(made: Library) -> dict[str, str]:
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
