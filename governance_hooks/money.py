"""Money in whole minor units of a currency (cents, yen): parsing, showing, and no fraction anywhere."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from governance_hooks.errors import BadInput

__all__ = ["CURRENCIES", "Currency", "parse_amount", "show_amount"]

CURRENCIES: Final = {
    **dict.fromkeys(
        ("AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "GHS", "HUF", "INR", "KES", "MXN", "NGN", "NOK", "NZD", "PEN", "PHP", "PLN", "RON", "SEK",
         "TRY", "TZS", "UAH", "USD", "ZAR"),
        2,
    ),
    **dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "RWF", "UGX", "VND", "XAF", "XOF"), 0),
    **dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 3),
}  # fmt: skip
"""ISO 4217 code -> digits of the minor unit."""


def _known(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError(f"no currency of ours, known: {', '.join(sorted(CURRENCIES))}")
    return code


Currency = Annotated[str, AfterValidator(_known)]

_AMOUNT = re.compile(r"([0-9]{1,13})(?:\.([0-9]{1,3}))?")


def parse_amount(text: str, currency: str) -> int:
    """Return an amount such as `1200.50` in minor units; raise BadInput for another form, a currency we do not know, or a fraction it does not have."""
    if currency not in CURRENCIES:
        raise BadInput("unknown currency", value=currency, allowed=", ".join(sorted(CURRENCIES)))
    digits = CURRENCIES[currency]
    found = _AMOUNT.fullmatch(text)
    whole, fraction = (found.group(1), found.group(2) or "") if found else ("", "")
    if found is None or len(fraction) > digits or (fraction and len(fraction) != digits):
        allowed = f"digits, and after a point {digits} more, for example {'1200.' + '0' * digits}" if digits else "whole units, for example 1200"
        raise BadInput(f"this is no amount in {currency}", value=text, allowed=allowed)
    return int(whole) * 10**digits + int(fraction or 0)


def show_amount(minor: int, currency: str) -> str:
    """Return an amount as people and beancount write it, such as `1200.50 EUR`."""
    digits = CURRENCIES[currency]
    sign, minor = ("-" if minor < 0 else ""), abs(minor)
    whole, fraction = divmod(minor, 10**digits)
    return f"{sign}{whole}" + (f".{fraction:0{digits}d}" if digits else "") + f" {currency}"
