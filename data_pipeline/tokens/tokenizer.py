"""The tokenizer of a base folder: loaded from local files, and identified by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from governance_hooks.canonical import digest
from governance_hooks.inventory import inventory

__all__ = ["load_tokenizer", "tokenizer_digest"]


def load_tokenizer(base: Path) -> Any:
    """Load the tokenizer of a base folder, from local files only and without remote code."""
    from transformers import AutoTokenizer  # takes seconds

    return AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)


def tokenizer_digest(base: Path) -> str:
    """Return the digest of every file of a base folder but its weights: which of them a tokenizer reads is its library's affair."""
    weights = [path.relative_to(base).as_posix() for path in base.rglob("*.safetensors")]
    return digest(inventory(base, skip=weights))
