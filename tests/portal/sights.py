"""Every page of the portal in every state a person can see: a line each. To add a page, add its line; each test and the gallery then look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from governance_hooks.canonical import loads
from tests.portal.stage import OPTIONS, QUESTION, REASONS, Stage

__all__ = ["Sight", "sights_of"]

NOBODY = "sha256:" + "0" * 64


@dataclass(frozen=True, slots=True)
class Sight:
    """A page as one person sees it."""

    name: str
    who: str
    """A name of the stage's people; `stranger` is signed in nowhere."""
    path: str
    """A path of the members' site, of the signing site after `sign:`, or a name among the stage's paths in braces."""
    fields: dict[str, str] | None = None
    """What a form sends; None for a page that is only opened."""
    status: int = 200
    often: bool = True
    """Whether the tests of every day look at it, or only the long walk."""
    village: str = field(default="full")
    first: str | None = None
    """A page they open before, which leaves something on their device."""

    def address(self, stage: Stage, language: str) -> str:
        """Where a browser on this machine finds it, in a language."""
        path = self.path.format_map({**stage.paths, "language": language})
        site, path = (stage.settings.signing_origin, path.removeprefix("sign:")) if path.startswith("sign:") else (stage.settings.origin, path)
        return f"{site}{path}{'&' if '?' in path else '?'}lang={language}"


