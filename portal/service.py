"""Everything a page works with: the log's view and writer, the cooperative's folder, the private store, and limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from governance_hooks.statement import now
from governance_hooks.writer import Writer
from portal.house import House
from portal.limits import Limits
from portal.settings import Settings
from portal.store.private import PrivateStore
from portal.view import View

__all__ = ["Service"]


@dataclass(slots=True)
class Service:
    """A running portal."""

    settings: Settings
    view: View
    writer: Writer
    house: House
    private: PrivateStore
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], str] = now
    """This machine's time, RFC 3339 UTC."""
