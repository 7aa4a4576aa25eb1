"""Villages so that every page has something to show: one in which everything has happened, one with data for everybody and a map of opinions, and one in which nothing has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from click.testing import CliRunner
from starlette.types import ASGIApp

from commonweights.cli import coop
from commonweights.commands.portal import open_service
from data_pipeline.record import Record
from governance_hooks.bylaws import ProposalKind, Rules
from governance_hooks.canonical import dumps, sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.fields import Strict
from governance_hooks.motions import Admit, AppealAgainst, ChangeOperator, Consult, HaltUse, Recall, Suspend, subject_of
from governance_hooks.sshsig import PrivateKey, generate_key
from governance_hooks.state import Run
from governance_hooks.statement import now, shift
from portal.app import make_app
from portal.limits import RATES, Limits
from portal.mail.reminders import remind
from portal.service import Service
from portal.settings import Settings
from tests.model_card.attested import STEWARDS
from tests.model_card.conftest import finish, sign_evaluation
from tests.portal.conftest import Portal, named
from tests.portal.people import MAIN, SIGNING, Device, Page, Person
from tests.portal.test_datasets import EVERYBODY, fill, texts
from tests.portal.test_giving import allow, payout_of, write
from tests.portal.test_opinions import ask, planted
from tests.portal.test_voting import say
from tests.ports import free_port
from tests.village import Village, found

PEOPLE = Settings(MAIN, SIGNING)
DAY = 86_400
VOICES = 12
"""Members whose opinions make a map: two groups of five or more."""
AT_ONCE = Rules(quorum_percent=50, approval_percent=60, minimum_for=2, minimum_period_s=0, challenge_s=0, expiry_s=30 * DAY)
CONTESTED = Rules(quorum_percent=30, approval_percent=50, minimum_for=2, minimum_period_s=0, challenge_s=3 * DAY, objections=4)
QUESTION = "Which language first?\nأي لغة نبدأ بها؟ كل صوت يُحسب، والجواب لا يُلزم أحدًا.\nLugha ipi kwanza?"
OPTIONS = ["Kiswahili, na lahaja zake zote", "العربية الفصحى", "हिन्दी", "Español de las montañas"]
DRAFTS = ["Budget: 120 hours.\nLanguages: Swahili.\n", "Budget: 90 hours.\nLanguages: Swahili, العربية.\nOpen to everybody.\n"]
REASONS = """\
# Why now
The rains come in **March**, and then *nobody* writes. See [the map](https://maps.example/coast) and `coop plan`.

## What it costs
| what | hours | who pays | when |
|---|--:|---|---|
| تدريب | 90 | the cooperative | before the rains |
| evaluation of all the languages together | 12 | a grant | after them |

1. Kiswahili, na lahaja zake zote
2. हिन्दी
   - गाँव की बोली
     - and what the elders sing

> قالت الجدة: من يكتب يبقى.
> And she is right.

### Neither heading nor <b>markup</b> of its own
    indented words

---
"""
TEXTS = (
    {"inputs": "كيف أزرع الطماطم على السطح؟", "targets": "اختر أصيصًا عميقًا، وضع فيه تربة خفيفة، واسقه كل صباح (حوالي 2 لتر).", "language": "ar"},
    {"inputs": "Ninawezaje kuhifadhi maji ya mvua?", "targets": "Tumia tangi safi lenye kifuniko.\n1. Safisha paa.\n2. Weka chujio.", "language": "sw"},
    {"inputs": "बारिश का पानी कैसे बचाएँ?", "targets": "छत से टंकी तक एक साफ़ नली लगाइए।", "language": "hi"},
)  # fmt: skip


class Patience(Limits):
    """Limits nobody reaches, but one who asks too often."""

    tired_of: str = ""

    def allows(self, what: str, who: str) -> bool:
        """Tell whether it is within its limit."""
        return who != self.tired_of and super().allows(what, who)


@dataclass
class Stage:
    """A running village: its people by name, in whose browsers pages are looked at, and the addresses of what they left behind."""

    portal: Portal
    local: ASGIApp
    """The same portal, as a browser on this machine reaches it."""
    settings: Settings
    services: list[Service]
    """Its portal's, and that of its browser."""
    people: dict[str, Person] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=lambda: {"language": "en"})

    def cookie(self, who: str) -> str | None:
        """The session of somebody; None for a stranger."""
        return self.people[who].client.cookies.get("__Host-coop") if who in self.people else None

    def stop_clock(self) -> None:
        """Let no time pass any more: links of minutes stay good, and a page says the same whenever it is asked for."""
        moment, private = now(), self.portal.service.private
        for one in self.services:
            one.clock = lambda: moment
        private.sessions._clock = private.drafts._clock = lambda: moment

    def keep(self, name: str, page: Page) -> Page:
        """Remember where a page is, on whichever site."""
        self.paths[name] = _path(page.url)
        return page


