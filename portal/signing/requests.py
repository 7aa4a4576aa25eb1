"""Requests that wait for others to agree, to join or for a new key, and what the log says of those that were declined."""

from __future__ import annotations

from governance_hooks.register import Register
from governance_hooks.requests import ABOUT, Opening
from governance_hooks.state.membership import Declined
from portal.service import Service
from portal.store.drafted import Drafted

__all__ = ["asked_as", "declined", "opening_of"]


def opening_of(one: Drafted) -> Opening | None:
    """Return what opens the name the log may have for a request; None for one that nobody began to decline."""
    salt = one.after.get("salt")
    return None if salt is None else Opening(salt=salt, statement=one.digest)


def declined(register: Register, one: Drafted) -> Declined | None:
    """Return what the log says of a request a registrar declined; None if none did."""
    opening = opening_of(one)
    return None if opening is None else register.declined.get(opening.digest)


def asked_as(service: Service, digest: str) -> Drafted | None:
    """Return the request that waits here and that the log names by this digest, or None."""
    for kind in ABOUT:
        for one in service.private.drafts.open(kind=kind):
            opening = opening_of(one)
            if opening is not None and opening.digest == digest:
                return one
    return None
