"""The checks that gate and verification share; each returns what it checked, or raises with the reason.

They are pure functions over a replayed log and files: the same for `coop submit`, a SLURM prolog, the training
process, the release step and the public's `coop verify`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

from governance_hooks.batches import Batches, read_batches
from governance_hooks.canonical import loads, sha256
from governance_hooks.consent import Use, permits
from governance_hooks.inventory import file_entry, inventory, inventory_digest
from governance_hooks.ledger import LedgerRow, count_languages, read_ledger
from governance_hooks.plan import Base, BuildRef
from governance_hooks.register import Register
from governance_hooks.report import StepFailed, StepUnknown
from governance_hooks.rules.consents import counted
from governance_hooks.rules.runs import require_usable
from governance_hooks.sentence import Sentence, percent
from governance_hooks.state.proposals import Proposal
from governance_hooks.state.runs import Run
from governance_hooks.statement import CLOCK_SKEW_S
from governance_hooks.witness.policy import Witnessed

__all__ = [
    "MAX_AGE_S",
    "check_age",
    "check_base",
    "check_build",
    "check_consents",
    "check_counted",
    "check_ledger",
    "check_usable",
    "check_vote",
    "check_withdrawals",
    "find_proposal",
    "read_manifest",
]

_QUORUM = {"participation": Sentence("participation"), "minimum-yes": Sentence("minimum-yes"), "rejection": Sentence("rejection")}
MAX_AGE_S = 7 * 86_400
"""A checkpoint older than this cannot show that nobody withdrew or halted meanwhile, seconds."""


def check_age(witnessed: Witnessed, now: str, max_age_s: int) -> int:
    """Return the age of a checkpoint in seconds by the time its witnesses vouch for (`Witnessed.time`).

    Raises:
        StepFailed: it is too old (a log that is frozen for us looks like this), or in the future.
        Refused: too few witnesses have cosigned it.
    """
    age = int(datetime.fromisoformat(now).timestamp()) - witnessed.time
    if age > max_age_s:
        todo = "a fresh proof: coop log cosign, then coop proof" if witnessed.policy.required else "coop proof, for a fresh one"
        why = Sentence("checkpoint is {age} s old, {most} s allowed: halts and withdrawals since would go unseen", age=age, most=max_age_s)
        raise StepFailed(why, todo=todo)
    if age < -CLOCK_SKEW_S:
        raise StepFailed(Sentence("checkpoint is {age} s in the future: one of the clocks is wrong", age=-age), todo=Sentence("set the clock"))
    return age


def find_proposal(register: Register, kind: str, subject: str, *, at: str | None = None, chosen: str | None = None, besides: Collection[str] = ()) -> Proposal:
    """Return the proposal about a subject under which it may be used: the chosen one, else the approved one with uses left that expires first.

    If none has uses left, it is an approved one, else the newest: what judges it says what is wrong with it. A halted one is not passed over: a halt
    is not evaded by another approval that members happen to have given, unless somebody chooses that one.

    Args:
        register: the replayed log.
        kind: run or release.
        subject: digest of what members voted on.
        at: instant at which it shall be used (RFC 3339 UTC); None does not look at time windows.
        chosen: digest of the proposal to use.
        besides: proposals to pass over while there are others.

    Raises:
        StepFailed: no proposal, or not the chosen one, is about this subject.
    """
    about = [p for p in register.proposals.values() if p.kind == kind and p.subject == subject]
    if not about:
        why = Sentence("no {kind} proposal in the log names {subject}: members never voted on exactly this", kind=kind, subject=subject)
        raise StepFailed(why, todo=f"coop propose {kind} NAME")
    if chosen is not None:
        found = next((p for p in about if p.id == chosen), None)
        if found is None:
            raise StepFailed(f"the chosen proposal {chosen[:19]} is no {kind} proposal about {subject}", todo=Sentence("choose another, or none"))
        return found
    approved = [p for p in about if p.tally is not None and p.tally.approved and not p.contested()]
    left = [p for p in approved if p.used < p.uses and p.id not in besides and (at is None or p.due() <= at < p.expires())]
    return min(left, key=lambda p: (p.expires(), p.opened)) if left else max(approved or about, key=lambda p: (p.id not in besides, p.opened))


def check_vote(proposal: Proposal) -> str:
    """Recount the ballots under the proposal's own rules; raise StepFailed unless they approve it."""
    if proposal.closed is None:
        todo = Sentence("after {when}: {command}", when=proposal.closes, command=f"coop close {proposal.id[:19]}")
        raise StepFailed(Sentence("the vote is still open: {count} of {roll} have voted so far", count=len(proposal.votes), roll=len(proposal.roll)), todo=todo)
    counted = proposal.count()
    if not counted.approved:
        raise StepFailed(Sentence("members did not approve it: {why}", why=counted.why), todo=Sentence("change the proposal and open a new one"))
    rules = proposal.rules
    if proposal.contested():
        why = Sentence("{count} members objected in time: the approval is undone", count=len(proposal.objections))
        raise StepFailed(why, todo=Sentence("open a new proposal"))
    kind, quorum, approval = Sentence(_QUORUM[rules.quorum]), percent(rules.quorum_percent), percent(rules.approval_percent)
    return Sentence("{why} ({kind} quorum {quorum}, approval {approval})", why=counted.why, kind=kind, quorum=quorum, approval=approval)