FULL = [
    # everybody
    Sight("home", "stranger", "/"),
    Sight("proposals", "stranger", "/proposals"),
    Sight("proposal", "stranger", "{running}"),
    Sight("releases", "stranger", "/releases"),
    Sight("release in force", "stranger", "{release current}"),
    Sight("release superseded", "stranger", "{release superseded}"),
    Sight("release withdrawn", "stranger", "{release withdrawn}"),
    Sight("release of another server", "stranger", "{release elsewhere}"),
    Sight("datasets", "stranger", "/datasets"),
    Sight("dataset", "stranger", "{dataset}"),
    Sight("language nobody voted for", "stranger", "/languages/xho", status=404),
    Sight("for programs", "stranger", "/api"),
    Sight("bylaws in force", "stranger", "/bylaws"),
    Sight("bylaws of before", "stranger", "/bylaws/1", often=False),
    Sight("bylaws in force, member", "registrar", "/bylaws", often=False),
    Sight("log", "stranger", "/log"),
    Sight("log, older", "stranger", "/log?before=50", often=False),
    Sight("receipt", "stranger", "{receipt}"),
    Sight("sign in", "stranger", "/signin"),
    Sight("sign in, sent", "stranger", "/signin", {"mail": "somebody@example.org"}),
    Sight("sign in, confirm", "stranger", "{signin link}"),
    Sight("sign in, signed out", "signed out", "/mine"),
    Sight("home, signed out", "signed out", "/"),
    Sight("join", "stranger", "/join"),
    Sight("hand in", "stranger", "/statements"),
    Sight("unsubscribe", "stranger", "{unsubscribe}"),
    Sight("unsubscribed", "stranger", "{unsubscribe}", {}),
    Sight("what changed", "stranger", "{drafted}/changes"),
    Sight("no network", "stranger", "/offline/{language}"),
    # on the way in
    Sight("home, newcomer", "newcomer", "/"),
    Sight("join, newcomer", "newcomer", "/join"),
    Sight("join, asked", "asked", "/join"),
    Sight("join, to sign", "unsigned", "/join"),
    Sight("join, declined", "declined", "/join"),
    Sight("home, declined", "declined", "/", often=False),
    Sight("recover, no member", "newcomer", "/recover", often=False),
    Sight("home, left", "left", "/", often=False),
    Sight("join, left", "left", "/join", often=False),
    Sight("mine, left", "left", "/mine"),
    Sight("account, left", "left", "/account", often=False),
    Sight("contribute, left", "left", "/contribute", status=409, often=False),
    Sight("join, member", "member", "/join", often=False),
    # a member
    Sight("home, member", "member", "/"),
    Sight("home, new member", "fresh", "/"),
    Sight("proposals, member", "founder", "/proposals", often=False),
    Sight("vote", "reviewer", "{running}"),
    Sight("roll call", "stranger", "{running}/ballots"),
    Sight("voted", "founder", "{running}"),
    Sight("not on the roll", "member", "{running}"),
    Sight("passed", "founder", "{passed}", often=False),
    Sight("rejected", "founder", "{rejected}"),
    Sight("halted", "founder", "{halted}", often=False),
    Sight("bylaws", "founder", "{bylaws}"),
    *(
        Sight(f"motion: {kind}", "reviewer", f"{{motion {kind}}}", often=kind == "suspension")
        for kind in ("suspension", "halt", "recall", "appeal", "admission", "operator")
    ),
    Sight("open to objections", "reviewer", "{contested}"),
    Sight("options to tick", "reviewer", "{approval}"),
    Sight("options to rank", "reviewer", "{ranked}"),
    Sight("statements to answer", "reviewer", "{opinions}"),
    Sight("statements, from outside", "stranger", "{opinions}", often=False),
    Sight("consultation closed", "founder", "{answered}", often=False),
    Sight("vote on a release", "reviewer", "{release vote}", often=False),
    Sight("release asked for", "founder", "{release asked}"),
    Sight("why blocked", "founder", "{running}/why"),
    Sight("why, nothing here", "founder", "{drafted}/why", often=False),
    Sight("propose", "founder", "/propose"),
    Sight("propose a run", "founder", "{propose file}"),
    Sight(
        "propose, previewed",
        "founder",
        "/propose/question",
        {"question": QUESTION, "options": "\n".join(OPTIONS), "method": "ranked", "reasons": REASONS, "act": "preview"},
    ),
    Sight(
        "propose, refused",
        "founder",
        "/propose/question",
        {"question": "?", "options": "a\nb", "method": "approval", "reasons": "> " * 30 + "a"},
        422,
        often=False,
    ),
    Sight("vote with reasons", "reviewer", "{drafted}"),
    Sight("vote with reasons of one's own", "registrar", "{drafted}", often=False),
    Sight("contribute", "member", "/contribute"),
    Sight("no network, member", "member", "/offline/{language}", often=False, first="/mine"),
    Sight("contribute, an edit waits", "reviewer", "/contribute"),
    Sight("given", "fresh", "/contribute/given", often=False),
    Sight("languages", "member", "/languages?q=swahili", often=False),
    Sight("review", "founder", "/review"),
    Sight("review, ratings wait", "reviewer", "/review", often=False),
    Sight("improve", "founder", "{improve}"),
    Sight("consent", "member", "/consent"),
    Sight("consent, nothing allowed", "fresh", "/consent", often=False),
    Sight("consent, give", "member", "/consent/give?purpose=dpv:CommercialPurpose"),
    Sight("consent, preview", "member", "/consent/preview"),
    Sight("consent, preview of one", "member", "{preview of one}"),
    Sight("mine", "member", "/mine"),
    Sight("where", "member", "/mine/where"),
    Sight("stake", "member", "/mine/stake"),
    Sight("keys", "member", "/keys"),
    Sight("keys, recovery pending", "lost", "/keys"),
    Sight("recover", "lost", "/recover"),
    Sight("account", "member", "/account"),
    # offices
    Sight("home, registrar", "registrar", "/"),
    Sight("requests", "registrar", "/stewards/admissions"),
    Sight("flagged", "registrar", "/stewards/flags"),
    Sight("flagged, no office", "member", "/stewards/flags", status=409, often=False),
    Sight("letters", "registrar", "/stewards/letters"),
    Sight("letters, tried again", "registrar", "/stewards/letters", {}, often=False),
    Sight("letters, no office", "member", "/stewards/letters", status=409, often=False),
    Sight("halts", "founder", "/stewards/halts", often=False),
    Sight("halts, oversight", "oversight", "/stewards/halts"),
    # the signing site
    Sight("signing site", "stranger", "sign:/"),
    Sight("enrol", "stranger", "{enrol}"),
    Sight("sign a request to join", "stranger", "{sign half}"),
    Sight("sign with a key in a file", "stranger", "{sign with a file}"),
    Sight("sign a ballot", "stranger", "{sign again}"),
    Sight("signed", "stranger", "{sign ballot}"),
    Sight("sign a consent", "stranger", "{sign consent}"),
    Sight("sign a withdrawal", "stranger", "{sign withdrawal}"),
    *(
        Sight(f"sign: {kind}", "stranger", f"{{sign {kind}}}", often=False)
        for kind in (
            "answer",
            "objection",
            "question",
            "proposal",
            "proof",
            "key",
            "revoke",
            "guardians",
            "recovery",
            "cancel",
            "halt",
            "review",
            "erasure",
            "leave",
            "decline",
            "contribution",
            "withdrawal of one",
        )
    ),
    Sight("sign, refused", "stranger", "{sign again}", {"signature": "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----"}, 409),
    # what goes wrong
    Sight("no such page", "stranger", "/nowhere", status=404),
    Sight("no such page, signing", "stranger", "sign:/nowhere", status=404, often=False),
    Sight("form refused", "member", "/contribute", {"id": "0" * 32, "inputs": "Why?", "targets": "", "language": "klingonish"}, 422),
    Sight("not allowed", "member", "{running}/vote", {"choice": "for"}, 409),
    Sight("for members", "newcomer", "/consent", status=409),
    Sight("too often", "fresh", "/mine/where", status=429),
    Sight("no such entry", "stranger", "/log/find?what=12z", status=422, often=False),
    Sight("broken request", "stranger", "/log?before=0", status=422),
    Sight("used up link", "stranger", "/signin/" + "x" * 43, status=409, often=False),
    Sight("no such statement", "stranger", "sign:/sign/" + "0" * 32, status=409, often=False),
    Sight("file changed on the server", "stranger", "{file changed}", status=503),
    Sight("hand in, refused", "member", "/statements", {"statement": "{}", "signatures": "x"}, 422, often=False),
]

