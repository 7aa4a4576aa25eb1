"""What of one member is in a release, from the bundle alone: records, the consents they stand on, counted ballots, each with its proof.

It reads what is public in the bundle already and shows the part of one pseudonym; of an edit's other authors it gives the number only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from governance_hooks import merkle
from governance_hooks.canonical import is_digest, loads
from governance_hooks.consent_receipt import MAX_RECEIPT, check_receipt
from governance_hooks.errors import BadInput
from governance_hooks.ledger import LedgerRow
from governance_hooks.ownership import OwnershipTree
from governance_hooks.proof import Proof
from governance_hooks.register import Register
from governance_hooks.state.consents import Grant
from governance_hooks.state.proposals import Proposal
from governance_hooks.statement import parse
from model_card.evidence import Evidence

__all__ = ["FORMAT", "Asked", "ask", "ask_with_receipt", "member_view", "member_words"]

FORMAT = "coop.member-view/v1"


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose view it is, and the one thing they asked about, if they did."""

    member: str
    about: str
    """member, consent, ballot, batch, record or receipt."""
    identifier: str


def _unknown(said: str) -> BadInput:
    return BadInput(
        "nothing in this release has this id",
        value=said,
        allowed="a member id, the id of a text, the digest of a consent, batch or ballot, or the file of a receipt",
        next="coop mine, in the cooperative's folder, shows yours",
    )


def ask(found: Evidence, said: str) -> Asked:
    """Return what an id names: a member of the log, or something of one.

    Raises:
        BadInput: the log and the ledger know nothing of this id.
    """
    register = found.register
    if said in register.members or any(said in row.authors for row in found.rows):
        return Asked(said, "member", said)
    if is_digest(said):
        for member, grants in register.grants.items():
            if any(grant.id == said for grant in grants):
                return Asked(member, "consent", said)
        if said in register.contributions:
            return Asked(register.contributions[said].author, "batch", said)
        if (author := _ballots(found, said)) is not None:
            return Asked(author, "ballot", said)
    row = next((row for row in found.rows if row.record == said), None)
    if row is None:
        raise _unknown(said)
    batch = register.contributions.get(row.batch)
    return Asked(batch.author if batch is not None else row.authors[0], "record", said)


def ask_with_receipt(found: Evidence, data: bytes) -> Asked:
    """Return whom a consent receipt belongs to, once it holds and the log in the bundle goes on from it.

    Raises:
        BadInput: it is no receipt, or one that does not hold here.
    """
    if len(data) > MAX_RECEIPT:
        raise BadInput("this file is too long for a receipt", value=len(data), allowed=f"{MAX_RECEIPT} bytes")
    report = check_receipt(data, pin=found.release.coop, proof=found.proof)
    if not report.passed:
        step = report.blocking[0]
        raise BadInput(f"the receipt does not hold for this release: {step.name}: {step.why}", next=step.todo or None)
    document = loads(data, source="receipt")
    return Asked(str(document["consents"][0]["entry"]["body"]["author"]), "receipt", str(document["words"][0]["consent"]))


def _ballots(found: Evidence, digest: str) -> str | None:
    """Return the author of a ballot of this digest, counted or replaced."""
    assert found.proof is not None
    for entry in found.proof.entries:
        if b'"type":"coop.ballot/v1"' in entry and (statement := parse(entry)).id == digest:
            return statement.author
    return None


class _Places:
    """Inclusion proofs in the log of the bundle."""

    def __init__(self, proof: Proof) -> None:
        self.proof = proof
        self.leaves = [merkle.leaf_hash(entry) for entry in proof.entries]

    def of(self, index: int) -> dict[str, Any]:
        path = merkle.inclusion_proof(index, len(self.leaves), lambda start, stop: merkle.root(self.leaves[start:stop]))
        return {"entry": index, "path": [step.hex() for step in path]}


def _rows(rows: Sequence[LedgerRow], member: str) -> list[dict[str, Any]]:
    return [
        {
            "record": row.record,
            "line": line,
            "language": row.language,
            "split": row.split,
            "batch": row.batch,
            "commitment": row.commitment,
            "consent": row.consents[row.authors.index(member)],
            "other_authors": len(row.authors) - 1,
        }
        for line, row in enumerate(rows, 1)
        if member in row.authors
    ]


def _consents(grants: Sequence[Grant], cited: Counter[str], until: int, places: _Places) -> list[dict[str, Any]]:
    return [
        {
            "consent": grant.id,
            "cited_by_records": cited[grant.id],
            "given": places.of(grant.given),
            "withdrawn": None if grant.withdrawn is None else places.of(grant.withdrawn),
            "stood_until_the_release": grant.withdrawn is None or grant.withdrawn >= until,
        }
        for grant in grants
    ]