def _path(url: str) -> str:
    return re.sub(r"[?&]lang=en$", "", url.removeprefix(MAIN).replace(SIGNING, "sign:"))


@contextmanager
def opened(root: Path, settings: Settings, keys: dict[str, object], operator: object) -> Iterator[Stage]:
    """Open a village's portal twice, as one service: for people without a browser, and for a browser on this machine."""
    with open_service(root, PEOPLE) as service:
        service.limits = Patience({name: type(rate)(100_000, 1) for name, rate in RATES.items()})
        local = replace(service, settings=settings)
        yield Stage(Portal(root, service, make_app(service), keys, operator), make_app(local), settings, [service, local])  # type: ignore[arg-type]


@contextmanager
def empty(root: Path, settings: Settings) -> Iterator[Stage]:
    """Yield a village that has just been founded, with one member who has just joined."""
    keys, operator = found(root, passkey_origins=[named(PEOPLE), named(settings)])
    with opened(root, settings, keys, operator) as stage:
        stage.people["fresh"], _ = stage.portal.joined("fresh@example.org")
        stage.people["registrar"] = stage.portal.founder(0)
        yield stage


@contextmanager
def full(root: Path, settings: Settings) -> Iterator[Stage]:
    """Yield a village in which everything has happened."""
    kinds = {
        "run": AT_ONCE,
        "release": AT_ONCE,
        "bylaws": CONTESTED,
        "consultation": Rules(quorum_percent=0, approval_percent=0, minimum_for=1, minimum_period_s=0),
    }
    keys, operator = found(
        root,
        founders=6,
        passkey_origins=[named(PEOPLE), named(settings)],
        stewards=STEWARDS,
        stewards_required=2,
        kinds={name: rules.model_dump() for name, rules in kinds.items()},
    )
    paths = dict[str, str]()
    with Cooperative.open(root) as coop:
        _before(root, Village(root, coop, keys, operator), paths)
    with opened(root, settings, keys, operator) as stage:
        stage.paths |= paths
        _texts(stage)
        _joining(stage)
        _member(stage)
        _build(root)
        _votes(stage)
        _keys(stage)
        _stewards(stage)
        _mail(stage)
        yield stage


@contextmanager
def data(root: Path, settings: Settings) -> Iterator[Stage]:
    """Yield a village with a dataset that is described here, some of whose texts everybody may read, and with opinions enough for a map."""
    few = partial(texts, count=4)
    keys, operator, digest, _ = fill(root, [EVERYBODY] * VOICES, drafts=few, settings=(PEOPLE, settings))
    with opened(root, settings, keys, operator) as stage:
        stage.portal.service.maps.patience_s = 300
        stage.paths["dataset"] = f"/datasets/{digest}"
        stage.people["founder"] = stage.portal.founder(0)
        asked = ask(stage.portal, [f"Statement number {number}. العبارة" for number in range(8)], closes=shift(stage.portal.service.clock(), 5 * DAY))
        answers, _ = planted(VOICES, 8, 2)
        for member, said in zip(stage.portal.members, answers.values(), strict=True):
            say(stage.portal, "coop.opinions/v1", {"proposal": asked, "answers": said, "sequence": 1, "reason": None}, member, stage.portal.keys[member])
        stage.paths["map"] = f"/proposals/{asked}"
        yield stage


@contextmanager
def villages(folder: Path) -> Iterator[dict[str, Stage]]:
    """Yield the villages by name, each for a browser on a port of its own."""
    with ExitStack() as stack:
        made = {name: stack.enter_context(make(folder / name, _here())) for name, make in (("full", full), ("data", data), ("empty", empty))}
        for stage in made.values():
            stage.stop_clock()
        yield made


def _here() -> Settings:
    port = free_port()
    return Settings(f"http://127.0.0.1:{port}", f"http://localhost:{port}")


