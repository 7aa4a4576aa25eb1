"""Hold out rows by a hash of the prompt, so that no prompt stands on both sides and no row's side depends on other rows.

The hash is keyed with the cooperative's digest. Near-copies and edits with a changed prompt may fall on different sides.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

from data_pipeline.deduplicate import folded
from governance_hooks.errors import BadInput

__all__ = ["RULE", "Split", "split_of"]

RULE: Final = "split_by_prompt/v1"

Split = Literal["train", "heldout"]


def split_of(prompt: str, *, coop: str, heldout_permille: int) -> Split:
    """Return the side of a normalised prompt; about `heldout_permille` of a thousand prompts are held out.

    Raises:
        BadInput: `heldout_permille` is not within 0..1000.
    """
    if not 0 <= heldout_permille <= 1000:
        raise BadInput("heldout_permille", value=heldout_permille, allowed="0 to 1000")
    number = int.from_bytes(hashlib.sha256(b"\0".join([RULE.encode(), coop.encode(), folded(prompt).encode()])).digest()[:8])
    return "heldout" if number % 1000 < heldout_permille else "train"
