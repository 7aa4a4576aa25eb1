"""Which server takes the portal's mail, and how it is spoken to: encrypted, unless it is this machine."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from governance_hooks.errors import BadInput

__all__ = ["PASSWORD", "SMTP_URL", "Smtp"]

SMTP_URL: Final = "COOP_SMTP_URL"
PASSWORD: Final = "COOP_SMTP_PASSWORD"  # noqa: S105 -- the name of a variable
_PORTS: Final = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class Smtp:
    """A mail server."""

    host: str
    port: int
    tls: bool
    """Encrypted from the first byte; else by STARTTLS, and only this machine is spoken to in clear."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def here(self) -> bool:
        """Whether it is this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the server of smtp://[USER[:PASSWORD]@]HOST[:PORT] or smtps://...; no error repeats it, for it may hold a password."""
        allowed = "smtp://[USER@]HOST[:PORT] (STARTTLS) or smtps://[USER@]HOST[:PORT]"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise BadInput("this is no address of a mail server", allowed=allowed, next=f"export {SMTP_URL}") from error
        if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise BadInput("this is no address of a mail server", allowed=allowed, next=f"export {SMTP_URL}")
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else os.environ.get(PASSWORD) if user else None
        if user and not password:
            raise BadInput("the mail server's password is missing", value=user, next=f"export {PASSWORD}")
        return cls(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "smtps", user, password)
