"""Measuring canaries: what one forward pass says is what decoding and single rows say; a run that reads them more often leaks more."""

from __future__ import annotations

SEED = bytes(range(32))
