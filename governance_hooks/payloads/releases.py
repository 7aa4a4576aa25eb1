"""Payloads of releases: that one went out, and that it is superseded or withdrawn."""

from __future__ import annotations

from typing import Literal

from governance_hooks.fields import Digest, Slug, Strict
from governance_hooks.motions import Reason

__all__ = ["ReleaseStatus", "Released"]


class Released(Strict):
    """A release went out after its vote."""

    run: Slug
    release: Digest
    proposal: Digest


class ReleaseStatus(Strict):
    """Stewards say that a release that is out is withdrawn, or superseded by a later one whose vote did not name it."""

    release: Digest
    status: Literal["superseded", "withdrawn"]
    by: Digest | None
    """The release that takes its place; null of a withdrawn one."""
    reason: Reason
