"""A delivery to an outsider: a folder with its own list of files, ledger, terms and proof, which a stranger checks offline.

delivery.json              lists every other file but the last two {path, size, sha256}
request.json terms.md      what members approved, and what follows for the recipient
ledger.jsonl               the rows delivered, or counted, with the consents they stand on
build/manifest.json build/ledger.jsonl batches.jsonl      the build they come from, and what members signed
records.jsonl | answer.json                               the texts, or the counts
proof.jsonl.gz             the log, with votes, income, consents and the delivery itself
deletions/*.json           later: signed lists of what to delete
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from governance_hooks.batches import check_batches, parse_batches
from governance_hooks.canonical import dumps, loads, sha256
from governance_hooks.errors import BadInput
from governance_hooks.fields import Digest, Identifier, Language, Strict
from governance_hooks.inventory import sha256_file
from governance_hooks.ledger import LedgerRow, content_digest, ledger_bytes, parse_ledger
from governance_hooks.links import check_vote, find_proposal
from governance_hooks.money import show_amount
from governance_hooks.proof import Proof, read_proof
from governance_hooks.register import Register
from governance_hooks.report import Checklist, Report, StepFailed, StepUnknown
from governance_hooks.rules.runs import require_usable
from governance_hooks.site.document import read_document, sign_document
from governance_hooks.sshsig import Signer
from governance_hooks.stake.outside import answer, eligible
from governance_hooks.stake.request import AccessRequest, read_request, terms
from governance_hooks.state.stake import Delivery
from governance_hooks.statement import OPERATOR

__all__ = ["Deletions", "Record", "check_delivery", "deletions", "delivery_document", "record_line"]

ALWAYS: Final = ("batches.jsonl", "build/ledger.jsonl", "build/manifest.json", "ledger.jsonl", "request.json", "terms.md")
LAST: Final = ("delivery.json", "proof.jsonl.gz")
_DELETIONS: Final = "deletions"
MAX_FILE = 1 << 31


class Listed(Strict):
    """A file by path, size in bytes and digest."""

    path: Annotated[str, StringConstraints(pattern=r"^(build/)?[a-z]+\.(jsonl?|md)$")]
    size: Annotated[int, Field(ge=0)]
    sha256: Digest


class Manifest(Strict):
    """delivery.json: the log names its digest."""

    format: Literal["coop.delivery-files/v1"] = "coop.delivery-files/v1"
    coop: Digest
    request: Digest
    form: Literal["aggregate", "extract"]
    records: Annotated[int, Field(ge=0)]
    position: Annotated[int, Field(gt=0)]
    """Entries of the log under which consents were looked up."""
    at: Annotated[str, StringConstraints(pattern=r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    """The instant for which consents were judged."""
    files: Annotated[list[Listed], Field(min_length=7, max_length=7)]


class Record(Strict):
    """A text that goes out, with the salt that binds it to its ledger line; whoever has both can compare, nobody else."""

    record: Identifier
    language: Language
    inputs: str
    targets: str
    history: list[tuple[str, str]]
    licence: str
    salt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class Deletions(Strict):
    """What a recipient must delete: commitments and record ids, of authors whose consent no longer stands."""

    delivery: Digest
    position: Annotated[int, Field(gt=0)]
    """Entries of the log that were looked at."""
    records: Annotated[list[Identifier], Field(max_length=10**6)]
    commitments: Annotated[list[Digest], Field(max_length=10**6)]


def record_line(record: Record) -> bytes:
    """Return one line of records.jsonl."""
    return dumps(record.model_dump(mode="json")) + b"\n"


def delivery_document(request: bytes, form: str, records: int, *, coop: str, position: int, at: str, files: Mapping[str, bytes]) -> bytes:
    """Return delivery.json over the other files."""
    listed = [{"path": path, "size": len(data), "sha256": sha256(data)} for path, data in sorted(files.items())]
    made: dict[str, Any] = {"coop": coop, "request": sha256(request), "form": form, "records": records, "position": position, "at": at, "files": listed}
    return dumps(Manifest.model_validate(made).model_dump(mode="json"))


class _Check:
    """Carries what one step finds to the steps after it."""

    def __init__(self, folder: Path, pin: str | None, now: str) -> None:
        self.folder, self.pin, self.now = folder, pin, now
        self.manifest: Manifest | None = None
        self.document = b""
        self.files: dict[str, bytes] = {}
        self.proof: Proof | None = None
        self.register: Register | None = None
        self.request: AccessRequest | None = None
        self.delivery: Delivery | None = None
        self.build: list[LedgerRow] = []
        self.rows: list[LedgerRow] = []

    def _have(self, name: str) -> Any:
        found = getattr(self, name)
        if found is None:
            raise StepUnknown(f"needs the {name}, which an earlier step could not read")
        return found

    def _file(self, path: str) -> bytes:
        if path not in self.files:
            raise StepUnknown(f"needs {path}, which an earlier step could not read")
        return self.files[path]

    def files_are_listed(self) -> str:
        path = self.folder / "delivery.json"
        if not path.is_file() or path.is_symlink():
            raise StepUnknown(f"there is no {path}", todo="get the whole folder")
        self.document = path.read_bytes()
        loads(self.document, source="delivery.json")
        try:
            self.manifest = manifest = Manifest.model_validate_json(self.document)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"delivery.json: {'.'.join(map(str, first['loc']))}: {first['msg']}", value=first.get("input")) from error
        extra = "records.jsonl" if manifest.form == "extract" else "answer.json"
        if [one.path for one in manifest.files] != sorted((*ALWAYS, extra)):
            raise StepFailed("delivery.json does not list the files of a delivery", todo="get it again from the cooperative")
        there = {str(one.relative_to(self.folder)) for one in self.folder.rglob("*") if not one.is_dir() or one.is_symlink()}
        strange = sorted(one for one in there - {listed.path for listed in manifest.files} - set(LAST) if not one.startswith(f"{_DELETIONS}/"))
        if strange or any((self.folder / one).is_symlink() for one in there):
            raise StepFailed(f"the folder holds what is not listed: {', '.join(strange) or 'a link'}", todo="remove it")
        for listed in manifest.files:
            file = self.folder / listed.path
            if not file.is_file():
                raise StepUnknown(f"{listed.path} is missing", todo="get the whole folder")
            if file.stat().st_size != listed.size or listed.size > MAX_FILE or sha256_file(file) != listed.sha256:
                raise StepFailed(f"{listed.path} is not the file delivery.json lists", todo="get it again from the cooperative")
            self.files[listed.path] = file.read_bytes()
        return f"{len(manifest.files)} files, {sum(one.size for one in manifest.files)} bytes"

    def log_holds(self) -> str:
        path = self.folder / "proof.jsonl.gz"
        if not path.is_file():
            raise StepUnknown("there is no proof.jsonl.gz", todo="get the whole folder")
        self.proof = read_proof(path.read_bytes())
        self.register = self.proof.replay(self.pin).register
        if self._have("manifest").coop != self.register.coop:
            raise StepFailed("the delivery is of another cooperative than the log")
        pinned = "pinned" if self.pin else "NOT pinned, compare the fingerprint"
        return f"{self.register.name} {self.register.coop[:19]} ({pinned}), {len(self.proof.entries)} entries replayed"

    def request_is_voted(self) -> str:
        data, register = self._file("request.json"), self._have("register")
        self.request = request = read_request(data)
        if sha256(data) != self._have("manifest").request or request.coop != register.coop or request.form != self._have("manifest").form:
            raise StepFailed("request.json is not the request this delivery is for")
        if self._file("terms.md") != terms(request):
            raise StepFailed("terms.md is not what follows from the request", todo="get it again from the cooperative")
        proposal = find_proposal(register, "access", sha256(data), chosen=self._logged().proposal)
        words = check_vote(proposal)
        require_usable(proposal, "access", sha256(data), self._logged().issued)
        return f"{request.name}: {words}"

    def _logged(self) -> Delivery:
        found = self._have("register").deliveries.get(self._have("manifest").request)
        if found is None:
            raise StepFailed("the log holds no delivery of this request", todo="it was not delivered by the cooperative: do not use it")
        return found  # type: ignore[no-any-return]

    def delivery_is_logged(self) -> str:
        manifest, found = self._have("manifest"), self._logged()
        if (found.delivery, found.kind, found.records) != (sha256(self.document), manifest.form, manifest.records):
            raise StepFailed("the log names another delivery for this request", todo="it is not what the cooperative delivered: do not use it")
        if not manifest.position <= found.position or manifest.at > found.issued:
            raise StepFailed("the delivery says it was made after it was logged")
        self.delivery = found
        return f"entry {found.position}, {found.issued}"

    def price_is_booked(self) -> str:
        request, found = self._have("request"), self._have("delivery")
        return check_price(self._have("register"), request, found.income, before=found.position)

    def build_is_logged(self) -> str:
        request, manifest = self._have("request"), self._file("build/manifest.json")
        document = loads(manifest, source="build/manifest.json")
        rows, root = parse_ledger(self._file("build/ledger.jsonl"), source="build/ledger.jsonl")
        if sha256(manifest) != request.build or request.build not in self._have("register").builds:
            raise StepFailed("the dataset is not the one of the request, or the log does not know it")
        if root != document.get("root"):
            raise StepFailed("the ledger is not that of the dataset")
        self.build = rows
        return f"dataset of {len(rows)} texts, root {root[:19]}"

    def consents_stood(self) -> str:
        manifest, request, proof = self._have("manifest"), self._have("request"), self._have("proof")
        if not self.build:
            raise StepUnknown("needs the dataset's ledger")
        self.rows, _ = parse_ledger(self._file("ledger.jsonl"), source="ledger.jsonl")
        register = proof.fold(manifest.position)
        # Judged right before the delivery was logged, not when its files were made: who withdrew between the two was not to be in it.
        allowed = eligible(self._have("register"), self.build, request, at=self._have("delivery").issued, position=self._have("delivery").position)
        first = eligible(register, self.build, request, at=manifest.at)
        if ledger_bytes(self.rows) != ledger_bytes(first) or not {row.record for row in self.rows} <= {row.record for row in allowed}:
            raise StepFailed("the rows are not exactly those whose authors consented to this when it was delivered", todo="do not use it; tell the cooperative")
        if len(self.rows) != manifest.records:
            raise StepFailed("the count of texts is not that of the ledger")
        return f"{len(self.rows)} texts of {len({a for row in self.rows for a in row.authors})} members, each consented to {request.purpose}, {request.licence}"

    def _ledger(self) -> list[LedgerRow]:
        if not self.rows:
            raise StepUnknown("needs the delivery's ledger, which an earlier step could not read")
        return self.rows

    def members_signed(self) -> str:
        batches = parse_batches(self._file("batches.jsonl"), source="batches.jsonl")
        return check_batches(self._have("register"), self._ledger(), batches)

    def content_matches(self) -> str:
        request, rows = self._have("request"), self._ledger()
        if request.form == "aggregate":
            if self._file("answer.json") != dumps(answer(rows, request)):
                raise StepFailed("the answer does not follow from the rows", todo="do not use it; tell the cooperative")
            return f"answer to {request.query} counted again"
        lines = self._file("records.jsonl").split(b"\n")[:-1]
        if len(lines) != len(rows):
            raise StepFailed(f"{len(lines)} texts, {len(rows)} rows in the ledger")
        for line, row in zip(lines, rows, strict=True):
            record = _record(line)
            made = content_digest(record.salt, record.record, record.inputs, record.targets, record.language, record.history)
            if (record.record, record.language, made) != (row.record, row.language, row.content):
                raise StepFailed(f"text {row.record} is not the one the ledger names", todo="do not use it; tell the cooperative")
        return f"{len(lines)} texts hashed again"

    def deletions_hold(self) -> str:
        self._have("manifest")  # where there is no delivery, nothing that is missing says anything
        folder, total = self.folder / _DELETIONS, 0
        known = {row.record: row for row in self.rows}
        for path in sorted(folder.glob("*")) if folder.is_dir() else []:
            statement = read_document(path.read_bytes(), {"coop.deletions/v1": Deletions}, source=path.name)
            register, listed = self._have("register"), statement.payload
            assert isinstance(listed, Deletions)
            if statement.signers != {register.operator} or listed.delivery != sha256(self.document):
                raise StepFailed(f"{path.name} is not signed by the operator for this delivery")
            if [known[record].commitment if record in known else "" for record in listed.records] != listed.commitments:
                raise StepFailed(f"{path.name} names what is not in this delivery")
            total = max(total, len(listed.records))
        if total:
            raise StepFailed(f"{total} texts are withdrawn", todo=f"delete what the newest file in {_DELETIONS} names, and tell the cooperative")
        return "no list of deletions is here; ask the cooperative for a newer one"

    def is_in_time(self) -> str:
        request = self._have("request")
        if self.now >= request.until:
            raise StepFailed(f"it was to be deleted by {request.until}", todo="delete the folder and what was made of it")
        return f"until {request.until}"


def check_price(register: Register, request: AccessRequest, income: str | None, *, before: int | None = None) -> str:
    """Check that the price of a request is booked; raise StepFailed with what is missing."""
    price = request.price
    if not price.amount:
        if income is not None:
            raise StepFailed("an income is named for what has no price")
        return "it has no price"
    booked = register.incomes.get(income or "")
    if booked is None or (booked.amount, booked.currency) != (price.amount, price.currency) or booked.source != "access":
        raise StepFailed(f"the price of {show_amount(price.amount, price.currency)} is not booked", todo="coop access pay, once it has come in")
    if before is not None and booked.position >= before:
        raise StepFailed("the price was booked after the delivery")
    return f"{show_amount(price.amount, price.currency)} booked in entry {booked.position}"


def _record(line: bytes) -> Record:
    loads(line, source="records.jsonl")
    try:
        return Record.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"records.jsonl: {'.'.join(map(str, first['loc']))}: {first['msg']}", value=first.get("input")) from error


def check_delivery(folder: Path, *, pin: str | None, now: str) -> Report:
    """Check a delivery folder offline, step by step.

    Args:
        folder: as it was handed over.
        pin: digest of the founding statement of the cooperative; None takes the one in the proof (the report says so).
        now: RFC 3339 UTC, to say whether its time is over.
    """
    state, checks = _Check(folder, pin, now), Checklist(f"delivery {folder.name or folder.resolve().name}")
    checks.run("files are those listed", state.files_are_listed)
    checks.run("log holds", state.log_holds)
    checks.run("delivery is logged", state.delivery_is_logged)
    checks.run("members approved it", state.request_is_voted)
    checks.run("price is booked", state.price_is_booked)
    checks.run("dataset is logged", state.build_is_logged)
    checks.run("consents stood", state.consents_stood)
    checks.run("members signed for it", state.members_signed)
    checks.run("content matches", state.content_matches)
    checks.run("nothing is withdrawn", state.deletions_hold)
    checks.run("its time is not over", state.is_in_time)
    return checks.report()


def deletions(register: Register, folder: Path, *, at: str, key: Signer) -> tuple[bytes, Deletions] | None:
    """Return the operator's signed list of what the recipient must delete now, or None if nothing has been withdrawn."""
    rows, _ = parse_ledger((folder / "ledger.jsonl").read_bytes(), source="ledger.jsonl")
    request = read_request((folder / "request.json").read_bytes())
    # A language is not deleted because it has become small: only what has lost a consent is.
    standing = {row.record for row in eligible(register, rows, request.model_copy(update={"minimum_members": 1}), at=at)}
    gone = [row for row in rows if row.record not in standing]
    if not gone:
        return None
    made = Deletions(
        delivery=sha256((folder / "delivery.json").read_bytes()),
        position=register.size,
        records=[row.record for row in gone],
        commitments=[row.commitment for row in gone],
    )
    return sign_document("coop.deletions/v1", made, coop=register.coop, author=OPERATOR, key=key, issued=at), made