def _before(root: Path, village: Village, paths: dict[str, str]) -> None:
    """What happened on the command line: a run, releases, and votes."""
    done = finish(root, village.coop, village)
    sign_evaluation(done)
    (root / "releases").mkdir()
    releases = {name: done.assemble(root / "releases" / name, name=name) for name in ("village-lm-1", "village-lm-2", "village-lm-3", "village-lm-4")}
    for name in ("village-lm-1", "village-lm-3"):
        done.publish(releases[name])
    newer = village.propose("release", releases["village-lm-2"].digest, supersedes=[releases["village-lm-1"].digest]).id
    village.carry(newer)
    village.say("coop.release/v1", {"run": "run-1", "release": releases["village-lm-2"].digest, "proposal": newer}, "operator")
    withdrawn = {"release": releases["village-lm-3"].digest, "status": "withdrawn", "by": None, "reason": "safety"}
    village.say("coop.release-status/v1", withdrawn, STEWARDS[0], *(village.keys[one] for one in STEWARDS))
    asked = village.propose("release", releases["village-lm-4"].digest, closes=shift(village.clock, 3 * DAY)).id
    for name, number in (("current", 2), ("superseded", 1), ("withdrawn", 3), ("asked", 4)):
        paths[f"release {name}"] = f"/releases/{releases[f'village-lm-{number}'].digest}"
    gone = "sha256:" + "7" * 64
    away = village.approve("release", gone)
    village.say("coop.release/v1", {"run": "run-1", "release": gone, "proposal": away}, "operator")
    paths["release elsewhere"] = f"/releases/{gone}"
    (root / "releases" / "village-lm-1" / "README.md").write_bytes(b"changed on this server")
    paths["file changed"] = f"{paths['release superseded']}/files/README.md"
    (root / "plans").mkdir(exist_ok=True)
    for name in ("second-run", "third-run", "fourth-run", "fifth-run"):
        plan = json.loads((done.run_dir / "plan.json").read_bytes()) | {"name": name}
        (root / "plans" / f"{name}.json").write_bytes(dumps(plan))
    plans = {name: sha256((root / "plans" / f"{name}.json").read_bytes()) for name in ("second-run", "fourth-run", "fifth-run")}
    rejected = village.propose("run", plans["fourth-run"]).id
    village.carry(rejected, choice="against")
    halted = village.approve("run", plans["fifth-run"])
    village.say("coop.halt/v1", {"proposal": halted, "until": shift(village.clock, 2 * DAY)}, village.members[3])
    running = village.propose("run", plans["second-run"], closes=shift(village.clock, 2 * DAY)).id
    village.ballot(village.members[1], running)
    village.ballot(village.members[2], running, "abstain")
    amendment = village.move(village.amendment(registrars_required=3), closes=shift(village.clock, DAY)).id
    contested = village.move(village.amendment(oversight_required=2))
    village.carry(contested.id)
    village.say("coop.objection/v1", {"proposal": contested.id, "reason": None}, village.members[4])
    decided = _motions(village, halted, releases["village-lm-3"].digest) | {
        "rejected": rejected,
        "halted": halted,
        "running": running,
        "bylaws": amendment,
        "contested": contested.id,
        "release vote": asked,
        "passed": done.proposal,
    }
    for method in ("approval", "ranked"):
        motion = Consult(question=sha256(QUESTION.encode()), options=[sha256(one.encode()) for one in OPTIONS], method=method)
        decided[method] = village.propose(
            "consultation", subject_of(motion), motion=motion.model_dump(mode="json"), closes=shift(village.clock, 5 * DAY), by=village.members[1]
        ).id
        answer = {"proposal": decided[method], "options": [0, 2], "sequence": 1, "reason": None}
        village.say("coop.preference/v1", answer, village.members[0])
    motion = Consult(question=sha256(QUESTION.encode()), options=[sha256(one.encode()) for one in OPTIONS], method="opinions")
    decided["opinions"] = village.propose(
        "consultation", subject_of(motion), motion=motion.model_dump(mode="json"), closes=shift(village.clock, 5 * DAY), by=village.members[1]
    ).id
    answers = {"proposal": decided["opinions"], "answers": ["agree", "pass", "disagree", "agree"], "sequence": 1, "reason": None}
    village.say("coop.opinions/v1", answers, village.members[0])
    motion = Consult(question=sha256(QUESTION.encode()), options=[sha256(one.encode()) for one in OPTIONS], method="ranked")
    decided["answered"] = village.propose("consultation", subject_of(motion), motion=motion.model_dump(mode="json"), by=village.members[2]).id
    for member, options in zip(village.members, ([0, 1], [1, 0, 2], [0, 3], [0]), strict=False):
        village.say("coop.preference/v1", {"proposal": decided["answered"], "options": options, "sequence": 1, "reason": None}, member)
    previous: str | None = None
    for text, why in zip(DRAFTS, (REASONS.replace("March", "April"), REASONS), strict=True):
        payload = {"kind": "run", "subject": sha256(text.encode()), "previous": previous, "reasons": _reasons(root, why)}
        previous = village.say("coop.draft/v1", payload, village.members[0]).id
    why = _reasons(root, REASONS + "\n- العربية أيضًا\n")
    closes = shift(village.clock, DAY)
    decided["drafted"] = village.propose("run", sha256(DRAFTS[-1].encode()), draft=previous, closes=closes, by=village.members[0], reasons=why).id
    paths["propose file"] = f"/propose/file?subject={sha256((root / 'plans/third-run.json').read_bytes())}"
    paths |= {name: f"/proposals/{one}" for name, one in decided.items()}
    paths["dataset"] = f"/datasets/{json.loads((done.run_dir / 'plan.json').read_bytes())['build']['manifest']}"


