"""Inventory of a folder: every file by path, size and SHA-256, with one digest that binds the names too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from governance_hooks.canonical import digest
from governance_hooks.errors import BadInput

__all__ = ["FileEntry", "file_entry", "inventory", "inventory_digest", "sha256_file"]


class FileEntry(TypedDict):
    """One file of an inventory: POSIX path relative to the root, bytes, `sha256:<hex>`."""

    path: str
    size: int
    sha256: str


def sha256_file(path: Path) -> str:
    """Return `sha256:<hex>` of a file, read in one streaming pass."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def file_entry(root: Path, path: Path) -> FileEntry:
    """Return the inventory entry of one regular file below `root`; refuse links (BadInput)."""
    if path.is_symlink() or not path.is_file():
        raise BadInput(f"{path} is not a regular file", allowed="regular files; links could be swapped after the check")
    return {"path": path.relative_to(root).as_posix(), "size": path.stat().st_size, "sha256": sha256_file(path)}


def inventory(root: Path, *, skip: Iterable[str] = ()) -> list[FileEntry]:
    """Return the entries of all files below `root`, sorted by path, but for the relative paths in `skip`."""
    if not root.is_dir():
        raise BadInput(f"{root} is not a folder")
    skipped = set(skip)
    entries = []
    for path in sorted(root.rglob("*")):
        folder = path.is_dir() and not path.is_symlink()
        if not folder and path.relative_to(root).as_posix() not in skipped:
            entries.append(file_entry(root, path))
    return sorted(entries, key=lambda entry: entry["path"])


def inventory_digest(entries: list[FileEntry]) -> str:
    """Return one digest over paths, sizes and contents (unlike a hash of hashes, it binds the names)."""
    return digest(entries)
