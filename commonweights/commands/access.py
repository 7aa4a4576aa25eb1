"""`coop access`: data for outsiders, by vote, with consent, price and proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from commonweights import access as data_access
from commonweights.cli import Session
from commonweights.commands.verify import compare_with_memory
from commonweights.table import finish
from commonweights.workspace import open_workspace
from governance_hooks.canonical import sha256
from governance_hooks.errors import BadInput
from governance_hooks.money import parse_amount, show_amount
from governance_hooks.stake.delivery import check_delivery
from governance_hooks.stake.request import Query, request_words
from governance_hooks.statement import now
from governance_hooks.vocabulary import LICENCES, OUTSIDE_FORMS, OUTSIDERS, PURPOSES

__all__ = ["access"]


@click.group()
def access() -> None:
    """Let an outsider have data: a request members vote on, a price, a delivery with its own proof.

    \b
    coop access request corpus --who NAME ...      write what members vote on:   coop propose access corpus
    coop access pay corpus                         book the price, once it has come in
    coop access deliver corpus                     hand out what consents allow at this moment
    coop access withdrawn corpus                   a signed list of what to delete
    coop access check FOLDER                       what the outsider checks, offline
    """


@access.command()
@click.argument("name")
@click.option("--who", required=True, help="Who asks; it stays in the private store.")
@click.option("--recipient", type=click.Choice(OUTSIDERS), required=True, help="What kind of organisation it is.")
@click.option("--purpose", type=click.Choice(list(PURPOSES)), required=True)
@click.option("--licence", type=click.Choice(LICENCES), required=True, help="Under which the data may be used.")
@click.option("--build", required=True, help="The dataset it is taken from.")
@click.option("--form", type=click.Choice(list(OUTSIDE_FORMS)), required=True, help="extract: the texts. aggregate: an answer counted over them.")
@click.option("--query", type=click.Choice(get_args(Query)), help="With aggregate: what is counted.")
@click.option("--language", "languages", multiple=True, help="Only this language, ISO 639-3 [default: all].")
@click.option("--price", nargs=2, type=str, default=("0", "JPY"), help="Amount and currency, for example 500.00 EUR [default: none].")
@click.option("--minimum-members", type=click.IntRange(5), default=5, show_default=True, help="Languages of fewer consenting members are left out.")
@click.option("--until", required=True, help="When all of it must be deleted, RFC 3339 UTC, e.g. 2028-12-31T00:00:00Z.")
@click.pass_obj
def request(session: Session, /, name: str, who: str, build: str, languages: tuple[str, ...], price: tuple[str, str], **fields: Any) -> None:
    """Write the request NAME as members will vote on it."""
    amount, currency = price
    with open_workspace(session.folder, read_only=True) as space:
        manifest = space.build(build) / "manifest.json"
        if not manifest.is_file():
            raise BadInput(f"there is no dataset {build}", next="coop build make")
        asked = data_access.keep_request(
            space,
            who,
            name=name,
            build=sha256(manifest.read_bytes()),
            languages=sorted(set(languages)) or None,
            price={"amount": parse_amount(amount, currency), "currency": currency},
            **fields,
        )
    words = [*request_words(asked.request), "", f"request {asked.path}", f"digest  {asked.digest}", f"next    coop propose access {asked.path}"]
    session.show({"request": str(asked.path), "digest": asked.digest}, "\n".join(words))


@access.command()
@click.argument("name")
@click.pass_obj
def pay(session: Session, name: str) -> None:
    """Book the price of the approved request NAME as come in; `coop payout make` shares it out."""
    with open_workspace(session.folder) as space:
        statement, price = data_access.pay(space, name), data_access.asked(space, name).request.price
    session.show({"income": statement}, f"income {statement}\n  {show_amount(price.amount, price.currency)}")


@access.command()
@click.argument("name")
@click.option("--check", is_flag=True, help="Only show what it needs.")
@click.pass_obj
def deliver(session: Session, name: str, check: bool) -> None:
    """Hand out what the request NAME asks for, as far as consents allow at this moment; log it, with its digest."""
    with open_workspace(session.folder, read_only=check) as space:
        if check:
            finish(session, data_access.may_deliver(space, data_access.asked(space, name)), good="It may be delivered.", bad="BLOCKED.")
            return
        folder = data_access.deliver(space, name)
    session.show({"delivery": str(folder)}, f"delivered: {folder}\ncheck it as the recipient will: coop access check {folder}")


@access.command()
@click.argument("name")
@click.pass_obj
def withdrawn(session: Session, name: str) -> None:
    """Write the signed list of what the recipient of NAME must delete by now."""
    with open_workspace(session.folder) as space:
        made = data_access.write_deletions(space, name)
    if made is None:
        session.show({"records": 0}, "nothing of it has been withdrawn")
    else:
        session.show(
            {"deletions": str(made[0]), "records": made[1]}, f"{made[1]} texts to delete: {made[0]}\nsend it to the recipient, with the proof beside it"
        )


@access.command(name="list")
@click.pass_obj
def list_requests(session: Session) -> None:
    """List requests: how far each is, and what was delivered."""
    with open_workspace(session.folder, read_only=True) as space:
        register, rows = space.coop.register, []
        for asked in data_access.requests(space):
            votes = [one for one in register.proposals.values() if one.kind == "access" and one.subject == asked.digest]
            done = register.deliveries.get(asked.digest)
            approved = any(one.tally is not None and one.tally.approved for one in votes)
            state = f"delivered {done.issued}" if done else "approved" if approved else "voted on" if votes else "not proposed"
            price = show_amount(asked.request.price.amount, asked.request.price.currency) if asked.request.price.amount else "no price"
            rows.append({"name": asked.request.name, "form": asked.request.form, "state": state, "price": price, "records": done.records if done else None})
    lines = [f"{row['name']:<24} {row['form']:<10} {row['price']:<14} {row['state']}" for row in rows]
    session.show({"requests": rows}, "\n".join(lines) or "no request yet")


@access.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--pin", help="Digest of the founding statement of the cooperative you trust (sha256:...).")
@click.pass_obj
def check(session: Session, folder: Path, pin: str | None) -> None:
    """Check the delivery in FOLDER offline: files, votes, price, dataset, every consent, every text.

    Exit code 0: every step holds. 1: one does not, do not use it. 2: something is missing, could not check.
    """
    if not (folder / "delivery.json").is_file():
        there = "a file" if folder.is_file() else "an empty folder" if folder.is_dir() and not any(folder.iterdir()) else "a folder without it"
        raise BadInput(
            f"nothing was checked: there is no delivery in {folder}", value=there if folder.exists() else "no such folder",
            allowed="a folder that holds delivery.json, as coop access deliver writes it",
            next="get the whole folder from the cooperative, then coop access check FOLDER",
        )  # fmt: skip
    report = check_delivery(folder, pin=pin, now=now())
    seen = compare_with_memory(folder) if report.passed else ""
    finish(session, report, good=f"Every step holds. Log: {seen}.", bad="This delivery does not hold." if report.exit_code == 1 else "COULD NOT CHECK.")
