"""Members' names: a private, erasable file, kept apart from the log, which knows pseudonyms only."""

from __future__ import annotations

from pathlib import Path

from governance_hooks.atomic import write_bytes
from governance_hooks.canonical import dumps, loads

__all__ = ["People"]


class People:
    """Names by member id; a member without a name is shown by id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: dict[str, str] = loads(path.read_bytes(), source=str(path)) if path.is_file() else {}

    def add(self, member: str, name: str) -> None:
        """Store a name."""
        self.names[member] = name
        write_bytes(self.path, dumps(self.names), mode=0o600)

    def show(self, member: str) -> str:
        """Return name and short id, or the id alone."""
        name = self.names.get(member)
        return f"{name} ({member[:8]})" if name else member
