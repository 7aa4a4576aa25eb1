"""A payout as double-entry bookkeeping in beancount's plain text: balanced, pseudonymous, readable by any bookkeeper's program.

Income is a credit, so its numbers are negative; the bank's are positive. The first transaction takes the money in, the second divides it into what
the cooperative keeps and what it owes its members.
"""

from __future__ import annotations

from governance_hooks.money import show_amount
from governance_hooks.register import Register
from governance_hooks.stake.payout import Payout

__all__ = ["beancount"]

_ACCOUNTS = {"access": "Access", "donation": "Donations", "grant": "Grants", "licence-fee": "LicenceFees"}


def _member(member: str) -> str:
    return f"Liabilities:Members:{member.capitalize()}"


def beancount(payout: Payout, register: Register, *, digest: str, day: str) -> str:
    """Return the file; `digest` is that of the payout, `day` the date of its entries (YYYY-MM-DD)."""
    currency = payout.rule.currency
    booked: dict[str, int] = {}
    for one in payout.incomes:
        account = f"Income:{_ACCOUNTS[register.incomes[one.statement].source]}"
        booked[account] = booked.get(account, 0) + one.amount
    paid = {member: portion.paid for member, portion in payout.allocation.members.items() if portion.paid}
    kept = {"Equity:Reserve": payout.allocation.reserve, "Equity:CommonFund": payout.allocation.common_fund}
    owed = {account: amount for account, amount in kept.items() if amount} | {_member(member): amount for member, amount in paid.items()}
    accounts = sorted({"Assets:Bank", "Equity:Allocated", *booked, *owed})
    lines = [
        f"; Payout {payout.name} of cooperative {payout.coop}",
        f"; payout {digest}, on {payout.log.size} log entries",
        f'option "title" "Payout {payout.name}"',
        f'option "operating_currency" "{currency}"',
        "",
        *(f"{day} open {account} {currency}" for account in accounts),
        "",
        f'{day} * "Income taken in" ^payout-{digest[7:19]}',
        f"  Assets:Bank  {show_amount(payout.total, currency)}",
        *(f"  {account}  {show_amount(-amount, currency)}" for account, amount in sorted(booked.items())),
        "",
        f'{day} * "Divided by rule {payout.rule.name}" ^payout-{digest[7:19]}',
        f"  Equity:Allocated  {show_amount(payout.total, currency)}",
        *(f"  {account}  {show_amount(-amount, currency)}" for account, amount in sorted(owed.items())),
        "",
    ]
    return "\n".join(lines)
