"""A batch: records a member gives in one act, and the Merkle root they sign for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data_pipeline.record import Draft, problems
from governance_hooks.batches import batch_root
from governance_hooks.canonical import digest, digest_of_texts
from governance_hooks.errors import BadInput

__all__ = ["Batch", "batch_root", "fingerprint", "require_sound"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Records a member gave in one act."""

    batch: str
    member: str
    created_at: str
    records: int
    root: str
    """Merkle root over the commitments, in batch order."""
    languages: dict[str, int]
    """ISO 639-3 -> records."""
    statement: str | None
    """Digest of the coop.contribution statement; None until sealed."""

    def payload(self) -> dict[str, Any]:
        """Return the payload of the coop.contribution/v1 statement that seals this batch."""
        return {"records": self.records, "root": self.root, "languages": dict(self.languages)}


def require_sound(drafts: Sequence[Draft]) -> None:
    """Raise BadInput for the first draft no record may hold, or an id given twice; names the line."""
    seen: set[str] = set()
    for number, draft in enumerate(drafts, start=1):
        where = f"line {draft.line}" if draft.line else f"draft {number}"
        for problem in problems(draft):
            raise BadInput(f"{where}: {problem.what}", value=problem.value, allowed=problem.allowed)
        if draft.record_id is not None and draft.record_id in seen:
            raise BadInput(f"{where}: duplicate record id", value=draft.record_id, allowed="each id once")
        seen.update([draft.record_id] if draft.record_id else [])


def fingerprint(member: str, drafts: Sequence[Draft]) -> str:
    """Return the digest that recognises a repeated add; line numbers stay out, for they are where, not what."""
    rows = [
        [
            *(d.record_id, [list(turn) for turn in d.history], d.inputs, d.targets, d.language, d.tag, d.annotation_type, d.user_id),
            *(list(d.parents), d.licence, d.written_at),
        ]
        for d in drafts
    ]
    return digest({"member": member, "drafts": [digest_of_texts({"draft": row}) for row in rows]})
