"""Verify a release folder: ten links from the file you downloaded back to the members' signatures, offline.

Built like sigstore-python's verifier: each link is a small numbered function with its own reason. A broken link is
FAIL (exit 1); a file that is absent or unreadable is UNKNOWN (exit 2). What cannot be checked never passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from governance_hooks import merkle
from governance_hooks.batches import check_batches, parse_batches
from governance_hooks.canonical import digest, dumps, loads, sha256
from governance_hooks.ledger import LedgerRow, parse_ledger
from governance_hooks.links import MAX_AGE_S, check_age, check_consents, check_counted, check_ledger, check_stages, check_vote, check_withdrawals, find_proposal
from governance_hooks.proof import Proof, read_proof
from governance_hooks.register import Register
from governance_hooks.report import Checklist, Report, StepFailed, StepUnknown
from governance_hooks.state import Run
from governance_hooks.statement import CLOCK_SKEW_S
from governance_hooks.vocabulary import PUBLIC
from model_card.bundle import FILES, PROOF, RELEASE, WEIGHTS, read_bundle
from model_card.card import make_card
from model_card.conformity import check_adapter_config, check_run
from model_card.evaluation import judge_again
from model_card.records import CardRecords
from model_card.renderer import renderer_digest
from model_card.renderers.readme import render
from model_card.schemas import ReleaseDocument
from model_card.votes import votes_of
from model_card.weights import check_safetensors

__all__ = ["LINKS", "NOT_PROVEN", "verify"]

NOT_PROVEN = """What this does not prove:
- that training read only the listed records: it would take training again to show it; the operator signed that it did
- that the commitments in the ledger are those in the batches members signed, and that no author of an edit was left out: the log has
  their number by language, contributor and batch; the cooperative's own store can show the rest
- that the losses were measured honestly: verdicts are recomputed from them, but the operator signed the measurement
- that a member understood what they consented to, or owned what they gave
- that the clock of the log is right, and that the log shown to you is the one shown to others: link 3 says how many witnesses vouch for
  both; where it says none, times are the operator's word: compare the checkpoint with somebody else's
