"""Links 7 and 8: the data is the build members voted on, and every author consented to this use of it."""

from __future__ import annotations

from collections.abc import Sequence

from governance_hooks import merkle
from governance_hooks.batches import check_batches, parse_batches
from governance_hooks.canonical import sha256
from governance_hooks.links import check_consents, check_counted, check_ledger, check_stages, check_withdrawals
from governance_hooks.report import StepFailed
from governance_hooks.sentence import Sentence
from governance_hooks.vocabulary import PUBLIC
from model_card.evidence import DISTRUST, Evidence

__all__ = ["consent", "data"]


def _root(leaves: Sequence[bytes]) -> str:
    return "sha256:" + merkle.root([merkle.leaf_hash(leaf) for leaf in leaves]).hex()


def data(found: Evidence) -> str:
    """(7) The data is the build of the voted plan, and its counts follow from the public ledger."""
    release, records = found.release, found.plain
    manifest, plan = records.manifest, records.plan
    if not (manifest.sha256 == plan.build.manifest == release.build):
        raise StepFailed("data/manifest.json is not the dataset of the voted plan", todo=DISTRUST)
    for name in ("ledger.jsonl", "batches.jsonl"):
        held = found.get(f"data/{name}")
        if {"path": name, "size": len(held), "sha256": sha256(held)} not in manifest.get("files"):
            raise StepFailed(f"data/{name} is not the file the manifest names", todo=DISTRUST)
    rows = check_ledger(found.bundle.folder / "data/ledger.jsonl", manifest.document, plan.build, plan.use, release.coop)
    register = found.register
    if manifest.sha256 not in register.builds:
        raise StepFailed("the log does not know this dataset", todo="ask the cooperative")
    check_stages(found.bundle.folder / "data", register.builds[manifest.sha256])
    assert found.proof is not None  # there is no register without it
    size, stated = manifest.get("log", "size"), manifest.get("log", "root")
    if size > len(found.proof.entries) or _root(found.proof.entries[:size]) != stated:
        raise StepFailed("the dataset was built from another log than this one", todo="ask the cooperative")
    cited = [register.grant(consent, author) for row in rows for author, consent in zip(row.authors, row.consents, strict=True)]
    if any(grant is None or grant.given >= size for grant in cited):
        raise StepFailed("the dataset names consents that were not in the log it says it was made from", todo="ask the cooperative")
    train = sorted(row.record for row in rows if row.split == "train")
    trained, trained_root = records.run.get("trained_records"), records.run.get("trained_root")
    if trained > len(train) or (trained == len(train) and trained_root != _root([record.encode() for record in train])):
        raise StepFailed("run.json says it trained on other texts than the ledger's", todo=DISTRUST)
    return Sentence(
        "{count} texts in {languages} languages, {trained} of {train} trained on, root {root}",
        count=len(rows),
        languages=len(plan.build.languages),
        trained=trained,
        train=len(train),
        root=plan.build.root[:19],
    )


def consent(found: Evidence) -> str:
    """(8) Every author of every record consented to this use at every start, to the public's having it, and nobody withdrew before the release."""
    register, rows, plan, run = found.register, found.rows, found.plain.plan, found.run
    check_batches(register, rows, parse_batches(found.get("data/batches.jsonl"), source="data/batches.jsonl"))
    if PUBLIC not in plan.use.recipients:
        raise StepFailed("members agreed to no release to the public", todo=DISTRUST)
    standing = ""
    for position, at in zip(run.starts, run.started, strict=True):
        standing = check_consents(register, rows, plan.use, at=at, position=position, run=run.id)
    check_counted(register, rows, plan.use, run)
    withdrawn = check_withdrawals(register, rows, plan.use, run, run.releases.get(found.digest, register.size))
    return Sentence("{first}; {second}", first=standing, second=withdrawn)