def check_usable(proposal: Proposal, subject: str, at: str) -> str:
    """Check that an approval is in its time window and not halted at an instant."""
    require_usable(proposal, proposal.kind, subject, at)
    return Sentence("in its time window, not halted, used {used} of {uses}", used=proposal.used, uses=proposal.uses)


def check_base(folder: Path, base: Base) -> str:
    """Re-hash the base weights against the plan."""
    if not folder.is_dir():
        raise StepUnknown(Sentence("base weights are not at {folder}", folder=folder), todo=Sentence("coop base, or coop train PLAN --base FOLDER"))
    found = inventory(folder)
    if inventory_digest(found) != base.digest:
        voted = {entry.path: entry.sha256 for entry in base.files}
        odd = sorted({entry["path"] for entry in found if voted.get(entry["path"]) != entry["sha256"]} | (set(voted) - {entry["path"] for entry in found}))
        why = Sentence("base weights are not the voted ones: {which}", which=", ".join(odd[:5]) or Sentence("the list of files differs"))
        raise StepFailed(why, todo=Sentence("restore the voted base weights"))
    return Sentence("base {name}, {count} files", name=base.name, count=len(found))


def read_manifest(path: Path) -> tuple[dict[str, object], str]:
    """Return a build manifest and its digest."""
    if not path.is_file():
        raise StepUnknown(Sentence("there is no manifest of a dataset at {path}", path=path), todo="coop build")
    data = path.read_bytes()
    manifest = loads(data, source=str(path))
    if not isinstance(manifest, dict) or manifest.get("format") != "coop.build/v1":
        raise StepFailed(Sentence("{path} is no manifest of a dataset, of a version we know", path=path))
    return manifest, sha256(data)


def check_build(folder: Path, build: BuildRef, use: Use, coop: str, *, files: bool = True) -> tuple[str, list[LedgerRow], Batches]:
    """Re-hash a build's manifest, files and ledger against the plan; return what was checked, the ledger, and the batches behind it.

    Args:
        files: whether to hash the files with the texts too, which are read only where they are used.
    """
    manifest, identity = read_manifest(folder / "manifest.json")
    if identity != build.manifest:
        raise StepFailed("the dataset is not the voted one (manifest digest differs)", todo=Sentence("restore the voted dataset, or plan and vote anew"))
    rows = check_ledger(folder / "ledger.jsonl", manifest, build, use, coop)
    listed = manifest["files"]
    assert isinstance(listed, list)
    for entry in listed:
        path = folder / entry["path"]
        if not files and entry["path"] != "batches.jsonl":
            continue
        if not path.is_file():
            raise StepUnknown(Sentence("file {path} of the dataset is missing", path=path), todo=Sentence("restore the dataset's folder"))
        if file_entry(folder, path) != entry:
            raise StepFailed(
                Sentence("file {path} of the dataset was changed after it was built", path=entry["path"]),
                todo=Sentence("restore it, or build, plan and vote anew"),
            )
    return Sentence("dataset of {count} texts, root {root}", count=build.records, root=build.root[:19]), rows, read_batches(folder / "batches.jsonl")


def check_stages(folder: Path, logged: dict[str, dict[str, int]]) -> None:
    """Check that a build ran the quality stages its entry in the log names, which the bylaws were held against."""
    manifest, _ = read_manifest(folder / "manifest.json")
    if manifest.get("stages", {}) != logged:
        raise StepFailed("the dataset was built with other quality stages than the log says", todo=Sentence("coop build make, which logs what it did"))


