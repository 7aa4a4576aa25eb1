"""Data for outsiders, from the cooperative's side: the request members vote on, the price, the delivery, and what to delete later."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from commonweights.payouts import build_with
from commonweights.witnesses import witnessed_proof
from commonweights.workspace import Workspace
from governance_hooks.atomic import atomic_directory, write_bytes
from governance_hooks.batches import batches_bytes, read_batches
from governance_hooks.canonical import dumps, sha256
from governance_hooks.errors import BadInput, CoopError
from governance_hooks.ledger import LedgerRow, ledger_bytes, read_ledger
from governance_hooks.links import check_vote, find_proposal
from governance_hooks.register import Register
from governance_hooks.report import Checklist, Report, StepFailed, StepUnknown
from governance_hooks.rules.runs import require_usable
from governance_hooks.sshsig import load_private_key
from governance_hooks.stake.delivery import Record, check_price, deletions, delivery_document, record_line
from governance_hooks.stake.outside import answer, eligible, members_of
from governance_hooks.stake.request import AccessRequest, read_request, requester_commitment, terms
from governance_hooks.state.stake import Delivery
from governance_hooks.statement import shift

__all__ = ["BUDGET", "Asked", "asked", "deliver", "keep_request", "may_deliver", "pay", "requests", "write_deletions"]

BUDGET: Final = 4
"""Answers counted over one build in a year, whoever asks: each one tells something, and together they tell more."""
YEAR_S: Final = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in the cooperative's folder."""

    path: Path
    data: bytes
    request: AccessRequest

    @property
    def digest(self) -> str:
        """The subject of its vote."""
        return sha256(self.data)


def asked(space: Workspace, name: str) -> Asked:
    """Return a request by name or file."""
    path = Path(name) if Path(name).is_file() else space.root / "access" / name / "request.json"
    if not path.is_file():
        raise BadInput(f"there is no request {name}", next="coop access request NAME")
    data = path.read_bytes()
    return Asked(path, data, read_request(data, source=str(path)))


def requests(space: Workspace) -> list[Asked]:
    """Return all requests, by name."""
    return [asked(space, str(path)) for path in sorted((space.root / "access").glob("*/request.json"))]


def keep_request(space: Workspace, who: str, **fields: object) -> Asked:
    """Write a request for members to vote on; who asks goes to the private store, and only a salted digest of it into the request."""
    if not 1 <= len(who) <= 500 or not who.isprintable():
        raise BadInput("who asks is a name of one line", value=who[:50], allowed="1 to 500 characters")
    salt = secrets.token_hex(16)
    data = dumps({"format": "coop.access/v1", "coop": space.coop.register.coop, "requester": requester_commitment(who, salt)} | fields)
    request = read_request(data, source="this request")
    path = space.root / "access" / request.name / "request.json"
    if path.exists():
        raise BadInput(f"there is a request {request.name} already", next="another name")
    private = space.root / "private" / "access"
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_bytes(private / f"{request.name}.json", dumps({"name": who, "salt": salt}), mode=0o600)
    write_bytes(path, data)
    return Asked(path, data, request)


def pay(space: Workspace, name: str) -> str:
    """Book the price of an approved request as come in; return the statement."""
    found = asked(space, name)
    if not found.request.price.amount:
        raise BadInput(f"request {found.request.name} has no price", next=f"coop access deliver {found.request.name}")
    proposal = _approval(space.coop.register, found, space.coop.clock())
    price = found.request.price
    payload = {"amount": price.amount, "currency": price.currency, "source": "access", "paper": found.digest, "proposal": proposal}
    return space.coop.operate("coop.income/v1", payload).id


def _approval(register: Register, found: Asked, at: str) -> str:
    try:
        proposal = find_proposal(register, "access", found.digest, at=at)
    except StepFailed as error:
        raise BadInput(str(error), next=f"coop propose access {found.path}") from error
    require_usable(proposal, "access", found.digest, at)
    return proposal.id