def _vote(register: Register, proposal: Proposal, member: str, places: _Places) -> dict[str, Any]:
    vote = proposal.votes.get(member)
    mine = [
        (position, statement)
        for position, entry in enumerate(places.proof.entries)
        if b'"type":"coop.ballot/v1"' in entry and member.encode() in entry and (statement := parse(entry)).author == member
        if getattr(statement.payload, "proposal", None) == proposal.id
    ]
    return {
        "proposal": proposal.id,
        "on_the_roll": member in proposal.roll,
        "counted": None if vote is None else {"choice": vote.choice, "ballot": vote.ballot, **next(places.of(at) for at, one in mine if one.id == vote.ballot)},
        "replaced": [one.id for _, one in mine if vote is None or one.id != vote.ballot],
        "opened": places.of(proposal.opened),
        "closed": None if proposal.closed is None else places.of(proposal.closed),
    }


def member_view(found: Evidence, asked: Asked) -> dict[str, Any]:
    """Return what of a member is in a release that holds: their rows, or the proof that there is none, consents and ballots with their places in the log.

    Anybody checks it with the bundle: rows by the line of data/ledger.jsonl, ownership by `coop build check`, places by hashing the entry up its path to the
    root of the signed checkpoint.
    """
    register, proof = found.register, found.proof
    assert proof is not None  # there is no register without it
    places, rows = _Places(proof), _rows(found.rows, asked.member)
    tree = OwnershipTree.of_lines([row.authors for row in found.rows], [row.line() for row in found.rows])
    until = found.published if found.published is not None else register.size
    shown = [row for row in rows if row["record"] == asked.identifier] if asked.about == "record" else rows
    proposals = {"run": found.release.run_proposal, "release": register.releases[found.digest]}
    return {
        "format": FORMAT,
        "release": found.digest,
        "coop": found.release.coop,
        "member": asked.member,
        "about": asked.about,
        "identifier": asked.identifier,
        "records": {
            "total": len(rows),
            "train": sum(row["split"] == "train" for row in rows),
            "heldout": sum(row["split"] == "heldout" for row in rows),
            "languages": dict(sorted(Counter(row["language"] for row in rows).items())),
            "rows": shown,
        },
        "ownership": tree.prove(asked.member).model_dump(mode="json"),
        "consents": _consents(register.grants.get(asked.member, []), Counter(row["consent"] for row in rows), until, places),
        "ballots": {kind: _vote(register, register.proposal(proposal), asked.member, places) for kind, proposal in proposals.items()},
        "log": {"size": len(proof.entries), "root": merkle.root(places.leaves).hex(), "checkpoint": proof.checkpoint},
    }


def member_words(view: dict[str, Any]) -> list[str]:
    """Say a view in plain lines."""
    records = view["records"]
    languages = ", ".join(f"{count} in {language}" for language, count in records["languages"].items())
    lines = [f"member {view['member']}, asked by {view['about']} {view['identifier']}"]
    if records["total"]:
        lines.append(f"texts    {records['total']} in this release ({languages}): {records['train']} trained on, {records['heldout']} held out to measure")
    else:
        lines.append("texts    none of yours is in this release; the ownership proof shows the two neighbours between which you would stand")
    for row in records["rows"] if view["about"] == "record" else ():
        others = f", with {row['other_authors']} other author(s)" if row["other_authors"] else ""
        lines.append(
            f"         {row['record']}: line {row['line']} of data/ledger.jsonl, {row['language']}, {row['split']}{others}, under consent {row['consent'][:19]}"
        )
    for consent in view["consents"]:
        end = "stands" if consent["withdrawn"] is None else f"ended at entry {consent['withdrawn']['entry']}"
        when = "" if consent["withdrawn"] is None else (", after the release" if consent["stood_until_the_release"] else ", before the release")
        lines.append(
            f"consent  {consent['consent'][:19]} of entry {consent['given']['entry']}: {consent['cited_by_records']} text(s) stand on it; it {end}{when}"
        )
    for kind, vote in view["ballots"].items():
        if vote["counted"] is not None:
            lines.append(
                f"ballot   on the {kind}: counted, {vote['counted']['choice']} (entry {vote['counted']['entry']})"
                + (f"; {len(vote['replaced'])} earlier one(s) replaced" if vote["replaced"] else "")
            )
        else:
            lines.append(
                f"ballot   on the {kind}: "
                + ("you were on the roll, and no ballot of yours was counted" if vote["on_the_roll"] else "you were not on the roll")
            )
    return lines
