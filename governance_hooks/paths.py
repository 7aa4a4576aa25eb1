"""Where the parts of a cooperative's folder lie, and where its log is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from governance_hooks.canonical import loads
from governance_hooks.database import parse_url
from governance_hooks.errors import BadInput

__all__ = ["LOG_URL", "Paths"]

LOG_URL = "COOP_LOG_URL"
"""The environment variable that says where the log is, password and all; it goes before the folder's word."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the parts of a cooperative's folder lie."""

    root: Path

    @property
    def identity(self) -> Path:
        """The pin: which cooperative this folder belongs to."""
        return self.root / "cooperative.json"

    def pin(self) -> str:
        """Return the digest of the founding statement this folder is pinned to; raise BadInput if it is none."""
        if not self.identity.is_file():
            raise BadInput(f"{self.root} is no cooperative's folder", next="coop init DIR, or give the folder with -C DIR")
        return str(self._identity()["coop"])

    def _identity(self) -> dict[str, Any]:
        found = loads(self.identity.read_bytes(), source=str(self.identity))
        if not isinstance(found, dict) or not isinstance(found.get("coop"), str) or not isinstance(found.get("log", ""), str):
            raise BadInput(f"{self.identity} names no cooperative", next="restore it from a backup")
        return found

    @property
    def log(self) -> Path | URL:
        """Where the log is: the URL in COOP_LOG_URL, else the one `cooperative.json` names, else the SQLite file `log.sqlite`.

        Raises:
            BadInput: there is a URL, and it cannot be read.
        """
        url = os.environ.get(LOG_URL) or (self._identity().get("log") if self.identity.is_file() else None)
        return parse_url(url) if url else self.root / "log.sqlite"

    @property
    def log_key(self) -> Path:
        """The key that signs checkpoints (operator's machine only)."""
        return self.root / "keys" / "log.key"

    @property
    def operator_key(self) -> Path:
        """The operator's statement key (operator's machine only)."""
        return self.root / "keys" / "operator"
