"""The scenes of the demo up to the release; each looks at what is there and does only what is missing.

So a demo that was killed anywhere goes on when it is started again in the same folder.
"""

from __future__ import annotations

import time
from pathlib import Path

from commonweights import drafts
from commonweights.building import make_build
from commonweights.card_statements import standing_statements
from commonweights.commands.contribute import seal_batches
from commonweights.commands.plan import example
from commonweights.founding import default_bylaws, found, founding_body, new_member_id, operator_keys
from commonweights.notice import NOTICE, NOTICE_LANGUAGE
from commonweights.people import People
from commonweights.progress import Progress
from commonweights.story.cast import CAST, SAID, Person
from commonweights.texts import keep_text
from commonweights.voting import close_statement, describe, keep_reason, proposal_payload, subject_of
from commonweights.workspace import Workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.bylaws import ProposalKind
from governance_hooks.canonical import sha256
from governance_hooks.consent import Use
from governance_hooks.cooperative import Paths
from governance_hooks.sshsig import PrivateKey, generate_key, load_private_key
from governance_hooks.state.proposals import Proposal
from governance_hooks.statement import now, sign
from governance_hooks.vocabulary import PROCESSING

__all__ = ["PERIOD_S", "USE", "Players", "consent", "contribute", "decide", "found_cooperative", "join", "make_build", "plan", "speak"]

PERIOD_S = 4
"""Voting period of the demo's bylaws, seconds; a real cooperative takes days."""

USE = Use(
    purpose="dpv:NonCommercialResearch",
    processing=["ai:ModelFineTuning", "coop:ModelEvaluation"],
    recipients=["coop:PublicViaReleasedWeights"],
    licence="Apache-2.0",
)


class Players:
    """The members' own keys. In real life each lies on its owner's machine; the demo keeps them in `members/`."""

    def __init__(self, root: Path) -> None:
        self.keys: dict[str, PrivateKey] = {}
        for person in CAST:
            path = root / "members" / person.name.lower() / "id_ed25519"
            self.keys[person.name] = load_private_key(path) if path.is_file() else generate_key(path, comment=person.name)

    def member(self, space: Workspace, person: Person) -> str:
        """Return a person's member id."""
        return space.coop.register.known_keys[self.keys[person.name].public.raw]


def found_cooperative(root: Path, name: str, players: Players) -> str | None:
    """Found the cooperative; return its identity, or None if it stands already."""
    if Paths(root).identity.is_file():
        return None
    log_key, operator = operator_keys(root, name)
    draft = root / "founding.json"
    if not draft.is_file():
        founders = {new_member_id(): players.keys[p.name].public for p in CAST if p.founder}
        drafts.write_draft(draft, founding_body(name, log_key, operator, founders, default_bylaws(list(founders), period_s=PERIOD_S)))
    made = drafts.read_body(draft)
    return found(root, made, log_key, operator, [sign(made, players.keys[p.name]) for p in CAST if p.founder])


def join(space: Workspace, players: Players) -> int:
    """Admit everybody who is not yet a member, by two registrars; remember names privately; return how many joined."""
    registrars = [p for p in CAST if p.founder][:2]
    joined = 0
    for person in CAST:
        key = players.keys[person.name]
        if key.public.raw not in space.coop.register.known_keys:
            payload = {"member": new_member_id(), "key": key.public.line}
            signers = tuple(players.keys[r.name] for r in registrars)
            space.coop.state("coop.admission/v1", payload, key=key, author=players.member(space, registrars[0]), extra=signers)
            joined += 1
        people = People(space.people)
        if players.member(space, person) not in people.names:
            people.add(players.member(space, person), person.name)
    return joined


def contribute(space: Workspace, players: Players, languages: tuple[str, ...], limit: int, show: Progress) -> int:
    """Spread the corpus files over the members, each signing their own batch; return the number of records."""
    from data_pipeline.importers import chatterbot
    from data_pipeline.record import Draft
    from data_pipeline.store import ContributionStore

    shares: dict[str, list[Draft]] = {person.name: [] for person in CAST}
    for number, (_, given) in enumerate(chatterbot.read(languages).items()):
        shares[CAST[number % len(CAST)].name] += given[:limit]
    with ContributionStore(space.contributions) as store:
        seal_batches(space, store)
        given_by = {c.author for c in space.coop.register.contributions.values()}
        for done, person in enumerate(CAST, 1):
            member = players.member(space, person)
            if member not in given_by and shares[person.name]:
                batch = store.add_batch(member, shares[person.name])
                statement = space.coop.state("coop.contribution/v1", batch.payload(), key=players.keys[person.name], author=member)
                store.seal(batch.batch, statement.id)
            show("members contribute", done, len(CAST))
    return sum(c.records for c in space.coop.register.contributions.values())


