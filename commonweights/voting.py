"""What the verbs and the demo share about votes: finding a proposal, its payloads, and its count."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commonweights.workspace import Workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.bylaws import ProposalKind
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput
from governance_hooks.fields import Strict
from governance_hooks.motions import Consult
from governance_hooks.plan import read_plan
from governance_hooks.preferences import approvals
from governance_hooks.rules.closing import consult, count_opinions
from governance_hooks.sentence import Sentence
from governance_hooks.state.proposals import Proposal
from governance_hooks.statement import now, shift
from governance_hooks.tally import roll_root

__all__ = [
    "close_statement",
    "describe",
    "find_proposal",
    "how_to_answer",
    "keep_reason",
    "missing_voters",
    "proposal_payload",
    "reason_file",
    "reasons_in",
    "standing_of",
    "subject_of",
]


def find_proposal(coop: Cooperative, prefix: str | None) -> Proposal:
    """Return the proposal whose digest starts with `prefix`; with none given, the newest."""
    proposals = list(coop.register.proposals.values())
    if prefix is None:
        if not proposals:
            raise BadInput("there is no proposal yet", next="coop propose run PLAN")
        return proposals[-1]
    hits = [p for p in proposals if p.id.startswith(prefix) or p.id.removeprefix("sha256:").startswith(prefix)]
    if len(hits) != 1:
        raise BadInput(
            "no proposal, or more than one, starts like this", value=prefix, allowed=", ".join(p.id[:19] for p in proposals) or "none", next="coop status"
        )
    return hits[0]


def subject_of(space: Workspace, kind: str, target: Path) -> tuple[str, int]:
    """Return the digest a proposal about a file names, and the number of uses it allows."""
    if kind == "run":
        path = target if target.is_file() else space.plan(str(target))
        if not path.is_file():
            raise BadInput(f"there is no plan {target}", next="coop plan CONFIG")
        data = path.read_bytes()
        return sha256(data), read_plan(data, source=str(path)).limits.max_starts
    if kind in ("payout", "access"):
        if not target.is_file():
            raise BadInput(f"there is no file {target}", allowed=f"the {kind}, as members are to approve it")
        return sha256(target.read_bytes()), 1
    return sha256(release_file(space, target).read_bytes()), 1


def release_file(space: Workspace, target: Path) -> Path:
    """Return release.json of a bundle, by its name or folder."""
    path = target / "release.json" if (target / "release.json").is_file() else space.release(str(target)) / "release.json"
    if not path.is_file():
        raise BadInput(f"there is no release bundle {target}", next="coop release assemble RUN")
    return path


def superseded_by(space: Workspace, target: Path) -> list[str]:
    """Return the releases that a bundle's release.json says it takes the place of."""
    value = loads(release_file(space, target).read_bytes(), source="release.json")
    return list(value.get("supersedes") or [])


def proposal_payload(
    coop: Cooperative,
    kind: ProposalKind,
    subject: str,
    *,
    uses: int = 1,
    period_s: int = 0,
    motion: Strict | None = None,
    draft: str | None = None,
    supersedes: Sequence[str] = (),
    reasons: str | None = None,
) -> dict[str, Any]:
    """Return the payload of a proposal under the rules and the roll of this moment, open for at least the bylaws' minimum."""
    register = coop.register
    rules, roll = register.bylaws.rules(kind), register.roll(kind)
    return {
        "kind": kind,
        "subject": subject,
        "rules": rules.model_dump(),
        "roll": {"root": roll_root(roll), "members": len(roll)},
        # One second on top: the clock may tick between this line and the signature.
        "closes": shift(coop.clock(), max(period_s, rules.minimum_period_s) + 1),
        "uses": uses,
        "motion": None if motion is None else motion.model_dump(mode="json"),
        "draft": draft,
        **({"supersedes": sorted(supersedes)} if supersedes else {}),
        **({"reasons": reasons} if reasons else {}),
    }


def how_to_answer(motion: Strict | None) -> str:
    """Return what comes after `coop vote PROPOSAL` for a motion, or for a vote that has none."""
    if not isinstance(motion, Consult):
        return "for|against|abstain"
    return {"approval": "1 3 (those that are fine)", "ranked": "2 1 3 (your order)", "opinions": "agree=1,4-6 disagree=2 (pass the others)"}[motion.method]


def close_statement(proposal: Proposal) -> tuple[str, dict[str, Any]]:
    """Return type and payload of the statement that closes a proposal with the count of its ballots."""
    if isinstance(proposal.motion, Consult):
        cast, reached, winners = consult(proposal)
        opinions = {"opinions": [one.model_dump() for one in count_opinions(proposal)]} if proposal.motion.method == "opinions" else {}
        return "coop.consultation-close/v1", {"proposal": proposal.id, "cast": cast, "quorate": reached, "winners": winners} | opinions
    counted = proposal.count()
    counts = {"votes_for": counted.votes_for, "votes_against": counted.votes_against, "votes_abstain": counted.votes_abstain}
    return "coop.close/v1", {"proposal": proposal.id, **counts, "outcome": counted.outcome}