DATA = [
    Sight("datasets, described", "stranger", "/datasets", village="data"),
    Sight("dataset, described", "stranger", "{dataset}", village="data"),
    Sight("language", "stranger", "/languages/swa", village="data"),
    Sight("language of few", "stranger", "/languages/spa", village="data", often=False),
    Sight("language, member", "founder", "/languages/swa", village="data", often=False),
    Sight("opinion map", "stranger", "{map}", village="data", often=False),
    Sight("opinion map, member", "founder", "{map}", village="data", often=False),
]

EMPTY = [
    Sight("nothing yet: home", "fresh", "/", village="empty"),
    Sight("nothing yet: proposals", "stranger", "/proposals", village="empty"),
    Sight("nothing yet: releases", "stranger", "/releases", village="empty"),
    Sight("nothing yet: mine", "fresh", "/mine", village="empty"),
    Sight("nothing yet: review", "fresh", "/review", village="empty", often=False),
    Sight("nothing yet: where", "fresh", "/mine/where", village="empty", often=False),
    Sight("nothing yet: stake", "fresh", "/mine/stake", village="empty", often=False),
    Sight("nothing yet: bylaws", "stranger", "/bylaws", village="empty", often=False),
    Sight("nothing yet: propose", "fresh", "/propose", village="empty", often=False),
    Sight("nothing yet: requests", "registrar", "/stewards/admissions", village="empty", often=False),
    Sight("nothing yet: flagged", "registrar", "/stewards/flags", village="empty", often=False),
    Sight("nothing yet: letters", "registrar", "/stewards/letters", village="empty", often=False),
    Sight("nothing yet: halts", "registrar", "/stewards/halts", village="empty", often=False),
    Sight("nothing yet: contribute", "fresh", "/contribute", village="empty", often=False),
    Sight("nothing yet: preview", "fresh", "/consent/preview", village="empty", often=False),
]


def sights_of(stages: dict[str, Stage]) -> Iterator[tuple[Sight, Stage]]:
    """Yield every sight with its village, and an entry of the log of each kind."""
    for one in (*FULL, *DATA, *EMPTY):
        yield one, stages[one.village]
    stage, seen = stages["full"], set[str]()
    for position, data in enumerate(stage.portal.service.view.log.entries(0, stage.portal.service.view.register.size)):
        kind = loads(data)["body"]["type"]
        if kind not in seen:
            seen.add(kind)
            yield (
                Sight(f"entry: {kind.removesuffix('/v1')}", "stranger", f"/log/entries/{position}", often=kind in ("coop.founding/v1", "coop.ballot/v1")),
                stage,
            )
