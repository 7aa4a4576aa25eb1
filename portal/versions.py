"""Versions of the bylaws, read from the log: what put each in force, and which others are on their way."""

from __future__ import annotations

from dataclasses import dataclass

from governance_hooks.bylaws import Bylaws
from governance_hooks.canonical import loads
from governance_hooks.motions import AmendBylaws
from governance_hooks.register import Register
from governance_hooks.state.proposals import Proposal
from portal.service import Service

__all__ = ["Version", "issued_at", "upcoming", "versions_of"]


@dataclass(frozen=True, slots=True)
class Version:
    """Bylaws as they were from one entry of the log on."""

    bylaws: Bylaws
    position: int
    """Log position at which they came into force."""
    vote: Proposal | None
    """The vote that passed them; None for the first, which the founders signed."""


def versions_of(service: Service, register: Register) -> list[Version]:
    """Return every version that is or was in force, oldest first; hold the register.

    The fold keeps the bylaws in force alone, and of each vote when it took effect: the others are what those votes were about, and the first stands in the founding entry.
    """
    found = [
        Version(one.motion.bylaws, one.enacted, one)
        for one in register.proposals.values()
        if one.kind == "bylaws" and one.enacted is not None and isinstance(one.motion, AmendBylaws)
    ]
    return [Version(_founding(service) if found else register.bylaws, 0, None), *sorted(found, key=lambda one: one.bylaws.version)]


def _founding(service: Service) -> Bylaws:
    return Bylaws.model_validate(loads(next(service.view.log.entries(0, 1)))["body"]["payload"]["bylaws"])


def issued_at(service: Service, position: int) -> str:
    """Return the instant that the entry at a log position states, RFC 3339 UTC."""
    return str(loads(next(service.view.log.entries(position, position + 1)))["body"]["issued"])


def upcoming(service: Service, register: Register) -> list[Proposal]:
    """Return amendments that members vote on, or that are approved and have no effect yet, oldest first; hold the register."""
    return [one for one in (*register.pending, *service.view.running()) if one.kind == "bylaws"]
