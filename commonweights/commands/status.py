"""`coop status`: where the cooperative stands, and what needs you."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from commonweights.cli import Session
from commonweights.commands.release_standing import dues
from commonweights.options import key_option
from commonweights.payouts import stakes_of
from commonweights.people import People
from commonweights.voting import describe, how_to_answer, missing_voters
from commonweights.witnesses import standing
from commonweights.workspace import Workspace, load_key, member_of, open_workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import CoopError, Refused
from governance_hooks.sshsig import PublicKey
from governance_hooks.standing import status_of
from governance_hooks.statement import now

__all__ = ["status"]


def _releases(space: Workspace) -> list[str]:
    """Return what is to do about releases that are out: a withdrawal that would lapse, a superseding release that is due."""
    register, at, lines = space.coop.register, now(), []
    for mark in register.marks.values():
        if mark.status == "withdrawn" and mark.until is not None and mark.stands(at):
            short = f"coop propose recall {mark.release[7:19]} --reason {mark.reason} --ratifies {mark.id[7:19]}"
            lines.append(f"members: the withdrawal of release {mark.release[7:19]} lapses at {mark.until} unless ratified: {short}")
    try:
        lines += [f"operator: {due.line(at)}: coop release stale" for due in dues(space).values() if due.is_due(at)]
    except CoopError as error:
        lines.append(f"operator: cannot tell whether a superseding release is due: {error.what}")
    return lines


def _todo(space: Workspace, member: str | None) -> list[str]:
    register, lines = space.coop.register, []
    for proposal in register.proposals.values():
        short = proposal.id[7:19]
        if proposal.closed is None and proposal.closes <= now():
            lines.append(f"operator: the vote {short} is over: coop close {short}")
        elif proposal.closed is None and member in proposal.roll and member not in proposal.votes:
            how = how_to_answer(proposal.motion)
            lines.append(f"you: vote on the {proposal.kind} {short} until {proposal.closes}: coop vote {short} {how}")
        elif proposal.closed is None:
            lines.append(f"waiting for {len(missing_voters(proposal))} of {len(proposal.roll)} members to vote on {short}: coop roll {short} --missing")
        elif proposal in register.pending and proposal.due() <= now():
            lines.append(f"operator: the {proposal.kind} {short} takes effect once the time is stated: coop log stamp")
        elif proposal.tally is not None and proposal.tally.approved and now() < proposal.due() and member in proposal.roll and proposal.rules.objections:
            lines.append(f"you: the {proposal.kind} {short} was approved; whoever objects does it before {proposal.due()}: coop object {short}")
    for halt in register.halts.values():
        if halt.stands(now()) and not halt.by_members and not halt.ratified:
            short = halt.proposal[7:19]
            lines.append(f"members: the halt of {short} lapses at {halt.until} unless ratified: coop propose halt {short} --ratifies {halt.id[7:19]}")
    lines += _releases(space)
    if register.bylaws.oversight and not register.oversight():
        lines.append("members: the term of the oversight body is over and its seats are empty: coop propose appointment MEMBER ...")
    for pending in register.recoveries.values():
        due = f"takes effect at {pending.due}" if pending.due else "waits for the log's clock"
        fingerprint = PublicKey.from_raw(pending.key).fingerprint
        if pending.member == member:
            lines.append(f"you: a recovery puts your keys out of force for {fingerprint}, it {due}; if that is not you: coop key cancel")
        if pending.due is None or pending.due <= now():
            lines.append(f"operator: the recovery of {pending.member} needs the time stated: coop log stamp")
        elif pending.member != member:
            lines.append(f"waiting: the recovery of {pending.member} {due}, unless a key of theirs cancels it")
    try:
        _ = standing(space).time
    except Refused as refused:
        lines.append(f"operator: {refused.what}: coop log cosign")
    if member is not None and not any(grant.withdrawn is None for grant in register.grants.get(member, [])):
        lines.append("you: nothing of yours is used; to change that: coop consent give")
    for run in register.runs.values():
        if run.status != "completed":
            lines.append(f"operator: run {run.id} is {run.status or 'started, not ended'}: coop train {run.id} goes on")
        elif run.report is None:
            lines.append(f"operator: run {run.id} is not measured: coop eval {run.id}")
        elif not run.passed and run.waived is None:
            rest = f"to release it all the same: coop propose waiver {run.id}" if run.waivable else "and by that policy nobody may release it"
            lines.append(f"members: run {run.id} did not pass the policy you voted; {rest}")
        elif not run.releases:
            lines.append(f"operator: run {run.id} is not released: coop release assemble {run.id}")
    if not register.builds and register.contributions and any(grant.withdrawn is None for given in register.grants.values() for grant in given):
        lines.append("operator: members gave texts and consent, and there is no dataset yet: coop build make NAME")
    return lines + _approved(space)


def _approved(space: Workspace) -> list[str]:
    """Return which approvals of runs and releases nobody has used yet, by the names their files have in this folder."""
    at, lines = now(), []
    plans = {sha256(path.read_bytes()): path.stem for path in sorted(space.root.glob("plans/*.json"))}
    releases = {sha256(path.read_bytes()): path.parent.name for path in sorted(space.root.glob("releases/*/release.json"))}
    for proposal in space.coop.register.proposals.values():
        ready = proposal.tally is not None and proposal.tally.approved and not proposal.contested() and proposal.used == 0 and not proposal.halted(at)
        if ready and proposal.due() <= at < proposal.expires():
            for kind, names, command in (("run", plans, "train"), ("release", releases, "release publish")):
                if proposal.kind == kind and proposal.subject in names:
                    lines.append(
                        f"operator: the {kind} {names[proposal.subject]} is approved until {proposal.expires()}: coop {command} {names[proposal.subject]}"
                    )
    return lines


@click.command()
@key_option
@click.pass_obj
def status(session: Session, key: Path | None) -> None:
    """Show where the cooperative stands, and what needs you."""
    with open_workspace(session.folder, read_only=True) as space:
        register, people = space.coop.register, People(space.people)
        member: str | None = None
        try:
            member = member_of(space.coop, load_key(key))
        except CoopError:
            if key is not None:
                raise
        value: dict[str, Any] = {
            "coop": register.coop,
            "name": register.name,
            "entries": register.size,
            "members": register.active(),
            "suspended": {m.id: m.suspended_until for m in register.members.values() if register.suspended(m)},
            "oversight": list(register.oversight()),
            "bylaws": register.bylaws.version,
            "exited": register.exited,
            "you": member,
            "consenting": sorted(m for m in register.active() if any(g.withdrawn is None for g in register.grants.get(m, []))),
            "contributed_records": sum(c.records for c in register.contributions.values()),
            "builds": len(register.builds),
            "declined": {about: sum(one.about == about for one in register.declined.values()) for about in ("admission", "recovery")},
            "recoveries": [
                {"recovery": r.id, "member": r.member, "key": PublicKey.from_raw(r.key).line, "supporters": list(r.supporters), "due": r.due}
                for r in register.recoveries.values()
            ],
            "proposals": [describe(p) for p in register.proposals.values()],
            "runs": [
                {"run": r.id, "status": r.status, "starts": len(r.starts), "evaluated": r.report is not None, "releases": list(r.releases)}
                for r in register.runs.values()
            ],
            "releases": list(register.releases),
            "standing": [status_of(register, one, at=now()).as_dict() for one in register.releases],
            "todo": _todo(space, member),
            "stake": len(stakes_of(space, member)) if member is not None else 0,
        }
        shown = people.show(member) if member else "no member (give your key with --key)"
    lines = [
        f"{value['name']}  {value['coop']}",
        f"  you are {shown}",
        f"  {len(value['members'])} members, {len(value['consenting'])} consenting; {value['contributed_records']} texts given; log of {value['entries']} entries",
    ]
    if value["declined"]["admission"]:
        lines.append(f"  {value['declined']['admission']} request(s) to join declined by a registrar; who asked, the log does not say")
    for row in value["recoveries"]:
        lines.append(f"  recovery {row['recovery'][7:19]}  of {row['member']}: {'in effect from ' + row['due'] if row['due'] else 'delay not begun'}")
    for row in value["proposals"]:
        lines.append(f"  proposal {row['proposal'][7:19]}  {row['kind']:<12} {row['state']}: {row['why']}")
    for row in value["runs"]:
        lines.append(
            f"  run {row['run']}  {row['status'] or 'not ended'}, {row['starts']} start(s){', evaluated' if row['evaluated'] else ''}{', released' if row['releases'] else ''}"
        )
    if value["stake"]:
        lines.append(f"  you have a part in {value['stake']} payout(s); how much, only you are shown: coop mine")
    for row in value["standing"]:
        if row["status"] != "current":
            lines.append(
                f"  release {row['release'][7:19]}  {row['status']}{' by ' + row['by'][7:19] if row['by'] else ''}{': ' + row['reason'] if row['reason'] else ''}"
            )
    lines += ["what is next:", *(f"  {line}" for line in value["todo"] or ["nothing"])]
    session.show(value, "\n".join(lines))
