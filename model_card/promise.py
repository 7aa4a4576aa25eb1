"""What the cooperative promises a member who withdraws, in the words every page shows."""

from __future__ import annotations

from typing import Final

__all__ = ["PROMISE"]

PROMISE: Final = (
    "A member may withdraw at any time. The cooperative stops using the member's records at once; the next release is trained without them and supersedes this one. "
    "Copies already downloaded cannot be recalled and may still hold traces of the withdrawn records; no unlearning method is claimed to erase them."
)
