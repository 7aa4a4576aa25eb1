"""The cooperative's folder as the portal asks for it: the questions of `portal.house`, answered by what the verbs use too."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from commonweights.consent_uses import read_plans, uses_of
from commonweights.notice import NOTICE, NOTICE_LANGUAGE, NOTICE_PUBLISH, notice_of
from commonweights.texts import keep_text, read_text
from commonweights.voting import close_statement, keep_reason, proposal_payload, reason_file, standing_of
from commonweights.workspace import Workspace
from governance_hooks.bylaws import ProposalKind
from governance_hooks.canonical import sha256
from governance_hooks.cooperative import Cooperative
from governance_hooks.errors import CoopError
from governance_hooks.fields import Strict
from governance_hooks.plan import Plan
from governance_hooks.report import Report
from governance_hooks.state.proposals import Proposal
from governance_hooks.statement import now

if TYPE_CHECKING:
    from data_pipeline.store import ContributionStore
    from governance_hooks.stake.payout import Payout

__all__ = ["FolderHouse"]

T = TypeVar("T")

_REASON = re.compile(r"[0-9a-f]{64}\.json")
SAME_LOOK_S = 0.005
"""So long the folder is taken to be as it was: a page of fifty votes asks for the name of each."""


class FolderHouse:
    """A workspace, as the portal sees it.

    Args:
        space: over the portal's view of the log.
        store: members' texts.
    """

    def __init__(self, space: Workspace, store: ContributionStore) -> None:
        self._space, self._store = space, store
        self._plans: tuple[object, Mapping[str, Plan]] = (None, {})
        self._plans_looked = self._releases_looked = float("-inf")
        self._releases: tuple[object, Mapping[str, Path]] = (None, {})
        self._builds: tuple[object, Mapping[str, Path]] = (None, {})
        self._long = threading.Lock()
        self._answers: tuple[int, dict[tuple[str, str], Any]] = (-1, {})

    @property
    def root(self) -> Path:
        """The folder."""
        return self._space.root

    @property
    def notice(self) -> str:
        """The plain words a member is shown before consenting."""
        return NOTICE

    @property
    def notice_publish(self) -> str:
        """What is added to it for who lets texts be read on public pages."""
        return NOTICE_PUBLISH

    @property
    def notice_language(self) -> str:
        """ISO 639-3."""
        return NOTICE_LANGUAGE

    def notice_of(self, digest: str) -> str | None:
        """Return what was shown before a consent that names this digest, also earlier words, or None if it is not here."""
        return notice_of(digest) or self.text(digest)

    def contributions(self) -> ContributionStore:
        """Return the store of members' texts."""
        return self._store

    def text(self, digest: str) -> str | None:
        """Return a public text the log names, or None if it is not here."""
        data = read_text(self._space, digest)
        return None if data is None else data.decode("utf-8", errors="replace")

    def keep_text(self, data: bytes) -> str:
        """Keep a public text and return its digest."""
        return keep_text(self._space, data)

    def keep_reason(self, text: str) -> str:
        """Keep a private reason and return its salted digest."""
        return keep_reason(self._space, text)

    def reason(self, digest: str) -> str | None:
        """Return a kept reason, or None if it is not here, or was erased."""
        data = self.reason_document(digest)
        return None if data is None else str(json.loads(data)["text"])

    def reason_document(self, digest: str) -> bytes | None:
        """Return a kept reason with its salt, the bytes that have the digest, or None if it is not here."""
        path = reason_file(self._space, digest)
        data = path.read_bytes() if path.is_file() else b""
        return data if sha256(data) == digest else None

    def erase_reason(self, digest: str) -> None:
        """Erase a kept reason."""
        reason_file(self._space, digest).unlink(missing_ok=True)

    def old_reasons(self, before: str, named: Container[str]) -> list[str]:
        """Return which kept reasons, but those that are named, were kept before an instant (RFC 3339 UTC)."""
        last, folder = datetime.fromisoformat(before).timestamp(), reason_file(self._space, "").parent
        if not folder.is_dir():
            return []
        found = list[str]()
        with os.scandir(folder) as files:
            for file in files:
                digest = "sha256:" + file.name.removesuffix(".json")
                if _REASON.fullmatch(file.name) and digest not in named:
                    with suppress(FileNotFoundError):  # its author erased it just now
                        found += [digest] if file.stat(follow_symlinks=False).st_mtime <= last else []
        return found

    def plans(self) -> Mapping[str, Plan]:
        """Return the plans in the folder by digest, read again only when a file there changed."""
        looked = time.monotonic()
        if looked - self._plans_looked > SAME_LOOK_S:
            seen = _stamps(self.root / "plans", "") + _stamps(self.root / "runs", "plan.json")
            if self._plans[0] != seen:
                self._plans = seen, read_plans(self._space)
            self._plans_looked = looked
        return self._plans[1]

    def releases(self) -> Mapping[str, Path]:
        """Return the release bundles in the folder by digest."""
        looked = time.monotonic()
        if looked - self._releases_looked > SAME_LOOK_S:
            seen = _stamps(self.root / "releases", "release.json")
            if self._releases[0] != seen:
                self._releases = seen, {sha256(Path(path).read_bytes()): Path(path).parent for path, _, _ in seen}
            self._releases_looked = looked
        return self._releases[1]

    def builds(self) -> Mapping[str, Path]:
        """Return the dataset builds in the folder by the digest of their manifest."""
        seen = _stamps(self.root / "builds", "manifest.json")
        if self._builds[0] != seen:
            self._builds = seen, {sha256(Path(path).read_bytes()): Path(path).parent for path, _, _ in seen}
        return self._builds[1]

    def standing(self, proposal: Proposal) -> str:
        """Say in plain words what came of a proposal so far."""
        return standing_of(proposal, now())

    def proposal_payload(self, kind: ProposalKind, subject: str, *, uses: int, motion: Strict | None, reasons: str | None = None) -> dict[str, Any]:
        """Return the payload of a proposal under the rules and the roll of this moment."""
        return proposal_payload(self._space.coop, kind, subject, uses=uses, motion=motion, reasons=reasons)

    def close_payload(self, proposal: Proposal) -> tuple[str, dict[str, Any]]:
        """Return type and payload of the statement that closes a proposal."""
        return close_statement(proposal)

    def uses(self, member: str, consent: str) -> list[str]:
        """Say what was done with one consent of a member."""

        def work(space: Workspace) -> list[str]:
            grant = space.coop.register.grant(consent, member)
            return [] if grant is None else uses_of(space, member, [grant]).lines()

        return self._apart(("uses", f"{member} {consent}"), work)

    def whereabouts(self, member: str) -> list[str]:
        """Say where a member's texts went."""
        from commonweights.commands.mine import whereabouts

        return self._apart(("whereabouts", member), lambda space: whereabouts(space, member))

    def withdrawal(self, member: str, consent: str | None = None) -> list[str]:
        """Say what a withdrawal of everything, or of one consent, would do."""
        from commonweights.withdrawing import preview_of

        return self._apart(("withdrawal", f"{member} {consent}"), lambda space: preview_of(space, member, consent=consent).lines())

    def stakes(self, member: str) -> list[tuple[str, Payout, str]]:
        """Return the payouts a member has a part in, with how far each is."""
        from commonweights.payouts import stakes_of

        return stakes_of(self._space, member)

    def why(self, thing: str) -> Report | None:
        """Return the checks of the plan, run or release of this name; None if there is none, or it needs none any more."""
        from commonweights.commands.why import checks_of

        try:
            return self._apart(("why", thing), lambda space: checks_of(space, thing))
        except CoopError:
            return None

    def _apart(self, about: tuple[str, str], work: Callable[[Workspace], T]) -> T:
        """Do long work on a reader of its own, one at a time, so that no page waits for it; until the log grows the answer stays."""
        with self._long:
            size = self._space.coop.log.size
            if self._answers[0] != size:
                self._answers = size, {}
            if about not in self._answers[1]:
                with Cooperative.open(self.root, read_only=True) as coop:
                    self._answers[1][about] = work(Workspace(coop))
            found: T = self._answers[1][about]
            return found


def _stamps(folder: Path, name: str) -> tuple[tuple[str, int, int], ...]:
    """Return path, time and size of the JSON files in a folder; with a name, of the file of that name in each folder in it."""
    found = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            path = f"{entry.path}/{name}" if name else entry.path
            if name or path.endswith(".json"):
                with suppress(FileNotFoundError, NotADirectoryError):
                    stat = Path(path).stat() if name else entry.stat()
                    found.append((path, stat.st_mtime_ns, stat.st_size))
    return tuple(sorted(found))
