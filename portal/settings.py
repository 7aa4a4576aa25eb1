"""Where the portal is reached: the members' site, and the site of another domain on which keys sign."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from governance_hooks.errors import BadInput

__all__ = ["Settings"]

_ORIGIN = re.compile(r"(https://[a-z0-9.-]{1,253}|http://(localhost|127\.0\.0\.1))(:[1-9][0-9]{0,4})?")


@dataclass(frozen=True, slots=True)
class Settings:
    """The two origins of a portal.

    Members sign in and read on `origin`. Their passkeys belong to the domain of `signing_origin`, and a browser lets no page of another
    domain use them: a page of `origin` that says "sign in" can therefore never have a ballot signed.
    """

    origin: str
    signing_origin: str
    mail_from: str = "portal@localhost"
    """Sender of the portal's mail."""

    def __post_init__(self) -> None:
        for name, value in (("--origin", self.origin), ("--signing-origin", self.signing_origin)):
            if not _ORIGIN.fullmatch(value):
                raise BadInput(
                    f"{name} is no origin a portal can have", value=value, allowed="https://HOST[:PORT]; on this machine http://localhost or 127.0.0.1"
                )
        main, signing = self.hosts
        if main == signing:
            raise BadInput("both sites have the same host", value=main, allowed="another one for signing, for example https://sign.coop.example")
        where = urlsplit(self.origin).hostname or ""
        if where == self.rp_id or where.endswith("." + self.rp_id):
            raise BadInput("the members' site could use the passkeys of the signing site", value=where, allowed=f"a host that is not {self.rp_id} or below it")

    @property
    def hosts(self) -> tuple[str, str]:
        """Host headers of the two sites, with their ports."""
        return urlsplit(self.origin).netloc, urlsplit(self.signing_origin).netloc

    @property
    def rp_id(self) -> str:
        """The domain passkeys belong to."""
        return urlsplit(self.signing_origin).hostname or ""

    @property
    def secure(self) -> bool:
        """Whether cookies go over https only."""
        return self.origin.startswith("https:")
