"""Clearances: a site's signed permission for one start of one job, which nodes check with `ssh-keygen -Y verify` alone."""

from __future__ import annotations

from typing import Annotated, Final, cast

from pydantic import Field

from governance_hooks.errors import Refused
from governance_hooks.fields import Digest, Instant, Strict
from governance_hooks.site.document import read_document, sign_document
from governance_hooks.sshsig import PublicKey, Signer
from governance_hooks.statement import SITE, Statement

__all__ = ["TYPE", "Clearance", "clearance_of", "read_clearance", "sign_clearance"]

TYPE: Final = "coop.clearance/v1"


class Clearance(Strict):
    """Which start of which job may use the nodes, under which order."""

    order: Digest
    job: Annotated[int, Field(ge=1)]
    restart: Annotated[int, Field(ge=0)]
    user: Annotated[int, Field(ge=0, lt=2**32)]
    submitted: Annotated[int, Field(ge=0)]
    """When the job was submitted, seconds since 1970: numbers of jobs come again."""
    nodes: Annotated[int, Field(ge=1)]
    devices: Annotated[int, Field(ge=0)]
    minutes: Annotated[int, Field(ge=1)]
    expires: Instant
    start: Digest | None
    """The run-start statement this start is counted by; null where none is."""


def sign_clearance(clearance: Clearance, *, coop: str, site: str, key: Signer, issued: str | None = None) -> bytes:
    """Return a clearance signed with the site's key."""
    return sign_document(TYPE, clearance, coop=coop, author=SITE + site, key=key, issued=issued)


def read_clearance(data: bytes, *, coop: str, site: str, key: bytes, at: str) -> Statement:
    """Return a clearance that a site has signed.

    Args:
        key: the site's raw public key, from the log.
        at: RFC 3339 UTC.

    Raises:
        Refused, BadInput: not of its form, of another cooperative or site, not signed by the site's key alone, or expired.
    """
    statement = read_document(data, {TYPE: Clearance}, source="this clearance")
    if statement.coop != coop or statement.author != SITE + site:
        raise Refused("this clearance is of another cooperative or site", value=statement.author, allowed=SITE + site)
    if statement.signers != {key}:
        raise Refused(f"this clearance is not signed by the key of site {site} alone", allowed=PublicKey.from_raw(key).fingerprint)
    if at >= clearance_of(statement).expires:
        raise Refused("this clearance has expired", value=at, allowed=f"before {clearance_of(statement).expires}")
    return statement


def clearance_of(statement: Statement) -> Clearance:
    """Return what a clearance says."""
    return cast(Clearance, statement.payload)
