"""A store in which every stage finds something, and how two builds are compared to the byte."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

from data_pipeline.recipe import DEFAULT, Recipe
from data_pipeline.record import Draft
from data_pipeline.reviews import RatingDraft
from data_pipeline.stages.stage import Item, Suite
from data_pipeline.store import ContributionStore
from governance_hooks.canonical import sha256


def tree(folder: Path) -> dict[str, str]:
    """The digest of each file of a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def varied(seed: int) -> list[tuple[str, Draft]]:
    """Drafts by six members: originals, copies, near copies, edits, several languages, conversations, personal data."""
    draw, words = (
        random.Random(seed),
        [
            "the",
            "sea",
            "lies",
            "calm",
            "under",
            "grey",
            "sky",
            "while",
            "small",
            "boats",
            "wait",
            "for",
            "wind",
            "to",
            "turn",
            "before",
            "evening",
            "bell",
            "rung",
            "twice",
        ],
    )
    given: list[tuple[str, Draft]] = []
    for n in range(90):
        member, name = f"m{draw.randrange(6)}", hashlib.sha256(b"%d %d" % (seed, n)).hexdigest()[:12]
        text, kind = " ".join(draw.sample(words, 14)), draw.randrange(6)
        older = draw.choice(given)[1] if given else None
        if older is None or kind < 2:
            made = Draft(text, text.title() + ".", draw.choice(["eng", "eng", "spa"]), record_id=name)
        elif kind == 2:
            made = Draft(older.inputs.upper(), older.targets, older.language, record_id=name)
        elif kind == 3:
            made = Draft(older.inputs[:40] + "x" + older.inputs[40:], older.targets, older.language, record_id=name)
        elif kind == 4 and older.record_id:
            made = Draft(
                older.inputs, older.targets + draw.choice([" Yes.", "!", " And so it is, always."]), older.language, record_id=name, parents=(older.record_id,)
            )
        else:
            made = Draft(text + " a@b.org", "So it is.", "eng", record_id=name, history=((text[::-1], "Hm."),))
        given.append((member, made))
    return given


def fill(store: ContributionStore, seed: int) -> dict[str, Any]:
    """Give what `varied` makes, seal it, rate some of it, and return the options of a build in which every stage is on."""
    given = varied(seed)
    for day, (member, draft) in enumerate(given):
        batch = store.add_batch(member, [draft], at=f"2026-01-{1 + day % 28:02}T00:00:00Z")
        store.seal(batch.batch, sha256(batch.batch.encode()))
    rated = [draft.record_id or "" for member, draft in given if member != "m0"][::9]
    for reviewer, score in (("rita", 1), ("sven", 2)):
        review = store.reviews.add(reviewer, [RatingDraft(record, score) for record in rated], at="2026-02-01T00:00:00Z")
        store.reviews.seal(review.review, sha256(reviewer.encode()))
    return on(seed)


def on(seed: int) -> dict[str, Any]:
    """The options of a build in which every stage is on and finds something in what `fill` gave."""
    given = varied(seed)
    suite = Suite("exam", sha256(b"exam"), tuple(Item(str(n), draft.inputs) for n, (_, draft) in enumerate(given[:40:8])))
    return {"recipe": Recipe.parse({**DEFAULT.as_dict(), "review": {"min_edit": 5}}), "suites": [suite]}