def _motions(village: Village, halted: str, withdrawn: str) -> dict[str, str]:
    """A vote on each motion that this village can decide, by kind."""
    register, (operator, newcomer) = village.coop.register, (generate_key(village.root / name) for name in ("next-operator", "newcomer"))
    halt, mark = next(iter(register.halts)), next(one.id for one in register.marks.values() if one.release == withdrawn)
    until = shift(village.clock, 60 * DAY)
    asked: list[tuple[Strict, int, PrivateKey | None]] = [
        (Suspend(member=village.members[5], until=until), 3, None),
        (HaltUse(proposal=halted, until=until, ratifies=halt), 3, None),
        (Recall(release=withdrawn, reason="safety", ratifies=mark), 4, None),
        (AppealAgainst(against=halt), 4, None),
        (Admit(member="m-" + "d" * 16, key=newcomer.public.line), 5, newcomer),
        (ChangeOperator(operator=operator.public.line), 5, operator),
    ]
    made = dict[str, str]()
    for motion, by, key in asked:
        member = village.members[by]
        signers = (village.keys[member], key) if key else ()
        kind: ProposalKind = motion.kind  # type: ignore[attr-defined]
        closes = shift(village.clock, max(7 * DAY, register.bylaws.rules(kind).minimum_period_s))
        made[f"motion {kind}"] = village.move(motion, *signers, by=member, closes=closes).id
    return made


def _reasons(root: Path, text: str) -> str:
    """Keep reasons as the command line does, and return their digest."""
    data = dumps({"salt": "0" * 32, "text": text})
    (root / "private/reasons").mkdir(parents=True, exist_ok=True)
    (root / "private/reasons" / f"{sha256(data)[7:]}.json").write_bytes(data)
    return sha256(data)


def _texts(stage: Stage) -> None:
    """The public texts that votes name, and the result of a consultation."""
    portal = stage.portal
    for text in (QUESTION, *OPTIONS, *DRAFTS):
        portal.service.house.keep_text(text.encode())
    with portal.service.view.reading() as register:
        kind, payload = portal.service.house.close_payload(register.proposals[stage.paths["answered"].rpartition("/")[2]])
    say(portal, kind, payload, "operator", portal.operator)


def _joining(stage: Stage) -> None:
    """People who are members, and people who are not yet, each at another step."""
    portal = stage.portal
    for name in ("member", "fresh", "left", "lost"):
        stage.people[name], _ = portal.joined(f"{name}@example.org")
    for number, name in enumerate(("registrar", "reviewer", "founder", "oversight", "steward")):
        stage.people[name] = portal.founder(number)
    portal.service.limits.tired_of = _who(stage, "fresh")  # type: ignore[attr-defined]
    left = stage.people["left"]
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


def _member(stage: Stage) -> None:
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


def _build(root: Path) -> None:
    """A real dataset in the place of the small stand-in the run was made from."""
    (root / "builds/one").rename(root / "stood-in")
    done = CliRunner().invoke(coop, ["-C", str(root), "build", "make", "spring", "--jobs", "1", "--without", "near_duplicates"], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def _votes(stage: Stage) -> None:
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


def _keys(stage: Stage) -> None:
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


def _stewards(stage: Stage) -> None:
    oversight = stage.people["oversight"]
    with stage.portal.service.view.reading() as register:
        passed = next(one.id for one in register.proposals.values() if stage.paths["passed"].endswith(one.id))
    stage.keep("sign halt", oversight.post("/stewards/halts", proposal=passed, hours="24"))
    token = stage.portal.service.tokens.dumps(stage.portal.service.private.accounts.find(mail="fresh@example.org").account)  # type: ignore[union-attr]
    stage.paths["unsubscribe"] = f"/unsubscribe/{token}"


def _mail(stage: Stage) -> None:
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
