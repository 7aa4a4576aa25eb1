"""Rule of passkeys: a signature made in a browser counts only from a page the bylaws name, in the time they give it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governance_hooks.bylaws import Bylaws
from governance_hooks.errors import Refused
from governance_hooks.sentence import Sentence
from governance_hooks.statement import Statement

if TYPE_CHECKING:
    from governance_hooks.sshsig import WebOrigin

__all__ = ["check_origins"]


def check_origins(bylaws: Bylaws, statement: Statement, *, clock: str) -> None:
    """Refuse passkey signatures of a page that is not in the bylaws' dated list.

    Args:
        bylaws: those in force.
        statement: what was signed; its `issued` must lie in the page's time.
        clock: the log's clock. It must not be past the page's end either: whoever got hold of a lapsed domain writes
            `issued` themself, but cannot turn back the log.
    """
    for web in sorted(statement.origins):
        if not any(_stands(bylaws, web, statement.issued, clock)):
            known = ", ".join(f"{one.origin} (rp id {one.rp_id}, {one.valid_from} to {one.valid_until or 'now'})" for one in bylaws.passkey_origins)
            raise Refused(
                Sentence("a passkey signed on a page the bylaws do not name for that time"),
                value=f"{web.origin} (rp id {web.rp_id}) at {statement.issued}",
                allowed=known or "no page: these bylaws accept no passkeys",
            )


def _stands(bylaws: Bylaws, web: WebOrigin, issued: str, clock: str) -> list[bool]:
    return [
        one.valid_from <= issued and (one.valid_until is None or max(issued, clock) < one.valid_until)
        for one in bylaws.passkey_origins
        if (one.origin, one.rp_id) == web
    ]