def _price(register: Register, found: Asked) -> str | None:
    return next((one.id for one in register.incomes.values() if one.source == "access" and one.paper == found.digest), None)


def _rows(space: Workspace, request: AccessRequest) -> tuple[Path, list[LedgerRow]]:
    build = build_with(space, request.build)
    return build, read_ledger(build / "ledger.jsonl")[0]


def _earlier(space: Workspace, found: Asked) -> list[tuple[AccessRequest, Delivery]]:
    """Return the answers counted over the same build before."""
    register = space.coop.register
    others = [one for one in requests(space) if one.request.form == "aggregate" and one.request.build == found.request.build and one.digest != found.digest]
    return [(one.request, register.deliveries[one.digest]) for one in others if one.digest in register.deliveries]


def _tells_little(space: Workspace, found: Asked, rows: list[LedgerRow], at: str) -> str:
    """Refuse an answer that, beside earlier ones, would tell too much."""
    request, register = found.request, space.coop.register
    if request.form == "extract":
        return "an extract; its terms forbid joining it"
    earlier = _earlier(space, found)
    recent = [delivery for _, delivery in earlier if shift(delivery.issued, YEAR_S) > at]
    if len(recent) >= BUDGET:
        raise StepFailed(f"{len(recent)} answers were counted over this dataset in a year", todo=f"{BUDGET} are allowed; ask over another dataset, or wait")
    now = members_of(eligible(register, rows, request, at=at))
    for other, delivery in earlier:
        before = members_of(eligible(space.coop.proof().fold(delivery.position), rows, other, at=delivery.issued))
        for language in now.keys() & before.keys():
            changed = len(now[language] ^ before[language])
            if 0 < changed < request.minimum_members:
                raise StepFailed(
                    f"beside answer {other.name} this one would tell what {changed} member(s) of {language} gave", todo="wait until more have come or gone"
                )
    return f"answer {len(recent) + 1} of {BUDGET} over this dataset in a year"


def may_deliver(space: Workspace, found: Asked) -> Report:
    """Return the table of what a delivery needs: the vote, the time, the price, the build, what it tells beside earlier answers, the consents."""
    register, request, at = space.coop.register, found.request, space.coop.clock()
    checks = Checklist(f"delivery of request {request.name}")

    def voted() -> str:
        if request.coop != register.coop:
            raise StepFailed("the request is to another cooperative")
        proposal = find_proposal(register, "access", found.digest, at=at)
        words = check_vote(proposal)
        require_usable(proposal, "access", found.digest, at)
        return words

    def once() -> str:
        if found.digest in register.deliveries:
            raise StepFailed("this request is delivered already", todo="coop access request, for another")
        return "not delivered yet"

    def in_time() -> str:
        if at >= request.until:
            raise StepFailed(f"its time was over at {request.until}", todo="coop access request, for another time")
        return f"until {request.until}"

    def build() -> str:
        if request.build not in register.builds:
            raise StepFailed("the log does not know this dataset", todo="coop build make, which logs it")
        return f"{len(_rows(space, request)[1])} texts in the dataset"

    def consents() -> str:
        kept = eligible(register, _rows(space, request)[1], request, at=at)
        if not kept:
            raise StepFailed(f"no language has {request.minimum_members} members who consent to this", todo="members say so with coop consent give --outsider")
        return f"{len(kept)} texts of {len({author for row in kept for author in row.authors})} members consent to this"

    checks.run("members approved it", voted)
    checks.run("it is the first", once)
    checks.run("its time is not over", in_time)
    checks.run("price is booked", lambda: check_price(register, request, _price(register, found)))
    checks.run("dataset is logged", build)
    checks.run("it tells little beside others", lambda: _tells_little(space, found, _rows(space, request)[1], at))
    checks.run("members consent to it", consents)
    return checks.report()