def keep_reason(space: Workspace, text: str) -> str:
    """Keep a voter's or a proposer's reason in the private folder and return its digest, salted so that nobody can test a guess against the log."""
    data = dumps({"salt": secrets.token_hex(16), "text": text})
    write_bytes(reason_file(space, sha256(data)), data, mode=0o600)
    return sha256(data)


def reason_file(space: Workspace, digest: str) -> Path:
    """Return where a reason is kept until it is erased."""
    return space.root / "private" / "reasons" / f"{digest.removeprefix('sha256:')}.json"


def reasons_in(path: Path) -> str:
    """Return the reasons of a proposal, in Markdown, from a file; raise BadInput for what nobody should be shown."""
    from data_pipeline.text import MAX_REASONS_BYTES, text_problems

    data = path.read_bytes()
    try:
        text = data[: MAX_REASONS_BYTES + 1].decode().replace("\r\n", "\n").strip()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no text in UTF-8", value=f"byte {error.start}", allowed=f"Markdown in UTF-8, at most {MAX_REASONS_BYTES} bytes") from error
    for problem in text_problems(Sentence("the reason"), text, MAX_REASONS_BYTES):
        raise BadInput(problem.what, value=problem.value, allowed=problem.allowed)
    return text


def missing_voters(proposal: Proposal) -> list[str]:
    """Return who is on the roll of an open vote and has not voted, sorted: for reminders, which stop when somebody votes."""
    return sorted(proposal.roll - proposal.votes.keys()) if proposal.closed is None else []


def standing_of(proposal: Proposal, at: str) -> Sentence:
    """Say in plain words what came of a proposal by an instant (RFC 3339 UTC)."""
    if proposal.closed is None:
        if at >= proposal.closes:
            return Sentence("over, not closed")
        if proposal.extended:
            return Sentence("open until {closes} (prolonged: enough members had voted only shortly before the end)", closes=proposal.closes)
        return Sentence("open until {closes}", closes=proposal.closes)
    if proposal.winners is not None:
        return Sentence("answered")
    assert proposal.tally is not None
    if not proposal.tally.approved:
        return Sentence("rejected")
    if proposal.lapsed is not None:
        return Sentence("approved, never took effect: {why}", why=Sentence(proposal.lapsed))
    if proposal.contested():
        return Sentence("approved, undone by {count} objections", count=len(proposal.objections))
    if proposal.enacted is not None:
        return Sentence("approved, in effect since entry {entry}", entry=proposal.enacted)
    if at < proposal.due():
        if not proposal.rules.objections:
            return Sentence("approved, and may be used from {due} on", due=proposal.due())
        have, need = len(proposal.objections), proposal.rules.objections
        return Sentence("approved; members can object until {due}: {have} of the {need} objections that undo it", due=proposal.due(), have=have, need=need)
    halt = proposal.halted(at)
    if halt is not None:
        return Sentence("approved, halted by {who} until {until}", who=halt.by, until=halt.until)
    return Sentence("approved") if proposal.motion is None else Sentence("approved, in effect at the operator's next statement")


def describe(proposal: Proposal) -> dict[str, Any]:
    """Return the count and the state of a proposal, counted from its ballots."""
    value = {
        "proposal": proposal.id,
        "kind": proposal.kind,
        "subject": proposal.subject,
        "proposer": proposal.proposer,
        "sponsors": list(proposal.sponsors),
        "roll": len(proposal.roll),
        "closes": proposal.closes,
        "extended": proposal.extended,
        "closed": proposal.closed is not None,
        "state": standing_of(proposal, now()),
        "motion": None if proposal.motion is None else proposal.motion.model_dump(mode="json"),
        "draft": proposal.draft,
        "supersedes": list(proposal.supersedes),
        "reasons": proposal.reasons,
        "objections": len(proposal.objections),
        "halts": [
            {"halt": one.id, "until": one.until, "by": "members" if one.by_members else "oversight body", "ratified": one.ratified, "lifted": one.lifted}
            for one in proposal.halts
        ],
        "used": proposal.used,
        "uses": proposal.uses,
    }
    if isinstance(proposal.motion, Consult):
        cast, reached, winners = consult(proposal)
        words = f"{cast} of {len(proposal.roll)} answered" + ("" if reached else ", too few")
        if proposal.motion.method == "opinions":
            counted_each = [one.model_dump() for one in count_opinions(proposal)]
            return value | {"cast": cast, "quorate": reached, "opinions": counted_each, "method": "opinions", "why": words}
        named = approvals([vote.options for vote in proposal.votes.values()], len(proposal.motion.options))
        return value | {"cast": cast, "quorate": reached, "winners": winners, "named": named, "method": proposal.motion.method, "why": words}
    counted = proposal.tally or proposal.count()
    return value | {
        "for": counted.votes_for,
        "against": counted.votes_against,
        "abstain": counted.votes_abstain,
        "would_be" if proposal.closed is None else "outcome": counted.outcome,
        "why": counted.why,
    }
