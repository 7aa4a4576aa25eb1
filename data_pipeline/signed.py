"""What members signed, as a build needs it: consents asked once, statements compared with batches, commitments in batch order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from data_pipeline.admit import ConsentLookup, require_signed
from data_pipeline.batch import Batch
from data_pipeline.shard import Prepared
from data_pipeline.store import ContributionStore
from governance_hooks.canonical import is_digest
from governance_hooks.errors import CoopError

__all__ = ["commitments_of", "consents_of", "statements_of"]


def consents_of(store: ContributionStore, consent_for: ConsentLookup) -> dict[tuple[str, str, str], str]:
    """Ask for the consent of every author to every language and batch they have a part in, once."""
    asked = {(author, language, statement) for authors, language, statement in store.claims() for author in authors}
    found = {claim: consent_for(*claim) for claim in sorted(asked)}
    for consent in found.values():
        if consent is not None and not is_digest(consent):
            raise CoopError("the consent lookup returned no digest", value=consent, allowed="sha256:<64 hex> or None")
    return {claim: consent for claim, consent in found.items() if consent is not None}


def statements_of(known: Sequence[Batch], signed: Mapping[str, str]) -> frozenset[str]:
    """Return the statements in the log; raise CoopError for a batch whose statement signs another root."""
    for batch in known:
        if batch.statement is not None and signed.get(batch.statement, batch.root) != batch.root:
            raise CoopError(f"batch {batch.batch} is not the one its statement signs", value=batch.root, allowed=signed[batch.statement])
    return frozenset(signed)


def commitments_of(known: Sequence[Batch], prepared: Sequence[Prepared], signed: frozenset[str] | None) -> dict[str, list[str]]:
    """Return the commitments of every batch in batch order, after checking that they make the root its member signed."""
    found: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for one in prepared:
        for batch, (positions, digests) in one.commitments.items():
            found[batch] += zip(positions, (digests[start : start + 32] for start in range(0, len(digests), 32)), strict=True)
        one.commitments.clear()
    ordered = {batch: ["sha256:" + digest.hex() for _, digest in sorted(pairs)] for batch, pairs in found.items()}
    require_signed([batch for batch in known if signed is None or batch.statement in signed], ordered)
    return ordered