- that nobody withdrew or halted after the checkpoint: ask the cooperative for a newer one
- that the evaluation asks the right questions: a lower loss is not truth, use or safety"""

_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


def _root(leaves: Sequence[bytes]) -> str:
    return "sha256:" + merkle.root([merkle.leaf_hash(leaf) for leaf in leaves]).hex()


class _Verifier:
    """Carries what one link finds to the links after it."""

    def __init__(self, folder: Path, pin: str | None, now: str | None, max_age_s: int) -> None:
        self.bundle = read_bundle(folder)
        self.pin, self.now, self.max_age_s = pin, now, max_age_s
        self.proof: Proof | None = None
        self.register: Register | None = None
        self.run_was_voted = False

    def _bytes(self, path: str) -> bytes:
        if path not in self.bundle.data:
            raise StepUnknown(f"{path} is missing", todo="download the release again, whole")
        return self.bundle.data[path]

    def _release(self) -> ReleaseDocument:
        self._bytes(RELEASE)
        if self.bundle.malformed is not None:
            raise self.bundle.malformed
        assert self.bundle.release is not None
        return self.bundle.release

    def _register(self) -> Register:
        if self.register is None:
            raise StepUnknown("needs a log that holds (links 2 and 3)")
        return self.register

    def _run(self) -> Run:
        return self._register().run(self._release().run)

    def _records(self) -> CardRecords:
        release, get = self._release(), self._bytes
        votes = votes_of(self._register(), run=release.run, consents={consent for row in self._ledger() for consent in row.consents})
        return CardRecords(release.name, release.coop, get("plan.json"), get("run.json"), get("data/manifest.json"), get("eval/report.json"), votes)

    def _plain(self) -> CardRecords:
        """Return the records without the log's part."""
        release, get = self._release(), self._bytes
        return CardRecords(release.name, release.coop, get("plan.json"), get("run.json"), get("data/manifest.json"), get("eval/report.json"))

    def _ledger(self) -> list[LedgerRow]:
        return parse_ledger(self._bytes("data/ledger.jsonl"), source="data/ledger.jsonl")[0]

    # (1) The folder holds exactly the files release.json lists, and the proof.
    def files(self) -> str:
        bundle = self.bundle
        if RELEASE in bundle.data:
            self._release()
        if bundle.wrong:
            raise StepFailed("; ".join(bundle.wrong[:5]), todo="do not use these files; download the release again from the cooperative")
        if bundle.missing:
            raise StepUnknown(f"missing: {', '.join(bundle.missing)}", todo="download the release again, whole")
        return f"{len(FILES)} files, {sum(bundle.sizes.values()):,} bytes, release {sha256(bundle.data[RELEASE])[:19]}"

    # (2) The proof is of the cooperative release.json names; its checkpoint is signed and covers all its entries.
    def log(self) -> str:
        self.proof = read_proof(self._bytes(PROOF))
        checkpoint = self.proof.verify_log(self.pin)
        coop = self.proof.fold(1).coop
        if self._release().coop != coop:
            raise StepFailed("release.json names another cooperative than the log", todo="ask where the folder comes from")
        if self.now is not None and checkpoint.time > int(datetime.fromisoformat(self.now).timestamp()) + CLOCK_SKEW_S:
            raise StepFailed("the checkpoint is dated in the future", todo="set this machine's clock, or ask the cooperative about theirs")
        pinned = "the pinned cooperative" if self.pin else f"not pinned: compare this fingerprint, {coop}"
        return f"{checkpoint.size} entries under a signed checkpoint; {pinned}"

    # (3) Every statement of the log is signed by whoever had the right, every rule held, and witnesses saw it as the bylaws require.
    def statements(self) -> str:
        if self.proof is None:
            raise StepUnknown("needs a proof that can be read (link 2)")
        checkpoint = self.proof.verify_log(self.pin)
        register = self.proof.fold()
        witnessed = register.bylaws.policy.check(checkpoint)
        self.register = register
        if self.now is not None:
            check_age(witnessed, self.now, self.max_age_s)
        return f"{self.register.size} statements replayed, {len(self.register.members)} members; {witnessed.words}"

    # (4) Members voted for exactly this release.json, and the log holds its release under that vote.
    def release_vote(self) -> str:
        register, subject = self._register(), sha256(self._bytes(RELEASE))
        published = register.releases.get(subject)  # a later vote on the same release does not hide the one it went out under
        proposal = register.proposal(published) if published else find_proposal(register, "release", subject)
        counted = check_vote(proposal)
        if published is None or subject not in self._run().releases:
            raise StepFailed(
                "the vote approves it, but the log holds no release of it for this run", todo="ask the cooperative for the proof made after the release"
            )
        if self.now is not None and (halt := proposal.halted(self.now)) is not None:
            raise StepFailed(f"{halt.by} halted this release until {halt.until}", todo="wait, and ask the cooperative why")
        return counted

    # (5) Members voted for exactly this plan before the run.
    def run_vote(self) -> str:
        release, subject = self._release(), sha256(self._bytes("plan.json"))
        proposal = self._register().proposal(release.run_proposal)
        if not (proposal.kind == "run" and proposal.subject == subject == release.plan):
            raise StepFailed("the run proposal is about another plan than plan.json", todo="do not use these files")
        counted = check_vote(proposal)
        run = self._run()
        if not (run.proposal == proposal.id and run.plan == subject):
            raise StepFailed("the log says the run was made under another proposal or plan", todo="do not use these files")
        assert self.proof is not None  # there is no register without it
        ended = self.proof.entries[run.starts[-1] if run.ended is None else run.ended]
        check_run(self._plain().plan, self._plain().run, run, uses=proposal.uses, ended=loads(ended)["body"]["issued"])
        if self.now is not None and (halt := proposal.halted(self.now)) is not None:
            raise StepFailed(f"{halt.by} halted this run until {halt.until}", todo="wait, and ask the cooperative why")
        self.run_was_voted = True
        return f"{counted}; {len(run.starts)} start(s), all after the vote"

    # (6) The weights are what the signed end of the run says came out of it, and they are plain safetensors.
    def weights(self) -> str:
        release, bundle = self._release(), self.bundle
        record = self._plain().run
        if WEIGHTS not in bundle.digests:
            raise StepUnknown(f"{WEIGHTS} is missing", todo="download the release again, whole")
        names = ("adapter_config.json", "adapter_model.safetensors")
        self._bytes("weights/adapter_config.json")
        found = [{"path": f"adapter/{n}", "size": bundle.sizes[f"weights/{n}"], "sha256": bundle.digests[f"weights/{n}"]} for n in names]
        if sorted(record.get("outputs"), key=lambda entry: str(entry["path"])) != found:
            raise StepFailed("the weights are not the output run.json names", todo="do not load them")
        check_adapter_config(self._plain().plan, self._bytes("weights/adapter_config.json"))
        tensors, parameters = check_safetensors(bundle.folder / WEIGHTS)
        run = self._run()
        if not (run.status == record.get("status") == "completed" and record.get("run") == run.id):
            raise StepFailed("the log does not say that this run completed", todo="do not use these files")
        if record.get("unreleasable") is not None:
            raise StepFailed("run.json says that this run may not be released", todo="do not use these files")
        if not (run.record == record.sha256 == release.record and run.outputs == digest(record.get("outputs"))):
            raise StepFailed("run.json is not the record the operator signed at the end of the run", todo="do not use these files")
        if record.get("proposal") != release.run_proposal or record.get("plan") != release.plan or record.get("coop") != release.coop:
            raise StepFailed("run.json names another plan, proposal or cooperative", todo="do not use these files")
        return f"{tensors} tensors, {parameters:,} parameters, output of run {run.id}"

    # (7) The data is the build of the voted plan, and its counts follow from the public ledger.
    def data(self) -> str:
        release, records = self._release(), self._plain()
        manifest, plan = records.manifest, records.plan
        if not (manifest.sha256 == plan.build.manifest == release.build):
            raise StepFailed("data/manifest.json is not the build of the voted plan", todo="do not use these files")
        for name in ("ledger.jsonl", "batches.jsonl"):
            held = self._bytes(f"data/{name}")
            if {"path": name, "size": len(held), "sha256": sha256(held)} not in manifest.get("files"):
                raise StepFailed(f"data/{name} is not the file the manifest names", todo="do not use these files")
        rows = check_ledger(self.bundle.folder / "data/ledger.jsonl", manifest.document, plan.build, plan.use, release.coop)
        if manifest.sha256 not in self._register().builds:
            raise StepFailed("the log does not know this build", todo="ask the cooperative")
        check_stages(self.bundle.folder / "data", self._register().builds[manifest.sha256])
        assert self.proof is not None  # there is no register without it
        size, stated = manifest.get("log", "size"), manifest.get("log", "root")
        if size > len(self.proof.entries) or _root(self.proof.entries[:size]) != stated:
            raise StepFailed("the build was made from another log than this one", todo="ask the cooperative")
        cited = [self._register().grant(consent, author) for row in rows for author, consent in zip(row.authors, row.consents, strict=True)]
        if any(grant is None or grant.given >= size for grant in cited):
            raise StepFailed("the build names consents that were not in the log it says it was made from", todo="ask the cooperative")
        train = sorted(row.record for row in rows if row.split == "train")
        trained, trained_root = records.run.get("trained_records"), records.run.get("trained_root")
        if trained > len(train) or (trained == len(train) and trained_root != _root([record.encode() for record in train])):
            raise StepFailed("run.json says it trained on other records than the ledger's", todo="do not use these files")
        return f"{len(rows)} records in {len(plan.build.languages)} languages, {trained} of {len(train)} trained on, root {plan.build.root[:19]}"

    # (8) Every author of every record consented to this use at every start, to the public's having it, and nobody withdrew before the release.
    def consent(self) -> str:
        register, rows, plan, run = self._register(), self._ledger(), self._plain().plan, self._run()
        check_batches(register, rows, parse_batches(self._bytes("data/batches.jsonl"), source="data/batches.jsonl"))
        if PUBLIC not in plan.use.recipients:
            raise StepFailed("members agreed to no release to the public", todo="do not use these files")
        for position, at in zip(run.starts, run.started, strict=True):
            standing = check_consents(register, rows, plan.use, at=at, position=position, run=run.id)
        check_counted(register, rows, plan.use, run)
        return f"{standing}; {check_withdrawals(register, rows, plan.use, run, run.releases.get(sha256(self._bytes(RELEASE)), register.size))}"

    # (9) The evaluation follows the voted policy, covers every held-out record, and its verdicts follow from the per-record losses.
    def evaluation(self) -> str:
        self._require_run_vote()
        release, records, results = self._release(), self._plain(), self._bytes("eval/results.jsonl")
        judged = judge_again(records, self.bundle.data, self._ledger())
        run = self._run()
        waiver = run.waived_before_release()
        if not judged["passed"] and waiver is None:
            raise StepFailed("the weights did not pass the policy members voted", todo="do not use these weights as a release")
        signed = run.report == records.report.sha256 == release.report and run.results == sha256(results)
        if not (signed and (run.evaluation_passed, run.waivable) == (judged["passed"], judged.get("waivable", True))):
            raise StepFailed("the report is not the evaluation the operator signed in the log", todo="do not trust the card's numbers")
        verdicts = [row["verdict"] for row in judged["languages"].values()]
        counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("PASS", "FAIL", "INSUFFICIENT"))
        outcome = "" if waiver is None else f"; NOT passed, which members waived by their vote {waiver[:19]}"
        return f"{judged['overall']['items']} held-out records judged again: {counts} of {len(verdicts)} languages; {len(records.report.get('skipped'))} skipped as too long{outcome}"

    def _require_run_vote(self) -> None:
        """Recomputing what no members' vote stands behind would only let a stranger's files keep this machine busy."""
        if not self.run_was_voted:
            raise StepUnknown("needs the run vote (link 5)")

    def _require_our_renderer(self) -> None:
        """An untouched card of another renderer cannot be compared here; a touched one has failed link 1 already and fails here."""
        release, written = self._release(), loads(self._bytes("card.json"), floats=True, source="card.json").get("renderer")
        untouched = any(entry.path == "card.json" and entry.sha256 == self.bundle.digests["card.json"] for entry in release.files)
        if untouched and written != renderer_digest():
            raise StepUnknown(
                "the card was rendered by another version of commonweights than this one", todo="install the version the cooperative used, and verify again"
            )

    # (10) Card and README are what these records render to, byte for byte.
    def card(self) -> str:
        records = self._records()
        if records.plan.use.licence != self._release().licence:
            raise StepFailed("release.json states another licence than the voted plan", todo="the licence members agreed to is the plan's")
        self._require_run_vote()
        self._require_our_renderer()
        card = make_card(records)
        if dumps(card) != self._bytes("card.json"):
            raise StepFailed("card.json is not what the records render to", todo="do not believe the card")
        readme = render(card, records).encode()
        if readme != self._bytes("README.md"):
            raise StepFailed("README.md is not what the card renders to", todo="do not believe the README")
        return f"card.json and README.md rendered again, {len(readme):,} bytes equal"


