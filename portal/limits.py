"""Rate limits: how often one address, mailbox or account may ask for what costs us or others something."""

from __future__ import annotations

import ipaddress
import time
from typing import Final

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from portal.store.sessions import LINK_S

__all__ = ["RATES", "Limits", "network"]

RATES: Final[dict[str, RateLimitItem]] = {
    "write": parse("120/minute"),  # any request that changes something, by network address
    "mail-from": parse("20/hour"),  # mails that one network address asks for
    # Mails to one mailbox, whoever asks: in the time a link is good for. Who gets none for that has five that open, and is locked out by nobody.
    "mail-to": parse(f"5/{LINK_S} seconds"),
    "hurry": parse("6/hour"),  # having all that waits mailed at once
    "remark": parse("30/hour"),
    "api": parse("600/minute"),  # questions of programs, by network address: a log of a million entries is fetched in seven minutes
    "dry": parse("30/minute"),  # pages that compute for long: a withdrawal's preview, a diff
}


def network(client: tuple[str, int] | None) -> str:
    """Return whose requests are counted together: an IPv4 address, or an IPv6 network of 64 bits, in which everybody who has it has 2^64 addresses."""
    host = client[0] if client else "?"
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    if found.version == 4:
        return host
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found) >> 64 << 64, 64)))


SWEEP_S: Final = 60
"""So often acts that are out of their time are forgotten, seconds."""


class _Acts(MemoryStorage):
    """Acts by who did them. The library starts a thread at each act, which goes through all acts there are."""

    _sweeps = float("-inf")

    def _MemoryStorage__schedule_expiry(self) -> None:
        at = time.monotonic()
        if at >= self._sweeps + SWEEP_S:
            self._sweeps = at
            super()._MemoryStorage__schedule_expiry()  # type: ignore[misc]


class Limits:
    """Counts in this process: there is one writer, and a restart forgives."""

    def __init__(self, rates: dict[str, RateLimitItem] | None = None) -> None:
        self._rates = RATES | (rates or {})
        self._limiter = MovingWindowRateLimiter(_Acts())

    def allows(self, what: str, who: str) -> bool:
        """Count one act; tell whether it is within its limit."""
        return bool(self._limiter.hit(self._rates[what], what, who))
