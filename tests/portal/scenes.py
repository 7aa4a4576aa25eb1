"""What people do on a village's pages: they join, give, vote, change keys, hold an office and get letters."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from commonweights.cli import coop
from data_pipeline.record import Record
from governance_hooks.canonical import dumps, sha256
from governance_hooks.sshsig import generate_key
from governance_hooks.state.runs import Run
from governance_hooks.statement import shift
from portal.mail.reminders import remind
from tests.portal.people import MAIN, Device
from tests.portal.stage import DRAFTS, OPTIONS, QUESTION, REASONS, TEXTS, Stage
from tests.portal.test_giving import allow, payout_of, write
from tests.portal.test_voting import say


def publish_texts(stage: Stage) -> None:
    """The public texts that votes name, and the result of a consultation."""
    portal = stage.portal
    for text in (QUESTION, *OPTIONS, *DRAFTS):
        portal.service.house.keep_text(text.encode())
    with portal.service.view.reading() as register:
        kind, payload = portal.service.house.close_payload(register.proposals[stage.paths["answered"].rpartition("/")[2]])
    say(portal, kind, payload, "operator", portal.operator)


def join(stage: Stage) -> None:
    """People who are members, and people who are not yet, each at another step."""
    portal = stage.portal
    for name in ("member", "fresh", "left", "lost"):
        stage.people[name], _ = portal.joined(f"{name}@example.org")
    for number, name in enumerate(("registrar", "reviewer", "founder", "oversight", "steward")):
        stage.people[name] = portal.founder(number)
    portal.service.limits.tired_of = _who(stage, "fresh")  # type: ignore[attr-defined]
    left = stage.people["left"]
    for number in (7, 8):
        write(left, number)
    left.sign(left.post("/contribute/give"))
    left.sign(left.post("/mine/erase", records=portal.service.house.contributions().records(member=_who(stage, "left"))[0].record))
    left.sign(left.post("/mine/leave", sure=left.service.private.accounts.find(mail="left@example.org").member))  # type: ignore[union-attr]
    signed_out = stage.people["signed out"] = portal.stranger()
    signed_out.begin("member@example.org")
    signed_out.service.private.sessions.end(signed_out.client.cookies["__Host-coop"])
    newcomer = stage.people["newcomer"] = portal.stranger()
    newcomer.sign_in("newcomer@example.org")
    asked = stage.people["asked"] = portal.stranger()
    asked.sign_in("asked@example.org")
    stage.keep("sign half", asked.touch(stage.keep("sign admission", asked.make_passkey(asked.post("/join/passkey")))))
    declined = stage.people["declined"] = portal.stranger()
    declined.sign_in("declined@example.org")
    declined.touch(declined.make_passkey(declined.post("/join/passkey")))
    request = portal.service.private.drafts.open(kind="coop.admission/v1")[-1]
    registrar = stage.people["registrar"]
    registrar.paste(stage.keep("sign decline", registrar.post(f"/stewards/admissions/{request.id}/decline", reason="not-known")))
    unsigned = stage.people["unsigned"] = portal.stranger()
    unsigned.sign_in("unsigned@example.org")
    unsigned.key = generate_key(portal.root / "unsigned")
    stage.keep("sign with a file", unsigned.post("/join/key", line=unsigned.key.public.line))
    stage.keep("enrol", newcomer.post("/join/passkey"))
    stranger = portal.stranger()
    stranger.post("/signin", mail="stranger@example.org")
    stage.paths["signin link"] = stranger.mails("stranger@example.org", "signin")[-1]["url"].removeprefix(MAIN).partition("?")[0]


def give(stage: Stage) -> None:
    """A member who has done everything once: texts, ratings, consents."""
    member, reviewer = stage.people["member"], stage.people["reviewer"]
    for number, text in enumerate(TEXTS):
        write(member, number, **text)
    stage.keep("sign consent", member.post("/consent/give", purpose="dpv:NonCommercialResearch", licences="Apache-2.0", public="true", languages="swa"))
    member.sign(stage.keep("sign contribution", member.post("/contribute/give")))
    allow(member)
    allow(member, "dpv:PublicBenefit", once="true")
    allow(member, "dpv:CommercialResearch", expires="2099-12-31")
    member.sign(member.post("/consent/withdraw", consent=_grant(stage, "dpv:CommercialResearch")))
    stage.keep("sign withdrawal", member.post("/consent/withdraw", consent="all"))
    stage.keep("sign withdrawal of one", member.post("/consent/withdraw", consent=_grant(stage, "dpv:PublicBenefit")))
    stage.paths["preview of one"] = f"/consent/preview?consent={_grant(stage, 'dpv:NonCommercialResearch')}"
    for number, text in enumerate(TEXTS):
        write(reviewer, 10 + number, **text | {"inputs": text["inputs"] + " (2)"})
    reviewer.sign(reviewer.post("/contribute/give"))
    allow(reviewer)
    page = reviewer.get("/review")
    improved = page.links("/improve/")[0].rpartition("/")[2]
    stage.paths["improve"] = f"/improve/{improved}"
    reviewer.post(f"/review/{improved}", score="4", flags=["spam"])
    stage.keep("sign review", reviewer.post("/review"))
    founder = stage.people["founder"]
    founder.post(f"/review/{improved}", score="2", flags=["harmful", "spam"])
    founder.paste(founder.post("/review"))
    one = _record(stage, improved)
    edit = {"inputs": one.inputs, "targets": one.targets.split(" ", 1)[1] + " ✓", "language": one.tag or one.language, "parent": improved}
    write(reviewer, 20, **edit)
    mine = next(one.record for one in stage.portal.service.house.contributions().records() if one.member == _who(stage, "member"))
    stage.keep("sign erasure", member.post("/mine/erase", records=mine))
    stage.keep("sign leave", member.post("/mine/leave", sure=_who(stage, "member")))
    for number, text in enumerate(TEXTS[:2]):
        write(member, 30 + number, **text)
    shares = {
        "players": {"swa": {"members": 1, "records": 1}, "spa.edit": {"members": 3, "records": 9}},
        "shares": {
            "swa": {"share_ppm": 250_000, "low_ppm": 100_000, "high_ppm": 400_000, "value_micro": 1},
            "spa.edit": {"share_ppm": 750_000, "low_ppm": 600_000, "high_ppm": 900_000, "value_micro": 3},
        },
        "utility": "languages",
    }
    (stage.portal.root / "runs/run-1/stake").mkdir(parents=True)
    (stage.portal.root / "runs/run-1/stake/shares.json").write_bytes(dumps(shares))
    (stage.portal.root / "payouts/spring").mkdir(parents=True)
    (stage.portal.root / "payouts/spring/payout.json").write_bytes(payout_of(stage.portal, {_who(stage, "member"): 123_400}).dumps())
    stage.portal.service.view.register.runs["run-2"] = Run("run-2", "sha256:" + "0" * 64, "sha256:" + "1" * 64)


def make_build(root: Path) -> None:
    """A real dataset in the place of the small stand-in the run was made from."""
    (root / "builds/one").rename(root / "stood-in")
    done = CliRunner().invoke(coop, ["-C", str(root), "build", "make", "spring", "--jobs", "1", "--without", "near_duplicates"], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def vote(stage: Stage) -> None:
    """Ballots, answers, objections, remarks and proposals made on pages."""
    founder, reviewer = stage.people["founder"], stage.people["reviewer"]
    running = stage.paths["running"]
    reason = "ليس الآن: النصوص قليلة. Too soon, in my view; let us wait for more texts from the coast."
    ballot = stage.keep("sign ballot", founder.post(f"{running}/vote", choice="against", reason=reason))
    receipt = founder.paste(ballot)
    stage.keep("receipt", receipt)
    stage.keep("sign again", founder.post(f"{running}/vote", choice="for"))
    stage.keep("sign answer", founder.post(f"{stage.paths['ranked']}/answer", **{"option-0": "2", "option-2": "1"}))
    founder.paste(founder.post(f"{stage.paths['approval']}/answer", **{"option-1": "1"}))
    stage.keep("sign objection", reviewer.post(f"{stage.paths['contested']}/objection", reason="I see it now."))
    reviewer.post(f"{running}/remarks", text="Which machine will it run on?\nAnd who pays?", stance="question")
    founder.post(f"{running}/remarks", text="لا أوافق حتى نعرف الكلفة.", stance="against")
    stage.keep("sign question", reviewer.post("/propose/question", question="Which first?", options="Kiswahili\r\nالعربية\r\n", method="ranked"))
    third = sha256((stage.portal.root / "plans/third-run.json").read_bytes())
    stage.keep("sign proposal", reviewer.post("/propose/file", subject=third, reasons=REASONS))
    prover = stage.portal.stranger()
    prover.sign_in("prover@example.org")
    stage.keep("sign proof", prover.post("/join/prove", line=stage.portal.keys[stage.portal.members[5]].public.line))


def change_keys(stage: Stage) -> None:
    """Two keys, guardians, a change that waits, and a recovery that is pending."""
    member, lost, portal = stage.people["member"], stage.people["lost"], stage.portal
    first = member.device
    page = member.make_passkey(member.post("/keys/passkey"))
    member.touch(member.touch(page), first)
    stage.keep("sign key", member.make_passkey(member.post("/keys/passkey"), Device()))
    member.device = first
    stage.keep("sign revoke", member.post("/keys/revoke", line=first.public.line))  # type: ignore[union-attr]
    stage.keep("sign guardians", member.post("/keys/guardians", guardians=" ".join(portal.members[3:5])))
    lost.touch(lost.post("/keys/guardians", guardians=" ".join(portal.members[3:5])))
    old = lost.device
    stage.keep("sign recovery", lost.touch(lost.make_passkey(lost.post("/recover/passkey"))))
    for number in (3, 4):
        guardian = portal.founder(number)
        here = [
            one
            for one in guardian.get("/stewards/admissions").links(f"as={portal.members[number]}")
            if stage.paths["sign recovery"].partition("?")[0][-32:] in one
        ]
        guardian.paste(guardian.get(here[0]))
    lost.device = old
    stage.keep("sign cancel", lost.post("/keys/cancel"))


def act_as_stewards(stage: Stage) -> None:
    oversight = stage.people["oversight"]
    with stage.portal.service.view.reading() as register:
        passed = next(one.id for one in register.proposals.values() if stage.paths["passed"].endswith(one.id))
    stage.keep("sign halt", oversight.post("/stewards/halts", proposal=passed, hours="24"))
    token = stage.portal.service.tokens.dumps(stage.portal.service.private.accounts.find(mail="fresh@example.org").account)  # type: ignore[union-attr]
    stage.paths["unsubscribe"] = f"/unsubscribe/{token}"


def send_mail(stage: Stage) -> None:
    """Letters of every fate: sent, put off, refused, given up, and some that wait for a server which is away."""
    outbox, post = stage.portal.service.private.outbox, stage.portal.service.post
    remind(stage.portal.service)
    event = f"opened:{stage.paths['motion suspension'].rpartition('/')[2]}"
    for number in range(7):
        outbox.put(event, f"other{number}@example.org", "en", "opened", {"url": MAIN, "title": "x", "closes": "x", "proposal": "x"})
    calls = [one for one in outbox.due(500) if one.template in ("opened", "security", "signed") and one.mail != "member@example.org"]
    for one in [one for one in calls if one.event == event][:6]:
        outbox.sent(one.number)
    for one, code in zip([one for one in calls if one.event != event], ("550 5.1.1", "451 4.2.2", "451 4.2.2", "554 5.7.1", "421"), strict=False):
        outbox.failed(one.number, code, for_good=code.startswith("5"))
    post.working, post.server, post.trouble, post.next_try = True, "mail.example:587", "ConnectionRefusedError", shift(stage.portal.service.clock(), 240)


def _who(stage: Stage, name: str) -> str:
    account = stage.portal.service.private.accounts.find(mail=f"{name}@example.org")
    assert account is not None
    assert account.member is not None
    return account.member


def _grant(stage: Stage, purpose: str) -> str:
    with stage.portal.service.view.reading() as register:
        return next(one.id for one in register.grants[_who(stage, "member")] if one.consent.purposes == [purpose])


def _record(stage: Stage, record: str) -> Record:
    return stage.portal.service.house.contributions().record(record)