def deliver(space: Workspace, name: str) -> Path:
    """Make, log and return the folder of a delivery; raise Blocked unless all it needs is there."""
    space.coop.operate("coop.time/v1", {})  # votes and consents are judged by the log's clock, here as by everybody who checks
    found = asked(space, name)
    target = space.root / "deliveries" / found.request.name
    if _cut_off(space, found, target):
        write_bytes(target / "proof.jsonl.gz", witnessed_proof(space).dumps())
        return target
    may_deliver(space, found).require()
    register, request, at = space.coop.register, found.request, space.coop.clock()
    build, rows = _rows(space, request)
    kept = eligible(register, rows, request, at=at)
    signed = read_batches(build / "batches.jsonl")
    files = {
        "request.json": found.data,
        "terms.md": terms(request),
        "ledger.jsonl": ledger_bytes(kept),
        "build/ledger.jsonl": (build / "ledger.jsonl").read_bytes(),
        "build/manifest.json": (build / "manifest.json").read_bytes(),
        "batches.jsonl": batches_bytes({row.batch: signed[row.batch] for row in kept}),
    }
    if request.form == "extract":
        files["records.jsonl"] = _texts(build, {row.record for row in kept})
    else:
        files["answer.json"] = dumps(answer(kept, request))
    document = delivery_document(found.data, request.form, len(kept), coop=register.coop, position=register.size, at=at, files=files)
    with atomic_directory(target, replace=True) as folder:  # what lies there was made by a call that was cut off before it was logged
        for path, data in (*files.items(), ("delivery.json", document)):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(data)
    space.coop.refresh()
    may_deliver(space, found).require()  # whoever withdrew while the files were made is not handed out
    if ledger_bytes(eligible(register, rows, request, at=space.coop.clock())) != files["ledger.jsonl"]:
        raise CoopError("consents changed while the delivery was made", next="the same command again")
    payload = {
        "request": found.digest,
        "proposal": _approval(register, found, at),
        "delivery": sha256(document),
        "kind": request.form,
        "records": len(kept),
        "income": _price(register, found),
    }
    space.coop.operate("coop.delivery/v1", payload)
    write_bytes(target / "proof.jsonl.gz", witnessed_proof(space).dumps())
    return target


def _cut_off(space: Workspace, found: Asked, folder: Path) -> bool:
    """Tell whether a delivery was logged and its proof is missing: the machine died between the two."""
    logged, document = space.coop.register.deliveries.get(found.digest), folder / "delivery.json"
    return logged is not None and document.is_file() and sha256(document.read_bytes()) == logged.delivery and not (folder / "proof.jsonl.gz").is_file()


def _texts(build: Path, wanted: set[str]) -> bytes:
    from data_pipeline.manifest import read_build
    from data_pipeline.manifest import read_ledger as checked_ledger
    from data_pipeline.parquet import checked_rows

    opened = read_build(build)
    lines = []
    for row in checked_rows(opened.records, checked_ledger(opened)):
        if row.line.record in wanted:
            lines.append(
                record_line(
                    Record(
                        record=row.line.record,
                        language=row.line.language,
                        inputs=row.inputs,
                        targets=row.targets,
                        history=list(row.history),
                        licence=row.licence,
                        salt=row.salt,
                    )
                )
            )
    return b"".join(lines)


def write_deletions(space: Workspace, name: str) -> tuple[Path, int] | None:
    """Write the signed list of what a recipient must delete now, beside a fresh proof; None if nothing was withdrawn since."""
    folder = space.root / "deliveries" / name
    if not (folder / "delivery.json").is_file():
        raise StepUnknown(f"there is no delivery {name}", todo="coop access list")
    key = load_private_key(space.coop.paths.operator_key)
    made = deletions(space.coop.register, folder, at=space.coop.clock(), key=key)
    if made is None:
        return None
    document, listed = made
    path = folder / "deletions" / f"{listed.position:08d}.json"
    write_bytes(path, document)
    write_bytes(folder / "proof.jsonl.gz", witnessed_proof(space).dumps())
    return path, len(listed.records)