def consent(space: Workspace, players: Players) -> None:
    """Everybody but one consents; then one withdraws."""
    for person in CAST:
        member = players.member(space, person)
        grants = space.coop.register.grants.get(member, [])
        if person.consents and not grants:
            payload = {
                "purposes": [USE.purpose],
                "processing": list(PROCESSING),
                "recipients": ["coop:Members", "coop:PublicViaReleasedWeights"],
                "licences": [USE.licence],
                "scope": {"languages": None, "batches": None},
                "expires": None,
                "notice": sha256(NOTICE.encode()),
                "notice_language": NOTICE_LANGUAGE,
            }
            space.coop.state("coop.consent/v1", payload, key=players.keys[person.name], author=member)
        if person.withdraws and all(grant.withdrawn is None for grant in space.coop.register.grants[member]):
            space.coop.state("coop.withdrawal/v1", {"consent": None}, key=players.keys[person.name], author=member)


def plan(space: Workspace, build: Path, base: Path, *, quick: bool) -> Path:
    """Resolve the example config into the demo's plan."""
    from governance_hooks.code import installed_code
    from train.config import read_config
    from train.plan import resolve

    out = space.plan("first-voices")
    if not out.is_file():
        config = space.root / "first-voices.yaml"
        text = example()
        if quick:
            for line, short in (
                ("max_steps: 50", "max_steps: 10"),
                ("validate_every_steps: 20", "validate_every_steps: 4"),
                ("checkpoint_every_steps: 20", "checkpoint_every_steps: 2"),
            ):
                text = text.replace(line, short)
        write_bytes(config, text.encode())
        write_bytes(out, resolve(read_config(config), coop=space.coop.register.coop, base=base, build=build, code=installed_code()))
    return out


def _newest(space: Workspace, kind: str, subject: str) -> Proposal | None:
    about = [p for p in space.coop.register.proposals.values() if p.kind == kind and p.subject == subject]
    return about[-1] if about else None


def decide(space: Workspace, players: Players, kind: ProposalKind, target: str, proposer: str, *, dissent: bool, show: Progress) -> dict[str, object]:
    """Propose, let everybody vote, wait for the end of the period, close; return the count."""
    subject, uses = subject_of(space, kind, Path(target))
    while True:
        proposal = _newest(space, kind, subject)
        if proposal is None or (proposal.tally is not None and not proposal.tally.approved):
            payload = proposal_payload(space.coop, kind, subject, uses=uses, period_s=PERIOD_S)
            person = next(p for p in CAST if p.name == proposer)
            space.coop.state("coop.proposal/v1", payload, key=players.keys[proposer], author=players.member(space, person))
            continue
        if proposal.closed is not None:
            return describe(proposal)
        for done, person in enumerate(CAST, 1):
            member = players.member(space, person)
            if member not in proposal.votes and now() < proposal.closes:
                _cast(space, players, person, proposal, dissent)
            show(f"members vote on the {kind}", done, len(CAST))
        while now() < proposal.closes:
            time.sleep(0.2)
        space.coop.operate(*close_statement(proposal))


def speak(space: Workspace, players: Players, run: str) -> None:
    """Have members say what only people can say on the card, each with their own key; who voted against with a reason publishes it."""
    register = space.coop.register
    said = {(one.author, one.field) for one in standing_statements(register, run)}
    votes = register.proposal(register.run(run).proposal).votes
    words = [(person, field, keep_text(space, text.encode())) for name, field, text in SAID for person in CAST if person.name == name]
    for person in CAST:
        vote = votes.get(players.member(space, person))
        if vote is not None and vote.choice == "against" and vote.reason is not None:
            words.append((person, "dissent", vote.reason))
    for person, field, text in words:
        member = players.member(space, person)
        if (member, field) not in said:
            payload = {"run": run, "field": field, "language": "eng", "text": text, "absent": None, "translates": None}
            space.coop.state("coop.card-statement/v1", payload, key=players.keys[person.name], author=member)


def _cast(space: Workspace, players: Players, person: Person, proposal: Proposal, dissent: bool) -> None:
    choice, reason = (person.choice, person.reason) if dissent else ("for", None)
    payload = {"proposal": proposal.id, "choice": choice, "sequence": 1, "reason": keep_reason(space, reason) if reason else None}
    space.coop.state("coop.ballot/v1", payload, key=players.keys[person.name], author=players.member(space, person))