LINKS: tuple[tuple[str, Callable[[_Verifier], str]], ...] = (
    ("files match release.json", _Verifier.files),
    ("cooperative and log", _Verifier.log),
    ("signatures and rules", _Verifier.statements),
    ("release vote", _Verifier.release_vote),
    ("run vote", _Verifier.run_vote),
    ("weights are the run's output", _Verifier.weights),
    ("data is the voted build", _Verifier.data),
    ("consent in force", _Verifier.consent),
    ("evaluation under the voted policy", _Verifier.evaluation),
    ("card renders identically", _Verifier.card),
)
"""Name and check of each link, in order."""


def _guarded(check: Callable[[_Verifier], str], verifier: _Verifier) -> Callable[[], str]:
    def run() -> str:
        try:
            return check(verifier)
        except _MALFORMED as error:  # a record shaped so oddly that reading it breaks is a forged one, not an unknown one
            raise StepFailed(f"a record is malformed: {type(error).__name__}: {error}", todo="do not use these files") from error

    return run


def verify(bundle: Path, *, pin: str | None = None, now: str | None = None, max_age_s: int = MAX_AGE_S) -> Report:
    """Check all ten links of a release folder and return the table; `exit_code` is 0, 1 (a link is broken) or 2 (something is missing).

    Args:
        bundle: release folder as downloaded; nothing is written to it.
        pin: digest of the founding statement you expect; without it the line of link 2 asks you to compare the fingerprint.
        now: RFC 3339 UTC at which a halt of the release would count; without it neither halts nor the age of the proof are looked at, so an
            archived release keeps its answer.
        max_age_s: with `now`: an older checkpoint cannot show that nobody halted it since, seconds.

    Raises:
        BadInput: there is no such folder.
    """
    verifier = _Verifier(bundle, pin, now, max_age_s)
    checklist = Checklist(f"Verification of {bundle.name}")
    for name, check in LINKS:
        checklist.run(name, _guarded(check, verifier))
    return checklist.report()
