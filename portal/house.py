"""What the portal asks of the cooperative's folder; `coop portal` brings it, so that the portal does not import the command line."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, Protocol

from data_pipeline.store import ContributionStore
from governance_hooks.bylaws import ProposalKind
from governance_hooks.fields import Strict
from governance_hooks.plan import Plan
from governance_hooks.report import Report
from governance_hooks.stake.payout import Payout
from governance_hooks.state.proposals import Proposal

__all__ = ["House"]


class House(Protocol):
    """The cooperative's folder, behind the few questions the portal has. Call it while the view's register is held, but the last four without: they take long."""

    @property
    def root(self) -> Path:
        """The folder."""
        ...

    @property
    def notice(self) -> str:
        """The plain words a member is shown before consenting."""
        ...

    @property
    def notice_publish(self) -> str:
        """What is added to it for who lets texts be read on public pages."""
        ...

    @property
    def notice_language(self) -> str:
        """ISO 639-3."""
        ...

    def notice_of(self, digest: str) -> str | None:
        """Return what was shown before a consent that names this digest, also earlier words, or None if it is not here."""
        ...

    def contributions(self) -> ContributionStore:
        """Return the store of members' texts, opened once."""
        ...

    def text(self, digest: str) -> str | None:
        """Return a public text the log names, or None if it is not here."""
        ...

    def keep_text(self, data: bytes) -> str:
        """Keep a public text and return its digest."""
        ...

    def keep_reason(self, text: str) -> str:
        """Keep a private reason and return its salted digest."""
        ...

    def reason(self, digest: str) -> str | None:
        """Return a kept reason, or None if it is not here, or was erased."""
        ...

    def reason_document(self, digest: str) -> bytes | None:
        """Return a kept reason with its salt, the bytes that have the digest, or None if it is not here."""
        ...

    def erase_reason(self, digest: str) -> None:
        """Erase a kept reason."""
        ...

    def old_reasons(self, before: str, named: Container[str]) -> list[str]:
        """Return which kept reasons, but those that are named, were kept before an instant (RFC 3339 UTC)."""
        ...

    def plans(self) -> Mapping[str, Plan]:
        """Return the plans in the folder by digest."""
        ...

    def releases(self) -> Mapping[str, Path]:
        """Return the release bundles in the folder by digest."""
        ...

    def builds(self) -> Mapping[str, Path]:
        """Return the dataset builds in the folder by the digest of their manifest."""
        ...

    def standing(self, proposal: Proposal) -> str:
        """Say in plain words what came of a proposal so far."""
        ...

    def proposal_payload(self, kind: ProposalKind, subject: str, *, uses: int, motion: Strict | None, reasons: str | None = None) -> dict[str, Any]:
        """Return the payload of a proposal under the rules and the roll of this moment."""
        ...

    def close_payload(self, proposal: Proposal) -> tuple[str, dict[str, Any]]:
        """Return type and payload of the statement that closes a proposal."""
        ...

    def stakes(self, member: str) -> list[tuple[str, Payout, str]]:
        """Return the payouts a member has a part in: name, document, and how far it is; raise CoopError for a document that is none."""
        ...

    def uses(self, member: str, consent: str) -> list[str]:
        """Say what was done with one consent of a member."""
        ...

    def whereabouts(self, member: str) -> list[str]:
        """Say where a member's texts went."""
        ...

    def withdrawal(self, member: str, consent: str | None = None) -> list[str]:
        """Say what a withdrawal of everything, or of one consent, would do."""
        ...

    def why(self, thing: str) -> Report | None:
        """Return the checks of the plan, run or release of this name; None if there is none."""
        ...