def check_ledger(path: Path, manifest: dict[str, object], build: BuildRef, use: Use, coop: str) -> list[LedgerRow]:
    """Check a ledger file against its manifest and the plan: root, counts by language and split, use and cooperative."""
    if not path.is_file():
        raise StepUnknown(Sentence("there is no ledger at {path}", path=path))
    rows, root = read_ledger(path)
    if not (root == manifest["root"] == build.root and len(rows) == manifest["records"] == build.records):
        raise StepFailed("the ledger does not hash to the voted Merkle root", todo=Sentence("restore the voted dataset"))
    if manifest["coop"] != coop or manifest["use"] != use.model_dump():
        raise StepFailed("the dataset was built for another cooperative or another use than the plan's", todo=Sentence("coop build with the plan's use"))
    splits = Counter(row.split for row in rows)
    if manifest["splits"] != {"train": splits["train"], "heldout": splits["heldout"]}:
        raise StepFailed("the counts by split do not follow from the ledger")
    if not count_languages(rows) == manifest["languages"] == build.languages:
        raise StepFailed("the counts by language do not follow from the ledger")
    return rows


def check_consents(register: Register, rows: Sequence[LedgerRow], use: Use, *, at: str, position: int | None = None, run: str | None = None) -> str:
    """Check that every author of every record consents to this use at a log position; raise StepFailed naming how many do not.

    The consent a row cites must itself allow the use, and one that does must stand: the cited one may have been renewed.
    One limited to a number of runs must have one left for `run` (None: a run that has not started).
    """
    where = register.size if position is None else position
    standing: dict[tuple[str, str, str], bool] = {}
    lacking: Counter[str] = Counter()
    for row in rows:
        for author, consent in zip(row.authors, row.consents, strict=True):
            key = (author, row.language, row.batch)
            if key not in standing:
                standing[key] = register.consent_for(author, use, language=row.language, batch=row.batch, at=at, position=where, run=run) is not None
            cited = register.grant(consent, author)
            if not standing[key] or cited is None or cited.given >= where or not permits(cited.consent, use, language=row.language, batch=row.batch, at=at):
                lacking[author] += 1
    if lacking:
        raise StepFailed(
            Sentence(
                "{records} texts lack a consent in force of {count} member(s), first {first}",
                records=sum(lacking.values()),
                count=len(lacking),
                first=min(lacking),
            ),
            todo=Sentence("coop build again without them, then plan and vote anew"),
        )
    authors = {author for row in rows for author in row.authors}
    about = {"purpose": use.purpose, "licence": use.licence}
    return Sentence("{records} texts of {count} members, each with consent in force for {purpose}, {licence}", records=len(rows), count=len(authors), **about)


def check_counted(register: Register, rows: Sequence[LedgerRow], use: Use, run: Run, *, at: str | None = None) -> None:
    """Check that each start of the run counted exactly the limited consents its records stood on, and that at `at` they stand on no other."""
    for number, (position, started, listed) in enumerate(zip(run.starts, run.started, run.counted, strict=True), 1):
        if listed != counted(register, rows, use, at=started, run=run.id, position=position):
            raise StepFailed(
                Sentence(
                    "start {number} of run {run} did not count exactly the consents limited to a number of runs that its texts stand on",
                    number=number,
                    run=run.id,
                ),
                todo=Sentence("start the run again from the log as it is"),
            )
    if at is not None and not set(counted(register, rows, use, at=at, run=run.id)) <= set().union(*run.counted):
        why = Sentence("run {run} stands on a consent limited to a number of runs that it did not count", run=run.id)
        raise StepFailed(why, todo=Sentence("start the run again, which counts it"))


def check_withdrawals(register: Register, rows: Sequence[LedgerRow], use: Use, run: Run, until: int) -> str:
    """Check that for every author one consent that allows the use stood unbroken from the run's first start to log position `until`."""
    gone = set()
    for author, language, batch in {(author, row.language, row.batch) for row in rows for author in row.authors}:
        unbroken = any(
            grant.stands(run.starts[0])
            and grant.stands(until)
            and (grant.consent.occurrences is None or run.id in grant.used)
            and permits(grant.consent, use, language=language, batch=batch, at=run.started[0])
            for grant in register.grants.get(author, [])
        )
        if not unbroken:
            gone.add(author)
    if gone:
        raise StepFailed(
            Sentence("consent of {count} member(s) was withdrawn before the release was decided", count=len(gone)),
            todo=Sentence("build, plan, vote and train again without them"),
        )
    return Sentence("no consent withdrawn between start and release")
