"""Rules of panels by lot: the pool is frozen before its seed exists, the seed's checkpoint is not chosen, and there is one draw."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from governance_hooks import tally
from governance_hooks.checkpoint import verify_checkpoint
from governance_hooks.errors import Refused
from governance_hooks.payloads.polls import Draw, PanelOpened
from governance_hooks.state.polls import Panel
from governance_hooks.statement import timestamp
from governance_hooks.witness.protocol import AGAIN_S

if TYPE_CHECKING:
    from governance_hooks.register import Register
    from governance_hooks.statement import Statement

__all__ = ["draw", "note_time", "open_panel"]

MAXIMIN_POOL = 300
"""Members; beyond that maximin takes longer than anybody repeats (docs/panel.md)."""


def open_panel(register: Register, statement: Statement) -> None:
    """Open a panel: a member names subject, seats, targets, program and time; the pool is everybody in good standing now."""
    register.standing(register.author(statement).id)
    register.require_recent(statement)
    payload = cast(PanelOpened, statement.payload)
    pool = register.active()
    if payload.pool.members != len(pool) or payload.pool.root != tally.roll_root(pool):
        raise Refused("a panel's pool is the members of its log position", value=payload.pool.members, allowed=f"{len(pool)} members; open it again")
    if payload.seats >= len(pool):
        raise Refused("a panel has fewer seats than there are members", value=payload.seats, allowed=f"1 to {len(pool) - 1}")
    if payload.algorithm == "maximin" and len(pool) > MAXIMIN_POOL:
        raise Refused("the pool is too large for maximin", value=len(pool), allowed=f"{MAXIMIN_POOL} members, or the algorithm legacy")
    earliest = max(statement.issued, register.operator_clock)
    if payload.draw_at <= earliest:
        raise Refused("a panel is drawn after it is opened", value=payload.draw_at, allowed=f"after {earliest}")
    if payload.purpose == "oversight" and not register.bylaws.witnesses_required:
        raise Refused(
            "an oversight panel needs witnesses: without them the log's writer can try seeds until they like the panel",
            value=0,
            allowed="bylaws that require the cosignature of a witness, or the purpose advice",
        )
    if any(panel.subject == payload.subject for panel in register.panels.values()):
        raise Refused("there is a panel about this subject already: a second one would be shopping for a better draw", value=payload.subject)
    register.panels[statement.id] = Panel(
        statement.id,
        payload.purpose,
        payload.subject,
        payload.seats,
        frozenset(pool),
        payload.pool.root,
        payload.targets,
        payload.private_features,
        payload.algorithm,
        payload.engine,
        payload.draw_at,
        register.size,
    )


def note_time(register: Register, statement: Statement) -> None:
    """Fix the seed's place of every panel whose time has come: right after this statement of the operator."""
    for panel in register.panels.values():
        if panel.seed_size is None and statement.issued >= panel.draw_at:
            panel.seed_size = register.size + 1


def draw(register: Register, statement: Statement) -> None:
    """Record the one draw of a panel; whether its members are those the seed draws is for everybody to verify (`coop panel verify`)."""
    register.require_operator(statement)
    payload = cast(Draw, statement.payload)
    panel = register.panels.get(payload.panel)
    if panel is None:
        raise Refused("no such panel in this log", value=payload.panel, allowed=", ".join(register.panels) or "none is open yet")
    if panel.selected:
        raise Refused("this panel is drawn already: there is no second draw", value=panel.id)
    if panel.seed_size is None:
        raise Refused(
            "the time of this draw has not come in the log", value=register.operator_clock, allowed=f"{panel.draw_at} or later", next="coop log stamp"
        )
    checkpoint = verify_checkpoint(payload.checkpoint, register.log_key)
    if checkpoint.size != panel.seed_size:
        raise Refused(
            "the seed comes from the checkpoint right after the operator's first statement of the appointed time, and from no other",
            value=checkpoint.size,
            allowed=str(panel.seed_size),
        )
    stated = _instant(checkpoint.time)
    if stated < panel.draw_at:
        raise Refused("the seed's checkpoint is older than the appointed time", value=stated, allowed=f"{panel.draw_at} or later")
    witnessed = register.bylaws.policy.check(checkpoint)
    # Which of several witnesses' lines are shown, and at which of several seconds they signed, would be the operator's to choose.
    if len(witnessed.times) < register.bylaws.witnesses_required or (panel.purpose == "oversight" and witnessed.missing):
        raise Refused(
            "too few witnesses cosigned the seed's checkpoint",
            value=len(witnessed.times),
            allowed="every witness of the bylaws" if panel.purpose == "oversight" else f"{register.bylaws.witnesses_required} or more",
            next="coop log cosign",
        )
    late = sorted(name for name, time in witnessed.times.items() if time >= checkpoint.time + AGAIN_S)
    if late:
        raise Refused("witnesses cosigned the seed's checkpoint too late, perhaps not for the first time", value=late, allowed=f"within {AGAIN_S} s")
    if payload.selected != sorted(set(payload.selected)) or len(payload.selected) != panel.seats:
        raise Refused("a draw names as many distinct members as there are seats, sorted", value=len(payload.selected), allowed=str(panel.seats))
    strangers = sorted(set(payload.selected) - panel.pool)
    if strangers:
        raise Refused("somebody drawn was not in the pool when it was frozen", value=strangers)
    panel.selected, panel.checkpoint, panel.drawn = tuple(payload.selected), payload.checkpoint, register.size


def _instant(seconds: int) -> str:
    """Return a Unix second as RFC 3339 UTC; raise Refused beyond the century."""
    if not 946_684_800 <= seconds < 4_102_444_800:
        raise Refused("a checkpoint's time is not of this century", value=seconds)
    return timestamp(datetime.fromtimestamp(seconds, UTC))
