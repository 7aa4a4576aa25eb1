"""From an admitted record to its line in the public ledger; the format is `governance_hooks.ledger`'s."""

from __future__ import annotations

from data_pipeline.candidate import Candidate
from data_pipeline.record import content
from data_pipeline.split import Split
from governance_hooks.ledger import LedgerRow

__all__ = ["ledger_row"]


def ledger_row(candidate: Candidate, split: Split) -> LedgerRow:
    """Return the line of an admitted record; raise ValueError for one that no statement sealed."""
    source = candidate.source
    return LedgerRow(
        record=candidate.record,
        commitment=source.commitment,
        content=content(source.salt, candidate.record, candidate.inputs, candidate.targets, candidate.language, candidate.history),
        authors=list(source.authors),
        consents=list(candidate.consents),
        batch=source.statement or "",  # an unsealed record fails the pattern: it can have no line
        language=candidate.language,
        split=split,
    )
