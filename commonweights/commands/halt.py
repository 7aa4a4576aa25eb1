"""`coop halt`: the oversight body's brake."""

from __future__ import annotations

from pathlib import Path

import click

from commonweights import drafts
from commonweights.cli import Session
from commonweights.options import draft_option, key_option
from commonweights.voting import find_proposal
from commonweights.workspace import load_key, member_of, open_workspace
from governance_hooks.statement import now, shift

__all__ = ["halt"]


@click.command()
@click.argument("proposal")
@click.option("--hours", type=int, default=24, show_default=True, help="How long; the halt lapses by itself after that.")
@key_option
@draft_option
@click.pass_obj
def halt(session: Session, proposal: str, hours: int, key: Path | None, draft: Path | None) -> None:
    """Halt the use of an approval for a limited time (members of the oversight body).

    A run that stands on it stops at its next step boundary, with a checkpoint. The halt lapses by itself unless members ratify it
    (`coop propose halt PROPOSAL --ratifies HALT`), and the body can halt one approval only once. Any member can ask for its end
    (`coop propose appeal HALT`). If the bylaws want several signatures, use --draft.
    """
    own = load_key(key)
    with open_workspace(session.folder, read_only=draft is not None) as space:
        member = member_of(space.coop, own)
        found = find_proposal(space.coop, proposal)
        until = shift(now(), hours * 3600)
        statement = drafts.say(space.coop, "coop.halt/v1", {"proposal": found.id, "until": until}, key=own, author=member, draft=draft)
    if statement is None:
        session.show({"draft": str(draft)}, f"drafted {draft}; sign it, then: coop append {draft}")
    else:
        session.show(
            {"halt": statement.id, "until": until},
            f"halted until {until}: {statement.id}\nto prolong it, members vote: coop propose halt {found.id[7:19]} --ratifies {statement.id[7:19]}",
        )
