"""Field types that statements, plans and ledgers share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

__all__ = ["CLOCK_SKEW_S", "Count", "Digest", "Identifier", "Instant", "KeyLine", "Language", "SiteKey", "SiteName", "Slug", "Strict"]

CLOCK_SKEW_S = 300
"""By so much honest clocks may differ, seconds."""

Count = Annotated[int, Field(ge=0)]

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""SHA-256 with its name in front."""

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
"""A record or member in a public ledger: no blanks, no @, no scripts that look alike."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""A name that is also a folder."""

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{3}$")]
"""ISO 639-3."""

_Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Stages = Annotated[dict[_Word, Annotated[dict[_Word, Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=32)]], Field(max_length=32)]
"""Quality stages of a build by name, each with whole-number parameters."""

_KEY_LINES = "|".join(
    (
        r"ssh-ed25519 [A-Za-z0-9+/]{68}",
        r"sk-ssh-ed25519@openssh\.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t[A-Za-z0-9+/]{40,480}={0,2}",
        r"webauthn-rs256 AAAADndlYmF1dGhuLXJzMjU2[A-Za-z0-9+/]{340,1200}={0,2}",
        r"sk-ecdsa-sha2-nistp256@openssh\.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20[A-Za-z0-9+/]{100,480}={0,2}",
    )
)
KeyLine = Annotated[str, StringConstraints(pattern=rf"^({_KEY_LINES})$")]
"""An OpenSSH public key line without a comment; the register parses it, strictly. A passkey is an sk-ecdsa key of a domain."""


SiteName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
"""A cluster somebody lends; as an author it is `s-` and this."""

SiteKey = Annotated[str, StringConstraints(pattern=r"^ssh-ed25519 [A-Za-z0-9+/]{68}$")]
"""The public key of a site: a file on a machine, so no key that wants a touch."""


def _a_date(text: str) -> str:
    datetime.fromisoformat(text)  # ValueError for the 31st of February
    return text


Instant = Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"), AfterValidator(_a_date)]
"""RFC 3339 in UTC, to the second, in this century: arithmetic on it cannot overflow."""


class Strict(BaseModel):
    """A model that refuses unknown keys and never converts a value's type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
