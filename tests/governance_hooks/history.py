"""A small cooperative that is told anything by anybody, beside a naive model of what may come of it.

`World.tell` checks after each statement that a refusal changed nothing, and that what was accepted is what the model allows, which knows
only the statements. "Changed nothing" is said by a shadow, a register that is offered only what was accepted: it is the replay of the log.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256 as hash_of
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance_hooks.bylaws import KINDS, Bylaws, Rules
from governance_hooks.checkpoint import NoteVerifier
from governance_hooks.errors import CoopError
from governance_hooks.motions import MOTIONS
from governance_hooks.register import Register
from governance_hooks.sshsig import PrivateKey
from governance_hooks.standing import status_of
from governance_hooks.state.proposals import Proposal
from governance_hooks.statement import SELF, Statement, body, entry, shift, sign
from governance_hooks.tally import roll_root

__all__ = ["SECRETS", "World"]

START = "2026-11-22T12:00:00Z"
QUICK = Rules(quorum_percent=50, approval_percent=50, minimum_period_s=10, challenge_s=4, objections=2, expiry_s=400)
FOUNDERS = [f"m-{number:016x}" for number in range(1, 6)]


def secret(number: int) -> PrivateKey:
    return PrivateKey(Ed25519PrivateKey.from_private_bytes(hash_of(b"%d" % number).digest()))


SECRETS = [secret(number) for number in range(60)]


class World:
    """The register under test, everybody's keys, and the model."""

    def __init__(self, log: str = NoteVerifier("world/log", bytes(range(32))).text) -> None:
        self.register, self.shadow, self.clock, self.count = Register(), Register(), START, 0
        self.entries: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self.fresh = iter(SECRETS)
        self.operators = [next(self.fresh)]
        self.keys = {member: [next(self.fresh)] for member in FOUNDERS}
        rules = dict.fromkeys(KINDS, QUICK) | {"release": QUICK.model_copy(update={"late_quorum_s": 7200})}
        bylaws = Bylaws(registrars=FOUNDERS[:3], oversight=FOUNDERS[2:4], oversight_seated="vote", open_proposals=3, founder_led=["payout"],
                        halt_max_s=200, recovery_delay_s=30, stewards=FOUNDERS[1:4], stewards_required=2, withdrawal_max_s=60, kinds=rules)  # fmt: skip
        founding = {"name": "world", "log": log, "operator": self.operators[0].public.line,
                    "founders": [{"member": one, "key": keys[0].public.line} for one, keys in self.keys.items()], "bylaws": bylaws.model_dump()}  # fmt: skip
        self.active, self.founders, self.suspended = set(FOUNDERS), frozenset(FOUNDERS), dict[str, str]()
        self.rolls: dict[str, set[str]] = {}
        self.votes: dict[str, dict[str, str]] = {}
        self.ballots: Counter[tuple[str, str]] = Counter()
        self.approved: dict[str, bool] = {}
        self.objectors: dict[str, set[str]] = {}
        self.settled: set[str] = set()
        self.uses: Counter[str] = Counter()
        self.paid: set[str] = set()
        self.shared_out: set[str] = set()
        self.delivered: set[str] = set()
        self.withdrawals: dict[str, tuple[str, str | None]] = {}
        """Who said it -> the release, and until when; None for good."""
        self.successors: dict[str, str] = {}
        """Statement of the stewards -> the release that it says is superseded."""
        self.superseded: set[str] = set()
        """By the vote on a later one."""
        self.steward_withdrew: set[str] = set()
        self.exited = False
        signers = (self.operators[0], *(keys[0] for keys in self.keys.values()))
        assert self.tell("coop.founding/v1", founding, "operator", *signers, coop=SELF)

    # What is told, and what must hold then.

    def tell(self, kind: str, payload: dict[str, Any], author: str, *signers: PrivateKey, coop: str | None = None, late_s: int = 0) -> bool:
        """Make a statement; see that a refusal changes nothing, and that what is accepted is allowed."""
        self.count += 1
        try:
            made = body(kind, payload, coop=coop or self.register.coop, author=author, issued=shift(self.clock, -late_s), nonce=f"{self.count:032x}")
        except CoopError:
            return False
        return self.offer(entry(made, [sign(made, key) for key in signers]))

    def offer(self, data: bytes) -> bool:
        """Offer the bytes of an entry to the register."""
        try:
            statement = self.register.apply(data)
        except CoopError as error:
            why = str(error)
        else:
            self.entries.append(data)
            self.counts[statement.type] += 1
            self._judge(statement, vars(self.shadow))
            self.shadow.apply(data)
            return True
        assert vars(self.register) == vars(self.shadow), f"a refusal left its mark: {why}"
        self.counts["refused"] += 1
        return False

    def _judge(self, statement: Statement, before: dict[str, Any]) -> None:
        register, payload = self.register, statement.payload
        assert register.size == len(self.entries)
        assert register.operator_clock >= before["operator_clock"]
        assert all(register.known_keys[raw] == owner for raw, owner in before["known_keys"].items()), "a key changed hands"
        assert all(raw in register.in_force_since for member in register.members.values() for raw in member.keys), "a key is in force since no entry"
        about: str = getattr(payload, "proposal", "")
        match statement.type:
            case "coop.proposal/v1":
                everybody = {one for one in self.active if not self._suspended(one)}
                led = payload.kind == "payout" and not self.exited and before["bylaws"].founder_led and len(self.founders & self.active) >= 2  # type: ignore[attr-defined]
                self.rolls[statement.id] = everybody & self.founders if led else everybody
                assert payload.roll.root == roll_root(self.rolls[statement.id])  # type: ignore[attr-defined]
                self.votes[statement.id], self.objectors[statement.id] = {}, set()
            case "coop.ballot/v1":
                assert about not in self.approved, "somebody voted after the close"
                assert statement.author in self.rolls[about], "somebody voted who is not on the roll"
                self.votes[about][statement.author] = payload.choice  # type: ignore[attr-defined]
                self.ballots[about, statement.author] += 1
                assert payload.sequence == self.ballots[about, statement.author], "a ballot is out of order"  # type: ignore[attr-defined]
            case "coop.close/v1":
                assert about not in self.approved
                self.approved[about] = payload.outcome == "approved"  # type: ignore[attr-defined]
                assert self.approved[about] is self._count(about)
            case "coop.objection/v1":
                self.objectors[about].add(statement.author)
            case "coop.run-start/v1" | "coop.release/v1" | "coop.payout/v1" | "coop.delivery/v1":
                self._used(about, statement)
            case "coop.halt/v1" | "coop.admission/v1" | "coop.recovery/v1":
                owners = {before["known_keys"][raw] for raw in statement.signers if raw in before["known_keys"]}
                assert owners <= self.active, "somebody who left holds an office"
                assert not any(map(self._suspended, owners)), "a suspended member holds an office"
                assert not self.exited or owners - self.founders, "founders acted alone after the exit"
            case "coop.decline/v1":
                assert statement.author in before["bylaws"].registrars, "somebody declined who is no registrar"
                assert statement.author in self.active, "somebody who left holds an office"
                assert not self._suspended(statement.author), "a suspended member holds an office"
                assert payload.request not in before["declined"], "a request was declined twice"  # type: ignore[attr-defined]
            case "coop.release-status/v1":
                self._stewards_said(statement, before)
            case "coop.leave/v1":
                self.active.discard(statement.author)
            case "coop.exit/v1":
                assert not self.exited
                self.exited = True
        if statement.type == "coop.admission/v1":
            self.active.add(payload.member)  # type: ignore[attr-defined]
        if statement.author == "operator":
            assert before["operator_clock"] == "" or statement.signers == {before["operator"]}, "another key spoke for the operator"
            if statement.type not in ("coop.time/v1", "coop.founding/v1"):
                assert not any(one.due() <= statement.issued for one in before["pending"]), "the operator spoke before a decision that was due"
            for proposal in sorted(register.proposals.values(), key=lambda one: (one.closed is None, one.closed_at and one.due(), one.closed)):
                if proposal.id not in self.settled and (proposal.enacted is not None or proposal.lapsed is not None):
                    self._settle(proposal)

    def _suspended(self, member: str) -> bool:
        return self.register.operator_clock < self.suspended.get(member, "")

    def _count(self, proposal: str) -> bool:
        """Decide a vote under QUICK as its words say."""
        choices = list(self.votes[proposal].values())
        yes, no = choices.count("for"), choices.count("against")
        if self.exited and not any(choice == "for" for one, choice in self.votes[proposal].items() if one not in self.founders):
            return False
        return yes >= 2 and 2 * len(choices) >= len(self.rolls[proposal]) and yes >= no

    def _used(self, proposal: str, statement: Statement) -> None:
        found = self.register.proposals[proposal]
        assert self.approved[proposal], "a rejected or open proposal was used"
        assert len(self.objectors[proposal]) < 2, "a contested approval was used"
        assert found.due() <= statement.issued < found.expires()
        self.uses[proposal] += 1
        assert self.uses[proposal] <= found.uses, "an approval was used more often than voted"
        if statement.type == "coop.release/v1":
            self.superseded |= set(found.supersedes)
            self.counts["superseded by vote"] += len(found.supersedes)
        if statement.type == "coop.payout/v1":
            assert found.subject not in self.paid, "one payout was made twice"
            self.paid.add(found.subject)
            incomes = set(statement.payload.incomes)  # type: ignore[attr-defined]
            assert not incomes & self.shared_out, "an income was shared out twice"
            self.shared_out |= incomes
        if statement.type == "coop.delivery/v1":
            assert found.kind == "access"
            assert found.subject not in self.delivered, "one request was delivered twice"
            self.delivered.add(found.subject)

    def _stewards_said(self, statement: Statement, before: dict[str, Any]) -> None:
        """Follow a word of the stewards about a release that is out."""
        said: Any = statement.payload
        owners = {before["known_keys"].get(raw, "nobody") for raw in statement.signers}
        assert owners <= self.active & set(before["bylaws"].stewards), "somebody who is no steward withdrew a release"
        assert not any(map(self._suspended, owners)), "a suspended steward withdrew a release"
        assert len(owners) >= before["bylaws"].stewards_required, "too few stewards withdrew a release"
        assert not self.exited or owners - self.founders, "founders acted alone after the exit"
        out = list(before["releases"])
        assert said.release in out
        if said.status == "superseded":
            assert said.by in out[out.index(said.release) + 1 :], "a release was superseded by one that is not later"
            self.successors[statement.id] = said.release
            return
        assert said.release not in self.steward_withdrew, "stewards withdrew a release twice"
        self.steward_withdrew.add(said.release)
        self.withdrawals[statement.id] = said.release, shift(statement.issued, before["bylaws"].withdrawal_max_s)

    def status(self, release: str) -> str:
        """Return where a release stands, from the statements alone."""
        if any(one == release and (until is None or self.register.operator_clock < until) for one, until in self.withdrawals.values()):
            return "withdrawn"
        return "superseded" if release in self.superseded or release in self.successors.values() else "current"

    def _settle(self, proposal: Proposal) -> None:
        """Follow a motion that has just taken effect, or lapsed."""
        self.settled.add(proposal.id)
        self.counts[f"{proposal.kind} {'lapsed' if proposal.enacted is None else 'enacted'}"] += 1
        if proposal.enacted is None:
            return
        assert proposal.lapsed is None
        assert proposal.enacted == self.register.size - 1
        assert self.approved[proposal.id]
        assert len(self.objectors[proposal.id]) < 2
        assert proposal.due() <= self.register.operator_clock < proposal.expires()
        motion: Any = proposal.motion
        match proposal.kind:
            case "admission":
                assert motion.member not in self.active
                self.active.add(motion.member)
            case "suspension":
                self.suspended[motion.member] = motion.until
            case "recall" if motion.ratifies is None:
                self.withdrawals[proposal.id] = motion.release, None
            case "recall":
                assert self.withdrawals[motion.ratifies][0] == motion.release
                self.withdrawals[motion.ratifies] = motion.release, None
                self.counts["withdrawal ratified"] += 1
            case "appeal" if motion.against in self.withdrawals or motion.against in self.successors:
                self.withdrawals.pop(motion.against, None)
                self.successors.pop(motion.against, None)
                self.counts["status appealed"] += 1
            case "appeal":
                suspends: Any = getattr(self.register.proposals.get(motion.against), "motion", None)
                if getattr(suspends, "kind", "") == "suspension":
                    self.suspended.pop(suspends.member, None)

    def finish(self) -> None:
        """Compare the whole history with its replay and with the model."""
        assert vars(self.shadow) == vars(self.register)
        assert {one.id for one in self.register.incomes.values() if one.paid is not None} == self.shared_out
        assert len({one.paper for one in self.register.incomes.values()}) == len(self.register.incomes)
        for release in self.register.releases:
            assert status_of(self.register, release).status == self.status(release)
        assert self.active == {one.id for one in self.register.members.values() if one.left is None}
        for proposal in self.register.proposals.values():
            assert {one: vote.choice for one, vote in proposal.votes.items()} == self.votes[proposal.id]
            assert proposal.used == self.uses[proposal.id]
            assert set(proposal.objections) == self.objectors[proposal.id]
            assert (proposal in self.register.pending) == (
                self.approved.get(proposal.id, False) and proposal.kind in MOTIONS and proposal.id not in self.settled
            )
