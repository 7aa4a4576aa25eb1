"""The witness policy: k of n witnesses named in the bylaws must have cosigned a checkpoint before anybody relies on it.

Which policy holds for a checkpoint is decided by the bylaws in force after the entries under it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from governance_hooks.checkpoint import MAX_WITNESSES, Checkpoint, NoteVerifier
from governance_hooks.errors import Refused
from governance_hooks.fields import CLOCK_SKEW_S
from governance_hooks.note import read_line
from governance_hooks.sentence import Sentence
from governance_hooks.witness.cosigner import Cosigner

__all__ = ["Policy", "Unwitnessed", "Witnessed"]


class Unwitnessed(Refused):
    """Fewer witnesses have cosigned a checkpoint than must: nobody relies on it yet, and nothing is wrong with it."""


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What witnesses say of one checkpoint: their verified times, and how many of them count."""

    policy: Policy
    stated: int
    """The time the log's own key states, Unix seconds."""
    times: Mapping[str, int]
    """Unix second of each cosignature, by the witness' name."""

    @property
    def missing(self) -> list[str]:
        """Names of the witnesses who have not cosigned, sorted."""
        return sorted(witness.name for witness in self.policy.witnesses if witness.name not in self.times)

    @property
    def time(self) -> int:
        """The Unix second to which this checkpoint is known to have been the log's newest.

        With k witnesses required it is the earliest among the k newest cosignatures: k of them vouch for it or a later
        time, so an honest one does, if fewer than k lie. Without witnesses it is what the log's own key states.

        Raises:
            Unwitnessed: fewer than k have cosigned.
            Refused: the log's clock is ahead of theirs.
        """
        required = self.policy.required
        if not required:
            return self.stated
        if len(self.times) < required:
            raise Unwitnessed(
                f"{len(self.times)} of {len(self.policy.witnesses)} witnesses cosigned this checkpoint, {required} must; missing: {', '.join(self.missing)}",
                next="coop log cosign, then coop proof",
            )
        vouched = sorted(self.times.values())[-required]
        if self.stated > vouched + CLOCK_SKEW_S:
            raise Refused(
                f"the log's clock is {self.stated - vouched} s ahead of its witnesses'",
                allowed=f"{CLOCK_SKEW_S} s",
                next="set the operator's clock; then an append, and coop log cosign",
            )
        return vouched

    @property
    def words(self) -> str:
        """Say who vouches for the time; raise Refused like `time`."""
        if not self.policy.required:
            return Sentence("time by the operator's word, no independent witness")
        moment = datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Sentence(
            "newest at {moment} by {count} of {all} witnesses ({names}), {required} required",
            moment=moment,
            count=len(self.times),
            all=len(self.policy.witnesses),
            names=", ".join(sorted(self.times)),
            required=self.policy.required,
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """The witnesses of a cooperative, and how many of them must have cosigned."""

    witnesses: tuple[Cosigner, ...] = ()
    required: int = 0

    @classmethod
    def parse(cls, witnesses: Sequence[str], required: int) -> Policy:
        """Read a policy from verifier keys; raise Refused if a name or a raw key stands twice, or more are required than there are."""
        found = tuple(Cosigner.parse(text) for text in witnesses)
        if len(found) > MAX_WITNESSES:
            raise Refused("too many witnesses", value=len(found), allowed=str(MAX_WITNESSES))
        if len({witness.name for witness in found}) != len(found) or len({witness.raw for witness in found}) != len(found):
            raise Refused("witnesses need distinct names and distinct keys: one key under two names is one witness")
        if not 0 <= required <= len(found):
            raise Refused("more witnesses are required than there are", value=required, allowed=f"0 to {len(found)}")
        return cls(found, required)

    def require_independent(self, log: NoteVerifier, operator: bytes) -> None:
        """Raise Refused if a witness is the log itself, by name or by raw key, or the operator."""
        for witness in self.witnesses:
            if witness.raw in (log.raw, operator) or witness.name == log.name:
                raise Refused("the log and its operator cannot be witnesses of themselves", value=witness.name)

    def check(self, checkpoint: Checkpoint) -> Witnessed:
        """Verify every line of a witness on a checkpoint that `verify_checkpoint` returned.

        A line of somebody who is no witness is refused, though C2SP lets readers ignore it: then whoever carries a proof could
        add bytes nobody checks. Whether enough have cosigned is asked by `Witnessed.time`.

        Raises:
            Refused: a line is not by a witness of this policy, or does not verify.
        """
        known, times = {witness.name: witness for witness in self.witnesses}, {}
        for line in checkpoint.cosignatures:
            name = read_line(line)[0]
            if name not in known:
                raise Refused("checkpoint bears a cosignature of somebody who is no witness here", value=name, allowed=", ".join(sorted(known)) or "none")
            times[name] = known[name].verify(checkpoint, line)
        return Witnessed(self, checkpoint.time, times)

    def attach(self, note: str, lines: Mapping[str, str]) -> str:
        """Return a note of the log alone with the lines of this policy's witnesses after it, sorted by name."""
        return note + "".join(lines[name] for name in sorted(witness.name for witness in self.witnesses) if name in lines)
