"""Rules of sites: which clusters may start what members approved, and what each start used of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from governance_hooks.errors import Refused
from governance_hooks.payloads.runs import RunSegment
from governance_hooks.payloads.runs import Site as SitePayload
from governance_hooks.rules.keys import fresh
from governance_hooks.sshsig import PublicKey
from governance_hooks.state.runs import Segment, Site
from governance_hooks.statement import CLOCK_SKEW_S, SITE, shift

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["DELAY_S", "account", "noted", "require_site", "state"]

DELAY_S: Final = 7 * 86_400
"""So long a statement of a site may be under way to the log, seconds: as old as a proof may be on which it started something."""


def state(register: Register, statement: Statement) -> None:
    """Name a site and its key, say who lends it, or retire it; a key that was enrolled once is nobody else's."""
    register.require_operator(statement)
    payload = cast(SitePayload, statement.payload)
    known = register.sites.get(payload.site)
    if known is None and payload.key is None:
        raise Refused("there is no such site to retire", value=payload.site, allowed=", ".join(register.sites) or "none is known yet", next="coop site list")
    if payload.lender is not None:
        register.member(payload.lender)
    raw = PublicKey.from_line(payload.key).raw if payload.key is not None else None
    if payload.key is not None and raw is not None and not (known is not None and register.known_keys.get(raw) == SITE + payload.site):
        register.known_keys[fresh(register, payload.key)] = SITE + payload.site
    clock = known.clock if known is not None else statement.issued  # what it said meanwhile may still be on its way
    register.sites[payload.site] = Site(payload.site, raw, payload.lender, payload.device, payload.device_hours, clock)


def require_site(register: Register, statement: Statement) -> Site:
    """Return the site that made a statement; refuse one of a retired or unknown site, by another key, too old, or dated before its last one."""
    site = register.sites.get(statement.author.removeprefix(SITE))
    if site is None or statement.author != SITE + site.name:
        raise Refused(
            f"{statement.type} is a site's to state", value=statement.author, allowed=", ".join(SITE + name for name in register.sites) or "none is known yet"
        )
    if site.key is None:
        raise Refused("this site is retired", value=site.name, next="coop site add")
    if statement.signers != {site.key}:
        raise Refused(f"{statement.type} of site {site.name} is not signed by its key alone", allowed=PublicKey.from_raw(site.key).fingerprint)
    if statement.issued < site.clock:
        raise Refused("the site's clock went back", value=statement.issued, allowed=f"{site.clock} or later")
    if statement.issued < shift(register.operator_clock, -DELAY_S):
        raise Refused("this statement of a site was under way for too long", value=statement.issued, allowed=f"within {DELAY_S} s")
    return site


def account(register: Register, statement: Statement) -> None:
    """Record what one start of a run used of the site it was at, once."""
    site, payload = require_site(register, statement), cast(RunSegment, statement.payload)
    run = register.run(payload.run)
    if payload.start > len(run.starts):
        raise Refused("this run has not started so often", value=payload.start, allowed=f"1 to {len(run.starts)}")
    if run.sites[payload.start - 1] != site.name:
        raise Refused("this start was somewhere else", value=site.name, allowed=run.sites[payload.start - 1] or "a machine of the cooperative")
    if payload.start in run.segments:
        raise Refused("what this start used is in the log already", value=payload.start)
    longest = shift(run.started[payload.start - 1], payload.seconds)
    if longest > shift(statement.issued, CLOCK_SKEW_S):
        raise Refused("this segment would end in the future", value=payload.seconds, allowed=f"from {run.started[payload.start - 1]} to {statement.issued}")
    run.segments[payload.start] = Segment(
        site.name, payload.job, payload.restart, payload.nodes, payload.devices, payload.seconds, payload.outcome, payload.energy_wh, payload.energy_from
    )
    noted(register, site, statement.issued)


def noted(register: Register, site: Site, issued: str) -> None:
    """Turn the site's clock to its last statement."""
    register.sites[site.name] = replace(site, clock=issued)
