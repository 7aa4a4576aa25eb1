"""The names there are, for an error about one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

__all__ = ["names"]

_MOST = 20


def names(known: Sequence[str], asked: str) -> str:
    """Return up to twenty names, and before them the one that `asked` may have been meant for."""
    if not known:
        return "none is here yet"
    near = difflib.get_close_matches(asked, known, n=1, cutoff=0.5) or [name for name in known if name.startswith(asked[:3])][:1]
    listed = f"{', '.join(known[:_MOST])}{', ...' * (len(known) > _MOST)}"
    return f"did you mean {near[0]!r}? known: {listed}" if near else listed
