"""What the verbs and the demo share about votes: finding a proposal, its payloads, and its count."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from commonweights.workspace import Workspace
from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import BadInput
from governance_hooks.plan import read_plan
from governance_hooks.state import Proposal
from governance_hooks.statement import now, shift
from governance_hooks.tally import roll_root

__all__ = ["close_payload", "describe", "find_proposal", "keep_reason", "proposal_payload", "subject_of"]


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
    """Return the digest a proposal is about and the number of uses it allows."""
    if kind == "run":
        path = target if target.is_file() else space.plan(str(target))
        if not path.is_file():
            raise BadInput(f"there is no plan {target}", next="coop plan CONFIG")
        data = path.read_bytes()
        return sha256(data), read_plan(data, source=str(path)).limits.max_starts
    path = target / "release.json" if (target / "release.json").is_file() else space.release(str(target)) / "release.json"
    if not path.is_file():
        raise BadInput(f"there is no release bundle {target}", next="coop release assemble RUN")
    return sha256(path.read_bytes()), 1


def proposal_payload(coop: Cooperative, kind: str, subject: str, *, uses: int, period_s: int) -> dict[str, Any]:
    """Return the payload of a proposal under the rules and the roll of this moment, open for at least the bylaws' minimum."""
    register = coop.register
    rules, roll = register.bylaws.rules("run" if kind == "run" else "release"), register.active()
    return {
        "kind": kind,
        "subject": subject,
        "rules": rules.model_dump(),
        "roll": {"root": roll_root(roll), "members": len(roll)},
        # One second on top: the clock may tick between this line and the signature.
        "closes": shift(now(), max(period_s, rules.minimum_period_s) + 1),
        "uses": uses,
        "motion": None,
        "draft": None,
    }


def close_payload(proposal: Proposal) -> dict[str, Any]:
    """Return the payload that closes a proposal with the count of its ballots."""
    value = describe(proposal)
    counts = {"votes_for": value["for"], "votes_against": value["against"], "votes_abstain": value["abstain"]}
    return {"proposal": proposal.id, **counts, "outcome": value["would_be"]}


def keep_reason(space: Workspace, text: str) -> str:
    """Keep a voter's reason in the private folder and return its digest, salted so that nobody can test a guess against the log."""
    data = dumps({"salt": secrets.token_hex(16), "text": text})
    write_bytes(space.root / "private" / "reasons" / f"{sha256(data)[7:]}.json", data, mode=0o600)
    return sha256(data)


def describe(proposal: Proposal) -> dict[str, Any]:
    """Return the count and the state of a proposal, counted from its ballots."""
    counted = proposal.tally or proposal.count()
    return {
        "proposal": proposal.id,
        "kind": proposal.kind,
        "subject": proposal.subject,
        "for": counted.votes_for,
        "against": counted.votes_against,
        "abstain": counted.votes_abstain,
        "roll": len(proposal.roll),
        "closes": proposal.closes,
        "closed": proposal.closed is not None,
        "would_be" if proposal.closed is None else "outcome": counted.outcome,
        "why": counted.why,
        "used": proposal.used,
        "uses": proposal.uses,
    }
