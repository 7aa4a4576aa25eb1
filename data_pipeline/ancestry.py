"""Authors of an edit: everyone whose text it rests on, because each of them can withdraw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from data_pipeline.record import Draft
from governance_hooks.errors import BadInput

__all__ = ["authors_of"]


def authors_of(member: str, drafts: Sequence[tuple[str, Draft]], known: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return, for each record id of a batch, its sorted authors: the member and the authors of all ancestors.

    Args:
        member: who contributes the batch.
        drafts: record id and draft of each row; a parent may come after its child.
        known: authors of the parents that are already stored.

    Raises:
        BadInput: a parent nobody knows, or a record that is its own ancestor; names the line.
    """
    own = dict(drafts)
    authors: dict[str, list[str]] = {}
    for start, _ in drafts:
        trail, open_ = [start], set[str]()  # a loop over a trail: chains of edits may be longer than Python's recursion limit
        while trail:
            record = trail[-1]
            if record in authors:
                trail.pop()
                continue
            draft, waiting = own[record], []
            open_.add(record)
            for parent in draft.parents:
                if parent in own and parent not in authors:
                    if parent in open_:
                        raise BadInput(f"line {draft.line}: a text is its own ancestor", value=parent, allowed="edits of earlier texts")
                    waiting.append(parent)
                elif parent not in own and parent not in known:
                    raise BadInput(f"line {draft.line}: unknown parent", value=parent, allowed="a text of this batch or of the store")
            if waiting:
                trail.append(waiting[0])  # one at a time: then `open_` is exactly the path from `start`
                continue
            inherited = (authors[parent] if parent in own else known[parent] for parent in draft.parents)
            authors[record] = sorted({member, *(author for group in inherited for author in group)})
            open_.discard(record)
            trail.pop()
    return authors
