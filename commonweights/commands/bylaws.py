"""`coop bylaws`: the rules in force, in words, and what an amendment would change."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.amending import amended, differences, in_full
from commonweights.cli import Session
from commonweights.workspace import open_workspace
from governance_hooks.bylaws import KINDS, Rules
from governance_hooks.register import Register

__all__ = ["bylaws"]


@click.command()
@click.option("--with", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Show what this amendment (YAML) would change.")
@click.pass_obj
def bylaws(session: Session, file: Path | None) -> None:
    """Show the bylaws in force in plain words; --json for every field."""
    with open_workspace(session.folder, read_only=True) as space:
        register = space.coop.register
        if file is not None:
            new = amended(register, file)
            lines = differences(register.bylaws, new)
            session.show(
                {"version": new.version, "changes": lines}, "\n".join([f"version {new.version} would change:", *(f"  {line}" for line in lines or ["nothing"])])
            )
            return
        lines = _words(register)
        value = in_full(register.bylaws) | {"oversight_now": list(register.oversight()), "exited": register.exited}
    session.show(value, "\n".join(lines))


def _words(register: Register) -> list[str]:
    bylaws, body = register.bylaws, register.oversight()
    seated = {"bylaws": "named here", "vote": "appointed by vote", "lot": "drawn by lot, then appointed by vote"}[bylaws.oversight_seated]
    lines = [
        f"{register.name}, bylaws version {bylaws.version}",
        f"  admission   {bylaws.registrars_required} of {len(bylaws.registrars)} registrars, or a vote",
        f"  oversight   {len(body)} members, {seated}; {bylaws.oversight_required} can halt an approval for {_span(bylaws.halt_max_s)}, once, unless members ratify",
        f"  recovery    {bylaws.recovery_required} registrars or guardians, after {_span(bylaws.recovery_delay_s)}",
        f"  proposals   {bylaws.open_proposals} open at a time for each member",
    ]
    if bylaws.stewards:
        lines.append(
            f"  stewards    {bylaws.stewards_required} of {len(bylaws.stewards)} sign a release's attestations, "
            f"or withdraw a release for {_span(bylaws.withdrawal_max_s)}, once, unless members ratify"
        )
    else:
        lines.append("  stewards    none: the operator signs attestations alone; only members withdraw a release")
    due = [f"{bylaws.supersede_after_withdrawals} withdrawals"] if bylaws.supersede_after_withdrawals else []
    due += [f"{_span(bylaws.supersede_within_s)} from the first withdrawal"] if bylaws.supersede_within_s else []
    lines.append(
        f"  renewal     a superseding release is due after {' or '.join(due)}" if due else "  renewal     no promise when a superseding release is due"
    )
    for name, parameters in bylaws.stages.items():
        lines.append(f"  datasets    pass {name}" + "".join(f", {key} {value}" for key, value in parameters.items()))
    if register.exited is not None:
        lines.append(f"  founders    gave up their powers at entry {register.exited}")
    elif bylaws.founder_led:
        lines.append(f"  founders    alone vote on: {', '.join(bylaws.founder_led)} (until the exit: coop exit)")
    return [*lines, "decided by vote:", *(f"  {kind:<13} {_rules(bylaws.rules(kind))}" for kind in KINDS)]


def _rules(rules: Rules) -> str:
    quorum = {"participation": "of the roll must vote", "minimum-yes": "of the roll must vote for", "rejection": "of the roll against defeat it"}[rules.quorum]
    parts = [f"{rules.quorum_percent}% {quorum}"]
    if rules.quorum != "rejection":
        parts.append(f"{rules.approval_percent}% for")
    parts += [f"at least {rules.minimum_for} for", f"open {_span(rules.minimum_period_s)}"]
    if rules.abstain != "quorum":
        parts.append("abstentions count " + ("for nothing" if rules.abstain == "nothing" else "as against"))
    if rules.late_quorum_s:
        parts.append(f"prolonged by {_span(rules.late_quorum_s)} if the quorum comes in the last {_span(rules.late_quorum_s)}")
    if rules.challenge_s:
        parts.append(f"in effect {_span(rules.challenge_s)} later" + (f", unless {rules.objections} object" if rules.objections else ""))
    if rules.sponsors > 1:
        parts.append(f"{rules.sponsors} sponsors")
    return ", ".join(parts)


def _span(seconds: int) -> str:
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length} {unit}{'s' if seconds != length else ''}"
    return f"{seconds} s"
