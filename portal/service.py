"""Everything a page works with: the log's view and writer, the cooperative's folder, the private store, and limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from itsdangerous import URLSafeSerializer

from governance_hooks.statement import now
from governance_hooks.writer import Writer
from portal import i18n
from portal.house import House
from portal.limits import Limits
from portal.mail.post import Post
from portal.opinion.maps import Maps
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
    tokens: URLSafeSerializer
    """Signs links that stay good, of mails that were sent long ago."""
    limits: Limits = field(default_factory=Limits)
    maps: Maps = field(default_factory=Maps)
    """Opinion maps of consultations."""
    post: Post = field(default_factory=Post)
    """How the mail stands."""
    clock: Callable[[], str] = now
    """This machine's time, RFC 3339 UTC."""

    def shown(self, text: str) -> str:
        """Return a text for people elsewhere: where this machine keeps the folder is nobody's business."""
        home = str(Path.home())
        found = text.replace(f"{self.house.root}/", "").replace(str(self.house.root), i18n.gettext("the cooperative's folder"))
        return found if home == "/" else found.replace(f"{home}/", "~/")
