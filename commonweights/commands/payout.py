"""`coop payout`: from a voted rule and an income to whole amounts for everybody."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights.cli import Session
from commonweights.payouts import accepted_work, evidence_of, payout_file, read_rule_file, rule_file, shares_used, write_payout, write_rule
from commonweights.table import finish
from commonweights.workspace import Workspace, open_workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.links import find_proposal
from governance_hooks.money import parse_amount, show_amount
from governance_hooks.report import StepFailed
from governance_hooks.stake.payout import check_payout, make_payout, read_payout
from governance_hooks.stake.rule import read_rule, rule_words

__all__ = ["payout"]


@click.group()
def payout() -> None:
    """Share out money by a rule members voted on, to the last cent.

    \b
    coop payout rule FILE          the rule as members vote on it:   coop propose payout FILE
    coop payout income 1200.00 EUR --source grant --paper LETTER     book what came in
    coop payout make RULE --run R  every amount, a bookkeeper's file, members' statements
    coop payout check NAME         count all of it again
    coop payout pay NAME           after members approved it, log that it was paid
    """


@payout.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_obj
def rule(session: Session, file: Path) -> None:
    """Make the canonical rule of FILE (YAML) and say it in plain words."""
    with open_workspace(session.folder, read_only=True) as space:
        made = read_rule_file(file, space.coop.register.coop)
        path = write_rule(space, made)
    digest = sha256(path.read_bytes())
    session.show(
        {"rule": str(path), "digest": digest}, "\n".join([*rule_words(made), "", f"rule    {path}", f"digest  {digest}", f"next    coop propose payout {path}"])
    )


@payout.command()
@click.argument("amount")
@click.argument("currency")
@click.option(
    "--source", type=click.Choice(["donation", "grant", "licence-fee"]), required=True, help="Where it comes from; the price of an access: coop access pay."
)
@click.option("--paper", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True, help="Contract or letter; only its digest is logged.")
@click.pass_obj
def income(session: Session, amount: str, currency: str, source: str, paper: Path) -> None:
    """Book AMOUNT in CURRENCY that came in, once for each paper."""
    minor = parse_amount(amount, currency)
    if not minor:
        raise BadInput("nothing came in", value=amount)
    with open_workspace(session.folder) as space:
        payload = {"amount": minor, "currency": currency, "source": source, "paper": sha256(paper.read_bytes()), "proposal": None}
        statement = space.coop.operate("coop.income/v1", payload)
    session.show({"income": statement.id, "amount": minor, "currency": currency}, f"income {statement.id}\n  {show_amount(minor, currency)}, {source}")


def _incomes(space: Workspace, given: tuple[str, ...], currency: str) -> list[str]:
    """Return the incomes named, else all of the currency that wait to be shared out."""
    if given:
        return [space.coop.find(one).id for one in given]
    return [one.id for one in space.coop.register.incomes.values() if one.currency == currency and one.paid is None]


@payout.command()
@click.argument("rule")
@click.option("--run", help="The run whose shares count; with a rule that gives guilds nothing leave it out.")
@click.option("--build", help="Without a run: the dataset whose work counts.")
@click.option("--income", "incomes", multiple=True, help="Income to share out [default: all in the rule's currency that is not shared out yet].")
@click.option("--name", help="Name of the payout [default: the rule's name].")
@click.pass_obj
def make(session: Session, rule: str, run: str | None, build: str | None, incomes: tuple[str, ...], name: str | None) -> None:
    """Divide incomes by an approved RULE (name or file): every amount, a balanced ledger, a statement for each member."""
    with open_workspace(session.folder) as space:
        voted = read_rule(rule_file(space, rule).read_bytes(), source=rule)
        if (run is None) == (build is None):
            raise BadInput("name the run whose shares count, or the dataset whose work counts", allowed="--run RUN, or --build BUILD")
        manifest = _manifest(space, run, build)
        shares = shares_used(space, run) if run is not None and voted.parts.guilds else None
        space.coop.operate("coop.time/v1", {})  # the rule's time window is judged by the log's clock, here as by everybody who checks
        register = space.coop.register
        done = accepted_work(space, register, voted, manifest, shares.run if shares is not None else None)
        try:
            made = make_payout(
                register,
                name=name or voted.name,
                root="sha256:" + space.coop.log.root(register.size).hex(),
                rule=voted,
                incomes=_incomes(space, incomes, voted.currency),
                shares=shares,
                build=manifest,
                done=done,
                at=register.operator_clock,
            )
        except StepFailed as error:
            raise BadInput(str(error), next=error.todo or None) from error
        folder = write_payout(space, made)
        data = made.dumps()
    currency, where = voted.currency, made.allocation
    lines = [f"payout {made.name}: {show_amount(made.total, currency)}", ""]
    lines += [f"  {member}  {show_amount(portion.paid, currency):>16}" for member, portion in where.members.items()]
    lines += [f"  {'common fund':<18}  {show_amount(where.common_fund, currency):>16}", f"  {'reserve':<18}  {show_amount(where.reserve, currency):>16}"]
    lines += ["", f"document    {folder / 'payout.json'}", f"bookkeeping {folder / 'ledger.beancount'}", f"digest      {sha256(data)}"]
    lines += [
        f"statements  {space.root / 'private' / 'statements' / made.name}, one for each member",
        f"next        coop propose payout {folder / 'payout.json'}",
    ]
    session.show({"payout": str(folder / "payout.json"), "digest": sha256(data), "allocation": where.model_dump()}, "\n".join(lines))


def _manifest(space: Workspace, run: str | None, build: str | None) -> str:
    if run is not None:
        from governance_hooks.plan import read_plan

        path = space.run(run) / "plan.json"
        if not path.is_file():
            raise BadInput(f"there is no run {run}", next="coop runs")
        return read_plan(path.read_bytes()).build.manifest
    path = space.build(str(build)) / "manifest.json"
    if not path.is_file():
        raise BadInput(f"there is no dataset {build}", next="coop build make")
    return sha256(path.read_bytes())


@payout.command()
@click.argument("name")
@click.pass_obj
def check(session: Session, name: str) -> None:
    """Count the payout NAME (or a file) again: rule, income, shares, work, and every amount."""
    with open_workspace(session.folder, read_only=True) as space:
        path = payout_file(space, name)
        report = check_payout(path.read_bytes(), evidence_of(space), space.coop.register, source=str(path))
    finish(session, report, good="Every amount follows.", bad="This payout does not hold.")


@payout.command()
@click.argument("name")
@click.pass_obj
def pay(session: Session, name: str) -> None:
    """Log that the payout NAME was paid, once members approved exactly its bytes; its incomes cannot be shared out again."""
    with open_workspace(session.folder) as space:
        path = payout_file(space, name)
        data = path.read_bytes()
        check_payout(data, evidence_of(space), space.coop.register, source=str(path)).require()
        made = read_payout(data)
        try:
            proposal = find_proposal(space.coop.register, "payout", sha256(data), at=space.coop.clock())
        except StepFailed as error:
            raise BadInput(str(error), next=f"coop propose payout {path}") from error
        payload = {"payout": sha256(data), "proposal": proposal.id, "incomes": [one.statement for one in made.incomes]}
        statement = space.coop.operate("coop.payout/v1", payload)
    session.show(
        {"statement": statement.id, "payout": sha256(data)}, f"paid: {statement.id}\n  {show_amount(made.total, made.rule.currency)} by payout {made.name}"
    )
