"""Conversation trees of Open Assistant, one a line: records that continue one another share a tree, every other one has its own.

A record continues another if that is its only parent and its history is the other's conversation. A history nobody's record stands for
is written as answers that failed their review (`review_result: false`), which the importer keeps as context and does not take for records.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, BinaryIO

from data_pipeline.record import Draft

__all__ = ["write"]


def write(file: BinaryIO, drafts: Iterable[Draft]) -> dict[str, int]:
    """Write the trees; return what was lost: licences, kinds, and parents a record is an edit of rather than an answer after."""
    known = {str(draft.record_id): draft for draft in drafts}
    lost: Counter[str] = Counter()
    below: dict[str, list[Draft]] = {}
    roots: list[Draft] = []
    for draft in known.values():
        parent = known.get(draft.parents[0]) if len(draft.parents) == 1 else None
        if parent is not None and draft.history == (*parent.history, (parent.inputs, parent.targets)):
            below.setdefault(str(parent.record_id), []).append(draft)
        else:
            roots.append(draft)
            lost["parents a text is an edit of"] += len(draft.parents)
        lost["licences"] += draft.licence != "NOASSERTION"
        lost["kinds of text"] += draft.annotation_type != "original-annotations"
    for root in roots:
        file.write(json.dumps(_tree(root, below), ensure_ascii=False).encode() + b"\n")
    return {what: count for what, count in lost.items() if count}


def _tree(root: Draft, below: dict[str, list[Draft]]) -> dict[str, Any]:
    identifier = str(root.record_id)
    top: dict[str, Any] = {"replies": []}
    place = top
    for number, (prompt, answer) in enumerate(root.history):
        place = _add(place, f"{identifier}~p{number}", "prompter", prompt, root)
        place = _add(place, f"{identifier}~a{number}", "assistant", answer, root, review_result=False)
    waiting = [(place, root)]
    while waiting:
        place, draft = waiting.pop()
        asked = _add(place, f"{draft.record_id}~p", "prompter", draft.inputs, draft)
        given = {"user_id": draft.user_id, "created_date": draft.written_at, "review_result": True}
        answered = _add(asked, str(draft.record_id), "assistant", draft.targets, draft, **{name: value for name, value in given.items() if value is not None})
        waiting += [(answered, other) for other in below.get(str(draft.record_id), [])]
    return {"message_tree_id": top["replies"][0]["message_id"], "tree_state": "ready_for_export", "prompt": top["replies"][0]}


def _add(place: dict[str, Any], identifier: str, role: str, text: str, draft: Draft, **more: object) -> dict[str, Any]:
    parent = {"parent_id": place["message_id"]} if "message_id" in place else {}
    message = {"message_id": identifier, **parent, "text": text, "role": role, "lang": draft.tag or draft.language, **more, "replies": []}
    place["replies"].append(message)
    return message
