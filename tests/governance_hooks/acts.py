"""What anybody may do in a `World`: numbers that always mean some statement, most often one that is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from governance_hooks.bylaws import KINDS, ProposalKind
from governance_hooks.canonical import digest
from governance_hooks.motions import MOTIONS, subject_of
from governance_hooks.sshsig import PrivateKey
from governance_hooks.statement import parse, shift
from governance_hooks.tally import roll_root
from tests.governance_hooks.history import SECRETS, World

__all__ = ["ACTS", "Crowd"]

ACTS = ["propose", "propose", "vote", "vote", "vote", "decide", "decide", "decide", "close", "wait", "time", "halt", "object_to", "leave", "admit", "key", "recover", "cancel",
        "exit", "start", "end", "evaluate", "release", "ship", "stewards", "recall", "pay", "meddle", "forge", "decline"]  # fmt: skip


class Crowd(World):
    """A world and the acts of a program: a list of (act, a, b, c)."""

    def settle_down(self) -> None:
        """Admit three who are no founders and make them registrars: founders can now leave power."""
        for _ in range(3):
            self.admit(0, 1, 0)
        self.propose(0, KINDS.index("bylaws"), 2)
        self.decide(0, 0, 0)
        assert self.register.bylaws.version == 2

    def act(self, name: str, a: int, b: int, c: int) -> None:
        """Do one act of a program."""
        getattr(self, name)(a, b, c)

    def who(self, number: int) -> str:
        return list(self.keys)[number % len(self.keys)]

    def key_of(self, member: str) -> PrivateKey:
        return self.keys[member][-1]

    def which(self, number: int) -> str:
        """Name a proposal, the newer the smaller the number."""
        known = list(self.register.proposals)
        return known[-1 - number % len(known)] if known else digest(number)

    def usable(self, kind: str, number: int) -> str:
        """Name an approval of this kind, or any proposal."""
        known = [one for one, approved in self.approved.items() if approved and self.register.proposals[one].kind == kind]
        return known[-1 - number % len(known)] if known and number % 4 else self.which(number)

    def operate(self, kind: str, payload: dict[str, Any]) -> bool:
        return self.tell(kind, payload, "operator", self.operators[-1])

    def propose(self, a: int, b: int, c: int) -> None:
        kind = KINDS[b % (len(KINDS) - 1)]  # all but consultations
        extra: list[PrivateKey] = []
        motion = self._motion(kind, a, c, extra)
        opened = self.open(kind, subject_of(motion) if motion else digest(c % 3), a, c, motion, extra)
        if opened and kind == "operator":
            self.operators.insert(0, extra[0])  # speaks once it is due

    def open(self, kind: ProposalKind, subject: str, a: int, c: int, motion: Any = None, extra: Sequence[PrivateKey] = ()) -> bool:
        """Open a proposal under the rules in force; of a release, often one that takes the place of those that are out."""
        roll, author = self.register.roll(kind), self.who(a)
        payload = {"kind": kind, "subject": subject, "rules": self.register.bylaws.rules(kind).model_dump(), "roll": {"root": roll_root(roll), "members": len(roll)},
                   "closes": shift(self.clock, 10 + c % 2), "uses": 2 if kind == "run" else 1, "motion": motion and motion.model_dump(mode="json"), "draft": None}  # fmt: skip
        if kind == "release" and c % 3:
            payload["supersedes"] = sorted(self.register.releases)[: c % 3]
        return self.tell("coop.proposal/v1", payload, author, self.key_of(author), *extra, late_s=c % 5 == 4 and 290)

    def _motion(self, kind: str, a: int, c: int, extra: list[PrivateKey]) -> Any:
        until, target = shift(self.clock, 15 + c % 200), self.who(c)
        bylaws = self.register.bylaws
        match kind:
            case "bylaws":
                named = sorted({*sorted(self.active)[:2], *sorted(self.active)[-1 - c % 4 :]})
                changed = {
                    "version": bylaws.version + 1,
                    "registrars": named,
                    "registrars_required": min(2, len(named)),
                    "oversight": [],
                    "stewards": named,
                    "stewards_required": min(2, len(named)),
                    "founder_led": [] if self.exited or c % 2 else bylaws.founder_led,
                }
                fields = bylaws.model_dump() | changed
            case "waiver":
                fields = {"run": "r", "report": digest("report")}
            case "admission":
                extra.append(next(self.fresh, self.operators[-1]))
                newcomer = f"m-{100 + len(self.keys):016x}"
                self.keys[newcomer] = [extra[0]]
                fields = {"member": newcomer, "key": extra[0].public.line}
            case "suspension":
                fields = {"member": target, "until": until}
            case "halt":
                halts = [one for one in self.register.halts.values() if not one.by_members]
                ratified = halts[-1] if halts and c % 2 else None
                fields = {"proposal": ratified.proposal if ratified else self.which(c), "until": until, "ratifies": ratified and ratified.id}
            case "appeal":
                against = [
                    *self.register.halts,
                    *(one for one in self.register.marks if "/" not in one),
                    *(one.suspended_by for one in self.register.members.values() if one.suspended_by),
                ]
                fields = {"against": against[c % len(against)] if against else digest(c)}
            case "recall":
                out = list(self.register.releases) or [digest(c)]
                withdrawn = [one for one in self.register.marks.values() if one.status == "withdrawn"]
                ratified = withdrawn[-1] if withdrawn and c % 2 else None
                release = ratified.release if ratified and c % 8 != 7 else out[c % len(out)]
                fields = {"release": release, "reason": "safety", "ratifies": ratified and ratified.id}
            case "appointment":
                fields = {"members": sorted({target, self.who(a)}), "until": until, "panel": None}
            case "operator":
                extra.append(next(self.fresh, self.operators[-1]))
                fields = {"operator": extra[0].public.line}
            case _:
                return None
        try:
            return MOTIONS[kind].model_validate({"bylaws": fields} if kind == "bylaws" else fields)
        except ValueError:
            return None

    def vote(self, a: int, b: int, c: int) -> None:
        open_ = [one for one in self.rolls if one not in self.approved]
        member, proposal = self.who(a), open_[b % len(open_)] if open_ and b % 8 else self.which(b)
        found = self.register.proposals.get(proposal)
        sequence = 1 + c // 3 % 2 + (found.votes[member].sequence if found and member in found.votes else 0)
        payload = {"proposal": proposal, "choice": ("for", "against", "abstain")[c % 3], "sequence": sequence, "reason": None}
        self.tell("coop.ballot/v1", payload, member, self.key_of(member), late_s=c % 7 == 6 and 301)

    def ballots_of(self, proposal: str, members: list[str], against: int = 0) -> None:
        """Have members vote for a proposal, some of them against it."""
        for number, member in enumerate(members):
            found = self.register.proposals.get(proposal)
            choice = "against" if against >> number & 3 == 3 else "for"
            sequence = 1 + len(found.votes.keys() & {member}) if found else 1
            self.tell("coop.ballot/v1", {"proposal": proposal, "choice": choice, "sequence": sequence, "reason": None}, member, self.key_of(member))

    def decide(self, a: int, b: int, c: int) -> None:
        """Have most of the roll vote for a proposal, close it and let its challenge window pass: histories get somewhere."""
        proposal = self.which(b % 3)
        self.ballots_of(proposal, sorted(self.rolls.get(proposal, ())), a)
        while any(one.closed is None for one in self.register.proposals.values()) and proposal not in self.approved:
            if not self.close(0, 0, 0):
                break
        if c % 5 == 4:
            self.object_to(a, b % 3, c)
        self.wait(0, 0, 4 + c % 2)
        self.operate("coop.build/v1", {"manifest": digest(self.count), "root": digest(c), "records": 1})  # before what is due
        self.time(0, 0, 0)

    def close(self, a: int, b: int, c: int) -> bool:
        """Close the vote that ends first, or any, or miscount it."""
        open_ = sorted((one for one in self.register.proposals.values() if one.closed is None), key=lambda one: (one.closes, one.opened))
        if not open_:
            return False
        proposal = open_[b % len(open_)]
        self.clock = max(self.clock, shift(proposal.closes, -(c % 4 == 3)))
        if self.register.due(self.clock) and a % 2 == 0:
            self.time(0, 0, 0)
        choices = Counter(self.votes[proposal.id].values())
        outcome = "approved" if self._count(proposal.id) == (c % 4 != 2) else "rejected"
        return self.operate(
            "coop.close/v1",
            {
                "proposal": proposal.id,
                "votes_for": choices["for"],
                "votes_against": choices["against"],
                "votes_abstain": choices["abstain"],
                "outcome": outcome,
            },
        )

    def wait(self, a: int, b: int, c: int) -> None:
        self.clock = shift(self.clock, c % 40)

    def time(self, a: int, b: int, c: int) -> None:
        for operator in self.operators:  # one of them is in office
            if self.tell("coop.time/v1", {}, "operator", operator, late_s=c % 3):
                self.operators.append(operator)
                return

    def halt(self, a: int, b: int, c: int) -> None:
        member = self.who(a)
        self.tell("coop.halt/v1", {"proposal": self.which(b), "until": shift(self.clock, c)}, member, self.key_of(member))

    def object_to(self, a: int, b: int, c: int) -> None:
        for member in (self.who(a), self.who(c)):
            self.tell("coop.objection/v1", {"proposal": self.which(b), "reason": None}, member, self.key_of(member))

    def leave(self, a: int, b: int, c: int) -> None:
        if c % 4 == 0:
            self.tell("coop.leave/v1", {}, self.who(a), self.key_of(self.who(a)))

    def admit(self, a: int, b: int, c: int) -> None:
        new = next(self.fresh, self.operators[-1])
        newcomer = f"m-{100 + len(self.keys):016x}"
        body = self.register.bylaws.registrars if c % 4 else list(self.keys)
        registrars = [self.key_of(one) for one in sorted({body[a % len(body)], body[b % len(body)]})]
        if self.tell("coop.admission/v1", {"member": newcomer, "key": new.public.line}, newcomer, new, *registrars):
            self.keys[newcomer] = [new]

    def decline(self, a: int, b: int, c: int) -> None:
        member = self.who(a)
        payload = {"request": digest(["request", b % 8]), "about": "admission" if c % 2 else "recovery", "reason": "not-known"}
        self.tell("coop.decline/v1", payload, member, self.key_of(member), late_s=c % 5 == 4 and 4000)

    def key(self, a: int, b: int, c: int) -> None:
        member, new = self.who(a), SECRETS[c % len(SECRETS)] if c % 2 else next(self.fresh, SECRETS[0])
        old = self.key_of(member)
        if b % 3 == 0:
            done = self.tell("coop.rotation/v1", {"old": old.public.line, "new": new.public.line}, member, old, new)
        elif b % 3 == 1:
            done = self.tell("coop.key/v1", {"action": "add", "key": new.public.line}, member, old, new)
        else:
            self.tell("coop.key/v1", {"action": "revoke", "key": self.keys[member][0].public.line}, member, old)
            return
        if done:
            self.keys[member].append(new)

    def recover(self, a: int, b: int, c: int) -> None:
        member, new = self.who(a), next(self.fresh, SECRETS[0])
        others = [self.key_of(self.who(number)) for number in {b % len(self.keys), c % len(self.keys)}]
        if self.tell("coop.recovery/v1", {"member": member, "key": new.public.line}, member, new, *others):
            self.keys[member].insert(0, new)

    def cancel(self, a: int, b: int, c: int) -> None:
        member = self.who(a)
        pending = self.register.recoveries.get(member)
        self.tell("coop.recovery-cancel/v1", {"recovery": pending.id if pending else digest(a)}, member, self.keys[member][-(c % 2)])

    def exit(self, a: int, b: int, c: int) -> None:
        """Leave power as founders, most of them or all, with a vote of their own still open."""
        staying = sorted(self.founders & self.active)
        if c % 2 and staying:
            self.propose(0, KINDS.index("payout"), c)
            self.ballots_of(self.which(0), staying)
            self.tell("coop.exit/v1", {}, staying[a % len(staying)], *(self.key_of(one) for one in staying[: len(staying) - (c % 8 == 1)]))
            self.close(0, 0, 0)

    def start(self, a: int, b: int, c: int) -> None:
        """Start a run under an approval, again and again."""
        proposal = self.usable("run", b)
        found = self.register.proposals.get(proposal)
        for _ in range(3):
            run = self.register.runs.get("r")
            started = {"run": "rs"[c % 9 == 8], "plan": found.subject if found else digest(c), "proposal": proposal, "start": len(run.starts) + 1 if run else 1}
            self.operate("coop.run-start/v1", started)

    def end(self, a: int, b: int, c: int) -> None:
        self.operate("coop.run-end/v1", {"run": "r", "status": ("completed", "failed", "completed")[c % 3], "record": digest(c), "outputs": digest(c)})

    def evaluate(self, a: int, b: int, c: int) -> None:
        self.operate("coop.evaluation/v1", {"run": "r", "report": digest("report"), "results": digest(c), "passed": bool(c % 2)})

    def release(self, a: int, b: int, c: int) -> None:
        found = self.register.proposals.get(self.usable("release", b))
        self.operate("coop.release/v1", {"run": "r", "release": found.subject if found else digest(c), "proposal": self.usable("release", b)})

    def ship(self, a: int, b: int, c: int) -> None:
        """Go the whole way to a release: a vote, a run, its evaluation, another vote; what stands in the way ends it there."""
        run, plan, release = f"ship-{self.count}", digest(self.count), digest([self.count])
        if not self.open("run", plan, a, b):
            return
        approval = self.which(0)
        self.decide(0, 0, 0)
        said = (
            ("coop.run-start/v1", {"run": run, "plan": plan, "proposal": approval, "start": 1}),
            ("coop.run-end/v1", {"run": run, "status": "completed", "record": digest(a), "outputs": digest(b)}),
            ("coop.evaluation/v1", {"run": run, "report": digest(a), "results": digest(b), "passed": c % 8 != 7}),
        )
        if all(self.operate(*one) for one in said) and self.open("release", release, a, c):
            approval = self.which(0)
            self.decide(0, 0, 0)
            self.operate("coop.release/v1", {"run": run, "release": release, "proposal": approval})

    def stewards(self, a: int, b: int, c: int) -> None:
        """Have stewards withdraw a release or name its successor: enough of them, too few, or somebody else with them."""
        out, people = list(self.register.releases) or [digest(a)], sorted(self.register.bylaws.stewards)
        first = a % len(people)
        signers = [*people[first:], *people[:first]][: 1 + bool(b % 4)] + [self.who(c)] * (b % 4 == 3)
        withdraws = c % 3 > 0
        said = {
            "release": out[b % len(out)],
            "status": "withdrawn" if withdraws else "superseded",
            "by": None if withdraws else out[-1 - c % len(out)],
            "reason": "safety",
        }
        self.tell("coop.release-status/v1", said, signers[0], *(self.key_of(one) for one in dict.fromkeys(signers)))

    def recall(self, a: int, b: int, c: int) -> None:
        """Ask members to withdraw a release, or to make the stewards' withdrawal stand; or appeal against what holds, and decide."""
        self.propose(a, KINDS.index("appeal" if b % 4 == 3 else "recall"), c)
        self.decide(0, 0, 0)

    def pay(self, a: int, b: int, c: int) -> None:
        """Book money, pay what was approved with it, and again; deliver what was approved, and again."""
        self.operate("coop.income/v1", {"amount": 1 + c, "currency": "EUR", "source": "grant", "paper": digest(c % 7), "proposal": None})
        incomes = sorted(self.register.incomes)[: 1 + a % 2]
        access = self.usable("access", b)
        asked = self.register.proposals.get(access)
        delivered = {
            "request": asked.subject if asked else digest(c),
            "proposal": access,
            "delivery": digest(c),
            "kind": "extract",
            "records": 1,
            "income": None,
        }
        for _ in range(2):
            self.operate("coop.delivery/v1", delivered)
        proposal = self.usable("payout", b)
        found = self.register.proposals.get(proposal)
        for _ in range(2):
            self.operate("coop.payout/v1", {"payout": found.subject if found else digest(c), "proposal": proposal, "incomes": incomes if c % 3 else []})

    def meddle(self, a: int, b: int, c: int) -> None:
        """Change one bit of an old entry, or offer it again."""
        data = bytearray(self.entries[a % len(self.entries)])
        if b % 8:
            data[c * 97 % len(data)] ^= 1 << b % 8
        assert not self.offer(bytes(data))

    def forge(self, a: int, b: int, c: int) -> None:
        """Say what somebody said again, in another's name or with other keys."""
        value = parse(self.entries[-1 - a % len(self.entries)])
        if value.type != "coop.founding/v1":
            author = "operator" if c % 3 == 0 else self.who(b)
            self.tell(value.type, value.payload.model_dump(mode="json"), author, self.key_of(self.who(c)), *([self.operators[-1]] if c % 5 == 0 else []))
