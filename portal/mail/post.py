"""How the portal's mail stands with its server, for those who look after it, and the bell that has the postman come at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Post"]


@dataclass(slots=True)
class Post:
    """What the postman met last."""

    server: str | None = None
    """HOST:PORT of the mail server; None prints letters where the portal runs."""
    working: bool = False
    """Whether a postman works in this process."""
    trouble: str | None = None
    """Why no server took mail at the last try; None if one did, or there was nothing to send."""
    next_try: str | None = None
    """RFC 3339 UTC, after trouble."""
    bell: Callable[[], None] = field(default=lambda: None, repr=False)
    """Has the postman come at once; from any thread."""
