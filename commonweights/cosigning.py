"""Statements that several keys sign: appended when all are here, else drafted with the signatures of those that are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from commonweights import drafts
from commonweights.cli import Session
from governance_hooks.cooperative import Cooperative
from governance_hooks.sshsig import PrivateKey, Signer
from governance_hooks.statement import Statement, body

__all__ = ["together"]


def together(session: Session, coop: Cooperative, kind: str, payload: dict[str, Any], author: str, keys: list[Signer], draft: Path | None) -> Statement | None:
    """Append a statement that all `keys` sign and return it, or draft it, say who is missing, and return None."""
    if draft is None:
        first, *rest = keys
        return coop.state(kind, payload, key=first, author=author, extra=tuple(rest))
    drafts.write_draft(draft, body(kind, payload, coop=coop.register.coop, author=author))
    # Where one key signs, --draft means: not here. Where several do, those that are here sign at once.
    here = [key for key in keys if isinstance(key, PrivateKey)] if len(keys) > 1 else []
    for key in here:
        drafts.add_signature(draft, key)
    missing = [key.public.fingerprint for key in keys if key not in here]
    lines = [f"drafted {draft}", *(f"  to be signed by {one}:  ssh-keygen -Y sign -n coop-statement@v1 -f KEY {draft}" for one in missing)]
    session.show({"draft": str(draft), "missing": missing}, "\n".join([*lines, f"then: coop append {draft}"]))
    return None
